"""Rows of `marts.mart_significance`: schema, and the function that reads incidents and judges every plan.

Nothing is written here: the caller puts the table where it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dagster_project.statistics.arms import Arm, data_span, read_arm
from dagster_project.statistics.columns import FLAG, NUMBER, TEXT, TEXTS, TIME, WHOLE, described, finite
from dagster_project.statistics.durations import DurationSummary
from dagster_project.statistics.effects import RatioEffect
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA
from dagster_project.statistics.significance import Comparison, Verdict, compare, refused_without_data

__all__ = [
    "FLAG", "NUMBER", "SIGNIFICANCE_SCHEMA", "TEXT", "TEXTS", "TIME", "WHOLE", "as_row", "described", "finite",
    "significance",
]  # fmt: skip


def significance(connection: duckdb.DuckDBPyConnection, plans: Iterable[ComparisonPlan]) -> pa.Table:
    """Rows of `marts.mart_significance`, ordered by comparison.

    Parameters
    ----------
    connection
        Knows `marts.fct_incidents`.
    plans
        From `plan.load_plans`.
    """
    rows = [_judged(connection, plan) for plan in sorted(plans, key=lambda plan: plan.id)]
    return pa.Table.from_pylist(rows, schema=SIGNIFICANCE_SCHEMA)


def _judged(connection: duckdb.DuckDBPyConnection, plan: ComparisonPlan) -> dict[str, Any]:
    span = data_span(connection, plan)
    if span is None:
        refusal = refused_without_data(plan)
        outcome = {
            "verdict": Verdict.NOT_COMPARABLE, "reason": refusal.code, "sentence": f"Not comparable: {refusal.reason}."
        }  # fmt: skip
        labels = {"baseline_label": plan.baseline.label, "candidate_label": plan.candidate.label}
        empty = {"tier": "dots", "caveats": list(plan.caveats), "severity_mix": []}
        return {**_planned(plan), **outcome, **labels, **empty}
    baseline = read_arm(connection, plan, plan.baseline, span)
    candidate = read_arm(connection, plan, plan.candidate, span)
    return as_row(compare(plan, baseline, candidate))


def as_row(comparison: Comparison) -> dict[str, Any]:
    """One comparison as a row of `SIGNIFICANCE_SCHEMA`; what is undefined is null, never NaN or infinite."""
    rate = comparison.rate
    row = {
        **_planned(comparison.plan),
        "verdict": comparison.verdict.value,
        "reason": comparison.reason,
        "sentence": comparison.sentence,
        "caveats": list(comparison.caveats),
        "tier": comparison.tier.value,
        **_arm_columns("baseline", comparison.baseline, comparison.baseline_summary),
        **_arm_columns("candidate", comparison.candidate, comparison.candidate_summary),
        **_effect_columns(comparison),
        "severity_mix": _mix(comparison.baseline, comparison.candidate),
    }
    if rate is not None:
        row |= {
            "baseline_incidents_per_30_days": rate.baseline_per_30_days,
            "candidate_incidents_per_30_days": rate.candidate_per_30_days,
            "rate_ratio": rate.ratio,
            "rate_ratio_low": rate.low,
            "rate_ratio_high": rate.high,
            "rate_p": rate.p_value,
        }
    return {name: finite(value) for name, value in row.items()}


def _planned(plan: ComparisonPlan) -> dict[str, Any]:
    return {
        "comparison_id": plan.id,
        "question": plan.question,
        "plan_sha256": plan.sha256,
        "clock": plan.clock.value,
        "cut_over_at": plan.cut_over_at,
        "alpha": plan.alpha,
        "smallest_effect": plan.smallest_effect,
    }


def _arm_columns(side: str, arm: Arm, summary: DurationSummary) -> dict[str, Any]:
    in_minutes = {
        "geometric_mean", "geometric_mean_low", "geometric_mean_high", "median", "p90", "mean", "standard_deviation",
        "minimum", "maximum",
    }  # fmt: skip
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
    return row | {f"{side}_open_count": arm.open_count}


def _effect_columns(comparison: Comparison) -> dict[str, Any]:
    effects = comparison.effects
    if effects is None:
        return {}
    clustered = _interval("clustered_ratio", effects.clustered)
    clustered.pop("clustered_ratio")  # the same as the ratio: only its interval differs
    return {
        **_interval("ratio", effects.ratio),
        **_interval("adjusted_ratio", effects.adjusted),
        **clustered,
        **_interval("within_baseline_ratio", effects.within_baseline),
        "welch_t": effects.welch.statistic,
        "welch_df": effects.welch.degrees_of_freedom,
        "welch_p": effects.welch.p_value,
        "permutation_p": effects.permutation.p_value,
        "permutation_arrangements": effects.permutation.arrangements,
        "is_permutation_exact": effects.permutation.is_exact,
        "mann_whitney_p": effects.ranks.p_value,
        "cliffs_delta": effects.ranks.cliffs_delta,
        "ratio_with_open": effects.ratio_with_open,
        "detectable_cut": effects.detectable_cut,
        "severity_mix_overlap": effects.mix_overlap,
    }


def _interval(name: str, effect: RatioEffect | None) -> dict[str, Any]:
    if effect is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: effect.ratio, f"{name}_low": effect.low, f"{name}_high": effect.high}


def _mix(baseline: Arm, candidate: Arm) -> list[dict[str, Any]]:
    names = np.unique(np.concatenate([baseline.severities, candidate.severities])).tolist()
    return [
        {
            "severity": name,
            "baseline_count": int((baseline.severities == name).sum()),
            "candidate_count": int((candidate.severities == name).sum()),
        }
        for name in names
    ]
