"""Changes of feature flags as a JSON array, JSON lines or CSV with Hindcast's own names, as rows of `raw.changes`.

`{flag, environment, changed_at, from, to, service}`. Who changed it is left out; values that look like secrets are not
stored. LaunchDarkly's audit log has a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from dagster_project.sources.changes.change_lists import USES, ChangeList, content_id, without_refused_values
from dagster_project.sources.changes.secret_values import without_secrets
from dagster_project.sources.decoding.json_objects import as_json, check_clock, identifier
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.warehouse.batches import Batch

_KEPT = ("change_id", "flag", "environment", "changed_at", "from", "to", "service")


def _stored(change: Mapping[str, Any]) -> dict[str, Any]:
    """The name of a flag says nothing of its values: `api_key_page` is true or false."""
    return {name: without_secrets(change[name]) for name in _KEPT if name in change}


def _columns(change: Mapping[str, Any]) -> dict[str, str]:
    flag = identifier(change, "flag")
    check_clock(change, "changed_at", is_required=True)
    stored = _stored(change)
    change_id = (
        identifier(change, "change_id")
        if change.get("change_id") is not None
        else content_id(flag, change.get("environment"), change["changed_at"], stored)
    )
    return {"system": "feature_flag", "change_id": change_id, "payload": as_json(stored)}


_LIST = ChangeList(frozenset(_KEPT), "changed_at", _columns, frozenset({"flag", "changed_at"}))


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    return without_refused_values(_LIST.batches(stream, options), _shown)


def _shown(raw: str) -> str | None:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return as_json(_stored(found)) if isinstance(found, dict) else None


def _recognises(start: bytes) -> bool:
    is_json = start.lstrip().startswith((b"[", b"{")) and b'"flag"' in start and b'"changed_at"' in start
    return is_json or _LIST.is_csv(start)


FORMAT = Format(
    name="feature_flags",
    table="raw.changes",
    happened_at="try_cast(payload ->> 'changed_at' as timestamptz) at time zone 'UTC'",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("feature_flags*", "flags*.json*", "flags*.csv*"),
    uses=USES,
    fields=_LIST.names,
    filled_from={"change_id": ("flag", "environment", "key")},
)
