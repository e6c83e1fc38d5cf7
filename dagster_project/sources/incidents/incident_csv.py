"""Incidents as CSV of whatever tool, as rows of `raw.incidents` in Hindcast's own form; `fields` of the source says
which column is what. The row as it was sent stays in the payload, under `sent`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dagster_project.sources.decoding import csv_rows, json_objects
from dagster_project.sources.decoding.json_objects import Entity, array, as_json, check_clock, identifier
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions, unknown_fields
from dagster_project.sources.incidents.incidents import CLOCKS, COUNTS, SCORES, TEXTS
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal

DATE_FORMAT = "date_format"  # in `fields`: no column, but how the columns write their times, as strptime has it
TIMES = ("created_at", *CLOCKS)
FIELDS = frozenset({"incident_id", *TIMES, *TEXTS, *COUNTS, *SCORES})

_CLOCK = r"(?:,?[T ]+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?: ?([AaPp])\.?[Mm]\.?)?)?"
_BY_NUMBER = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})" + _CLOCK, re.ASCII)
_BY_YEAR = re.compile(r"(\d{4})([/-])(\d{1,2})\2(\d{1,2})" + _CLOCK, re.ASCII)
_WITH_ZONE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)", re.ASCII)

ReadTime = Callable[[str], datetime]


@dataclass(frozen=True)
class _Reading:
    """How a file's rows are read: the columns of fields, and how to read a time."""

    columns: Mapping[str, str]
    time: ReadTime


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    if refusal := unknown_fields(options, FIELDS | {DATE_FORMAT}):
        yield Batch(refusals=[refusal])
        return
    days_first = None if DATE_FORMAT in options.fields else _days_first(ByteStream(stream.path), options)
    for rows in csv_rows.rows(stream):
        yield Batch(refusals=rows.refusals)
        if not len(rows.line):
            continue
        columns = _columns_of(rows.names, options)
        if absent := [name for name in ("incident_id", "created_at") if name not in columns]:
            yield Batch(refusals=[_no_column(absent, options)])
            return
        reading = _Reading(columns, _time_reader(options, days_first))
        yield from _landed(rows, reading)


def _landed(rows: csv_rows.Rows, reading: _Reading) -> Iterator[Batch]:
    """A list of incidents has thousands of rows, not millions: a loop serves."""
    placed: list[json_objects.Placed] = []
    refusals: list[Refusal] = []
    for line, row in zip(rows.line.to_pylist(), rows.row.to_pylist(), strict=True):
        try:
            placed.append((line, 1, _incident(row, reading)))
        except Malformed as error:
            refusals.append(Refusal(line, 1, error.reason, str(error), rows.raw_of(line, 1)))
    unused = frozenset(rows.names) - frozenset(reading.columns.values())
    yield Batch(refusals=refusals, unknown_fields=unused)
    yield json_objects.batch(iter(placed), _ENTITY)


def _incident(row: Mapping[str, str], reading: _Reading) -> dict[str, object]:
    incident: dict[str, object] = {}
    for field, column in reading.columns.items():
        if not (text := (row[column] or "").strip()):
            continue
        if field in COUNTS:
            incident[field] = _count(field, text)
        elif field in TIMES:
            incident[field] = _written(field, text, reading.time)
        else:
            incident[field] = text
    return {**incident, "sent": dict(row)}


def _columns(incident: Mapping[str, object]) -> dict[str, str]:
    incident_id = identifier(incident, "incident_id")
    for name in TIMES:
        check_clock(incident, name, is_required=name == "created_at")
    return {"incident_id": incident_id, "payload": as_json(incident)}


_ENTITY = Entity(objects=array, columns=_columns)


def _count(field: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Malformed(f"{field} is {text!r:.80}, not a count", Reason.FIELD_MALFORMED)
    return int(text)


def _written(field: str, text: str, read: ReadTime) -> str:
    """The time as ISO 8601 in UTC."""
    try:
        return read(text).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{field} is {text!r:.80}: {error}", Reason.TIME_MALFORMED) from None


def _columns_of(names: list[str], options: ReadOptions) -> dict[str, str]:
    """From Hindcast's name to the file's, for what the file has; what the source does not say has its own name."""
    spelled = {name.lower(): name for name in names}
    wanted = {field: options.fields.get(field, field) for field in sorted(FIELDS)}
    return {field: spelled[name.lower()] for field, name in wanted.items() if name.lower() in spelled}


def _no_column(absent: list[str], options: ReadOptions) -> Refusal:
    named = ", ".join(f"{field} ({options.fields.get(field, field)})" for field in absent)
    detail = f"no column for {named}; say which one it is under `fields` of the source"
    return Refusal(1, None, Reason.OTHER_FORMAT, detail, None)


# --- times ------------------------------------------------------------------------------------------------------------


def _days_first(stream: ByteStream, options: ReadOptions) -> bool | None:
    """Whether dates such as 3/4/2023 begin with the day: a number over 12 anywhere in the file tells.

    None when nothing tells, or when the file contradicts itself.
    """
    is_day = {True: False, False: False}
    for rows in csv_rows.rows(stream):
        columns = _columns_of(rows.names, options)
        for name in {columns[field] for field in TIMES if field in columns}:
            for text in set(rows.row.field(name).to_pylist()):
                if (found := _BY_NUMBER.fullmatch(text.strip())) and found[2] != ".":
                    is_day[True] |= int(found[1]) > 12
                    is_day[False] |= int(found[3]) > 12
    return None if is_day[True] == is_day[False] else is_day[True]


def _time_reader(options: ReadOptions, days_first: bool | None) -> ReadTime:
    zone = ZoneInfo(options.time_zone)
    written = options.fields.get(DATE_FORMAT)

    def in_zone(at: datetime) -> datetime:
        return at if at.tzinfo else at.replace(tzinfo=zone)

    if written is not None:
        return lambda text: in_zone(datetime.strptime(text, written))
    return lambda text: in_zone(_read(text, days_first))


def _read(text: str, days_first: bool | None) -> datetime:
    if _WITH_ZONE.fullmatch(text):
        return datetime.fromisoformat(text)
    if found := _BY_YEAR.fullmatch(text):
        return _made(int(found[1]), int(found[3]), int(found[4]), found.groups()[4:])
    if not (found := _BY_NUMBER.fullmatch(text)):
        raise ValueError("no time that is known; say how it is written under fields.date_format of the source")
    first, second = int(found[1]), int(found[3])
    if found[2] != "." and days_first is None and first != second:
        raise ValueError("day or month first? Nothing in the file tells: say so under fields.date_format of the source")
    day, month = (first, second) if days_first or found[2] == "." else (second, first)
    return _made(int(found[4]), month, day, found.groups()[4:])


def _made(year: int, month: int, day: int, clock: tuple[str | None, ...]) -> datetime:
    hour, minute, second, fraction, half = clock
    hours = int(hour or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            raise ValueError(f"{hours} is no hour of a clock of twelve")
        hours = hours % 12 + (12 if half in "pP" else 0)
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    return datetime(year, month, day, hours, int(minute or 0), int(second or 0), microsecond)


def _recognises(head: bytes) -> bool:
    return {"incident_id", "created_at"} <= {name.lower() for name in csv_rows.header(head)}


FORMAT = Format(
    name="incident_csv",
    table="raw.incidents",
    happened_at="try_cast(payload ->> 'created_at' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"time_zone", "fields"}),
    fields=FIELDS | {DATE_FORMAT},
    filled_from={name: (name,) for name in FIELDS},  # whatever capitals the file has
)
