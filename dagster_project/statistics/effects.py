"""Effect sizes and tests of two arrays of durations or two counts. What they mean together is `significance.py`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]

EXACT_LIMIT = 200_000
"""Arrangements that are enumerated rather than drawn: 20 incidents in two halves have 184,756."""
BATCH_VALUES = 2_000_000
"""Values shuffled at once, 16 MB."""


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
class PermutationTest:
    """p value over all arrangements (`is_exact`) or over `arrangements` drawn ones."""

    p_value: float
    arrangements: int
    is_exact: bool


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney's p value and Cliff's delta = P(candidate longer) - P(candidate shorter)."""

    p_value: float
    cliffs_delta: float


@dataclass(frozen=True)
class RateEffect:
    """Incidents per 30 days of each arm and their ratio; None where a count of zero leaves it undefined."""

    baseline_per_30_days: float
    candidate_per_30_days: float
    ratio: float | None
    low: float | None
    high: float | None
    p_value: float


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


def adjusted_log_difference(
    baseline: Floats, candidate: Floats, baseline_strata: Labels, candidate_strata: Labels, *, confidence: float = 0.95
) -> tuple[float, float, float] | None:
    """Difference of mean logs within strata, weighted by the baseline's mix (direct standardisation).

    Returns
    -------
    (difference, low, high) or None
        None when a stratum of the baseline has fewer than two incidents in either arm: there is no overlap to
        adjust within. The interval is normal, on the sum of the strata's variances.
    """
    names, counts = np.unique(baseline_strata, return_counts=True)
    difference = variance = 0.0
    for name, count in zip(names, counts, strict=True):
        first, second = baseline[baseline_strata == name], candidate[candidate_strata == name]
        if min(first.size, second.size) < 2:
            return None
        weight = count / baseline.size
        difference += weight * float(second.mean() - first.mean())
        variance += weight**2 * float(first.var(ddof=1) / first.size + second.var(ddof=1) / second.size)
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
    return difference, difference - half, difference + half


def permutation_test(
    baseline: Floats,
    candidate: Floats,
    baseline_strata: Labels | None = None,
    candidate_strata: Labels | None = None,
    *,
    resamples: int = 9_999,
    seed: int = 0,
) -> PermutationTest:
    """Two-sided permutation test of Welch's t, exact when the arrangements are few.

    Labels are exchanged within strata. The statistic is studentised, so that arms of unequal spread and size keep
    the level when only their means agree (Janssen 1997; Chung and Romano 2013). Drawn p values count the observed
    arrangement (Phipson and Smyth 2010), hence are never zero.

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Logs of durations.
    baseline_strata, candidate_strata
        Stratum of each value, e.g. its severity; all one stratum when left out.
    """
    one = np.zeros(1, dtype=np.str_)
    strata = np.concatenate(
        [
            np.broadcast_to(one, baseline.shape) if baseline_strata is None else baseline_strata,
            np.broadcast_to(one, candidate.shape) if candidate_strata is None else candidate_strata,
        ]
    )
    pooled = np.concatenate([baseline, candidate])
    pooled = pooled - pooled.mean()  # keeps the sums of squares well conditioned
    is_candidate = np.arange(pooled.size) >= baseline.size
    names = np.unique(strata)
    possible = math.prod(
        math.comb(int((strata == name).sum()), int((is_candidate & (strata == name)).sum())) for name in names
    )
    observed = _welch_t(pooled[is_candidate].sum()[None], (pooled[is_candidate] ** 2).sum()[None], pooled, is_candidate)
    threshold = abs(observed[0]) * (1 - 1e-9)  # ties of the observed arrangement must count in spite of rounding
    if possible <= EXACT_LIMIT and names.size == 1:
        sums, squares = _every_arrangement(pooled, int(is_candidate.sum()))
        extreme = np.abs(_welch_t(sums, squares, pooled, is_candidate)) >= threshold
        return PermutationTest(float(extreme.mean()), int(extreme.size), is_exact=True)
    generator = np.random.default_rng(seed)
    sums, squares = np.zeros(resamples), np.zeros(resamples)
    for name in names:
        chosen = strata == name
        drawn = _drawn_arrangements(pooled[chosen], int((is_candidate & chosen).sum()), resamples, generator)
        sums, squares = sums + drawn[0], squares + drawn[1]
    extreme = np.abs(_welch_t(sums, squares, pooled, is_candidate)) >= threshold
    return PermutationTest(float((1 + extreme.sum()) / (1 + resamples)), resamples, is_exact=False)


def mann_whitney(baseline: Floats, candidate: Floats) -> RankTest:
    """Mann-Whitney U with Cliff's delta (Cliff 1993); asks whether one arm tends to be longer, not by how much."""
    result = stats.mannwhitneyu(candidate, baseline, alternative="two-sided")
    delta = 2 * float(result.statistic) / (baseline.size * candidate.size) - 1
    return RankTest(min(float(result.pvalue), 1.0), delta)


def rate_ratio(
    baseline_count: int, baseline_days: float, candidate_count: int, candidate_days: float, *, confidence: float = 0.95
) -> RateEffect:
    """Ratio of two Poisson rates with the exact conditional interval (Przyborowski and Wilenski 1940).

    Given the sum of both counts, the candidate's is binomial; Clopper-Pearson's limits of its share become limits
    of the ratio.

    Raises
    ------
    ValueError
        When a time of observation is not positive.
    """
    if baseline_days <= 0 or candidate_days <= 0:
        raise ValueError("a rate needs a positive time of observation")
    baseline_rate, candidate_rate = baseline_count / baseline_days, candidate_count / candidate_days
    total = baseline_count + candidate_count
    if total == 0:
        return RateEffect(0.0, 0.0, None, None, None, 1.0)
    even = candidate_days / (baseline_days + candidate_days)
    result = stats.binomtest(candidate_count, total, even)
    share = result.proportion_ci(confidence, method="exact")
    exposure = baseline_days / candidate_days
    return RateEffect(
        baseline_per_30_days=30 * baseline_rate,
        candidate_per_30_days=30 * candidate_rate,
        ratio=candidate_rate / baseline_rate if baseline_count else None,
        low=float(share.low / (1 - share.low)) * exposure,
        high=float(share.high / (1 - share.high)) * exposure if baseline_count else None,
        p_value=min(float(result.pvalue), 1.0),
    )


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


def dispersion(started_at: npt.NDArray[np.datetime64]) -> float | None:
    """Variance over mean of incidents a week: about 1 for independent incidents, more when they come in bursts.

    Weeks, because fewer incidents on every weekend are a rhythm and not a burst. None with fewer than 4 full weeks.
    """
    if started_at.size == 0:
        return None
    weeks = (started_at - started_at.min()) / np.timedelta64(7, "D")
    full = math.floor(float(weeks.max()))
    if full < 4:
        return None
    counts = np.bincount(weeks.astype(np.int64))[:full]
    return float(counts.var(ddof=1) / counts.mean())


def _welch_t(sums: Floats, squares: Floats, pooled: Floats, is_candidate: npt.NDArray[np.bool_]) -> Floats:
    """Welch's t of arrangements given by the candidate's sum and sum of squares; 0/0 counts as no difference."""
    m = int(is_candidate.sum())
    n = pooled.size - m
    rest, rest_squares = pooled.sum() - sums, (pooled**2).sum() - squares
    variance = np.maximum(squares - sums**2 / m, 0) / (m - 1) / m
    variance = variance + np.maximum(rest_squares - rest**2 / n, 0) / (n - 1) / n
    difference = sums / m - rest / n
    scale = np.sqrt(variance)
    smallest = 1e-12 * max(float(np.abs(pooled).max()), 1.0)
    still = np.abs(difference) <= smallest
    return np.where(still, 0.0, difference / np.maximum(scale, smallest))


def _every_arrangement(pooled: Floats, m: int) -> tuple[Floats, Floats]:
    """The candidate's sum and sum of squares in every choice of `m` values."""
    picks = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(pooled.size), m)), dtype=np.int64)
    chosen = pooled[picks.reshape(-1, m)]
    return chosen.sum(axis=1), (chosen**2).sum(axis=1)


def _drawn_arrangements(
    values: Floats, m: int, resamples: int, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """The same for `resamples` random choices, in batches that bound the memory."""
    sums, squares = np.empty(resamples), np.empty(resamples)
    batch = max(1, BATCH_VALUES // max(values.size, 1))
    for start in range(0, resamples, batch):
        stop = min(start + batch, resamples)
        shuffled = generator.permuted(np.broadcast_to(values, (stop - start, values.size)), axis=1)[:, :m]
        sums[start:stop], squares[start:stop] = shuffled.sum(axis=1), (shuffled**2).sum(axis=1)
    return sums, squares
