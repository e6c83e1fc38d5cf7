"""OTLP/JSON traces: what a span is in Arrow, and how it becomes a row of `raw.spans`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

import pyarrow as pa

from dagster_project.sources.decoding.columns import elements, joined, nulls, query
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp import otlp_lines
from dagster_project.sources.otlp.otlp_checks import nanoseconds, shown, span_id, time_reason, trace_id
from dagster_project.sources.otlp.otlp_lines import Signal
from dagster_project.sources.otlp.otlp_salvage import Row, Shape, count, enum, integer, objects, text
from dagster_project.sources.otlp.otlp_values import (
    SPELLINGS,
    Spelling,
    attribute_texts,
    attributes_text,
    attributes_type,
    json_string,
)
from dagster_project.warehouse.batches import Batch

KINDS = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
STATUS_CODES = {f"STATUS_CODE_{name}": number for number, name in enumerate(("UNSET", "OK", "ERROR"))}


def _span(spelling: Spelling) -> pa.StructType:
    described = [("attributes", attributes_type(spelling)), ("droppedAttributesCount", pa.uint32())]
    ids = [("traceId", pa.string()), ("spanId", pa.string()), ("traceState", pa.string())]
    event = pa.struct([("timeUnixNano", spelling.times), ("name", pa.string()), *described])
    link = pa.struct([*ids, *described, ("flags", pa.uint32())])
    return pa.struct(
        [
            *ids,
            ("parentSpanId", pa.string()),
            ("flags", pa.uint32()),
            ("name", pa.string()),
            ("kind", pa.int32()),
            ("startTimeUnixNano", spelling.times),
            ("endTimeUnixNano", spelling.times),
            *described,
            ("events", pa.list_(event)),
            ("droppedEventsCount", pa.uint32()),
            ("links", pa.list_(link)),
            ("droppedLinksCount", pa.uint32()),
            ("status", pa.struct([("message", pa.string()), ("code", pa.int32())])),
        ]
    )


# --- spans as they were read, ids and times still text ---------------------------------------------------------------

_ROWS = pa.schema(
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
        ("started", pa.string()),
        ("ended", pa.string()),
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


_EVENTS = """
    select '{"timeUnixNano":' || coalesce(to_json("timeUnixNano"::varchar)::varchar, 'null')
        || ',"name":' || coalesce(to_json("name")::varchar, 'null')
        || ',"attributes":' || coalesce(attribute_text, '{}')
        || ',"droppedAttributesCount":' || coalesce("droppedAttributesCount", 0) || '}' as text
    from flat
"""
_LINKS = """
    select '{"traceId":' || coalesce(to_json(lower("traceId"))::varchar, 'null')
        || ',"spanId":' || coalesce(to_json(lower("spanId"))::varchar, 'null')
        || ',"traceState":' || coalesce(to_json("traceState")::varchar, 'null')
        || ',"attributes":' || coalesce(attribute_text, '{}')
        || ',"droppedAttributesCount":' || coalesce("droppedAttributesCount", 0)
        || ',"flags":' || coalesce("flags"::varchar, 'null') || '}' as text
    from flat
"""
_ARRAY = "select '[' || nullif(text, '') || ']' as text from flat"


def _columns(spans: pa.StructArray) -> dict[str, pa.Array]:
    status = spans.field("status")
    return {
        "trace_id": spans.field("traceId"),
        "span_id": spans.field("spanId"),
        "parent_span_id": spans.field("parentSpanId"),
        "trace_state": spans.field("traceState"),
        "span_name": spans.field("name"),
        "kind": spans.field("kind"),
        "started": spans.field("startTimeUnixNano"),
        "ended": spans.field("endTimeUnixNano"),
        "status_code": status.field("code"),
        "status_message": status.field("message"),
        "dropped_attributes_count": spans.field("droppedAttributesCount"),
        "dropped_events_count": spans.field("droppedEventsCount"),
        "dropped_links_count": spans.field("droppedLinksCount"),
        "attributes": attribute_texts(spans.field("attributes")),
        "events": _list_texts(spans.field("events"), _EVENTS),
        "links": _list_texts(spans.field("links"), _LINKS),
    }


def _list_texts(lists: pa.ListArray, sql: str) -> pa.Array:
    items = elements(lists)
    if not len(items):
        return nulls(len(lists))
    columns = {field.name: items.field(field.name) for field in items.type}
    texts = query(sql, columns | {"attribute_text": attribute_texts(items.field("attributes"))})
    return query(_ARRAY, {"text": joined(lists, texts)})


# --- SQL: from spans as they were read to rows and reasons ------------------------------------------------------------

_JUDGED = Template(
    """
    with parsed as (
        select *,
            $trace_uuid as trace_uuid,
            $span_number as span_number,
            $parent_number as parent_number,
            $start_ns as start_ns,
            $end_ns as end_ns
        from otlp_records
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
            when start_ns is null then $start_reason
            when end_ns is null then $end_reason
            when end_ns < start_ns then 'ends_before_start'
            when kind not between 0 and 5 or status_code not between 0 and 2 then 'enum_unknown'
        end as reason
        from parsed
    )
    select
        line, record, trace_uuid as trace_id, span_number as span_id, nullif(parent_number, 0) as parent_span_id,
        nullif(trace_state, '') as trace_state, service_name, service_version, coalesce(span_name, '') as span_name,
        coalesce(kind, 0) as kind, make_timestamp_ns(start_ns) as started_at, make_timestamp_ns(end_ns) as ended_at,
        coalesce(status_code, 0) as status_code, nullif(status_message, '') as status_message,
        nullif(scope_name, '') as scope_name, nullif(scope_version, '') as scope_version,
        coalesce(dropped_attributes_count, 0) as dropped_attributes_count,
        coalesce(dropped_events_count, 0) as dropped_events_count,
        coalesce(dropped_links_count, 0) as dropped_links_count,
        attributes, resource_attributes, events, links, reason,
        case
            when reason like 'trace_id%' then $trace_shown
            when reason like 'span_id%' then $span_shown
            when reason like 'parent_span_id%' then $parent_shown
            when reason like 'time%' and start_ns is null then $start_shown
            when reason like 'time%' then $end_shown
            when reason = 'ends_before_start' then 'ends ' || (start_ns - end_ns) || ' ns before its start'
            when reason = 'enum_unknown'
                then 'kind = ' || coalesce(kind, 0) || ', status.code = ' || coalesce(status_code, 0)
        end as detail
    from judged
    """
)


_SELECT = _JUDGED.substitute(
    trace_uuid=trace_id("trace_id"),
    span_number=span_id("span_id"),
    parent_number=span_id("parent_span_id"),
    start_ns=nanoseconds("started"),
    end_ns=nanoseconds("ended"),
    start_reason=time_reason("started"),
    end_reason=time_reason("ended"),
    trace_shown=shown("traceId", "trace_id"),
    span_shown=shown("spanId", "span_id"),
    parent_shown=shown("parentSpanId", "parent_span_id"),
    start_shown=shown("startTimeUnixNano", "started"),
    end_shown=shown("endTimeUnixNano", "ended"),
)


# --- the slow way -----------------------------------------------------------------------------------------------------


def _row(span: Mapping[str, Any]) -> Row:
    status = next(iter(objects({"status": [span.get("status")]}, "status")))
    events, links = objects(span, "events"), objects(span, "links")
    return {
        "trace_id": text(span, "traceId"),
        "span_id": text(span, "spanId"),
        "parent_span_id": text(span, "parentSpanId"),
        "trace_state": text(span, "traceState"),
        "span_name": text(span, "name"),
        "kind": enum(span, "kind", KINDS),
        "started": integer(span, "startTimeUnixNano"),
        "ended": integer(span, "endTimeUnixNano"),
        "status_code": enum(status, "code", STATUS_CODES),
        "status_message": text(status, "message"),
        "dropped_attributes_count": count(span, "droppedAttributesCount"),
        "dropped_events_count": count(span, "droppedEventsCount"),
        "dropped_links_count": count(span, "droppedLinksCount"),
        "attributes": attributes_text(span.get("attributes")) if span.get("attributes") else None,
        "events": f"[{','.join(map(_event_text, events))}]" if events else None,
        "links": f"[{','.join(map(_link_text, links))}]" if links else None,
    }


def _event_text(event: Mapping[str, Any]) -> str:
    return (
        f'{{"timeUnixNano":{_quoted(integer(event, "timeUnixNano"))},"name":{_quoted(text(event, "name"))}'
        f',"attributes":{attributes_text(event.get("attributes")) or "{}"}'
        f',"droppedAttributesCount":{count(event, "droppedAttributesCount")}}}'
    )


def _link_text(link: Mapping[str, Any]) -> str:
    trace, span = text(link, "traceId"), text(link, "spanId")
    flags = "null" if link.get("flags") is None else count(link, "flags")
    return (
        f'{{"traceId":{_quoted(trace and trace.lower())},"spanId":{_quoted(span and span.lower())}'
        f',"traceState":{_quoted(text(link, "traceState"))}'
        f',"attributes":{attributes_text(link.get("attributes")) or "{}"}'
        f',"droppedAttributesCount":{count(link, "droppedAttributesCount")},"flags":{flags}}}'
    )


def _quoted(value: str | None) -> str:
    return "null" if value is None else json_string(value)


SIGNAL = Signal(
    shape=Shape(
        root="resourceSpans",
        scopes="scopeSpans",
        records="spans",
        row=_row,
        rows=_ROWS,
        known=frozenset(field.name for field in _span(SPELLINGS[0])) - {"flags"},
    ),
    record=_span,
    columns=_columns,
    select=_SELECT,
)


def _recognises(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"resourceSpans"' in head


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return otlp_lines.batches(stream, SIGNAL)


FORMAT = Format(
    name="otlp_traces",
    table="raw.spans",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(started_at) // 1000)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("*traces*.otlp.json*", "traces*.jsonl*"),
    filled_from={"service_name": ("service.name",), "service_version": ("service.version",)},
)
