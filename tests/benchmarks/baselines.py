"""What somebody would do without Hindcast, for each format: load the file into the same columns, or at least read it.

None of these checks a record, keeps a ledger or survives a broken line, unless it says so. Each returns how many rows
it found. What they are measured against is in `loads.py`.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import orjson


@contextmanager
def _warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "baseline.duckdb")) as connection:
        yield connection


def _landed(query: str, file: Path) -> int:
    with _warehouse() as connection:
        # The path is the benchmark's own; a table function takes no parameter inside of `create table`.
        connection.execute(f"create table landed as {query.replace('$file', repr(str(file)))}")
        return int(connection.execute("select count(*) from landed").fetchall()[0][0])


_STRINGS = 'struct("key" varchar, "value" struct("stringValue" varchar))[]'
_VALUE = (
    'struct("stringValue" varchar, "boolValue" boolean, "intValue" varchar, "doubleValue" double, '
    '"arrayValue" struct("values" struct("stringValue" varchar)[]))'
)
_SPAN = (
    'struct("traceId" varchar, "spanId" varchar, "parentSpanId" varchar, "name" varchar, "kind" integer, '
    '"startTimeUnixNano" varchar, "endTimeUnixNano" varchar, "status" struct("code" integer, "message" varchar), '
    f'"attributes" struct("key" varchar, "value" {_VALUE})[])'
)
_REQUEST = (
    f'struct("resource" struct("attributes" {_STRINGS}), "scopeSpans" struct("scope" struct("name" varchar), '
    f'"spans" {_SPAN}[])[])[]'
)
_OTLP = f"""
    with resources as (
        select unnest("resourceSpans") as found
        from read_json($file, format = 'newline_delimited', ignore_errors = true, maximum_object_size = 67108864,
            columns = {{'resourceSpans': '{_REQUEST}'}})
    ),
    scopes as (
        select found.resource.attributes as resource_attributes, unnest(found."scopeSpans") as scope from resources
    ),
    spans as (select resource_attributes, scope.scope.name as scope_name, unnest(scope.spans) as span from scopes)
    select
        span."traceId"::uuid as trace_id, ('0x' || span."spanId")::ubigint as span_id,
        ('0x' || nullif(span."parentSpanId", ''))::ubigint as parent_span_id, span.name as span_name,
        list_filter(resource_attributes, lambda item: item.key = 'service.name')[1].value."stringValue" as service_name,
        coalesce(span.kind, 0) as kind, coalesce(span.status.code, 0) as status_code, scope_name,
        make_timestamp_ns(span."startTimeUnixNano"::bigint) as started_at,
        make_timestamp_ns(span."endTimeUnixNano"::bigint) as ended_at,
        '{{' || array_to_string(list_transform(span.attributes, lambda item: to_json(item.key)::varchar || ':' ||
            coalesce(to_json(item.value."stringValue")::varchar, item.value."boolValue"::varchar,
                item.value."intValue", item.value."doubleValue"::varchar,
                to_json(list_transform(item.value."arrayValue"."values", lambda one: one."stringValue"))::varchar,
                'null')), ',') || '}}' as attributes,
        to_json(map_from_entries(list_transform(resource_attributes,
            lambda item: (item.key, item.value."stringValue")))) as resource_attributes
    from spans
"""


def otlp_json(file: Path) -> int:
    """DuckDB's `read_json` and `unnest` into the same columns."""
    return _landed(_OTLP, file)


def otlp_protobuf(file: Path) -> int:
    """Protobuf's own `ParseFromString`, and a walk over the spans."""
    from google.protobuf.proto import parse_length_prefixed
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    rows = 0
    with file.open("rb") as content:
        while (message := parse_length_prefixed(TracesData, content)) is not None:  # type: ignore[arg-type]
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        rows += bool(span.trace_id and span.name and span.start_time_unix_nano and span.attributes)
    return rows


_PARQUET = """
    select
        trace_id::uuid as trace_id, ('0x' || span_id)::ubigint as span_id,
        ('0x' || nullif(parent_span_id, ''))::ubigint as parent_span_id, span_name, service_name,
        started_at::timestamp_ns as started_at,
        make_timestamp_ns(epoch_ns(started_at) + duration_ns) as ended_at, to_json(attributes) as attributes
    from read_parquet($file)
"""


def parquet_spans(file: Path) -> int:
    """DuckDB's `create table as` from `read_parquet` into the same columns."""
    return _landed(_PARQUET, file)


_LOGS = """
    select
        "timestamp"::timestamp_ns as occurred_at, trace_id::uuid as trace_id, ('0x' || span_id)::ubigint as span_id,
        service as service_name, level as severity_text, message as body,
        to_json({logger: logger, thread: thread, attempt: attempt}) as attributes
    from read_json($file, format = 'newline_delimited', columns = {'timestamp': 'varchar', 'level': 'varchar',
        'service': 'varchar', 'trace_id': 'varchar', 'span_id': 'varchar', 'message': 'varchar', 'logger': 'varchar',
        'thread': 'varchar', 'attempt': 'bigint'})
"""


def json_lines(file: Path) -> int:
    """DuckDB's `read_json` into the same columns."""
    return _landed(_LOGS, file)


def prometheus(file: Path) -> int:
    """`orjson.loads` of the whole answer, nothing landed."""
    with gzip.open(file) as content:
        answer = orjson.loads(content.read())
    return sum(len(series["values"]) for series in answer["data"]["result"])
