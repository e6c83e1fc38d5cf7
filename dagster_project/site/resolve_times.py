"""mttr.html: times to resolve as a distribution and as baselines, each with its clock. Compares no arms."""

from __future__ import annotations

from dagster_project.site import charts
from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Row, Workshop

MOST_ROWS = 60

# Three decimals of a minute: more cannot be seen on a logarithmic axis, and telephones load 25,000 points too.
POINTS = """
select
    incident_id, system, severity, (time_to_resolve_seconds / 60)::decimal(14, 3)::double as minutes,
    round((('0x' || left(md5(incident_id), 6))::bigint / 16777215.0)::double, 3) as jitter
from marts.fct_incidents
where time_to_resolve_seconds > 0
order by system, severity, incident_id
"""
GROUPS = """
select system, severity, n, n_open, median_minutes, p90_minutes
from marts.mart_mttr_baseline
where slice = 'severity' and clock = 'resolve' and n > 0
order by system, severity
"""
LEFT_OUT = """
select
    count(*) filter (where is_open) as open,
    count(*) filter (where not is_open and resolved_at is null) as never_resolved,
    count(*) filter (where resolved_at is not null and time_to_resolve_seconds is null) as contradict,
    count(*) filter (where time_to_resolve_seconds = 0) as zero
from marts.fct_incidents
"""
BASELINE = """
select * from marts.mart_mttr_baseline
where slice = $slice and clock = 'resolve' order by n desc, system, severity, service_name, team limit $most
"""
COUNT = "select count(*) as n from marts.mart_mttr_baseline where slice = $slice and clock = 'resolve'"
MEDIANS = """
select system, n, n_open, median_minutes, geometric_mean_minutes from marts.mart_mttr_baseline
where slice = 'system' and clock = 'resolve' order by n desc, system
"""
ALL_POINTS = """
select
    incident_id, system, severity, service_name, team, started_at, resolved_at, time_to_resolve_seconds, is_open,
    clock_problem
from marts.fct_incidents order by system, started_at, incident_id
"""
NUMBERS = (
    Column("n", "Resolved", "count"),
    Column("n_open", "Open", "count"),
    Column("geometric_mean_minutes", "Geometric mean", "minutes"),
    Column("median_minutes", "Median", "minutes"),
    Column("p90_minutes", "90th percentile", "minutes"),
    Column("longest_minutes", "Longest", "minutes"),
    Column("incidents_per_30_days", "Per 30 days", "number"),
)
SLICES = {
    "system": ("By system", (Column("system", "System"),)),
    "severity": ("By severity", (Column("system", "System"), Column("severity", "Severity", "severity"))),
    "service": ("By service", (Column("system", "System"), Column("service_name", "Service", "code"))),
    "severity and team": (
        "By severity and team",
        (Column("system", "System"), Column("severity", "Severity", "severity"), Column("team", "Team")),
    ),
}


def figure(workshop: Workshop) -> charts.Figure | None:
    """The distribution with every resolved incident as a point; None when none was resolved."""
    groups = workshop.rows(GROUPS)
    points = workshop.rows(POINTS)
    if not groups or not points:
        return None
    for point in points:
        point["href"] = ""
    return charts.resolve_times(
        "time-to-resolve", points=points, groups=groups, csv=workshop.csv("time-to-resolve", ALL_POINTS),
        left_out=_left_out(workshop.row(LEFT_OUT)),
    )  # fmt: skip


def medians(workshop: Workshop) -> list[Row]:
    """Median and geometric mean a system."""
    return workshop.rows(MEDIANS)


def write(workshop: Workshop) -> None:
    """The page: distribution, then a table a slice."""
    csv = workshop.csv("mttr-baseline", "select * from marts.mart_mttr_baseline order by all")
    tables = []
    for slice_name, (caption, columns) in SLICES.items():
        total = workshop.row(COUNT, slice=slice_name)["n"]
        rows = workshop.rows(BASELINE, slice=slice_name, most=MOST_ROWS)
        tables.append(table(caption, (*columns, *NUMBERS), rows, total, csv))
    workshop.page("mttr.html", "mttr.html.j2", current="mttr", figure=figure(workshop), tables=tables)


def _left_out(counts: Row) -> str:
    parts = [
        f"{counts['open']:,} still open" if counts["open"] else "",
        f"{counts['never_resolved']:,} closed without a time of resolution" if counts["never_resolved"] else "",
        f"{counts['contradict']:,} whose clocks contradict each other" if counts["contradict"] else "",
        f"{counts['zero']:,} resolved in no time at all" if counts["zero"] else "",
    ]
    shown = [part for part in parts if part]
    return f"Not drawn: {', '.join(shown)}." if shown else "All incidents are drawn."
