"""The exploratory table: the ratio within each severity, service, team and category. No verdict stands on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from dagster_project.statistics.durations import FEW
from dagster_project.statistics.multiplicity import benjamini_hochberg
from dagster_project.statistics.samples import Case
from dagster_project.statistics.strata import totals


@dataclass(frozen=True)
class Slice:
    """One value of one column; means in seconds, the interval not adjusted for how many slices there are."""

    column: str
    value: str
    baseline_count: int
    candidate_count: int
    baseline_geometric_mean: float
    candidate_geometric_mean: float
    ratio: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float = 1.0
    is_discovery: bool = False

    @property
    def name(self) -> str:
        return f"{self.column}/{self.value}"


def exploratory(case: Case) -> tuple[Slice, ...]:
    """Welch's test on logs within every slice of 5 incidents or more in both arms, Benjamini-Hochberg over all."""
    found = list(_slices(case))
    adjusted = {each.name: each for each in benjamini_hochberg({each.name: each.p_value for each in found})}
    return tuple(
        replace(
            each,
            adjusted_p_value=adjusted[each.name].adjusted_p_value,
            is_discovery=adjusted[each.name].is_rejected,
        )
        for each in found
    )


def _slices(case: Case) -> Iterator[Slice]:
    for column in case.plan.slices:
        if not case.varies_in(column):
            continue
        strata = case.strata(column)
        size = strata.names.size
        counts = np.column_stack([strata.baseline_counts, strata.candidate_counts]).astype(np.float64)
        places = np.flatnonzero((counts >= FEW).all(axis=1))
        n = counts[places]
        logs, codes = (case.baseline.logs, case.candidate.logs), (strata.baseline, strata.candidate)
        means = np.column_stack([totals(x, k, size) for x, k in zip(logs, codes, strict=True)])[places] / n
        every = np.zeros((size, 2))
        every[places] = means
        away = [totals((x - every[k, arm]) ** 2, k, size) for arm, (x, k) in enumerate(zip(logs, codes, strict=True))]
        errors = np.column_stack(away)[places] / (n - 1) / n
        spread = errors.sum(axis=1)
        for row, place in enumerate(places):
            if spread[row] <= 1e-24:
                continue  # all of one length: nothing to test
            difference = float(means[row, 1] - means[row, 0])
            degrees = float(spread[row] ** 2 / (errors[row] ** 2 / (n[row] - 1)).sum())
            error = float(np.sqrt(spread[row]))
            half = float(stats.t.ppf((1 + case.confidence) / 2, degrees)) * error
            yield Slice(
                column=column.value,
                value=str(strata.names[place]),
                baseline_count=int(n[row, 0]),
                candidate_count=int(n[row, 1]),
                baseline_geometric_mean=float(np.exp(means[row, 0])),
                candidate_geometric_mean=float(np.exp(means[row, 1])),
                ratio=float(np.exp(difference)),
                low=float(np.exp(difference - half)),
                high=float(np.exp(difference + half)),
                p_value=float(2 * stats.t.sf(abs(difference) / error, degrees)),
            )
