"""The way of worlds and rules into the real engine, and its verdicts back as the oracle gives them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from oracle_scopes import Judge, Rule, Verdict  # type: ignore[import-not-found]
from recorded import NS, Event, Link, World  # type: ignore[import-not-found]
from written import rule_text  # type: ignore[import-not-found]

from dagster_project.replay import scratch
from dagster_project.replay.fused import Shared
from dagster_project.replay.judging import RESULT, judged
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source

MIDNIGHT = 1_706_745_600 * NS  # 2024-02-01, so that times a day apart cross a month's end too
_TABLES: dict[str, list[tuple[str, str]]] = {}


def trace_uuid(trace: int) -> uuid.UUID:
    """Ids are numbers, so that their order is the oracle's."""
    return uuid.UUID(int=trace << 64)


def load(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    """Fill the staged tables, and work out the intermediate ones."""
    rows = {
        "stg_spans": [_span_row(span) for span in world.spans],
        "stg_logs": [_log_row(log, number) for number, log in enumerate(world.logs)],
        "stg_span_events": _of_spans(world.events, _event_row),
        "stg_span_links": _of_spans(world.links, _link_row),
        "stg_metric_points": [_metric_row(one, number) for number, one in enumerate(world.metrics)],
        "stg_deploys": [_deploy_row(one, number) for number, one in enumerate(world.deploys)],
        "int_incidents": [_ticket_row(one) for one in world.tickets],
    }
    for name, of_table in rows.items():
        table = f"{'intermediate' if name.startswith('int_') else 'staging'}.{name}"
        connection.execute(f"delete from {table}")
        _insert(connection, table, of_table)
    scratch.derive(connection)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """The columns that the table has, of what is known of a row."""
    if not rows:
        return
    if table not in _TABLES:
        described = connection.execute(f"describe {table}").fetchall()
        _TABLES[table] = [(str(row[0]), str(row[1])) for row in described]
    names = [name for name, _type in _TABLES[table] if name in rows[0]]
    given = pa.table({name: [row[name] for row in rows] for name in names})
    connection.register("given", given)
    columns = ", ".join(
        f"cast({name} as {kind}) as {name}"
        if not kind.startswith("TIMESTAMP")
        else f"cast(make_timestamp_ns({name}) as {kind}) as {name}"
        for name, kind in _TABLES[table]
        if name in names
    )
    connection.execute(f"insert into {table} by name select {columns} from given")
    connection.unregister("given")


def _at(moment: int | None) -> int | None:
    return None if moment is None else MIDNIGHT + moment


def _day(moment: int) -> str:
    return (datetime(2024, 2, 1, tzinfo=UTC) + timedelta(microseconds=moment // 1000)).date().isoformat()


def _place(number: int) -> dict[str, Any]:
    return {"load_id": str(uuid.UUID(int=1)), "line": number + 1, "record": 1}


def _span_row(span: Any) -> dict[str, Any]:
    return {
        "trace_id": str(trace_uuid(span.trace)),
        "span_id": span.id,
        "parent_span_id": span.parent,
        "service_name": span.service,
        "service_version": span.version,
        "span_name": span.name,
        "kind": span.kind,
        "started_at": _at(span.start),
        "ended_at": _at(span.end),
        "started_on": _day(span.start),
        "duration_ns": span.duration,
        "status_code": span.status,
        "scope_name": span.scope_name,
        "scope_version": span.scope_version,
        "dropped_attributes_count": span.dropped,
        "dropped_events_count": span.dropped_events,
        "dropped_links_count": span.dropped_links,
        "attributes": json.dumps(span.attributes),
        "resource_attributes": json.dumps(span.resource),
    }


def _log_row(log: Any, number: int) -> dict[str, Any]:
    return {
        "occurred_at": _at(log.start),
        "occurred_on": _day(log.start),
        "trace_id": None if log.trace is None else str(trace_uuid(log.trace)),
        "span_id": log.id,
        "service_name": log.service,
        "severity_number": log.severity,
        "body": log.body,
        "scope_name": log.scope_name,
        "dropped_attributes_count": 0,
        "attributes": json.dumps(log.attributes),
        "resource_attributes": json.dumps(log.resource),
        **_place(number),
    }


def _of_spans(items: list[Any], row: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of events or links, each with its place in its span."""
    places: dict[Any, int] = {}
    rows = []
    for item in items:
        places[item.span] = places.get(item.span, 0) + 1
        common = {
            "trace_id": str(trace_uuid(item.span.trace)),
            "span_id": item.span.id,
            "kind": item.span.kind,
            "position": places[item.span],
            "started_on": _day(item.span.start),
            "dropped_attributes_count": 0,
            "attributes": json.dumps(item.attributes),
        }
        rows.append({**common, **row(item)})
    return rows


def _event_row(event: Event) -> dict[str, Any]:
    return {"event_name": event.name, "occurred_at": _at(event.start)}


def _link_row(link: Link) -> dict[str, Any]:
    linked = None if link.linked_trace is None else str(trace_uuid(link.linked_trace))
    return {"linked_trace_id": linked, "linked_span_id": None}


def _metric_row(metric: Any, number: int) -> dict[str, Any]:
    return {
        "metric_name": metric.name,
        "service_name": metric.service,
        "labels": json.dumps(metric.attributes),
        "observed_at": _at(metric.start),
        "observed_on": _day(metric.start),
        "value": metric.value,
        "unit": metric.unit,
        **_place(number),
    }


def _deploy_row(deploy: Any, number: int) -> dict[str, Any]:
    return {
        "deploy_id": f"d{number}",
        "service_name": deploy.service,
        "version": deploy.version,
        "previous_version": deploy.previous_version,
        "deployed_at": _at(deploy.start),
        "commit_sha": deploy.commit,
        "environment": deploy.environment,
        "status": deploy.status,
        "is_rollback": deploy.is_rollback,
        **_place(number),
    }


def _ticket_row(ticket: Any) -> dict[str, Any]:
    return {
        "incident_id": ticket.id,
        "system": ticket.system,
        "title": ticket.title,
        "severity": ticket.severity,
        "service_name": ticket.service,
        "team": ticket.team,
        "category": ticket.category,
        "started_at": _at(ticket.start),
        "resolved_at": _at(ticket.resolved),
    }


# Verdicts.

NO_COLUMNS: dict[Any, frozenset[str]] = {
    entity: frozenset() for entity in ("span", "log", "event", "link", "metric", "deploy", "ticket")
}
_NUMBERS = {trace_uuid(number): number for number in range(1000)}


def source_of(window: tuple[int | None, int | None]) -> Source:
    """The loaded world, of which the scopes of a window are judged."""
    start, end = (None if one is None else _moment(one) for one in window)
    return Source(columns=NO_COLUMNS, start=start, end=end)


def compiled(rule: Rule, window: tuple[int | None, int | None] = (None, None)) -> str:
    """The SQL of a rule, by way of its text."""
    query = to_sql(verdicts_query(read_inline(rule_text(rule)), source_of(window)), pretty=False)
    return f"{_COLUMNS} from ({query})"


_COLUMNS = (
    "select scope_key, trace_ids, verdict, epoch_ns(first_span_at), epoch_ns(last_span_at), witness, reported,"
    " service_names, reason, epoch_ns(started_on::timestamp)"
)


def _moment(moment: int) -> datetime:
    return datetime(2024, 2, 1) + timedelta(microseconds=moment // 1000)


def judged_by_sql(connection: duckdb.DuckDBPyConnection, rule: Rule, sql: str) -> list[Verdict]:
    """The engine's verdicts as the oracle gives them; `causes` holds the one reason."""
    found = []
    for key, traces, verdict, first, last, witness, reported, services, reason, _on in connection.execute(
        sql
    ).fetchall():
        numbers = tuple(_NUMBERS[trace] for trace in traces)
        found.append(
            Verdict(
                key=key if rule.group_by or rule.by else str(numbers[0]),
                traces=numbers,
                verdict=verdict,
                first=first - MIDNIGHT,
                last=last - MIDNIGHT,
                witness=tuple((_NUMBERS.get(span["trace_id"]), span["span_id"]) for span in witness),
                reported=json.dumps(json.loads(reported), sort_keys=True),
                services=tuple(services),
                causes=frozenset({reason} if verdict == "inconclusive" else ()),
            )
        )
    return found


def disagreement(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    judge: Judge,
    sql: str | None = None,
    window: tuple[int | None, int | None] = (None, None),
) -> tuple[list[Verdict], list[Verdict]] | None:
    """What only the engine and what only the oracle says of a rule over the loaded world; None when they agree."""
    expected = judge.verdicts(*window)
    return _difference(judged_by_sql(connection, rule, sql or compiled(rule, window)), expected)


def _difference(actual: list[Verdict], expected: list[Verdict]) -> tuple[list[Verdict], list[Verdict]] | None:
    only_sql, only_oracle = list(actual), []
    for verdict in expected:
        if verdict in only_sql:
            same = only_sql.index(verdict)
            reasons = only_sql[same].causes
            if reasons <= verdict.causes:
                only_sql.pop(same)
                continue
        only_oracle.append(verdict)
    return (only_sql, only_oracle) if only_sql or only_oracle else None


def replay_disagreement(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    judge: Judge,
    window: tuple[int | None, int | None] = (None, None),
    shared: Shared | None = None,
) -> tuple[Any, Any] | None:
    """The same of a replay that goes about as over large tables: satisfied scopes are only counted there."""
    asked = read_inline(rule_text(rule))
    source = source_of(window) if shared is None else shared.source_of(asked, source_of(window))
    expected = judge.verdicts(*window)
    open_ = [verdict for verdict in expected if verdict.verdict != "satisfied"]
    with judged(connection, asked, source, None, many_traces=0, few_scopes=0) as found:
        actual = judged_by_sql(connection, rule, f"{_COLUMNS} from {RESULT} where verdict <> 'satisfied'")
        satisfied = found.satisfied + _number(connection, f"select count(*) from {RESULT} where verdict = 'satisfied'")
        if found.of_all_traces:
            satisfied = _number(connection, _traces_in(window)) - len(actual)
    if satisfied != len(expected) - len(open_):
        return f"{satisfied} satisfied", f"{len(expected) - len(open_)} satisfied"
    return _difference(actual, open_)


def _traces_in(window: tuple[int | None, int | None]) -> str:
    bounds = [
        f" and epoch_ns(started_at) {op} {_at(edge)}"
        for op, edge in zip((">=", "<"), window, strict=True)
        if edge is not None
    ]
    return f"select count(*) from intermediate.int_traces where true{''.join(bounds)}"


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
