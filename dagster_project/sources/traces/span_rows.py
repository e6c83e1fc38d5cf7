"""Spans of JSON documents other than OTLP's: a column of texts, one a span, through SQL to rows of `raw.spans`.

What a span's fields are called and mean is its format's business; ids, times and what is refused are the same for all
and stand here. A text that is not as the format has it to the letter is read once more in Python, alone.
"""

from __future__ import annotations

import atexit
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from string import Template
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import int64, nulls, texts_of
from dagster_project.sources.decoding.reading import Block
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST, shown, time_reason
from dagster_project.sources.otlp.otlp_salvage import Row, decoded, raw_text
from dagster_project.sources.otlp.otlp_values import Malformed, json_string
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

ROWS = pa.schema(
    [
        ("line", pa.int64()),
        ("record", pa.int64()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("trace_state", pa.string()),
        ("service_name", pa.string()),
        ("service_version", pa.string()),
        ("span_name", pa.string()),
        ("kind", pa.int32()),
        ("started", pa.string()),  # microseconds, as sent
        ("duration", pa.string()),  # microseconds, as sent
        ("status_code", pa.int32()),
        ("status_message", pa.string()),
        ("scope_name", pa.string()),
        ("scope_version", pa.string()),
        ("dropped_attributes_count", pa.uint32()),
        ("dropped_events_count", pa.uint32()),
        ("dropped_links_count", pa.uint32()),
        ("attributes", pa.string()),
        ("resource_attributes", pa.string()),
        ("events", pa.string()),
        ("links", pa.string()),
    ]
)
# Measured: with 4 MiB making plans for so long a query takes a tenth of the time, with 16 MiB memory grows by a third.
BLOCK_BYTES = 8 << 20
DURATION_MISSING = "hindcast.duration_missing"  # the attribute of a span that never said when it ended


@dataclass(frozen=True)
class SpanForm:
    """How the spans of one format become `ROWS`.

    Parameters
    ----------
    sql
        A query over `spans` (line, record, doc and what the format adds) that yields the columns of `ROWS` and
        `is_regular`, in the same order: false or null where it may have misread the span, which then is read by `row`.
        `doc` need not be JSON.
    row
        From a decoded span and the further columns of `spans` to the columns of `ROWS` without line and record.
        Raises `Malformed`.
    known
        The names of a span's fields that are kept.
    path
        What stands before a field's name in the ledger's list of unknown fields.
    names
        What the format calls trace id, span id, parent's span id and start.
    """

    sql: str
    row: Callable[[Mapping[str, Any], Mapping[str, Any]], Row]
    known: frozenset[str]
    path: str
    names: tuple[str, str, str, str]


@dataclass(frozen=True)
class Sent:
    """Spans that are still texts, and the block that they came from."""

    spans: pa.Table
    block: Block


def batches(sent: Iterable[Sent | Batch], form: SpanForm, service_name: str | None) -> Iterator[Batch]:
    """Spans as batches, and the batches of refusals that stand between them.

    Finding the texts runs in a thread of its own: it takes about as long as landing them.
    """
    with ahead(sent, depth=1) as pieces:
        for piece in pieces:
            yield piece if isinstance(piece, Batch) else batch(piece.spans, form, service_name, piece.block)


# --- texts ------------------------------------------------------------------------------------------------------------


def texts(block: Block) -> tuple[pa.Table, list[Refusal]]:
    """The lines of a block as columns `line` and `doc`, those that are not UTF-8 as refusals."""
    try:
        return _texts(block), []
    except pa.ArrowInvalid:
        good, refusals = [], []
        for number, line in block.lines():
            try:
                line.decode()
                good.append(Block(number, line))
            except UnicodeDecodeError as bad:
                detail = f"byte {bad.start + 1} is not UTF-8"
                refusals.append(Refusal(number, None, Reason.NOT_UTF8, detail, clipped(line)))
        empty = pa.table({"line": pa.nulls(0, pa.int64()), "doc": pa.nulls(0, pa.string())})
        return pa.concat_tables([empty, *map(_texts, good)]), refusals


def _texts(block: Block) -> pa.Table:
    """Texts keep their newline, which JSON does not mind, so that they need no copy."""
    size = len(block.data)
    ends = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord("\n")) + 1
    if not len(ends) or ends[-1] < size:
        ends = np.append(ends, size)
    offsets = pa.py_buffer(np.append(0, ends).astype(np.int32))
    binary = pa.Array.from_buffers(pa.binary(), len(ends), [None, offsets, pa.py_buffer(block.data)])
    return pa.table(
        {"line": int64(np.arange(block.first_line, block.first_line + len(ends))), "doc": binary.cast(pa.string())}
    )


# --- rows -------------------------------------------------------------------------------------------------------------

_thread = threading.local()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """Of one thread, as the callers are the parallel part; making one takes longer than a small file."""
    found = duckdb.connect(":memory:", config={"threads": 1})
    atexit.register(found.close)
    return found


def query(sql: str, tables: Mapping[str, pa.Table], parameters: Iterable[object] = ()) -> pa.Table:
    """What a query over Arrow tables yields."""
    if not hasattr(_thread, "connection"):
        _thread.connection = _memory().cursor()
    connection: duckdb.DuckDBPyConnection = _thread.connection
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return connection.sql(sql, params=list(parameters)).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


# What might fill nulls in Arrow's columns, a scalar of Python, imports pandas.
_READ = Template("select * replace (coalesce(is_regular, false) as is_regular) from ($sql)")
_KEYS = "select distinct unnest(json_keys(doc)) as name from spans"


def batch(spans: pa.Table, form: SpanForm, service_name: str | None, lines: Block | None = None) -> Batch:
    """Spans as one batch.

    Parameters
    ----------
    spans
        Columns line, record, doc, and others that `form` reads.
    service_name
        Of spans that name no service.
    lines
        The block that they came from.
    """
    if not spans.num_rows:
        return Batch()
    found = query(_READ.substitute(sql=form.sql), {"spans": spans})
    is_regular = found.column("is_regular")
    whole = found.filter(is_regular).select(ROWS.names).cast(ROWS)
    fields = query(_KEYS, {"spans": spans.filter(is_regular)}).column("name").to_pylist()
    unknown = {name for name in fields if name not in form.known}
    odd, refusals = _one_by_one(spans.filter(pc.invert(is_regular)), form, unknown)
    rows = pa.concat_tables([whole, odd])
    fallback = nulls(1) if service_name is None else texts_of(service_name)
    return Batch(
        rows.num_rows,
        {"span_rows": rows, "span_service": pa.table({"fallback": fallback})},
        _select(*form.names),
        refusals,
        frozenset(f"{form.path}{name}" for name in unknown),
        raw_of=lambda line, record: _raw_of(spans, line, record),
        lines=lines,
    )


def _raw_of(spans: pa.Table, line: int, record: int) -> str | None:
    here = pc.and_(pc.equal(spans.column("line"), line), pc.equal(spans.column("record"), record))
    found = spans.column("doc").filter(here).to_pylist()
    return clipped(found[0].strip()) if found else None


def _one_by_one(spans: pa.Table, form: SpanForm, unknown: set[str]) -> tuple[pa.Table, list[Refusal]]:
    rows: list[Row] = []
    refusals: list[Refusal] = []
    for sent in spans.to_pylist():
        line, record, text = sent["line"], sent["record"], sent["doc"].strip()
        if not text:
            continue
        try:
            value = json_object(text)
            rows.append({"line": line, "record": record, **form.row(value, sent)})
            unknown |= value.keys() - form.known
        except Malformed as error:
            refusals.append(Refusal(line, record, error.reason, str(error), clipped(text)))
        except RecursionError:
            refusals.append(Refusal(line, record, Reason.STRUCTURE, "nested too deeply to be read", clipped(text)))
    return pa.Table.from_pylist(rows, ROWS) if rows else pa.Table.from_batches([], ROWS), refusals


def json_object(text: str, what: str = "a span") -> dict[str, Any]:
    """A text as Python objects, of a repeated name the first.

    Raises
    ------
    Malformed
        The text is no JSON, or no object.
    """
    decoded(text.encode())  # it is strict where the reader that keeps the first of a name is not
    try:
        value = json.loads(text, object_pairs_hook=_first_of_each)
    except ValueError as error:  # a number of thousands of digits
        raise Malformed(str(error)) from None
    if not isinstance(value, dict):
        raise Malformed(f"{what} is {type(value).__name__}, not an object", Reason.STRUCTURE)
    return value


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    first: dict[str, Any] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    return first


# --- SQL: from rows as they were read to rows and reasons -------------------------------------------------------------

# Ids may lack leading zeros: 64-bit trace ids are 128-bit ones whose upper half is zero.
_JUDGED = Template(
    """
    with parsed as (
        select *,
            case when regexp_full_match(trace_id, '[0-9a-fA-F]{1,32}') then lpad(trace_id, 32, '0')::uuid end
                as trace_uuid,
            case when regexp_full_match(span_id, '[0-9a-fA-F]{1,16}') then ('0x' || span_id)::ubigint end
                as span_number,
            case when regexp_full_match(parent_span_id, '[0-9a-fA-F]{1,16}') then ('0x' || parent_span_id)::ubigint
                end as parent_number,
            try_cast(started as bigint) as sent_us,
            case when sent_us >= $earliest and sent_us < $latest then sent_us end as start_us,
            try_cast(coalesce(duration, '0') as bigint) as duration_us,
            case when duration_us between -$latest and $latest then start_us + duration_us end as sum_us,
            case when sum_us >= $earliest and sum_us < $latest then sum_us end as end_us
        from span_rows
    ),
    judged as (
        select *, case
            when coalesce(trace_id, '') = '' then 'trace_id_missing'
            when trace_uuid is null then 'trace_id_malformed'
            when trace_uuid = '00000000-0000-0000-0000-000000000000' then 'trace_id_zero'
            when coalesce(span_id, '') = '' then 'span_id_missing'
            when span_number is null then 'span_id_malformed'
            when span_number = 0 then 'span_id_zero'
            when parent_span_id <> '' and parent_number is null then 'parent_span_id_malformed'
            when start_us is null then $start_reason
            when duration_us < 0 then 'ends_before_start'
            when end_us is null and not regexp_full_match(duration, '[+-]?[0-9]+') then 'time_malformed'
            when end_us is null then 'time_out_of_range'
        end as reason
        from parsed
    )
    select
        line, record, trace_uuid as trace_id, span_number as span_id, nullif(parent_number, 0) as parent_span_id,
        nullif(trace_state, '') as trace_state, coalesce(nullif(service_name, ''), fallback) as service_name,
        service_version, coalesce(span_name, '') as span_name, kind,
        make_timestamp_ns(start_us * 1000) as started_at, make_timestamp_ns(end_us * 1000) as ended_at,
        status_code, nullif(status_message, '') as status_message,
        nullif(scope_name, '') as scope_name, nullif(scope_version, '') as scope_version,
        dropped_attributes_count, dropped_events_count, dropped_links_count,
        attributes, resource_attributes, events, links, reason,
        case
            when reason like 'trace_id%' then $trace_shown
            when reason like 'span_id%' then $span_shown
            when reason like 'parent_span_id%' then $parent_shown
            when start_us is null then $start_shown
            when reason is not null then $duration_shown
        end as detail
    from judged cross join span_service
    """
)


def _select(trace: str, span: str, parent: str, start: str) -> str:
    return _JUDGED.substitute(
        earliest=int(EARLIEST.timestamp()) * 1_000_000,
        latest=int(LATEST.timestamp()) * 1_000_000,
        start_reason=time_reason("started"),
        trace_shown=shown(trace, "trace_id"),
        span_shown=shown(span, "span_id"),
        parent_shown=shown(parent, "parent_span_id"),
        start_shown=shown(start, "started"),
        duration_shown=shown("duration", "duration"),
    )


# --- JSON texts, as `otlp_values` has them ----------------------------------------------------------------------------


def object_text(members: Iterable[tuple[str, str]]) -> str | None:
    """An object of keys and JSON texts, of a repeated key the first; None when it would be empty."""
    first: dict[str, str] = {}
    for key, text in members:
        first.setdefault(json_string(key), text)
    return "{" + ",".join(f"{key}:{text}" for key, text in first.items()) + "}" if first else None


def json_text(value: object) -> str:
    """A plain JSON value as decoded by orjson, compact; an int stays `2`, a double `2.0`."""
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, dict):
        return object_text((str(key), json_text(item)) for key, item in value.items()) or "{}"
    return _scalar_text(value)


def _scalar_text(value: object) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() if not -(1 << 63) <= value < 1 << 63:
            return f'{{"intValue":"{value}"}}'
        case float() if not math.isfinite(value):
            name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
            return f'{{"doubleValue":"{name}"}}'
    return repr(value)


def event_text(microseconds: str | None, name: str | None, attributes: str | None) -> str:
    """An event as `raw.spans` keeps those of OTLP."""
    at = "null" if microseconds is None else f'"{nanoseconds_text(microseconds)}"'
    named = "null" if name is None else json_string(name)
    return f'{{"timeUnixNano":{at},"name":{named},"attributes":{attributes or "{}"},"droppedAttributesCount":0}}'


def nanoseconds_text(microseconds: str) -> str:
    """The digits of microseconds as those of nanoseconds.

    Raises
    ------
    Malformed
        They are no digits.
    """
    if not (microseconds.isascii() and microseconds.isdigit()):
        raise Malformed(f"the time of an event is {microseconds[:80]!r}, not microseconds", Reason.FIELD_MALFORMED)
    return microseconds + "000"


def not_an(wanted: str, sent: Mapping[str, Any]) -> Refusal:
    """The refusal of an element that is not what its format has there."""
    text = str(sent["doc"]).strip()
    try:
        value = decoded(text.encode())
    except Malformed as error:
        return Refusal(sent["line"], None, error.reason, str(error), clipped(text))
    detail = f"an element is {type(value).__name__}, not {wanted}"
    return Refusal(sent["line"], None, Reason.STRUCTURE, detail, raw_text(value))
