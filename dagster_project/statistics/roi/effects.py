"""Effects that estimates take from comparisons: read from `marts.mart_significance`, with their intervals, or refused.

What an effect acts on, `plan.py` says; how it is drawn, `draws.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
from scipy import stats

from dagster_project.statistics.plan import Estimand
from dagster_project.statistics.roi.plan import Effect, RoiPlan

NOT_FOUND = "NOT_FOUND"
"""Stands for the verdict of a comparison that the warehouse does not have."""


@dataclass(frozen=True)
class FoundEffect:
    """A ratio, candidate over baseline, as a comparison found it.

    `is_judged`: the verdict is about this measure. A verdict on durations says nothing of frequency, nor the reverse.

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
    is_judged: bool = True

    @property
    def is_shown(self) -> bool:
        """Whether the data shows an effect: the verdict says so of this measure and the interval leaves out 1."""
        if self.low is None or self.high is None or not self.is_judged or self.verdict not in {"IMPROVED", "WORSE"}:
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

_MEASURES: Mapping[str, str] = {
    Estimand.GEOMETRIC_MEAN_RATIO: "duration",
    Estimand.RESTRICTED_MEAN: "duration",
    Estimand.FREQUENCY: "frequency",
}
_RATIOS = ("primary_ratio", "ratio", "rate_ratio", "overdispersed_rate_ratio")
_COLUMNS = (
    "comparison_id", "verdict", "estimand", "level",
    *(f"{name}{end}" for name in _RATIOS for end in ("", "_low", "_high")),
)  # fmt: skip


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
        f"select {', '.join(_COLUMNS)} from marts.mart_significance where list_contains($ids, comparison_id)",  # noqa: S608 - names of columns
        {"ids": sorted({effect.comparison for effect in wanted.values()})},
    ).fetchall()
    by_comparison = {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in rows}
    return {
        name: _judged(effect, by_comparison[effect.comparison])
        for name, effect in wanted.items()
        if effect.comparison in by_comparison
    }


def _has_mart(connection: duckdb.DuckDBPyConnection) -> bool:
    # A generation of an older version has comparisons without some of the columns.
    found = connection.execute(
        """
        select column_name from information_schema.columns
        where table_schema = 'marts' and table_name = 'mart_significance'
        """
    ).fetchall()
    return {name for (name,) in found}.issuperset(_COLUMNS)


def _judged(effect: Effect, row: Mapping[str, Any]) -> FoundEffect:
    verdict = row["verdict"]
    if verdict == "NOT_COMPARABLE":
        return refused(verdict, f"comparison {effect.comparison} is NOT_COMPARABLE")
    is_judged = _MEASURES.get(row["estimand"]) == effect.measure
    ratio, low, high = _interval(row, "primary_ratio" if is_judged else _unjudged(effect, row))
    if any(each is None or not 0 < each < math.inf for each in (ratio, low, high)):
        return refused(verdict, f"comparison {effect.comparison} has no interval of its {effect.measure}")
    return FoundEffect(ratio, verdict, low, high, row["level"], is_judged=is_judged)


def _unjudged(effect: Effect, row: Mapping[str, Any]) -> str:
    """The ratio of a measure that is not the comparison's estimand: the one that allows for bursts if any."""
    if effect.measure == "duration":
        return "ratio"
    has_bursts = None not in _interval(row, "overdispersed_rate_ratio")
    return "overdispersed_rate_ratio" if has_bursts else "rate_ratio"


def _interval(row: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]
