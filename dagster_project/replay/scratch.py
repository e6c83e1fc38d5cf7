"""An in-memory warehouse for a handful of records: the staged tables that generated SQL reads, without dbt.

For the tests of rules. The tables have the columns that generated SQL reads, with the meaning that the dbt project
documents; the shape of traces is `trace_shapes`' business.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb
import pyarrow as pa

from dagster_project.replay.trace_shapes import shapes
from dagster_project.rule_language.example_records import (
    Example,
    ExampleDeploy,
    ExampleLog,
    ExampleMetric,
    ExampleSpan,
    ExampleTicket,
)
from dagster_project.rule_language.meaning.model import ENUMERATIONS, Type

MIDNIGHT: Final = datetime(2024, 1, 1, tzinfo=UTC)

_TABLES: Final = """
    create schema staging;
    create schema intermediate;
    create table staging.stg_spans (
        trace_id uuid, span_id ubigint, parent_span_id ubigint, service_name varchar, service_version varchar,
        span_name varchar, kind varchar, started_at timestamp_ns, ended_at timestamp_ns, started_on date,
        duration_ns bigint, status_code varchar, scope_name varchar, scope_version varchar,
        dropped_attributes_count bigint default 0, dropped_events_count bigint default 0,
        dropped_links_count bigint default 0, attributes json, resource_attributes json
    );
    create table staging.stg_logs (
        occurred_at timestamp_ns, occurred_on date, trace_id uuid, span_id ubigint, service_name varchar,
        severity_number utinyint, body varchar, scope_name varchar, attributes json, resource_attributes json
    );
    create table staging.stg_span_events (
        trace_id uuid, span_id ubigint, kind varchar, position integer, event_name varchar, occurred_at timestamp_ns,
        attributes json, dropped_attributes_count bigint default 0, started_on date
    );
    create table staging.stg_span_links (
        trace_id uuid, span_id ubigint, kind varchar, position integer, linked_trace_id uuid, linked_span_id ubigint,
        attributes json, dropped_attributes_count bigint default 0, started_on date
    );
    create table staging.stg_metric_points (
        metric_name varchar, service_name varchar, labels json, observed_at timestamp, observed_on date, value double,
        unit varchar
    );
    create table staging.stg_deploys (
        deploy_id varchar, service_name varchar, version varchar, previous_version varchar, deployed_at timestamp,
        commit_sha varchar, environment varchar, status varchar, is_rollback boolean
    );
    create table intermediate.int_incidents (
        incident_id varchar, system varchar default 'incidents', title varchar, severity varchar, service_name varchar,
        team varchar, category varchar, started_at timestamp, resolved_at timestamp, closed_at timestamp
    );
    create table intermediate.int_trace_shape (
        trace_id uuid, span_id ubigint, kind varchar, service_name varchar, span_name varchar, depth integer,
        nested_left bigint, nested_right bigint, parent_left bigint, component_id bigint, is_root boolean,
        is_orphan boolean, is_cycle_cut boolean, is_too_deep boolean, child_count bigint, subtree_size bigint
    );
    create table intermediate.int_traces (
        trace_id uuid, started_at timestamp_ns, ended_at timestamp_ns, started_on date, span_count bigint,
        log_count bigint, root_count bigint, orphan_count bigint, dropped_attributes_count bigint, is_complete boolean
    );
"""

_TRACES: Final = """
    insert into intermediate.int_traces
    select
        trace_id, min(started_at), max(ended_at), min(started_at)::date, count(*),
        (select count(*) from staging.stg_logs as logs where logs.trace_id = spans.trace_id),
        count(*) filter (is_root), count(*) filter (is_orphan), sum(dropped_attributes_count)::bigint,
        count(*) filter (is_root) = 1 and count(*) filter (is_orphan or is_cycle_cut or is_too_deep) = 0
        and sum(dropped_attributes_count + dropped_events_count + dropped_links_count) = 0
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
    """Replace what is in the warehouse by the records of one test."""
    rows = {
        "stg_spans": [_span_row(span) for span in example.spans],
        "stg_logs": [_log_row(log) for log in example.logs],
        "stg_span_events": [row for span in example.spans for row in _event_rows(span)],
        "stg_span_links": [row for span in example.spans for row in _link_rows(span)],
        "stg_metric_points": [_metric_row(point) for point in example.metrics],
        "stg_deploys": [_deploy_row(deploy, number) for number, deploy in enumerate(example.deploys)],
    }
    for name, of_table in rows.items():
        _replace(connection, f"staging.{name}", of_table)
    _replace(connection, "intermediate.int_incidents", [_ticket_row(ticket) for ticket in example.tickets])
    derive(connection)


def derive(connection: duckdb.DuckDBPyConnection) -> None:
    """Work out the intermediate tables from the staged ones."""
    for table in ("intermediate.int_trace_shape", "intermediate.int_traces"):
        connection.execute(f"delete from {table}")  # noqa: S608
    spans = connection.execute(
        "select trace_id, span_id, parent_span_id, kind from staging.stg_spans"
        " order by trace_id, started_at, span_id, kind"
    ).fetchall()
    connection.register("given", shapes(spans))
    connection.execute(
        "insert into intermediate.int_trace_shape by name select given.*, service_name, span_name"
        " from given inner join staging.stg_spans using (trace_id, span_id, kind)"
    )
    connection.unregister("given")
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


def _replace(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(f"delete from {table}")  # noqa: S608
    if not rows:
        return
    arrow = pa.Table.from_pylist(list(rows))
    connection.register("given", arrow)
    connection.execute(f"insert into {table} by name select * from given")  # noqa: S608
    connection.unregister("given")


def _moment(nanoseconds: int) -> pa.Scalar:
    return pa.scalar(int(MIDNIGHT.timestamp()) * 10**9 + nanoseconds, pa.timestamp("ns"))


def _microsecond(nanoseconds: int) -> pa.Scalar:
    """What stands beside traces is kept to the microsecond, as in the dbt models."""
    return pa.scalar(int(MIDNIGHT.timestamp()) * 10**6 + nanoseconds // 1000, pa.timestamp("us"))


def _day(nanoseconds: int) -> Any:
    return (MIDNIGHT + timedelta(microseconds=nanoseconds // 1000)).date()


def _span_row(span: ExampleSpan) -> dict[str, Any]:
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
        "scope_name": span.scope,
        "scope_version": span.scope_version,
        "dropped_attributes_count": span.dropped,
        "attributes": span.attributes,
        "resource_attributes": span.resource,
    }


def _log_row(log: ExampleLog) -> dict[str, Any]:
    return {
        "occurred_at": _moment(log.at_ns),
        "occurred_on": _day(log.at_ns),
        "trace_id": str(trace_uuid(log.trace)),
        "span_id": pa.scalar(None if log.span is None else span_number(log.span), pa.uint64()),
        "service_name": log.service,
        "severity_number": 4 * ENUMERATIONS[Type.SEVERITY].index(log.severity) + 1,
        "body": log.body,
        "scope_name": log.scope,
        "attributes": log.attributes,
        "resource_attributes": log.resource,
    }


def _event_rows(span: ExampleSpan) -> list[dict[str, Any]]:
    return [
        {
            **_place(span, position),
            "event_name": event.name,
            "occurred_at": _moment(event.at_ns),
            "attributes": event.attributes,
        }
        for position, event in enumerate(span.events, start=1)
    ]


def _link_rows(span: ExampleSpan) -> list[dict[str, Any]]:
    return [
        {
            **_place(span, position),
            "linked_trace_id": str(trace_uuid(link.trace)),
            "linked_span_id": pa.scalar(span_number(link.span), pa.uint64()),
            "attributes": link.attributes,
        }
        for position, link in enumerate(span.links, start=1)
    ]


def _place(span: ExampleSpan, position: int) -> dict[str, Any]:
    """What ties an event or a link to its span."""
    return {
        "trace_id": str(trace_uuid(span.trace)),
        "span_id": pa.scalar(span_number(span.id), pa.uint64()),
        "kind": span.kind,
        "position": position,
        "started_on": _day(span.at_ns),
    }


def _metric_row(point: ExampleMetric) -> dict[str, Any]:
    return {
        "metric_name": point.name,
        "service_name": point.service,
        "labels": point.attributes,
        "observed_at": _microsecond(point.at_ns),
        "observed_on": _day(point.at_ns),
        "value": point.value,
        "unit": point.unit,
    }


def _deploy_row(deploy: ExampleDeploy, number: int) -> dict[str, Any]:
    return {
        "deploy_id": f"deploy {number + 1}",
        "service_name": deploy.service,
        "version": deploy.version,
        "previous_version": deploy.previous_version,
        "deployed_at": _microsecond(deploy.at_ns),
        "commit_sha": deploy.commit,
        "environment": deploy.environment,
        "status": deploy.status,
        "is_rollback": deploy.is_rollback,
    }


def _ticket_row(ticket: ExampleTicket) -> dict[str, Any]:
    return {
        "incident_id": ticket.id,
        "system": ticket.system,
        "title": ticket.title,
        "severity": ticket.severity,
        "service_name": ticket.service,
        "team": ticket.team,
        "category": ticket.category,
        "started_at": _microsecond(ticket.at_ns),
        "resolved_at": None if ticket.resolved_ns is None else _microsecond(ticket.resolved_ns),
    }
