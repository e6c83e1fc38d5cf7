"""How large a change would have to be to be seen, and how often incidents like these mislead when there is none.

Statsmodels solves the t test's power equation; the rest is drawn from the user's own incidents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from statsmodels.stats.power import TTestIndPower

Floats = npt.NDArray[np.float64]

DRAWN_AT_MOST = 5_000
"""Incidents of an arm that are drawn one by one: 9,999 times take half a second."""
BINS = 256
"""Groups of neighbouring durations by which larger arms are drawn."""
ALONE = 128
"""Longest durations that stay bins of their own: a mean hangs on them."""
BATCH_VALUES = 4_000_000
"""Durations drawn at once, 32 MB."""


@dataclass(frozen=True)
class ResampledRisks:
    """How often arms of these sizes, drawn from the same incidents, mislead.

    Attributes
    ----------
    wrong_sign
        Share of draws in which the candidate's mean looks worse although every one of its incidents is `gain` shorter.
    as_large_by_chance
        Share of draws in which the candidate looks at least `observed` better or worse although nothing changed, on
        the side that was observed.
    observed
        Baseline's mean minus the candidate's, in the unit of the durations; positive is a gain.
    """

    gain: float
    wrong_sign: float
    as_large_by_chance: float
    observed: float
    baseline_drawn: int
    candidate_drawn: int
    resamples: int


def minimal_detectable_log_ratio(
    n_baseline: int, n_candidate: int, standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest |log ratio of geometric means| that Welch's test on logs sees with the given power.

    Parameters
    ----------
    n_baseline, n_candidate
        Measured incidents of each arm, at least 2.
    standard_error
        Of the difference of mean logs; it carries the arms' unequal spreads.

    Returns
    -------
    float
        In log units: 1 - exp(-value) is the smallest visible cut, exp(value) - 1 the smallest visible rise.
    """
    effect = TTestIndPower().solve_power(
        nobs1=n_baseline, ratio=n_candidate / n_baseline, alpha=alpha, power=power, effect_size=None
    )
    spread = standard_error / math.sqrt(1 / n_baseline + 1 / n_candidate)
    return float(effect) * spread


def resampled_risks(
    durations: Floats,
    baseline_drawn: int,
    candidate_drawn: int,
    observed: float,
    *,
    gain: float = 0.1,
    resamples: int = 9_999,
    seed: int = 0,
) -> ResampledRisks:
    """Davidovic's simulation (Incident Metrics in SRE, 2021) on the user's own incidents.

    Both arms are drawn with replacement from the same durations, so that what they differ by is chance.

    Parameters
    ----------
    durations : (n,) array
        Positive; those of the baseline, or of both arms together.
    baseline_drawn, candidate_drawn
        Sizes of the arms.
    observed
        Baseline's mean minus the candidate's as it was measured.
    gain
        Share by which every candidate's incident is shortened to see how often that goes unseen.

    Raises
    ------
    ValueError
        When there is nothing to draw from or an arm is empty.
    """
    if durations.size == 0 or min(baseline_drawn, candidate_drawn) < 1:
        raise ValueError("resampling needs durations and two arms that are not empty")
    generator = np.random.default_rng(seed)
    first, second = (_means(durations, size, resamples, generator) for size in (baseline_drawn, candidate_drawn))
    by_chance = first - second
    extreme = by_chance >= observed if observed >= 0 else by_chance <= observed
    return ResampledRisks(
        gain=gain,
        wrong_sign=float((first - (1 - gain) * second < 0).mean()),
        as_large_by_chance=float(extreme.mean()),
        observed=observed,
        baseline_drawn=baseline_drawn,
        candidate_drawn=candidate_drawn,
        resamples=resamples,
    )


def _means(values: Floats, size: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Means of `size` values drawn with replacement, in batches that bound the memory."""
    if size > DRAWN_AT_MOST:
        return _binned_means(values, size, resamples, generator)
    means = np.empty(resamples)
    batch = max(1, BATCH_VALUES // size)
    for start in range(0, resamples, batch):
        stop = min(start + batch, resamples)
        means[start:stop] = values[generator.integers(0, values.size, (stop - start, size))].mean(axis=1)
    return means


def _binned_means(values: Floats, size: int, resamples: int, generator: np.random.Generator) -> Floats:
    """The same by bins: their counts are multinomial, as in a draw; within a bin the sum is taken as normal."""
    ordered = np.sort(values)
    alone = min(ALONE, ordered.size // 2)
    bulk = np.linspace(0, ordered.size - alone, min(BINS, ordered.size - alone), endpoint=False, dtype=np.int64)
    starts = np.unique(np.concatenate([bulk, np.arange(ordered.size - alone, ordered.size)]))
    counts = np.diff(np.append(starts, ordered.size))
    means = np.add.reduceat(ordered, starts) / counts
    variances = np.add.reduceat((ordered - np.repeat(means, counts)) ** 2, starts) / counts
    drawn = generator.multinomial(size, counts / ordered.size, size=resamples).astype(np.float64)
    return (drawn @ means + np.sqrt(drawn @ variances) * generator.standard_normal(resamples)) / size
