"""Jira issues as rows of `raw.tickets`, as sent: answers of the REST search with `expand=changelog` (its versions 2 and
3), issues one a line, and CSV exports. What a status means, and what zone a CSV's times are in, is staging's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources.decoding import csv_rows, json_objects
from dagster_project.sources.decoding.json_objects import (
    Entity,
    as_json,
    check_clock,
    has_array,
    identifier,
    listed_or_single,
    nested,
)
from dagster_project.sources.decoding.reading import ByteStream, head
from dagster_project.sources.format import Format, ReadOptions, unknown_fields
from dagster_project.sources.incidents import csv_tickets
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

# What exports write by default, with two and four digits of a year, and what administrators set instead.
_TIME_FORMATS = [
    f"{day}{space}{clock}"
    for day, space in (("%d/%b/%y", " "), ("%d/%b/%Y", " "), ("%d/%m/%Y", " "), ("%Y-%m-%d", " "))
    for clock in ("%I:%M %p", "%H:%M", "%H:%M:%S")
]
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*"


def _time(text: str) -> str:
    """SQL: a time of an export without regard to its zone; one that names a zone in UTC."""
    iso = f"case when regexp_full_match(trim({text}), '{_ISO}') then try_cast({text} as timestamptz) end"
    return f"coalesce({_local(text)}, {iso} at time zone 'UTC')"


def _local(text: str) -> str:
    """SQL: a time that names no zone; null when it is another."""
    return f"try_strptime(trim({text}), {_TIME_FORMATS})"


_COLUMNS = csv_tickets.Columns(
    system="jira",
    ticket_id="Issue key",
    required_at="Created",
    times=("Resolved",),
    time=_time,
    shape="29/Jan/23 8:44 AM in English",
)


# What `fields` of a source may map: organisations keep these in fields of their own.
FIELDS = frozenset({"severity", "service", "team", "category", "started_at", "detected_at", "mitigated_at"})


def _entity(fields: Mapping[str, str]) -> Entity:
    def columns(issue: Mapping[str, Any]) -> dict[str, str]:
        return _columns(issue) | ({"payload": as_json(_mapped(issue, fields))} if fields else {})

    return Entity(
        objects=listed_or_single("issues", is_single=lambda value: "key" in value and "fields" in value),
        columns=columns,
        arrays=("issues",),
    )


def _columns(issue: Mapping[str, Any]) -> dict[str, str]:
    key = identifier(issue, "key")
    fields = nested(issue, "fields")
    check_clock(fields, "created", is_required=True)
    check_clock(fields, "resolutiondate")
    histories = issue.get("changelog", {})
    if not isinstance(histories, dict) or not isinstance(histories.get("histories", []), list):
        raise Malformed("changelog is no object with a list of histories", Reason.STRUCTURE)
    for history in histories.get("histories", []):
        if not isinstance(history, dict):
            raise Malformed(f"a history is {history!r:.80}", Reason.STRUCTURE)
        check_clock(history, "created", is_required=True)
    return {"system": "jira", "ticket_id": key}


def _mapped(issue: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The issue with what the source maps under one more key."""
    found = {field: _text_at(issue["fields"], path) for field, path in fields.items()}
    for field in found:
        if field.endswith("_at"):
            check_clock(found, field)
    return {**issue, csv_tickets.MAPPED: {field: text for field, text in found.items() if text is not None}}


def _text_at(value: object, path: str) -> str | None:
    """The text at keys with dots between; of a choice its value or name, of several the first."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    for _ in range(2):  # a list of choices
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = value.get("value", value.get("name"))
    return str(value) if isinstance(value, str | int | float) and value != "" else None


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    if refusal := unknown_fields(options, FIELDS):
        yield Batch(refusals=[refusal])
    elif _is_csv(head(stream.path)):
        yield from csv_tickets.batches(stream, _COLUMNS, options.fields)
    else:
        yield from json_objects.batches(stream, _entity(options.fields))


def _is_csv(start: bytes) -> bool:
    return {"issue key", "status"} <= {name.lower() for name in csv_rows.header(start)}


# Names that issues have and log records with keys and fields of their own have not.
_FIELDS = (b'"issuetype"', b'"resolutiondate"', b'"changelog"', b'"statuscategorychangedate"')


def _recognises(start: bytes) -> bool:
    is_json = start.lstrip()[:1] in (b"{", b"[") and all(key in start for key in (b'"key"', b'"fields"'))
    is_ours = has_array(start, ("issues",)) or any(name in start for name in _FIELDS)
    return (is_json and is_ours) or _is_csv(start)


_CREATED = "try_cast(payload ->> '$.fields.created' as timestamptz)"
_CSV_CREATED = "payload ->> 'Created'"

FORMAT = Format(
    name="jira",
    table="raw.tickets",
    happened_at=f"coalesce({_CREATED} at time zone 'UTC', {_time(_CSV_CREATED)})",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"time_zone", "fields"}),
    local_at=_local(_CSV_CREATED),
    fields=FIELDS,
    filled_from={"ticket_id": ("key", "Issue key")},
)
