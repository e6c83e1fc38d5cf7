"""significance.html, roi.html and evidence.html: what statistics and evidence wrote into marts, shown as it is."""

from __future__ import annotations

from typing import Any

from dagster_project.site import charts
from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug

MOST_ROWS = 200
BASES = {"all_lines": "all benefit lines", "labour_only": "saved hours alone, nothing prevented"}
ROI_SUMMARY = "select * from marts.mart_roi_summary order by estimate_id, basis"
ROI_LINES = """
select
    position, kind, label, any_value(formula order by year) as formula, sum(present_value) as present_value,
    bool_and(is_credited) as is_credited, len(any_value(unsupported_inputs)) as unsupported
from marts.mart_roi_lines
where estimate_id = $estimate_id and basis = $basis
group by position, line_id, kind, label
having sum(amount) <> 0
order by position
"""
ROI_LINES_CSV = "select * from marts.mart_roi_lines order by estimate_id, basis, position, year"
ROI_INPUTS = "select * from marts.mart_roi_inputs where estimate_id = $estimate_id order by input_id"
ROI_INPUTS_CSV = "select * from marts.mart_roi_inputs order by estimate_id, input_id"
_BASES = (
    Column("basis", "Counted"),
    Column("present_costs", "Costs", "count"),
    Column("present_benefits", "Benefits", "count"),
    Column("net_present_value", "Net", "count"),
    Column("roi", "Return", "share"),
    Column("payback_months", "Months to pay back", "months"),
    Column("input_count", "Assumptions", "count"),
    Column("unsupported", "claimed or without source", "count"),
)
_LINES = (
    Column("label", "Line"),
    Column("kind", "Kind"),
    Column("formula", "A year's amount", "wide"),
    Column("present_value", "Present value", "count"),
    Column("unsupported", "Inputs claimed or without source", "count"),
)
_INPUTS = (
    Column("input_id", "Input", "code"),
    Column("value", "Value", "number"),
    Column("unit", "Unit"),
    Column("low", "Low", "number"),
    Column("high", "High", "number"),
    Column("confidence", "Confidence"),
    Column("source", "Source", "wide"),
)
# Papers and reports first: they are what people look for; the file of all rows keeps its own order.
EVIDENCE = """
select * from marts.mart_evidence
order by list_position(['report', 'post_mortem', 'configuration', 'rule', 'table', 'source'], type), seq
limit $most
"""
EVIDENCE_CSV = "select * from marts.mart_evidence order by seq"
_EVIDENCE = (
    Column("seq", "No.", "count"),
    Column("type", "Type"),
    Column("name", "What", "wide"),
    Column("controls", "Controls"),
    Column("source_path", "Path", "code"),
    Column("bytes", "Bytes", "bytes"),
    Column("row_count", "Rows", "count"),
    Column("source_sha256", "SHA-256", "hash"),
)
SIGNIFICANCE = "select * from marts.mart_significance order by comparison_id"


def write(workshop: Workshop) -> None:
    """The three pages; a page whose mart is not there yet says so."""
    _significance(workshop)
    _roi(workshop)
    _evidence(workshop)


def _significance(workshop: Workshop) -> None:
    found = workshop.rows(SIGNIFICANCE) if workshop.has("marts.mart_significance") else []
    csv = workshop.csv("significance", SIGNIFICANCE) if found else None
    columns = (
        Column("comparison_id", "Comparison", "code"),
        Column("verdict", "Verdict", "verdict"),
        Column("baseline_n", "n, baseline", "count"),
        Column("candidate_n", "n, candidate", "count"),
        Column("baseline_geometric_mean_minutes", "Baseline", "minutes"),
        Column("candidate_geometric_mean_minutes", "Candidate", "minutes"),
        Column("ratio", "Ratio", "number"),
        Column("ratio_low", "from", "number"),
        Column("ratio_high", "to", "number"),
        Column("welch_p", "Welch p", "p"),
        Column("permutation_p", "Permutation p", "p"),
    )
    figure = charts.ratios("ratios", rows=found, csv=csv) if csv and any(row["ratio"] for row in found) else None
    workshop.page(
        "significance.html",
        "significance.html.j2",
        current="significance",
        comparisons=found,
        figure=figure,
        table=table("Geometric means of the time on the clock, their ratio and its interval", columns, found, csv=csv),
    )


def _roi(workshop: Workshop) -> None:
    estimates = []
    if workshop.has("marts.mart_roi_summary") and workshop.has("marts.mart_roi_lines"):
        csv = workshop.csv("roi-lines", ROI_LINES_CSV)
        workshop.csv("roi-summary", ROI_SUMMARY)
        summary = workshop.rows(ROI_SUMMARY)
        estimates = [
            _estimate(workshop, estimate_id, [row for row in summary if row["estimate_id"] == estimate_id], csv)
            for estimate_id in dict.fromkeys(row["estimate_id"] for row in summary)
        ]
    workshop.page("roi.html", "roi.html.j2", current="roi", estimates=estimates)


def _estimate(workshop: Workshop, estimate_id: str, bases: list[Row], csv: str) -> dict[str, Any]:
    first = bases[0]
    lines = workshop.rows(ROI_LINES, estimate_id=estimate_id, basis=first["basis"])
    for row in bases:
        row["basis"] = BASES.get(row["basis"], row["basis"])
        row["unsupported"] = len(row["unsupported_inputs"] or [])
    inputs = None
    if workshop.has("marts.mart_roi_inputs"):
        found = workshop.rows(ROI_INPUTS, estimate_id=estimate_id)
        inputs = table("Assumptions", _INPUTS, found, csv=workshop.csv("roi-inputs", ROI_INPUTS_CSV))
    return {
        "title": first["title"],
        "currency": first["currency"],
        "sentences": list(dict.fromkeys(row["sentence"] for row in bases)),
        "caveats": list(dict.fromkeys(caveat for row in bases for caveat in row["caveats"] or [])),
        "bases": table(f"Present values in {first['currency']} over {first['years']} years", _BASES, bases),
        "figure": charts.present_values(f"lines-{slug(estimate_id)}", rows=lines, currency=first["currency"], csv=csv),
        "lines": table("How each line comes about, with all benefit lines", _LINES, lines, csv=csv),
        "inputs": inputs,
    }


def _evidence(workshop: Workshop) -> None:
    listed = None
    if workshop.has("marts.mart_evidence"):
        total = workshop.row("select count(*) as n from marts.mart_evidence")["n"]
        rows = workshop.rows(EVIDENCE, most=MOST_ROWS)
        listed = table("One row an artefact", _EVIDENCE, rows, total, workshop.csv("evidence", EVIDENCE_CSV))
    workshop.page("evidence.html", "evidence.html.j2", current="evidence", table=listed)
