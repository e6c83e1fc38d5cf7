"""Rows of `marts.mart_significance`: schema, and the function that reads incidents and judges every plan.

Nothing is written here: the caller puts the table where it belongs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from dagster_project.statistics.arms import Arm, data_span, read_arm
from dagster_project.statistics.durations import DurationSummary
from dagster_project.statistics.effects import RatioEffect
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.statistics.significance import Comparison, Verdict, compare, refused_without_data


def described(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    """A column that says what it holds."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


TEXT, NUMBER, WHOLE, FLAG, TIME = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us")
TEXTS = pa.list_(pa.string())
Value = TypeVar("Value")
MIX = pa.list_(pa.struct([("severity", TEXT), ("baseline_count", WHOLE), ("candidate_count", WHOLE)]))

ARM_COLUMNS = (
    ("label", TEXT, "name of the arm"),
    ("incident_count", WHOLE, "incidents, ended or not"),
    ("n", WHOLE, "incidents with a usable time on the clock"),
    ("open_count", WHOLE, "incidents that have not ended"),
    ("missing_count", WHOLE, "ended incidents without a time on the clock"),
    ("excluded_count", WHOLE, "incidents left out by the plan"),
    ("days", NUMBER, "days of data in which an incident could enter the arm"),
    ("tier", TEXT, "dots (below 5), indicative (5 to 19) or full (20 and more)"),
    ("geometric_mean_minutes", NUMBER, "geometric mean; null below 5 incidents"),
    ("geometric_mean_low_minutes", NUMBER, "lower end of its interval"),
    ("geometric_mean_high_minutes", NUMBER, "upper end of its interval"),
    ("median_minutes", NUMBER, "median, open incidents counted (Kaplan-Meier)"),
    ("p90_minutes", NUMBER, "90th percentile, open incidents counted"),
    ("mean_minutes", NUMBER, "arithmetic mean of ended incidents"),
    ("standard_deviation_minutes", NUMBER, "standard deviation of ended incidents"),
    ("coefficient_of_variation", NUMBER, "standard deviation over mean"),
    ("log_standard_deviation", NUMBER, "standard deviation of the natural logs"),
    ("minimum_minutes", NUMBER, "shortest ended incident"),
    ("maximum_minutes", NUMBER, "longest ended incident"),
    ("share_of_largest", NUMBER, "share of all minutes that the longest incident takes"),
    ("incidents_per_30_days", NUMBER, "frequency"),
)

SIGNIFICANCE_SCHEMA = pa.schema(
    [
        described("comparison_id", TEXT, "Id of the plan", nullable=False),
        described("question", TEXT, "What the plan asks", nullable=False),
        described("plan_sha256", TEXT, "Hash of the whole plan, defaults included", nullable=False),
        described("clock", TEXT, "detect, acknowledge, mitigate, resolve or close", nullable=False),
        described("cut_over_at", TIME, "UTC time between the arms; null when they differ by something else"),
        described("verdict", TEXT, "IMPROVED, WORSE, INCONCLUSIVE, UNDERPOWERED or NOT_COMPARABLE", nullable=False),
        described("reason", TEXT, "Code of the reason for the verdict", nullable=False),
        described("sentence", TEXT, "The verdict in one plain sentence", nullable=False),
        described("caveats", TEXTS, "What must be known beside the sentence", nullable=False),
        described("tier", TEXT, "dots, indicative or full: the smaller arm decides", nullable=False),
        described("alpha", NUMBER, "Level of every test and interval", nullable=False),
        described("smallest_effect", NUMBER, "Smallest cut that the plan calls worth having", nullable=False),
        *(
            described(f"{side}_{name}", kind, f"{side.capitalize()} arm: {text}")
            for side in ("baseline", "candidate")
            for name, kind, text in ARM_COLUMNS
        ),
        described("ratio", NUMBER, "Geometric mean of the candidate over the baseline's; below 1 is shorter"),
        described("ratio_low", NUMBER, "Lower end of its interval (Welch on logs)"),
        described("ratio_high", NUMBER, "Upper end of its interval"),
        described("welch_t", NUMBER, "Welch's t on logs"),
        described("welch_df", NUMBER, "Its degrees of freedom"),
        described("welch_p", NUMBER, "Its two-sided p value"),
        described("permutation_p", NUMBER, "Two-sided p value of the permutation test, within severities"),
        described("permutation_arrangements", WHOLE, "Arrangements drawn, or all there are when exact"),
        described("is_permutation_exact", FLAG, "Whether every arrangement was looked at"),
        described("mann_whitney_p", NUMBER, "Two-sided p value of Mann-Whitney's test"),
        described("cliffs_delta", NUMBER, "P(candidate longer) - P(candidate shorter)"),
        described("adjusted_ratio", NUMBER, "Ratio within severities, weighted by the baseline's mix"),
        described("adjusted_ratio_low", NUMBER, "Lower end of its interval"),
        described("adjusted_ratio_high", NUMBER, "Upper end of its interval"),
        described("clustered_ratio_low", NUMBER, "Lower end when incidents of one day may move together"),
        described("clustered_ratio_high", NUMBER, "Upper end when incidents of one day may move together"),
        described("within_baseline_ratio", NUMBER, "Later half of the baseline over its earlier half"),
        described("within_baseline_ratio_low", NUMBER, "Lower end of its interval"),
        described("within_baseline_ratio_high", NUMBER, "Upper end of its interval"),
        described("ratio_with_open", NUMBER, "Ratio with open incidents counted as lasting at least their age"),
        described("detectable_cut", NUMBER, "Smallest cut that these arms would have shown with the plan's power"),
        described("severity_mix", MIX, "Incidents of each severity in each arm", nullable=False),
        described("severity_mix_overlap", NUMBER, "Share of the severity mix that the arms have in common"),
        described("rate_ratio", NUMBER, "Frequency of the candidate over the baseline's"),
        described("rate_ratio_low", NUMBER, "Lower end of its exact Poisson interval"),
        described("rate_ratio_high", NUMBER, "Upper end of its exact Poisson interval"),
        described("rate_p", NUMBER, "Two-sided exact p value of equal frequencies"),
    ],
    metadata={"description": "One row a comparison of two arms of incidents"},
)


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


def finite(value: Value) -> Value | None:
    """`value`, or None when it is a float that no page may show."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
