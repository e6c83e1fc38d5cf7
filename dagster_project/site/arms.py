"""The two arms of a comparison side by side, a row a measure. Each cell says which column of the mart it is."""

from __future__ import annotations

from dataclasses import replace

from dagster_project.site.tables import Cell, Column, Table, cell
from dagster_project.site.workshop import Row

# Name of the measure, its column after `baseline_` or `candidate_`, how it is written.
MEASURES = (
    ("Incidents", "incident_count", "count"),
    ("… ended, with a time on the clock", "n", "count"),
    ("… still open", "open_count", "count"),
    ("… ended without a time", "missing_count", "count"),
    ("… left out by the plan", "excluded_count", "count"),
    ("Incidents in 30 days", "incidents_per_30_days", "number"),
    ("Median, open incidents counted", "median_minutes", "minutes"),
    ("… from", "median_low_minutes", "minutes"),
    ("… to", "median_high_minutes", "minutes"),
    ("Geometric mean", "geometric_mean_minutes", "minutes"),
    ("… from", "geometric_mean_low_minutes", "minutes"),
    ("… to", "geometric_mean_high_minutes", "minutes"),
    ("90th percentile, open incidents counted", "p90_minutes", "minutes"),
    ("Arithmetic mean of ended", "mean_minutes", "minutes"),
    ("Standard deviation", "standard_deviation_minutes", "minutes"),
    ("Coefficient of variation", "coefficient_of_variation", "number"),
    ("Longest ended", "maximum_minutes", "minutes"),
    ("Share of all minutes in the longest", "share_of_largest", "share"),
    ("Mean up to the horizon", "restricted_mean_minutes", "minutes"),
    ("Minutes of incidents in 30 days", "downtime_minutes_per_30_days", "minutes"),
)


def arms_table(row: Row, mart: str, csv: str) -> Table:
    """Measures of the arms of `row`, a row of `mart_significance`; measures that neither arm has are left out."""
    columns = (
        Column("measure", "Measure", "wide"),
        Column("baseline", f"Baseline: {row['baseline_label']}", "number"),
        Column("candidate", f"Candidate: {row['candidate_label']}", "number"),
    )
    rows = tuple(
        (Cell(name, "text"), *(_of_arm(row, f"{arm}_{key}", kind) for arm in ("baseline", "candidate")))
        for name, key, kind in MEASURES
        if any(row[f"{arm}_{key}"] is not None for arm in ("baseline", "candidate"))
    )
    return Table("The arms", columns, rows, len(rows), csv, mart)


def _of_arm(row: Row, key: str, kind: str) -> Cell:
    return replace(cell(Column(key, "", kind), row), ids=str(row["comparison_id"]), key=key)
