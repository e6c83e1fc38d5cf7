"""The verdict of two arms: what may be claimed, what stands against it, and the sentence that says so.

The numbers come from `evidence.py`; what else a reader must know is `caveats.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dagster_project.statistics.accelerated import AcceleratedFit
from dagster_project.statistics.durations import ENOUGH, DurationSummary
from dagster_project.statistics.effects import RatioEffect
from dagster_project.statistics.evidence import Effects, Primary
from dagster_project.statistics.frequency import QuasiPoissonEffect, RateEffect, thin_days
from dagster_project.statistics.hazards import HazardRatio
from dagster_project.statistics.interruption import InterruptedSeries, PlaceboTest, RegressionToMean
from dagster_project.statistics.mix import StandardisedRatio
from dagster_project.statistics.plan import Estimand, SliceColumn
from dagster_project.statistics.samples import Case
from dagster_project.statistics.survival import RestrictedMeanDifference
from dagster_project.wording import counted


class Verdict(StrEnum):
    """What may be said of a comparison."""

    IMPROVED = "IMPROVED"
    WORSE = "WORSE"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNDERPOWERED = "UNDERPOWERED"
    NOT_COMPARABLE = "NOT_COMPARABLE"


@dataclass(frozen=True)
class Outcome:
    """A verdict and the code of its reason."""

    verdict: Verdict
    reason: str


class _Interval(Protocol):
    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


WHY_NOT = {
    "tests_disagree": "the interval and the permutation test disagree",
    "family_could_explain": "among the comparisons of its family it is not clear any more (Holm)",
    "too_many_open": "too many incidents are still open",
    "open_incidents_could_explain": "the incidents still open could explain it",
    "severity_mix_could_explain": "within severities it is not clear, so a changed mix could explain it",
    "service_mix_could_explain": "within severity and service it is not clear, so a changed mix could explain it",
    "other_spread_could_explain": "another model of the spread of durations does not show it",
    "other_kinds_could_explain": "the arms hold such different incidents that their kind could explain it",
    "one_incident_could_explain": "without the longest incident of each arm it is not clear",
    "bad_days_could_explain": "it is not clear once incidents of the same day are taken to move together",
    "moving_before_the_cut_over": "durations were already moving that way before the cut-over",
    "placebo_moves_as_far": "cut-overs at which nothing happened move as far",
    "extreme_before_the_cut_over": "the period before the cut-over was extreme, after which things get ordinary again",
    "no_step_at_the_cut_over": "at the cut-over itself the series steps the other way",
    "curves_cross": "the survival curves cross, and mean durations go the other way",
    "thin_days_could_explain": "most incidents of an arm fill less than half of its days: the rest may be unrecorded",
    "bursts_could_explain": "with fewer than 4 full weeks or 20 incidents in an arm, bursts could explain it",
    "smaller_than_worth_having": "that is less than the plan calls worth having",
}


def judged(case: Case, effects: Effects, primary: Primary, holm_p: float, family_size: int) -> Outcome:
    """The verdict of comparable arms.

    A claim needs the interval, Holm's adjustment within its family, a size that the plan called worth having, and no
    other explanation at hand, each asked in the measure that decides.
    """
    smallest = 1 - case.plan.smallest_effect
    if primary.low <= 1 <= primary.high:
        return _nothing_shown(case, effects, primary)
    is_shorter = primary.ratio < 1
    weaknesses = (
        ("family_could_explain", family_size > 1 and holm_p > case.level),
        ("smaller_than_worth_having", smallest < primary.ratio < 1 / smallest),
    )
    doubts = _DOUBTS[case.plan.estimand](case, effects, is_shorter)
    if reason := next((code for code, holds in (*weaknesses, *doubts) if holds), None):
        return Outcome(Verdict.INCONCLUSIVE, reason)
    return Outcome(Verdict.IMPROVED if is_shorter else Verdict.WORSE, "clear_difference")


def _nothing_shown(case: Case, effects: Effects, primary: Primary) -> Outcome:
    """Too few incidents when the interval still holds an effect worth having and had little chance to show it."""
    smallest = 1 - case.plan.smallest_effect
    may_hide = primary.low <= smallest or primary.high >= 1 / smallest
    if case.plan.estimand is Estimand.GEOMETRIC_MEAN_RATIO:
        may_hide = may_hide and effects.detectable_cut > case.plan.smallest_effect
    if may_hide:
        return Outcome(Verdict.UNDERPOWERED, "too_few_for_the_smallest_effect")
    return Outcome(Verdict.INCONCLUSIVE, "no_clear_difference")


def _doubts_of_frequency(case: Case, effects: Effects, _is_shorter: bool) -> Iterator[tuple[str, bool]]:
    """Independent incidents cannot be told from an outage that opens many tickets where weekly counts are unknown."""
    arms = (case.baseline.arm, case.candidate.arm)
    yield "thin_days_could_explain", any(thin_days(arm.started_at, arm.observed_from, arm.days) for arm in arms)
    yield "bursts_could_explain", not isinstance(effects.overdispersed, QuasiPoissonEffect)


def _doubts_of_restricted_mean(case: Case, effects: Effects, is_shorter: bool) -> Iterator[tuple[str, bool]]:
    """The same as for geometric means, asked of durations cut off at the horizon."""
    checks = effects.checks
    if checks is None:
        return
    yield "too_many_open", _open_share(case) > case.plan.max_open_share
    yield "open_incidents_could_explain", _open_share(case) > 0 and not _keeps(checks.difference, is_shorter)
    yield "tests_disagree", checks.permutation.p_value > case.level
    yield "severity_mix_could_explain", not _keeps(checks.by_severity, is_shorter)
    yield "other_kinds_could_explain", min(effects.kind_overlap.values(), default=1.0) < case.plan.min_mix_overlap
    yield "service_mix_could_explain", not _keeps(checks.by_service, is_shorter)
    yield "one_incident_could_explain", not _keeps(checks.without_largest, is_shorter)
    yield "bad_days_could_explain", not _keeps(checks.clustered, is_shorter)
    yield from _doubts_of_the_cut_over(case, effects, checks.within_baseline, is_shorter)


def _doubts_of_durations(case: Case, effects: Effects, is_shorter: bool) -> Iterator[tuple[str, bool]]:
    """What other than the arms themselves could explain a clear difference; the first that holds is named.

    A method that could not be used raises no doubt; the steps and caveats say that it could not. Nor does one raise
    doubts of a mix where there is but one kind.
    """
    smallest, with_open = 1 - case.plan.smallest_effect, effects.with_open
    has_severities, has_services = (case.varies_in(each) for each in (SliceColumn.SEVERITY, SliceColumn.SERVICE))
    within = effects.mixes.get(SliceColumn.SEVERITY)
    yield "tests_disagree", effects.permutation.p_value > case.level
    yield "too_many_open", _open_share(case) > case.plan.max_open_share
    yield (
        "open_incidents_could_explain",
        _open_share(case) > 0
        and not (
            isinstance(with_open, AcceleratedFit)
            and _is_clear(with_open, is_shorter)
            and not smallest < with_open.ratio < 1 / smallest
        ),
    )
    yield (
        "severity_mix_could_explain",
        has_severities
        and (
            not _keeps(effects.adjusted, is_shorter) or (within is not None and (within.within_log < 0) != is_shorter)
        ),
    )
    yield "other_kinds_could_explain", min(effects.kind_overlap.values(), default=1.0) < case.plan.min_mix_overlap
    modelled = _keeps(effects.accelerated, is_shorter)
    yield "service_mix_could_explain", (has_severities or has_services) and not modelled
    yield "other_spread_could_explain", not modelled
    yield "one_incident_could_explain", not _keeps(effects.without_largest, is_shorter)
    yield "bad_days_could_explain", not _keeps(effects.clustered, is_shorter)
    yield from _doubts_of_the_cut_over(case, effects, effects.within_baseline, is_shorter)
    yield "curves_cross", _crosses(case, effects, is_shorter)


def _doubts_of_the_cut_over(
    case: Case, effects: Effects, drift: RatioEffect | None, is_shorter: bool
) -> Iterator[tuple[str, bool]]:
    smallest = 1 - case.plan.smallest_effect
    yield (
        "moving_before_the_cut_over",
        drift is not None and _is_clear(drift, is_shorter) and not smallest < drift.ratio < 1 / smallest,
    )
    placebo, to_mean, series = effects.cause.placebo, effects.cause.to_mean, effects.cause.series
    yield "placebo_moves_as_far", isinstance(placebo, PlaceboTest) and placebo.rank > 1
    yield (
        "extreme_before_the_cut_over",
        isinstance(to_mean, RegressionToMean) and to_mean.is_extreme and (to_mean.z > 0) == is_shorter,
    )
    yield (
        "no_step_at_the_cut_over",
        isinstance(series, InterruptedSeries) and (series.level_low > 1 if is_shorter else series.level_high < 1),
    )


_DOUBTS: dict[Estimand, Callable[[Case, Effects, bool], Iterator[tuple[str, bool]]]] = {
    Estimand.GEOMETRIC_MEAN_RATIO: _doubts_of_durations,
    Estimand.RESTRICTED_MEAN: _doubts_of_restricted_mean,
    Estimand.FREQUENCY: _doubts_of_frequency,
}


def _open_share(case: Case) -> float:
    """Share of open incidents of the arm that has more of them."""
    return max(arm.open_count / arm.count for arm in (case.baseline.arm, case.candidate.arm))


def _keeps(effect: object, is_shorter: bool) -> bool:
    """Whether an estimate, where there is one, lies on the same side with its whole interval."""
    kinds = (AcceleratedFit, StandardisedRatio, RatioEffect)
    return not isinstance(effect, kinds) or _is_clear(effect, is_shorter)


def _crosses(case: Case, effects: Effects, is_shorter: bool) -> bool:
    """Whether hazards are not proportional and the restricted mean, taken in their place, goes the other way."""
    hazard, restricted = effects.hazard, effects.restricted
    return (
        isinstance(hazard, HazardRatio)
        and hazard.proportionality_p_value is not None
        and hazard.proportionality_p_value < case.level
        and isinstance(restricted, RestrictedMeanDifference)
        and (restricted.difference < 0) != is_shorter
    )


def _is_clear(effect: _Interval, is_shorter: bool) -> bool:
    """Whether the whole interval lies on the side that `is_shorter` names."""
    return effect.high < 1 if is_shorter else effect.low > 1


def sentence(
    case: Case,
    summaries: tuple[DurationSummary, DurationSummary],
    effects: Effects,
    primary: Primary,
    rate: RateEffect | None,
    outcome: Outcome,
) -> str:
    """One plain sentence with effect, interval, counts, open ones and frequency."""
    plan, baseline, candidate = case.plan, case.baseline.arm, case.candidate.arm
    is_frequency = plan.estimand is Estimand.FREQUENCY
    less, more = ("rarer", "more frequent") if is_frequency else ("shorter", "longer")
    change = f"{abs(1 - primary.ratio):.0%} {less if primary.ratio < 1 else more}"
    arms = _sizes(case, summaries, effects)
    interval = f"{_percent(case.level)} interval {primary.low:.3g} to {primary.high:.3g}"
    figures = f"({arms}; ratio {primary.ratio:.3g}, {interval})"
    comparison = f"{change} in {candidate.label} than in {baseline.label} {figures}"
    subject, verb = _subject(case)
    if outcome.verdict in (Verdict.IMPROVED, Verdict.WORSE):
        text = f"{subject} {verb} {comparison}"
    elif outcome.reason in WHY_NOT:
        text = f"{subject} {'look' if is_frequency else 'looks'} {comparison}, but {WHY_NOT[outcome.reason]}"
    else:
        between = f"{baseline.label} and {candidate.label}"
        what = "frequency" if is_frequency else f"time to {plan.clock.value}"
        text = f"no difference in {what} between {between} is shown {figures}"
    if outcome.verdict is Verdict.UNDERPOWERED and plan.estimand is Estimand.GEOMETRIC_MEAN_RATIO:
        text += f"; only a cut of {effects.detectable_cut:.0%} or more had a chance of {plan.power:.0%} to be seen"
    if min(summary.n for summary in summaries) < ENOUGH:
        text = f"indicative only: {text}"
    return f"{text[0].upper()}{text[1:]}{_frequency(rate)}."


def _sizes(case: Case, summaries: tuple[DurationSummary, DurationSummary], effects: Effects) -> str:
    """What was judged of each arm, the candidate first."""
    baseline, candidate = case.baseline.arm, case.candidate.arm
    if case.plan.estimand is Estimand.FREQUENCY:
        return "; ".join(
            f"{arm.label} {counted(arm.count, 'incident')} in {arm.days:,.1f} days" for arm in (candidate, baseline)
        )
    means = summaries[1].geometric_mean, summaries[0].geometric_mean
    restricted = effects.restricted
    if case.plan.estimand is Estimand.RESTRICTED_MEAN and isinstance(restricted, RestrictedMeanDifference):
        means = restricted.candidate, restricted.baseline
    return "; ".join(
        f"{arm.label} {spoken(mean)} over {counted(summary.n, 'incident')}, {arm.open_count:,} open"
        for arm, summary, mean in zip((candidate, baseline), reversed(summaries), means, strict=True)
    )


def _percent(level: float) -> str:
    """The confidence at a level, with as many digits as tell it from 100 %."""
    places = max(1 - math.floor(math.log10(100 * level)), 0)
    said = f"{100 * (1 - level):.{places}f}"
    return (said.rstrip("0").rstrip(".") if places else said) + "%"


def _subject(case: Case) -> tuple[str, str]:
    plan = case.plan
    if plan.estimand is Estimand.FREQUENCY:
        return "incidents", "are"
    if plan.estimand is Estimand.RESTRICTED_MEAN:
        return f"the mean time to {plan.clock.value}, counted up to {spoken(case.tau_seconds)},", "is"
    return f"the typical time to {plan.clock.value}", "is"


def _frequency(rate: RateEffect | None) -> str:
    """Never a duration without the frequency beside it."""
    if rate is None:
        return ""
    first, second = (
        f"{value:,.0f}" if value >= 20 else f"{value:.1f}"
        for value in (rate.baseline_per_30_days, rate.candidate_per_30_days)
    )
    return f"; {second} against {first} incidents in 30 days"


def spoken(seconds: float | None) -> str:
    """A duration as a reader would say it."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"
