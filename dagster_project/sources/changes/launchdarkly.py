"""LaunchDarkly's audit log (`GET /api/v2/auditlog`), as rows of `raw.changes`.

Of an entry only what tells the change is kept: titles, descriptions and comments name people and go, and so does all
about members. Entries of other kinds than flags land too; staging leaves them aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from dagster_project.sources.changes.change_lists import without_refused_values
from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, as_json, identifier, listed_or_single
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

_KEPT = ("_id", "date", "kind", "titleVerb")
_NAMED_KINDS = ("flag", "segment", "environment", "project")  # the names of the others may be people's


def _stored(entry: Mapping[str, Any]) -> dict[str, Any]:
    stored = {name: entry[name] for name in _KEPT if name in entry}
    if entry.get("kind") not in _NAMED_KINDS:
        return stored
    stored |= {"name": entry["name"]} if "name" in entry else {}
    accesses = entry.get("accesses")
    if isinstance(accesses, list):
        stored["accesses"] = [
            {name: access.get(name) for name in ("action", "resource")}
            for access in accesses
            if isinstance(access, dict)
        ]
    return stored


def _columns(entry: Mapping[str, Any]) -> dict[str, str]:
    change_id = identifier(entry, "_id")
    identifier(entry, "kind")
    found = entry.get("date")
    if found is None:
        raise Malformed("date is null", Reason.TIME_MISSING)
    if not isinstance(found, int) or isinstance(found, bool):
        raise Malformed(f"date is {found!r:.80}, not milliseconds since 1970", Reason.TIME_MALFORMED)
    if not _milliseconds(EARLIEST) <= found < _milliseconds(LATEST):
        raise Malformed(f"date is {found}", Reason.TIME_OUT_OF_RANGE)
    return {"system": "launchdarkly", "change_id": change_id, "payload": as_json(_stored(entry))}


def _milliseconds(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp()) * 1000


_ENTITY = Entity(
    objects=listed_or_single("items", is_single=lambda value: "_id" in value and "date" in value),
    columns=_columns,
    arrays=("items",),
)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return without_refused_values(json_objects.batches(stream, _ENTITY), _shown)


def _shown(raw: str) -> str | None:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return as_json(_stored(found)) if isinstance(found, dict) else None


def _recognises(start: bytes) -> bool:
    return start.lstrip().startswith((b"[", b"{")) and b'"titleVerb"' in start and b'"_id"' in start


FORMAT = Format(
    name="launchdarkly",
    table="raw.changes",
    happened_at="make_timestamp(try_cast(payload ->> 'date' as bigint) * 1000)",
    recognises=_recognises,
    batches=_batches,
    filled_from={"change_id": ("_id",)},
)
