"""The return that a source states of itself, beside what its own figures give.

Whole decks of claims are `statistics/claims/`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dagster_project.statistics.roi.plan import RoiPlan

ROUNDING = 0.01
"""Stated returns are rounded: 52 stands for 51.95. Within one part in a hundred they are the same."""


@dataclass(frozen=True)
class StatedResult:
    """What a source states and what it divided. None where it does not show its sums."""

    ratio: float
    benefit_cost_ratio: float | None
    roi: float | None
    sentence: str


def stated_return(plan: RoiPlan) -> StatedResult | None:
    """The plan's stated return, or None when it names none."""
    stated = plan.stated_return
    if stated is None:
        return None
    ratio = stated.ratio.value
    if stated.yearly_benefits is None or stated.yearly_costs is None:
        return StatedResult(ratio, None, None, f"The source states {ratio:g}x and does not show what it divided.")
    benefits, costs = stated.yearly_benefits.value, stated.yearly_costs.value
    if costs == 0:
        return StatedResult(ratio, None, None, f"The source states {ratio:g}x over costs of 0: there is no such ratio.")
    found = benefits / costs
    return StatedResult(ratio, found, found - 1, f"{_judged(ratio, found, benefits, costs)}{_counted_twice(plan)}")


def _judged(ratio: float, found: float, benefits: float, costs: float) -> str:
    division = f"{benefits:,.10g} / {costs:,.10g} = {found:,.2f}"
    if math.isclose(ratio, found, rel_tol=ROUNDING):
        return (
            f"The source states {ratio:g}x: {division} is a benefit/cost ratio of one year; "
            f"the return is ({benefits:,.10g} - {costs:,.10g}) / {costs:,.10g} = {found - 1:,.2f}x."
        )
    if math.isclose(ratio, found - 1, rel_tol=ROUNDING):
        return f"The source states {ratio:g}x: {division}, less 1, is a return of one year."
    return f"The source states {ratio:g}x, which its own figures do not give: {division}."


def _counted_twice(plan: RoiPlan) -> str:
    """Says so when the source's yearly costs hold what is paid once."""
    stated = plan.stated_return
    once = math.fsum(each.amount.value for each in plan.costs if each.timing == "one_time")
    yearly = math.fsum(each.amount.value for each in plan.costs if each.timing == "yearly")
    if stated is None or stated.yearly_costs is None or once == 0:
        return ""
    if not math.isclose(stated.yearly_costs.value, once + yearly, rel_tol=1e-9):
        return ""
    return (
        f" Its yearly costs of {stated.yearly_costs.value:,.10g} count what is paid once ({once:,.10g}) in every year; "
        f"{yearly:,.10g} recur."
    )
