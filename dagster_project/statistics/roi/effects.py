"""Effects that estimates take from comparisons: read from `marts.mart_significance`, with their intervals, or refused.

What an effect acts on, `plan.py` says; how it is drawn, `draws.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb
from scipy import stats

from dagster_project.statistics.roi.plan import Effect, RoiPlan

NOT_FOUND = "NOT_FOUND"
"""Stands for the verdict of a comparison that the warehouse does not have."""


@dataclass(frozen=True)
class FoundEffect:
    """A ratio, candidate over baseline, as a comparison found it.

    A comparison that is INCONCLUSIVE or UNDERPOWERED is drawn from its interval like any other, for the interval then
    holds losses, too; its inputs count as unsupported. One that is NOT_COMPARABLE or missing, or that has no
    interval, is refused: the ratio is 1, nothing is drawn and no benefit comes of it.
    """

    ratio: float
    verdict: str
    low: float | None = None
    high: float | None = None
    level: float = 0.05
    refused: str | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the data shows an effect: the verdict says so and the interval leaves out 1."""
        if self.low is None or self.high is None or self.verdict not in {"IMPROVED", "WORSE"}:
            return False
        return self.high < 1 or self.low > 1

    @property
    def log_deviation(self) -> float:
        """Standard deviation of the log ratio: the width of its log interval, as of a normal distribution."""
        if self.low is None or self.high is None:
            return 0.0
        width = math.log(self.high) - math.log(self.low)
        return float(width / (2 * stats.norm.ppf(1 - self.level / 2)))


FoundEffects = Mapping[str, FoundEffect]
"""By `Effect.id`."""

NO_EFFECTS: FoundEffects = {}


def wanted_effects(plans: Iterable[RoiPlan]) -> dict[str, Effect]:
    """The effects that estimates name, by id."""
    found = {each.effect.id: each.effect for plan in plans for _, each in plan.inputs() if each.effect is not None}
    return dict(sorted(found.items()))


def found_effect(effects: FoundEffects, wanted: Effect) -> FoundEffect:
    """What is known of an effect; refused when nothing is."""
    return effects.get(wanted.id) or refused(NOT_FOUND, f"no comparison {wanted.comparison} in the warehouse")


def refused(verdict: str, why: str) -> FoundEffect:
    """An effect that does not enter an estimate."""
    return FoundEffect(1.0, verdict, refused=why)


def read_effects(connection: duckdb.DuckDBPyConnection, plans: Iterable[RoiPlan]) -> dict[str, FoundEffect]:
    """The effects that `plans` name, as `marts.mart_significance` has them.

    Parameters
    ----------
    connection
        May know `marts.mart_significance`; without it every effect is refused.
    plans
        From `load_roi_plans`.
    """
    wanted = wanted_effects(plans)
    if not wanted or not _has_mart(connection):
        return {name: refused(NOT_FOUND, "no comparison was made yet") for name in wanted}
    rows = connection.execute(
        """
        select
            comparison_id, verdict, level, ratio, ratio_low, ratio_high, rate_ratio, rate_ratio_low, rate_ratio_high
        from marts.mart_significance where list_contains($ids, comparison_id)
        """,
        {"ids": sorted({effect.comparison for effect in wanted.values()})},
    ).fetchall()
    by_comparison = {row[0]: row[1:] for row in rows}
    return {
        name: _judged(effect, by_comparison[effect.comparison])
        for name, effect in wanted.items()
        if effect.comparison in by_comparison
    }


def _has_mart(connection: duckdb.DuckDBPyConnection) -> bool:
    # A generation of an older version has comparisons without the level of their intervals.
    found = connection.execute(
        """
        select 1 from information_schema.columns
        where table_schema = 'marts' and table_name = 'mart_significance' and column_name = 'level'
        """
    ).fetchall()
    return bool(found)


def _judged(effect: Effect, row: tuple[str, float, *tuple[float | None, ...]]) -> FoundEffect:
    verdict, level, *numbers = row
    ratio, low, high = numbers[:3] if effect.measure == "duration" else numbers[3:]
    if verdict == "NOT_COMPARABLE":
        return refused(verdict, f"comparison {effect.comparison} is NOT_COMPARABLE")
    if any(each is None or not 0 < each < math.inf for each in (ratio, low, high)):
        return refused(verdict, f"comparison {effect.comparison} has no interval of its {effect.measure}")
    assert ratio is not None  # noqa: S101 - seen above, which mypy cannot follow
    return FoundEffect(ratio, verdict, low, high, level)
