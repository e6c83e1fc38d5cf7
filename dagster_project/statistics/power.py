"""How large a change would have to be to be seen. Statsmodels solves the t test's power equation."""

from __future__ import annotations

import math

from statsmodels.stats.power import TTestIndPower


def sample_size(effect_size: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Incidents an arm needs for a two-sided t test to see `effect_size` standard deviations (63.77 for 0.5)."""
    return float(TTestIndPower().solve_power(effect_size=effect_size, alpha=alpha, power=power))


def minimal_detectable_log_ratio(
    n_baseline: int, n_candidate: int, standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest |log ratio of geometric means| that Welch's test on logs sees with the given power.

    Parameters
    ----------
    n_baseline, n_candidate
        Measured incidents of each arm, at least 2.
    standard_error
        Of the difference of mean logs; it carries the arms' unequal spreads.

    Returns
    -------
    float
        In log units: 1 - exp(-value) is the smallest visible cut, exp(value) - 1 the smallest visible rise.
    """
    effect = TTestIndPower().solve_power(
        nobs1=n_baseline, ratio=n_candidate / n_baseline, alpha=alpha, power=power, effect_size=None
    )
    spread = standard_error / math.sqrt(1 / n_baseline + 1 / n_candidate)
    return float(effect) * spread
