"""significance.html, roi.html and evidence.html: what statistics and evidence wrote into marts, shown as it is."""

from __future__ import annotations

from typing import Any

from dagster_project.site import charts
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import NUMBERS, Workshop

MOST_ROWS = 200
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
    tables = [
        _whole(workshop, relation, caption)
        for relation, caption in (("marts.mart_roi_summary", "Summary"), ("marts.mart_roi_lines", "Line by line"))
        if workshop.has(relation)
    ]
    workshop.page("roi.html", "roi.html.j2", current="roi", tables=tables)


def _evidence(workshop: Workshop) -> None:
    tables = (
        [_whole(workshop, "marts.mart_evidence", "One row an artefact")] if workshop.has("marts.mart_evidence") else []
    )
    workshop.page("evidence.html", "evidence.html.j2", current="evidence", tables=tables)


def _whole(workshop: Workshop, relation: str, caption: str) -> Table:
    """A relation as it is, in the order of its columns; its names become headings."""
    rows = workshop.connection.table(relation)
    kinds = dict(zip(rows.columns, (str(kind).lower() for kind in rows.types), strict=True))
    name = relation.rpartition(".")[2].removeprefix("mart_").replace("_", "-")
    query = rows.sql_query()
    found = workshop.rows(f"select * from ({query}) order by all limit {MOST_ROWS}")  # noqa: S608 - DuckDB wrote it
    total = workshop.row(f"select count(*) as n from ({query})")["n"]  # noqa: S608 - as above
    columns = tuple(Column(column, _heading(column), _kind(column, kind)) for column, kind in kinds.items())
    return table(caption, columns, found, total, workshop.csv(name, f"select * from ({query}) order by all"))  # noqa: S608


def _heading(column: str) -> str:
    words = column.removesuffix("_at").replace("_", " ")
    return (words[:1].upper() + words[1:]).replace("Sha256", "SHA-256").replace("sha256", "SHA-256")


def _kind(column: str, kind: str) -> str:
    by_name: dict[str, Any] = {"sha256": "code", "path": "code", "verdict": "verdict", "status": "verdict"}
    if column in by_name:
        return str(by_name[column])
    base = kind.split("(", maxsplit=1)[0]
    if base.startswith("timestamp"):
        return "time"
    if base in {"double", "float", "decimal"}:
        return "number"
    return "count" if base in NUMBERS else "text"
