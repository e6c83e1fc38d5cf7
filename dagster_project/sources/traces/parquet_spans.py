"""Spans in Parquet as rows of `raw.spans`: ClickHouse's `otel_traces`, and a schema of Hindcast's own.

The two are told apart by their columns; docs/formats/traces.md has both. `line` is the row's number in the file. What a
column's type asks for is settled once a file; the rows themselves are SQL's business. DuckDB reads them; from a row on
that it cannot read, and of types that it has not, Arrow does, which takes four times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from dagster_project.sources.decoding.columns import (
    bitmap,
    escaped,
    int64,
    joined,
    lengths,
    nulls,
    numbers,
    text_scalar,
    texts_of,
)
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST, shown
from dagster_project.sources.traces.parquet_scan import UNITS, Scan, expression, is_map, time_unit
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

BATCH_ROWS = 1 << 17
LONG_LIST = 64  # attributes
BATCH_BYTES = 64 << 20  # of a batch as its row group's metadata has it
FOOTER = b"PAR1"


@dataclass(frozen=True)
class Schema:
    """Where a file's columns are: from the names used here to the file's."""

    columns: Mapping[str, str]
    required: tuple[str, ...]


CLICKHOUSE = Schema(
    columns={
        "trace_id": "TraceId",
        "span_id": "SpanId",
        "parent_span_id": "ParentSpanId",
        "trace_state": "TraceState",
        "span_name": "SpanName",
        "kind": "SpanKind",
        "service_name": "ServiceName",
        "resource_attributes": "ResourceAttributes",
        "scope_name": "ScopeName",
        "scope_version": "ScopeVersion",
        "attributes": "SpanAttributes",
        "started": "Timestamp",
        "duration": "Duration",
        "status_code": "StatusCode",
        "status_message": "StatusMessage",
        "event_times": "Events.Timestamp",
        "event_names": "Events.Name",
        "event_attributes": "Events.Attributes",
        "link_traces": "Links.TraceId",
        "link_spans": "Links.SpanId",
        "link_states": "Links.TraceState",
        "link_attributes": "Links.Attributes",
    },
    required=("trace_id", "span_id", "span_name", "started", "duration"),
)
_KEPT_NAMES = (
    *("trace_id", "span_id", "parent_span_id", "trace_state", "service_name", "service_version", "span_name", "kind"),
    *("status_code", "status_message", "scope_name", "scope_version"),
    *("dropped_attributes_count", "dropped_events_count", "dropped_links_count", "attributes", "resource_attributes"),
)
OWN = Schema(
    columns={name: name for name in (*_KEPT_NAMES, "events", "links")}
    | {"started": "started_at", "ended": "ended_at", "duration": "duration_ns"},
    required=("trace_id", "span_id", "span_name", "started"),
)


class _Unfit(ValueError):
    """A file whose columns are not those of a span."""


# --- columns of Arrow -------------------------------------------------------------------------------------------------


def _schema_of(found: pa.Schema) -> Schema:
    schema = CLICKHOUSE if {"TraceId", "SpanName"} & set(found.names) else OWN
    missing = [schema.columns[name] for name in schema.required if schema.columns[name] not in found.names]
    if schema is OWN and not {"ended_at", "duration_ns"} & set(found.names):
        missing.append("ended_at or duration_ns")
    if missing:
        raise _Unfit(f"the columns {', '.join(missing)} are missing; it has {', '.join(found.names)[:1000]}")
    if len(set(found.names)) < len(found.names):
        raise _Unfit(f"columns have the same name: {', '.join(found.names)[:1000]}")
    return schema


def _plain(column: pa.Array) -> pa.Array:
    """A column as SQL takes it: dictionaries unpacked, maps as lists of pairs, times as integers."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(column.storage)
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_map(kind):
        pairs = pa.StructArray.from_arrays([_text(_plain(column.keys)), _text(_plain(column.items))], ["key", "value"])
        return _once(_list(column, pairs))
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return _list(column, _text(_plain(column.values)))
    return next((column.cast(to) for is_kind, to in _CASTS if is_kind(kind)), column)


_CASTS: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_null, pa.string()),
    (pa.types.is_timestamp, pa.int64()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)


def _list(column: pa.Array, values: pa.Array) -> pa.Array:
    mask = column.is_null() if column.null_count else None
    return pa.ListArray.from_arrays(column.offsets.cast(pa.int32()), values, mask=mask)


def _once(lists: pa.ListArray) -> pa.ListArray:
    """Lists of pairs, of a repeated key the first one only; keys repeat so rarely that looking for it is the cost."""
    keys = pc.list_flatten(lists).field("key")
    parent = numbers(pc.list_parent_indices(lists).cast(pa.int64()))
    encoded = keys.dictionary_encode("encode")
    pair = parent * (len(encoded.dictionary) + 1) + numbers(encoded.indices.cast(pa.int64()))
    longest = int(np.bincount(parent).max()) if len(parent) else 0
    if longest > LONG_LIST:
        repeats = len(np.unique(pair)) < len(pair)
    else:
        repeats = any(bool((pair[step:] == pair[:-step]).any()) for step in range(1, longest))
    if not repeats:
        return lists
    kept = np.sort(np.unique(pair, return_index=True)[1])
    offsets = np.append(0, np.cumsum(np.bincount(parent[kept], minlength=len(lists)))).astype(np.int32)
    values = pc.list_flatten(lists).take(int64(kept))
    column = pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets)])
    return pa.ListArray.from_arrays(column, values, mask=lists.is_null() if lists.null_count else None)


def _object_texts(lists: pa.ListArray) -> pa.Array:
    """Lists of pairs of texts as JSON objects; large texts, by which they are known for such."""
    keys, values = lists.values.field("key"), lists.values.field("value")
    keys = escaped(pc.fill_null(keys, _EMPTY) if keys.null_count else keys)
    texts = pc.binary_join_element_wise(_QUOTE, keys, _BETWEEN, escaped(values), _QUOTE, _EMPTY)
    if values.null_count:
        texts = pc.if_else(values.is_valid(), texts, pc.binary_join_element_wise(_QUOTE, keys, _NOTHING, _EMPTY))
    objects = pc.binary_join_element_wise(_OPEN, joined(lists, texts), _CLOSE, _EMPTY)
    return pc.if_else(bitmap(lengths(lists) > 0), objects, nulls(len(lists))).cast(pa.large_string())


_EMPTY, _QUOTE, _BETWEEN, _NOTHING = (text_scalar(text) for text in ("", '"', '":"', '":null'))
_OPEN, _CLOSE = text_scalar("{"), text_scalar("}")
_PAIRS_OF_TEXTS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))


def _text(column: pa.Array) -> pa.Array:
    """ClickHouse writes its texts as binary unless it is told otherwise."""
    return column.cast(pa.string()) if pa.types.is_binary(column.type) else column


_IDS = ("trace_id", "span_id", "parent_span_id")


def _prepared(batch: pa.RecordBatch, schema: Schema, first_line: int) -> pa.Table:
    """The columns under the names used here.

    Raises
    ------
    pyarrow.ArrowInvalid
        A text is not UTF-8.
    """
    found = {}
    for name, column_name in schema.columns.items():
        if column_name in batch.schema.names:
            column = _plain(batch.column(column_name))
            column = column if schema is OWN and name in _IDS else _text(column)
            column.validate(full=True)
            is_object = name in ("attributes", "resource_attributes") and column.type == _PAIRS_OF_TEXTS
            found[name] = _object_texts(column) if is_object else column
    return pa.table({"line": int64(np.arange(first_line, first_line + batch.num_rows)), **found})


# --- SQL --------------------------------------------------------------------------------------------------------------

_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS_CODES = ("UNSET", "OK", "ERROR")
_EARLIEST_NS = int(EARLIEST.timestamp()) * 1_000_000_000
_LATEST_NS = int(LATEST.timestamp()) * 1_000_000_000


def _hex(name: str, kind: pa.DataType) -> str:
    """SQL: an id as hexadecimal text."""
    return f"hex({name})" if pa.types.is_binary(kind) else name


def _trace_id(kind: pa.DataType) -> str:
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        raise _Unfit(f"trace_id is {kind}, not hexadecimal text, 16 bytes or a UUID")
    text = _hex("trace_id", kind)
    # Of 32 characters only 32 hexadecimal digits make a UUID; of 36, those with their hyphens.
    return f"case when strlen({text}) in (32, 36) then try_cast({text} as uuid) end"


def _span_id(name: str, kind: pa.DataType) -> str:
    if pa.types.is_uint64(kind):
        return name
    if pa.types.is_int64(kind):  # of systems without unsigned numbers: the same 64 bits
        return f"case when {name} < 0 then ({name}::hugeint + 18446744073709551616)::ubigint else {name}::ubigint end"
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        # A UUID is the cheapest hexadecimal number that SQL reads without taking odd texts for one.
        text = _hex(name, kind)
        return (
            f"case when strlen({text}) = 16 then try_cast('0000000000000000' || {text} as uuid)::uhugeint::ubigint end"
        )
    raise _Unfit(f"{name} is {kind}, not hexadecimal text, 8 bytes or a 64-bit number")


def _nanoseconds(name: str, sent: pa.DataType) -> str:
    """SQL: a time as nanoseconds since 1970, null when it lies outside of the years."""
    if not (pa.types.is_timestamp(sent) or pa.types.is_int64(sent) or pa.types.is_uint64(sent)):
        raise _Unfit(f"{name} is {sent}, not a timestamp or a 64-bit number of nanoseconds")
    unit = _UNITS[sent.unit] if pa.types.is_timestamp(sent) else 1
    return (
        f"case when {name} >= {_EARLIEST_NS // unit} and {name} < {_LATEST_NS // unit} then {name}::bigint * {unit} end"
    )


def _enum(name: str, kind: pa.DataType | None, prefix: str, names: tuple[str, ...]) -> str:
    """SQL: an enum's number, from it or from its name in either spelling; null when it is unknown."""
    if kind is None:
        return "0"
    if pa.types.is_integer(kind):
        return f"case when coalesce({name}, 0) between 0 and {len(names) - 1} then coalesce({name}, 0) end"
    if not pa.types.is_string(kind):
        raise _Unfit(f"{name} is {kind}, neither a number nor a text")
    cases = " ".join(
        f"when '{spelling}' then {number}"
        for number, word in enumerate(names)
        for spelling in (word.capitalize(), f"{prefix}{word}", word, word.lower())
    )
    return f"case coalesce({name}, '') when '' then 0 {cases} end"


def _pairs(list_name: str) -> str:
    """SQL: a list of pairs as the text of an object."""
    member = (
        "to_json(coalesce(pair.key::varchar, ''))::varchar || ':' || coalesce(to_json(pair.value)::varchar, 'null')"
    )
    return f"'{{' || array_to_string(list_transform({list_name}, lambda pair: {member}), ',') || '}}'"


def _attributes(name: str, kind: pa.DataType | None) -> tuple[str, str]:
    """SQL: attributes as JSON text, and whether they are."""
    if kind is None or pa.types.is_null(kind):
        return "null::varchar", "true"
    if pa.types.is_large_string(kind):  # the objects that were made of a map's texts
        return name, "true"
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return f"case when len({name}) > 0 then {_pairs(name)} end", "true"
    if pa.types.is_struct(kind):  # a field that a row lacks is null there
        return f"nullif(json_merge_patch('{{}}', to_json({name}))::varchar, '{{}}')", "true"
    if pa.types.is_string(kind):
        return f"nullif({name}, '')", _is_json(name, "OBJECT")
    raise _Unfit(f"{name} is {kind}, neither a map, a struct nor JSON text")


def _list_text(name: str, kind: pa.DataType | None) -> tuple[str, str]:
    if kind is None or pa.types.is_null(kind):
        return "null::varchar", "true"
    if not pa.types.is_string(kind):
        raise _Unfit(f"{name} is {kind}, not JSON text")
    return f"nullif(nullif({name}, ''), '[]')", _is_json(name, "ARRAY")


def _is_json(name: str, kind: str) -> str:
    """SQL: a text is JSON of a kind, or there is none."""
    return f"(coalesce({name}, '') = '' or coalesce(try(json_type({name})), '') = '{kind}')"


def _quoted(value: str) -> str:
    return f"coalesce(to_json({value})::varchar, 'null')"


def _events(types: Mapping[str, pa.DataType], times: pa.DataType | None) -> tuple[str, str]:
    if "event_names" not in types:
        return _list_text("events", types.get("events"))
    unit = _UNITS[times.value_type.unit] if times is not None and pa.types.is_timestamp(times.value_type) else 1
    at = f"event_times[place]::hugeint * {unit}" if times is not None else "null"
    attributes = _pairs("event_attributes[place]") if "event_attributes" in types else "null"
    text = (
        f"""'{{"timeUnixNano":' || {_quoted(f"({at})::varchar")} || ',"name":' || {_quoted("name")}"""
        f""" || ',"attributes":' || coalesce({attributes}, '{{}}') || ',"droppedAttributesCount":0}}'"""
    )
    joined = f"array_to_string(list_transform(event_names, lambda name, place: {text}), ',')"
    return f"case when len(event_names) > 0 then '[' || {joined} || ']' end", "true"


def _links(types: Mapping[str, pa.DataType]) -> tuple[str, str]:
    if not {"link_traces", "link_spans"} <= types.keys():
        return _list_text("links", types.get("links"))
    state = "link_states[place]" if "link_states" in types else "null::varchar"
    attributes = _pairs("link_attributes[place]") if "link_attributes" in types else "null"
    text = (
        f"""'{{"traceId":' || {_quoted("lower(trace)")} || ',"spanId":' || {_quoted("lower(link_spans[place])")}"""
        f""" || ',"traceState":' || {_quoted(f"nullif({state}, '')")} || ',"attributes":' """
        f"""|| coalesce({attributes}, '{{}}') || ',"droppedAttributesCount":0,"flags":null}}'"""
    )
    joined = f"array_to_string(list_transform(link_traces, lambda trace, place: {text}), ',')"
    return f"case when len(link_traces) > 0 then '[' || {joined} || ']' end", "true"


def _sum(kind: pa.DataType) -> str:
    """SQL: the end, from start and duration."""
    if not pa.types.is_integer(kind):
        raise _Unfit(f"the duration is {kind}, not a number of nanoseconds")
    fits = f"duration between 0 and {_LATEST_NS} and start_ns + duration::bigint < {_LATEST_NS}"
    return f"case when {fits} then start_ns + duration::bigint end"


def _optional(name: str, types: Mapping[str, pa.DataType]) -> str:
    if name in types and not pa.types.is_string(types[name]):
        raise _Unfit(f"{name} is {types[name]}, not a text")
    return name if name in types else "null::varchar"


def _count(name: str, types: Mapping[str, pa.DataType]) -> str:
    if name in types and not pa.types.is_integer(types[name]):
        raise _Unfit(f"{name} is {types[name]}, not a number")
    return f"coalesce(try_cast({name} as uinteger), 0)::uinteger" if name in types else "0::uinteger"


_SELECT = Template(
    """
    with parsed as (
        select *, $trace as trace_uuid, $span as span_number, $parent as parent_number, $started as start_ns,
            $ended as end_ns, $kind as kind_number, $status as status_number,
            $attributes_fit and $resource_fit as has_attributes, $events_fit and $links_fit as has_lists
        from parquet_spans
    ),
    judged as (
        select *, case
            when $trace_text is null or strlen($trace_text) = 0 then 'trace_id_missing'
            when trace_uuid is null then 'trace_id_malformed'
            when trace_uuid = '00000000-0000-0000-0000-000000000000' then 'trace_id_zero'
            when $span_text is null or strlen($span_text) = 0 then 'span_id_missing'
            when span_number is null then 'span_id_malformed'
            when span_number = 0 then 'span_id_zero'
            when strlen($parent_text) > 0 and parent_number is null then 'parent_span_id_malformed'
            when coalesce(started, 0) = 0 then 'time_missing'
            when start_ns is null then 'time_out_of_range'
            when $end_sent is null then 'time_missing'
            when $ends_early then 'ends_before_start'
            when end_ns is null then 'time_out_of_range'
            when kind_number is null or status_number is null then 'enum_unknown'
            when not has_attributes then 'attribute_malformed'
            when not has_lists then 'field_malformed'
        end as reason
        from parsed
    )
    select
        line, 1::bigint as record, trace_uuid as trace_id, span_number as span_id,
        nullif(parent_number, 0) as parent_span_id, $texts,
        coalesce(nullif($service_name, ''), fallback) as service_name, coalesce($span_name, '') as span_name,
        kind_number as kind, make_timestamp_ns(start_ns) as started_at, make_timestamp_ns(end_ns) as ended_at,
        status_number as status_code, $counts,
        $attributes as attributes, $resource as resource_attributes, $events as events, $links as links, reason,
        case
            when reason like 'trace_id%' then $trace_shown
            when reason like 'span_id%' then $span_shown
            when reason like 'parent_span_id%' then $parent_shown
            when reason like 'time%' or reason = 'ends_before_start' then $times_shown
            when reason = 'enum_unknown' then $enums_shown
            when reason = 'attribute_malformed' then 'attributes or resource_attributes are no JSON object'
            when reason = 'field_malformed' then 'events or links are no JSON array'
        end as detail
    from judged cross join span_service
    """
)
_TEXTS = ("trace_state", "service_version", "status_message", "scope_name", "scope_version")
_COUNTS = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")


def _select(prepared: pa.Schema, sent: pa.Schema, schema: Schema) -> str:
    """The query over a file's batches, from the types of its columns."""
    types = {field.name: field.type for field in prepared}
    sent_types = {name: sent.field(column).type for name, column in schema.columns.items() if column in sent.names}
    attributes, attributes_fit = _attributes("attributes", types.get("attributes"))
    resource, resource_fit = _attributes("resource_attributes", types.get("resource_attributes"))
    events, events_fit = _events(types, sent_types.get("event_times"))
    links, links_fit = _links(types)
    end = "ended" if "ended" in types else "duration"
    texts = {name: _hex(name, types[name]) + "::varchar" if name in types else "null::varchar" for name in _IDS}
    return _SELECT.substitute(
        trace=_trace_id(types["trace_id"]),
        span=_span_id("span_id", types["span_id"]),
        parent=_span_id("parent_span_id", types["parent_span_id"]) if "parent_span_id" in types else "null::ubigint",
        trace_text=texts["trace_id"],
        span_text=texts["span_id"],
        parent_text=texts["parent_span_id"],
        started=_nanoseconds("started", sent_types["started"]),
        ended=_nanoseconds("ended", sent_types["ended"]) if end == "ended" else _sum(sent_types["duration"]),
        end_sent=end,
        ends_early="end_ns < start_ns" if end == "ended" else "duration < 0",
        kind=_enum("kind", types.get("kind"), "SPAN_KIND_", _KINDS),
        status=_enum("status_code", types.get("status_code"), "STATUS_CODE_", _STATUS_CODES),
        texts=", ".join(f"nullif({_optional(name, types)}, '') as {name}" for name in _TEXTS),
        span_name=_optional("span_name", types),
        service_name=_optional("service_name", types),
        counts=", ".join(f"{_count(name, types)} as {name}" for name in _COUNTS),
        attributes=attributes,
        attributes_fit=attributes_fit,
        resource=resource,
        resource_fit=resource_fit,
        events=events,
        events_fit=events_fit,
        links=links,
        links_fit=links_fit,
        trace_shown=shown(schema.columns["trace_id"], texts["trace_id"]),
        span_shown=shown(schema.columns["span_id"], texts["span_id"]),
        parent_shown=shown(schema.columns["parent_span_id"], texts["parent_span_id"]),
        times_shown=" || ', ' || ".join(
            shown(schema.columns[name], f"{name}::varchar")
            for name in ("started", "ended", "duration")
            if name in types
        ),
        enums_shown=" || ', ' || ".join(
            [
                "''",
                *(shown(schema.columns[name], f"{name}::varchar") for name in ("kind", "status_code") if name in types),
            ]
        ),
    )


def _scan_select(scan: Scan, schema: Schema, sent: pa.Schema) -> str | None:
    """The query over the rows as DuckDB reads them; None when a column is of a type that only Arrow's way reads."""
    types = scan.types()
    prepared, times, maps = [], {}, set()
    for name, column in schema.columns.items():
        if column not in sent.names:
            continue
        if column not in types:  # DuckDB renames what differs in its case only
            return None
        is_object = name in ("attributes", "resource_attributes")
        sql = expression(column, types[column], is_object=is_object, keeps_bytes=schema is OWN and name in _IDS)
        unit = time_unit(types[column])
        if sql is None or not _keeps_unit(unit, sent.field(column).type):
            return None
        prepared.append(f"{sql} as {name}")
        if unit:
            times[column] = pa.list_(pa.timestamp(unit)) if types[column].endswith("[]") else pa.timestamp(unit)
        maps |= {name} if is_object and is_map(types[column]) else set()
    rows = f"select file_row_number + 1 as line, {', '.join(prepared)} from {{file}}"  # noqa: S608 (no value is in it)
    found = {field.name: pa.large_string() if field.name in maps else field.type for field in scan.schema(rows)}
    as_sent = {column: times.get(column, found[name]) for name, column in schema.columns.items() if name in found}
    select = _select(pa.schema(found), pa.schema(as_sent), schema)
    return f"with parquet_spans as ({rows}) select * from ({select})"  # noqa: S608 (no value is in it)


def _keeps_unit(unit: str | None, sent: pa.DataType) -> bool:
    """Whether DuckDB's unit of a time loses no digit of Arrow's."""
    if pa.types.is_list(sent) or pa.types.is_large_list(sent):
        return _keeps_unit(unit, sent.value_type)
    return not pa.types.is_timestamp(sent) or (unit is not None and UNITS.index(unit) >= UNITS.index(sent.unit))


# --- files ------------------------------------------------------------------------------------------------------------


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    size = stream.path.stat().st_size
    if not size:
        return
    try:
        with pa.parquet.ParquetFile(stream.path, pre_buffer=False) as file:
            reading = _Reading(file, _schema_of(file.schema_arrow), options.service_name)
            for batch in reading.scanned(stream.path):
                yield batch
                stream.bytes_done = size * (reading.line - 1) // max(1, file.metadata.num_rows)
            for group in range(file.num_row_groups):
                yield from reading.group(group)
                stream.decoded_bytes += file.metadata.row_group(group).total_byte_size
                stream.bytes_done = max(stream.bytes_done, size * (group + 1) // file.num_row_groups)
    except _Unfit as error:
        yield Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, str(error), None)])
    except _DAMAGE as error:
        detail = f"its footer cannot be read: {str(error)[:500]}"
        yield Batch(refusals=[Refusal(1, None, Reason.CORRUPT_PARQUET, detail, None)])


# What pyarrow raises for damage: ArrowInvalid is a ValueError, OSError is itself, and ArrowNotImplementedError another.
_DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError)


class _Reading:
    """The rows of one file, a row group at a time."""

    def __init__(self, file: pa.parquet.ParquetFile, schema: Schema, service_name: str | None) -> None:
        self._file = file
        self._schema = schema
        self._columns = [name for name in schema.columns.values() if name in file.schema_arrow.names]
        self._unknown = frozenset(file.schema_arrow.names) - set(self._columns)
        fallback = nulls(1) if service_name is None else texts_of(service_name)
        self._service = pa.table({"fallback": fallback})
        self.line = 1  # the next row
        self._group_line = 1  # the first row of the next row group
        self._select: str | None = None

    def scanned(self, path: Path) -> Iterator[Batch]:
        """The rows up to the first that DuckDB cannot read, if it can read this file at all."""
        groups = range(self._file.num_row_groups)
        size = min((self._batch_rows(number) for number in groups), default=1)
        with suppress(duckdb.Error, *_DAMAGE):  # in its own words again, and to the row, says Arrow's way
            scan = Scan(path)
            sql = _scan_select(scan, self._schema, self._file.schema_arrow)
            for rows in scan.rows(sql, size, {"span_service": self._service}) if sql is not None else ():
                batch = self._scanned(scan, rows)
                self.line += rows.num_rows
                yield batch

    def _scanned(self, scan: Scan, rows: pa.Table) -> Batch:
        refused = rows.filter(pc.is_valid(rows.column("reason"))).select(["line", "record", "reason", "detail"])
        if not refused.num_rows:
            return self._landing(rows)
        raw = scan.texts(self._columns, refused.column("line").to_pylist())
        refusals = [
            Refusal(row["line"], row["record"], row["reason"], row["detail"], clipped(raw[row["line"]]))
            for row in refused.to_pylist()
        ]
        return self._landing(rows.filter(pc.is_null(rows.column("reason"))), refusals)

    def _landing(self, rows: pa.Table, refusals: Sequence[Refusal] = ()) -> Batch:
        return Batch(
            rows.num_rows,
            {"parquet_spans": rows.combine_chunks()} if rows.num_rows else {},
            "select * from parquet_spans",
            refusals,
            unknown_fields=self._unknown,
        )

    def _batch_rows(self, group: int) -> int:
        metadata = self._file.metadata.row_group(group)
        fitting: int = BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size)
        return max(1, min(BATCH_ROWS, fitting))

    def group(self, number: int) -> Iterator[Batch]:
        """What is left of a row group; when it is damaged its other rows are refused together."""
        after = self._group_line + self._file.metadata.row_group(number).num_rows
        if self.line < after:
            yield from self._rest_of_group(number, self.line - self._group_line, after)
        self.line, self._group_line = max(self.line, after), after

    def _rest_of_group(self, number: int, done: int, after: int) -> Iterator[Batch]:
        try:
            size = self._batch_rows(number)
            for rows in self._file.iter_batches(size, row_groups=[number], columns=self._columns):
                if done < rows.num_rows:
                    # Taken, as the lists of a slice still have the texts of its neighbours.
                    rest = rows.take(int64(np.arange(done, rows.num_rows))) if done else rows
                    yield from self._rows(rest)
                done = max(0, done - rows.num_rows)
        except _Unfit:
            raise
        except _DAMAGE as error:
            detail = f"row group {number + 1} is damaged; rows {self.line} to {after - 1} are lost: {str(error)[:500]}"
            yield Batch(refusals=[Refusal(self.line, None, Reason.CORRUPT_PARQUET, detail, None)])

    def _rows(self, rows: pa.RecordBatch) -> Iterator[Batch]:
        first = self.line
        self.line += rows.num_rows
        waiting = [(first, rows)]
        while waiting:
            line, part = waiting.pop()
            try:
                prepared = _prepared(part, self._schema, line)
            except (pa.ArrowInvalid, pa.lib.ArrowCapacityError) as error:
                if part.num_rows == 1:
                    refusal = Refusal(
                        line, 1, Reason.NOT_UTF8, f"a text is not UTF-8: {str(error)[:200]}", _shown(part, 0)
                    )
                    yield Batch(refusals=[refusal])
                    continue
                half = part.num_rows // 2
                # Taken, as the lists of a slice still have the texts of its neighbours.
                places = int64(np.arange(part.num_rows))
                waiting += [(line + half, part.take(places[half:])), (line, part.take(places[:half]))]
                continue
            yield self._batch(part, prepared, line)

    def _batch(self, sent: pa.RecordBatch, prepared: pa.Table, first: int) -> Batch:
        if self._select is None:
            self._select = _select(prepared.schema, sent.schema, self._schema)
        return Batch(
            sent.num_rows,
            {"parquet_spans": prepared, "span_service": self._service},
            self._select,
            unknown_fields=self._unknown,
            raw_of=lambda line, _record: _shown(sent, line - first),
        )


def _shown(rows: pa.RecordBatch, place: int) -> str | None:
    """A row as quarantine keeps it."""
    row = rows.slice(place, 1)
    shown: dict[str, object] = {}
    for name in row.schema.names:
        try:
            (shown[name],) = row.column(name).to_pylist()
        except (UnicodeDecodeError, ValueError, OverflowError) as error:
            shown[name] = f"({error})"
    return clipped(orjson.dumps(shown, default=repr, option=orjson.OPT_NON_STR_KEYS))


def _recognises_file(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(len(FOOTER)) != FOOTER:
            return False
    try:
        _schema_of(pa.parquet.read_schema(path))
    except (_Unfit, *_DAMAGE):
        return False
    return True


def _recognises(_start: bytes) -> bool:
    return False  # its columns are named at its end


FORMAT = Format(
    name="parquet_spans",
    table="raw.spans",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(started_at) // 1000)",
    recognises=_recognises,
    recognises_file=_recognises_file,
    batches=_batches,
    name_patterns=("*spans*.parquet", "*traces*.parquet"),
    uses=frozenset({"service_name"}),
    filled_from={
        **{ours: (theirs,) for ours, theirs in CLICKHOUSE.columns.items()},
        "service_name": (CLICKHOUSE.columns["service_name"], "service.name"),
        "service_version": ("service.version",),
    },
)
