"""How long incidents stay open, open ones counted: Kaplan-Meier curves, quantiles and restricted means of an arm.

Tests of two curves are `hazards.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CURVE_POINTS = 200
"""Points of a curve that a page draws: finer than a screen's pixels shows nothing more."""


@dataclass(frozen=True)
class Lifetimes:
    """How long each incident of an arm lasted (`is_ended`) or has lasted so far, in seconds."""

    times: Floats
    is_ended: Flags

    def __post_init__(self) -> None:
        if self.times.shape != self.is_ended.shape:
            raise ValueError("a time and a flag an incident are needed")
        if not np.all(np.isfinite(self.times)) or np.any(self.times <= 0):
            raise ValueError("times must be finite and positive: exclude or repair the others before")

    @classmethod
    def of(cls, ended: Floats, open_ages: Floats) -> Lifetimes:
        """Ended incidents, then open ones; ages of zero or less say nothing and are left out."""
        ages = open_ages[open_ages > 0]
        return cls(np.concatenate([ended, ages]), np.arange(ended.size + ages.size) < ended.size)

    @property
    def count(self) -> int:
        return int(self.times.size)

    @property
    def ended_count(self) -> int:
        return int(self.is_ended.sum())

    @property
    def open_count(self) -> int:
        return self.count - self.ended_count


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of incidents not yet ended after each time at which one ended; arrays of one length, times ascending.

    `low` and `high` are the band at each time on its own, not of the whole curve. Where the curve has come down to
    zero, its variance is undefined: the band then reaches from zero to its last upper end.
    """

    times: Floats
    survival: Floats
    low: Floats
    high: Floats
    at_risk: Counts
    ended: Counts
    confidence: float


@dataclass(frozen=True)
class QuantileEstimate:
    """A quantile in seconds with its interval; None where the curve or its band does not come down that far."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RestrictedMean:
    """Mean of min(duration, `tau`) in seconds, with its variance and interval."""

    mean: float
    low: float
    high: float
    variance: float
    tau: float


@dataclass(frozen=True)
class RestrictedMeanDifference:
    """Restricted means up to `tau` (seconds), the candidate's minus the baseline's, and their ratio.

    The p value is that of the ratio, on the log, so that it and the ratio's interval always say the same.
    """

    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_value: float
    ratio: float
    ratio_low: float
    ratio_high: float
    tau: float


def kaplan_meier(lifetimes: Lifetimes, *, confidence: float = 0.95) -> SurvivalCurve:
    """Kaplan and Meier's curve (1958) with Greenwood's variance on the log-log scale.

    Returns
    -------
    SurvivalCurve
        Of no points when no incident has ended.
    """
    times, places = np.unique(lifetimes.times, return_inverse=True)
    ended = np.bincount(places, weights=lifetimes.is_ended, minlength=times.size).astype(np.int64)
    leaving = np.bincount(places, minlength=times.size)
    at_risk = leaving[::-1].cumsum()[::-1]
    kept = ended > 0
    times, ended, at_risk = times[kept], ended[kept], at_risk[kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log1p(-ended / at_risk).cumsum()
        greenwood = (ended / (at_risk * (at_risk - ended))).cumsum()
        half = float(stats.norm.ppf((1 + confidence) / 2)) * np.sqrt(greenwood) / np.abs(logs)
        survival = np.exp(logs)
        low, high = survival ** np.exp(half), survival ** np.exp(-half)
    if times.size and at_risk[-1] == ended[-1]:  # everybody has ended: log(0) has no variance
        low[-1], high[-1] = 0.0, high[-2] if times.size > 1 else 1.0
    return SurvivalCurve(times, survival, low, high, at_risk, ended, confidence)


def thinned(curve: SurvivalCurve, points: int = CURVE_POINTS) -> SurvivalCurve:
    """The curve at no more than `points` of its times, evenly spread over its descent, first and last among them."""
    if curve.times.size <= points:
        return curve
    wanted = np.linspace(curve.survival[0], curve.survival[-1], points)
    places = np.unique(np.searchsorted(-curve.survival, -wanted).clip(0, curve.times.size - 1))
    return SurvivalCurve(
        curve.times[places],
        curve.survival[places],
        curve.low[places],
        curve.high[places],
        curve.at_risk[places],
        curve.ended[places],
        curve.confidence,
    )


def quantile(curve: SurvivalCurve, share: float) -> QuantileEstimate:
    """Time that a `share` of incidents does not outlast, with Brookmeyer and Crowley's interval (1982).

    The interval holds the times at which the band contains 1 - `share`. Where the curve is flat exactly there, the
    middle of the flat piece is the value, as in R's `survfit`.
    """
    return QuantileEstimate(
        _first_below(curve.times, curve.survival, 1 - share),
        _first_below(curve.times, curve.low, 1 - share),
        _first_below(curve.times, curve.high, 1 - share),
    )


def restricted_mean(lifetimes: Lifetimes, tau: float, *, confidence: float = 0.95) -> RestrictedMean | None:
    """Area under the Kaplan-Meier curve up to `tau` (Irwin 1949; variance as in Klein and Moeschberger 2003).

    Returns
    -------
    RestrictedMean or None
        None when no incident has ended, or when the curve is unknown before `tau`: the longest known time is that
        of an open incident and shorter than `tau`.
    """
    if lifetimes.ended_count == 0 or tau <= 0:
        return None
    longest = float(lifetimes.times.max())
    if longest < tau and not lifetimes.is_ended[lifetimes.times == longest].all():
        return None
    curve = kaplan_meier(lifetimes, confidence=confidence)
    inside = curve.times < tau
    steps = np.diff(np.concatenate([[0.0], curve.times[inside], [tau]]))
    heights = np.concatenate([[1.0], curve.survival[inside]])
    areas = steps * heights
    mean = float(areas.sum())
    ahead = areas[::-1].cumsum()[::-1][1:]
    ended, at_risk = curve.ended[inside], curve.at_risk[inside]
    last = at_risk == ended  # nothing is ahead where all have ended
    terms = np.where(last, 0.0, ahead**2 * ended / (at_risk * np.where(last, 1, at_risk - ended)))
    variance = float(terms.sum())
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
    return RestrictedMean(mean, mean - half, mean + half, variance, tau)


def restricted_mean_difference(
    baseline: Lifetimes, candidate: Lifetimes, tau: float, *, confidence: float = 0.95
) -> RestrictedMeanDifference | None:
    """Difference and ratio of two restricted means, normal interval (ratio: on the log; Royston and Parmar 2013).

    Returns
    -------
    RestrictedMeanDifference or None
        None where an arm's restricted mean is undefined or neither arm varies below `tau`.
    """
    first = restricted_mean(baseline, tau, confidence=confidence)
    second = restricted_mean(candidate, tau, confidence=confidence)
    if first is None or second is None or first.variance + second.variance == 0:
        return None
    normal = float(stats.norm.ppf((1 + confidence) / 2))
    difference, error = second.mean - first.mean, math.sqrt(first.variance + second.variance)
    log_ratio = math.log(second.mean / first.mean)
    log_error = math.sqrt(first.variance / first.mean**2 + second.variance / second.mean**2)
    return RestrictedMeanDifference(
        baseline=first.mean,
        candidate=second.mean,
        difference=difference,
        low=difference - normal * error,
        high=difference + normal * error,
        p_value=float(2 * stats.norm.sf(abs(log_ratio) / log_error)),
        ratio=math.exp(log_ratio),
        ratio_low=math.exp(log_ratio - normal * log_error),
        ratio_high=math.exp(log_ratio + normal * log_error),
        tau=tau,
    )


def _first_below(times: Floats, heights: Floats, level: float) -> float | None:
    """First time at which a falling curve is at `level` or below, the middle of a piece that is flat there."""
    reached = np.flatnonzero(heights <= level + 1e-12)
    if reached.size == 0:
        return None
    below = np.flatnonzero(heights < level - 1e-12)
    first = float(times[reached[0]])
    return first if below.size == 0 else (first + float(times[below[0]])) / 2
