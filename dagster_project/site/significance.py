"""significance.html: a section a comparison, its sentence first, then what it may not conclude, then the evidence.

Everything shown is read from the marts that the protocol filled; nothing is computed here but places of points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dagster_project.site import charts, mixes
from dagster_project.site.arms import arms_table
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug

COMPARISONS = ("marts.mart_significance", "comparison_id")
PLANS = ("marts.mart_significance_plans", "plan_id")
STEPS = ("marts.mart_significance_steps", "step_id")
ESTIMATES = ("marts.mart_significance_estimates", "estimate_id")
SLICES = ("marts.mart_significance_slices", "slice_id")
CURVES = ("marts.mart_survival_curves", "point_id")
PLACEBOS = ("marts.mart_placebo_cut_overs", "placebo_id")
POINTS = ("marts.mart_significance_points", "point_id")

SIGNIFICANCE = "select * from marts.mart_significance order by comparison_id"
PLAN = "select * from marts.mart_significance_plans where comparison_id = $id and is_current"
STEPS_OF = "select * from marts.mart_significance_steps where comparison_id = $id order by number"
ESTIMATES_OF = "select * from marts.mart_significance_estimates where comparison_id = $id order by position"
SLICES_OF = """
select * from marts.mart_significance_slices where comparison_id = $id
order by adjusted_p_value, slice_id limit $most
"""
SLICE_COUNT = "select count(*) as n from marts.mart_significance_slices where comparison_id = $id"
CURVES_OF = "select * from marts.mart_survival_curves where comparison_id = $id order by arm, position"
PLACEBOS_OF = "select * from marts.mart_placebo_cut_overs where comparison_id = $id order by cut_over_at"
# Evenly by duration, the ends kept; the golden ratio spreads neighbours over the row, the same at every build.
POINTS_OF = """
select *, (position * 0.6180339887e0) % 1e0 as jitter
from (
    select *, count(*) over (partition by arm) as drawn from marts.mart_significance_points where comparison_id = $id
) as points
where drawn <= $most or (position * $most) % drawn < $most or minutes > 0 and position = drawn
order by arm, position
"""
FILES = {
    "significance": SIGNIFICANCE,
    "significance-plans": "select * from marts.mart_significance_plans order by all",
    "significance-steps": "select * from marts.mart_significance_steps order by comparison_id, number",
    "significance-estimates": "select * from marts.mart_significance_estimates order by comparison_id, position",
    "significance-slices": "select * from marts.mart_significance_slices order by comparison_id, slice_id",
    "significance-mix": "select * from marts.mart_significance_mix order by comparison_id, mix_id",
    "survival-curves": "select * from marts.mart_survival_curves order by comparison_id, arm, position",
    "placebo-cut-overs": "select * from marts.mart_placebo_cut_overs order by comparison_id, position",
    "significance-points": "select * from marts.mart_significance_points order by comparison_id, arm, position",
}
# What a figure and a table show apart; the files have everything.
MOST_POINTS_AN_ARM = 800
MOST_SLICES = 20
# Estimands that are ratios of durations, and so belong on the axis of the others.
DURATIONS = frozenset({"geometric_mean_ratio", "restricted_mean"})
ARM_COLOURS = {"baseline": "var(--series-7)", "candidate": "var(--series-1)"}

_OVERVIEW = (
    Column("verdict", "Verdict", "verdict", tier="tier"),
    Column("comparison_id", "Comparison", "code", link="href"),
    Column("primary_ratio", "Ratio", "factor"),
    Column("primary_ratio_low", "from", "factor"),
    Column("primary_ratio_high", "to", "factor"),
    Column("tier", "Evidence", hint="full: 20 incidents and more in each arm; indicative: 5 to 19; dots: fewer"),
    Column("baseline_n", "n baseline", "count"),
    Column("candidate_n", "n candidate", "count"),
    Column("baseline_geometric_mean_minutes", "Baseline", "minutes", hint="geometric mean"),
    Column("candidate_geometric_mean_minutes", "Candidate", "minutes", hint="geometric mean"),
    Column("holm_p", "p", "p", hint="two-sided, adjusted by Holm within the family"),
    Column("rate_ratio", "Rate ratio", "factor", hint="incidents in 30 days, candidate over baseline"),
)
_STEPS = (
    Column("number", "Step", "count"),
    Column("name", "What"),
    Column("status", "Status", "state"),
    Column("finding", "Found", "sentences"),
    Column("estimate", "Estimate", "number"),
    Column("low", "from", "number"),
    Column("high", "to", "number"),
    Column("unit", "Unit"),
    Column("p_value", "p", "p"),
    Column("n", "n", "count"),
)
_ESTIMATES = (
    Column("label", "Estimate", "wide"),
    Column("estimate", "Value", "number"),
    Column("low", "from", "number"),
    Column("high", "to", "number"),
    Column("unit", "Unit"),
    Column("p_value", "p", "p"),
    Column("n", "n", "count"),
    Column("note", "Note", "wide"),
)
_SLICES = (
    Column("column_name", "By"),
    Column("value", "Value"),
    Column("baseline_n", "n, baseline", "count"),
    Column("candidate_n", "n, candidate", "count"),
    Column("ratio", "Ratio", "factor"),
    Column("low", "from", "factor"),
    Column("high", "to", "factor"),
    Column("p_value", "p", "p"),
    Column("adjusted_p_value", "p, adjusted", "p"),
    Column("is_discovery", "Worth a look", "yes"),
)
_PLACEBOS = (
    Column("cut_over_at", "Cut at", "minute"),
    Column("is_real", "The plan's", "yes"),
    Column("ratio", "Ratio", "factor"),
    Column("baseline_n", "n before", "count"),
    Column("candidate_n", "n after", "count"),
    Column("window_days", "Days either side", "number"),
)


def write(workshop: Workshop) -> None:
    """The page; without comparisons it says so."""
    found = workshop.rows(SIGNIFICANCE) if workshop.has(COMPARISONS[0]) else []
    figure = overview = None
    sections: list[dict[str, Any]] = []
    if found:
        marts = {_file_of(mart): mart for mart, _ in _ALL}
        files = {name: workshop.csv(name, FILES[name]) for name, mart in marts.items() if workshop.has(mart)}
        for row in found:
            row["href"] = f"#{slug(row['comparison_id'])}"
        overview = table("The verdict of each comparison, and the ratio that it stands on", _OVERVIEW, found,
                         csv=files["significance"], source=COMPARISONS)  # fmt: skip
        if any(row["primary_ratio"] for row in found):
            figure = charts.ratios("ratios", rows=found, csv=files["significance"])
        sections = [_section(workshop, row, files) for row in found]
    workshop.page(
        "significance.html", "significance.html.j2", current="significance", comparisons=sections, figure=figure,
        overview=overview,
    )  # fmt: skip


_ALL = (COMPARISONS, PLANS, STEPS, ESTIMATES, SLICES, mixes.SOURCE, CURVES, PLACEBOS, POINTS)


def _file_of(mart: str) -> str:
    return mart.removeprefix("marts.mart_").replace("_", "-")


def _section(workshop: Workshop, row: Row, files: dict[str, str]) -> dict[str, Any]:
    """What the page says of one comparison; parts whose mart is missing or empty are None."""

    def rows(source: tuple[str, str], query: str, **more: Any) -> list[Row]:
        return workshop.rows(query, id=row["comparison_id"], **more) if workshop.has(source[0]) else []

    steps, estimates, slices = rows(STEPS, STEPS_OF), rows(ESTIMATES, ESTIMATES_OF), None
    if sliced := rows(SLICES, SLICES_OF, most=MOST_SLICES):
        slices = table(
            "Slices, the least likely by chance first", _SLICES, sliced, rows(SLICES, SLICE_COUNT)[0]["n"],
            files["significance-slices"], source=SLICES,
        )  # fmt: skip
    for step in steps:
        step["status"] = step["status"].replace("_", " ")
    plan = next(iter(rows(PLANS, PLAN)), None)
    return {
        **row,
        "anchor": slug(row["comparison_id"]),
        "plan": plan,
        "figures": _figures(row, rows, estimates, files),
        "mixes": mixes.of_comparison(workshop, row["comparison_id"]),
        "arms": arms_table(row, COMPARISONS[0], files["significance"]),
        "steps": _listed("The steps of the protocol, in their order", _STEPS, steps, files, STEPS),
        "estimates": _listed("Every estimate", _ESTIMATES, estimates, files, ESTIMATES),
        "placebos": _listed("Cut-overs", _PLACEBOS, rows(PLACEBOS, PLACEBOS_OF), files, PLACEBOS),
        "slices": slices,
    }


def _listed(
    caption: str, columns: tuple[Column, ...], rows: list[Row], files: dict[str, str], source: tuple[str, str]
) -> Table | None:
    return table(caption, columns, rows, csv=files[_file_of(source[0])], source=source) if rows else None


def _figures(
    row: Row, rows: Callable[..., list[Row]], estimates: Sequence[Row], files: dict[str, str]
) -> list[charts.Figure]:
    """Forest, survival curves, points, placebo cut-overs: those for which there is something to draw."""
    name = slug(row["comparison_id"])
    figures = []
    wanted = "is_primary" if row["estimand"] in DURATIONS else "is_duration_ratio"
    ratios = [one for one in estimates if one["is_duration_ratio"] or one[wanted]]
    ratios.sort(key=lambda one: not one["is_primary"])
    if any(one["estimate"] for one in ratios):
        figures.append(charts.forest(f"forest-{name}", rows=ratios, csv=files["significance-estimates"]))
    if curves := _curves(rows(CURVES, CURVES_OF)):
        said = "; ".join(f"{curve.name}: {_median_said(row, arm)}" for arm, curve in curves.items())
        figures.append(
            charts.survival(f"survival-{name}", curves=list(curves.values()), said=f"Survival curves. {said}.",
                            what=f"time to {row['clock']}", csv=files["survival-curves"])
        )  # fmt: skip
    if points := rows(POINTS, POINTS_OF, most=MOST_POINTS_AN_ARM):
        arms = [
            {
                "arm": arm,
                "label": row[f"{arm}_label"],
                "median_minutes": row[f"{arm}_median_minutes"],
                "geometric_mean_minutes": row[f"{arm}_geometric_mean_minutes"],
                "shown_of": (row[f"{arm}_n"] or 0) + (row[f"{arm}_open_count"] or 0),
            }
            for arm in ARM_COLOURS
        ]
        figures.append(
            charts.two_arms(f"points-{name}", points=points, arms=arms, clock=row["clock"],
                            csv=files["significance-points"])
        )  # fmt: skip
    if cut_overs := rows(PLACEBOS, PLACEBOS_OF):
        figures.append(charts.placebos(f"placebos-{name}", rows=cut_overs, csv=files["placebo-cut-overs"]))
    return figures


def _curves(points: Sequence[Row]) -> dict[str, charts.Curve]:
    by_arm = {arm: [one for one in points if one["arm"] == arm and one["minutes"] > 0] for arm in ARM_COLOURS}
    return {arm: charts.Curve(mine[0]["label"], ARM_COLOURS[arm], mine) for arm, mine in by_arm.items() if mine}


def _median_said(row: Row, arm: str) -> str:
    median = row[f"{arm}_median_minutes"]
    return "no median" if median is None else f"median {median:,.4g} minutes"
