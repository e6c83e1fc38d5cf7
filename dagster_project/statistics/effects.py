"""Effect sizes and tests of two arrays of durations. Counts are `frequency.py`; what it all means, `verdict.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]


@dataclass(frozen=True)
class WelchTest:
    """Welch's test of candidate minus baseline."""

    difference: float
    low: float
    high: float
    standard_error: float
    statistic: float
    degrees_of_freedom: float
    p_value: float


@dataclass(frozen=True)
class RatioEffect:
    """A ratio candidate / baseline with its interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney's p value and Cliff's delta = P(candidate longer) - P(candidate shorter)."""

    p_value: float
    cliffs_delta: float


def welch(baseline: Floats, candidate: Floats, *, confidence: float = 0.95) -> WelchTest:
    """Welch's unequal-variance t test (Welch 1947) on the values given.

    Raises
    ------
    ValueError
        When an arm has fewer than two values or neither varies.
    """
    if min(baseline.size, candidate.size) < 2 or (np.ptp(baseline) == 0 and np.ptp(candidate) == 0):
        raise ValueError("Welch's test needs two values an arm and some variation")
    result = stats.ttest_ind(candidate, baseline, equal_var=False)
    interval = result.confidence_interval(confidence)
    error = math.sqrt(baseline.var(ddof=1) / baseline.size + candidate.var(ddof=1) / candidate.size)
    return WelchTest(
        difference=float(candidate.mean() - baseline.mean()),
        low=float(interval.low),
        high=float(interval.high),
        standard_error=error,
        statistic=float(result.statistic),
        degrees_of_freedom=float(result.df),
        p_value=float(result.pvalue),
    )


def ratio_of(test: WelchTest) -> RatioEffect:
    """The ratio of geometric means behind a Welch test on logs."""
    return RatioEffect(math.exp(test.difference), math.exp(test.low), math.exp(test.high))


def mann_whitney(baseline: Floats, candidate: Floats) -> RankTest:
    """Mann-Whitney U with Cliff's delta (Cliff 1993); asks whether one arm tends to be longer, not by how much."""
    result = stats.mannwhitneyu(candidate, baseline, alternative="two-sided")
    delta = 2 * float(result.statistic) / (baseline.size * candidate.size) - 1
    return RankTest(min(float(result.pvalue), 1.0), delta)


def clustered_log_difference(
    baseline: Floats,
    candidate: Floats,
    baseline_days: npt.NDArray[np.datetime64],
    candidate_days: npt.NDArray[np.datetime64],
    *,
    confidence: float = 0.95,
) -> tuple[float, float, float] | None:
    """Difference of mean logs whose interval lets incidents of one day move together.

    One outage opens many tickets that last alike; taken as independent they promise more than they know. The variance
    is the cluster-robust one (Liang and Zeger 1986) with the factor G / (G - 1) an arm.

    Parameters
    ----------
    baseline_days, candidate_days
        Day on which each incident started.

    Returns
    -------
    (difference, low, high) or None
        None when an arm has fewer than 5 days, too few to learn how much days differ.
    """
    variance, clusters = 0.0, 0
    for values, days in ((baseline, baseline_days), (candidate, candidate_days)):
        names, places = np.unique(days, return_inverse=True)
        if names.size < 5:
            return None
        sums = np.bincount(places, weights=values - values.mean())
        variance += float((sums**2).sum()) / values.size**2 * names.size / (names.size - 1)
        clusters += names.size
    difference = float(candidate.mean() - baseline.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, clusters - 2)) * math.sqrt(variance)
    return difference, difference - half, difference + half
