"""What a cash flow is worth: present values, NPV, ROI, benefit/cost ratio, IRR, payback. Year 0 is not discounted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from dagster_project.statistics.columns import finite
from dagster_project.statistics.roi.quantities import Amounts


@dataclass(frozen=True)
class Appraisal:
    """What a cash flow is worth. None where a number is not defined."""

    present_costs: float
    present_benefits: float
    net_present_value: float
    roi: float | None
    benefit_cost_ratio: float | None
    irr: float | None
    payback_months: float | None


def present_value(amounts: ArrayLike, rate: float) -> Amounts:
    """Sum of yearly amounts discounted to year 0; the first is year 0 and stays as it is.

    Parameters
    ----------
    amounts
        Shape (years + 1,) or (years + 1, draws).
    rate
        A year's discount, 0.1 for 10 %.

    Returns
    -------
    Shape () or (draws,).
    """
    columns = np.asarray(amounts, dtype=np.float64)
    years = np.arange(columns.shape[0]).reshape(-1, *(1,) * (columns.ndim - 1))
    return np.asarray(np.sum(columns / (1 + rate) ** years, axis=0))


def return_on_investment(present_costs: float, present_benefits: float) -> float | None:
    """(PVB - PVC) / PVC: 3.29 for 329 %. None without costs. A ratio of benefits to costs is one more than this."""
    ratio = _ratio(present_benefits, present_costs)
    return None if ratio is None else ratio - 1


def _ratio(benefits: float, costs: float) -> float | None:
    return finite(benefits / costs) if costs else None


def internal_rate_of_return(flows: Sequence[float]) -> float | None:
    """Rate at which yearly `flows` are worth nothing; None when their sign does not change exactly once."""
    signs = [math.copysign(1, flow) for flow in flows if flow != 0]
    if sum(a != b for a, b in itertools.pairwise(signs)) != 1:
        return None
    low, high = -0.999, 1e9  # all but everything lost, and more than anything has returned

    def worth(rate: float) -> float:
        return math.fsum(flow / (1 + rate) ** year for year, flow in enumerate(flows))

    if worth(low) * worth(high) > 0:
        return None
    return float(optimize.brentq(worth, low, high, xtol=1e-12))


def payback_months(flows: Sequence[float]) -> float | None:
    """Months from the first spend until undiscounted flows have paid it back.

    A year's flow comes evenly over its months; year 0 is one moment. 0 when nothing is ever outstanding, None when
    what was spent does not come back within the years.
    """
    balance, spent_in = 0.0, None
    for year, flow in enumerate(flows):
        before, balance = balance, balance + flow
        if spent_in is None:
            if balance < 0:
                spent_in = max(year - 1, 0)
        elif balance >= 0:
            return 12 * (year - 1 - spent_in - before / flow)
    return 0.0 if spent_in is None else None


def appraise(costs: ArrayLike, benefits: ArrayLike, rate: float) -> Appraisal:
    """Appraise yearly costs and benefits, both positive and both from year 0, of shape (years + 1,)."""
    paid, gained = np.asarray(costs, dtype=np.float64), np.asarray(benefits, dtype=np.float64)
    flows = [float(flow) for flow in gained - paid]
    present_costs, present_benefits = float(present_value(paid, rate)), float(present_value(gained, rate))
    return Appraisal(
        present_costs=present_costs,
        present_benefits=present_benefits,
        net_present_value=present_benefits - present_costs,
        roi=return_on_investment(present_costs, present_benefits),
        benefit_cost_ratio=_ratio(present_benefits, present_costs),
        irr=internal_rate_of_return(flows),
        payback_months=payback_months(flows),
    )
