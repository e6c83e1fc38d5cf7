"""What one replay looked at, what it found, and what it could not see.

Counts only, each by a query; how they are said, `formats` decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import duckdb

from dagster_project import __version__
from dagster_project.replay.judging import RESULT, Screened
from dagster_project.replay.tables import Looked, Row, Tables, bounds, looked_at, row, rows, tables_of
from dagster_project.replay.window import LATEST, Window
from dagster_project.rule_language.meaning.model import ALWAYS_TRUE, Disjunction, Negation
from dagster_project.rule_language.planning.planner import HOUR_NS, plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import null_keys_query, to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source

UNDETECTABLE_LOSS = (
    "A lost span that had no children leaves no mark, and neither does a lost log record: "
    "every total is of what was received."
)
# How many groups there are at all is counted up to so many spans: it takes forming every one of them.
COUNTED_GROUPS_OF_SPANS = 2_000_000
# What lands more than this after the first load of its day came late: nights land the day before.
LATE_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Sampling:
    """What was found of sampling by those who sent the spans.

    Attributes
    ----------
    declared
        The share that each source says it kept, of sources with spans in the window that say less than all.
    spans_looked_at, is_sample
        Spans whose own marks were read, and whether they are only some of the window's.
    with_probability, lowest_probability
        Those with an attribute `sampling.probability` below 1, and the lowest one.
    with_threshold, lowest_threshold_probability
        Those whose tracestate has a threshold (`ot=th:`), and the lowest probability that one means.
    """

    declared: dict[str, float]
    spans_looked_at: int
    is_sample: bool
    with_probability: int
    lowest_probability: float | None
    with_threshold: int
    lowest_threshold_probability: float | None

    @property
    def lowest(self) -> float | None:
        """The lowest share of all that is known; None when nothing says that anything was left out."""
        known = [*self.declared.values(), self.lowest_probability, self.lowest_threshold_probability]
        return min((one for one in known if one is not None), default=None)


@dataclass(frozen=True)
class Certificate:
    """What a replay looked at, and what it could not see.

    Attributes
    ----------
    window_asked, window_available
        The window of the question, and the first and last trace there is; UTC.
    settled_until
        Scopes that end before it are not touched by what arrives in order: one gap (for traces, the longest trace
        that was received) before the last span; None when there is no span.
    days_scanned, days_without_traces
        Days of the window on which a trace begins, and those between its first and last on which none does.
    spans_scanned, logs_scanned
        Of the traces that start in the window; for groups also what lies a gap before it.
    log_only_traces
        Traces with a verdict of which only logs came; None for groups.
    records_quarantined
        Records that landing refused in loads that hold a day of the window, or no day at all; None when unknown.
    late_records
        Records of loads that landed more than a day after the first load of a day of the window; None when unknown.
    null_keys
        Items of the window that the rule looks at and that lack a group key; None for traces.
    not_applicable
        Scopes that are not listed; None for groups when counting them would take longer than the question.
    unsettled
        Listed scopes that an item arriving later could still extend.
    """

    rule_id: str
    meaning_hash: str
    window_asked: Window
    window_available: tuple[datetime | None, datetime | None]
    settled_until: datetime | None
    days_scanned: int
    days_without_traces: int
    spans_scanned: int
    logs_scanned: int
    traces_scanned: int
    traces_complete: int
    traces_incomplete: int
    log_only_traces: int | None
    records_quarantined: int | None
    late_records: int | None
    null_keys: int | None
    sampling: Sampling
    violated: int
    satisfied: int
    inconclusive: int
    not_applicable: int | None
    unsettled: int
    inconclusive_reasons: dict[str, int]
    undetectable_loss_note: str
    engine: str
    code_version: str
    seconds: float

    @property
    def has_scanned(self) -> bool:
        """Whether anything that was received lies in the window."""
        return bool(self.spans_scanned or self.logs_scanned or self.violated + self.satisfied + self.inconclusive)

    @property
    def is_exhaustive(self) -> bool:
        """Whether every scope of what was received has been judged; of what was not received nothing is known."""
        return self.has_scanned and not self.inconclusive


def certify(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    window: Window,
    source: Source,
    scanned: Row,
    settled: datetime | None,
    screened: Screened,
    began: float,
) -> Certificate:
    """The certificate of the verdicts that stand in the temporary table `RESULT`.

    Parameters
    ----------
    scanned, settled
        What `received` and `settled_until` said before.
    screened
        The satisfied scopes that are not in the table.
    began
        `time.perf_counter()` at the start of the replay.
    """
    tables = tables_of(connection)
    verdicts = connection.execute(
        f"select verdict, reason, count(*) from {RESULT} group by all order by all"  # noqa: S608
    ).fetchall()
    counts = {kind: sum(n for verdict, _, n in verdicts if verdict == kind) for kind, _, _ in verdicts}
    grouped = rule.scope_kind != "trace"
    log_only = None if grouped else _log_only(connection, rule)
    if screened.of_all_traces:
        counts["satisfied"] = scanned["traces"] - counts.get("violated", 0) - counts.get("inconclusive", 0)
    else:
        counts["satisfied"] = counts.get("satisfied", 0) + screened.satisfied
    judged = sum(counts.values())
    return Certificate(
        rule_id=rule.id,
        meaning_hash=rule.meaning_hash,
        window_asked=window,
        window_available=(scanned["first_at"], scanned["last_at"]),
        settled_until=settled,
        days_scanned=scanned["days"],
        days_without_traces=max(0, (scanned["last_day"] - scanned["first_day"]).days + 1 - scanned["days"])
        if scanned["days"]
        else 0,
        spans_scanned=scanned["spans"],
        logs_scanned=scanned["logs"],
        traces_scanned=scanned["traces"],
        traces_complete=scanned["complete"],
        traces_incomplete=scanned["traces"] - scanned["complete"],
        log_only_traces=log_only,
        records_quarantined=_quarantined(connection, tables, window),
        late_records=_late(connection, tables, window),
        null_keys=_null_keys(connection, rule, source) if grouped else None,
        sampling=_sampling(connection, tables, window, scanned["spans"]),
        violated=counts.get("violated", 0),
        satisfied=counts.get("satisfied", 0),
        inconclusive=counts.get("inconclusive", 0),
        not_applicable=_groups_not_listed(connection, rule, source, scanned["spans"], judged)
        if log_only is None
        # A trace of which only logs came has a verdict but is no trace that was scanned.
        else scanned["traces"] - (judged - log_only),
        unsettled=_unsettled(connection, settled) + screened.unsettled,
        inconclusive_reasons={str(why): n for verdict, why, n in verdicts if verdict == "inconclusive"},
        undetectable_loss_note=UNDETECTABLE_LOSS,
        engine=f"duckdb {duckdb.__version__}",
        code_version=__version__,
        seconds=time.perf_counter() - began,
    )


def received(connection: duckdb.DuckDBPyConnection, window: Window) -> Row:
    """Traces, complete ones, their spans, logs and days in the window; the first and last trace there is at all."""
    inside = window.recordable
    conditions = [
        f"started_at {op} $moment{number}::timestamp"
        for number, (op, moment) in enumerate(((">=", inside.start), ("<", inside.end)))
        if moment is not None
    ]
    values = {f"moment{number}": one for number, one in enumerate((inside.start, inside.end)) if one is not None}
    # By day first: the engine adds up a few days faster than it filters and counts every trace six times.
    query = f"""
        select
            coalesce(sum(traces), 0)::bigint as traces,
            coalesce(sum(complete), 0)::bigint as complete,
            coalesce(sum(spans), 0)::bigint as spans,
            coalesce(sum(logs), 0)::bigint as logs,
            count(started_on) as days,
            min(started_on) as first_day,
            max(started_on) as last_day
        from (
            select
                started_on, count(*) as traces, count_if(is_complete) as complete,
                sum(span_count) as spans, sum(log_count) as logs
            from intermediate.int_traces
            {"where " + " and ".join(conditions) if conditions else ""}
            group by started_on
        )
    """  # noqa: S608
    ends = row(connection, "select min(started_at) as first_at, max(ended_at) as last_at from intermediate.int_traces")
    return {**row(connection, query, values), **ends}


def _log_only(connection: duckdb.DuckDBPyConnection, rule: Rule) -> int:
    if "log" not in plan(rule.judgement).entities:
        return 0
    query = f"""
        select count(*) as scopes from {RESULT} as r
        anti join intermediate.int_traces as t on r.trace_ids[1] = t.trace_id
    """  # noqa: S608
    return int(row(connection, query)["scopes"])


def settled_until(connection: duckdb.DuckDBPyConnection, rule: Rule) -> datetime | None:
    """How far back the last span received can still reach: a gap, an hour, or the longest trace that was seen."""
    # The engine answers the innermost part of it without reading the column.
    query = "select epoch_ns(last_at) as last_ns from (select max(started_at) as last_at from staging.stg_spans)"
    last_ns = row(connection, query)["last_ns"]
    if last_ns is None:
        return None
    if rule.scope_kind == "trace":
        query = "select max(epoch_ns(ended_at) - epoch_ns(started_at)) as longest_ns from intermediate.int_traces"
        pause_ns = row(connection, query)["longest_ns"] or 0
    else:
        pause_ns = HOUR_NS if rule.scope_kind == "hour" else rule.judgement.gap_ns
    try:
        return datetime(1970, 1, 1) + timedelta(microseconds=(last_ns - pause_ns) // 1000)
    except OverflowError:
        return None


def _unsettled(connection: duckdb.DuckDBPyConnection, settled: datetime | None) -> int:
    if settled is None or settled >= LATEST:
        return 0
    query = f"select count(*) as scopes from {RESULT} where last_span_at > $at::timestamp"  # noqa: S608
    return int(row(connection, query, {"at": settled})["scopes"])


def _quarantined(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> int | None:
    """Of loads that brought something for the window; a load without any day may have held anything."""
    if not tables.has("audit.quarantine", "load_id"):
        return None
    if not tables.has("audit.loads", "load_id", "event_days"):
        return int(row(connection, "select count(*) as records from audit.quarantine")["records"])
    query = f"""
        select count(*) as records
        from audit.quarantine
        where load_id in (
            select load_id from audit.loads
            where
                {_not_superseded(tables)}
                and (len(coalesce(event_days, [])) = 0 or exists (
                    select 1 from (select unnest(event_days) as day) where {_day_within()}
                ))
        )
    """  # noqa: S608
    return int(row(connection, query, bounds(window))["records"])


def _late(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> int | None:
    """Records of loads, less what the load that they took the place of had brought."""
    if not tables.has("audit.loads", "event_days", "records_landed", "target", "replaces", "superseded_by"):
        return None
    query = f"""
        with days as (
            select load_id, target, finished_at, superseded_by, unnest(event_days) as day
            from audit.loads where target in ('raw.spans', 'raw.logs') and finished_at is not null
        ),
        firsts as (select target, day, min(finished_at) as first_at from days group by all),
        late as (
            select distinct load_id from days inner join firsts using (target, day)
            where superseded_by is null and finished_at > first_at + $late_after::interval and {_day_within()}
        )
        select coalesce(sum(greatest(0, l.records_landed - coalesce(o.records_landed, 0))), 0)::bigint as records
        from audit.loads as l semi join late using (load_id)
        left join audit.loads as o on l.replaces = o.load_id
    """  # noqa: S608
    return int(row(connection, query, {**bounds(window), "late_after": LATE_AFTER})["records"])


def _null_keys(connection: duckdb.DuckDBPyConnection, rule: Rule, source: Source) -> int:
    query = to_sql(null_keys_query(rule, source), pretty=False)
    return int(connection.execute(query).fetchall()[0][0])


def _groups_not_listed(
    connection: duckdb.DuckDBPyConnection, rule: Rule, source: Source, spans: int, listed: int
) -> int | None:
    """All groups that there are, minus those that are listed."""
    if rule.judgement.when == ALWAYS_TRUE:
        return 0
    if spans > COUNTED_GROUPS_OF_SPANS:
        return None
    # True or unknown of every group, and the items that `when` looks at still form groups.
    when = Disjunction((rule.judgement.when, Negation(rule.judgement.when)))
    every = replace(rule, judgement=replace(rule.judgement, when=when, report=()))
    query = to_sql(verdicts_query(every, source), pretty=False)
    return max(0, int(connection.execute(f"select count(*) from ({query})").fetchall()[0][0]) - listed)  # noqa: S608


def _sampling(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window, spans: int) -> Sampling:
    looked = looked_at(connection, window, spans)
    query = f"""
        select
            count(*) as spans_looked_at,
            count(*) filter (kept < 1) as with_probability,
            min(kept) filter (kept < 1) as lowest_probability,
            count(*) filter (rejected > 0) as with_threshold,
            1 - max(rejected) filter (rejected > 0) / 72057594037927936.0 as lowest_threshold_probability
        from (
            select
                coalesce(
                    try_cast(json_extract_string(attributes, '/sampling.probability') as double),
                    try_cast(json_extract_string(resource_attributes, '/sampling.probability') as double)
                ) as kept,
                -- How many of all possible random numbers are not kept, in 56 bits.
                try_cast('0x' || rpad(regexp_extract(
                    coalesce(trace_state, ''), '(?:^|,)\\s*ot=(?:[^,]*;)?th:([0-9a-f]{{1,14}})', 1
                ), 14, '0') as bigint) as rejected
            from ({looked.query})
        )
    """  # noqa: S608
    found = row(connection, query, bounds(window))
    return Sampling(declared=_declared(connection, tables, window), is_sample=looked.is_sample, **found)


def _declared(connection: duckdb.DuckDBPyConnection, tables: Tables, window: Window) -> dict[str, float]:
    if not tables.has("audit.loads", "sampling_ratio", "event_days", "target", "superseded_by"):
        return {}
    query = f"""
        select source, min(sampling_ratio) as kept
        from (select *, unnest(event_days) as day from audit.loads)
        where target = 'raw.spans' and superseded_by is null and sampling_ratio < 1 and {_day_within()}
        group by source order by source
    """  # noqa: S608
    return {one["source"]: one["kept"] for one in rows(connection, query, bounds(window))}


def _not_superseded(tables: Tables) -> str:
    return "superseded_by is null" if tables.has("audit.loads", "superseded_by") else "true"


def _day_within() -> str:
    """The condition that `day` has a moment in the window."""
    return (
        "($start::timestamp is null or day >= $start::timestamp::date)"
        " and ($end::timestamp is null or day < $end::timestamp)"
    )


def rests_on(certificate: Certificate) -> list[str]:
    """What the answer rests on and what limits it, a sentence each."""
    said: list[Any] = [
        f"{certificate.traces_scanned:,} traces with {certificate.spans_scanned:,} spans and"
        f" {certificate.logs_scanned:,} log records of {certificate.days_scanned:,} days were scanned",
        certificate.days_without_traces
        and f"no trace begins on {certificate.days_without_traces:,} days between the first and the last",
        certificate.traces_incomplete and f"{certificate.traces_incomplete:,} traces are incomplete",
        certificate.inconclusive and f"{certificate.inconclusive:,} scopes cannot be judged",
        certificate.log_only_traces
        and f"{certificate.log_only_traces:,} judged traces are known from log records alone",
        certificate.records_quarantined
        and f"{certificate.records_quarantined:,} records of these days could not be read",
        certificate.null_keys and f"{certificate.null_keys:,} items have no key and are in no group",
        certificate.sampling.lowest is not None and _sampled(certificate.sampling),
        certificate.late_records and f"{certificate.late_records:,} records came more than a day late",
        certificate.unsettled and f"{certificate.unsettled:,} scopes may still change with what arrives next",
        certificate.undetectable_loss_note,
    ]
    return [one for one in said if one]


def _sampled(sampling: Sampling) -> str:
    words = [f"the source {source} says that it kept {kept:.4g} of all" for source, kept in sampling.declared.items()]
    of = f"of {sampling.spans_looked_at:,} spans looked at" if sampling.is_sample else "spans"
    if sampling.with_probability:
        words.append(f"{sampling.with_probability:,} {of} say that they were kept with probability"
                     f" {sampling.lowest_probability:.4g} or more")  # fmt: skip
    if sampling.with_threshold and sampling.lowest_threshold_probability is not None:
        words.append(f"{sampling.with_threshold:,} {of} carry a threshold that keeps"
                     f" {sampling.lowest_threshold_probability:.4g} or more")  # fmt: skip
    return "what was received is a sample: " + "; ".join(words)


__all__ = ["RESULT", "UNDETECTABLE_LOSS", "Certificate", "Looked", "Sampling", "certify", "received", "rests_on"]
