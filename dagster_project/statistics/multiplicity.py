"""Adjusts p values of several questions asked of the same data. Which questions belong together is the plan's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statsmodels.stats.multitest import multipletests

FALSE_DISCOVERY_RATE = 0.10
"""Share of the slices reported as different that may be so by chance: they say where to look, not what is true."""


@dataclass(frozen=True)
class AdjustedTest:
    """A p value beside what remains of it among its family."""

    name: str
    p_value: float
    adjusted_p_value: float
    is_rejected: bool


def holm(p_values: Mapping[str, float], *, alpha: float = 0.05) -> tuple[AdjustedTest, ...]:
    """Holm's step-down adjustment (Holm 1979): the chance of any false positive in the family is at most `alpha`.

    Raises
    ------
    ValueError
        When a p value lies outside 0 to 1.
    """
    return _adjusted(p_values, alpha, "holm")


def benjamini_hochberg(p_values: Mapping[str, float], *, q: float = FALSE_DISCOVERY_RATE) -> tuple[AdjustedTest, ...]:
    """Benjamini and Hochberg's step-up adjustment (1995): at most a share `q` of what is reported is expected false.

    Raises
    ------
    ValueError
        When a p value lies outside 0 to 1.
    """
    return _adjusted(p_values, q, "fdr_bh")


def _adjusted(p_values: Mapping[str, float], level: float, method: str) -> tuple[AdjustedTest, ...]:
    for name, value in p_values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"the p value of {name} is {value}, not between 0 and 1")
    if not p_values:
        return ()
    rejected, adjusted, _, _ = multipletests(list(p_values.values()), alpha=level, method=method)
    return tuple(
        AdjustedTest(name, float(value), float(corrected), bool(is_rejected))
        for (name, value), corrected, is_rejected in zip(p_values.items(), adjusted, rejected, strict=True)
    )
