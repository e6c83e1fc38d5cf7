"""Deploys as a JSON array, JSON lines or CSV with Hindcast's own names, as rows of `raw.deploys`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_project.sources.changes.change_lists import USES, ChangeList
from dagster_project.sources.decoding.json_objects import check_clock, identifier
from dagster_project.sources.format import Format

NAMES = frozenset(
    {
        "deploy_id",
        "service",
        "version",
        "previous_version",
        "deployed_at",
        "commit",
        "environment",
        "status",
        "is_rollback",
    }
)


def _columns(deploy: Mapping[str, Any]) -> dict[str, str]:
    identifier(deploy, "deploy_id")
    identifier(deploy, "service")
    check_clock(deploy, "deployed_at", is_required=True)
    return {"system": "deploys"}


_LIST = ChangeList(NAMES, "deployed_at", _columns, frozenset({"service", "deployed_at"}))


def _recognises(start: bytes) -> bool:
    return _LIST.is_csv(start) or (start.lstrip().startswith((b"[", b"{")) and b'"deployed_at"' in start)


FORMAT = Format(
    name="deploys",
    table="raw.deploys",
    happened_at="try_cast(payload ->> 'deployed_at' as timestamptz) at time zone 'UTC'",
    recognises=_recognises,
    batches=_LIST.batches,
    name_patterns=("deploys*.json*", "deploys*.csv*"),
    uses=USES,
    fields=NAMES,
)
