"""The main effect asked again in other ways: does it hang on one incident, on a scale, on who was left out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.accelerated import AcceleratedFit, accelerated_failure_time
from dagster_project.statistics.effects import RatioEffect, ratio_of, welch
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.survival import Lifetimes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StandardisedDifference:
    """Difference of means in pooled standard deviations, small-sample bias removed, with its interval."""

    g: float
    low: float
    high: float


def hedges_g(baseline: Floats, candidate: Floats, *, confidence: float = 0.95) -> StandardisedDifference | NotPossible:
    """Hedges' g of candidate minus baseline (Hedges 1981), exact bias factor, normal interval (Hedges and Olkin 1985).

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Logs of durations.

    Returns
    -------
    StandardisedDifference or NotPossible
        The latter when an arm has fewer than two values or neither varies.
    """
    n, m = baseline.size, candidate.size
    if min(n, m) < 2:
        return NotPossible("too_few", "a spread needs two incidents an arm")
    degrees = n + m - 2
    pooled = math.sqrt(((n - 1) * baseline.var(ddof=1) + (m - 1) * candidate.var(ddof=1)) / degrees)
    if np.ptp(baseline) == 0 and np.ptp(candidate) == 0:
        return NotPossible("all_equal", "neither arm varies, so there is no spread to measure in")
    correction = math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2)
    g = correction * float(candidate.mean() - baseline.mean()) / pooled
    error = math.sqrt((n + m) / (n * m) + g**2 / (2 * (n + m)))
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return StandardisedDifference(g, g - half, g + half)


def without_largest(baseline: Floats, candidate: Floats, *, confidence: float = 0.95) -> RatioEffect | NotPossible:
    """Ratio of geometric means when the longest incident of each arm is left out.

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Logs of durations.

    Returns
    -------
    RatioEffect or NotPossible
        The latter when what remains carries no comparison.
    """
    if min(baseline.size, candidate.size) < 3:
        return NotPossible("too_few", "without its longest an arm has fewer than two incidents")
    first, second = np.delete(baseline, baseline.argmax()), np.delete(candidate, candidate.argmax())
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return NotPossible("all_equal", "without its longest an arm does not vary")
    return ratio_of(welch(first, second, confidence=confidence))


def intention_to_treat(
    baseline: Lifetimes, candidate: Lifetimes, *, confidence: float = 0.95
) -> AcceleratedFit | NotPossible:
    """The ratio over the arms as planned: incidents that were excluded or never ended are in.

    Leaving out incidents after the fact is how a difference is made; this is what it would be without.

    Parameters
    ----------
    baseline, candidate
        All incidents of each side, exclusions of the plan undone, open ones with their age.
    """
    return accelerated_failure_time(baseline, candidate, confidence=confidence)
