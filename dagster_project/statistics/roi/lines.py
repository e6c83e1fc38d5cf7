"""The yearly lines of an estimate: costs, four benefits, transfers, each with its arithmetic, at a point or a draw.

Amounts are in the estimate's currency. Year 0 is what is paid before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

import numpy as np

from dagster_project.statistics.roi.effects import FoundEffects, found_effect
from dagster_project.statistics.roi.plan import (
    Amount,
    DowntimePerIncident,
    DowntimePerMinute,
    DowntimePerUser,
    Input,
    RoiPlan,
    before_of,
)
from dagster_project.statistics.roi.quantities import ONE, Amounts, Quantity, number, quantity


class Basis(StrEnum):
    """Which benefits are believed."""

    ALL_LINES = "all_lines"
    LABOUR_ONLY = "labour_only"


@dataclass(frozen=True)
class Line:
    """One line of the cash-flow table; `amounts` has shape (years + 1,) or (years + 1, draws), from year 0."""

    id: str
    kind: str
    label: str
    formula: str
    amounts: Amounts
    inputs: tuple[str, ...]


Drawn = Mapping[str, Amounts]
"""Values that are not the file's: of an input by its dotted name, of an effect's ratio by its id. Shapes broadcast."""


@dataclass(frozen=True)
class _Figures:
    """Inputs as quantities, drawn where they are drawn, with their effects."""

    inputs: Mapping[str, Input]
    effects: FoundEffects
    drawn: Drawn

    def __getitem__(self, name: str) -> Quantity:
        each = self.inputs[name]
        value = quantity(self.drawn.get(name, np.asarray(each.value)), each.value, each.unit)
        if each.effect is None:
            return value
        ratio = found_effect(self.effects, each.effect).ratio
        factor = number(self.drawn.get(each.effect.id, np.asarray(ratio)), ratio)
        before = before_of(name)
        return value * (ONE - factor) if before is None else self[before] * factor


def effective_value(plan: RoiPlan, effects: FoundEffects, name: str) -> float:
    """The value of an input with its effect, as the lines use it."""
    return float(_Figures(dict(plan.inputs()), effects, {})[name].value)


def lines_of(plan: RoiPlan, basis: Basis, effects: FoundEffects, drawn: Drawn | None = None) -> tuple[Line, ...]:
    """Costs, the four benefit lines and the transfers of an estimate.

    On the labour-only basis nothing is prevented, so every incident still happens and is only investigated faster.

    Parameters
    ----------
    effects
        Of the comparisons that inputs name; one that is missing is refused.
    drawn
        Values to compute with instead of the file's. None: the estimate itself.
    """
    figures = _Figures(dict(plan.inputs()), effects, drawn or {})
    believes_all = basis is Basis.ALL_LINES
    remaining, shared = figures["incidents_per_year"], ["incidents_per_year"]
    if believes_all and plan.avoided_incidents is not None:
        remaining = remaining * (ONE - figures["avoided_incidents.share_avoided"])
        shared.append("avoided_incidents.share_avoided")
    benefits = [_labour(plan, figures, remaining, shared)]
    if believes_all:
        benefits += [
            _downtime(plan, figures, remaining, shared), _prevented(plan, figures), _audit(plan, figures)
        ]  # fmt: skip
    return (
        *(_amount("cost", "costs", each, plan, figures) for each in plan.costs),
        *benefits,
        *(_amount("transfer", "transfers", each, plan, figures) for each in plan.transfers),
    )


def total(lines: Iterable[Line], kind: str, years: int) -> Amounts:
    """Sum of the lines of one kind, by year: shape (years + 1,) or (years + 1, draws)."""
    columns = [line.amounts for line in lines if line.kind == kind]
    if not columns:
        return np.zeros(years + 1)
    dimensions = max(column.ndim for column in columns)
    return reduce(np.add, (each.reshape(each.shape + (1,) * (dimensions - each.ndim)) for each in columns))


def _amount(kind: str, group: str, each: Amount, plan: RoiPlan, figures: _Figures) -> Line:
    name = f"{group}.{each.id}.amount"
    is_once = each.timing == "one_time"
    value = figures[name]
    amounts = np.zeros((plan.years + 1, *value.value.shape))
    amounts[slice(0, 1) if is_once else slice(1, None)] = value.value
    formula = f"{value.text}, {'once' if is_once else 'every year'}"
    return Line(each.id, kind, each.label, formula, amounts, (name,))


def _benefit(plan: RoiPlan, name: str, label: str, yearly: Quantity | None, inputs: Iterable[str]) -> Line:
    if yearly is None:
        return Line(name, "benefit", label, "no figure given", np.zeros(plan.years + 1), ())
    amounts = np.zeros((plan.years + 1, *yearly.value.shape))
    amounts[1:] = yearly.value
    return Line(name, "benefit", label, yearly.text, amounts, tuple(inputs))


def _labour(plan: RoiPlan, figures: _Figures, remaining: Quantity, shared: list[str]) -> Line:
    yearly = remaining * _hours_saved(figures) * figures["labour.hourly_cost"]
    used = (*shared, "labour.hours_before", "labour.hours_after", "labour.hourly_cost")
    return _benefit(plan, "labour", "Investigation hours saved", yearly, used)


def _hours_saved(figures: _Figures) -> Quantity:
    return figures["labour.hours_before"] - figures["labour.hours_after"]


def _downtime(plan: RoiPlan, figures: _Figures, remaining: Quantity, shared: list[str]) -> Line:
    downtime, name, label = plan.avoided_downtime, "avoided_downtime", "Downtime avoided on incidents that still happen"
    if downtime is None:
        return _benefit(plan, name, label, None, ())
    used = [f"{name}.{field}" for field, value in downtime if isinstance(value, Input)]
    if isinstance(downtime, DowntimePerIncident):
        saved = figures[f"{name}.cost_before"] - figures[f"{name}.cost_after"]
        if downtime.includes_labour:
            saved = saved - _hours_saved(figures) * figures["labour.hourly_cost"]
            used += ["labour.hours_before", "labour.hours_after", "labour.hourly_cost"]
        return _benefit(plan, name, label, remaining * saved, (*shared, *used))
    minute = _cost_of_a_minute(downtime, figures)
    if isinstance(downtime, DowntimePerUser) and downtime.gross_margin is None:
        label += " (revenue, not profit)"
    return _benefit(plan, name, label, remaining * figures[f"{name}.minutes_saved"] * minute, (*shared, *used))


def _cost_of_a_minute(downtime: DowntimePerMinute | DowntimePerUser, figures: _Figures) -> Quantity:
    name = "avoided_downtime"
    if isinstance(downtime, DowntimePerMinute):
        minute = figures[f"{name}.gross_profit_per_minute"]
    else:
        minute = figures[f"{name}.affected_users"] * figures[f"{name}.revenue_per_user_minute"]
        if downtime.gross_margin is not None:
            minute = minute * figures[f"{name}.gross_margin"]
    for field in ("idle_cost_per_minute", "recovery_labour_per_minute", "credits_per_minute"):
        if getattr(downtime, field) is not None:
            minute = minute + figures[f"{name}.{field}"]
    return minute


def _prevented(plan: RoiPlan, figures: _Figures) -> Line:
    name, label = "avoided_incidents", "Incidents that no longer happen"
    if plan.avoided_incidents is None:
        return _benefit(plan, name, label, None, ())
    used = ("incidents_per_year", f"{name}.share_avoided", f"{name}.cost_per_incident")
    yearly = figures[used[0]] * figures[used[1]] * figures[used[2]]
    return _benefit(plan, name, label, yearly, used)


def _audit(plan: RoiPlan, figures: _Figures) -> Line:
    name, label = "audit_hours", "Hours of collecting evidence saved"
    if plan.audit_hours is None:
        return _benefit(plan, name, label, None, ())
    used = tuple(f"{name}.{field}" for field in ("audits_per_year", "hours_saved", "hourly_cost"))
    return _benefit(plan, name, label, figures[used[0]] * figures[used[1]] * figures[used[2]], used)
