"""The staged and intermediate tables that scenarios fill, with the columns of the dbt models.

Which rows stand in them is for `telemetry` and `double_charges` to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import duckdb

DAY_US: Final = 86_400_000_000

# Attributes that the rules of the scenarios read; `rule_language.attributes.promoted_column` names their columns.
PROMOTED: Final[Mapping[str, str]] = {
    "attr__order_id__any": "varchar",
    "attr__customer_id__any": "varchar",
    "attr__payment_intent_id__any": "varchar",
    "attr__tenant_id__any": "varchar",
    "attr__attempt__number": "double",
    "attr__amount__number": "double",
    "attr__result__text": "varchar",
}

_TABLES: Final = """
    create schema if not exists staging;
    create schema if not exists intermediate;
    create schema if not exists truth;
    create table staging.stg_spans (
        trace_id uuid, span_id ubigint, parent_span_id ubigint, service_name varchar, service_version varchar,
        span_name varchar, kind varchar, started_at timestamp_ns, ended_at timestamp_ns, duration_ns bigint,
        status_code varchar, status_message varchar, scope_name varchar, scope_version varchar, trace_state varchar,
        dropped_attributes_count uinteger, dropped_events_count uinteger, dropped_links_count uinteger,
        has_dropped_attributes boolean, attributes json, resource_attributes json, events json, links json,
        started_on date, load_id bigint, line bigint, record bigint
    );
    create table staging.stg_logs (
        occurred_at timestamp_ns, observed_at timestamp_ns, occurred_on date, trace_id uuid, span_id ubigint,
        service_name varchar, severity_number utinyint, severity_text varchar, is_error boolean, event_name varchar,
        body varchar, scope_name varchar, dropped_attributes_count uinteger, attributes json, resource_attributes json,
        load_id bigint, line bigint, record bigint
    );
    create table staging.stg_span_events (
        trace_id uuid, span_id ubigint, kind varchar, position integer, event_name varchar, occurred_at timestamp_ns,
        exception_type varchar, exception_message varchar, attributes json, dropped_attributes_count bigint,
        started_on date
    );
    create table staging.stg_span_links (
        trace_id uuid, span_id ubigint, kind varchar, position integer, linked_trace_id uuid, linked_span_id ubigint,
        trace_state varchar, attributes json, dropped_attributes_count bigint, flags bigint, started_on date
    );
    create table staging.stg_metric_points (
        metric_name varchar, service_name varchar, series_id varchar, labels json, observed_at timestamp,
        observed_on date, value double, metric_type varchar, unit varchar, temporality varchar, is_monotonic boolean,
        started_at timestamp, load_id bigint, line bigint, record bigint
    );
    create table staging.stg_deploys (
        deploy_id varchar, system varchar, service_name varchar, version varchar, previous_version varchar,
        deployed_at timestamp, commit_sha varchar, environment varchar, status varchar, is_rollback boolean,
        rollback_basis varchar, load_id bigint, line bigint, record bigint
    );
    create table intermediate.int_incidents (
        incident_id varchar, system varchar, title varchar, severity varchar, severity_as_sent varchar,
        service_name varchar, team varchar, category varchar, resolution_method varchar,
        started_at timestamp, started_at_source varchar, detected_at timestamp, detected_at_source varchar,
        acknowledged_at timestamp, acknowledged_at_source varchar, mitigated_at timestamp, mitigated_at_source varchar,
        resolved_at timestamp, resolved_at_source varchar, closed_at timestamp, closed_at_source varchar,
        reopened_at timestamp, reopened_at_source varchar, reopened_count bigint, escalation_count bigint,
        satisfaction double, pagerduty_id varchar, load_id bigint, line bigint, record bigint, is_open boolean,
        clock_problem varchar
    );
    create table intermediate.int_trace_shape (
        trace_id uuid, span_id ubigint, kind varchar, started_on date, service_name varchar, span_name varchar,
        depth integer, nested_left bigint, nested_right bigint, parent_left bigint, component_id bigint,
        is_root boolean, is_orphan boolean, is_cycle_cut boolean, is_too_deep boolean, child_count bigint,
        subtree_size bigint
    );
    create table intermediate.int_traces (
        trace_id uuid, started_at timestamp_ns, ended_at timestamp_ns, started_on date, duration_ns bigint,
        root_service_name varchar, root_span_name varchar, span_count bigint, service_count bigint,
        error_span_count bigint, log_count bigint, error_log_count bigint, orphan_count bigint, root_count bigint,
        cycle_cut_count bigint, too_deep_count bigint, max_depth integer, dropped_attributes_count bigint,
        dropped_events_count bigint, dropped_links_count bigint, is_complete boolean
    );
"""

_SPANS: Final = """
    insert into staging.stg_spans by name
    select
        trace_id, span_id, parent_span_id, service_name, service_version, span_name, kind,
        make_timestamp_ns(start_us * 1000) as started_at, make_timestamp_ns(end_us * 1000) as ended_at,
        (end_us - start_us) * 1000 as duration_ns, status_code, dropped as dropped_attributes_count,
        0 as dropped_events_count, 0 as dropped_links_count, dropped > 0 as has_dropped_attributes, attributes,
        json_object('service.name', service_name) as resource_attributes, make_timestamp(start_us)::date as started_on,
        1 as load_id, 0 as line, 0 as record, columns('^attr__')
    from made_spans
    where kept
    order by started_on, service_name, span_name, started_at, trace_id, span_id, kind
"""

_SHAPES: Final = """
    insert into intermediate.int_trace_shape by name
    select
        s.trace_id, s.span_id, s.kind, make_timestamp(s.start_us)::date as started_on, s.service_name, s.span_name,
        s.depth, 1 + 2 * s.place - s.depth as nested_left, 2 * (s.place + s.subtree_size) - s.depth as nested_right,
        1 + 2 * p.place - p.depth as parent_left, s.component_id,
        s.parent_span_id is null as is_root, s.parent_span_id is not null and s.depth = 0 as is_orphan,
        false as is_cycle_cut, false as is_too_deep, s.child_count, s.subtree_size
    from made_spans as s
    left join made_spans as p on s.trace_id = p.trace_id and s.parent_span_id = p.span_id and s.depth > 0
    where s.kept
    order by started_on, s.service_name, s.span_name, s.trace_id, nested_left
"""

_TRACES: Final = """
    insert into intermediate.int_traces by name
    select
        trace_id, make_timestamp_ns(min(start_us) * 1000) as started_at,
        make_timestamp_ns(max(end_us) * 1000) as ended_at, make_timestamp(min(start_us))::date as started_on,
        (max(end_us) - min(start_us)) * 1000 as duration_ns,
        any_value(service_name) filter (parent_span_id is null) as root_service_name,
        any_value(span_name) filter (parent_span_id is null) as root_span_name,
        count(*) as span_count, count(distinct service_name) as service_count,
        count(*) filter (status_code = 'error') as error_span_count, 0 as log_count, 0 as error_log_count,
        count(*) filter (parent_span_id is not null and depth = 0) as orphan_count,
        count(*) filter (parent_span_id is null) as root_count, 0 as cycle_cut_count, 0 as too_deep_count,
        max(depth) as max_depth, sum(dropped)::bigint as dropped_attributes_count, 0 as dropped_events_count,
        0 as dropped_links_count, root_count = 1 and orphan_count = 0 and sum(dropped) = 0 as is_complete
    from made_spans
    where is_whole
    group by trace_id
    order by started_on, started_at, trace_id
"""


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the empty tables of a scenario, and the schema `truth` for what is planted."""
    connection.execute(_TABLES)
    for name, type_ in PROMOTED.items():
        connection.execute(f'alter table staging.stg_spans add column "{name}" {type_}')


def insert_made(connection: duckdb.DuckDBPyConnection) -> None:
    """Move the temporary table `made_spans` into the tables of the warehouse.

    Its columns: those of a span, with `start_us`, `end_us` and `dropped`; the promoted attributes; of its place in the
    tree `depth`, `place` (its number in a walk depth first, from 0), `subtree_size`, `child_count`, `component_id`;
    `kept` (received, and of the days that are being written) and `is_whole` (received, of a trace begun on these days).
    """
    for statement in (_SPANS, _SHAPES, _TRACES):
        connection.execute(statement)


def setting(connection: duckdb.DuckDBPyConnection, name: str, value: int) -> None:
    """Give a scenario's SQL a number, to be read with `getvariable`."""
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name of a setting")
    connection.execute(f"set variable {name} = {int(value)}")


def seed_number(seed: str) -> int:
    """The number below 2**31 that a word seeds the hashes with."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") >> 1


def silent(done: int, of: int) -> None:
    """Say nothing of how far the generator is."""
    del done, of
