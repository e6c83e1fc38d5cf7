"""PagerDuty's REST v2 listings of incidents and of log entries as rows of `raw.tickets`, objects as sent.

A log entry is filed under the incident that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster_project.sources import json_objects
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.json_objects import Entity, check_clock, identifier
from dagster_project.sources.otlp_values import Malformed
from dagster_project.sources.reading import ByteStream
from dagster_project.warehouse.landing import Batch
from dagster_project.warehouse.quarantine import Reason

LISTINGS = ("incidents", "log_entries")


def _objects(value: object) -> Sequence[object]:
    for name in LISTINGS:
        if isinstance(value, dict) and isinstance(value.get(name), list):
            found: list[object] = value[name]
            return found
    raise Malformed("no listing: it has neither incidents nor log_entries", Reason.OTHER_FORMAT)


def _columns(ticket: Mapping[str, Any]) -> dict[str, str]:
    check_clock(ticket, "created_at", is_required=True)
    if not str(ticket.get("type", "")).removesuffix("_reference").endswith("log_entry"):
        return {"system": "pagerduty", "ticket_id": identifier(ticket, "id")}
    incident = ticket.get("incident")
    if not isinstance(incident, dict):
        raise Malformed("a log entry without its incident", Reason.ID_MISSING)
    return {"system": "pagerduty", "ticket_id": identifier(incident, "id")}


_ENTITY = Entity(objects=_objects, columns=_columns)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return json_objects.batches(stream, _ENTITY)


def _recognises(head: bytes) -> bool:
    start = head.lstrip()
    return start.startswith(b"{") and any(f'"{name}"'.encode() in start[:4096] for name in LISTINGS)


FORMAT = Format(
    name="pagerduty",
    table="raw.tickets",
    happened_at="try_cast(payload ->> 'created_at' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
)
