"""claims.html: what documents claim in numbers, recomputed, the verdict first."""

from __future__ import annotations

from dagster_project.site import charts
from dagster_project.site.charts.claims import VERDICTS
from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Row, Workshop

MOST_ROWS = 500
SOURCE = ("marts.claims_audit", "claim_id")
ALL = "select * from marts.claims_audit order by deck_id, position"
# The worst first, then as the documents go.
CLAIMS = """
select * from marts.claims_audit
order by list_position($verdicts, verdict) nulls first, deck_id, position
limit $most
"""
COUNTS = """
select verdict, count(*) as claims, string_agg(claim_id, chr(10) order by deck_id, position) as ids
from marts.claims_audit
group by verdict
order by list_position($verdicts, verdict) nulls first, verdict
"""
BY_SOURCE = """
select source, verdict, count(*) as claims
from marts.claims_audit
group by source, verdict
order by source, list_position($verdicts, verdict)
"""
MEANINGS = {
    "IMPOSSIBLE": "no count of whole things gives it",
    "WRONG": "its own inputs give another figure",
    "INCONSISTENT": "two statements of the source exclude each other",
    "MISLABELLED": "the figure is right under another name",
    "NOT_COMPARABLE": "two things are set side by side that are measured differently",
    "UNSUPPORTED": "nothing is given to recompute it from",
    "OK": "recomputed within the tolerance",
}
_COLUMNS = (
    Column("verdict", "Verdict", "verdict"),
    Column("claim", "Claim", "sentences"),
    Column("stated", "Stated"),
    Column("recomputed", "Recomputed"),
    Column("formula", "By", "sentences"),
    Column("reason", "Why, and what to know", "sentences"),
    Column("source", "Source"),
    Column("line", "Line", "count"),
)


def write(workshop: Workshop) -> None:
    """The page; without audited claims it says so."""
    rows: list[Row] = []
    counts: list[Row] = []
    figure = listed = None
    if workshop.has(SOURCE[0]):
        order = list(VERDICTS)
        csv = workshop.csv("claims-audit", ALL)
        rows = workshop.rows(CLAIMS, verdicts=order, most=MOST_ROWS)
        counts = workshop.rows(COUNTS, verdicts=order)
        if rows:
            figure = charts.verdicts_by_source(
                "claims-by-source", rows=workshop.rows(BY_SOURCE, verdicts=order), csv=csv
            )
        for row in rows:
            row["reason"] = " ".join(filter(None, (row["reason"], row["note"])))
        total = sum(row["claims"] for row in counts)
        listed = table("Every claim, the worst first", _COLUMNS, rows, total, csv, source=SOURCE)
    workshop.page(
        "claims.html",
        "claims.html.j2",
        current="claims",
        counts=counts,
        figure=figure,
        table=listed,
        meanings=MEANINGS,
        total=sum(row["claims"] for row in counts),
        held=sum(row["claims"] for row in counts if row["verdict"] == "OK"),
    )
