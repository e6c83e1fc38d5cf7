"""Rows of the marts of estimates. Nothing is computed here that a line, an appraisal or a draw does not hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from dagster_project.statistics.columns import finite
from dagster_project.statistics.roi import schemas
from dagster_project.statistics.roi.appraisal import Appraisal, appraise
from dagster_project.statistics.roi.draws import Simulation, histogram, quantiles, simulate, used_inputs
from dagster_project.statistics.roi.effects import (
    NO_EFFECTS,
    FoundEffect,
    FoundEffects,
    found_effect,
    wanted_effects,
)
from dagster_project.statistics.roi.lines import Basis, Line, effective_value, lines_of, total
from dagster_project.statistics.roi.plan import Confidence, DowntimePerUser, Effect, Input, RoiPlan
from dagster_project.statistics.roi.sensitivity import break_even_incidents, break_even_share, tornado
from dagster_project.statistics.roi.stated import stated_return

Row = dict[str, Any]


def roi_lines(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_lines`, ordered by estimate, basis, line and year."""

    def rows(plan: RoiPlan, basis: Basis) -> list[Row]:
        lines = enumerate(lines_of(plan, basis, effects), start=1)
        return [row for position, line in lines for row in _years(plan, basis, effects, position, line)]

    return _table(rows, plans, schemas.ROI_LINES_SCHEMA)


def roi_summary(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_summary`: each estimate on both bases, so that labour alone always shows."""
    return _table(lambda plan, basis: [_summary(plan, basis, effects)], plans, schemas.ROI_SUMMARY_SCHEMA)


def roi_draws(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_draws`: the distribution of the net present value on both bases."""
    return _table(lambda plan, basis: [_distribution(plan, basis, effects)], plans, schemas.ROI_DRAWS_SCHEMA)


def roi_histogram(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_histogram`: the bins of the same draws, in order."""

    def rows(plan: RoiPlan, basis: Basis) -> list[Row]:
        bins = histogram(simulate(plan, basis, effects).net_present_values)
        return [
            {
                "roi_bin_id": f"{plan.id}/{basis}/{place}",
                "bin": place,
                "npv_from": each.start,
                "npv_to": each.end,
                "draw_count": each.count,
                "draw_share": each.count / plan.draws,
            }
            for place, each in enumerate(bins, start=1)
        ]

    return _table(rows, plans, schemas.ROI_HISTOGRAM_SCHEMA)


def roi_tornado(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_tornado`: every driver with a range, the widest swing first."""

    def rows(plan: RoiPlan, basis: Basis) -> list[Row]:
        return [
            {
                "roi_tornado_id": f"{plan.id}/{basis}/{swing.driver.id}",
                "position": position,
                "driver_id": swing.driver.id,
                "unit": swing.driver.unit,
                "value": swing.driver.value,
                "low": swing.driver.low,
                "high": swing.driver.high,
                "npv_at_low": swing.at_low,
                "npv_at_high": swing.at_high,
                "swing": swing.width,
                "break_even_value": swing.break_even,
                "is_supported": swing.driver.is_supported,
                "currency": plan.currency,
            }
            for position, swing in enumerate(tornado(plan, basis, effects), start=1)
        ]

    return _table(rows, plans, schemas.ROI_TORNADO_SCHEMA)


def roi_inputs(plans: Iterable[RoiPlan], effects: FoundEffects = NO_EFFECTS) -> pa.Table:
    """Rows of `marts.mart_roi_inputs`: every assumption of every estimate, in the order of the file."""
    rows = [_assumption(plan, name, each, effects) for plan in _sorted(plans) for name, each in plan.inputs()]
    return pa.Table.from_pylist(rows, schema=schemas.ROI_INPUTS_SCHEMA)


def _table(rows: Callable[[RoiPlan, Basis], list[Row]], plans: Iterable[RoiPlan], schema: pa.Schema) -> pa.Table:
    """Rows of every estimate on every basis; what is undefined is null, never NaN or infinite."""
    found = [
        {"estimate_id": plan.id, "basis": basis.value} | {name: finite(value) for name, value in row.items()}
        for plan in _sorted(plans)
        for basis in Basis
        for row in rows(plan, basis)
    ]
    return pa.Table.from_pylist(found, schema=schema)


def _years(plan: RoiPlan, basis: Basis, effects: FoundEffects, position: int, line: Line) -> list[Row]:
    return [
        {
            "roi_line_id": f"{plan.id}/{basis}/{line.id}/{year}",
            "position": position,
            "line_id": line.id,
            "kind": line.kind,
            "label": line.label,
            "formula": line.formula,
            "year": year,
            "amount": amount,
            "present_value": amount / (1 + plan.discount_rate) ** year,
            "calculation": _calculation(line, year, amount, plan.discount_rate),
            "currency": plan.currency,
            "is_credited": line.kind != "transfer",
            "inputs": list(line.inputs),
            "unsupported_inputs": _unsupported(plan, line.inputs, effects),
        }
        for year, amount in enumerate(line.amounts.tolist())
    ]


def _calculation(line: Line, year: int, amount: float, rate: float) -> str:
    if amount == 0:
        return f"{line.formula}: 0 in year {year}"
    discounted = amount / (1 + rate) ** year
    return f"{line.formula} = {amount:,.2f}; / {1 + rate:g}^{year} = {discounted:,.2f}"


def _summary(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> Row:
    lines = lines_of(plan, basis, effects)
    result = appraise(total(lines, "cost", plan.years), total(lines, "benefit", plan.years), plan.discount_rate)
    used = sorted(used_inputs(lines))
    unsupported = _unsupported(plan, used, effects)
    stated = stated_return(plan)
    return {
        "roi_summary_id": f"{plan.id}/{basis}",
        "title": plan.title,
        "plan_sha256": plan.sha256,
        "currency": plan.currency,
        "years": plan.years,
        "discount_rate": plan.discount_rate,
        **vars(result),
        "break_even_share": break_even_share(plan, basis, effects),
        "break_even_incidents": break_even_incidents(plan, basis, effects),
        "stated_ratio": stated and stated.ratio,
        "stated_benefit_cost_ratio": stated and stated.benefit_cost_ratio,
        "stated_roi": stated and stated.roi,
        "stated_sentence": stated and stated.sentence,
        "transfers_not_credited": math.fsum(total(lines, "transfer", plan.years).tolist()),
        "input_count": len(used),
        "unsupported_inputs": unsupported,
        "sentence": _said(plan, basis, effects, _sentence(plan, basis, result, len(used), unsupported)),
        "caveats": [*plan.caveats, *_own_caveats(plan, basis, effects)],
    }


def _sentence(plan: RoiPlan, basis: Basis, result: Appraisal, input_count: int, unsupported: Sequence[str]) -> str:
    if basis is Basis.LABOUR_ONLY:
        counted = "saved investigation hours alone, nothing prevented, bring"
    else:
        counted = "all benefit lines together bring"
    inputs = dict(plan.inputs())
    claimed, without = (
        sum(inputs[name].confidence is kind for name in unsupported)
        for kind in (Confidence.CLAIMED, Confidence.UNSUPPORTED)
    )
    unshown = len(unsupported) - claimed - without
    roi = "no ROI without costs" if result.roi is None else f"ROI {result.roi:,.0%}"
    return (
        f"over {plan.years} years at {plan.discount_rate:.0%} a year {counted} {plan.currency} "
        f"{result.present_benefits:,.0f} for {plan.currency} {result.present_costs:,.0f} "
        f"(NPV {result.net_present_value:,.0f}, {roi}, {_payback(result.payback_months)}); of {input_count} inputs "
        f"{claimed} are only claimed{f', {unshown} take an effect that is not shown' if unshown else ''} and "
        f"{without} have no source."
    )


def _said(plan: RoiPlan, basis: Basis, effects: FoundEffects, figures: str) -> str:
    """A sentence of figures after what must be known first: which effect the data does not show."""
    used = _used_effects(plan, basis, effects)
    refusals = [found.refused for _, found in used if found.refused]
    unshown = [_judged(effect, found) for effect, found in used if not found.refused and not found.is_shown]
    said = [f"An effect counts as none: {why}." for why in refusals]
    said += [f"The effect is not shown: {why}." for why in unshown]
    figures = f"If it held all the same, {figures}" if unshown else f"{figures[0].upper()}{figures[1:]}"
    return " ".join([*said, figures])


def _judged(effect: Effect, found: FoundEffect) -> str:
    return f"comparison {effect.comparison} is {found.verdict}{'' if found.is_judged else ' by another measure'}"


def _used_effects(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> list[tuple[Effect, FoundEffect]]:
    """The effects that the result on this basis rests on, by id."""
    inputs = dict(plan.inputs())
    used = {effect.id for name in used_inputs(lines_of(plan, basis, effects)) if (effect := inputs[name].effect)}
    return [(effect, found_effect(effects, effect)) for name, effect in wanted_effects([plan]).items() if name in used]


def _payback(months: float | None) -> str:
    if months is None:
        return "not paid back"
    return "paid back within a month" if months < 1 else f"paid back after {months:.1f} months"


def _own_caveats(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> list[str]:
    """What the plan itself makes necessary to know, whoever wrote it."""
    caveats = []
    for effect, found in _used_effects(plan, basis, effects):
        if found.refused:
            caveats.append(f"The effect is refused, so that no benefit comes of it: {found.refused}.")
        elif not found.is_shown:
            caveats.append(
                f"The effect is not shown: {_judged(effect, found)}; its {effect.measure} ratio "
                f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f}) is drawn with all that it leaves open."
            )
    downtime = plan.avoided_downtime
    if basis is Basis.ALL_LINES and isinstance(downtime, DowntimePerUser) and downtime.gross_margin is None:
        caveats.append("Downtime is valued at lost revenue, not at lost gross profit: give gross_margin.")
    return caveats


def _distribution(plan: RoiPlan, basis: Basis, effects: FoundEffects) -> Row:
    drawn = simulate(plan, basis, effects)
    npv, roi = drawn.net_present_values, drawn.roi
    low, middle, high = quantiles(npv)
    roi_low, roi_middle, roi_high = (None, None, None) if roi is None else quantiles(roi)
    # Draws that are all the same know no chance of a loss: none is said to be 0 %.
    is_drawn = bool(drawn.drawn)
    negative = float((npv < 0).mean()) if is_drawn else None
    return {
        "roi_draws_id": f"{plan.id}/{basis}",
        "currency": plan.currency,
        "draws": plan.draws,
        "seed": plan.seed,
        "drawn_count": len(drawn.drawn),
        "fixed_count": len(drawn.fixed),
        "npv_p05": low,
        "npv_p50": middle,
        "npv_p95": high,
        "npv_mean": float(npv.mean()),
        "roi_p05": roi_low,
        "roi_p50": roi_middle,
        "roi_p95": roi_high,
        "probability_npv_negative": negative,
        "probability_roi_negative": float((roi < 0).mean()) if roi is not None and is_drawn else None,
        "sentence": _said(plan, basis, effects, _spread(plan, drawn, (low, middle, high), negative)),
    }


def _spread(plan: RoiPlan, drawn: Simulation, percentiles: tuple[float, float, float], negative: float | None) -> str:
    if negative is None:
        return (
            f"none of the {len(drawn.fixed)} inputs has a range, so that every draw is the estimate itself and says "
            "nothing of its uncertainty: give `low` and `high`, or an effect."
        )
    low, middle, high = percentiles
    return (
        f"of {plan.draws:,} draws 90 % bring an NPV between {plan.currency} {low:,.0f} and {high:,.0f} (median "
        f"{middle:,.0f}); {negative:.1%} bring a loss. Drawn: {len(drawn.drawn)}; held at their value because nobody "
        f"gave a range: {len(drawn.fixed)} inputs, so that the true spread is wider."
    )


def _assumption(plan: RoiPlan, name: str, each: Input, effects: FoundEffects) -> Row:
    found = None if each.effect is None else found_effect(effects, each.effect)
    drawn = [*(["triangular"] if each.has_range else []), *(["log_normal"] if found and found.low else [])]
    return {
        "roi_input_id": f"{plan.id}/{name}",
        "estimate_id": plan.id,
        "input_id": name,
        "value": each.value,
        "unit": each.unit,
        "low": each.low,
        "high": each.high,
        "source": each.source,
        "dated_on": each.date,
        "confidence": each.confidence.value,
        "is_supported": _is_supported(each, effects),
        "distribution": "_".join(drawn) or "fixed",
        "comparison_id": each.effect and each.effect.comparison,
        "comparison_verdict": found and found.verdict,
        "effect_ratio": found and found.ratio,
        "effect_low": found and found.low,
        "effect_high": found and found.high,
        "effective_value": effective_value(plan, effects, name),
    }


def _is_supported(each: Input, effects: FoundEffects) -> bool:
    return each.is_supported and (each.effect is None or found_effect(effects, each.effect).is_shown)


def _unsupported(plan: RoiPlan, names: Iterable[str], effects: FoundEffects) -> list[str]:
    inputs = dict(plan.inputs())
    return [name for name in names if not _is_supported(inputs[name], effects)]


def _sorted(plans: Iterable[RoiPlan]) -> list[RoiPlan]:
    return sorted(plans, key=lambda plan: plan.id)
