"""The four questions of an investigation, asked of the violations of one replay: who, when, how far, with what else.

Queries over the verdicts and the staged tables; every list has a bound. What they find is written down as `found` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb

from dagster_project.replay.certificate import RESULT
from dagster_project.replay.found import BlastRadius, Investigation, Ranked, ReportedValues, Timeline
from dagster_project.replay.tables import Row, Tables, bounds, row, rows, tables_of, within
from dagster_project.replay.window import Window
from dagster_project.rule_language.rule_file import Rule
from dagster_project.wording import pointer

MOST_ROWS = 500
MOST_VALUES = 10
MOST_BARS = 96
STEPS_SECONDS = (1, 10, 60, 300, 900, 3_600, 21_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
# Where a service runs, in the words of OpenTelemetry's semantic conventions.
PLACES = (
    "cloud.region", "cloud.availability_zone", "deployment.environment.name", "deployment.environment",
    "k8s.cluster.name", "k8s.namespace.name", "k8s.node.name", "k8s.pod.name", "host.name",
)  # fmt: skip
_TRACES = "hindcast_violating_traces"
_SPANS = "hindcast_violating_spans"
_RECEIVED = "hindcast_received"


def investigate(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window) -> Investigation:
    """The four answers over the verdicts that stand in the temporary table `RESULT`."""
    tables = tables_of(connection)
    _lay_out(connection, window)
    try:
        incidents, outside = _incidents(connection, tables)
        return Investigation(
            reported=tuple(_reported(connection, one.name, one.function) for one in rule.judgement.report),
            timeline=_timeline(connection, tables, window),
            blast_radius=_blast_radius(connection, tables, window),
            incidents=incidents,
            outside_incidents=outside,
        )
    finally:
        for table in (_TRACES, _SPANS, _RECEIVED):
            connection.execute(f"drop table if exists {table}")


def _lay_out(connection: duckdb.DuckDBPyConnection, window: Window) -> None:
    """Which traces and which of their services, versions and resources violations touch; what was received of each."""
    connection.execute(f"""
        create or replace temp table {_TRACES} as
        select distinct violation_id, unnest(trace_ids) as trace_id from {RESULT} where verdict = 'violated'
    """)  # noqa: S608
    connection.execute(f"""
        create or replace temp table {_SPANS} as
        select distinct
            t.violation_id, t.trace_id, coalesce(s.service_name, '') as service_name, s.service_version,
            s.resource_attributes
        from staging.stg_spans as s inner join {_TRACES} as t on s.trace_id = t.trace_id
    """)  # noqa: S608
    connection.execute(
        f"""
        create or replace temp table {_RECEIVED} as
        select
            coalesce(service_name, '') as service_name, service_version, resource_attributes, count(*) as received
        from staging.stg_spans where {within("started_at")} group by all
        """,  # noqa: S608
        bounds(window),
    )


def _reported(connection: duckdb.DuckDBPyConnection, name: str, function: str) -> ReportedValues:
    value = "json_extract(reported, $pointer)"
    totals = row(
        connection,
        f"""
        select
            count(distinct value) as different, count(*) - count(value) as missing,
            sum(try_cast(value as double)) as total
        from (select nullif({value}::varchar, 'null') as value from {RESULT} where verdict = 'violated')
        """,  # noqa: S608
        {"pointer": pointer(name)},
    )
    most = rows(
        connection,
        f"""
        select json_extract_string(reported, $pointer) as value, count(*) as violations
        from {RESULT} where verdict = 'violated' and nullif({value}::varchar, 'null') is not null
        group by all order by violations desc, value limit {MOST_VALUES}
        """,  # noqa: S608
        {"pointer": pointer(name)},
    )
    total = totals["total"] if function in {"sum", "count"} else None
    return ReportedValues(name, totals["different"], totals["missing"], total, tuple(most))


# When.


def _timeline(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> Timeline:
    found = row(
        connection,
        f"""
        select
            min(first_span_at) as first, max(last_span_at) as last,
            (max(epoch_ns(first_span_at)) - min(epoch_ns(first_span_at))) // 1000000000 as seconds,
            (min(epoch_ns(first_span_at)) - (select min(epoch_ns(started_at)) from intermediate.int_traces)) / 1e9
                as before
        from {RESULT} where verdict = 'violated'
        """,  # noqa: S608
    )
    if found["first"] is None:
        return Timeline(None, None, (), 3600, (), (), None)
    step = next((step for step in STEPS_SECONDS if found["seconds"] // step < MOST_BARS), STEPS_SECONDS[-1])
    per_hour = rows(
        connection,
        f"""
        select {_bucket("first_span_at", 3600)} as hour_at, count(*) as violations
        from {RESULT} where verdict = 'violated' group by all order by hour_at
        """,  # noqa: S608
    )
    return Timeline(
        first=found["first"],
        last=found["last"],
        per_hour=tuple(per_hour),
        bucket_seconds=step,
        bars=tuple(_bars(connection, window, step)),
        changes_before=tuple(_changes_before(connection, tables, found["first"])),
        seconds_received_before=found["before"],
    )


def _bucket(column: str, seconds: int) -> str:
    return f"make_timestamp((epoch_ns({column}) // {seconds * 10**9}) * {seconds * 10**6})"


def _bars(connection: duckdb.DuckDBPyConnection, window: Window, step: int) -> list[Row]:
    """Every step from the first to the last violation that has a violation or a trace."""
    query = f"""
        with violated as (
            select {_bucket("first_span_at", step)} as bucket_at, count(*) as violations
            from {RESULT} where verdict = 'violated' group by all
        ),
        received as (
            select {_bucket("started_at", step)} as bucket_at, count(*) as traces
            from intermediate.int_traces where {within("started_at")} group by all
        )
        select
            coalesce(v.bucket_at, r.bucket_at) as bucket_at, coalesce(v.violations, 0) as violations,
            coalesce(r.traces, 0) as traces
        from violated as v full join received as r on v.bucket_at = r.bucket_at
        where coalesce(v.bucket_at, r.bucket_at) between
            (select min(bucket_at) from violated) and (select max(bucket_at) from violated)
        order by bucket_at
    """  # noqa: S608
    return rows(connection, query, bounds(window))


def _changes_before(connection: duckdb.DuckDBPyConnection, tables: Tables, first: datetime) -> list[Row]:
    found: list[Row] = []
    if tables.has("staging.stg_deploys", "deploy_id", "service_name", "version", "deployed_at", "commit_sha"):
        query = f"""
            with affected as (
                select distinct unnest(service_names) as service_name from {RESULT} where verdict = 'violated'
            ),
            deploys as (
                select
                    'deploy' as kind, service_name, version, commit_sha, deployed_at as changed_at, null as subject,
                    service_name in (select service_name from affected) as is_affected,
                    row_number() over (partition by service_name order by deployed_at desc, deploy_id) as place,
                    row_number() over (order by deployed_at desc, deploy_id) as place_of_all
                from staging.stg_deploys where deployed_at <= $first::timestamp
            )
            select * exclude (place, place_of_all) from deploys
            where (place = 1 and is_affected) or place_of_all = 1
            order by changed_at desc, service_name limit {MOST_VALUES}
        """  # noqa: S608
        found += rows(connection, query, {"first": first})
    if tables.has("staging.stg_commits", "sha", "committed_at", "subject", "repository"):
        query = """
            select
                'commit' as kind, repository as service_name, null as version, sha as commit_sha,
                committed_at as changed_at, subject, null as is_affected
            from staging.stg_commits where committed_at <= $first::timestamp
            order by committed_at desc, sha limit 1
        """
        found += rows(connection, query, {"first": first})
    for one in found:
        one["seconds_before"] = (first - one["changed_at"]).total_seconds()
    return found


# How far.


def _blast_radius(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> BlastRadius:
    return BlastRadius(
        services=_touched(connection, ("service_name",)),
        versions=_touched(connection, ("service_name", "service_version"), "service_version is not null"),
        places=_places(connection),
        endpoints=_endpoints(connection, tables, window),
    )


def _touched(connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: str = "true") -> Ranked:
    keys = ", ".join(names)
    return _ranked(
        connection,
        f"""
        select
            {keys}, coalesce(t.violations, 0) as violations, coalesce(t.traces, 0) as traces,
            coalesce(r.received, 0) as received
        from (
            select {keys}, count(distinct violation_id) as violations, count(distinct trace_id) as traces
            from {_SPANS} where {condition} group by all
        ) as t
        full join (
            select {keys}, sum(received)::bigint as received from {_RECEIVED} where {condition} group by all
        ) as r using ({keys})
        """,  # noqa: S608
        keys,
    )


def _places(connection: duckdb.DuckDBPyConnection) -> dict[str, Ranked]:
    """By attribute; only those that something carries."""
    found = {}
    for attribute in PLACES:
        place = f"json_extract_string(resource_attributes, '/{attribute}')"
        ranked = _ranked(
            connection,
            f"""
            select
                name, coalesce(t.violations, 0) as violations, coalesce(t.traces, 0) as traces,
                coalesce(r.received, 0) as received
            from (
                select {place} as name, count(distinct violation_id) as violations, count(distinct trace_id) as traces
                from {_SPANS} where {place} is not null group by all
            ) as t
            full join (
                select {place} as name, sum(received)::bigint as received
                from {_RECEIVED} where {place} is not null group by all
            ) as r using (name)
            """,  # noqa: S608
            "name",
        )
        if ranked.total:
            found[attribute] = ranked
    return found


def _endpoints(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> Ranked:
    """By the root span of traces; `received` counts traces here. A trace without a root has no endpoint."""
    traces = "intermediate.int_traces"
    if not tables.has(traces, "root_service_name", "root_span_name"):
        traces = """(
            select t.trace_id, t.started_at, r.service_name as root_service_name, r.span_name as root_span_name
            from intermediate.int_traces as t left join (
                select
                    s.trace_id, min_by(s.service_name, s.started_at) as service_name,
                    min_by(s.span_name, s.started_at) as span_name
                from staging.stg_spans as s inner join intermediate.int_trace_shape as h
                    on s.trace_id = h.trace_id and s.span_id = h.span_id and s.kind = h.kind
                where h.is_root group by s.trace_id
            ) as r on t.trace_id = r.trace_id
        )"""
    return _ranked(
        connection,
        f"""
        select
            coalesce(t.root_service_name, '') as service_name, coalesce(t.root_span_name, '') as span_name,
            count(distinct v.violation_id) as violations, count(distinct v.trace_id) as traces,
            count(distinct t.trace_id) filter ({within("t.started_at")}) as received
        from {traces} as t left join {_TRACES} as v on t.trace_id = v.trace_id
        where ({within("t.started_at")}) or v.trace_id is not null
        group by all
        """,  # noqa: S608
        "service_name, span_name",
        bounds(window),
    )


def _ranked(
    connection: duckdb.DuckDBPyConnection, query: str, keys: str, values: dict[str, datetime | None] | None = None
) -> Ranked:
    found = rows(
        connection,
        f"""
        select *, count(*) over () as total, count(*) filter (violations = 0) over () as without from ({query})
        order by violations desc, received desc, {keys} limit {MOST_ROWS}
        """,  # noqa: S608
        values,
    )
    total, without = (found[0]["total"], found[0]["without"]) if found else (0, 0)
    names = ("total", "without")
    return Ranked(tuple({k: v for k, v in one.items() if k not in names} for one in found), total, without)


# Together with what.


def _incidents(connection: duckdb.DuckDBPyConnection, tables: Tables) -> tuple[tuple[Row, ...], int | None]:
    """The incidents in whose windows a violation lies, those with most first."""
    if not tables.has("intermediate.int_incident_windows", "incident_id", "window_from", "window_until"):
        return (), None
    if not tables.has("intermediate.int_incidents", "incident_id", "title", "started_at"):
        return (), None
    overlaps = "v.first_span_at < w.window_until and v.last_span_at >= w.window_from"
    windows = "(select distinct incident_id, window_from, window_until from intermediate.int_incident_windows)"
    found = rows(
        connection,
        f"""
        select i.incident_id, i.title, i.severity, i.service_name, i.started_at, n.until, n.violations
        from (
            select w.incident_id, max(w.window_until) as until, count(distinct v.violation_id) as violations
            from {windows} as w inner join {RESULT} as v on {overlaps}
            where v.verdict = 'violated' group by all
        ) as n
        inner join intermediate.int_incidents as i on n.incident_id = i.incident_id
        order by n.violations desc, i.started_at, i.incident_id limit {MOST_VALUES}
        """,  # noqa: S608
    )
    outside = row(
        connection,
        f"""
        select count(*) as violations from {RESULT} as v
        where v.verdict = 'violated' and not exists (select 1 from {windows} as w where {overlaps})
        """,  # noqa: S608
    )
    return tuple(found), outside["violations"]
