"""Tests of two arms' survival: log-rank and Cox's hazard ratio by strata, and whether the hazards are proportional.

Curves and means of one arm are `survival.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import Strata, one_stratum, totals
from dagster_project.statistics.survival import Lifetimes

Floats = npt.NDArray[np.float64]

STEPS = 50
"""Newton's steps at most; a concave likelihood of one number needs about six."""


@dataclass(frozen=True)
class LogRankTest:
    """Stratified log-rank test; `observed` and `expected` are the candidate's ended incidents."""

    statistic: float
    p_value: float
    observed: int
    expected: float


@dataclass(frozen=True)
class HazardRatio:
    """Cox's hazard ratio, candidate over baseline: above 1, the candidate's incidents end sooner.

    `proportionality_p_value` is small when the ratio changes with time, so that one number does not describe it; None
    when too few ended to tell.
    """

    ratio: float
    low: float
    high: float
    log_ratio: float
    standard_error: float
    p_value: float
    proportionality_statistic: float | None
    proportionality_p_value: float | None


@dataclass(frozen=True)
class _RiskTable:
    """A row each time at which incidents of a stratum ended: who was open just before, and who ended then."""

    times: Floats
    open_baseline: Floats
    open_candidate: Floats
    ended_baseline: Floats
    ended_candidate: Floats

    @property
    def ended(self) -> Floats:
        return self.ended_baseline + self.ended_candidate


def log_rank(baseline: Lifetimes, candidate: Lifetimes, strata: Strata | None = None) -> LogRankTest | NotPossible:
    """Log-rank test (Mantel 1966; Peto and Peto 1972), summed over strata.

    Parameters
    ----------
    strata
        E.g. of severities, one code an incident of each arm; all one stratum when left out.

    Returns
    -------
    LogRankTest or NotPossible
        The latter when no incident ended while incidents of both arms were open in one stratum.
    """
    table = _risk_table(baseline, candidate, strata)
    total = table.open_baseline + table.open_candidate
    share = table.open_candidate / total
    expected = table.ended * share
    variance = expected * (1 - share) * (total - table.ended) / np.maximum(total - 1, 1)
    spread = float(variance.sum())
    if spread <= 0:
        return NotPossible("never_open_together", "no incident ended while both arms had one open in a stratum")
    observed = float(table.ended_candidate.sum())
    statistic = (observed - float(expected.sum())) ** 2 / spread
    return LogRankTest(statistic, float(stats.chi2.sf(statistic, 1)), int(observed), float(expected.sum()))


def hazard_ratio(
    baseline: Lifetimes, candidate: Lifetimes, strata: Strata | None = None, *, confidence: float = 0.95
) -> HazardRatio | NotPossible:
    """Cox's proportional hazards (1972) for one arm against the other, a hazard of its own each stratum, Efron's ties.

    With one covariate of two values the partial likelihood needs only counts at each time, so a million incidents
    take a second. The check of proportionality is Grambsch and Therneau's (1994), scaled Schoenfeld residuals against
    time, as a score test with the exact variance; time enters as the share of the ended that ended before.

    Returns
    -------
    HazardRatio or NotPossible
        The latter when the likelihood has no maximum: while both arms had incidents open, only one of them ended any.
    """
    table = _risk_table(baseline, candidate, strata)
    terms = _efron_terms(table)
    candidates = float(table.ended_candidate.sum())
    log_ratio = _maximum(terms, candidates)
    if log_ratio is None:
        return NotPossible(
            "no_maximum", "while both arms had incidents open, only one of them ended any, so no ratio is finite"
        )
    share = _shares(terms, log_ratio)
    error = 1 / math.sqrt(float((share * (1 - share)).sum()))
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    statistic = _proportionality(table, share)
    return HazardRatio(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - half),
        high=math.exp(log_ratio + half),
        log_ratio=log_ratio,
        standard_error=error,
        p_value=float(2 * stats.norm.sf(abs(log_ratio) / error)),
        proportionality_statistic=statistic,
        proportionality_p_value=None if statistic is None else float(stats.chi2.sf(statistic, 1)),
    )


def _risk_table(baseline: Lifetimes, candidate: Lifetimes, strata: Strata | None) -> _RiskTable:
    groups = (strata or one_stratum(baseline.count, candidate.count)).pooled
    times = np.concatenate([baseline.times, candidate.times])
    ended = np.concatenate([baseline.is_ended, candidate.is_ended])
    is_candidate = np.arange(times.size) >= baseline.count
    order = np.lexsort((times, groups))
    times, ended, is_candidate, groups = times[order], ended[order], is_candidate[order], groups[order]
    is_first = np.ones(times.size, dtype=np.bool_)
    is_first[1:] = (times[1:] != times[:-1]) | (groups[1:] != groups[:-1])
    starts = np.flatnonzero(is_first)
    if starts.size == 0:
        return _RiskTable(*(np.empty(0) for _ in range(5)))
    ends = np.searchsorted(groups, groups[starts], side="right")  # where the stratum of each row stops

    def still_open(chosen: npt.NDArray[np.bool_]) -> Floats:
        before = np.concatenate([[0], chosen.cumsum()])
        return np.asarray(before[ends] - before[starts], dtype=np.float64)

    def ended_then(chosen: npt.NDArray[np.bool_]) -> Floats:
        return np.asarray(np.add.reduceat((chosen & ended).astype(np.float64), starts))

    columns = (
        times[starts],
        still_open(~is_candidate),
        still_open(is_candidate),
        ended_then(~is_candidate),
        ended_then(is_candidate),
    )
    kept = columns[3] + columns[4] > 0
    return _RiskTable(*(column[kept] for column in columns))


def _efron_terms(table: _RiskTable) -> tuple[Floats, Floats]:
    """Open baseline and candidate incidents in the denominator of each ended one (Efron 1977)."""
    ended = table.ended.astype(np.int64)
    rows = np.repeat(np.arange(ended.size), ended)
    firsts = np.concatenate([[0], ended.cumsum()[:-1]]) if ended.size else np.empty(0, dtype=np.int64)
    passed = (np.arange(rows.size) - firsts[rows]) / ended[rows]
    return (
        table.open_baseline[rows] - passed * table.ended_baseline[rows],
        table.open_candidate[rows] - passed * table.ended_candidate[rows],
    )


def _shares(terms: tuple[Floats, Floats], log_ratio: float) -> Floats:
    """The candidate's share of the hazard at each ended incident."""
    weighted = math.exp(log_ratio) * terms[1]
    share: Floats = weighted / (terms[0] + weighted)
    return share


def _maximum(terms: tuple[Floats, Floats], candidates: float) -> float | None:
    """The log ratio at which as many of the candidate's incidents are expected to end as did; None if there is none."""
    mixed = (terms[0] > 0) & (terms[1] > 0)
    certain = float(((terms[1] > 0) & ~mixed).sum())
    terms = (terms[0][mixed], terms[1][mixed])
    wanted = candidates - certain
    if not 0 < wanted < mixed.sum():
        return None
    log_ratio = 0.0
    for _ in range(STEPS):
        share = _shares(terms, log_ratio)
        step = float((wanted - share.sum()) / (share * (1 - share)).sum())
        log_ratio += max(-2.0, min(2.0, step))
        if abs(step) < 1e-10:
            return log_ratio
    return None


def _proportionality(table: _RiskTable, share: Floats) -> float | None:
    """Chi-square of the score test of a log ratio that moves with time; None when all ended at one time."""
    ended = table.ended.astype(np.int64)
    rows = np.repeat(np.arange(ended.size), ended)
    # Ranked, so that no unit and no long tail of time can bend the line through the residuals.
    moments, places = np.unique(table.times, return_inverse=True)
    at_moment = totals(table.ended, places, moments.size)
    time = ((at_moment.cumsum() - at_moment) / at_moment.sum())[places]
    variance = totals(share * (1 - share), rows, ended.size)
    residual = table.ended_candidate - totals(share, rows, ended.size)
    information = float(variance.sum())
    spread = float((time**2 * variance).sum()) - float((time * variance).sum()) ** 2 / information
    if spread <= 1e-12 * information:
        return None
    return float((time * residual).sum()) ** 2 / spread
