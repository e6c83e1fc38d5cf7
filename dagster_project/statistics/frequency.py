"""How often incidents happen: rates of two arms and their ratio. How long they last is elsewhere."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.discrete.discrete_model import NegativeBinomial
from statsmodels.tools.sm_exceptions import ConvergenceWarning, HessianInversionWarning

from dagster_project.statistics.not_possible import NotPossible

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

LEAST_WEEKS = 4
"""Full weeks from which a variance between weeks says anything."""
OVERDISPERSED_BELOW = 0.05
"""p value of the dispersion test below which Poisson's interval is replaced: the usual level of a test."""


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
class NegativeBinomialEffect:
    """Ratio of mean counts a week, candidate over baseline; a week's variance is mean + `alpha` mean squared."""

    ratio: float
    low: float
    high: float
    p_value: float
    alpha: float
    baseline_weeks: int
    candidate_weeks: int


@dataclass(frozen=True)
class DispersionTest:
    """Variance over mean of weekly counts, pooled over arms, against the 1 of independent incidents."""

    ratio: float
    p_value: float

    @property
    def is_overdispersed(self) -> bool:
        return self.p_value < OVERDISPERSED_BELOW


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
    return DispersionTest(statistic / degrees, float(stats.chi2.sf(statistic, degrees)))


def negative_binomial_ratio(
    baseline: Counts, candidate: Counts, *, confidence: float = 0.95
) -> NegativeBinomialEffect | NotPossible:
    """Ratio of weekly counts by negative binomial regression on the arm (NB2, maximum likelihood, statsmodels).

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Incidents of each full week.

    Returns
    -------
    NegativeBinomialEffect or NotPossible
        The latter with fewer than 4 weeks in an arm, with an arm of no incidents, for which no ratio is finite, or
        where counts vary no more than independent ones, so that Poisson's interval is the right one.
    """
    test = dispersion_test(baseline, candidate)
    if isinstance(test, NotPossible):
        return test
    if baseline.sum() == 0 or candidate.sum() == 0:
        return NotPossible("no_incidents", "an arm has no incident in a full week, so no ratio is finite")
    if test.ratio <= 1:
        return NotPossible("no_overdispersion", "weekly counts vary no more than those of independent incidents")
    fit = _negative_binomial(baseline, candidate, (test.ratio - 1) / float(np.append(baseline, candidate).mean()))
    if fit is None:
        return NotPossible("not_converged", "the negative binomial's likelihood has no maximum that could be found")
    log_ratio, error = float(fit.params[1]), float(fit.bse[1])
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return NegativeBinomialEffect(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - half),
        high=math.exp(log_ratio + half),
        p_value=float(2 * stats.norm.sf(abs(log_ratio) / error)),
        alpha=float(fit.params[2]),
        baseline_weeks=int(baseline.size),
        candidate_weeks=int(candidate.size),
    )


def _negative_binomial(baseline: Counts, candidate: Counts, alpha: float) -> Any:
    """Statsmodels' fit, begun at the arms' means and at the moments' `alpha`; None where it does not converge."""
    counts = np.concatenate([baseline, candidate])
    design = np.column_stack([np.ones(counts.size), np.arange(counts.size) >= baseline.size])
    start = [math.log(baseline.mean()), math.log(candidate.mean() / baseline.mean()), alpha]
    with warnings.catch_warnings():
        for category in (ConvergenceWarning, HessianInversionWarning, RuntimeWarning):
            warnings.simplefilter("ignore", category)
        try:
            fit = NegativeBinomial(counts, design).fit(start_params=start, disp=0, maxiter=500)
            is_good = bool(fit.mle_retvals["converged"]) and np.all(np.isfinite(fit.bse)) and fit.params[2] > 0
        except np.linalg.LinAlgError:
            return None
    return fit if is_good else None
