"""What every certificate of one window says alike, whatever the rule: what was received, refused, late and sampled.

Each is asked of the tables when somebody first wants it, and then kept: several rules over one window share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import duckdb

from dagster_project.replay.tables import Row, Tables, bounds, looked_at, row, rows, tables_of
from dagster_project.replay.window import Window
from dagster_project.rule_language.planning.planner import HOUR_NS
from dagster_project.rule_language.rule_file import Rule

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
class WindowTotals:
    """The totals of one window; the connection reads what does not change meanwhile."""

    connection: duckdb.DuckDBPyConnection
    window: Window

    @cached_property
    def scanned(self) -> Row:
        """As `received` says."""
        return received(self.connection, self.window)

    @cached_property
    def quarantined(self) -> int | None:
        """Records that landing refused; None where no ledger says it."""
        return _quarantined(self.connection, self._tables, self.window)

    @cached_property
    def late(self) -> int | None:
        """Records that came late; None where no ledger says it."""
        return _late(self.connection, self._tables, self.window)

    @cached_property
    def sampling(self) -> Sampling:
        """What was found of sampling."""
        return _sampling(self.connection, self._tables, self.window, self.scanned["spans"])

    def settled_until(self, rule: Rule) -> datetime | None:
        """How far back the last span received can still reach: a gap, an hour, or the longest trace that was seen."""
        if self._last_ns is None:
            return None
        if rule.scope_kind == "trace":
            pause_ns = self._longest_trace_ns
        else:
            pause_ns = HOUR_NS if rule.scope_kind == "hour" else rule.judgement.gap_ns
        try:
            return datetime(1970, 1, 1) + timedelta(microseconds=(self._last_ns - pause_ns) // 1000)
        except OverflowError:
            return None

    @cached_property
    def _tables(self) -> Tables:
        return tables_of(self.connection)

    @cached_property
    def _last_ns(self) -> int | None:
        # The engine answers the innermost part of it without reading the column.
        query = "select epoch_ns(last_at) as last_ns from (select max(started_at) as last_at from staging.stg_spans)"
        found: int | None = row(self.connection, query)["last_ns"]
        return found

    @cached_property
    def _longest_trace_ns(self) -> int:
        query = "select max(epoch_ns(ended_at) - epoch_ns(started_at)) as longest_ns from intermediate.int_traces"
        return int(row(self.connection, query)["longest_ns"] or 0)


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
