"""An arm: the incidents of one side of a comparison, as arrays, and how it is read from `marts.fct_incidents`.

Nothing is tested or judged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
from sqlglot import exp

from dagster_project.policy.policy import ClockName
from dagster_project.statistics.plan import ArmPlan, ComparisonPlan, Filter, Side

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = npt.NDArray[np.str_]

NOT_RECORDED = "(none)"
"""Label of a severity, service or team that the source does not give."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison; every array has one entry an incident.

    Attributes
    ----------
    durations
        Seconds on the clock; NaN when the incident is open or its clock is missing.
    ages
        Seconds from the start to the end of the data: how long an open incident has lasted at least.
    is_open
        True while the incident has not ended and its clock still runs; an ended one without a time on the clock is
        missing, not open.
    sources
        Fields that say when the clock started and stopped, e.g. "servicenow.opened_at to servicenow.resolved_at".
    started_at
        UTC, microseconds.
    days
        Length of the time during which an incident could have entered the arm and been seen.
    excluded
        Incidents that the plan left out of this arm, with its reasons.
    excluded_durations, excluded_ages, excluded_is_open
        Of those: seconds on the clock, NaN when open or missing, seconds from the start to the end of the data, and
        whether they are open.
    systems
        System of each incident, which with its id names a row of `fct_incidents`; empty when nobody asked.
    observed_from
        When the time of observation begins; None when nobody knows.
    as_of
        Up to when open incidents have been watched: the latest time that the data names.
    caveats
        Where the data does not reach as far as the plan.
    """

    label: str
    clock: ClockName
    incident_ids: Labels
    durations: Floats
    ages: Floats
    is_open: Flags
    severities: Labels
    services: Labels
    teams: Labels
    categories: Labels
    sources: Labels
    started_at: npt.NDArray[np.datetime64]
    days: float
    excluded: int = 0
    caveats: tuple[str, ...] = ()
    excluded_durations: Floats = field(default_factory=lambda: np.empty(0))
    excluded_ages: Floats = field(default_factory=lambda: np.empty(0))
    excluded_is_open: Flags = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    systems: Labels = field(default_factory=lambda: np.empty(0, dtype=np.str_))
    observed_from: np.datetime64 | None = None
    as_of: datetime | None = None

    def __post_init__(self) -> None:
        labels = (self.severities, self.services, self.teams, self.categories, self.sources)
        arrays = (self.durations, self.ages, self.is_open, self.started_at, *labels)
        if any(array.shape != self.incident_ids.shape for array in arrays):
            raise ValueError(f"arm {self.label!r}: arrays of different lengths")

    @property
    def count(self) -> int:
        """Incidents in the arm, ended or not."""
        return int(self.incident_ids.size)

    @property
    def open_count(self) -> int:
        return int(self.is_open.sum())

    @property
    def missing_count(self) -> int:
        """Incidents that ended without a usable time on the clock."""
        return int((~self.is_open & np.isnan(self.durations)).sum())

    @cached_property
    def measured(self) -> Flags:
        """Incidents with a time on the clock."""
        return ~np.isnan(self.durations)


@dataclass(frozen=True)
class DataSpan:
    """First and last start among the incidents that a plan speaks of, and the latest time any of them names.

    Of incidents whose clocks do not contradict each other.
    """

    first: datetime
    last: datetime
    as_of: datetime

    @property
    def end(self) -> datetime:
        """A microsecond after the last start, because periods exclude their end."""
        return self.last + timedelta(microseconds=1)


CLOCK_ENDS = {
    ClockName.DETECT: "detected_at",
    ClockName.ACKNOWLEDGE: "acknowledged_at",
    ClockName.MITIGATE: "mitigated_at",
    ClockName.RESOLVE: "resolved_at",
    ClockName.CLOSE: "closed_at",
}

CONSISTENT = {"none": "", "never_resolved": "closed, never resolved", "no_time": "over, no time of it"}
"""Values of `clock_problem` that leave the times of an incident true; int_incident_durations has the same."""

FILTER_COLUMNS = {
    "system": "system",
    "severity": "severity",
    "service": "service_name",
    "team": "team",
    "category": "category",
    "method": "resolution_method",
}


def data_span(connection: duckdb.DuckDBPyConnection, plan: ComparisonPlan) -> DataSpan | None:
    """The time that `marts.fct_incidents` covers for the incidents of `plan.where`; None when it has none.

    Incidents whose clocks contradict each other do not move it: one mistyped year would make every frequency and every
    age absurd. Where all contradict themselves, their starts are all there is.
    """
    condition, values = _condition(plan.where)
    consistent = "(where coalesce(clock_problem, '') in ($none, $never_resolved, $no_time))"
    query = (
        exp.select(
            f"coalesce(min(started_at) filter {consistent}, min(started_at))",
            f"coalesce(max(started_at) filter {consistent}, max(started_at))",
            f"coalesce(max(greatest(started_at, resolved_at, closed_at)) filter {consistent}, max(started_at))",
            dialect="duckdb",
        )
        .from_("marts.fct_incidents")
        .where(condition)
    )
    parameters = {**values, **CONSISTENT}
    ((first, last, end),) = connection.execute(query.sql(dialect="duckdb"), parameters).fetchall()
    return None if first is None else DataSpan(first, last, end)


def known_values(connection: duckdb.DuckDBPyConnection, field: str) -> list[str]:
    """The values that incidents have in the column behind a field of a plan's filter, sorted."""
    value = exp.column(FILTER_COLUMNS[field])
    query = (
        exp.select(value).distinct().from_("marts.fct_incidents").where(value.is_(exp.null()).not_()).order_by(value)
    )
    return [each for (each,) in connection.execute(query.sql(dialect="duckdb")).fetchall()]


def read_arm(connection: duckdb.DuckDBPyConnection, plan: ComparisonPlan, arm: ArmPlan, span: DataSpan) -> Arm:
    """The incidents of `arm` within the plan's period, without its exclusions.

    Parameters
    ----------
    connection
        Knows `marts.fct_incidents`.
    span
        Bounds the period where the plan does not.
    """
    clock = arm.clock or plan.clock
    start, end = period(plan, arm, span)
    condition, values = _condition(plan.where, arm.where)
    excluded, excluded_values = _exclusion(plan)
    query = (
        exp.select(
            "incident_id",
            "system",
            "coalesce(severity, $none) as severity",
            "coalesce(service_name, $none) as service_name",
            "coalesce(team, $none) as team",
            "coalesce(category, $none) as category",
            "started_at::timestamp as started_at",
            "is_open and closed_at is null as is_open",
            "epoch($as_of::timestamp) - epoch(started_at::timestamp) as age",
            f"concat(started_at_source, ' to ', {CLOCK_ENDS[clock]}_source) as source",
            f"{_duration(clock)} as duration",
            dialect="duckdb",
        )
        .select(excluded.as_("is_excluded"))
        .from_("marts.fct_incidents")
        .where(condition, exp.condition("started_at >= $start and started_at < $end", dialect="duckdb"))
        .order_by("started_at", "system", "incident_id")
    )
    parameters = {
        **values, **excluded_values, "none": NOT_RECORDED, "start": start, "end": end, "as_of": span.as_of
    }  # fmt: skip
    rows = connection.execute(query.sql(dialect="duckdb"), parameters).fetchnumpy()
    days = max((end - start).total_seconds(), 0.0) / 86_400
    read = _arm(rows, arm, clock, (start, days), tuple(_beyond_the_data(plan, arm, span)))
    return replace(read, as_of=span.as_of)


def period(plan: ComparisonPlan, arm: ArmPlan, span: DataSpan) -> tuple[datetime, datetime]:
    """From and until (exclusive) of the time in which incidents of `arm` start and the data would show them.

    A plan may reach further than the data; days that nobody recorded would make incidents look rare.
    """
    start = max(plan.starts_at or span.first, span.first)
    end = min(plan.ends_at or span.end, span.end)
    if plan.cut_over_at is not None and arm.side is Side.BEFORE:
        end = min(end, plan.cut_over_at)
    if plan.cut_over_at is not None and arm.side is Side.AFTER:
        start = max(start, plan.cut_over_at)
    return start, end


def _beyond_the_data(plan: ComparisonPlan, arm: ArmPlan, span: DataSpan) -> Iterator[str]:
    """What to say when the plan reaches a day or more beyond the data on the arm's side of the cut-over."""
    if arm.side is not Side.AFTER and plan.starts_at is not None and plan.starts_at.date() < span.first.date():
        yield (
            f"The plan begins on {plan.starts_at:%Y-%m-%d}, the first incident on {span.first:%Y-%m-%d}: frequencies "
            "are counted from there, as if nothing had been recorded before."
        )
    if arm.side is not Side.BEFORE and plan.ends_at is not None and span.end.date() < _last_day(plan.ends_at):
        yield (
            f"The plan goes on to {_last_day(plan.ends_at):%Y-%m-%d}, but the last incident starts on "
            f"{span.last:%Y-%m-%d}: frequencies are counted up to there."
        )


def _last_day(end: datetime) -> date:
    return (end - timedelta(microseconds=1)).date()


def _duration(clock: ClockName) -> str:
    """The column of a clock; `fct_incidents` has none for closing, which timers do more often than people."""
    if clock is ClockName.CLOSE:
        return "epoch(closed_at::timestamp) - epoch(started_at::timestamp)"
    return f"time_to_{clock.value}_seconds"


def _condition(*filters: Filter) -> tuple[exp.Condition, dict[str, Any]]:
    """A conjunction over the named columns, with the lists to bind."""
    parts: list[exp.Condition] = []
    values: dict[str, Any] = {}
    for number, each in enumerate(filters):
        for column, wanted in each.given().items():
            name = f"filter_{number}_{column}"
            parts.append(
                exp.func("list_contains", exp.Parameter(this=exp.var(name)), exp.column(FILTER_COLUMNS[column]))
            )
            values[name] = list(wanted)
    return exp.and_(*parts) if parts else exp.true(), values


def _exclusion(plan: ComparisonPlan) -> tuple[exp.Condition, dict[str, Any]]:
    """True for incidents that an exclusion of the plan names."""
    parts: list[exp.Condition] = []
    values: dict[str, Any] = {}
    for number, exclusion in enumerate(plan.exclusions):
        condition, bound = _condition(exclusion.where)
        renamed = {f"excluded_{number}_{name}": value for name, value in bound.items()}
        for parameter in condition.find_all(exp.Parameter):
            parameter.set("this", exp.var(f"excluded_{number}_{parameter.name}"))
        parts.append(exp.func("coalesce", condition, exp.false()))
        values |= renamed
    return exp.or_(*parts) if parts else exp.false(), values


def _arm(
    rows: dict[str, Any], arm: ArmPlan, clock: ClockName, observed: tuple[datetime, float], caveats: tuple[str, ...]
) -> Arm:
    kept = ~np.asarray(rows["is_excluded"], dtype=np.bool_)
    every_duration = np.ma.filled(np.ma.asarray(rows["duration"], dtype=np.float64), np.nan)
    ages, durations = np.asarray(rows["age"], dtype=np.float64), every_duration[kept]
    is_open = np.asarray(rows["is_open"], dtype=np.bool_) & np.isnan(every_duration)

    def labels(name: str) -> Labels:
        return np.asarray(rows[name], dtype=np.str_)[kept]

    return Arm(
        label=arm.label,
        clock=clock,
        incident_ids=labels("incident_id"),
        durations=durations,
        ages=ages[kept],
        is_open=is_open[kept],
        severities=labels("severity"),
        services=labels("service_name"),
        teams=labels("team"),
        categories=labels("category"),
        sources=labels("source"),
        started_at=np.asarray(rows["started_at"], dtype="datetime64[us]")[kept],
        days=observed[1],
        excluded=int((~kept).sum()),
        caveats=caveats,
        excluded_durations=every_duration[~kept],
        excluded_ages=ages[~kept],
        excluded_is_open=is_open[~kept],
        systems=labels("system"),
        observed_from=np.datetime64(observed[0], "us"),
    )
