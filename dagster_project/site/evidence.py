"""evidence.html: the artefacts with their hashes, as the mart lists them."""

from __future__ import annotations

from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Workshop

MOST_ROWS = 200
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


def write(workshop: Workshop) -> None:
    """The page; without a list of evidence it says so."""
    listed = None
    if workshop.has("marts.mart_evidence"):
        total = workshop.row("select count(*) as n from marts.mart_evidence")["n"]
        rows = workshop.rows(EVIDENCE, most=MOST_ROWS)
        listed = table("One row an artefact", _EVIDENCE, rows, total, workshop.csv("evidence", EVIDENCE_CSV))
    workshop.page("evidence.html", "evidence.html.j2", current="evidence", table=listed)
