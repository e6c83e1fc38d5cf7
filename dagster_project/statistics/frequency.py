"""How often incidents happen: rates of two arms and their ratio. How long they last is elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.not_possible import NotPossible

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

CROWDED_SHARE, CROWDED_FROM = 0.95, 20
"""Share of incidents that fill less than half of the days, and the least of them for which that is no chance."""
LEAST_WEEKS = 4
"""Full weeks from which a variance between weeks says anything."""


@dataclass(frozen=True)
class RateEffect:
    """Incidents per 30 days of each arm and their ratio; None where a count of zero leaves it undefined."""

    baseline_per_30_days: float
    candidate_per_30_days: float
    ratio: float | None
    low: float | None
    high: float | None
    p_value: float


@dataclass(frozen=True)
class DispersionTest:
    """Variance over mean of weekly counts, pooled over arms, against the 1 of independent incidents.

    `degrees` are the weeks less one an arm: how much is known of it.
    """

    ratio: float
    p_value: float
    degrees: int


@dataclass(frozen=True)
class QuasiPoissonEffect:
    """Ratio of frequencies, candidate over baseline, whose interval allows for bursts."""

    ratio: float
    low: float
    high: float
    p_value: float


def rate_ratio(
    baseline_count: int, baseline_days: float, candidate_count: int, candidate_days: float, *, confidence: float = 0.95
) -> RateEffect:
    """Ratio of two Poisson rates with the exact conditional interval (Przyborowski and Wilenski 1940).

    Given the sum of both counts, the candidate's is binomial; Clopper-Pearson's limits of its share become limits
    of the ratio. The p value is twice the smaller tail, so that it and the interval always say the same.

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
    share = stats.binomtest(candidate_count, total, even).proportion_ci(confidence, method="exact")
    tail = min(stats.binom.cdf(candidate_count, total, even), stats.binom.sf(candidate_count - 1, total, even))
    exposure = baseline_days / candidate_days
    return RateEffect(
        baseline_per_30_days=30 * baseline_rate,
        candidate_per_30_days=30 * candidate_rate,
        ratio=candidate_rate / baseline_rate if baseline_count else None,
        low=float(share.low / (1 - share.low)) * exposure,
        high=float(share.high / (1 - share.high)) * exposure if baseline_count else None,
        p_value=min(2 * float(tail), 1.0),
    )


def dispersion(started_at: Times) -> float | None:
    """Variance over mean of incidents a week: about 1 for independent incidents, more when they come in bursts.

    Weeks, because fewer incidents on every weekend are a rhythm and not a burst. None with fewer than 4 full weeks.
    """
    if started_at.size == 0:
        return None
    counts = weekly_counts(started_at)
    if counts.size < LEAST_WEEKS:
        return None
    return float(counts.var(ddof=1) / counts.mean())


def weekly_counts(started_at: Times, starts_at: np.datetime64 | None = None, days: float | None = None) -> Counts:
    """Incidents of each full week, weeks without any among them.

    Parameters
    ----------
    starts_at
        Begin of the first week; the first incident's when left out.
    days
        Length of the observation; up to the last incident when left out.
    """
    if started_at.size == 0 and (starts_at is None or days is None):
        return np.empty(0, dtype=np.int64)
    start = started_at.min() if starts_at is None else starts_at
    weeks = (started_at - start) / np.timedelta64(7, "D")
    full = math.floor(float(weeks.max()) if days is None else days / 7)
    places = np.floor(weeks).astype(np.int64)
    return np.bincount(places[(places >= 0) & (places < full)], minlength=full).astype(np.int64)


def thin_days(started_at: Times, starts_at: np.datetime64 | None, days: float) -> str | None:
    """Where most incidents lie when they fill less than half of the days of observation; None when they do.

    A file often ends in a few late tickets, and days that were hardly recorded make incidents look rare. Of 20 that are
    spread evenly 95 % lie in one half by chance once in 25,000 times.
    """
    if started_at.size < CROWDED_FROM or starts_at is None or days <= 0:
        return None
    offsets = (started_at - starts_at) / np.timedelta64(1, "D")
    last = float(np.quantile(offsets, CROWDED_SHARE))
    if last < days / 2:
        return f"{CROWDED_SHARE:.0%} of its incidents lie in the first {last:,.0f} of {days:,.0f} days: give `ends_at`"
    first = days - float(np.quantile(offsets, 1 - CROWDED_SHARE))
    if first < days / 2:
        return (
            f"{CROWDED_SHARE:.0%} of its incidents lie in the last {first:,.0f} of {days:,.0f} days: give `starts_at`"
        )
    return None


def dispersion_test(baseline: Counts, candidate: Counts) -> DispersionTest | NotPossible:
    """Fisher's index of dispersion (1950) of weekly counts, each arm about its own mean.

    Returns
    -------
    DispersionTest or NotPossible
        The latter with fewer than 4 full weeks in either arm or without any incident.
    """
    statistic, degrees = 0.0, 0
    for counts in (baseline, candidate):
        if counts.size < LEAST_WEEKS:
            return NotPossible("too_few_weeks", f"an arm has {counts.size} full weeks, and {LEAST_WEEKS} are the least")
        if counts.sum() == 0:
            continue
        statistic += float(((counts - counts.mean()) ** 2).sum() / counts.mean())
        degrees += counts.size - 1
    if degrees == 0:
        return NotPossible("no_incidents", "no full week of either arm has an incident")
    return DispersionTest(statistic / degrees, float(stats.chi2.sf(statistic, degrees)), degrees)


def quasi_poisson_ratio(
    baseline: tuple[int, float], candidate: tuple[int, float], spread: DispersionTest, *, confidence: float = 0.95
) -> QuasiPoissonEffect | NotPossible:
    """Ratio of two frequencies by Wedderburn's quasi-likelihood (1974): Poisson's variance times the dispersion.

    Counts that vary less than independent ones by chance are taken as independent. Student's t, for with few weeks the
    dispersion is hardly known; a negative binomial by maximum likelihood is wrong three times as often there.

    Parameters
    ----------
    baseline, candidate
        Incidents and days of observation of each arm.
    spread
        Of their weekly counts.

    Returns
    -------
    QuasiPoissonEffect or NotPossible
        The latter with an arm of no incidents, for which no ratio is finite.

    Raises
    ------
    ValueError
        When a time of observation is not positive.
    """
    (first, first_days), (second, second_days) = baseline, candidate
    if min(first_days, second_days) <= 0:
        raise ValueError("a rate needs a positive time of observation")
    if min(first, second) == 0:
        return NotPossible("no_incidents", "an arm has no incident, so no ratio is finite")
    log_ratio = math.log(second / second_days) - math.log(first / first_days)
    error = math.sqrt(max(spread.ratio, 1.0) * (1 / first + 1 / second))
    half = float(stats.t.ppf((1 + confidence) / 2, spread.degrees)) * error
    return QuasiPoissonEffect(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - half),
        high=math.exp(log_ratio + half),
        p_value=float(2 * stats.t.sf(abs(log_ratio) / error, spread.degrees)),
    )
