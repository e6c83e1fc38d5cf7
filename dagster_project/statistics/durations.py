"""Describes the durations of one arm, open incidents counted. Two arms are compared elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.survival import Lifetimes, kaplan_meier, quantile

Floats = npt.NDArray[np.float64]

FEW, ENOUGH = 5, 20
"""Below the first an arm is dots only; from the second on every method applies."""


class Tier(StrEnum):
    """How much an arm of its size can carry."""

    DOTS = "dots"
    INDICATIVE = "indicative"
    FULL = "full"


def tier_of(n: int) -> Tier:
    """The tier of an arm with `n` measured incidents."""
    return Tier.DOTS if n < FEW else Tier.INDICATIVE if n < ENOUGH else Tier.FULL


@dataclass(frozen=True)
class DurationSummary:
    """Durations in seconds; None where the data does not define a number. Never NaN.

    `median` and `p90` count open incidents as lasting at least their age (Kaplan-Meier); the other moments are of
    ended incidents only and so are too short while any is open.
    """

    n: int
    open_count: int
    tier: Tier
    minimum: float | None = None
    maximum: float | None = None
    geometric_mean: float | None = None
    geometric_mean_low: float | None = None
    geometric_mean_high: float | None = None
    median: float | None = None
    p90: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    coefficient_of_variation: float | None = None
    log_standard_deviation: float | None = None
    share_of_largest: float | None = None


def describe(ended: Floats, open_ages: Floats | None = None, *, confidence: float = 0.95) -> DurationSummary:
    """Summary of one arm.

    Parameters
    ----------
    ended : (n,) array
        Seconds of ended incidents, finite and positive.
    open_ages : (k,) array, optional
        Seconds that each open incident has lasted so far.
    confidence
        Of the interval of the geometric mean (Student's t on logs).

    Returns
    -------
    DurationSummary
        With fewer than 5 ended incidents only counts, minimum and maximum: such an arm is shown as dots.

    Raises
    ------
    ValueError
        When a duration is not finite or not positive.
    """
    ages = np.empty(0) if open_ages is None else open_ages
    if not np.all(np.isfinite(ended)) or np.any(ended <= 0):
        raise ValueError("durations must be finite and positive: exclude or repair the others before describing")
    n, tier = int(ended.size), tier_of(ended.size)
    if n == 0:
        return DurationSummary(n=0, open_count=int(ages.size), tier=tier)
    if tier is Tier.DOTS:
        return DurationSummary(n, int(ages.size), tier, minimum=float(ended.min()), maximum=float(ended.max()))
    low, centre, high = geometric_mean(ended, confidence=confidence)
    curve = kaplan_meier(Lifetimes.of(ended, ages))
    mean, deviation = float(ended.mean()), float(ended.std(ddof=1))
    return DurationSummary(
        n=n,
        open_count=int(ages.size),
        tier=tier,
        minimum=float(ended.min()),
        maximum=float(ended.max()),
        geometric_mean=centre,
        geometric_mean_low=low,
        geometric_mean_high=high,
        median=quantile(curve, 0.5).value,
        p90=quantile(curve, 0.9).value,
        mean=mean,
        standard_deviation=deviation,
        coefficient_of_variation=deviation / mean,
        log_standard_deviation=float(np.log(ended).std(ddof=1)),
        share_of_largest=float(ended.max() / ended.sum()),
    )


def geometric_mean(ended: Floats, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Low end, geometric mean and high end, in the unit of `ended` (at least two positive values)."""
    logs = np.log(ended)
    centre = float(logs.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, logs.size - 1) * logs.std(ddof=1) / math.sqrt(logs.size))
    return math.exp(centre - half), math.exp(centre), math.exp(centre + half)
