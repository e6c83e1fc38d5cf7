"""An in-memory warehouse for a handful of spans and logs: the staged tables that generated SQL reads, without dbt.

For the tests of rules. The tables have the columns and the meaning that the dbt project documents; the shape of traces
is walked level by level, which is right for few spans and slow for many.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb
import pyarrow as pa

from dagster_project.rule_language.model import ENUMERATIONS, Type
from dagster_project.rule_language.rule_examples import Example

MIDNIGHT: Final = datetime(2024, 1, 1, tzinfo=UTC)

_TABLES: Final = """
    create schema staging;
    create schema intermediate;
    create table staging.stg_spans (
        trace_id uuid, span_id ubigint, parent_span_id ubigint, service_name varchar, service_version varchar,
        span_name varchar, kind varchar, started_at timestamp_ns, ended_at timestamp_ns, started_on date,
        duration_ns bigint, status_code varchar, dropped_attributes_count bigint, attributes json,
        resource_attributes json
    );
    create table staging.stg_logs (
        occurred_at timestamp_ns, occurred_on date, trace_id uuid, span_id ubigint, service_name varchar,
        severity_number utinyint, body varchar, attributes json, resource_attributes json
    );
    create table intermediate.int_trace_shape (
        trace_id uuid, span_id ubigint, kind varchar, depth bigint, is_root boolean, is_orphan boolean,
        is_cycle_cut boolean, child_count bigint
    );
    create table intermediate.int_traces (
        trace_id uuid, started_at timestamp_ns, ended_at timestamp_ns, started_on date, span_count bigint,
        log_count bigint, root_count bigint, orphan_count bigint, dropped_attributes_count bigint, is_complete boolean
    );
"""

# Who a child means by a span id that a client and a server share is the server, as in the dbt model.
_SHAPE: Final = """
    insert into intermediate.int_trace_shape
    with recursive nodes as (
        select
            *, row_number() over (
                partition by trace_id, span_id
                order by list_position(['server', 'consumer', 'internal', 'unspecified', 'client', 'producer'], kind)
            ) as preference
        from staging.stg_spans
    ),
    linked as (
        select
            child.trace_id, child.span_id, child.kind, child.started_at, child.parent_span_id,
            coalesce(caller.kind, parent.kind) as parent_kind,
            case when caller.kind is not null then child.span_id else parent.span_id end as parent_id
        from nodes as child
        left join nodes as caller
            on child.trace_id = caller.trace_id and child.span_id = caller.span_id
            and child.kind in ('server', 'consumer') and caller.kind in ('client', 'producer')
        left join nodes as parent
            on child.trace_id = parent.trace_id and child.parent_span_id = parent.span_id and parent.preference = 1
    ),
    walk as (
        select trace_id, span_id, kind, 0 as depth from linked where parent_id is null
        union all
        select linked.trace_id, linked.span_id, linked.kind, walk.depth + 1
        from linked
        inner join walk
            on linked.trace_id = walk.trace_id and linked.parent_id = walk.span_id and linked.parent_kind = walk.kind
    )
    select
        linked.trace_id, linked.span_id, linked.kind, walk.depth,
        linked.parent_span_id is null and linked.parent_id is null as is_root,
        linked.parent_span_id is not null and linked.parent_id is null as is_orphan,
        walk.depth is null as is_cycle_cut,
        (
            select count(*) from linked as child
            where
                child.trace_id = linked.trace_id
                and child.parent_id = linked.span_id
                and child.parent_kind = linked.kind
        ) as child_count
    from linked
    left join walk using (trace_id, span_id, kind)
"""

_TRACES: Final = """
    insert into intermediate.int_traces
    select
        trace_id, min(started_at), max(ended_at), min(started_at)::date, count(*),
        (select count(*) from staging.stg_logs as logs where logs.trace_id = spans.trace_id),
        count(*) filter (is_root), count(*) filter (is_orphan), sum(dropped_attributes_count)::bigint,
        count(*) filter (is_root) = 1 and count(*) filter (is_orphan) = 0
        and count(*) filter (is_cycle_cut) = 0 and sum(dropped_attributes_count) = 0
    from staging.stg_spans as spans
    inner join intermediate.int_trace_shape using (trace_id, span_id, kind)
    group by trace_id
"""


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory warehouse without rows."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    connection.execute(_TABLES)
    return connection


def fill(connection: duckdb.DuckDBPyConnection, example: Example) -> None:
    """Replace what is in the warehouse by the spans and logs of one test."""
    for table in ("staging.stg_spans", "staging.stg_logs"):
        connection.execute(f"delete from {table}")  # noqa: S608
    _insert(connection, "staging.stg_spans", [_span_row(span) for span in example.spans])
    _insert(connection, "staging.stg_logs", [_log_row(log) for log in example.logs])
    derive(connection)


def derive(connection: duckdb.DuckDBPyConnection) -> None:
    """Work out the intermediate tables from the staged ones."""
    for table in ("intermediate.int_trace_shape", "intermediate.int_traces"):
        connection.execute(f"delete from {table}")  # noqa: S608
    connection.execute(_SHAPE)
    connection.execute(_TRACES)


def trace_uuid(name: str) -> uuid.UUID:
    """The trace id that a name of a test stands for."""
    return uuid.UUID(bytes=hashlib.sha256(f"trace {name}".encode()).digest()[:16])


def span_number(name: str) -> int:
    """The span id that a name of a test stands for; `s1` is 1, so that ids sort as they were given."""
    if name[:1] == "s" and name[1:].isdigit() and 0 < int(name[1:]) < 2**32:
        return int(name[1:])
    # The top bit keeps names of their own apart from the given numbers.
    return int.from_bytes(hashlib.sha256(f"span {name}".encode()).digest()[:8], "big") | (1 << 63)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    arrow = pa.Table.from_pylist(list(rows))
    connection.register("given", arrow)
    connection.execute(f"insert into {table} by name select * from given")  # noqa: S608
    connection.unregister("given")


def _moment(nanoseconds: int) -> pa.Scalar:
    return pa.scalar(int(MIDNIGHT.timestamp()) * 10**9 + nanoseconds, pa.timestamp("ns"))


def _day(nanoseconds: int) -> Any:
    return (MIDNIGHT + timedelta(microseconds=nanoseconds // 1000)).date()


def _span_row(span: Any) -> dict[str, Any]:
    return {
        "trace_id": str(trace_uuid(span.trace)),
        "span_id": pa.scalar(span_number(span.id), pa.uint64()),
        "parent_span_id": pa.scalar(None if span.parent is None else span_number(span.parent), pa.uint64()),
        "service_name": span.service,
        "service_version": span.version,
        "span_name": span.name,
        "kind": span.kind,
        "started_at": _moment(span.at_ns),
        "ended_at": _moment(span.at_ns + span.duration_ns),
        "started_on": _day(span.at_ns),
        "duration_ns": span.duration_ns,
        "status_code": span.status,
        "dropped_attributes_count": span.dropped,
        "attributes": span.attributes,
        "resource_attributes": span.resource,
    }


def _log_row(log: Any) -> dict[str, Any]:
    return {
        "occurred_at": _moment(log.at_ns),
        "occurred_on": _day(log.at_ns),
        "trace_id": str(trace_uuid(log.trace)),
        "span_id": pa.scalar(None if log.span is None else span_number(log.span), pa.uint64()),
        "service_name": log.service,
        "severity_number": 4 * ENUMERATIONS[Type.SEVERITY].index(log.severity) + 1,
        "body": log.body,
        "attributes": log.attributes,
        "resource_attributes": log.resource,
    }
