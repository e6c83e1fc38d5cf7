"""What a reader must know beside the verdict, and what must not be concluded from it. Nothing is computed here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from dagster_project.statistics.accelerated import AcceleratedFit
from dagster_project.statistics.arms import Arm
from dagster_project.statistics.downtime import DowntimeEffect
from dagster_project.statistics.durations import Tier
from dagster_project.statistics.evidence import Effects
from dagster_project.statistics.frequency import RateEffect, dispersion, thin_days
from dagster_project.statistics.history import History
from dagster_project.statistics.mix import MixSplit, StandardisedRatio
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.plan import ComparisonPlan, Estimand, SliceColumn
from dagster_project.statistics.samples import Case
from dagster_project.statistics.verdict import Outcome, Verdict
from dagster_project.wording import counted

MIX_WORTH_SAYING = 0.8
BURSTS_WORTH_SAYING = 1.5
PLURALS = {
    SliceColumn.SEVERITY: "severities",
    SliceColumn.SERVICE: "services",
    SliceColumn.TEAM: "teams",
    SliceColumn.CATEGORY: "categories",
}


def caveats(
    case: Case,
    effects: Effects | None,
    rate: RateEffect | None,
    history: History,
    mixes: Mapping[SliceColumn, MixSplit],
) -> Iterator[str]:
    """The analyst's own first, then what became of the plan, then what the data shows."""
    plan, arms = case.plan, (case.baseline.arm, case.candidate.arm)
    yield from plan.caveats
    for exclusion in plan.exclusions:
        yield f"Left out by plan: {exclusion.reason}"
    yield from _looks(plan, history)
    yield from dict.fromkeys((*arms[0].caveats, *arms[1].caveats))  # both may have the same
    for arm in arms:
        yield from _arm(plan, arm)
    if effects is None:
        yield from _explained(mixes)
        return
    yield "This is a difference, not a cause: nothing was assigned at random."
    if effects.permutation.p_value > case.level >= effects.ranks.p_value:
        yield "Mann-Whitney sees a difference that the means of the logs do not show: the shapes differ."
    yield from _mix(effects)
    if effects.clustered is None:
        yield "Fewer than 5 days in an arm: whether incidents of one day move together cannot be seen."
    if rate is not None and rate.low is not None and rate.low > 1 and effects.ratio.ratio < 1:
        yield _more_often(rate, effects)


def _explained(mixes: Mapping[SliceColumn, MixSplit]) -> Iterator[str]:
    """What arms that may not be compared differ by: the column whose changed mix makes most of the ratio."""
    others = {name: split for name, split in mixes.items() if name is not SliceColumn.SEVERITY}
    if not others:
        return
    name, split = max(others.items(), key=lambda each: abs(each[1].mix_log))
    yield (
        f"Described, not tested: of the ratio {math.exp(split.change_log):.3g} of the geometric means, "
        f"{math.exp(split.mix_log):.3g} comes of another mix of {PLURALS[name]} and {math.exp(split.within_log):.3g} "
        f"lies within them."
    )


def _looks(plan: ComparisonPlan, history: History) -> Iterator[str]:
    if history.is_changed_after_results:
        yield "The plan was changed after results of an earlier version existed: it was not written blind."
    level, look = plan.level(history.look_number), history.look_number
    if look > plan.looks:
        planned = counted(plan.looks, "look")
        yield (
            f"Look {look} at this comparison's data, and {planned} planned: this one is judged at {level:.2g}, so that "
            f"all looks together mislead with a chance of {plan.alpha * (1 + 1 / (plan.looks + 1)):.2g} at most."
        )
    elif plan.looks > 1:
        yield f"Look {look} of {plan.looks} planned: each is judged at {level:.2g} (Bonferroni)."


def _arm(plan: ComparisonPlan, arm: Arm) -> Iterator[str]:
    if arm.missing_count:
        yield f"{arm.label}: no {arm.clock.value} time for {counted(arm.missing_count, 'ended incident')}, left out."
    if arm.open_count:
        until = "" if arm.as_of is None else f", counted up to {arm.as_of:%Y-%m-%d %H:%M} UTC"
        yield f"{arm.label}: {counted(arm.open_count, 'incident')} open{until}; means of the ended ones are too short."
    if zeros := int((arm.durations == 0).sum()):
        step = plan.clock_resolution_seconds
        treated = "left out" if step is None else f"counted as {step / 2:g} s, half the clock's step"
        yield f"{arm.label}: length zero for {counted(zeros, 'incident')}, {treated}."
    if thin := thin_days(arm.started_at, arm.observed_from, arm.days):
        yield f"{arm.label}: {thin}; else its frequency and its downtime in 30 days are too low."
    spread = dispersion(arm.started_at)
    if spread is not None and spread > BURSTS_WORTH_SAYING:
        yield (
            f"{arm.label}: incidents a week vary {spread:,.1f} times as much as independent ones would; "
            "the exact interval of the frequency is too narrow."
        )


def _mix(effects: Effects) -> Iterator[str]:
    for name, overlap in {SliceColumn.SEVERITY: effects.mix_overlap, **effects.kind_overlap}.items():
        if overlap < MIX_WORTH_SAYING:
            yield f"The arms have only {overlap:.0%} of their {name} mix in common" + (
                "; the ratio takes no account of it." if name in (SliceColumn.TEAM, SliceColumn.CATEGORY) else "."
            )
    if effects.mix_overlap < 1:
        if isinstance(effects.adjusted, NotPossible):
            yield f"Not adjusted for severity: {effects.adjusted.reason}."
        elif isinstance(effects.adjusted, StandardisedRatio) and effects.adjusted.covered < 1:
            yield f"Adjusted for severity within {effects.adjusted.covered:.0%} of the baseline; the rest has no match."
    if isinstance(effects.accelerated, NotPossible) and effects.accelerated.code != "skipped_by_tier":
        yield f"Not adjusted for severity and service together: {effects.accelerated.reason}."


def _more_often(rate: RateEffect, effects: Effects) -> str:
    text = f"Incidents are shorter but {rate.ratio:.2f} times as frequent"
    if isinstance(effects.downtime, DowntimeEffect) and effects.downtime.ratio is not None:
        return f"{text}: downtime in 30 days is {effects.downtime.ratio:.2f} times the baseline's."
    return f"{text}: downtime need not have fallen."


def not_concluded(case: Case, effects: Effects | None, outcome: Outcome) -> Iterator[str]:
    """What the result does not say, whatever the verdict; the list is always shown."""
    plan, arms = case.plan, (case.baseline.arm, case.candidate.arm)
    if outcome.verdict is Verdict.NOT_COMPARABLE:
        yield "That one arm is better, worse or the same: the arms were not compared."
    elif outcome.verdict in (Verdict.INCONCLUSIVE, Verdict.UNDERPOWERED):
        yield "That nothing changed: a difference that is not shown is not shown to be none."
    yield (
        "What caused it: nothing was assigned at random"
        + (", and whatever else began at the cut-over moves the same numbers." if plan.cut_over_at else ".")
    )
    severities = sorted({*arms[0].severities.tolist(), *arms[1].severities.tolist()})
    if len(severities) > 1:
        held = ", ".join(severities[:6])
        yield f"For {severities[0]} alone, or any other single severity: the arms hold {held} together."
    if plan.estimand is not Estimand.FREQUENCY:
        yield f"How long users were affected: the clock runs to {plan.clock.value}, and impact need not end with it."
        yield "How often incidents happen, or what they cost: a shorter one may come more often."
    else:
        yield "How long incidents last: only their number was judged."
    if any(arm.open_count for arm in arms):
        yield "How long the open incidents will last: they are counted as lasting at least their age."
    if effects is not None and case.tier is Tier.INDICATIVE:
        yield "More than a hint: an arm has fewer than 20 incidents."
    if effects is not None and not isinstance(effects.accelerated, AcceleratedFit):
        yield "That it holds within a service: it could not be adjusted for severity and service."
    yield "That it will stay so, or hold for teams, services and times other than these."
