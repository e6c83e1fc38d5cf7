"""Columns of the marts that a comparison fills: the result, its steps, estimates and what figures are drawn from.

The rows are made in `marts.py`. Ratios are candidate over baseline, so below 1 is shorter or rarer.
"""

from __future__ import annotations

import pyarrow as pa

from dagster_project.statistics.columns import FLAG, NUMBER, TEXT, TEXTS, TIME, WHOLE, described

MIX = pa.list_(pa.struct([("severity", TEXT), ("baseline_count", WHOLE), ("candidate_count", WHOLE)]))
COMPARISON = described("comparison_id", TEXT, "Id of the plan", nullable=False)
ARM = described("arm", TEXT, "baseline or candidate", nullable=False)
ARM_LABEL = described("label", TEXT, "Name of the arm", nullable=False)

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
    ("median_low_minutes", NUMBER, "lower end of its interval (Brookmeyer-Crowley); from 20 incidents"),
    ("median_high_minutes", NUMBER, "upper end of its interval; null also where the band does not come down so far"),
    ("p90_minutes", NUMBER, "90th percentile, open incidents counted"),
    ("p90_low_minutes", NUMBER, "lower end of its interval; from 50 incidents"),
    ("p90_high_minutes", NUMBER, "upper end of its interval; null also where the band does not come down so far"),
    ("mean_minutes", NUMBER, "arithmetic mean of ended incidents"),
    ("standard_deviation_minutes", NUMBER, "standard deviation of ended incidents"),
    ("coefficient_of_variation", NUMBER, "standard deviation over mean"),
    ("log_standard_deviation", NUMBER, "standard deviation of the natural logs"),
    ("minimum_minutes", NUMBER, "shortest ended incident"),
    ("maximum_minutes", NUMBER, "longest ended incident"),
    ("share_of_largest", NUMBER, "share of all minutes that the longest incident takes"),
    ("incidents_per_30_days", NUMBER, "frequency"),
    ("restricted_mean_minutes", NUMBER, "mean duration, each counted up to the horizon tau, open incidents counted"),
    ("downtime_minutes_per_30_days", NUMBER, "frequency times the restricted mean"),
)


def _interval(name: str, what: str, method: str) -> tuple[pa.Field, ...]:
    return (
        described(name, NUMBER, what),
        described(f"{name}_low", NUMBER, f"Lower end of its interval ({method})"),
        described(f"{name}_high", NUMBER, f"Upper end of its interval ({method})"),
    )


SIGNIFICANCE_SCHEMA = pa.schema(
    [
        COMPARISON,
        described("question", TEXT, "What the plan asks", nullable=False),
        described("plan_sha256", TEXT, "Hash of the whole plan, defaults included", nullable=False),
        described("clock", TEXT, "detect, acknowledge, mitigate, resolve or close", nullable=False),
        described("estimand", TEXT, "geometric_mean_ratio, restricted_mean or frequency: what decides", nullable=False),
        described("cut_over_at", TIME, "UTC time between the arms; null when they differ by something else"),
        described("verdict", TEXT, "IMPROVED, WORSE, INCONCLUSIVE, UNDERPOWERED or NOT_COMPARABLE", nullable=False),
        described("reason", TEXT, "Code of the reason for the verdict", nullable=False),
        described("sentence", TEXT, "The verdict in one plain sentence", nullable=False),
        described("caveats", TEXTS, "What must be known beside the sentence", nullable=False),
        described("not_concluded", TEXTS, "What must not be concluded from the result", nullable=False),
        described("tier", TEXT, "dots, indicative or full: the smaller arm decides", nullable=False),
        described("alpha", NUMBER, "Chance of a false positive that the plan allows over its looks", nullable=False),
        described("level", NUMBER, "Level of every test and interval at this look: alpha shared out", nullable=False),
        described("look_number", WHOLE, "How many states of its data this comparison has been made on", nullable=False),
        described("planned_looks", WHOLE, "How many the plan announced", nullable=False),
        described("is_changed_after_results", FLAG, "Whether the plan changed after results existed", nullable=False),
        described("family", TEXT, "Primary family of comparisons, within which Holm's adjustment is made"),
        described("smallest_effect", NUMBER, "Smallest cut that the plan calls worth having", nullable=False),
        described("tau_minutes", NUMBER, "Horizon up to which restricted means count", nullable=False),
        *(
            described(f"{side}_{name}", kind, f"{side.capitalize()} arm: {text}")
            for side in ("baseline", "candidate")
            for name, kind, text in ARM_COLUMNS
        ),
        *_interval("primary_ratio", "The ratio that the verdict stands on, of the plan's estimand", "of its method"),
        described("primary_p", NUMBER, "Its two-sided p value"),
        described("holm_p", NUMBER, "The same adjusted within the family; equal to it in a family of one"),
        *_interval("ratio", "Geometric mean of the candidate over the baseline's", "Welch on logs"),
        described("welch_t", NUMBER, "Welch's t on logs"),
        described("welch_df", NUMBER, "Its degrees of freedom"),
        described("welch_p", NUMBER, "Its two-sided p value"),
        described("permutation_p", NUMBER, "Two-sided p value of the permutation test, within severities"),
        described("permutation_arrangements", WHOLE, "Arrangements drawn, or all there are when exact"),
        described("is_permutation_exact", FLAG, "Whether every arrangement was looked at"),
        described("mann_whitney_p", NUMBER, "Two-sided p value of Mann-Whitney's test"),
        described("cliffs_delta", NUMBER, "P(candidate longer) - P(candidate shorter)"),
        *_interval("adjusted_ratio", "Ratio within severities, weighted by the baseline's mix", "normal"),
        described("clustered_ratio_low", NUMBER, "Lower end when incidents of one day may move together"),
        described("clustered_ratio_high", NUMBER, "Upper end when incidents of one day may move together"),
        *_interval("within_baseline_ratio", "Later half of the baseline over its earlier half", "Welch on logs"),
        *_interval("ratio_with_open", "Ratio with open incidents counted as lasting at least their age", "log-normal"),
        *_interval("accelerated_ratio", "The same within severity and service", "log-normal"),
        described("accelerated_p", NUMBER, "Its two-sided p value"),
        described("detectable_cut", NUMBER, "Smallest cut that these arms would have shown with the plan's power"),
        described("wrong_sign", NUMBER, "Chance that a true gain of the smallest effect looks like a loss of the mean"),
        described("as_large_by_chance", NUMBER, "Chance of a change of the mean this large when nothing changed"),
        described("severity_mix", MIX, "Incidents of each severity in each arm", nullable=False),
        described("severity_mix_overlap", NUMBER, "Share of the severity mix that the arms have in common"),
        described("mix_ratio", NUMBER, "Part of the ratio that the changed severity mix makes: ratio = mix x within"),
        described("within_ratio", NUMBER, "Part of the ratio that lies within severities"),
        *_interval("rate_ratio", "Frequency of the candidate over the baseline's", "exact Poisson"),
        described("rate_p", NUMBER, "Two-sided exact p value of equal frequencies"),
        *_interval("overdispersed_rate_ratio", "The same, allowing for incidents that come in bursts", "quasi-Poisson"),
        *_interval("downtime_ratio", "Downtime per 30 days, candidate over baseline", "bootstrap over services"),
        *_interval("hazard_ratio", "Cox's hazard ratio within severities; above 1 ends sooner", "normal on the log"),
        described("proportionality_p", NUMBER, "Small when the hazard ratio changes with time"),
        *_interval("restricted_mean_ratio", "Restricted mean, candidate over baseline", "normal on the log"),
        described("placebo_rank", WHOLE, "Rank of the cut-over among placebo cut-overs; 1 is the largest movement"),
        described("placebo_p", NUMBER, "Rank over the number of cut-overs ranked"),
    ],
    metadata={"description": "One row a comparison of two arms of incidents"},
)

PLANS_SCHEMA = pa.schema(
    [
        described("plan_id", TEXT, "Comparison and the beginning of the plan's hash", nullable=False),
        COMPARISON,
        described("plan_sha256", TEXT, "Hash of the whole plan, defaults included", nullable=False),
        described("plan", TEXT, "The plan as JSON, of which that is the hash", nullable=False),
        described("is_current", FLAG, "Whether it is the plan that now stands in the file", nullable=False),
        described("registered_at", TIME, "UTC time at which the plan was stored, before its results", nullable=False),
        described("first_result_at", TIME, "UTC time of its first result; null when it has none"),
        described("looks", WHOLE, "States of the data on which it was computed", nullable=False),
        described("planned_looks", WHOLE, "Looks that the plan announced", nullable=False),
    ],
    metadata={"description": "One row a version of a plan, with the time at which it was stored"},
)

STEPS_SCHEMA = pa.schema(
    [
        described("step_id", TEXT, "Comparison and number of the step", nullable=False),
        COMPARISON,
        described("number", WHOLE, "0 to 12, in the order of the protocol", nullable=False),
        described("name", TEXT, "Name of the step", nullable=False),
        described("status", TEXT, "done, not_possible, or skipped_by_tier where an arm is too small", nullable=False),
        described("finding", TEXT, "What was found, or why nothing was, in a sentence", nullable=False),
        described("unit", TEXT, "Unit of the estimate: ratio, minutes, share, p, …"),
        described("estimate", NUMBER, "The main number of the step"),
        described("low", NUMBER, "Lower end of its interval"),
        described("high", NUMBER, "Upper end of its interval"),
        described("p_value", NUMBER, "Two-sided p value of the step"),
        described("n", WHOLE, "Incidents that it rests on, both arms"),
    ],
    metadata={"description": "One row a comparison and step of the protocol"},
)

ESTIMATES_SCHEMA = pa.schema(
    [
        described("estimate_id", TEXT, "Comparison and name of the estimate", nullable=False),
        COMPARISON,
        described("position", WHOLE, "Order of the estimate among those of the comparison, from 1", nullable=False),
        described("step_number", WHOLE, "Step of the protocol that made it", nullable=False),
        described("name", TEXT, "Code of the estimate, e.g. accelerated_ratio", nullable=False),
        described("label", TEXT, "What it is, for a figure", nullable=False),
        described("unit", TEXT, "ratio, minutes, share, …; ratios of durations belong on one axis", nullable=False),
        described("is_duration_ratio", FLAG, "Whether it estimates the ratio of durations another way", nullable=False),
        described("is_primary", FLAG, "Whether the verdict stands on it", nullable=False),
        described("estimate", NUMBER, "The number; null where it could not be had"),
        described("low", NUMBER, "Lower end of its interval"),
        described("high", NUMBER, "Upper end of its interval"),
        described("p_value", NUMBER, "Two-sided p value"),
        described("n", WHOLE, "Incidents that it rests on, both arms"),
        described("note", TEXT, "Why it could not be had, or what limits it"),
    ],
    metadata={"description": "One row a comparison and estimate: what a forest plot shows"},
)

SLICES_SCHEMA = pa.schema(
    [
        described("slice_id", TEXT, "Comparison, column and value", nullable=False),
        COMPARISON,
        described("column_name", TEXT, "severity, service, team or category", nullable=False),
        described("value", TEXT, "Value of the column", nullable=False),
        described("baseline_n", WHOLE, "Ended incidents of the baseline", nullable=False),
        described("candidate_n", WHOLE, "Ended incidents of the candidate", nullable=False),
        described("baseline_geometric_mean_minutes", NUMBER, "Geometric mean of the baseline", nullable=False),
        described("candidate_geometric_mean_minutes", NUMBER, "Geometric mean of the candidate", nullable=False),
        described("ratio", NUMBER, "Candidate over baseline", nullable=False),
        described("low", NUMBER, "Lower end of its interval (Welch on logs), not adjusted", nullable=False),
        described("high", NUMBER, "Upper end of its interval, not adjusted", nullable=False),
        described("p_value", NUMBER, "Welch's two-sided p value", nullable=False),
        described("adjusted_p_value", NUMBER, "The same by Benjamini and Hochberg over all slices", nullable=False),
        described("is_discovery", FLAG, "Whether it is below q = 0.10: where to look, no more", nullable=False),
    ],
    metadata={"description": "One row a slice of a comparison: exploratory, no verdict stands on it"},
)

MIX_SCHEMA = pa.schema(
    [
        described("mix_id", TEXT, "Comparison, column and kind", nullable=False),
        COMPARISON,
        described("column_name", TEXT, "severity, category and others that tell kinds apart", nullable=False),
        described("kind", TEXT, "Value of the column", nullable=False),
        described("baseline_n", WHOLE, "Ended incidents of the baseline", nullable=False),
        described("candidate_n", WHOLE, "Ended incidents of the candidate", nullable=False),
        described("baseline_share", NUMBER, "Share of the baseline", nullable=False),
        described("candidate_share", NUMBER, "Share of the candidate", nullable=False),
        described("baseline_geometric_mean_minutes", NUMBER, "Null when the baseline has none"),
        described("candidate_geometric_mean_minutes", NUMBER, "Null when the candidate has none"),
        described("baseline_mean_minutes", NUMBER, "Null when the baseline has none"),
        described("candidate_mean_minutes", NUMBER, "Null when the candidate has none"),
        described("mix_log", NUMBER, "What its changed share adds to the log of the ratio", nullable=False),
        described("within_log", NUMBER, "What its own change adds to the log of the ratio", nullable=False),
        described("mix_minutes", NUMBER, "What its changed share adds to the mean", nullable=False),
        described("within_minutes", NUMBER, "What its own change adds to the mean", nullable=False),
        described("is_in_both_arms", FLAG, "False: nothing says how long it would last in the other", nullable=False),
    ],
    metadata={"description": "One row a comparison and kind of incident: Kitagawa's split of the change"},
)

CURVES_SCHEMA = pa.schema(
    [
        described("point_id", TEXT, "Comparison, arm and position", nullable=False),
        COMPARISON,
        ARM,
        ARM_LABEL,
        described("position", WHOLE, "Order along the curve, from 0 at time zero", nullable=False),
        described("minutes", NUMBER, "Time since the start of the incident", nullable=False),
        described("survival", NUMBER, "Share of incidents not yet ended (Kaplan-Meier)", nullable=False),
        described("low", NUMBER, "Lower edge of the pointwise band", nullable=False),
        described("high", NUMBER, "Upper edge of the pointwise band", nullable=False),
        described("at_risk", WHOLE, "Incidents still followed just before", nullable=False),
        described("ended", WHOLE, "Incidents that ended at this very time", nullable=False),
    ],
    metadata={"description": "Survival curves of the arms, thinned to 200 points an arm"},
)

PLACEBO_SCHEMA = pa.schema(
    [
        described("placebo_id", TEXT, "Comparison and position", nullable=False),
        COMPARISON,
        described("position", WHOLE, "Order in time, from 1", nullable=False),
        described("cut_over_at", TIME, "UTC time at which the data was cut", nullable=False),
        described("is_real", FLAG, "Whether it is the plan's cut-over", nullable=False),
        described("ratio", NUMBER, "Geometric mean after over before, within the window", nullable=False),
        described("baseline_n", WHOLE, "Incidents before, within the window"),
        described("candidate_n", WHOLE, "Incidents after, within the window"),
        described("window_days", NUMBER, "Length of the window either side", nullable=False),
    ],
    metadata={"description": "The cut-over of a comparison among cut-overs at which nothing is known to have happened"},
)

POINTS_SCHEMA = pa.schema(
    [
        described("point_id", TEXT, "Comparison, arm and position", nullable=False),
        COMPARISON,
        ARM,
        ARM_LABEL,
        described("position", WHOLE, "Order by duration within the arm, from 1", nullable=False),
        described("system", TEXT, "System of the incident in fct_incidents"),
        described("incident_id", TEXT, "Id of the incident in fct_incidents", nullable=False),
        described("severity", TEXT, "Its severity", nullable=False),
        described("started_at", TIME, "UTC time of its start", nullable=False),
        described("minutes", NUMBER, "Time on the clock, or age so far when open", nullable=False),
        described("is_open", FLAG, "Whether it has not ended", nullable=False),
        described("normal_quantile", NUMBER, "Where a normal distribution of logs would put it; null when open"),
    ],
    metadata={"description": "Incidents of the arms as points; an arm above 2,000 is thinned evenly by duration"},
)
