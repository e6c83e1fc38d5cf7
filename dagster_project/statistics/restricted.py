"""What stands for and against a difference of restricted means, in their own measure: durations cut off at tau.

The restricted means themselves are `survival.py`; the same questions of geometric means are asked in `evidence.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dagster_project.statistics.durations import FEW
from dagster_project.statistics.effects import RatioEffect, clustered_log_difference, ratio_of, welch
from dagster_project.statistics.mix import StandardisedRatio, standardised_ratio
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.permutation import PermutationTest, permutation_test
from dagster_project.statistics.plan import Side, SliceColumn
from dagster_project.statistics.robustness import without_largest
from dagster_project.statistics.samples import Case, Sample

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RestrictedChecks:
    """Differences of durations cut off at tau, as exp(difference / mean): near the ratio, and on its side of 1.

    Open incidents younger than tau are taken as whatever speaks against the difference that was found: as ending now
    in one arm, as lasting to tau in the other. `scores` are those durations over their mean, `started_at` their starts.
    """

    difference: RatioEffect | NotPossible
    permutation: PermutationTest
    by_severity: StandardisedRatio | NotPossible
    by_service: StandardisedRatio | NotPossible
    without_largest: RatioEffect | NotPossible
    clustered: RatioEffect | None
    within_baseline: RatioEffect | None
    scores: tuple[Floats, Floats]
    started_at: tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64]]


def restricted_checks(case: Case, *, is_shorter: bool) -> RestrictedChecks:
    """Every question that is asked of geometric means, asked of restricted means.

    Parameters
    ----------
    is_shorter
        Whether the candidate's restricted mean is the smaller one.
    """
    samples = (case.baseline, case.candidate)
    cut = tuple(
        _cut_off(sample, case.tau_seconds, is_longest=(sample is case.candidate) is is_shorter) for sample in samples
    )
    mean = float(np.concatenate(cut).mean())
    first, second = (each / mean for each in cut)
    starts = (case.baseline.lifetimes_started_at, case.candidate.lifetimes_started_at)
    days = [each.astype("datetime64[D]") for each in starts]
    strata, confidence = case.severity_strata(), case.confidence
    clustered = clustered_log_difference(first, second, days[0], days[1], confidence=confidence)
    return RestrictedChecks(
        difference=_difference(first, second, confidence),
        permutation=permutation_test(
            first, second, strata.baseline, strata.candidate, resamples=case.plan.permutations, seed=case.plan.seed
        ),
        by_severity=_within(case, SliceColumn.SEVERITY, first, second),
        by_service=_within(case, SliceColumn.SERVICE, first, second),
        without_largest=without_largest(first, second, confidence=confidence),
        clustered=None if clustered is None else RatioEffect(*(math.exp(value) for value in clustered)),
        within_baseline=halves(first, starts[0], confidence) if case.plan.baseline.side is Side.BEFORE else None,
        scores=(first, second),
        started_at=starts,
    )


def halves(values: Floats, started_at: npt.NDArray[np.datetime64], confidence: float) -> RatioEffect | None:
    """The later half of an arm over its earlier half; None when a half is below 5 or does not vary."""
    ordered = values[np.argsort(started_at, kind="stable")]
    earlier, later = ordered[: ordered.size // 2], ordered[ordered.size // 2 :]
    if earlier.size < FEW or np.ptp(earlier) == 0 or np.ptp(later) == 0:
        return None
    return ratio_of(welch(earlier, later, confidence=confidence))


def _cut_off(sample: Sample, tau: float, *, is_longest: bool) -> Floats:
    """Durations up to tau; of an open incident tau, or its age where the shortest is asked and it is younger."""
    times = np.minimum(sample.lifetimes.times, tau)
    return np.where(sample.lifetimes.is_ended, times, tau) if is_longest else times


def _difference(first: Floats, second: Floats, confidence: float) -> RatioEffect | NotPossible:
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return NotPossible("all_equal", "neither arm varies below the horizon")
    return ratio_of(welch(first, second, confidence=confidence))


def _within(case: Case, column: SliceColumn, first: Floats, second: Floats) -> StandardisedRatio | NotPossible:
    if not case.varies_in(column):
        return NotPossible(
            "one_kind", f"the incidents are of one {column.value}, or the plan tells the arms apart by it"
        )
    return standardised_ratio(first, second, case.lifetime_strata(column), confidence=case.confidence)
