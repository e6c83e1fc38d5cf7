"""Lists of changes that people and scripts write: a JSON array, JSON lines, or CSV with the same names.

What one entry must say, its own module knows; here a source's names, zone and service are applied to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dagster_project.sources.decoding import csv_rows, json_objects
from dagster_project.sources.decoding.json_objects import Entity, as_json
from dagster_project.sources.decoding.reading import ByteStream, head
from dagster_project.sources.format import ReadOptions
from dagster_project.warehouse.batches import Batch

USES = frozenset({"fields", "service_name", "time_zone"})

_NUMBER = re.compile(r"\d{9,13}(?:\.\d{1,9})?")
_MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138; no such time is in milliseconds before 1973
_WITH_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)$")
Entry = dict[str, Any]


@dataclass(frozen=True)
class ChangeList:
    """One kind of list.

    Parameters
    ----------
    names
        The fields that Hindcast has a use for.
    clock
        The field that says when; besides ISO 8601 it may be Unix seconds or milliseconds.
    columns
        As in `json_objects.Entity`.
    marks
        Columns that a CSV file of this kind has at least.
    """

    names: frozenset[str]
    clock: str
    columns: Callable[[Mapping[str, Any]], dict[str, str]]
    marks: frozenset[str]

    def batches(self, stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
        """Decode a file of it, whichever of the three it is."""
        entity = Entity(
            objects=_listed,
            columns=lambda entry: self._columns(entry, options),
            known=self.names | {name.partition(".")[0] for name in options.fields.values()},
        )
        if not self.is_csv(head(stream.path), options):
            yield from json_objects.batches(stream, entity)
            return
        yield from csv_batches(stream, entity)

    def is_csv(self, start: bytes, options: ReadOptions | None = None) -> bool:
        """Whether the first line is a header with the columns that the kind needs."""
        fields = options.fields if options else {}
        return {fields.get(name, name) for name in self.marks} <= set(csv_rows.header(start))

    def _columns(self, entry: Mapping[str, Any], options: ReadOptions) -> dict[str, str]:
        said = _in_our_words(entry, options, self.clock)
        columns = self.columns(said)
        return columns if "payload" in columns or said == entry else columns | {"payload": as_json(said)}


def csv_batches(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    """Rows of a CSV file as entities; an empty cell is null. Lists of changes have thousands of rows, not millions."""
    for rows in csv_rows.rows(stream):
        yield Batch(refusals=rows.refusals)
        sent = ({name: value or None for name, value in row.items()} for row in rows.row.to_pylist())
        placed = ((line, 1, row) for line, row in zip(rows.line.to_pylist(), sent, strict=True))
        yield json_objects.batch(placed, entity)


def without_refused_values(batches: Iterator[Batch], shown: Callable[[str], str | None]) -> Iterator[Batch]:
    """The same batches, with nothing of a refused record kept but what `shown` gives of its text."""
    for batch in batches:
        refusals = [replace(refusal, raw=shown(refusal.raw) if refusal.raw else None) for refusal in batch.refusals]
        yield replace(batch, refusals=refusals, lines=None)


def content_id(*parts: object) -> str:
    """An id for a change whose system gives none: the parts that a reader knows it by, and a hash of the last one."""
    *named, content = parts
    digest = hashlib.sha256(as_json(content).encode()).hexdigest()[:8]
    return "@".join([*(str(part) for part in named if part is not None), digest])


def _listed(value: object) -> list[object]:
    """An array's elements; one object is a list of one, and stands alone in a line of JSON lines."""
    return value if isinstance(value, list) else [value]


def _in_our_words(entry: Mapping[str, Any], options: ReadOptions, clock: str) -> Entry:
    said = dict(entry)
    for ours, theirs in options.fields.items():
        said[ours] = _at(entry, theirs)
    if said.get("service") is None and options.service_name is not None:
        said["service"] = options.service_name
    if (found := said.get(clock)) is not None:
        said[clock] = _iso(found, ZoneInfo(options.time_zone))
    return said


def _at(entry: Mapping[str, Any], path: str) -> object:
    """The value under a key, or under keys joined by dots."""
    if path in entry:
        return entry[path]
    found: object = entry
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _iso(found: object, zone: ZoneInfo) -> object:
    """Unix times and times without a zone in ISO 8601, UTC; everything else as it is, for the check to judge."""
    text = str(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else found
    if not isinstance(text, str):
        return found
    try:
        if _NUMBER.fullmatch(text):
            seconds = float(text) / (1000 if float(text) >= _MILLISECONDS else 1)
            return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
        if zone.key != "UTC" and not _WITH_ZONE.search(text[10:]):
            return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        pass
    return found
