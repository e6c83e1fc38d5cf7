"""Everything that is computed of two comparable arms, step by step; what it means together is `verdict.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dagster_project.statistics.accelerated import AcceleratedFit, accelerated_failure_time
from dagster_project.statistics.downtime import DowntimeEffect, downtime_effect
from dagster_project.statistics.durations import Tier
from dagster_project.statistics.effects import (
    RankTest,
    RatioEffect,
    WelchTest,
    clustered_log_difference,
    mann_whitney,
    ratio_of,
    welch,
)
from dagster_project.statistics.frequency import (
    DispersionTest,
    QuasiPoissonEffect,
    RateEffect,
    dispersion_test,
    quasi_poisson_ratio,
    weekly_counts,
)
from dagster_project.statistics.gates import mix_overlap
from dagster_project.statistics.hazards import HazardRatio, LogRankTest, hazard_ratio, log_rank
from dagster_project.statistics.interruption import (
    InterruptedSeries,
    PlaceboTest,
    RegressionToMean,
    interrupted_series,
    period_means,
    placebo_test,
    regression_to_mean,
)
from dagster_project.statistics.mix import MixSplit, StandardisedRatio, split_by_mix, standardised_ratio
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.permutation import PermutationTest, permutation_test
from dagster_project.statistics.plan import Estimand, Side, SliceColumn
from dagster_project.statistics.power import ResampledRisks, minimal_detectable_log_ratio, resampled_risks
from dagster_project.statistics.restricted import RestrictedChecks, halves, restricted_checks
from dagster_project.statistics.robustness import (
    StandardisedDifference,
    hedges_g,
    intention_to_treat,
    without_largest,
)
from dagster_project.statistics.samples import Case
from dagster_project.statistics.slices import Slice, exploratory
from dagster_project.statistics.survival import RestrictedMeanDifference, restricted_mean_difference

SKIPPED = NotPossible("skipped_by_tier", "an arm has fewer than 20 incidents")
NO_OBSERVATION = NotPossible("no_observation", "an arm has no time of observation")


@dataclass(frozen=True)
class Primary:
    """The ratio that the verdict stands on, candidate over baseline, and its two-sided p value."""

    ratio: float
    low: float
    high: float
    p_value: float
    method: str


@dataclass(frozen=True)
class Cause:
    """What step 9 found about the cut-over."""

    series: InterruptedSeries | NotPossible
    placebo: PlaceboTest | NotPossible
    to_mean: RegressionToMean | NotPossible


@dataclass(frozen=True)
class Effects:
    """Everything computed once the gates are passed. Ratios are candidate over baseline.

    `with_open` counts open incidents, `accelerated` does so within severity and service. `within_baseline` is the
    second half of the baseline over its first, where the plan has a cut-over: what a cut-over at which nothing
    happened would have shown. `kind_overlap` is the share of the mix that the arms have in common, by service, team and
    category, without those that the plan itself told apart. `checks` are made where the restricted mean decides, whose
    `cause` is found in its own measure.
    """

    welch: WelchTest
    ratio: RatioEffect
    with_open: AcceleratedFit | NotPossible
    accelerated: AcceleratedFit | NotPossible
    downtime: DowntimeEffect | NotPossible
    dispersion: DispersionTest | NotPossible
    overdispersed: QuasiPoissonEffect | NotPossible
    log_rank: LogRankTest | NotPossible
    hazard: HazardRatio | NotPossible
    restricted: RestrictedMeanDifference | NotPossible
    checks: RestrictedChecks | None
    permutation: PermutationTest
    ranks: RankTest
    hedges: StandardisedDifference | NotPossible
    without_largest: RatioEffect | NotPossible
    intention: AcceleratedFit | NotPossible
    clustered: RatioEffect | None
    within_baseline: RatioEffect | None
    adjusted: StandardisedRatio | NotPossible
    mixes: dict[SliceColumn, MixSplit]
    cause: Cause
    slices: tuple[Slice, ...]
    detectable_cut: float
    risks: ResampledRisks | NotPossible
    mix_overlap: float
    kind_overlap: dict[SliceColumn, float]


def effects_of(case: Case) -> Effects:
    """Steps 3 to 11 of two comparable arms; what needs 20 incidents an arm is skipped below."""
    plan, (first, second) = case.plan, (case.baseline, case.candidate)
    is_full = case.tier is Tier.FULL
    test = welch(first.logs, second.logs, confidence=case.confidence)
    severities = case.strata(SliceColumn.SEVERITY)
    spread = dispersion_test(*_weekly(case)) if is_full else SKIPPED
    restricted = _restricted(case) if is_full else SKIPPED
    checks = _checks(case, restricted)
    clustered = clustered_log_difference(first.logs, second.logs, first.days, second.days, confidence=case.confidence)
    detectable = minimal_detectable_log_ratio(
        first.count, second.count, test.standard_error, alpha=case.level, power=plan.power
    )
    return Effects(
        welch=test,
        ratio=ratio_of(test),
        with_open=accelerated_failure_time(first.lifetimes, second.lifetimes, confidence=case.confidence),
        accelerated=_accelerated(case) if is_full else SKIPPED,
        downtime=_downtime(case) if is_full else SKIPPED,
        dispersion=spread,
        overdispersed=_overdispersed(case, spread),
        log_rank=log_rank(first.lifetimes, second.lifetimes, case.severity_strata()) if is_full else SKIPPED,
        hazard=hazard_ratio(first.lifetimes, second.lifetimes, case.severity_strata(), confidence=case.confidence)
        if is_full
        else SKIPPED,
        restricted=restricted,
        checks=checks,
        permutation=permutation_test(
            first.logs,
            second.logs,
            severities.baseline,
            severities.candidate,
            resamples=plan.permutations,
            seed=plan.seed,
        ),
        ranks=mann_whitney(first.logs, second.logs),
        hedges=hedges_g(first.logs, second.logs, confidence=case.confidence) if is_full else SKIPPED,
        without_largest=without_largest(first.logs, second.logs, confidence=case.confidence) if is_full else SKIPPED,
        intention=intention_to_treat(first.planned_lifetimes, second.planned_lifetimes, confidence=case.confidence)
        if is_full
        else SKIPPED,
        clustered=None if clustered is None else RatioEffect(*(float(np.exp(value)) for value in clustered)),
        within_baseline=halves(first.logs, first.started_at, case.confidence)
        if plan.baseline.side is Side.BEFORE
        else None,
        adjusted=standardised_ratio(first.logs, second.logs, severities, confidence=case.confidence),
        mixes=mixes_of(case),
        cause=_cause(case, checks) if is_full else Cause(SKIPPED, SKIPPED, SKIPPED),
        slices=exploratory(case) if is_full else (),
        detectable_cut=float(1 - np.exp(-detectable)),
        risks=_risks(case) if is_full else SKIPPED,
        mix_overlap=mix_overlap(first.arm.severities, second.arm.severities),
        kind_overlap=_kind_overlap(case),
    )


def primary_effect(case: Case, effects: Effects, rate: RateEffect | None) -> Primary | NotPossible:
    """The number of the plan's estimand; of frequencies the interval that allows for bursts, where it can be had."""
    if case.plan.estimand is Estimand.GEOMETRIC_MEAN_RATIO:
        ratio = effects.ratio
        return Primary(ratio.ratio, ratio.low, ratio.high, effects.welch.p_value, "Welch on logs")
    if case.plan.estimand is Estimand.RESTRICTED_MEAN:
        found = effects.restricted
        if isinstance(found, NotPossible):
            return found
        return Primary(found.ratio, found.ratio_low, found.ratio_high, found.p_value, "restricted means")
    bursts = effects.overdispersed
    if isinstance(bursts, QuasiPoissonEffect):
        return Primary(bursts.ratio, bursts.low, bursts.high, bursts.p_value, "quasi-Poisson")
    if rate is None or rate.ratio is None or rate.low is None or rate.high is None:
        return NotPossible("no_rate", "the arms' times of observation give no ratio of frequencies")
    return Primary(rate.ratio, rate.low, rate.high, rate.p_value, "exact Poisson")


def _accelerated(case: Case) -> AcceleratedFit | NotPossible:
    severities, services = (
        None if case.differs_by(column) else case.lifetime_strata(column)
        for column in (SliceColumn.SEVERITY, SliceColumn.SERVICE)
    )
    return accelerated_failure_time(
        case.baseline.lifetimes, case.candidate.lifetimes, severities, services, confidence=case.confidence
    )


def _downtime(case: Case) -> DowntimeEffect | NotPossible:
    baseline, candidate = case.baseline, case.candidate
    if min(baseline.arm.days, candidate.arm.days) <= 0:
        return NO_OBSERVATION
    return downtime_effect(
        baseline.lifetimes,
        candidate.lifetimes,
        case.lifetime_strata(SliceColumn.SERVICE),
        baseline.arm.days,
        candidate.arm.days,
        case.tau_seconds,
        resamples=case.plan.permutations,
        seed=case.plan.seed,
        confidence=case.confidence,
    )


def _restricted(case: Case) -> RestrictedMeanDifference | NotPossible:
    found = restricted_mean_difference(
        case.baseline.lifetimes, case.candidate.lifetimes, case.tau_seconds, confidence=case.confidence
    )
    return found or NotPossible(
        "unknown_before_tau",
        f"an arm's curve is not known up to {case.plan.tau_minutes / 60:,.0f} h, or neither arm varies below it",
    )


def _weekly(case: Case) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    arms = (case.baseline.arm, case.candidate.arm)
    return tuple(
        weekly_counts(arm.started_at, arm.observed_from, None if arm.observed_from is None else arm.days)
        for arm in arms
    )


def _overdispersed(case: Case, spread: DispersionTest | NotPossible) -> QuasiPoissonEffect | NotPossible:
    first, second = case.baseline.arm, case.candidate.arm
    if isinstance(spread, NotPossible):
        return spread
    if min(first.days, second.days) <= 0:
        return NO_OBSERVATION
    counts = (first.count, first.days), (second.count, second.days)
    return quasi_poisson_ratio(*counts, spread, confidence=case.confidence)


def _checks(case: Case, restricted: RestrictedMeanDifference | NotPossible) -> RestrictedChecks | None:
    if case.plan.estimand is not Estimand.RESTRICTED_MEAN or isinstance(restricted, NotPossible):
        return None
    return restricted_checks(case, is_shorter=restricted.difference < 0)


def mixes_of(case: Case) -> dict[SliceColumn, MixSplit]:
    """The split by severity always, by other columns where they tell incidents apart and the plan's arms not.

    It describes and tests nothing, so arms that may not be compared have it, too: it says what they differ by.
    """
    columns = [each for each in SliceColumn if each is SliceColumn.SEVERITY or case.varies_in(each)]
    found = {
        each: split_by_mix(case.baseline.durations, case.candidate.durations, case.strata(each)) for each in columns
    }
    return {name: each for name, each in found.items() if each is not None}


def _kind_overlap(case: Case) -> dict[SliceColumn, float]:
    return {
        column: mix_overlap(case.baseline.labels(column), case.candidate.labels(column))
        for column in (SliceColumn.SERVICE, SliceColumn.TEAM, SliceColumn.CATEGORY)
        if not case.differs_by(column)
    }


def _cause(case: Case, checks: RestrictedChecks | None) -> Cause:
    plan, (first, second) = case.plan, (case.baseline, case.candidate)
    if plan.cut_over_at is None or (plan.baseline.side, plan.candidate.side) != (Side.BEFORE, Side.AFTER):
        none = NotPossible(
            "no_cut_over", "the arms differ by something else than time, so there is no cut-over to test"
        )
        return Cause(none, none, none)
    logs = np.concatenate([first.logs, second.logs] if checks is None else checks.scores)
    started_at = np.concatenate([first.started_at, second.started_at] if checks is None else checks.started_at)
    cut_over = np.datetime64(plan.cut_over_at, "us")
    begin, after = first.arm.observed_from, second.arm.observed_from
    end = None if after is None else after + np.timedelta64(round(second.arm.days * 86_400e6), "us")
    series = period_means(logs, started_at, cut_over, plan.period_days, starts_at=begin, ends_at=end)
    return Cause(
        interrupted_series(series, confidence=case.confidence),
        placebo_test(logs, started_at, cut_over),
        regression_to_mean(series),
    )


def _risks(case: Case) -> ResampledRisks:
    first, second = case.baseline.durations, case.candidate.durations
    return resampled_risks(
        first,
        first.size,
        second.size,
        float(first.mean() - second.mean()),
        gain=case.plan.smallest_effect,
        resamples=case.plan.permutations,
        seed=case.plan.seed,
    )
