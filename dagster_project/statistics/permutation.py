"""The permutation test of two arms within strata: exact where arrangements are few, drawn where many.

Large strata are drawn by counts of values instead of by values, which a million incidents make necessary.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from dagster_project.statistics.strata import encode, one_stratum

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]

EXACT_LIMIT = 200_000
"""Arrangements that are enumerated rather than drawn: 20 incidents in two halves have 184,756."""
BATCH_VALUES = 2_000_000
"""Values shuffled at once, 16 MB."""
SHUFFLED_AT_MOST = 5_000
"""Incidents of a stratum that are shuffled one by one: 9,999 times take a second."""
BINS = 256
"""Groups of neighbouring values in which larger strata are counted."""
ALONE = 32
"""Values at each end that stay bins of their own: the long tail is where an arrangement makes a difference."""


class Arrangements(StrEnum):
    """How the arrangements were made."""

    ALL = "all"
    DRAWN = "drawn"
    BINNED = "binned"


@dataclass(frozen=True)
class PermutationTest:
    """p value over all arrangements (`is_exact`) or over `arrangements` drawn ones.

    `method` is `binned` where a stratum was too large to be shuffled: how many incidents of each of 256 bins go
    to which arm is drawn exactly, what they add within their bin from the normal limit.
    """

    p_value: float
    arrangements: int
    is_exact: bool
    method: Arrangements = Arrangements.DRAWN


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
    if baseline_strata is None or candidate_strata is None:
        strata = one_stratum(baseline.size, candidate.size)
    else:
        strata = encode(baseline_strata, candidate_strata)
    pooled = np.concatenate([baseline, candidate])
    pooled = pooled - pooled.mean()  # keeps the sums of squares well conditioned
    codes = strata.pooled
    sizes, moving = strata.baseline_counts + strata.candidate_counts, strata.candidate_counts
    moments = (pooled.size, candidate.size, float(pooled.sum()), float((pooled**2).sum()))
    second = pooled[baseline.size :]
    smallest = 1e-12 * max(float(np.abs(pooled).max()), 1.0)
    observed = _welch_t(second.sum()[None], (second**2).sum()[None], moments, smallest)
    threshold = abs(observed[0]) * (1 - 1e-9)  # ties of the observed arrangement must count in spite of rounding
    if sizes.size == 1 and math.comb(pooled.size, candidate.size) <= EXACT_LIMIT:
        sums, squares = _every_arrangement(pooled, candidate.size)
        extreme = np.abs(_welch_t(sums, squares, moments, smallest)) >= threshold
        return PermutationTest(float(extreme.mean()), int(extreme.size), is_exact=True, method=Arrangements.ALL)
    generator = np.random.default_rng(seed)
    sums, squares = np.zeros(resamples), np.zeros(resamples)
    for code, (size, m) in enumerate(zip(sizes, moving, strict=True)):
        draw = _shuffled if size <= SHUFFLED_AT_MOST else _counted
        drawn = draw(pooled[codes == code], int(m), resamples, generator)
        sums, squares = sums + drawn[0], squares + drawn[1]
    extreme = np.abs(_welch_t(sums, squares, moments, smallest)) >= threshold
    method = Arrangements.BINNED if sizes.max() > SHUFFLED_AT_MOST else Arrangements.DRAWN
    return PermutationTest(float((1 + extreme.sum()) / (1 + resamples)), resamples, is_exact=False, method=method)


def _welch_t(sums: Floats, squares: Floats, moments: tuple[int, int, float, float], smallest: float) -> Floats:
    """Welch's t of arrangements given by the candidate's sum and sum of squares; 0/0 counts as no difference.

    `moments` are the counts of both arms together and of the candidate, the sum and the sum of squares of all values.
    """
    total, m, whole, whole_squares = moments
    n = total - m
    rest, rest_squares = whole - sums, whole_squares - squares
    variance = np.maximum(squares - sums**2 / m, 0) / (m - 1) / m
    variance = variance + np.maximum(rest_squares - rest**2 / n, 0) / (n - 1) / n
    difference = sums / m - rest / n
    still = np.abs(difference) <= smallest
    return np.where(still, 0.0, difference / np.maximum(np.sqrt(variance), smallest))


def _every_arrangement(pooled: Floats, m: int) -> tuple[Floats, Floats]:
    """The candidate's sum and sum of squares in every choice of `m` values."""
    picks = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(pooled.size), m)), dtype=np.int64)
    chosen = pooled[picks.reshape(-1, m)]
    return chosen.sum(axis=1), (chosen**2).sum(axis=1)


def _shuffled(values: Floats, m: int, resamples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """The same for `resamples` random choices, in batches that bound the memory."""
    sums, squares = np.empty(resamples), np.empty(resamples)
    batch = max(1, BATCH_VALUES // max(values.size, 1))
    for start in range(0, resamples, batch):
        stop = min(start + batch, resamples)
        shuffled = generator.permuted(np.broadcast_to(values, (stop - start, values.size)), axis=1)[:, :m]
        sums[start:stop], squares[start:stop] = shuffled.sum(axis=1), (shuffled**2).sum(axis=1)
    return sums, squares


def _counted(values: Floats, m: int, resamples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """The same by bins: how many of each bin are chosen is multivariate hypergeometric, as in a shuffle.

    Given that count c of the N in a bin, the sum and the sum of squares have mean c times the bin's and covariance
    c (N - c) / (N - 1) times the bin's, and are taken as normal. Where equal values fill the bins nothing is left to
    that approximation.
    """
    first, second, deviation, counts = _bins(values)
    drawn = generator.multivariate_hypergeometric(counts, m, size=resamples, method="marginals").astype(np.float64)
    sums, squares = drawn @ first, drawn @ second
    spread = drawn * (counts - drawn) / np.maximum(counts - 1, 1)
    variances = np.einsum("rb,bij->rij", spread, deviation)
    root = np.sqrt(variances[:, 0, 0])
    slope = np.divide(variances[:, 0, 1], root, out=np.zeros(resamples), where=root > 0)
    rest = np.sqrt(np.maximum(variances[:, 1, 1] - slope**2, 0))
    noise = generator.standard_normal((2, resamples))
    return sums + root * noise[0], squares + slope * noise[0] + rest * noise[1]


def _bins(values: Floats) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """Mean value, mean square, (2, 2) covariance of both, and count of each bin of neighbouring values."""
    ordered = np.sort(values)
    distinct = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if distinct.size <= BINS:
        starts = distinct
    else:
        inner = np.linspace(ALONE, ordered.size - ALONE, BINS - 2 * ALONE, dtype=np.int64)
        starts = np.unique(np.concatenate([np.arange(ALONE), inner, np.arange(ordered.size - ALONE, ordered.size)]))
    counts = np.diff(np.append(starts, ordered.size))
    first = np.add.reduceat(ordered, starts) / counts
    second = np.add.reduceat(ordered**2, starts) / counts
    away = ordered - np.repeat(first, counts)
    away_squares = ordered**2 - np.repeat(second, counts)
    deviation = np.empty((counts.size, 2, 2))
    deviation[:, 0, 0] = np.add.reduceat(away**2, starts) / counts
    deviation[:, 0, 1] = deviation[:, 1, 0] = np.add.reduceat(away * away_squares, starts) / counts
    deviation[:, 1, 1] = np.add.reduceat(away_squares**2, starts) / counts
    return first, second, deviation, counts
