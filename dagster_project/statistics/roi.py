"""Return on investment: yearly lines from assumptions, present values, NPV, ROI, IRR, payback; their mart rows.

Amounts are in the estimate's currency. Year 0 is what is paid before anything runs; it is not discounted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
from scipy import optimize

from dagster_project.statistics.marts import FLAG, NUMBER, TEXT, TEXTS, WHOLE, described, finite
from dagster_project.statistics.roi_plan import Amount, Confidence, DowntimePerMinute, Input, RoiPlan


class Basis(StrEnum):
    """Which benefits are believed."""

    ALL_LINES = "all_lines"
    LABOUR_ONLY = "labour_only"


@dataclass(frozen=True)
class Line:
    """One line of the cash-flow table; `amounts` has one entry a year, from year 0."""

    id: str
    kind: str
    label: str
    formula: str
    amounts: tuple[float, ...]
    inputs: tuple[str, ...]


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


def present_value(amounts: Sequence[float], rate: float) -> float:
    """Sum of `amounts` discounted to year 0; the first entry is year 0 and stays as it is."""
    return math.fsum(amount / (1 + rate) ** year for year, amount in enumerate(amounts))


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
    low, high = -0.999, 1e9
    if present_value(flows, low) * present_value(flows, high) > 0:
        return None
    return float(optimize.brentq(lambda rate: present_value(flows, rate), low, high, xtol=1e-12))


def payback_months(flows: Sequence[float]) -> float | None:
    """Months from the first spend until undiscounted flows have paid it back; None when they never do.

    A year's flow comes evenly over its months.
    """
    balance = flows[0]
    if balance >= 0:
        return 0.0
    for year, flow in enumerate(flows[1:]):
        if balance + flow >= 0:
            return 12 * (year - balance / flow)
        balance += flow
    return None


def appraise(costs: Sequence[float], benefits: Sequence[float], rate: float) -> Appraisal:
    """Appraise yearly costs and benefits, both positive and both from year 0."""
    flows = [benefit - cost for cost, benefit in zip(costs, benefits, strict=True)]
    present_costs, present_benefits = present_value(costs, rate), present_value(benefits, rate)
    return Appraisal(
        present_costs=present_costs,
        present_benefits=present_benefits,
        net_present_value=present_benefits - present_costs,
        roi=return_on_investment(present_costs, present_benefits),
        benefit_cost_ratio=_ratio(present_benefits, present_costs),
        irr=internal_rate_of_return(flows),
        payback_months=payback_months(flows),
    )


def lines_of(plan: RoiPlan, basis: Basis) -> tuple[Line, ...]:
    """Costs, the four benefit lines and the transfers of an estimate.

    On the labour-only basis nothing is prevented, so every incident still happens and is only investigated faster.
    """
    believes_all = basis is Basis.ALL_LINES
    avoided = plan.avoided_incidents if believes_all else None
    share = avoided.share_avoided.value if avoided else 0.0
    incidents = plan.incidents_per_year.value
    remaining, prevented = incidents * (1 - share), incidents * share
    shared_inputs = ("incidents_per_year", *(("avoided_incidents.share_avoided",) if avoided else ()))
    benefits = [_labour(plan, remaining, shared_inputs)]
    if believes_all:
        benefits += [
            _downtime(plan, remaining, shared_inputs), _prevented(plan, prevented, shared_inputs), _audit(plan)
        ]  # fmt: skip
    return (
        *(_amount("cost", "costs", each, plan.years) for each in plan.costs),
        *benefits,
        *(_amount("transfer", "transfers", each, plan.years) for each in plan.transfers),
    )


def total(lines: Iterable[Line], kind: str, years: int) -> tuple[float, ...]:
    """Sum of the lines of one kind, by year."""
    columns = [line.amounts for line in lines if line.kind == kind]
    return tuple(math.fsum(column) for column in zip(*columns, strict=True)) or (0.0,) * (years + 1)


def _amount(kind: str, group: str, each: Amount, years: int) -> Line:
    is_once = each.timing == "one_time"
    amounts = tuple(each.amount.value if (year == 0) is is_once else 0.0 for year in range(years + 1))
    formula = f"{_say(each.amount)}, {'once' if is_once else 'every year'}"
    return Line(each.id, kind, each.label, formula, amounts, (f"{group}.{each.id}.amount",))


def _benefit(plan: RoiPlan, name: str, label: str, formula: str, yearly: float, inputs: Iterable[str]) -> Line:
    return Line(name, "benefit", label, formula, (0.0, *(yearly,) * plan.years), tuple(inputs))


def _labour(plan: RoiPlan, remaining: float, shared: tuple[str, ...]) -> Line:
    labour = plan.labour
    yearly = remaining * (labour.hours_before.value - labour.hours_after.value) * labour.hourly_cost.value
    formula = (
        f"{remaining:g} incidents that still happen x ({_say(labour.hours_before)} - {_say(labour.hours_after)}) "
        f"x {_say(labour.hourly_cost)}"
    )
    return _benefit(
        plan,
        "labour",
        "Investigation hours saved",
        formula,
        yearly,
        (*shared, "labour.hours_before", "labour.hours_after", "labour.hourly_cost"),
    )


def _downtime(plan: RoiPlan, remaining: float, shared: tuple[str, ...]) -> Line:
    downtime, name, label = plan.avoided_downtime, "avoided_downtime", "Downtime avoided on incidents that still happen"
    if downtime is None:
        return _benefit(plan, name, label, "no figure given", 0.0, ())
    used = [f"{name}.{field}" for field, value in downtime if isinstance(value, Input)]
    if isinstance(downtime, DowntimePerMinute):
        parts = (
            downtime.gross_profit_per_minute, downtime.idle_cost_per_minute, downtime.recovery_labour_per_minute,
            downtime.credits_per_minute,
        )  # fmt: skip
        given = [part for part in parts if part is not None]
        yearly = remaining * downtime.minutes_saved.value * math.fsum(part.value for part in given)
        rates = " + ".join(_say(part) for part in given)
        formula = f"{remaining:g} incidents that still happen x {_say(downtime.minutes_saved)} x ({rates})"
        return _benefit(plan, name, label, formula, yearly, (*shared, *used))
    saved = downtime.cost_before.value - downtime.cost_after.value
    formula = f"{_say(downtime.cost_before)} - {_say(downtime.cost_after)}"
    if downtime.includes_labour:
        labour = plan.labour
        hours = labour.hours_before.value - labour.hours_after.value
        saved -= hours * labour.hourly_cost.value
        formula += f" - {hours:g} hours x {_say(labour.hourly_cost)} already in the labour line"
    formula = f"{remaining:g} incidents that still happen x ({formula})"
    return _benefit(plan, name, label, formula, remaining * saved, (*shared, *used))


def _prevented(plan: RoiPlan, prevented: float, shared: tuple[str, ...]) -> Line:
    avoided, name, label = plan.avoided_incidents, "avoided_incidents", "Incidents that no longer happen"
    if avoided is None:
        return _benefit(plan, name, label, "no figure given", 0.0, ())
    formula = f"{prevented:g} incidents that no longer happen x {_say(avoided.cost_per_incident)}"
    yearly = prevented * avoided.cost_per_incident.value
    return _benefit(plan, name, label, formula, yearly, (*shared, "avoided_incidents.cost_per_incident"))


def _audit(plan: RoiPlan) -> Line:
    audit, name, label = plan.audit_hours, "audit_hours", "Hours of collecting evidence saved"
    if audit is None:
        return _benefit(plan, name, label, "no figure given", 0.0, ())
    yearly = audit.audits_per_year.value * audit.hours_saved.value * audit.hourly_cost.value
    formula = f"{_say(audit.audits_per_year)} x {_say(audit.hours_saved)} x {_say(audit.hourly_cost)}"
    return _benefit(plan, name, label, formula, yearly, (f"{name}.{field}" for field, _ in audit))


def _say(each: Input) -> str:
    return f"{each.value:,.10g} {each.unit}"


ROI_LINES_SCHEMA = pa.schema(
    [
        described("estimate_id", TEXT, "Id of the estimate", nullable=False),
        described("basis", TEXT, "all_lines, or labour_only: nothing prevented, no downtime saved", nullable=False),
        described("position", WHOLE, "Order of the line in the table, from 1", nullable=False),
        described("line_id", TEXT, "Id of the line", nullable=False),
        described("kind", TEXT, "cost, benefit or transfer (listed, not credited)", nullable=False),
        described("label", TEXT, "What the line is", nullable=False),
        described("formula", TEXT, "How one year's amount comes about, with its numbers", nullable=False),
        described("year", WHOLE, "0 before anything runs, then 1, 2, ...", nullable=False),
        described("amount", NUMBER, "Amount of that year, costs positive", nullable=False),
        described("present_value", NUMBER, "The amount discounted to year 0", nullable=False),
        described("currency", TEXT, "ISO 4217 code", nullable=False),
        described("is_credited", FLAG, "Whether the line enters the result", nullable=False),
        described("inputs", TEXTS, "Inputs that the amount rests on", nullable=False),
        described("unsupported_inputs", TEXTS, "Those among them that are only claimed or unsupported", nullable=False),
    ],
    metadata={"description": "One row a line and year of a return-on-investment estimate"},
)

ROI_SUMMARY_SCHEMA = pa.schema(
    [
        described("estimate_id", TEXT, "Id of the estimate", nullable=False),
        described("title", TEXT, "What is estimated", nullable=False),
        described("basis", TEXT, "all_lines, or labour_only: nothing prevented, no downtime saved", nullable=False),
        described("plan_sha256", TEXT, "Hash of all assumptions, defaults included", nullable=False),
        described("currency", TEXT, "ISO 4217 code", nullable=False),
        described("years", WHOLE, "Length of the estimate", nullable=False),
        described("discount_rate", NUMBER, "A year's discount; year 0 is undiscounted", nullable=False),
        described("present_costs", NUMBER, "Present value of costs", nullable=False),
        described("present_benefits", NUMBER, "Present value of benefits", nullable=False),
        described("net_present_value", NUMBER, "Benefits minus costs", nullable=False),
        described("roi", NUMBER, "(benefits - costs) / costs, of present values; null without costs"),
        described("benefit_cost_ratio", NUMBER, "benefits / costs, of present values; one more than the ROI"),
        described("irr", NUMBER, "Internal rate of return; null when there is none or more than one"),
        described("payback_months", NUMBER, "Months from first spend, undiscounted; null when never within the years"),
        described("stated_ratio", NUMBER, "The return that the source itself states"),
        described("transfers_not_credited", NUMBER, "Undiscounted sum of transfers over all years", nullable=False),
        described("input_count", WHOLE, "Inputs that the result rests on", nullable=False),
        described("unsupported_inputs", TEXTS, "Those among them that are only claimed or unsupported", nullable=False),
        described("sentence", TEXT, "The result in one plain sentence", nullable=False),
        described("caveats", TEXTS, "What must be known beside it", nullable=False),
    ],
    metadata={"description": "One row an estimate and basis"},
)

ROI_INPUTS_SCHEMA = pa.schema(
    [
        described("estimate_id", TEXT, "Id of the estimate", nullable=False),
        described("input_id", TEXT, "Dotted name of the input in the file", nullable=False),
        described("value", NUMBER, "Its value", nullable=False),
        described("unit", TEXT, "Its unit", nullable=False),
        described("low", NUMBER, "Lower end of what is plausible"),
        described("high", NUMBER, "Upper end of what is plausible"),
        described("source", TEXT, "Where it comes from", nullable=False),
        described("dated_on", pa.date32(), "Day the figure is of; null when its source gives none"),
        described("confidence", TEXT, "measured, published, estimated, claimed or unsupported", nullable=False),
        described("is_supported", FLAG, "False when it is only claimed or unsupported", nullable=False),
    ],
    metadata={"description": "One row an assumption"},
)


def roi_lines(plans: Iterable[RoiPlan]) -> pa.Table:
    """Rows of `marts.mart_roi_lines`, ordered by estimate, basis, line and year."""
    rows = [
        {
            "estimate_id": plan.id,
            "basis": basis.value,
            "position": position,
            "line_id": line.id,
            "kind": line.kind,
            "label": line.label,
            "formula": line.formula,
            "year": year,
            "amount": amount,
            "present_value": amount / (1 + plan.discount_rate) ** year,
            "currency": plan.currency,
            "is_credited": line.kind != "transfer",
            "inputs": list(line.inputs),
            "unsupported_inputs": _unsupported(plan, line.inputs),
        }
        for plan in _sorted(plans)
        for basis in Basis
        for position, line in enumerate(lines_of(plan, basis), start=1)
        for year, amount in enumerate(line.amounts)
    ]
    return pa.Table.from_pylist(rows, schema=ROI_LINES_SCHEMA)


def roi_summary(plans: Iterable[RoiPlan]) -> pa.Table:
    """Rows of `marts.mart_roi_summary`: each estimate on both bases, so that labour alone always shows."""
    rows = [_summary(plan, basis) for plan in _sorted(plans) for basis in Basis]
    return pa.Table.from_pylist(rows, schema=ROI_SUMMARY_SCHEMA)


def roi_inputs(plans: Iterable[RoiPlan]) -> pa.Table:
    """Rows of `marts.mart_roi_inputs`: every assumption of every estimate, in the order of the file."""
    rows = [
        {
            "estimate_id": plan.id,
            "input_id": name,
            "value": each.value,
            "unit": each.unit,
            "low": each.low,
            "high": each.high,
            "source": each.source,
            "dated_on": each.date,
            "confidence": each.confidence.value,
            "is_supported": each.is_supported,
        }
        for plan in _sorted(plans)
        for name, each in plan.inputs()
    ]
    return pa.Table.from_pylist(rows, schema=ROI_INPUTS_SCHEMA)


def _summary(plan: RoiPlan, basis: Basis) -> dict[str, Any]:
    lines = lines_of(plan, basis)
    result = appraise(total(lines, "cost", plan.years), total(lines, "benefit", plan.years), plan.discount_rate)
    used = sorted({name for line in lines if line.kind != "transfer" for name in line.inputs})
    unsupported = _unsupported(plan, used)
    row = {
        "estimate_id": plan.id,
        "title": plan.title,
        "basis": basis.value,
        "plan_sha256": _sha256(plan),
        "currency": plan.currency,
        "years": plan.years,
        "discount_rate": plan.discount_rate,
        **vars(result),
        "stated_ratio": plan.stated_ratio.value if plan.stated_ratio else None,
        "transfers_not_credited": math.fsum(total(lines, "transfer", plan.years)),
        "input_count": len(used),
        "unsupported_inputs": unsupported,
        "sentence": _sentence(plan, basis, result, len(used), unsupported),
        "caveats": list(plan.caveats),
    }
    return {name: finite(value) for name, value in row.items()}


def _sentence(plan: RoiPlan, basis: Basis, result: Appraisal, input_count: int, unsupported: Sequence[str]) -> str:
    if basis is Basis.LABOUR_ONLY:
        counted = "saved investigation hours alone, nothing prevented, bring"
    else:
        counted = "all benefit lines together bring"
    inputs = dict(plan.inputs())
    weak = sum(inputs[name].confidence is Confidence.UNSUPPORTED for name in unsupported)
    roi = "no ROI without costs" if result.roi is None else f"ROI {result.roi:,.0%}"
    return (
        f"Over {plan.years} years at {plan.discount_rate:.0%} a year {counted} {plan.currency} "
        f"{result.present_benefits:,.0f} for {plan.currency} {result.present_costs:,.0f} "
        f"(NPV {result.net_present_value:,.0f}, {roi}, {_payback(result.payback_months)}); of {input_count} inputs "
        f"{len(unsupported) - weak} are only claimed and {weak} have no source."
    )


def _payback(months: float | None) -> str:
    if months is None:
        return "not paid back"
    return "paid back within a month" if months < 1 else f"paid back after {months:.1f} months"


def _unsupported(plan: RoiPlan, names: Iterable[str]) -> list[str]:
    inputs = dict(plan.inputs())
    return [name for name in names if not inputs[name].is_supported]


def _sorted(plans: Iterable[RoiPlan]) -> list[RoiPlan]:
    return sorted(plans, key=lambda plan: plan.id)


def _sha256(plan: RoiPlan) -> str:
    text = json.dumps(plan.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
