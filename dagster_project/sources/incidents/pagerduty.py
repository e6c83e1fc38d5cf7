"""PagerDuty's REST v2 answers, incidents and log entries, as rows of `raw.tickets`, objects as sent.

A log entry is filed under the incident that it belongs to. What entries say of an incident is staging's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, check_clock, has_array, identifier, listed_or_single
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

LISTINGS = ("incidents", "log_entries")
_CLOCKS = ("resolved_at", "last_status_change_at")
_IS_OURS = re.compile(rb'"type"\s{0,99}:\s{0,99}"(?:incident|[a-z_]{1,60}_log_entry)(?:_reference)?"')


def _is_single(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and (kind.startswith("incident") or "log_entry" in kind)


_listed = listed_or_single(*LISTINGS, is_single=_is_single)


def _objects(value: object) -> Sequence[object]:
    """One incident or entry alone is answered under its own name."""
    if isinstance(value, dict):
        for name in ("incident", "log_entry"):
            if isinstance(found := value.get(name), dict) and "type" not in value:
                return [found]
    return _listed(value)


def _columns(ticket: Mapping[str, Any]) -> dict[str, str]:
    check_clock(ticket, "created_at", is_required=True)
    if not str(ticket.get("type", "")).removesuffix("_reference").endswith("log_entry"):
        for name in _CLOCKS:
            check_clock(ticket, name)
        return {"system": "pagerduty", "ticket_id": identifier(ticket, "id")}
    incident = ticket.get("incident")
    if not isinstance(incident, dict):
        raise Malformed("a log entry without its incident", Reason.ID_MISSING)
    return {"system": "pagerduty", "ticket_id": identifier(incident, "id")}


_ENTITY = Entity(objects=_objects, columns=_columns, arrays=LISTINGS)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return json_objects.batches(stream, _ENTITY)


def _recognises(start: bytes) -> bool:
    begins = start.lstrip()[:1]
    return (begins == b"{" and has_array(start[:4096], LISTINGS)) or (
        begins in (b"{", b"[") and b'"created_at"' in start and _IS_OURS.search(start) is not None
    )


FORMAT = Format(
    name="pagerduty",
    table="raw.tickets",
    happened_at="try_cast(payload ->> 'created_at' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    filled_from={"ticket_id": ("id",)},
)
