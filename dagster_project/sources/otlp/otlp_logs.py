"""OTLP/JSON logs: what a log record is in Arrow, and how it becomes a row of `raw.logs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

import pyarrow as pa

from dagster_project.sources.decoding.columns import query
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp import otlp_lines
from dagster_project.sources.otlp.otlp_checks import nanoseconds, shown, span_id, time_reason, trace_id
from dagster_project.sources.otlp.otlp_lines import Signal
from dagster_project.sources.otlp.otlp_salvage import Row, Shape, count, enum, integer, text
from dagster_project.sources.otlp.otlp_values import (
    SPELLINGS,
    Spelling,
    attribute_texts,
    attributes_text,
    attributes_type,
    value_text,
    value_texts,
    value_type,
)
from dagster_project.warehouse.batches import Batch

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
SEVERITIES = {"SEVERITY_NUMBER_UNSPECIFIED": 0} | {
    f"SEVERITY_NUMBER_{level}{step if step > 1 else ''}": 4 * place + step
    for place, level in enumerate(_LEVELS)
    for step in (1, 2, 3, 4)
}


def _log_record(spelling: Spelling) -> pa.StructType:
    return pa.struct(
        [
            ("timeUnixNano", spelling.times),
            ("observedTimeUnixNano", spelling.times),
            ("severityNumber", pa.int32()),
            ("severityText", pa.string()),
            ("body", value_type(spelling)),
            ("attributes", attributes_type(spelling)),
            ("droppedAttributesCount", pa.uint32()),
            ("flags", pa.uint32()),
            ("traceId", pa.string()),
            ("spanId", pa.string()),
            ("eventName", pa.string()),
        ]
    )


# --- records as they were read, ids and times still text -------------------------------------------------------------

_ROWS = pa.schema(
    [
        ("line", pa.int64()),
        ("record", pa.int64()),
        ("occurred", pa.string()),
        ("observed", pa.string()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("service_name", pa.string()),
        ("service_version", pa.string()),
        ("severity_number", pa.int32()),
        ("severity_text", pa.string()),
        ("event_name", pa.string()),
        ("body", pa.string()),
        ("scope_name", pa.string()),
        ("scope_version", pa.string()),
        ("dropped_attributes_count", pa.uint32()),
        ("attributes", pa.string()),
        ("resource_attributes", pa.string()),
    ]
)


_BODY = "select coalesce(string, nullif(other, 'null')) as text from flat"


def _columns(records: pa.StructArray) -> dict[str, pa.Array]:
    return {
        "occurred": records.field("timeUnixNano"),
        "observed": records.field("observedTimeUnixNano"),
        "trace_id": records.field("traceId"),
        "span_id": records.field("spanId"),
        "severity_number": records.field("severityNumber"),
        "severity_text": records.field("severityText"),
        "event_name": records.field("eventName"),
        "body": _bodies(records.field("body")),
        "dropped_attributes_count": records.field("droppedAttributesCount"),
        "attributes": attribute_texts(records.field("attributes")),
    }


def _bodies(bodies: pa.StructArray) -> pa.Array:
    string = bodies.field("stringValue")
    if string.null_count == 0:
        return string
    return query(_BODY, {"string": string, "other": value_texts(bodies)})


# --- SQL: from records as they were read to rows and reasons ----------------------------------------------------------
# A log record need not belong to a trace, and OTLP calls all-zero ids "none": no reason to refuse it.

_JUDGED = Template(
    """
    with parsed as (
        select *,
            $trace_uuid as trace_uuid,
            $span_number as span_number,
            coalesce(occurred, '') in ('', '0') as is_timed_by_observer,
            $occurred_ns as occurred_ns,
            $observed_ns as observed_ns
        from otlp_records
    ),
    judged as (
        select *, case
            when trace_id <> '' and trace_uuid is null then 'trace_id_malformed'
            when span_id <> '' and span_number is null then 'span_id_malformed'
            when is_timed_by_observer and observed_ns is null then $observed_reason
            when not is_timed_by_observer and occurred_ns is null then $occurred_reason
            when observed_ns is null and coalesce(observed, '') not in ('', '0') then $observed_reason
            when severity_number not between 0 and 24 then 'enum_unknown'
        end as reason
        from parsed
    )
    select
        line, record,
        make_timestamp_ns(case when is_timed_by_observer then observed_ns else occurred_ns end) as occurred_at,
        make_timestamp_ns(observed_ns) as observed_at,
        case when trace_uuid <> '00000000-0000-0000-0000-000000000000' then trace_uuid end as trace_id,
        nullif(span_number, 0) as span_id, service_name, coalesce(severity_number, 0) as severity_number,
        nullif(severity_text, '') as severity_text, nullif(event_name, '') as event_name, body,
        nullif(scope_name, '') as scope_name,
        coalesce(dropped_attributes_count, 0) as dropped_attributes_count, attributes, resource_attributes, reason,
        case
            when reason like 'trace_id%' then $trace_shown
            when reason like 'span_id%' then $span_shown
            when reason like 'time%' and (is_timed_by_observer or occurred_ns is not null) then $observed_shown
            when reason like 'time%' then $occurred_shown
            when reason = 'enum_unknown' then 'severityNumber = ' || severity_number
        end as detail
    from judged
    """
)


_SELECT = _JUDGED.substitute(
    trace_uuid=trace_id("trace_id"),
    span_number=span_id("span_id"),
    occurred_ns=nanoseconds("occurred"),
    observed_ns=nanoseconds("observed"),
    occurred_reason=time_reason("occurred"),
    observed_reason=time_reason("observed"),
    trace_shown=shown("traceId", "trace_id"),
    span_shown=shown("spanId", "span_id"),
    occurred_shown=shown("timeUnixNano", "occurred"),
    observed_shown=shown("observedTimeUnixNano", "observed"),
)


# --- the slow way -----------------------------------------------------------------------------------------------------


def _row(record: Mapping[str, Any]) -> Row:
    return {
        "occurred": integer(record, "timeUnixNano"),
        "observed": integer(record, "observedTimeUnixNano"),
        "trace_id": text(record, "traceId"),
        "span_id": text(record, "spanId"),
        "severity_number": enum(record, "severityNumber", SEVERITIES),
        "severity_text": text(record, "severityText"),
        "event_name": text(record, "eventName"),
        "body": _body(record.get("body")),
        "dropped_attributes_count": count(record, "droppedAttributesCount"),
        "attributes": attributes_text(record.get("attributes")) if record.get("attributes") else None,
    }


def _body(body: object) -> str | None:
    if isinstance(body, dict) and isinstance(body.get("stringValue"), str):
        return str(body["stringValue"])
    found = value_text(body)
    return None if found == "null" else found


SIGNAL = Signal(
    shape=Shape(
        root="resourceLogs",
        scopes="scopeLogs",
        records="logRecords",
        row=_row,
        rows=_ROWS,
        known=frozenset(field.name for field in _log_record(SPELLINGS[0])) - {"flags"},
    ),
    record=_log_record,
    columns=_columns,
    select=_SELECT,
)


def _recognises(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"resourceLogs"' in head


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return otlp_lines.batches(stream, SIGNAL)


FORMAT = Format(
    name="otlp_logs",
    table="raw.logs",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(occurred_at) // 1000)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("*logs*.otlp.json*", "logs*.jsonl*"),
    filled_from={"service_name": ("service.name",)},
)
