"""mttr.html: every clock of incidents, as a distribution, as curves and baselines, and against targets.

Compares no arms; where a comparison has split a difference of severities by mix, that split stands beside.
"""

from __future__ import annotations

from dagster_project.site import baselines, charts, mixes, targets
from dagster_project.site.workshop import Row, Workshop

# More dots than that no screen shows apart, and no telephone loads.
MOST_POINTS = 50_000
# Three decimals of a minute: more cannot be seen on a logarithmic axis, and telephones load 25,000 points too.
POINTS = """
select
    incident_id, system, severity, (time_to_resolve_seconds / 60)::decimal(14, 3)::double as minutes,
    round((('0x' || left(md5(incident_id), 6))::bigint / 16777215.0)::double, 3) as jitter
from marts.fct_incidents
where time_to_resolve_seconds > 0
qualify row_number() over (order by md5(incident_id), system) <= $most
order by system, severity, incident_id
"""
DRAWN = "select count(*) as n from marts.fct_incidents where time_to_resolve_seconds > 0"
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


def figure(workshop: Workshop) -> charts.Figure | None:
    """The distribution with every resolved incident as a point; None when none was resolved."""
    groups = workshop.rows(GROUPS)
    points = workshop.rows(POINTS, most=MOST_POINTS)
    if not groups or not points:
        return None
    for point in points:
        point["href"] = ""
    return charts.resolve_times(
        "time-to-resolve", points=points, groups=groups, csv=workshop.csv("time-to-resolve", ALL_POINTS),
        left_out=_left_out(workshop.row(LEFT_OUT), len(points), workshop.row(DRAWN)["n"]),
    )  # fmt: skip


def medians(workshop: Workshop) -> list[Row]:
    """Median and geometric mean a system."""
    return workshop.rows(MEDIANS)


def write(workshop: Workshop) -> None:
    """The page; parts whose mart is missing or empty say so."""
    workshop.page(
        "mttr.html",
        "mttr.html.j2",
        current="mttr",
        figure=figure(workshop),
        clocks=baselines.clocks(workshop),
        by_clock=baselines.by_clock(workshop),
        mixes=mixes.between_severities(workshop),
        indicators=targets.indicators(workshop),
        attainment=targets.attainment(workshop, list(baselines.CLOCKS)),
        budgets=targets.budgets(workshop),
        delivery=targets.delivery(workshop),
    )


def _left_out(counts: Row, drawn: int, total: int) -> str:
    parts = [
        f"{total - drawn:,} of {total:,}, taken at random" if drawn < total else "",
        f"{counts['open']:,} still open" if counts["open"] else "",
        f"{counts['never_resolved']:,} closed without a time of resolution" if counts["never_resolved"] else "",
        f"{counts['contradict']:,} whose clocks contradict each other" if counts["contradict"] else "",
        f"{counts['zero']:,} resolved in no time at all" if counts["zero"] else "",
    ]
    shown = [part for part in parts if part]
    return f"Not drawn: {', '.join(shown)}." if shown else "All incidents are drawn."
