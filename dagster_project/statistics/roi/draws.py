"""Draws of an estimate: which inputs are drawn and how, the net present values that come of them, their summary.

An input with a range is drawn from a triangular distribution with its value as the mode; an effect from a log-normal
one that has the comparison's ratio as its median and the comparison's interval as its own. Others are fixed.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from dagster_project.statistics.roi.appraisal import present_value
from dagster_project.statistics.roi.effects import FoundEffect, FoundEffects, found_effect
from dagster_project.statistics.roi.lines import Basis, Drawn, Line, lines_of, total
from dagster_project.statistics.roi.plan import RoiPlan
from dagster_project.statistics.roi.quantities import Amounts

BINS = 30  # as many as a terminal or a narrow page can show; 10,000 draws fill them
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Driver:
    """What may be drawn: an input with a range, or the effect of a comparison (`found`)."""

    id: str
    unit: str
    value: float
    low: float
    high: float
    is_supported: bool
    found: FoundEffect | None = None

    def draw(self, draws: int, seed: int) -> Amounts:
        """`draws` values of a stream of its own, so that another driver's range changes none of them."""
        stream = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8], "big")
        generator = np.random.default_rng([seed, stream])
        if self.found is not None:
            return np.exp(math.log(self.value) + self.found.log_deviation * generator.standard_normal(draws))
        return triangular(generator.random(draws), self.low, self.value, self.high)


@dataclass(frozen=True)
class Simulation:
    """The net present values and returns of an estimate's draws; `roi` is None where a draw has no costs."""

    net_present_values: Amounts
    roi: Amounts | None
    seed: int
    drawn: tuple[str, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Bin:
    """A bin of a histogram; the last one holds its upper end, others do not."""

    start: float
    end: float
    count: int


def triangular(uniforms: Amounts, low: float, mode: float, high: float) -> Amounts:
    """Inverse of the triangular distribution function at `uniforms`; `low` < `high`, shape as given."""
    left, right, width = mode - low, high - mode, high - low
    rising = low + np.sqrt(uniforms * width * left)
    falling = high - np.sqrt((1 - uniforms) * width * right)
    return np.asarray(np.where(uniforms * width < left, rising, falling))


def used_inputs(lines: tuple[Line, ...]) -> tuple[str, ...]:
    """Inputs that the result rests on, each once, in the order of the lines."""
    return tuple(dict.fromkeys(name for line in lines if line.kind != "transfer" for name in line.inputs))


def drivers_of(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> list[Driver]:
    """What the result on this basis can be drawn from, in the order of the lines."""
    inputs = dict(plan.inputs())
    drivers: dict[str, Driver] = {}
    for name in used_inputs(lines_of(plan, basis, effects)):
        each = inputs[name]
        if each.has_range:
            drivers[name] = Driver(name, each.unit, each.value, *each.ends, each.is_supported)
        if each.effect is None:
            continue
        found = found_effect(effects, each.effect)
        if found.low is not None and found.high is not None:
            drivers[each.effect.id] = Driver(
                each.effect.id, "ratio", found.ratio, found.low, found.high, found.is_shown, found
            )
    return list(drivers.values())


def worth(plan: RoiPlan, basis: Basis, effects: FoundEffects, drawn: Drawn | None = None) -> tuple[Amounts, Amounts]:
    """Present values of costs and of benefits, shape () or (draws,): the lines of the estimate at `drawn` values."""
    lines = lines_of(plan, basis, effects, drawn)
    costs, benefits = (
        present_value(total(lines, kind, plan.years), plan.discount_rate) for kind in ("cost", "benefit")
    )
    return costs, benefits


def simulate(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> Simulation:
    """Draw the estimate `plan.draws` times from `plan.seed`: the same digits every time."""
    drivers = drivers_of(plan, basis, effects)
    drawn = {driver.id: driver.draw(plan.draws, plan.seed) for driver in drivers}
    costs, benefits = (np.broadcast_to(each, (plan.draws,)) for each in worth(plan, basis, effects, drawn))
    inputs = dict(plan.inputs())
    fixed = [
        name
        for name in used_inputs(lines_of(plan, basis, effects))
        if name not in drawn and ((effect := inputs[name].effect) is None or effect.id not in drawn)
    ]
    roi = (benefits - costs) / costs if bool(np.all(costs > 0)) else None
    return Simulation(benefits - costs, roi, plan.seed, tuple(drawn), tuple(fixed))


def quantiles(values: Amounts) -> list[float]:
    """The 5th, 50th and 95th percentile, linear between draws."""
    return [float(each) for each in np.quantile(values, QUANTILES)]


def histogram(values: Amounts) -> list[Bin]:
    """Equal bins from the smallest to the largest value; one bin when all are the same."""
    low, high = float(values.min()), float(values.max())
    # Bins narrower than the numbers' own steps would have no width.
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):
        return [Bin(low, high, values.size)]
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    return [
        Bin(float(start), float(end), int(count)) for start, end, count in zip(edges, edges[1:], counts, strict=False)
    ]
