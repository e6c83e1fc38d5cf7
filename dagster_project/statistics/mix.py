"""How much of a difference is a changed mix of incidents, and how much lies within each kind. Tests are elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import Strata, totals

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MixRow:
    """One kind of incident: its share and means in each arm, and what it adds to the change.

    Means are None where the arm has none of the kind. `mix_*` is what its changed share adds, `within_*` what its own
    change adds; for a kind in one arm only all of it is mix, and nothing says how long it would have lasted in the
    other.
    """

    name: str
    baseline_count: int
    candidate_count: int
    baseline_share: float
    candidate_share: float
    baseline_mean_log: float | None
    candidate_mean_log: float | None
    baseline_mean: float | None
    candidate_mean: float | None
    mix_log: float
    within_log: float
    mix: float
    within: float

    @property
    def overlaps(self) -> bool:
        return self.baseline_count > 0 and self.candidate_count > 0


@dataclass(frozen=True)
class MixSplit:
    """The change of the mean log and of the mean (in the unit of the durations) in a part of mix and a part within.

    `overlap` is the share of the mix that both arms have in common. Where it is small, the split says that the arms
    hold other things, not that the mix made the difference; `warning` names the kinds that stand in one arm only.
    """

    rows: tuple[MixRow, ...]
    change_log: float
    mix_log: float
    within_log: float
    change: float
    mix: float
    within: float
    overlap: float
    warning: str | None


@dataclass(frozen=True)
class StandardisedRatio:
    """Ratio of geometric means, candidate over baseline, had the candidate met the baseline's mix.

    `covered` is the share of the baseline whose kinds have two incidents in each arm; the rest carries no comparison.
    """

    ratio: float
    low: float
    high: float
    covered: float


def standardised_ratio(
    baseline: Floats, candidate: Floats, kinds: Strata, *, confidence: float = 0.95
) -> StandardisedRatio | NotPossible:
    """Direct standardisation to the baseline's mix (Neison 1844): differences within kinds, weighted by its shares.

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Logs of durations.
    kinds
        Severity, or whatever tells incidents apart, of each.

    Returns
    -------
    StandardisedRatio or NotPossible
        The latter when no kind has two incidents in each arm, or none of those varies. The interval is normal, on the
        sum of the kinds' variances.
    """
    counts = np.column_stack([kinds.baseline_counts, kinds.candidate_counts])
    usable = (counts >= 2).all(axis=1)
    if not usable.any():
        return NotPossible("no_overlap", "no kind of incident occurs twice in both arms, so there is nothing to weight")
    means = _means(baseline, candidate, kinds, counts)[usable]
    squared = _squared_errors(baseline, candidate, kinds, counts)[usable]
    weights = counts[usable, 0] / counts[usable, 0].sum()
    difference = float(weights @ (means[:, 1] - means[:, 0]))
    error = math.sqrt(float(weights**2 @ squared.sum(axis=1)))
    if error <= 1e-12:
        return NotPossible("all_equal", "within each kind every incident lasts the same")
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return StandardisedRatio(
        math.exp(difference),
        math.exp(difference - half),
        math.exp(difference + half),
        covered=float(counts[usable, 0].sum() / counts[:, 0].sum()),
    )


def split_by_mix(baseline: Floats, candidate: Floats, kinds: Strata) -> MixSplit | None:
    """Kitagawa's decomposition (1955; Oaxaca 1973) of the difference of means, of logs and of durations.

    With shares p and means m of each kind in the arms 1 and 2, and c the mean of the arms' means: the mix adds
    (p2 - p1) ((m1 + m2) / 2 - c), the change within adds (m2 - m1) (p1 + p2) / 2. Both add up to the change exactly.

    Parameters
    ----------
    baseline, candidate : (n,), (m,) arrays
        Positive durations.
    kinds
        Severity, category, or whatever tells incidents apart, of each.

    Returns
    -------
    MixSplit or None
        None when an arm is empty.
    """
    if baseline.size == 0 or candidate.size == 0:
        return None
    counts = np.column_stack([kinds.baseline_counts, kinds.candidate_counts])
    shares = counts / counts.sum(axis=0)
    log_means = _means(np.log(baseline), np.log(candidate), kinds, counts)
    means = _means(baseline, candidate, kinds, counts)
    log_mix, log_within = _parts(shares, log_means)
    mix, within = _parts(shares, means)
    rows = tuple(
        MixRow(
            name=str(name),
            baseline_count=int(counts[place, 0]),
            candidate_count=int(counts[place, 1]),
            baseline_share=float(shares[place, 0]),
            candidate_share=float(shares[place, 1]),
            baseline_mean_log=_known(log_means[place, 0]),
            candidate_mean_log=_known(log_means[place, 1]),
            baseline_mean=_known(means[place, 0]),
            candidate_mean=_known(means[place, 1]),
            mix_log=float(log_mix[place]),
            within_log=float(log_within[place]),
            mix=float(mix[place]),
            within=float(within[place]),
        )
        for place, name in enumerate(kinds.names)
    )
    return MixSplit(
        rows=rows,
        change_log=float(np.log(candidate).mean() - np.log(baseline).mean()),
        mix_log=float(log_mix.sum()),
        within_log=float(log_within.sum()),
        change=float(candidate.mean() - baseline.mean()),
        mix=float(mix.sum()),
        within=float(within.sum()),
        overlap=float(shares.min(axis=1).sum()),
        warning=_warning(rows),
    )


def _means(baseline: Floats, candidate: Floats, kinds: Strata, counts: npt.NDArray[np.intp]) -> Floats:
    """(kinds, 2) means; NaN where an arm has none of a kind."""
    sums = _sums(baseline, candidate, kinds)
    means: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _squared_errors(baseline: Floats, candidate: Floats, kinds: Strata, counts: npt.NDArray[np.intp]) -> Floats:
    """(kinds, 2) squared standard errors of the means; 0 where an arm has fewer than two of a kind."""
    means = np.nan_to_num(_means(baseline, candidate, kinds, counts))
    away = (baseline - means[kinds.baseline, 0]) ** 2, (candidate - means[kinds.candidate, 1]) ** 2
    sums = _sums(*away, kinds)
    errors: Floats = np.divide(sums, counts * (counts - 1), out=np.zeros(sums.shape), where=counts > 1)
    return errors


def _sums(baseline: Floats, candidate: Floats, kinds: Strata) -> Floats:
    size = kinds.names.size
    return np.column_stack([totals(baseline, kinds.baseline, size), totals(candidate, kinds.candidate, size)])


def _parts(shares: Floats, means: Floats) -> tuple[Floats, Floats]:
    """What each kind's changed share and what its own change adds to the difference of the arms' means."""
    centre = float(np.where(shares > 0, shares * means, 0.0).sum()) / 2
    middle = np.nanmean(means, axis=1)
    mix = (shares[:, 1] - shares[:, 0]) * (middle - centre)
    within = np.where(np.isnan(means).any(axis=1), 0.0, (means[:, 1] - means[:, 0]) * shares.mean(axis=1))
    return mix, within


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _warning(rows: tuple[MixRow, ...]) -> str | None:
    alone = [row for row in rows if not row.overlaps]
    if not alone:
        return None
    parts = [
        f"{row.name} ({row.baseline_count + row.candidate_count:,}) in the "
        f"{'baseline' if row.baseline_count else 'candidate'} only"
        for row in alone
    ]
    return f"{', '.join(parts)}: nothing says how long these would have lasted in the other arm"
