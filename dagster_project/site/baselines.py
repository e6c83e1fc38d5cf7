"""Parts of mttr.html: survival curves of each clock, and baselines with their frequency."""

from __future__ import annotations

from typing import Any

from dagster_project.site import charts
from dagster_project.site.charts.figure import severity_colour
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import duration, slug

BASELINES = ("marts.mart_mttr_baseline", "baseline_id")
CURVES = "marts.mart_clock_curves"
MOST_ROWS = 40
CLOCKS = {
    "detect": ("Time to detect", "MTTD"),
    "acknowledge": ("Time to acknowledge", "MTTA"),
    "mitigate": ("Time to mitigate", "MTTM"),
    "resolve": ("Time to resolve", "MTTR"),
    "close": ("Time to close", "MTTC"),
    "between_failures": ("Time between failures", "MTBF"),
}
BASELINE_CSV = "select * from marts.mart_mttr_baseline order by all"
CURVES_CSV = "select * from marts.mart_clock_curves order by system, clock, severity, position"
CURVES_OF = "select * from marts.mart_clock_curves where clock = $clock order by system, severity, position"
BASELINES_OF = """
select *, count(*) over () as in_all from marts.mart_mttr_baseline
where slice = $slice and clock = $clock and n + n_open > 0
order by case when slice = 'severity' then concat_ws('/', system, severity) end, n desc, baseline_id limit $most
"""
BY_CLOCK = """
select * from marts.mart_mttr_baseline
where slice = 'system' and n + n_open > 0
order by system, list_position($clocks, clock) nulls last, clock
"""
LONGEST = """
select max(longest_minutes) as minutes from marts.mart_mttr_baseline where slice = 'system' and clock = $clock
"""
MONTHS = """
select *, count(*) over () as in_all from marts.mart_mttr_baseline
where slice = 'month' and clock = $clock and n + n_open > 0 order by system, month_on limit $most
"""
NUMBERS = (
    Column("n", "Ended", "count"),
    Column("n_open", "Running", "count", hint="not ended yet"),
    Column("n_unrecorded", "No time", "count", hint="ended, but this clock was not recorded"),
    Column("median_minutes", "Median", "minutes", hint="Kaplan-Meier, running ones counted"),
    Column("median_low_minutes", "from", "minutes"),
    Column("median_high_minutes", "to", "minutes"),
    Column("p90_minutes", "90th percentile", "minutes", hint="Kaplan-Meier, running ones counted"),
    Column("geometric_mean_minutes", "Geometric mean", "minutes", hint="of ended ones"),
    Column("longest_minutes", "Longest", "minutes", hint="of ended ones"),
    Column("incidents_per_30_days", "Per 30 days", "number"),
)
SYSTEM = Column("system", "System")
SEVERITY = Column("severity", "Severity", "severity")
SLICES = {
    "severity": ("By severity", (SYSTEM, SEVERITY)),
    "service": ("By service", (SYSTEM, Column("service_name", "Service", "code"))),
    "type": ("By type", (SYSTEM, Column("category", "Type"))),
    "team": ("By team", (SYSTEM, Column("team", "Team"))),
    "resolution method": ("By resolution method", (SYSTEM, Column("resolution_method", "Resolved by"))),
    "severity and team": ("By severity and team", (SYSTEM, SEVERITY, Column("team", "Team"))),
}


def clocks(workshop: Workshop) -> list[dict[str, Any]]:
    """A part a clock that has any duration: its curves, its baselines by severity, and folded those by the rest."""
    csv = workshop.csv("mttr-baseline", BASELINE_CSV)
    curves_csv = workshop.csv("clock-curves", CURVES_CSV) if workshop.has(CURVES) else None
    parts = []
    for clock, (title, short) in CLOCKS.items():
        slices = {name: table for name in SLICES if (table := _slice(workshop, name, clock, csv))}
        if not slices:
            continue
        months = workshop.rows(MONTHS, clock=clock, most=MOST_ROWS)
        points = workshop.rows(CURVES_OF, clock=clock) if curves_csv else []
        is_one_value = len({one["minutes"] for one in points}) == 1
        parts.append(
            {
                "title": title,
                "short": short,
                "id": f"clock-{slug(clock)}",
                "figure": _survival(points, clock, title, curves_csv)
                if curves_csv and points and not is_one_value
                else None,
                "only_value": _one_value(workshop, clock) if is_one_value else None,
                "severity": slices.pop("severity", None),
                "others": list(slices.values()),
                "months": _months(months, csv),
            }
        )
    return parts


def by_clock(workshop: Workshop) -> Table | None:
    """Every clock of every system in one table; None without incidents."""
    rows = workshop.rows(BY_CLOCK, clocks=list(CLOCKS))
    for row in rows:
        title, short = CLOCKS.get(row["clock"], (row["clock"].replace("_", " "), ""))
        row["title"] = f"{title} ({short})" if short else title
    columns = (SYSTEM, Column("title", "Clock"), *(one for one in NUMBERS if one.key != "longest_minutes"))
    csv = "csv/mttr-baseline.csv"
    return table("Every clock, all severities together", columns, rows, csv=csv, source=BASELINES) if rows else None


def _slice(workshop: Workshop, name: str, clock: str, csv: str) -> Table | None:
    caption, columns = SLICES[name]
    rows = workshop.rows(BASELINES_OF, slice=name, clock=clock, most=MOST_ROWS)
    if not rows:
        return None
    return table(caption, (*columns, *NUMBERS), rows, rows[0]["in_all"], csv, source=BASELINES)


def _months(rows: list[Row], csv: str) -> Table | None:
    columns = (SYSTEM, Column("month_on", "Month", "time"), *NUMBERS)
    return table("By month of the start", columns, rows, rows[0]["in_all"], csv, source=BASELINES) if rows else None


def _one_value(workshop: Workshop, clock: str) -> str | None:
    """How long the ended ones took, where a curve would have one point; curves begin at a second, durations at 0."""
    longest = workshop.row(LONGEST, clock=clock)["minutes"]
    if longest is None:
        return None
    return f"{'at most ' if 0 < longest <= 1 / 60 else ''}{duration(longest * 60)}"


def _survival(points: list[Row], clock: str, title: str, csv: str) -> charts.Figure:
    groups = dict.fromkeys((one["system"], one["severity"]) for one in points)
    systems = {system for system, _ in groups}
    curves = []
    for system, severity in groups:
        mine = [one for one in points if (one["system"], one["severity"]) == (system, severity)]
        named = severity or "no severity"
        curves.append(charts.Curve(f"{system} {named}" if len(systems) > 1 else named, severity_colour(severity), mine))
    said = "; ".join(f"{curve.name}: {_median(curve)}" for curve in curves)
    what = title.lower()
    return charts.survival(f"survival-{slug(clock)}", curves=curves, said=f"{title}: {said}.", what=what, csv=csv)


def _median(curve: charts.Curve) -> str:
    below = next((one for one in curve.points if one["survival"] <= 0.5), None)
    return "no median yet" if below is None else f"half are over after {duration(below['minutes'] * 60)}"
