"""Is one arm of incidents really shorter than the other? Gates, effects, robustness, verdict, one sentence.

The order is fixed: whether arms may be compared is settled before any effect is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dagster_project.statistics.arms import Arm, Floats, Labels
from dagster_project.statistics.durations import ENOUGH, FEW, DurationSummary, Tier, censored_log_mean, describe
from dagster_project.statistics.effects import (
    PermutationTest,
    RankTest,
    RateEffect,
    RatioEffect,
    WelchTest,
    adjusted_log_difference,
    clustered_log_difference,
    dispersion,
    mann_whitney,
    permutation_test,
    rate_ratio,
    ratio_of,
    welch,
)
from dagster_project.statistics.gates import Refusal, first_refusal, mix_overlap, usable_durations
from dagster_project.statistics.plan import ComparisonPlan, Side
from dagster_project.statistics.power import minimal_detectable_log_ratio

MIX_WORTH_SAYING = 0.8
BURSTS_WORTH_SAYING = 1.5


class Verdict(StrEnum):
    """What may be said of a comparison."""

    IMPROVED = "IMPROVED"
    WORSE = "WORSE"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNDERPOWERED = "UNDERPOWERED"
    NOT_COMPARABLE = "NOT_COMPARABLE"


@dataclass(frozen=True)
class Effects:
    """Everything computed once the gates are passed. Ratios are candidate over baseline.

    `within_baseline` is the second half of the baseline over its first, where the plan has a cut-over: what a cut-over
    at which nothing happened would have shown. `kind_overlap` is the share of the mix that the arms have in common,
    by service, team and category, without those that the plan itself told apart.
    """

    welch: WelchTest
    ratio: RatioEffect
    permutation: PermutationTest
    ranks: RankTest
    adjusted: RatioEffect | None
    clustered: RatioEffect | None
    within_baseline: RatioEffect | None
    ratio_with_open: float
    detectable_cut: float
    mix_overlap: float
    kind_overlap: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The result of one plan."""

    plan: ComparisonPlan
    baseline: Arm
    candidate: Arm
    baseline_summary: DurationSummary
    candidate_summary: DurationSummary
    rate: RateEffect | None
    effects: Effects | None
    verdict: Verdict
    reason: str
    sentence: str
    caveats: tuple[str, ...]

    @property
    def tier(self) -> Tier:
        """The smaller arm decides how much can be said."""
        tiers = {self.baseline_summary.tier, self.candidate_summary.tier}
        return next(tier for tier in (Tier.DOTS, Tier.INDICATIVE, Tier.FULL) if tier in tiers)


def compare(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Comparison:
    """Run the protocol on two arms.

    Returns
    -------
    Comparison
        Always: arms that carry no comparison give `NOT_COMPARABLE` with the reason, never an error or a NaN.
    """
    first, second = usable_durations(plan, baseline), usable_durations(plan, candidate)
    summaries = tuple(
        describe(values, _open_ages(arm), confidence=1 - plan.alpha)
        for values, arm in ((first, baseline), (second, candidate))
    )
    rate = _rate(plan, baseline, candidate)
    if refusal := first_refusal(plan, baseline, candidate):
        effects, verdict, reason = None, Verdict.NOT_COMPARABLE, refusal.code
        sentence = f"Not comparable: {refusal.reason}."
    else:
        effects = _effects(plan, baseline, candidate)
        verdict, reason = _verdict(plan, baseline, candidate, effects)
        sentence = _sentence(plan, (baseline, candidate), summaries, effects, rate, (verdict, reason))
    return Comparison(
        plan=plan,
        baseline=baseline,
        candidate=candidate,
        baseline_summary=summaries[0],
        candidate_summary=summaries[1],
        rate=rate,
        effects=effects,
        verdict=verdict,
        reason=reason,
        sentence=sentence,
        caveats=tuple(_caveats(plan, baseline, candidate, effects)),
    )


def refused_without_data(plan: ComparisonPlan) -> Refusal:
    """The refusal of a plan whose filter fits no incident at all."""
    wanted = "; ".join(f"{name} {', '.join(values)}" for name, values in plan.where.given().items()) or "anything"
    return Refusal("no_data", f"the warehouse holds no incident of {wanted}")


def _open_ages(arm: Arm) -> Floats:
    ages = arm.ages[arm.is_open]
    return ages[ages > 0]


@dataclass(frozen=True)
class _Logs:
    """Logs of an arm's usable durations with what else is known of each."""

    values: Floats
    severities: Labels
    started_at: npt.NDArray[np.datetime64]

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        return self.started_at.astype("datetime64[D]")


def _logs(plan: ComparisonPlan, arm: Arm) -> _Logs:
    usable = arm.measured & ((arm.durations > 0) | (plan.clock_resolution_seconds is not None))
    return _Logs(np.log(usable_durations(plan, arm)), arm.severities[usable], arm.started_at[usable])


def _rate(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> RateEffect | None:
    if baseline.days <= 0 or candidate.days <= 0:
        return None
    return rate_ratio(baseline.count, baseline.days, candidate.count, candidate.days, confidence=1 - plan.alpha)


def _effects(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Effects:
    first, second, confidence = _logs(plan, baseline), _logs(plan, candidate), 1 - plan.alpha
    test = welch(first.values, second.values, confidence=confidence)
    with_open = censored_log_mean(np.exp(second.values), _open_ages(candidate)) - censored_log_mean(
        np.exp(first.values), _open_ages(baseline)
    )
    detectable = minimal_detectable_log_ratio(
        first.values.size, second.values.size, test.standard_error, alpha=plan.alpha, power=plan.power
    )
    return Effects(
        welch=test,
        ratio=ratio_of(test),
        permutation=permutation_test(
            first.values,
            second.values,
            first.severities,
            second.severities,
            resamples=plan.permutations,
            seed=plan.seed,
        ),
        ranks=mann_whitney(first.values, second.values),
        adjusted=_as_ratio(
            adjusted_log_difference(
                first.values, second.values, first.severities, second.severities, confidence=confidence
            )
        ),
        clustered=_as_ratio(
            clustered_log_difference(first.values, second.values, first.days, second.days, confidence=confidence)
        ),
        within_baseline=_within(first, confidence) if plan.baseline.side is Side.BEFORE else None,
        ratio_with_open=math.exp(with_open),
        detectable_cut=1 - math.exp(-detectable),
        mix_overlap=mix_overlap(baseline.severities, candidate.severities),
        kind_overlap=_kind_overlap(plan, baseline, candidate),
    )


def _kind_overlap(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> dict[str, float]:
    told_apart = {name for arm in (plan.baseline, plan.candidate) for name in arm.where.given()}
    mixes = {
        "service": (baseline.services, candidate.services),
        "team": (baseline.teams, candidate.teams),
        "category": (baseline.categories, candidate.categories),
    }
    return {name: mix_overlap(*pair) for name, pair in mixes.items() if name not in told_apart}


def _as_ratio(log_interval: tuple[float, float, float] | None) -> RatioEffect | None:
    return None if log_interval is None else RatioEffect(*(math.exp(value) for value in log_interval))


def _within(logs: _Logs, confidence: float) -> RatioEffect | None:
    """The later half of an arm over its earlier half; None when a half is below 5 or does not vary."""
    values = logs.values[np.argsort(logs.started_at, kind="stable")]
    earlier, later = values[: values.size // 2], values[values.size // 2 :]
    if earlier.size < FEW or np.ptp(earlier) == 0 or np.ptp(later) == 0:
        return None
    return ratio_of(welch(earlier, later, confidence=confidence))


def _verdict(plan: ComparisonPlan, baseline: Arm, candidate: Arm, effects: Effects) -> tuple[Verdict, str]:
    """The verdict of comparable arms and the code of its reason.

    A claim needs the interval and the permutation test, a size that the plan called worth having, and no other
    explanation at hand: open incidents, a changed mix, bad days, a movement that began before the cut-over.
    """
    ratio, smallest = effects.ratio, 1 - plan.smallest_effect
    clear = not ratio.low <= 1 <= ratio.high
    if not clear or effects.permutation.p_value > plan.alpha:
        if clear:
            return Verdict.INCONCLUSIVE, "tests_disagree"
        may_hide = ratio.low <= smallest or ratio.high >= 1 / smallest
        if may_hide and effects.detectable_cut > plan.smallest_effect:
            return Verdict.UNDERPOWERED, "too_few_for_the_smallest_effect"
        return Verdict.INCONCLUSIVE, "no_clear_difference"
    if smallest < ratio.ratio < 1 / smallest:
        return Verdict.INCONCLUSIVE, "smaller_than_worth_having"
    is_shorter = ratio.ratio < 1
    if doubt := _doubt(plan, max(arm.open_count / arm.count for arm in (baseline, candidate)), effects, is_shorter):
        return Verdict.INCONCLUSIVE, doubt
    return (Verdict.IMPROVED if is_shorter else Verdict.WORSE), "clear_difference"


def _doubt(plan: ComparisonPlan, open_share: float, effects: Effects, is_shorter: bool) -> str | None:
    """Code of the first thing other than the arms themselves that could explain a clear difference."""
    ratio, smallest, drift = effects.ratio, 1 - plan.smallest_effect, effects.within_baseline
    doubts = {
        "too_many_open": open_share > plan.max_open_share,
        "open_incidents_could_explain": not ratio.low <= effects.ratio_with_open <= ratio.high,
        "severity_mix_could_explain": effects.adjusted is not None and not _is_clear(effects.adjusted, is_shorter),
        "other_kinds_could_explain": min(effects.kind_overlap.values(), default=1.0) < plan.min_mix_overlap,
        "bad_days_could_explain": effects.clustered is not None and not _is_clear(effects.clustered, is_shorter),
        "moving_before_the_cut_over": drift is not None
        and _is_clear(drift, is_shorter)
        and not smallest < drift.ratio < 1 / smallest,
    }
    return next((code for code, holds in doubts.items() if holds), None)


def _is_clear(effect: RatioEffect, is_shorter: bool) -> bool:
    """Whether the whole interval lies on the side that `is_shorter` names."""
    return effect.high < 1 if is_shorter else effect.low > 1


WHY_NOT = {
    "tests_disagree": "the interval and the permutation test disagree",
    "too_many_open": "too many incidents are still open",
    "open_incidents_could_explain": "the incidents still open could explain it",
    "severity_mix_could_explain": "within severities it is not clear, so a changed mix could explain it",
    "other_kinds_could_explain": "the arms hold such different incidents that their kind could explain it",
    "bad_days_could_explain": "it is not clear once incidents of the same day are taken to move together",
    "moving_before_the_cut_over": "durations were already moving that way before the cut-over",
    "smaller_than_worth_having": "that is less than the plan calls worth having",
}


def _sentence(
    plan: ComparisonPlan,
    arms: tuple[Arm, Arm],
    summaries: tuple[DurationSummary, ...],
    effects: Effects,
    rate: RateEffect | None,
    outcome: tuple[Verdict, str],
) -> str:
    """One plain sentence with effect, interval, counts, open ones and frequency."""
    (baseline, candidate), (verdict, reason), ratio = arms, outcome, effects.ratio
    change = f"{abs(1 - ratio.ratio):.0%} {'shorter' if ratio.ratio < 1 else 'longer'}"
    sizes = "; ".join(
        f"{arm.label} {_spoken(summary.geometric_mean)} over {_count(summary.n, 'incident')}, {arm.open_count:,} open"
        for arm, summary in ((candidate, summaries[1]), (baseline, summaries[0]))
    )
    figures = f"({sizes}; ratio {ratio.ratio:.3g}, {1 - plan.alpha:.0%} interval {ratio.low:.3g} to {ratio.high:.3g})"
    comparison = f"{change} in {candidate.label} than in {baseline.label} {figures}"
    if verdict in (Verdict.IMPROVED, Verdict.WORSE):
        text = f"the typical time to {plan.clock.value} is {comparison}"
    elif reason in WHY_NOT:
        text = f"the typical time to {plan.clock.value} looks {comparison}, but {WHY_NOT[reason]}"
    else:
        between = f"{baseline.label} and {candidate.label}"
        text = f"no difference in time to {plan.clock.value} between {between} is shown {figures}"
    if verdict is Verdict.UNDERPOWERED:
        text += f"; only a cut of {effects.detectable_cut:.0%} or more had a chance of {plan.power:.0%} to be seen"
    if min(summary.n for summary in summaries) < ENOUGH:
        text = f"indicative only: {text}"
    return f"{text[0].upper()}{text[1:]}{_frequency(rate)}."


def _frequency(rate: RateEffect | None) -> str:
    """Never a duration without the frequency beside it."""
    if rate is None:
        return ""
    first, second = (
        f"{value:,.0f}" if value >= 20 else f"{value:.1f}"
        for value in (rate.baseline_per_30_days, rate.candidate_per_30_days)
    )
    return f"; {second} against {first} incidents in 30 days"


def _spoken(seconds: float | None) -> str:
    """A duration as a reader would say it."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _caveats(plan: ComparisonPlan, baseline: Arm, candidate: Arm, effects: Effects | None) -> Iterator[str]:
    """What a reader must know beside the sentence; the analyst's own first, then what the data shows."""
    yield from plan.caveats
    for exclusion in plan.exclusions:
        yield f"Left out by plan: {exclusion.reason}"
    yield from dict.fromkeys((*baseline.caveats, *candidate.caveats))  # both may have the same
    for arm in (baseline, candidate):
        yield from _arm_caveats(plan, arm)
    if effects is None:
        return
    yield "This is a difference, not a cause: nothing was assigned at random."
    if effects.permutation.p_value > plan.alpha >= effects.ranks.p_value:
        yield "Mann-Whitney sees a difference that the means of the logs do not show: the shapes differ."
    for name, overlap in {"severity": effects.mix_overlap, **effects.kind_overlap}.items():
        if overlap < MIX_WORTH_SAYING:
            yield f"The arms have only {overlap:.0%} of their {name} mix in common" + (
                "." if name == "severity" else "; the ratio takes no account of it."
            )
    if effects.adjusted is None and effects.mix_overlap < 1:
        yield "Not adjusted for severity: one of the baseline's has fewer than two incidents in an arm."
    if effects.clustered is None:
        yield "Fewer than 5 days in an arm: whether incidents of one day move together cannot be seen."


def _arm_caveats(plan: ComparisonPlan, arm: Arm) -> Iterator[str]:
    if arm.missing_count:
        yield f"{arm.label}: no {arm.clock.value} time for {_count(arm.missing_count, 'ended incident')}, left out."
    if arm.open_count:
        yield f"{arm.label}: {_count(arm.open_count, 'incident')} open; means of the ended ones are too short."
    if zeros := int((arm.durations == 0).sum()):
        step = plan.clock_resolution_seconds
        treated = "left out" if step is None else f"counted as {step / 2:g} s, half the clock's step"
        yield f"{arm.label}: length zero for {_count(zeros, 'incident')}, {treated}."
    spread = dispersion(arm.started_at)
    if spread is not None and spread > BURSTS_WORTH_SAYING:
        yield (
            f"{arm.label}: incidents a week vary {spread:,.1f} times as much as independent ones would; "
            "the interval of the frequency is too narrow."
        )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
