"""Incidents as a JSON array or one a line, Hindcast's own form, as rows of `raw.incidents`.

An incident that was resolved before it was created, or never, lands: staging flags it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, check_clock, identifier, listed_or_single
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.warehouse.batches import Batch

CLOCKS = ("started_at", "detected_at", "acknowledged_at", "mitigated_at", "resolved_at", "closed_at", "reopened_at")
TEXTS = ("title", "severity", "service", "team", "category", "resolution_method")
COUNTS = ("reopened_count", "escalation_count")
SCORES = ("satisfaction",)


def _columns(incident: Mapping[str, Any]) -> dict[str, str]:
    incident_id = identifier(incident, "incident_id")
    check_clock(incident, "created_at", is_required=True)
    for name in CLOCKS:
        check_clock(incident, name)
    return {"incident_id": incident_id}


_ENTITY = Entity(
    objects=listed_or_single("incidents", is_single=lambda value: "incident_id" in value),
    columns=_columns,
    known=frozenset({"incident_id", "created_at", *CLOCKS, *TEXTS, *COUNTS, *SCORES}),
    arrays=("incidents",),
)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return json_objects.batches(stream, _ENTITY)


def _recognises(head: bytes) -> bool:
    return head.lstrip().startswith(b"[") and b'"incident_id"' in head and b'"created_at"' in head


FORMAT = Format(
    name="incidents",
    table="raw.incidents",
    happened_at="try_cast(payload ->> 'created_at' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("incidents*.json*",),
)
