"""JSON lines: one log record a line, as application loggers write them; which key holds what, the source may say.

The keys that are tried where the source says nothing are in `DEFAULTS`, in their order. `logfmt.py` reads its lines
through `decoded`, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from string import Template
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import taken
from dagster_project.sources.decoding.reading import Block, ByteStream, blocks
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions, unknown_fields
from dagster_project.sources.logs import log_records, trace_context
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Refusal

# A key with dots is looked for as it stands, then as a path into nested objects. The first that holds a value counts.
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "occurred_at": ("timestamp", "@timestamp", "time", "ts"),
    "severity": ("level", "severity", "severity_text", "severityText", "log.level", "levelname", "lvl"),
    "severity_number": ("severity_number", "severityNumber"),
    "body": ("message", "msg", "body", "short_message"),
    "service_name": ("service", "service.name", "service_name", "serviceName"),
    "trace_id": ("trace_id", "traceId", "traceID", "traceid", "trace.id", "dd.trace_id", "traceparent"),
    "span_id": ("span_id", "spanId", "spanID", "spanid", "span.id", "dd.span_id", "traceparent"),
    "event_name": ("event_name", "eventName", "event.name"),
    "observed_at": ("observed_at", "observed_timestamp", "observedTimestamp"),
}
# A word for the severity becomes a number, too.
FILLED_FROM = {
    **DEFAULTS,
    "severity_text": ("severity",),
    "severity_number": (*DEFAULTS["severity_number"], "severity"),
}
FIELDS = frozenset(DEFAULTS) - {"severity_number"}
# Planning the query takes as long as four thousand lines: twice the other formats' block is a tenth faster.
BLOCK_BYTES = 2 * log_records.BLOCK_BYTES
PATCHES_A_STEP = 1024  # of each combination of keys that a record can use, the patch that takes them out


@dataclass(frozen=True)
class Place:
    """One place where a field may be: the keys that lead to it, from the outermost."""

    field: str
    keys: tuple[str, ...]

    @property
    def pointer(self) -> str:
        return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in self.keys)

    @property
    def name(self) -> str:
        return ".".join(self.keys)


def places(fields: Mapping[str, str]) -> tuple[Place, ...]:
    """Where every field is looked for, in order; a declared field is looked for at its own key only."""
    keys = {**DEFAULTS, **{name: (key,) for name, key in fields.items()}}
    if "severity" in fields and "severity_number" not in fields:
        is_number = re.sub(r"[^a-z]", "", fields["severity"].lower().rpartition(".")[2]) == "severitynumber"
        keys["severity_number"] = (fields["severity"],) if is_number else ()
    found: list[Place] = []
    for field in DEFAULTS:
        for key in keys[field]:
            found.append(Place(field, (key,)))
            parts = tuple(key.split("."))
            # A number would point into an array, which has no keys to take out.
            if len(parts) > 1 and not any(part.isdigit() or not part for part in parts):
                found.append(Place(field, parts))
    return tuple(found)


def batches(stream: ByteStream, options: ReadOptions, block_bytes: int = BLOCK_BYTES) -> Iterator[Batch]:
    """Decode a stream of JSON lines; memory is bounded by a few blocks."""
    if refusal := unknown_fields(options, FIELDS):
        yield Batch(refusals=[refusal])
        return
    everywhere = places(options.fields)
    with ahead(_prepared(stream, everywhere, block_bytes)) as pieces:
        for piece in pieces:
            yield Batch(refusals=[piece]) if isinstance(piece, Refusal) else decoded(piece, options)


@dataclass(frozen=True)
class Objects:
    """Lines that ought to be JSON objects, and the places that some of them can use.

    `lines` has the columns `line`, `text`, and `raw`, the line as it was sent.
    """

    block: Block
    lines: pa.Table
    refusals: Sequence[Refusal]
    found: tuple[Place, ...]


def objects(block: Block, lines: pa.Table, refusals: Sequence[Refusal], everywhere: tuple[Place, ...]) -> Objects:
    """The lines, with what is known of their keys: looking for all places costs more than finding out."""
    is_json = log_records.run(_IS_JSON, {"log_lines": lines}).column("is_json")
    lines = lines.append_column("is_json", is_json)
    keys = set(log_records.run(_KEYS, {"log_lines": lines}).column("key").to_pylist())
    return Objects(block, lines, refusals, tuple(place for place in everywhere if place.keys[0] in keys))


def decoded(found: Objects, options: ReadOptions) -> Batch:
    """The batch of some lines."""
    query = _query(found.found, options.time_zone)
    parameters = {**query.parameters, "service_name": options.service_name}
    rows = log_records.run(query.sql, {"log_lines": found.lines}, parameters)
    return log_records.batch(_with_said_numbers(rows), found.refusals, found.block)


def _prepared(stream: ByteStream, everywhere: tuple[Place, ...], block_bytes: int) -> Iterator[Objects | Refusal]:
    for piece in blocks(stream, block_bytes):
        if isinstance(piece, Refusal):
            yield piece
        else:
            lines = text_lines(piece, keep_ends=True)
            table = lines.table.append_column("raw", lines.table["text"])
            yield objects(piece, table, lines.refusals, everywhere)


_IS_JSON = "select json_valid(text) as is_json from log_lines"
_KEYS = "select distinct unnest(json_keys(text)) as key from log_lines where is_json"


# --- NaN and Infinity: no JSON, but what Python's logger writes -------------------------------------------------------


def _with_said_numbers(rows: pa.Table) -> pa.Table:
    """The rows with `NaN` and `Infinity` in their attributes replaced by `{"doubleValue": "NaN"}`, as OTLP's are."""
    suspects = rows.column("has_odd_number").combine_chunks()
    rows = rows.drop_columns(["has_odd_number"])
    if not pc.any(suspects).as_py():
        return rows
    column = rows.column("attributes").combine_chunks()
    replaced: dict[int, str] = {}
    for place in pc.indices_nonzero(suspects).to_pylist():
        text = column[place].as_py()
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            replaced[place] = _said_as_otlp(text)
    places = np.full(len(column), -1)
    places[list(replaced)] = np.arange(len(replaced))
    said = pa.Table.from_pydict({"said": list(replaced.values())}, schema=pa.schema([("said", column.type)]))
    found = taken(said.column("said").combine_chunks(), places)
    return rows.set_column(rows.schema.get_field_index("attributes"), "attributes", pc.coalesce(found, column))


def _said_as_otlp(text: str) -> str:
    try:
        return json.dumps(json.loads(text, parse_constant=lambda name: {"doubleValue": name}), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text  # nested too deeply, or a number of thousands of digits: DuckDB reads it all the same


# --- SQL --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Query:
    sql: str
    parameters: Mapping[str, Any]


@lru_cache(maxsize=64)
def _query(found: tuple[Place, ...], time_zone: str) -> _Query:
    """The query for lines that may use these places.

    A field takes the first of its places that holds something; `<field>_at` is its number within the field, 0 for
    none. What was taken is taken out of the attributes by a JSON merge patch, chosen from a list by those numbers.
    """
    of_field = {field: [n for n, p in enumerate(found) if p.field == field] for field in DEFAULTS}
    reads = "".join(f", {_read(place, n)} as read_{n}" for n, place in enumerate(found))
    chosen = ", ".join(f"{_chosen(numbers)} as {field}_at" for field, numbers in of_field.items())
    values = ", ".join(f"{_value(numbers)} as {field}" for field, numbers in of_field.items())
    attributes, patches = _attributes(found, of_field)
    parameters: dict[str, Any] = {"pointers": [place.pointer for place in found] or ["/none"]}
    rows = _NAMED.substitute(reads=reads, chosen=chosen, values=values, attributes=attributes)
    rows = log_records.timed(rows, "occurred_at", "occurred_ns", time_zone)
    if of_field["observed_at"]:
        rows = log_records.timed(rows, "observed_at", "observed_ns", time_zone)
    else:
        rows = f"select *, null::bigint as observed_ns from ({rows})"  # noqa: S608 (no value is in it)
    return _Query(_ROWS.substitute(rows=rows), parameters | patches)


def _read(place: Place, number: int) -> str:
    """SQL: what the field can use of the value at one of its places; null when that is nothing."""
    name = place.name.lower()
    kind = "parent" if name.endswith("traceparent") else "decimal" if name.startswith("dd.") else ""
    reader = _READERS.get((place.field, kind)) or _READERS.get((place.field, "")) or "nullif({0}, '')".format
    return reader(f"found[{number + 1}]")


def _name(column: str) -> str:
    # `"service": {"name": …}` is no name
    return f"case when {column} <> '' and substr({column}, 1, 1) not in ('{{', '[') then {column} end"


_READERS: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("trace_id", ""): trace_context.trace_hex,
    ("trace_id", "decimal"): trace_context.decimal_trace_hex,
    ("trace_id", "parent"): trace_context.parent_trace_hex,
    ("span_id", ""): trace_context.span_hex,
    ("span_id", "decimal"): trace_context.decimal_span_hex,
    ("span_id", "parent"): trace_context.parent_span_hex,
    ("severity_number", ""): "case when try_cast({0} as utinyint) <= 24 then {0} end".format,
    ("severity", ""): _name,
    ("service_name", ""): _name,
    ("event_name", ""): _name,
    ("body", ""): str,
}


def _chosen(numbers: list[int]) -> str:
    """SQL: which of a field's places was taken, counted from 1; 0 for none."""
    cases = " ".join(f"when read_{n} is not null then {k}" for k, n in enumerate(numbers, 1))
    return f"case {cases} else 0 end" if numbers else "0"


def _value(numbers: list[int]) -> str:
    return f"coalesce({', '.join(f'read_{n}' for n in numbers)}, null)" if numbers else "null::varchar"


def _attributes(found: tuple[Place, ...], of_field: Mapping[str, list[int]]) -> tuple[str, dict[str, list[str]]]:
    """SQL: the object without what was taken; and the lists of patches that it chooses from."""
    sql = "text"
    parameters: dict[str, list[str]] = {}
    for step, fields in enumerate(_steps({field: len(numbers) for field, numbers in of_field.items() if numbers})):
        options = [[None, *(found[n].keys for n in of_field[field])] for field in fields]
        parameters[f"patches_{step}"] = [_patch([keys for keys in taken if keys]) for taken in product(*options)]
        index = "0"
        for field, choices in zip(fields, options, strict=True):
            index = f"({index} * {len(choices)} + {field}_at)"
        sql = f"json_merge_patch({sql}, $patches_{step}[{index} + 1])"
    return sql, parameters


def _steps(sizes: Mapping[str, int]) -> list[list[str]]:
    """The fields, grouped so that no group has more than `PATCHES_A_STEP` combinations."""
    groups: list[list[str]] = []
    for field, size in sizes.items():
        if groups and prod(sizes[other] + 1 for other in groups[-1]) * (size + 1) <= PATCHES_A_STEP:
            groups[-1].append(field)
        else:
            groups.append([field])
    return groups


def _patch(taken: list[tuple[str, ...]]) -> str:
    patch: dict[str, Any] = {}
    for keys in taken:
        inner = patch
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if inner is None:
                break  # all of it was taken already
        else:
            inner[keys[-1]] = None
    return json.dumps(patch, ensure_ascii=False)


_NAMED = Template(
    """
    select *, $attributes as attributes
    from (
        select *, $chosen, $values
        from (
            select * exclude (found) $reads
            from (
                select *, json_extract_string(text, $$pointers) as found
                from (
                    select line, raw, line_reason, case when line_reason is null then text else '{}' end as text
                    from (
                        select line, text, raw,
                            case when not is_json then 'not_json'
                                 when not starts_with(ltrim(text), '{') then 'structure' end as line_reason
                        from log_lines
                        where not regexp_full_match(text, '\\s*')
                    )
                )
            )
        )
    )
    """
)
_ROWS = Template(
    """
    select
        line, case when line_reason is null then 1::bigint end as record,
        occurred_ns, observed_ns, trace_id as trace_hex, span_id as span_hex,
        coalesce(service_name, $$service_name::varchar) as service_name,
        severity_number::utinyint as severity_number, severity as severity_text, event_name, body,
        nullif(attributes::varchar, '{}') as attributes, null::varchar as resource_attributes,
        coalesce(line_reason, occurred_ns_reason) as reason,
        case when reason is not null then case reason
            when 'not_json' then 'the line is no JSON'
            when 'structure' then 'the line is JSON, but no object'
            when 'time_missing' then 'no time under the keys that are looked at; name the key under `fields:`'
            else 'the time is ' || substr(occurred_at, 1, 80)
        end end as detail,
        case when reason is not null then rtrim(raw, chr(10) || chr(13)) end as raw,
        contains(attributes, 'NaN') or contains(attributes, 'Infinity') as has_odd_number
    from ($rows)
    """
)


# --- recognition ------------------------------------------------------------------------------------------------------


def has_keys(value: Mapping[str, Any], field: str) -> bool:
    """Whether an object holds something where the field is looked for."""
    return any(_at(value, place.keys) is not None for place in places({}) if place.field == field)


def _at(value: object, keys: tuple[str, ...]) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _recognises(head: bytes) -> bool:
    first = head.lstrip().split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return False
    try:
        value = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return has_keys(value, "occurred_at") and has_keys(value, "body")


FORMAT = Format(
    name="json_lines",
    table=log_records.TABLE,
    happened_at=log_records.HAPPENED_AT,
    recognises=_recognises,
    batches=batches,
    uses=frozenset({"time_zone", "service_name", "fields"}),
    fields=FIELDS,
    filled_from=FILLED_FROM,
)
