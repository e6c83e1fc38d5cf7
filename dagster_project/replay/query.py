"""Runs one rule over a connection that has the staged tables, and says what it found and what it scanned.

Reads only; the connection may be a warehouse, a published generation or an in-memory set of test traces.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project import __version__
from dagster_project.replay.window import Window
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.scan_sql import Source
from dagster_project.rule_language.sql import null_keys_query, to_sql, verdicts_query
from dagster_project.rule_language.syntax import Entity

UNDETECTABLE_LOSS = (
    "A lost span that had no children leaves no mark, and neither does a lost log record: "
    "every total is of what was received."
)
_RESULT = "hindcast_replayed"
_REQUIRED = ("staging.stg_spans", "staging.stg_logs", "intermediate.int_traces", "intermediate.int_trace_shape")


class NothingToReplay(RuntimeError):
    """The connection lacks the tables that rules are replayed over."""


class ReplayFailed(RuntimeError):
    """The engine gave up on a rule: a limit of memory or time, or a value that it cannot handle."""


@dataclass(frozen=True)
class Certificate:
    """What a replay looked at, and what it could not see.

    Attributes
    ----------
    window_asked, window_available
        The window of the question, and the first and last trace there is; UTC.
    spans_scanned, logs_scanned
        Of the traces that start in the window; for groups also what lies a gap before it.
    null_keys
        Items that the rule looks at and that lack a group key; None for traces.
    records_quarantined
        Records that landing refused, at any time; None when the connection does not know.
    unsettled
        Groups that an item arriving later could still extend; None for traces.
    """

    rule_id: str
    meaning_hash: str
    window_asked: Window
    window_available: tuple[datetime | None, datetime | None]
    spans_scanned: int
    logs_scanned: int
    traces_scanned: int
    traces_complete: int
    traces_incomplete: int
    records_quarantined: int | None
    null_keys: int | None
    violated: int
    satisfied: int
    inconclusive: int
    not_applicable: int | None
    unsettled: int | None
    inconclusive_reasons: dict[str, int]
    undetectable_loss_note: str
    engine: str
    code_version: str
    seconds: float


@dataclass(frozen=True)
class Replay:
    """The answer to one rule.

    Attributes
    ----------
    violations
        One row a violated scope, by first span; the columns of `violations.fct_verdicts`, ids in hexadecimal digits.
    inconclusive
        The same columns for scopes that cannot be judged.
    """

    rule: Rule
    certificate: Certificate
    violations: pa.Table
    inconclusive: pa.Table
    first_violation_at: datetime | None
    last_violation_at: datetime | None

    @property
    def confidence(self) -> str:
        """How much the answer says, and of what; never more than was received."""
        certificate = self.certificate
        refused = certificate.records_quarantined
        aside = f"; {refused} records could not be read" if refused else ""
        if not certificate.spans_scanned and not certificate.logs_scanned and not certificate.violated:
            return f"says nothing: nothing that was received lies in this window{aside}"
        if certificate.inconclusive:
            return (
                f"lower bound: every violation that is certain, of what was received; {certificate.inconclusive} scopes"
                f" cannot be judged{aside}"
            )
        return f"exhaustive scan: every violation of what was received{aside}"


def replay(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window | None = None) -> Replay:
    """Judge every scope of the window.

    Parameters
    ----------
    connection
        Has the schemas staging and intermediate; audit is used when it is there.
    window
        Scopes whose first span is in it; everything when None.

    Raises
    ------
    NothingToReplay
        When a table is missing.
    ReplayFailed
        With the engine's words.
    """
    began = time.perf_counter()
    window = window or Window()
    source = _source(connection, window)
    query = to_sql(verdicts_query(rule, source), pretty=False)
    try:
        # A temporary table lives in memory even when the connection only reads.
        connection.execute(f"create or replace temp table {_RESULT} as {query}")
        try:
            return _answer(connection, rule, window, source, began)
        finally:
            connection.execute(f"drop table if exists {_RESULT}")
    except duckdb.Error as error:
        raise ReplayFailed(f"{rule.path}: the rule `{rule.id}` could not be judged: {error}") from error


def explain(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window | None = None) -> str:
    """The SQL of a rule over this connection, and the engine's plan for it."""
    sql = to_sql(verdicts_query(rule, _source(connection, window or Window())))
    rows = connection.execute(f"explain {sql}").fetchall()
    return f"{sql};\n\n{rows[0][1] if rows else ''}"


def _answer(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, source: Source, began: float) -> Replay:
    certificate = _certificate(connection, rule, window, source, began)
    spans = connection.execute(
        f"select min(first_span_at), max(last_span_at) from {_RESULT} where verdict = 'violated'"  # noqa: S608
    ).fetchall()
    first, last = spans[0]
    return Replay(
        rule=rule,
        certificate=certificate,
        violations=_rows(connection, "violated"),
        inconclusive=_rows(connection, "inconclusive"),
        first_violation_at=first,
        last_violation_at=last,
    )


def _source(connection: duckdb.DuckDBPyConnection, window: Window) -> Source:
    """Which promoted columns the tables have: a rule typed in line may name attributes that no column was made for."""
    found = connection.execute(
        "select table_schema || '.' || table_name, column_name from information_schema.columns"
        " where table_schema in ('staging', 'intermediate')"
    ).fetchall()
    tables = {table for table, _column in found}
    missing = [name for name in _REQUIRED if name not in tables]
    if missing:
        raise NothingToReplay(f"nothing to replay: {', '.join(missing)} is missing; run `hindcast nightly` first")
    columns: dict[Entity, frozenset[str]] = {
        "span": frozenset(name for table, name in found if table == "staging.stg_spans"),
        "log": frozenset(name for table, name in found if table == "staging.stg_logs"),
    }
    return Source(columns=columns, start=window.start, end=window.end)


def _rows(connection: duckdb.DuckDBPyConnection, verdict: str) -> pa.Table:
    """Rows of one verdict; ids in hexadecimal without hyphens, as the sources carry them."""
    query = f"""
        select
            violation_id, rule_id, meaning_hash, scope_kind,
            case when scope_kind = 'trace' then replace(scope_key, '-', '') else scope_key end as scope_key,
            list_transform(trace_ids, lambda one: replace(one::varchar, '-', '')) as trace_ids,
            verdict, reason, first_span_at, last_span_at, service_names, service_versions,
            list_transform(witness, lambda one: {{
                'trace_id': replace(one.trace_id::varchar, '-', ''),
                'span_id': lower(lpad(to_hex(one.span_id), 16, '0'))
            }}) as witness,
            reported::varchar as reported
        from {_RESULT}
        where verdict = ?
        order by first_span_at, scope_key
    """  # noqa: S608
    return connection.sql(query, params=[verdict]).to_arrow_table()


def _certificate(
    connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, source: Source, began: float
) -> Certificate:
    counts = dict(connection.execute(f"select verdict, count(*) from {_RESULT} group by all").fetchall())  # noqa: S608
    reasons = connection.execute(
        f"select reason, count(*) from {_RESULT} where verdict = 'inconclusive' group by all order by all"  # noqa: S608
    ).fetchall()
    traces, complete, spans, logs, first, last = _scanned(connection, window)
    judged = sum(counts.values())
    grouped = rule.scope_kind == "group"
    return Certificate(
        rule_id=rule.id,
        meaning_hash=rule.meaning_hash,
        window_asked=window,
        window_available=(first, last),
        spans_scanned=spans,
        logs_scanned=logs,
        traces_scanned=traces,
        traces_complete=complete,
        traces_incomplete=traces - complete,
        records_quarantined=_quarantined(connection),
        null_keys=_one(connection, to_sql(null_keys_query(rule, source))) if grouped else None,
        violated=counts.get("violated", 0),
        satisfied=counts.get("satisfied", 0),
        inconclusive=counts.get("inconclusive", 0),
        # A trace of which only logs came has a verdict but is no trace that was scanned.
        not_applicable=None if grouped else max(0, traces - judged),
        unsettled=_unsettled(connection, rule) if grouped else None,
        inconclusive_reasons=dict(reasons),
        undetectable_loss_note=UNDETECTABLE_LOSS,
        engine=f"duckdb {duckdb.__version__}",
        code_version=__version__,
        seconds=time.perf_counter() - began,
    )


def _scanned(connection: duckdb.DuckDBPyConnection, window: Window) -> tuple[Any, ...]:
    """Traces, complete ones, their spans and logs in the window; the first and last trace there is at all."""
    query = """
        select
            count(*) filter (inside), count(*) filter (inside and is_complete),
            coalesce(sum(span_count) filter (inside), 0)::bigint, coalesce(sum(log_count) filter (inside), 0)::bigint,
            min(started_at), max(ended_at)
        from (
            select
                *,
                started_at >= coalesce($start, started_at)
                and started_at < coalesce($end, 'infinity'::timestamp) as inside
            from intermediate.int_traces
        )
    """
    rows = connection.execute(query, {"start": window.start, "end": window.end}).fetchall()
    return tuple(rows[0])


def _unsettled(connection: duckdb.DuckDBPyConnection, rule: Rule) -> int:
    """Groups that end less than a gap before the last span there is: what arrives next may belong to them."""
    query = f"""
        select count(*) from {_RESULT}
        where epoch_ns(last_span_at) + ? > (select max(epoch_ns(started_at)) from staging.stg_spans)
    """  # noqa: S608
    return _one(connection, query, [rule.judgement.gap_ns])


def _quarantined(connection: duckdb.DuckDBPyConnection) -> int | None:
    query = "select count(*) from information_schema.tables where table_schema = 'audit' and table_name = 'quarantine'"
    return _one(connection, "select count(*) from audit.quarantine") if _one(connection, query) else None


def _one(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[Any] | None = None) -> int:
    """The one number of a query. Results are fetched whole: an open one blocks the connection."""
    return int(connection.execute(query, parameters or []).fetchall()[0][0])
