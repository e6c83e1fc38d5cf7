"""Labels of two arms as one set of integer codes, which everything stratified counts with. No method lives here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.intp]
Labels = npt.NDArray[Any]
"""Strings or integers; integers are encoded ten times faster."""


@dataclass(frozen=True)
class Strata:
    """Codes 0 to `names.size` - 1 of the incidents of both arms, in the order of `names`."""

    names: Labels
    baseline: Codes
    candidate: Codes

    @property
    def pooled(self) -> Codes:
        """The baseline's codes, then the candidate's."""
        return np.concatenate([self.baseline, self.candidate])

    @property
    def baseline_counts(self) -> Codes:
        return np.bincount(self.baseline, minlength=self.names.size)

    @property
    def candidate_counts(self) -> Codes:
        return np.bincount(self.candidate, minlength=self.names.size)


def encode(baseline: Labels, candidate: Labels) -> Strata:
    """Codes of the labels of both arms, names sorted."""
    names, codes = np.unique(np.concatenate([baseline, candidate]), return_inverse=True)
    return Strata(names, codes[: baseline.size], codes[baseline.size :])


def one_stratum(baseline: int, candidate: int) -> Strata:
    """Every incident in the same stratum, for arms of these sizes."""
    return Strata(np.array([""]), np.zeros(baseline, dtype=np.intp), np.zeros(candidate, dtype=np.intp))


def totals(values: npt.NDArray[Any], codes: Codes, count: int) -> npt.NDArray[np.float64]:
    """Sum of the values of each of `count` codes."""
    return np.asarray(np.bincount(codes, weights=values, minlength=count), dtype=np.float64)
