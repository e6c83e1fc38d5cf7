"""What an estimate hangs on: the tornado of its drivers, and where its net present value is nothing.

Every number comes from the lines of the estimate itself, computed at other values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from dagster_project.statistics.roi.draws import Driver, drivers_of, worth
from dagster_project.statistics.roi.effects import FoundEffects, found_effect
from dagster_project.statistics.roi.lines import Basis, Drawn, effective_value
from dagster_project.statistics.roi.plan import EFFECTS, SHARES, RoiPlan, before_of
from dagster_project.statistics.roi.quantities import Amounts

RATIO_SEARCH = np.geomspace(1e-3, 1e3, 2_001)
"""Ratios among which an effect's break-even is sought: no duration or frequency changes more than a thousandfold."""


@dataclass(frozen=True)
class Swing:
    """How far one driver moves the net present value, all others at their value."""

    driver: Driver
    at_low: float
    at_high: float
    break_even: float | None

    @property
    def width(self) -> float:
        return abs(self.at_high - self.at_low)


def tornado(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> list[Swing]:
    """Every driver at the ends of its range, the widest swing first."""
    swings = []
    for driver in drivers_of(plan, basis, effects):
        at_low, at_high = _net(plan, basis, effects, {driver.id: np.array([driver.low, driver.high])})
        break_even = (
            _break_even_of_input(plan, basis, effects, driver.id)
            if driver.found is None
            else _break_even_of_effect(plan, basis, effects, driver)
        )
        swings.append(Swing(driver, float(at_low), float(at_high), break_even))
    return sorted(swings, key=lambda swing: (-swing.width, swing.driver.id))


def break_even_incidents(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> float | None:
    """Incidents a year at which the net present value is 0, or None."""
    return _break_even_of_input(plan, basis, effects, "incidents_per_year")


def break_even_share(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> float | None:
    """Share of all assumed effects at which the net present value is 0, or None.

    At share k, k times the hours, minutes and audit hours are saved and k times the share of incidents is avoided, so
    0.5 says: half of what is assumed is enough. The value is of second degree in k, for fewer incidents are left to
    save hours on, hence three points give it exactly.
    """
    points = np.array([0.0, 0.5, 1.0])
    at_none, at_half, at_all = (float(each) for each in _net(plan, basis, effects, _scaled(plan, effects, points)))
    square = 2 * (at_all - 2 * at_half + at_none)
    slope = at_all - at_none - square
    has_avoided = basis is Basis.ALL_LINES and plan.avoided_incidents is not None
    avoided = effective_value(plan, effects, "avoided_incidents.share_avoided") if has_avoided else 0.0
    most = 1 / avoided if avoided > 0 else math.inf
    scale = max(abs(at_none), abs(at_all), 1.0)
    # Rounding leaves a square of next to nothing, whose second root means nothing.
    degree = [at_none, slope] if abs(square) < 1e-9 * scale else [at_none, slope, square]
    if len(degree) == 2 and abs(slope) < 1e-9 * scale:
        return None
    found = np.roots(degree[::-1])
    within = [float(root.real) for root in found if abs(root.imag) < 1e-9 and 0 <= root.real <= most]
    return min(within, default=None)


def _net(plan: RoiPlan, basis: Basis, effects: FoundEffects, drawn: Drawn) -> Amounts:
    """Net present values, one for each value of what is drawn, also where the result does not depend on it."""
    costs, benefits = worth(plan, basis, effects, drawn)
    shape = np.broadcast_shapes(*(each.shape for each in drawn.values()))
    return np.broadcast_to(benefits - costs, shape)


def _break_even_of_input(plan: RoiPlan, basis: Basis, effects: FoundEffects, name: str) -> float | None:
    """Every line is of first degree in every input, so two points give its zero."""
    at_none, at_one = (float(each) for each in _net(plan, basis, effects, {name: np.array([0.0, 1.0])}))
    if math.isclose(at_one, at_none, rel_tol=1e-12, abs_tol=1e-12):
        return None
    found = at_none / (at_none - at_one) + 0.0  # no minus before a zero
    if found < 0 or not math.isfinite(found) or (SHARES.search(name) and found > 1):
        return None
    return found


def _break_even_of_effect(plan: RoiPlan, basis: Basis, effects: FoundEffects, driver: Driver) -> float | None:
    """The ratio nearest to the one that was found at which the net present value is 0."""
    values = _net(plan, basis, effects, {driver.id: RATIO_SEARCH})
    crossings = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) <= 0)
    if crossings.size == 0 or not np.any(values):
        return None
    nearest = min(crossings, key=lambda place: abs(math.log(RATIO_SEARCH[place] / driver.value)))

    def net(ratio: float) -> float:
        return float(_net(plan, basis, effects, {driver.id: np.array([ratio])})[0])

    return float(optimize.brentq(net, RATIO_SEARCH[nearest], RATIO_SEARCH[nearest + 1], xtol=1e-12))


def _scaled(plan: RoiPlan, effects: FoundEffects, shares: Amounts) -> dict[str, Amounts]:
    """Inputs at `shares` of their effect. Savings scale; what is left after scales towards what was before.

    An effect that is a comparison's is scaled as what is left of it: 1 - share x (1 - ratio).
    """
    inputs = dict(plan.inputs())
    drawn: dict[str, Amounts] = {}
    for name, each in inputs.items():
        if not EFFECTS.search(name):
            continue
        before = inputs.get(before_of(name) or "")
        if each.effect is not None:
            drawn[each.effect.id] = 1 - shares * (1 - found_effect(effects, each.effect).ratio)
        elif before is not None:
            drawn[name] = before.value - shares * (before.value - each.value)
        else:
            drawn[name] = shares * each.value
    return drawn
