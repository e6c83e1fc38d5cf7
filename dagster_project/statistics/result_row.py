"""One comparison as its row of `marts.mart_significance`; what is undefined is null, never NaN or infinite."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from dagster_project.statistics.accelerated import AcceleratedFit
from dagster_project.statistics.arms import Arm
from dagster_project.statistics.columns import finite
from dagster_project.statistics.downtime import ArmDowntime, DowntimeEffect
from dagster_project.statistics.durations import DurationSummary
from dagster_project.statistics.evidence import Effects, Primary
from dagster_project.statistics.hazards import HazardRatio
from dagster_project.statistics.history import History
from dagster_project.statistics.interruption import PlaceboTest
from dagster_project.statistics.plan import ComparisonPlan, SliceColumn
from dagster_project.statistics.power import ResampledRisks
from dagster_project.statistics.samples import Case, Sample
from dagster_project.statistics.significance import Comparison
from dagster_project.statistics.strata import encode
from dagster_project.statistics.survival import QuantileEstimate, RestrictedMeanDifference, kaplan_meier, quantile

MEDIAN_INTERVAL_FROM, P90_INTERVAL_FROM = 20, 50
"""Ended incidents of an arm from which the interval of a quantile is shown: the p90 hangs on the longest tenth."""


def as_row(comparison: Comparison) -> dict[str, Any]:
    """One comparison as a row of `SIGNIFICANCE_SCHEMA`."""
    row = {
        **planned(comparison.plan, comparison.history),
        "verdict": comparison.verdict.value,
        "reason": comparison.reason,
        "sentence": comparison.sentence,
        "caveats": list(comparison.caveats),
        "not_concluded": list(comparison.not_concluded),
        "tier": comparison.tier.value,
        **_arm_columns("baseline", comparison.case, comparison.case.baseline, comparison.baseline_summary),
        **_arm_columns("candidate", comparison.case, comparison.case.candidate, comparison.candidate_summary),
        **_rate_columns(comparison),
        **_primary_columns(comparison),
        "severity_mix": _mix(comparison.baseline, comparison.candidate),
    }
    if comparison.effects is not None:
        row |= _effect_columns(comparison.effects) | _method_columns(comparison.effects)
    return {name: finite(value) for name, value in row.items()}


def planned(plan: ComparisonPlan, history: History) -> dict[str, Any]:
    """What a row says of the plan and of the look."""
    return {
        "comparison_id": plan.id,
        "question": plan.question,
        "plan_sha256": plan.sha256,
        "clock": plan.clock.value,
        "estimand": plan.estimand.value,
        "cut_over_at": plan.cut_over_at,
        "alpha": plan.alpha,
        "level": plan.level(history.look_number),
        "look_number": history.look_number,
        "planned_looks": plan.looks,
        "is_changed_after_results": history.is_changed_after_results,
        "family": plan.family,
        "smallest_effect": plan.smallest_effect,
        "tau_minutes": plan.tau_minutes,
    }


def _arm_columns(side: str, case: Case, sample: Sample, summary: DurationSummary) -> dict[str, Any]:
    in_minutes = {
        "geometric_mean", "geometric_mean_low", "geometric_mean_high", "median", "p90", "mean", "standard_deviation",
        "minimum", "maximum",
    }  # fmt: skip
    arm = sample.arm
    row: dict[str, Any] = {
        f"{side}_label": arm.label,
        f"{side}_incident_count": arm.count,
        f"{side}_missing_count": arm.missing_count,
        f"{side}_excluded_count": arm.excluded,
        f"{side}_days": arm.days,
    }
    for name, value in asdict(summary).items():
        if name in in_minutes:
            row[f"{side}_{name}_minutes"] = None if value is None else value / 60
        else:
            row[f"{side}_{name}"] = str(value) if name == "tier" else value
    return row | {f"{side}_open_count": arm.open_count} | _quantile_intervals(side, case, sample)


def _quantile_intervals(side: str, case: Case, sample: Sample) -> dict[str, Any]:
    if sample.count < MEDIAN_INTERVAL_FROM:
        return {}
    curve = kaplan_meier(sample.lifetimes, confidence=case.confidence)
    found: dict[str, QuantileEstimate] = {"median": quantile(curve, 0.5)}
    if sample.count >= P90_INTERVAL_FROM:
        found["p90"] = quantile(curve, 0.9)
    return {
        f"{side}_{name}_{end}_minutes": None if value is None else value / 60
        for name, each in found.items()
        for end, value in (("low", each.low), ("high", each.high))
    }


def _rate_columns(comparison: Comparison) -> dict[str, Any]:
    rate = comparison.rate
    if rate is None:
        return {}
    return {
        "baseline_incidents_per_30_days": rate.baseline_per_30_days,
        "candidate_incidents_per_30_days": rate.candidate_per_30_days,
        "rate_ratio": rate.ratio,
        "rate_ratio_low": rate.low,
        "rate_ratio_high": rate.high,
        "rate_p": rate.p_value,
    }


def _primary_columns(comparison: Comparison) -> dict[str, Any]:
    primary = comparison.primary
    if not isinstance(primary, Primary):
        return {}
    return {**interval("primary_ratio", primary), "primary_p": primary.p_value, "holm_p": comparison.holm_p}


def _effect_columns(effects: Effects) -> dict[str, Any]:
    clustered = interval("clustered_ratio", effects.clustered)
    clustered.pop("clustered_ratio")  # the same as the ratio: only its interval differs
    mix = effects.mixes.get(SliceColumn.SEVERITY)
    return {
        **interval("ratio", effects.ratio),
        **interval("adjusted_ratio", effects.adjusted),
        **clustered,
        **interval("within_baseline_ratio", effects.within_baseline),
        "welch_t": effects.welch.statistic,
        "welch_df": effects.welch.degrees_of_freedom,
        "welch_p": effects.welch.p_value,
        "permutation_p": effects.permutation.p_value,
        "permutation_arrangements": effects.permutation.arrangements,
        "is_permutation_exact": effects.permutation.is_exact,
        "mann_whitney_p": effects.ranks.p_value,
        "cliffs_delta": effects.ranks.cliffs_delta,
        "detectable_cut": effects.detectable_cut,
        "severity_mix_overlap": effects.mix_overlap,
        "mix_ratio": None if mix is None else math.exp(mix.mix_log),
        "within_ratio": None if mix is None else math.exp(mix.within_log),
    }


def _method_columns(effects: Effects) -> dict[str, Any]:
    """Columns of the methods that need 20 incidents an arm; none where they gave no number."""
    row = {
        **interval("ratio_with_open", effects.with_open),
        **interval("accelerated_ratio", effects.accelerated),
        **interval("overdispersed_rate_ratio", effects.overdispersed),
        **interval("hazard_ratio", effects.hazard),
    }
    if isinstance(effects.accelerated, AcceleratedFit):
        row["accelerated_p"] = effects.accelerated.p_value
    if isinstance(effects.hazard, HazardRatio):
        row["proportionality_p"] = effects.hazard.proportionality_p_value
    if isinstance(effects.restricted, RestrictedMeanDifference):
        found = effects.restricted
        row["restricted_mean_ratio"] = found.ratio
        row |= {"restricted_mean_ratio_low": found.ratio_low, "restricted_mean_ratio_high": found.ratio_high}
    if isinstance(effects.downtime, DowntimeEffect):
        down = effects.downtime
        row["downtime_ratio"] = down.ratio
        row |= {"downtime_ratio_low": down.ratio_low, "downtime_ratio_high": down.ratio_high}
        row |= _downtime_of("baseline", down.baseline) | _downtime_of("candidate", down.candidate)
    if isinstance(effects.cause.placebo, PlaceboTest):
        row |= {"placebo_rank": effects.cause.placebo.rank, "placebo_p": effects.cause.placebo.p_value}
    if isinstance(effects.risks, ResampledRisks):
        row |= {"wrong_sign": effects.risks.wrong_sign, "as_large_by_chance": effects.risks.as_large_by_chance}
    return row


def _downtime_of(side: str, down: ArmDowntime) -> dict[str, Any]:
    return {
        f"{side}_restricted_mean_minutes": down.restricted_mean_seconds / 60,
        f"{side}_downtime_minutes_per_30_days": down.seconds_per_30_days / 60,
    }


def interval(name: str, effect: object) -> dict[str, Any]:
    """A ratio and its ends as three columns; nulls for whatever has none."""
    values = (getattr(effect, part, None) for part in ("ratio", "low", "high"))
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _mix(baseline: Arm, candidate: Arm) -> list[dict[str, Any]]:
    strata = encode(baseline.severities, candidate.severities)
    return [
        {"severity": str(name), "baseline_count": int(first), "candidate_count": int(second)}
        for name, first, second in zip(strata.names, strata.baseline_counts, strata.candidate_counts, strict=True)
    ]
