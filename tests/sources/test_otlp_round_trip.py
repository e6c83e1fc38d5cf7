"""OTLP written as messages, loaded from every framing and from OTLP/JSON, compared field by field with the messages.

`HINDCAST_ROUND_TRIPS` sets how many examples are tried.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord as SdkLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode, set_span_in_context

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.connection import connect
from tests.sources.otlp_messages import (
    EARLIEST,
    FRAMINGS,
    LATEST,
    as_json,
    comparable,
    log_rows,
    metric_rows,
    span_rows,
)

EXAMPLES = int(os.environ.get("HINDCAST_ROUND_TRIPS", "8"))

# --- arbitrary messages -----------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DOUBLES = st.floats()
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
UINT32 = st.integers(0, 2**32 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
KEYS = st.one_of(st.sampled_from(["a", "b", "service.name", "service.version", "bytesValue", "quantile", ""]), TEXT)


def maybe(found: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), found)


VALUES = st.recursive(
    st.one_of(
        st.builds(AnyValue, string_value=TEXT),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=INT64),
        st.builds(AnyValue, double_value=DOUBLES),
        st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
        st.just(AnyValue()),
    ),
    lambda inner: st.one_of(
        st.builds(lambda v: AnyValue(array_value=ArrayValue(values=v)), st.lists(inner, max_size=3)),
        st.builds(
            lambda v: AnyValue(kvlist_value=KeyValueList(values=v)),
            st.lists(st.builds(KeyValue, key=KEYS, value=inner), max_size=3),
        ),
    ),
    max_leaves=8,
)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=KEYS, value=maybe(VALUES)), max_size=4)
GOOD_TIMES = st.integers(EARLIEST, LATEST - 1)
TIMES = st.one_of(*[GOOD_TIMES] * 5, st.sampled_from([0, 5, LATEST, 2**63, 2**64 - 1]))
TRACE_IDS = st.one_of(*[st.binary(min_size=16, max_size=16)] * 4, st.sampled_from([b"", b"\0" * 16, b"short"]))
SPAN_IDS = st.one_of(*[st.binary(min_size=8, max_size=8)] * 4, st.sampled_from([b"", b"\0" * 8, b"short"]))
RESOURCES = maybe(st.builds(Resource, attributes=ATTRIBUTES))
SCOPES = maybe(st.builds(InstrumentationScope, name=TEXT, version=TEXT))

SPANS = st.builds(
    Span,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    parent_span_id=SPAN_IDS,
    trace_state=TEXT,
    flags=UINT32,
    name=TEXT,
    kind=st.sampled_from([0, 1, 2, 3, 4, 5, 5, 5, 6]),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=st.one_of(st.just(LATEST - 1), TIMES),
    attributes=ATTRIBUTES,
    dropped_attributes_count=UINT32,
    events=st.lists(
        st.builds(Span.Event, time_unix_nano=UINT64, name=TEXT, attributes=ATTRIBUTES, dropped_attributes_count=UINT32),
        max_size=2,
    ),
    dropped_events_count=UINT32,
    links=st.lists(
        st.builds(
            Span.Link,
            trace_id=TRACE_IDS,
            span_id=SPAN_IDS,
            trace_state=TEXT,
            attributes=ATTRIBUTES,
            dropped_attributes_count=UINT32,
            flags=UINT32,
        ),
        max_size=2,
    ),
    dropped_links_count=UINT32,
    status=maybe(st.builds(Status, message=TEXT, code=st.integers(0, 2))),
)
LOGS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    observed_time_unix_nano=st.one_of(st.just(0), TIMES),
    severity_number=st.integers(0, 24),
    severity_text=TEXT,
    body=maybe(VALUES),
    attributes=ATTRIBUTES,
    dropped_attributes_count=UINT32,
    flags=UINT32,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    event_name=TEXT,
)
POINT = {
    "attributes": ATTRIBUTES,
    "start_time_unix_nano": st.one_of(st.just(0), TIMES),
    "time_unix_nano": TIMES,
    "flags": st.sampled_from([0, 0, 0, 1]),
}
NUMBERS = st.lists(
    st.one_of(
        st.builds(metrics.NumberDataPoint, as_double=DOUBLES, **POINT),
        st.builds(metrics.NumberDataPoint, as_int=INT64, **POINT),
        st.builds(metrics.NumberDataPoint, **POINT),
    ),
    max_size=3,
)
SUMMED = {"count": UINT64, "sum": maybe(DOUBLES), "min": maybe(DOUBLES), "max": maybe(DOUBLES)}
SMALL = st.lists(st.integers(0, 2**63 - 1), max_size=3)
BUCKETS = maybe(st.builds(metrics.ExponentialHistogramDataPoint.Buckets, offset=INT32, bucket_counts=SMALL))
EXPONENTIAL = {
    "scale": INT32,
    "zero_count": UINT64,
    "zero_threshold": DOUBLES,
    "positive": BUCKETS,
    "negative": BUCKETS,
}
QUANTILES = st.lists(
    st.builds(
        metrics.SummaryDataPoint.ValueAtQuantile, quantile=st.sampled_from([0.0, 0.5, 0.99, 0.999, 1.0]), value=DOUBLES
    ),
    max_size=3,
)
TEMPORALITY = {"aggregation_temporality": st.integers(0, 2)}


def _histogram(bounds: list[float], buckets: bool) -> dict[str, Any]:
    return {"explicit_bounds": bounds, "bucket_counts": range(len(bounds) + 1) if buckets else []}


EXPLICIT = st.builds(
    lambda point, bounds, buckets: metrics.HistogramDataPoint(**point, **_histogram(bounds, buckets)),
    st.fixed_dictionaries(POINT | SUMMED),
    st.lists(st.integers(0, 9).map(float), max_size=3),
    st.booleans(),
)
METRICS = st.builds(
    lambda name, unit, description, data: metrics.Metric(name=name, unit=unit, description=description, **data),
    st.one_of(TEXT, st.just("requests")),
    TEXT,
    TEXT,
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"gauge": st.builds(metrics.Gauge, data_points=NUMBERS)}),
        st.fixed_dictionaries(
            {"sum": st.builds(metrics.Sum, data_points=NUMBERS, is_monotonic=st.booleans(), **TEMPORALITY)}
        ),
        st.fixed_dictionaries(
            {"histogram": st.builds(metrics.Histogram, data_points=st.lists(EXPLICIT, max_size=2), **TEMPORALITY)}
        ),
        st.fixed_dictionaries(
            {
                "exponential_histogram": st.builds(
                    metrics.ExponentialHistogram,
                    data_points=st.lists(
                        st.builds(metrics.ExponentialHistogramDataPoint, **POINT, **SUMMED, **EXPONENTIAL), max_size=2
                    ),
                    **TEMPORALITY,
                )
            }
        ),
        st.fixed_dictionaries(
            {
                "summary": st.builds(
                    metrics.Summary,
                    data_points=st.lists(
                        st.builds(
                            metrics.SummaryDataPoint, count=UINT64, sum=DOUBLES, quantile_values=QUANTILES, **POINT
                        ),
                        max_size=2,
                    ),
                )
            }
        ),
    ),
)


def requests(root: Any, per_resource: Any, per_scope: Any, names: Sequence[str], record: Any) -> Any:
    resources, scopes, kind = names
    scoped = st.lists(st.builds(per_scope, scope=SCOPES, **{kind: st.lists(record, max_size=3)}), max_size=2)
    return st.lists(
        st.builds(
            root,
            **{resources: st.lists(st.builds(per_resource, resource=RESOURCES, **{scopes: scoped}), max_size=2)},
        ),
        max_size=4,
    )


TRACES = requests(TracesData, ResourceSpans, ScopeSpans, ("resource_spans", "scope_spans", "spans"), SPANS)
LOG_REQUESTS = requests(LogsData, ResourceLogs, ScopeLogs, ("resource_logs", "scope_logs", "log_records"), LOGS)
METRIC_REQUESTS = requests(
    metrics.MetricsData,
    metrics.ResourceMetrics,
    metrics.ScopeMetrics,
    ("resource_metrics", "scope_metrics", "metrics"),
    METRICS,
)

# --- loading ----------------------------------------------------------------------------------------------------------

TIME_COLUMNS = ("started_at", "ended_at", "occurred_at", "observed_at")
JSON_COLUMNS = ("attributes", "resource_attributes", "events", "links", "labels")
Rows = list[dict[str, Any]]
Loaded = tuple[dict[str, Rows], list[tuple[int, int | None, str]], frozenset[str]]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as found:
        yield found


def loaded(connection: duckdb.DuckDBPyConnection, name: str, content: bytes) -> Loaded:
    """Rows a table, refusals, unknown fields: what the format makes of these bytes."""
    decoder = FORMATS[name]
    rows: dict[str, Rows] = {target.table: [] for target in decoder.targets}
    refused: list[tuple[int, int | None, str]] = []
    unknown = frozenset[str]()
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        for batch in decoder.open(Path(file.name)):
            refused += [(refusal.line, refusal.record, str(refusal.reason)) for refusal in batch.refusals]
            unknown |= batch.unknown_fields
            if not batch.select:
                continue
            for table_name, table in batch.tables.items():
                connection.register(table_name, table)
            found = selected(connection, batch.select)
            assert len(found) == batch.records
            for row in found:
                reason, detail = row.pop("reason"), row.pop("detail")
                if reason is None:
                    rows[batch.target or decoder.table].append(row)
                else:
                    assert detail
                    assert batch.raw_of(row["line"], row["record"])
                    refused.append((row["line"], row["record"], reason))
    return rows, sorted(refused, key=lambda place: (place[0], place[1] or 0)), unknown


def selected(connection: duckdb.DuckDBPyConnection, select: str) -> Rows:
    names = [column[0] for column in connection.sql(select).description or []]
    shown = [
        f"epoch_ns({name}) as {name}"
        if name in TIME_COLUMNS
        else f"replace({name}::varchar, '-', '') as {name}"
        if name == "trace_id"
        else name
        for name in names
    ]
    found = connection.execute(f"select {', '.join(shown)} from ({select})").fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def parsed(rows: Rows) -> Rows:
    """JSON columns as Python writes JSON, so that they compare with what the messages say."""
    return [
        {name: json.dumps(json.loads(v)) if name in JSON_COLUMNS and v is not None else v for name, v in row.items()}
        for row in rows
    ]


def with_parsed_bodies(rows: Rows, expected: Rows) -> Rows:
    """A body that is no string is JSON; a string one stays as it is."""
    bodies = {(row["line"], row["record"]): row["body"] for row in expected}
    return [
        row
        | {
            "body": row["body"]
            if row["body"] is None or row["body"] == bodies.get((row["line"], row["record"]))
            else json.dumps(json.loads(row["body"]))
        }
        for row in rows
    ]


def ways(messages: Sequence[Message], signal: str) -> Iterator[tuple[str, str, bytes]]:
    """How the messages may come: a name, the format, the bytes."""
    yield "JSON", f"otlp_{signal}", b"".join(as_json(message) + b"\n" for message in messages)
    for name, framed in FRAMINGS.items():
        yield name, f"otlp_protobuf_{signal}", framed(messages)


def assert_same_in_all_ways(
    connection: duckdb.DuckDBPyConnection, messages: Sequence[Message], signal: str
) -> tuple[dict[str, Rows], list[tuple[int, int]]]:
    """The rows and refusals, once they were found to be the same in all ways to the letter."""
    known: Loaded | None = None
    for name, decoder, content in ways(messages, signal):
        if content.strip(b"\0") == b"":
            continue  # messages without a byte show no signal
        found = loaded(connection, decoder, content)
        if not any(found[0].values()) and found[1] and found[1][0][1] is None:
            assert found[1] == [(1, None, "other_format")], name  # no record shows a signal
            continue
        ordered = {table: comparable(rows) for table, rows in found[0].items()}
        if known is not None:
            assert ordered == {table: comparable(rows) for table, rows in known[0].items()}, name
            assert found[1] == known[1], name
            assert found[2] == known[2], name
        known = known or found
    if known is None:
        return {target.table: [] for target in FORMATS[f"otlp_{signal}"].targets}, []
    return known[0], [(line, record or 0) for line, record, _ in known[1]]


# --- the tests --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=EXAMPLES)
@given(messages=TRACES)
def test_every_field_of_a_span_arrives_from_every_form(connection, messages):
    rows, refused = assert_same_in_all_ways(connection, messages, "traces")
    expected, expected_refused = span_rows(messages)
    assert comparable(parsed(rows["raw.spans"])) == comparable(expected)
    assert refused == expected_refused


@settings(deadline=None, max_examples=EXAMPLES)
@given(messages=LOG_REQUESTS)
def test_every_field_of_a_log_record_arrives_from_every_form(connection, messages):
    rows, refused = assert_same_in_all_ways(connection, messages, "logs")
    expected, expected_refused = log_rows(messages)
    assert comparable(with_parsed_bodies(parsed(rows["raw.logs"]), expected)) == comparable(expected)
    assert refused == expected_refused


@settings(deadline=None, max_examples=EXAMPLES)
@given(messages=METRIC_REQUESTS)
def test_every_field_of_a_data_point_arrives_from_every_form(connection, messages):
    rows, refused = assert_same_in_all_ways(connection, messages, "metrics")
    points, histograms, expected_refused = metric_rows(messages)
    assert comparable(parsed(rows["raw.metric_points"])) == comparable(points)
    assert comparable(parsed(rows["raw.metric_histograms"])) == comparable(histograms)
    assert refused == expected_refused


@settings(deadline=None, max_examples=EXAMPLES)
@given(messages=TRACES)
def test_messages_that_follow_each_other_bare_are_one_message(connection, messages):
    whole = TracesData()
    for message in messages:
        whole.MergeFrom(message)
    expected, expected_refused = span_rows([whole])
    if not expected:
        return
    found, refused, _ = loaded(
        connection, "otlp_protobuf_traces", b"".join(message.SerializeToString() for message in messages)
    )
    assert comparable(parsed(found["raw.spans"])) == comparable(expected)
    assert [place[:2] for place in refused] == expected_refused


# --- as the SDK writes it ---------------------------------------------------------------------------------------------

SDK_VALUES = st.one_of(
    TEXT,
    st.booleans(),
    INT64,
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=3),
    st.lists(st.booleans(), max_size=3),
    st.lists(INT64, max_size=3),
)
SDK_ATTRIBUTES = st.dictionaries(st.text("abc.", min_size=1, max_size=4), SDK_VALUES, max_size=4)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    attributes=SDK_ATTRIBUTES,
    event=SDK_ATTRIBUTES,
    name=TEXT,
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from(StatusCode),
    start=st.integers(EARLIEST, LATEST - 10**9),
)
def test_spans_of_the_sdk(connection, attributes, event, name, kind, status, start):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=SdkResource({"service.name": "shop", "service.version": "1.2"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("library", "3")
    parent = tracer.start_span("parent", start_time=start)
    link = Link(parent.get_span_context(), event)
    context = set_span_in_context(parent)
    span = tracer.start_span(name, context, kind, attributes, links=[link], start_time=start + 1)
    span.add_event("happened", event, start + 2)
    span.set_status(status, "because" if status is StatusCode.ERROR else None)
    span.end(start + 3)
    parent.end(start + 4)
    message = TracesData.FromString(encode_spans(exporter.get_finished_spans()).SerializeToString())
    rows, refused = assert_same_in_all_ways(connection, [message], "traces")
    assert refused == []
    assert comparable(parsed(rows["raw.spans"])) == comparable(span_rows([message])[0])
    (row,) = [row for row in rows["raw.spans"] if row["parent_span_id"]]
    assert (row["span_name"], row["kind"], row["status_code"]) == (name, kind.value + 1, status.value)
    assert (row["service_name"], row["service_version"]) == ("shop", "1.2")
    assert (row["started_at"], row["ended_at"]) == (start + 1, start + 3)
    assert row["parent_span_id"] == parent.get_span_context().span_id
    assert json.loads(row["attributes"] or "{}") == {k: as_sent(v) for k, v in attributes.items()}
    assert json.loads(row["events"])[0]["attributes"] == {k: as_sent(v) for k, v in event.items()}


def as_sent(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return {"doubleValue": "Infinity" if value > 0 else "-Infinity"}
    return value


@settings(deadline=None, max_examples=EXAMPLES)
@given(body=st.one_of(TEXT, INT64, st.dictionaries(TEXT, SDK_VALUES, max_size=3)), attributes=SDK_ATTRIBUTES)
def test_log_records_of_the_sdk(connection, body, attributes):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=SdkResource({"service.name": "shop"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    record = SdkLogRecord(
        timestamp=EARLIEST + 7,
        observed_timestamp=EARLIEST + 8,
        severity_number=SeverityNumber.WARN2,
        severity_text="warning",
        body=body,
        attributes=attributes,
        event_name="checkout",
    )
    provider.get_logger("library").emit(record)
    message = LogsData.FromString(encode_logs(exporter.get_finished_logs()).SerializeToString())
    rows, refused = assert_same_in_all_ways(connection, [message], "logs")
    expected, _ = log_rows([message])
    assert refused == []
    assert comparable(with_parsed_bodies(parsed(rows["raw.logs"]), expected)) == comparable(expected)
    (row,) = rows["raw.logs"]
    assert (row["severity_number"], row["severity_text"], row["event_name"]) == (14, "warning", "checkout")
    assert (row["occurred_at"], row["observed_at"]) == (EARLIEST + 7, EARLIEST + 8)
    assert json.loads(row["attributes"] or "{}") == {k: as_sent(v) for k, v in attributes.items()}


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    counted=st.integers(0, 2**53),
    level=st.floats(-1e9, 1e9),
    durations=st.lists(st.floats(0, 1e6), min_size=1, max_size=5),
    is_exponential=st.booleans(),
)
def test_data_points_of_the_sdk(connection, counted, level, durations, is_exponential):
    reader = InMemoryMetricReader()
    views = [View(instrument_name="duration", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider(
        [reader], SdkResource({"service.name": "shop"}), views=views if is_exponential else [], shutdown_on_exit=False
    )
    meter = provider.get_meter("library")
    meter.create_counter("requests", "1").add(counted, {"route": "/pay"})
    meter.create_gauge("level", "%").set(level)
    histogram = meter.create_histogram("duration", "ms")
    for duration in durations:
        histogram.record(duration)
    message = metrics.MetricsData.FromString(encode_metrics(reader.get_metrics_data()).SerializeToString())
    rows, refused = assert_same_in_all_ways(connection, [message], "metrics")
    points, histograms, _ = metric_rows([message])
    assert refused == []
    assert comparable(parsed(rows["raw.metric_points"])) == comparable(points)
    assert comparable(parsed(rows["raw.metric_histograms"])) == comparable(histograms)
    found = {row["metric_name"]: row for row in rows["raw.metric_points"]}
    assert (found["requests"]["value"], found["level"]["value"]) == (counted, level)
    assert (found["requests"]["temporality"], found["requests"]["is_monotonic"]) == ("cumulative", True)
    (spread,) = rows["raw.metric_histograms"]
    assert (spread["point_count"], spread["point_max"]) == (len(durations), max(durations))
    assert math.isclose(spread["point_sum"], sum(durations))
    counts = spread["positive_counts"] + [spread["zero_count"]] if is_exponential else spread["bucket_counts"]
    assert sum(counts) == len(durations)
