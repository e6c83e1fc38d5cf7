"""How much of a difference is another mix of incidents: the split that a comparison made, drawn and listed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dagster_project.site import charts
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug

SOURCE = ("marts.mart_significance_mix", "mix_id")
ESTIMATES = "marts.mart_significance_estimates"
# What a figure shows apart; the file has every kind.
MOST_KINDS = 12
FILE = "select * from marts.mart_significance_mix order by comparison_id, mix_id"
MIX_OF = """
select * from marts.mart_significance_mix where comparison_id = $id
order by column_name <> 'severity', column_name, abs(mix_log) + abs(within_log) desc, kind
"""
PARTS = """
select * from marts.mart_significance_estimates
where comparison_id = $id and list_contains($names, name) and estimate > 0
order by list_position($names, name)
"""
# Severities are what such a comparison compares: no kind of the column `severity` is in both of its arms.
BETWEEN_SEVERITIES = """
select s.comparison_id, s.question, s.verdict, s.tier, s.sentence, s.not_concluded
from marts.mart_significance as s
where s.comparison_id in (
    select comparison_id from marts.mart_significance_mix
    where column_name = 'severity'
    group by comparison_id
    having count(*) > 1 and not bool_or(is_in_both_arms)
)
order by s.comparison_id
"""
_COLUMNS = (
    Column("column_name", "By"),
    Column("kind", "Kind"),
    Column("baseline_n", "n, baseline", "count"),
    Column("candidate_n", "n, candidate", "count"),
    Column("baseline_share", "Share", "share"),
    Column("candidate_share", "Share", "share"),
    Column("baseline_geometric_mean_minutes", "Baseline", "minutes"),
    Column("candidate_geometric_mean_minutes", "Candidate", "minutes"),
    Column("mix_log", "Mix adds (log)", "number"),
    Column("within_log", "Within adds (log)", "number"),
    Column("is_in_both_arms", "In both", "yes"),
)


@dataclass(frozen=True)
class Mix:
    """The split by one column, kinds that add most first; `parts` are what the mix makes and what is left within."""

    column: str
    parts: tuple[Row, Row]
    figure: charts.Figure
    table: Table


def of_comparison(workshop: Workshop, comparison_id: str) -> list[Mix]:
    """A split a column by which kinds are told apart, where arms have a kind in common and others beside it.

    The one that explains most comes first: it leaves least within kinds.
    """
    if not all(map(workshop.has, (SOURCE[0], ESTIMATES))):
        return []
    found = workshop.rows(MIX_OF, id=comparison_id)
    csv = workshop.csv("significance-mix", FILE)
    columns = dict.fromkeys(one["column_name"] for one in found)
    kinds = {column: [one for one in found if one["column_name"] == column] for column in columns}
    splits = []
    for column, mine in kinds.items():
        parts = workshop.rows(PARTS, id=comparison_id, names=[f"mix_{column}", f"within_{column}"])
        if any(one["is_in_both_arms"] for one in mine) and len(mine) > 1 and len(parts) == 2:
            splits.append(_split(column, mine, (parts[0], parts[1]), f"{slug(column)}-{slug(comparison_id)}", csv))
    return sorted(splits, key=lambda one: abs(math.log(one.parts[1]["estimate"])))


def _split(column: str, mine: list[Row], parts: tuple[Row, Row], name: str, csv: str) -> Mix:
    shown = mine[:MOST_KINDS]
    return Mix(
        column,
        parts,
        charts.mix(f"mix-{name}", rows=shown, total=mine, csv=csv),
        table(f"Kinds by {column}", _COLUMNS, shown, len(mine), csv, source=SOURCE),
    )


def between_severities(workshop: Workshop) -> list[Row]:
    """Comparisons of one severity with another, each with the splits by everything but severity."""
    if not workshop.has(SOURCE[0]) or not workshop.has("marts.mart_significance"):
        return []
    found = workshop.rows(BETWEEN_SEVERITIES)
    for row in found:
        row["href"] = f"significance.html#{slug(row['comparison_id'])}"
        splits = of_comparison(workshop, row["comparison_id"])
        row["splits"] = [one for one in splits if one.column != "severity"]
    return found
