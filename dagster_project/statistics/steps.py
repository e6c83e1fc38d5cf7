"""Steps 3 to 11 of two arms that were compared, each with what it found in a sentence and its estimates.

The order and the other steps are `protocol.py`; the numbers come from `evidence.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from dagster_project.statistics.accelerated import AcceleratedFit
from dagster_project.statistics.downtime import DowntimeEffect
from dagster_project.statistics.durations import Tier
from dagster_project.statistics.effects import RatioEffect
from dagster_project.statistics.evidence import SKIPPED, Effects
from dagster_project.statistics.frequency import DispersionTest, QuasiPoissonEffect
from dagster_project.statistics.hazards import HazardRatio, LogRankTest
from dagster_project.statistics.interruption import InterruptedSeries, PlaceboTest, RegressionToMean
from dagster_project.statistics.mix import StandardisedRatio
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.power import ResampledRisks
from dagster_project.statistics.protocol import Estimate, Settled, Status, StepResult, status_of
from dagster_project.statistics.robustness import StandardisedDifference
from dagster_project.statistics.survival import RestrictedMeanDifference
from dagster_project.statistics.verdict import spoken
from dagster_project.wording import counted


def compared(settled: Settled, effects: Effects) -> tuple[StepResult, ...]:
    """Steps 3 to 11, in order."""
    makers: tuple[Callable[[Settled, Effects], StepResult], ...] = (
        _primary_effect,
        _business,
        _frequency,
        _survival,
        _robustness,
        _mix,
        _cause,
        _multiplicity,
        _power,
    )
    return tuple(make(settled, effects) for make in makers)


def stopped(settled: Settled) -> tuple[StepResult, ...]:
    """Steps 3 to 11 of arms that may not be compared; the mix is described all the same, for it says what they hold."""
    if settled.case.tier is Tier.DOTS:
        skipped = "An arm has fewer than 5 incidents."
        return tuple(StepResult(number, Status.SKIPPED_BY_TIER, skipped) for number in range(3, 12))
    closed = [StepResult(number, Status.NOT_POSSIBLE, "The gates are closed.") for number in range(3, 12)]
    if settled.mixes:
        estimates, said = _splits(settled)
        text = f"Described, not tested: {'; '.join(said)}."
        closed[5] = StepResult(8, Status.DONE, text, tuple(estimates))
    return tuple(closed)


def _ratio(name: str, label: str, effect: object, n: int) -> Estimate:
    """A ratio of durations obtained some way, or the reason why it was not."""
    if isinstance(effect, AcceleratedFit):
        return Estimate(
            name,
            label,
            "ratio",
            effect.ratio,
            effect.low,
            effect.high,
            effect.p_value,
            effect.incidents,
            note=_left_out(effect),
            is_duration_ratio=True,
        )
    if isinstance(effect, RatioEffect | StandardisedRatio):
        return Estimate(name, label, "ratio", effect.ratio, effect.low, effect.high, n=n, is_duration_ratio=True)
    reason = effect.reason if isinstance(effect, NotPossible) else "not defined for these arms"
    return Estimate(name, label, "ratio", note=reason, is_duration_ratio=True)


def _left_out(fit: AcceleratedFit) -> str | None:
    """What the model could not use as it is."""
    said = []
    if fit.left_out:
        said.append(f"without {counted(fit.left_out, 'open incident')} of kinds that never ended")
    if fit.pooled_services:
        said.append(f"{counted(fit.pooled_services, 'small service')} taken as one")
    return "; ".join(said) or None


def _said(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"{estimate.label}: {estimate.note}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.label} {estimate.value:.3g}"
    return f"{estimate.label} {estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def _listed(estimates: Iterable[Estimate]) -> str:
    """What was found; what every small arm skips goes without saying."""
    return "; ".join(_said(each) for each in estimates if each.value is not None or each.note != SKIPPED.reason)


def _primary_effect(settled: Settled, effects: Effects) -> StepResult:
    n, test, ratio = settled.case.count, effects.welch, effects.ratio
    welch = Estimate(
        "ratio",
        "Geometric means (Welch on logs)",
        "ratio",
        ratio.ratio,
        ratio.low,
        ratio.high,
        test.p_value,
        n,
        is_duration_ratio=True,
    )
    others = (
        _ratio("ratio_with_open", "With open incidents", effects.with_open, n),
        _ratio("accelerated_ratio", "With open incidents, within severity and service", effects.accelerated, n),
    )
    finding = _listed((welch, *others))
    return StepResult(3, Status.DONE, f"{finding}.", (welch, *others))


def _business(settled: Settled, effects: Effects) -> StepResult:
    found = effects.downtime
    if not isinstance(found, DowntimeEffect):
        return StepResult(4, status_of(found), f"No downtime per 30 days: {found.reason}.")
    n = settled.case.baseline.lifetimes.count + settled.case.candidate.lifetimes.count
    small = " Below 50 incidents an arm: it hangs on a few long ones." if found.is_small else ""
    ratio = Estimate(
        "downtime_ratio",
        "Downtime per 30 days",
        "ratio",
        found.ratio,
        found.ratio_low,
        found.ratio_high,
        n=n,
        note=found.why_no_interval or small.strip() or None,
    )
    difference, low, high = (
        None if each is None else each / 60 for each in (found.difference, found.difference_low, found.difference_high)
    )
    label = "Downtime per 30 days, difference"
    change = Estimate("downtime_difference", label, "minutes", difference, low, high, n=n, note=ratio.note)
    text = (
        f"Downtime per 30 days, each incident counted up to {spoken(found.tau)}: "
        f"{spoken(found.candidate.seconds_per_30_days)} against {spoken(found.baseline.seconds_per_30_days)}"
        + (f"; {_said(ratio)}." if found.ratio is not None else ".")
    )
    return StepResult(4, Status.DONE, text + small, (ratio, change))


def _frequency(settled: Settled, effects: Effects) -> StepResult:
    rate, bursts, spread = settled.rate, effects.overdispersed, effects.dispersion
    if rate is None:
        return StepResult(5, Status.NOT_POSSIBLE, "An arm has no time of observation, so no frequency.")
    n = settled.case.baseline.arm.count + settled.case.candidate.arm.count
    poisson = Estimate("rate_ratio", "Frequency (Poisson)", "ratio", rate.ratio, rate.low, rate.high, rate.p_value, n)
    estimates, text = [poisson], _said(poisson) if rate.ratio is not None else "The baseline's frequency is zero"
    if isinstance(spread, DispersionTest):
        text += f"; weekly counts vary {spread.ratio:.2g} times as much as independent ones (p {spread.p_value:.2g})"
        estimates.append(
            Estimate("dispersion", "Dispersion of weekly counts", "ratio", spread.ratio, p_value=spread.p_value)
        )
    if isinstance(bursts, QuasiPoissonEffect):
        found = Estimate(
            "overdispersed_rate_ratio",
            "Frequency (quasi-Poisson)",
            "ratio",
            bursts.ratio,
            bursts.low,
            bursts.high,
            bursts.p_value,
            n,
        )
        estimates.append(found)
        text += f"; {_said(found)}"
    return StepResult(5, Status.DONE, f"{text}.", tuple(estimates))


def _survival(settled: Settled, effects: Effects) -> StepResult:
    test, hazard, restricted = effects.log_rank, effects.hazard, effects.restricted
    n = settled.case.baseline.lifetimes.count + settled.case.candidate.lifetimes.count
    estimates, said = [], []
    if isinstance(restricted, RestrictedMeanDifference):
        estimates.append(
            Estimate(
                "restricted_mean_ratio",
                "Restricted means",
                "ratio",
                restricted.ratio,
                restricted.ratio_low,
                restricted.ratio_high,
                restricted.p_value,
                n,
                is_duration_ratio=True,
            )
        )
        said.append(f"{_said(estimates[-1])} up to {spoken(restricted.tau)}")
    if isinstance(test, LogRankTest):
        estimates.append(Estimate("log_rank", "Log-rank chi2", "chi2", test.statistic, p_value=test.p_value, n=n))
        said.append(f"log-rank chi2 {test.statistic:.3f}, p {test.p_value:.2g}")
    if isinstance(hazard, HazardRatio):
        bends = hazard.proportionality_p_value is not None and hazard.proportionality_p_value < settled.case.level
        note = "it changes with time (Grambsch-Therneau): read the restricted means" if bends else None
        estimates.append(
            Estimate(
                "hazard_ratio",
                "Hazard ratio, above 1 ends sooner",
                "hazard ratio",
                hazard.ratio,
                hazard.low,
                hazard.high,
                hazard.p_value,
                n,
                note,
            )
        )
        said.append(_said(estimates[-1]) + (f"; {note}" if note else ""))
    if not said:
        refused = next((each for each in (restricted, test, hazard) if isinstance(each, NotPossible)), None)
        return StepResult(6, status_of(test, hazard, restricted), f"No test of the curves: {_why(refused)}.")
    return StepResult(6, Status.DONE, f"{'; '.join(said)}.", tuple(estimates))


def _why(refused: NotPossible | None) -> str:
    return "nothing was found" if refused is None else refused.reason


def _robustness(settled: Settled, effects: Effects) -> StepResult:
    n, shuffled, ranks = settled.case.count, effects.permutation, effects.ranks
    kind = "all" if shuffled.is_exact else "drawn"
    estimates = [
        Estimate(
            "permutation_p",
            "Permutation within severities",
            "p",
            shuffled.p_value,
            p_value=shuffled.p_value,
            n=n,
            note=f"{shuffled.arrangements:,} arrangements, {kind}; by {shuffled.method.value}",
        ),
        Estimate("cliffs_delta", "Cliff's delta", "delta", ranks.cliffs_delta, p_value=ranks.p_value, n=n),
        _ratio("without_largest", "Without the longest of each arm", effects.without_largest, n),
        _ratio("clustered_ratio", "Days may move together", effects.clustered, n),
        _ratio("intention_to_treat", "As planned, left-out incidents included", effects.intention, n),
    ]
    if isinstance(effects.hedges, StandardisedDifference):
        g = effects.hedges
        estimates.append(Estimate("hedges_g", "Hedges' g on logs", "standard deviations", g.g, g.low, g.high, n=n))
    text = (
        f"Permutation p {shuffled.p_value:.2g} over {shuffled.arrangements:,} arrangements ({kind}); Mann-Whitney p "
        f"{ranks.p_value:.2g}, Cliff's delta {ranks.cliffs_delta:.2f}; "
    )
    return StepResult(7, Status.DONE, text + _listed(estimates[2:]) + ".", tuple(estimates))


def _mix(settled: Settled, effects: Effects) -> StepResult:
    adjusted = _ratio("adjusted_ratio", "Within severities, baseline's mix", effects.adjusted, settled.case.count)
    estimates, said = _splits(settled)
    return StepResult(8, Status.DONE, f"{'; '.join([_said(adjusted), *said])}.", (adjusted, *estimates))


def _splits(settled: Settled) -> tuple[list[Estimate], list[str]]:
    """The part of the ratio that lies within each kind of incident and the part that the changed mix makes."""
    estimates: list[Estimate] = []
    said: list[str] = []
    n = settled.case.count
    for column, split in settled.mixes.items():
        within, mix = math.exp(split.within_log), math.exp(split.mix_log)
        estimates += [
            Estimate(f"within_{column}", f"Within {column}", "ratio", within, n=n, note=split.warning),
            Estimate(f"mix_{column}", f"Mix of {column}", "ratio", mix, n=n, note=split.warning),
        ]
        said.append(
            f"by {column} the ratio {math.exp(split.change_log):.3g} is {mix:.3g} (mix) x {within:.3g} (within), "
            f"{split.overlap:.0%} of the mix in common"
        )
    return estimates, said


def _cause(settled: Settled, effects: Effects) -> StepResult:
    series, placebo, to_mean = effects.cause.series, effects.cause.placebo, effects.cause.to_mean
    estimates, said = [], []
    if isinstance(series, InterruptedSeries):
        estimates.append(
            Estimate(
                "interrupted_series_level",
                "Step at the cut-over",
                "ratio",
                series.level,
                series.level_low,
                series.level_high,
                series.level_p_value,
                settled.case.count,
                is_duration_ratio=True,
            )
        )
        said.append(_said(estimates[-1]))
    else:
        said.append(f"NO_ITS: {series.reason}" if series.code == "NO_ITS" else series.reason)
    if isinstance(placebo, PlaceboTest):
        estimates.append(
            Estimate(
                "placebo_rank",
                "Rank among placebo cut-overs",
                "rank",
                placebo.rank,
                p_value=placebo.p_value,
                n=settled.case.count,
            )
        )
        said.append(
            f"the cut-over ranks {placebo.rank} of {len(placebo.placebos) + 1} among placebo cut-overs, in windows of "
            f"{placebo.window_days:,.0f} days"
        )
    elif placebo.reason != getattr(series, "reason", None):
        said.append(placebo.reason)
    if isinstance(to_mean, RegressionToMean):
        estimates.append(Estimate("regression_to_mean_z", "Last period before the cut-over", "z", to_mean.z))
        said.append(f"the last period before it is {'' if to_mean.is_extreme else 'not '}extreme (z {to_mean.z:.1f})")
    return StepResult(9, status_of(series, placebo, to_mean), f"{'; '.join(said)}.", tuple(estimates))


def _multiplicity(settled: Settled, effects: Effects) -> StepResult:
    found, size = [each for each in effects.slices if each.is_discovery], settled.family_size
    alone = "One primary comparison: nothing to adjust" if size == 1 else f"Holm over {size} primary comparisons"
    text = f"{alone}, p {settled.holm_p:.2g}" if settled.holm_p is not None else alone
    slices = f"{counted(len(effects.slices), 'slice')}, {len(found)} below q = 0.10 (exploratory)"
    estimate = Estimate(
        "holm_p", "p within the family (Holm)", "p", settled.holm_p, p_value=settled.holm_p, n=settled.case.count
    )
    return StepResult(10, Status.DONE, f"{text}; {slices}.", (estimate,))


def _power(settled: Settled, effects: Effects) -> StepResult:
    plan, n = settled.case.plan, settled.case.count
    text = f"A cut of {effects.detectable_cut:.0%} or more had a chance of {plan.power:.0%} to be seen"
    estimates = [Estimate("detectable_cut", "Smallest cut that could be seen", "share", effects.detectable_cut, n=n)]
    if isinstance(effects.risks, ResampledRisks):
        risks = effects.risks
        estimates += [
            Estimate("wrong_sign", f"Mean looks worse though {risks.gain:.0%} better", "share", risks.wrong_sign, n=n),
            Estimate("as_large_by_chance", "Change of the mean this large though nothing changed", "share",
                     risks.as_large_by_chance, n=n),
        ]  # fmt: skip
        text += (
            f"; among {risks.resamples:,} draws from these incidents the mean looks worse in {risks.wrong_sign:.0%} "
            f"though each is {risks.gain:.0%} shorter, and moves as far as observed in {risks.as_large_by_chance:.0%} "
            "though nothing changed"
        )
    return StepResult(11, Status.DONE, f"{text}.", tuple(estimates))
