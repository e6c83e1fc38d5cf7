"""Whether a change began at the cut-over: interrupted time series, placebo cut-overs, regression to the mean.

None of these proves a cause; each can show that the cut-over is a poor one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy import stats

from dagster_project.statistics.not_possible import NotPossible

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

PERIODS_A_SIDE = 8
"""Periods before and after below which a trend cannot be told from a level (Penfold and Zhang 2013)."""
PLACEBOS = 12
"""Cut-overs at which nothing happened: with 12 the real one's rank can reach 1 in 13."""
INCIDENTS_A_SIDE = 5
"""Incidents either side of a cut-over from which a difference of means is taken."""
EXTREME_Z = 2.0
"""Standard deviations from its history at which a last period is called extreme: about one in twenty by chance."""


@dataclass(frozen=True)
class PeriodMeans:
    """Mean log duration of each period with incidents; `numbers` count from the cut-over, 0 the first after it."""

    numbers: Counts
    means: Floats
    counts: Counts

    @property
    def before(self) -> int:
        """Periods with incidents before the cut-over."""
        return int((self.numbers < 0).sum())

    @property
    def after(self) -> int:
        return int((self.numbers >= 0).sum())


@dataclass(frozen=True)
class InterruptedSeries:
    """Segmented regression of the periods' mean logs.

    `level` is the ratio of typical durations just after the cut-over to what the trend before it would have given
    there; `trend_before` and `trend_after` are ratios from one period to the next.
    """

    level: float
    level_low: float
    level_high: float
    level_p_value: float
    trend_before: float
    trend_after: float
    trend_change_p_value: float
    periods_before: int
    periods_after: int
    lags: int


@dataclass(frozen=True)
class Placebo:
    """A cut-over at which nothing is known to have happened, and the ratio that it shows."""

    cut_over_at: np.datetime64
    ratio: float
    before: int
    after: int


@dataclass(frozen=True)
class PlaceboTest:
    """The real cut-over's ratio among those of placebos, all over windows of `window_days` either side.

    `rank` 1 means that no placebo moved as far from 1; `p_value` is rank / (placebos + 1).
    """

    ratio: float
    placebos: tuple[Placebo, ...]
    rank: int
    p_value: float
    window_days: float


@dataclass(frozen=True)
class RegressionToMean:
    """Whether the cut-over follows an extreme period, after which things get ordinary by themselves.

    `z` is the baseline's last period against the standard deviation of the earlier ones about their mean.
    """

    last: float
    history: float
    z: float
    is_extreme: bool
    periods: int


def period_means(
    logs: Floats,
    started_at: Times,
    cut_over_at: np.datetime64,
    period_days: float,
    *,
    starts_at: np.datetime64 | None = None,
    ends_at: np.datetime64 | None = None,
) -> PeriodMeans:
    """Mean log of each full period counted from the cut-over; the ragged ones at both ends are left out.

    Parameters
    ----------
    logs : (n,) array
        Of durations.
    started_at : (n,) array
        When each incident started.
    starts_at, ends_at
        Begin and end of the observation, which bound the full periods; the first and the last incident when left out.
    """
    if logs.size == 0:
        return PeriodMeans(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=np.int64))
    places = (started_at - cut_over_at) / np.timedelta64(1, "D") / period_days
    begin = started_at.min() if starts_at is None else starts_at
    end = started_at.max() if ends_at is None else ends_at
    first, last = (float((edge - cut_over_at) / np.timedelta64(1, "D")) / period_days for edge in (begin, end))
    first, last = math.ceil(first - 1e-9), math.floor(last + 1e-9)
    numbers = np.floor(places).astype(np.int64)
    inside = (numbers >= first) & (numbers < last)
    shifted = numbers[inside] - first
    counts = np.bincount(shifted, minlength=max(last - first, 0))
    sums = np.bincount(shifted, weights=logs[inside], minlength=max(last - first, 0))
    kept = np.flatnonzero(counts)
    return PeriodMeans(kept + first, sums[kept] / counts[kept], counts[kept])


def interrupted_series(series: PeriodMeans, *, confidence: float = 0.95) -> InterruptedSeries | NotPossible:
    """Segmented regression with Newey and West's errors (1987), lags by their rule 4 (T / 100)^(2/9).

    Neighbouring periods resemble each other, and plain errors would take that for evidence.

    Returns
    -------
    InterruptedSeries or NotPossible
        `NO_ITS` with fewer than 8 periods on a side, or when the means do not vary.
    """
    before, after = series.before, series.after
    if min(before, after) < PERIODS_A_SIDE:
        return NotPossible(
            "NO_ITS",
            f"{before} periods before and {after} after the cut-over, and {PERIODS_A_SIDE} a side are the least",
        )
    if np.ptp(series.means) == 0:
        return NotPossible("NO_ITS", "the periods' means do not vary")
    time = series.numbers.astype(np.float64)
    is_after = (time >= 0).astype(np.float64)
    design = np.column_stack([np.ones(time.size), time, is_after, is_after * time])
    lags = max(1, math.floor(4 * (time.size / 100) ** (2 / 9)))
    fit = sm.OLS(series.means, design).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int(1 - confidence)[2]
    _, slope, level, change = (float(value) for value in fit.params)
    return InterruptedSeries(
        level=math.exp(level),
        level_low=math.exp(low),
        level_high=math.exp(high),
        level_p_value=float(fit.pvalues[2]),
        trend_before=math.exp(slope),
        trend_after=math.exp(slope + change),
        trend_change_p_value=float(fit.pvalues[3]),
        periods_before=before,
        periods_after=after,
        lags=lags,
    )


def placebo_test(
    logs: Floats, started_at: Times, cut_over_at: np.datetime64, *, placebos: int = PLACEBOS
) -> PlaceboTest | NotPossible:
    """The ratio of geometric means after and before the cut-over, and the same at cut-overs within the baseline.

    Every one, the real one too, is taken over windows of one length: a quarter of the baseline, or all after the
    cut-over where that is shorter. Placebos are spread evenly, so that their windows lie in the baseline; neighbours
    share incidents, so the rank is a picture rather than an exact test.

    Parameters
    ----------
    logs, started_at : (n,) arrays
        Of both arms together.

    Returns
    -------
    PlaceboTest or NotPossible
        `no_placebo` when fewer than `placebos` of them have 5 incidents either side, or the real one has not.
    """
    order = np.argsort(started_at, kind="stable")
    days = (started_at[order] - cut_over_at) / np.timedelta64(1, "D")
    sums = np.concatenate([[0.0], logs[order].cumsum()])
    if days.size == 0 or days[0] >= 0 or days[-1] < 0:
        return NotPossible("no_placebo", "the cut-over lies outside the data")
    window = min(-float(days[0]) / 4, float(days[-1]))
    cuts = np.append(np.linspace(float(days[0]) + window, -window, placebos), 0.0)
    edges = [np.searchsorted(days, cuts + shift, side="left") for shift in (-window, 0.0, window)]
    before, after = edges[1] - edges[0], edges[2] - edges[1]
    if min(before.min(), after.min()) < INCIDENTS_A_SIDE:
        return NotPossible(
            "no_placebo",
            f"windows of {window:,.0f} days do not all hold {INCIDENTS_A_SIDE} incidents, so the cut-over has nothing "
            f"to be ranked among",
        )
    ratios = np.exp((sums[edges[2]] - sums[edges[1]]) / after - (sums[edges[1]] - sums[edges[0]]) / before)
    sizes = np.abs(np.log(ratios))
    rank = 1 + int((sizes[:-1] >= sizes[-1] - 1e-12).sum())
    return PlaceboTest(
        ratio=float(ratios[-1]),
        placebos=tuple(
            Placebo(cut_over_at + _microseconds(cut), float(ratio), int(n), int(m))
            for cut, ratio, n, m in zip(cuts[:-1], ratios[:-1], before[:-1], after[:-1], strict=True)
        ),
        rank=rank,
        p_value=rank / (placebos + 1),
        window_days=window,
    )


def regression_to_mean(series: PeriodMeans) -> RegressionToMean | NotPossible:
    """The baseline's last period against the ones before it.

    Returns
    -------
    RegressionToMean or NotPossible
        The latter with fewer than 8 periods before the cut-over or when the earlier ones do not vary.
    """
    means = series.means[series.numbers < 0]
    if means.size < PERIODS_A_SIDE:
        return NotPossible(
            "too_few_periods", f"{means.size} periods before the cut-over, and {PERIODS_A_SIDE} are the least"
        )
    history = means[:-1]
    spread = float(history.std(ddof=1))
    if spread == 0:
        return NotPossible("all_equal", "the periods before the cut-over do not vary")
    # A new value differs from a mean of n by the spread times sqrt(1 + 1/n).
    z = float(means[-1] - history.mean()) / (spread * math.sqrt(1 + 1 / history.size))
    limit = float(stats.t.isf(stats.norm.sf(EXTREME_Z), history.size - 1))
    return RegressionToMean(
        last=math.exp(means[-1]),
        history=math.exp(history.mean()),
        z=z,
        is_extreme=abs(z) > limit,
        periods=int(means.size),
    )


def _microseconds(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * 86_400e6), "us")
