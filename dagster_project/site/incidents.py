"""incidents/: the list, and a page an incident that frames its post-mortem."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from dagster_project.facts import WrittenDocument
from dagster_project.site import charts
from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Row, Workshop

MOST_LISTED = 200

LIST = """
select
    i.incident_id, i.system, i.title, i.severity, i.service_name, i.started_at, i.time_to_resolve_seconds as seconds,
    i.clock_problem, i.is_open, coalesce(m.traces, 0) as traces, v.violated, v.rules,
    s.service_name as suspect, s.shift
from marts.fct_incidents as i
left join marts.mart_incident_impact as m using (incident_id)
left join (
    select incident_id, sum(violated_during)::bigint as violated, count(*) filter (where violated_during > 0) as rules
    from marts.mart_incident_violations group by incident_id
) as v using (incident_id)
left join (
    select incident_id, service_name, shift from marts.mart_incident_services where rank_in_incident = 1
) as s using (incident_id)
where i.system = 'incidents' or coalesce(m.traces, 0) > 0
order by i.started_at desc, i.incident_id desc
limit $most
"""
LISTED = """
select count(*) as n from marts.fct_incidents as i left join marts.mart_incident_impact as m using (incident_id)
where i.system = 'incidents' or coalesce(m.traces, 0) > 0
"""
SYSTEMS = """
select
    system, count(*) as incidents, count(*) filter (where is_open) as open,
    count(*) filter (where has_telemetry) as seen, count(*) filter (where clock_problem is not null) as clock_problems,
    min(started_at) as first_at, max(started_at) as last_at
from marts.fct_incidents group by system order by incidents desc, system
"""
ALL = "select * from marts.fct_incidents order by system, started_at, incident_id"

WINDOW = """
select
    i.incident_id, i.severity, i.title, i.started_at, i.time_to_resolve_seconds as seconds,
    least(m.window_from, i.started_at) - interval 10 minute as first_at, m.window_until + interval 10 minute as last_at,
    coalesce(case when i.resolved_at >= i.started_at then i.resolved_at end, m.window_until) as until
from marts.fct_incidents as i inner join marts.mart_incident_impact as m using (incident_id)
where i.incident_id = $incident_id and m.traces > 0
"""
AROUND_VIOLATIONS = """
select
    rule_id as rule, 1 as position, time_bucket(to_seconds($bucket), first_span_at::timestamp) as bucket_at,
    count(*) as violations
from violations.fct_violations
where first_span_at >= $first and first_span_at < $last
group by all order by rule, bucket_at
"""
AROUND_TRACES = """
select time_bucket(to_seconds($bucket), started_at::timestamp) as bucket_at, count(*) as traces
from intermediate.int_traces where started_at >= $first and started_at < $last
group by all order by bucket_at
"""
BUCKETS = (10, 30, 60, 300, 900, 3600, 86_400)


def write(workshop: Workshop, documents: Sequence[WrittenDocument]) -> None:
    """The list, then every document in the site's frame with its Markdown and JSON beside it."""
    pages = {document.slug for document in documents}
    found = workshop.rows(LIST, most=MOST_LISTED)
    for row in found:
        row["href"] = workshop.incident_page(row["incident_id"], pages, prefix="")
    workshop.page(
        "incidents/index.html",
        "incidents.html.j2",
        current="incidents",
        table=_list(found, workshop.row(LISTED)["n"], workshop.csv("incidents", ALL)),
        systems=_systems(workshop.rows(SYSTEMS)),
        documents=len(documents),
    )
    for document in documents:
        _page(workshop, document)


def _list(found: list[Row], total: int, csv: str) -> object:
    columns = (
        Column("started_at", "Began (UTC)", "time"),
        Column("incident_id", "Incident", "code", link="href"),
        Column("severity", "Severity", "severity"),
        Column("title", "Title", "wide"),
        Column("service_name", "Noticed at", "code"),
        Column("seconds", "Resolved after", "seconds"),
        Column("traces", "Traces", "count"),
        Column("rules", "Rules violated", "count"),
        Column("suspect", "Most abnormal", "code"),
        Column("shift", "Shift", "number"),
    )
    return table("Incidents with their own record or with telemetry in their window", columns, found, total, csv)


def _systems(found: list[Row]) -> object:
    columns = (
        Column("system", "System"),
        Column("incidents", "Incidents", "count"),
        Column("open", "Open", "count"),
        Column("seen", "With telemetry", "count"),
        Column("clock_problems", "Clocks contradict", "count"),
        Column("first_at", "First began (UTC)", "time"),
        Column("last_at", "Last began (UTC)", "time"),
    )
    return table("Where incidents come from", columns, found)


def _page(workshop: Workshop, document: WrittenDocument) -> None:
    for path in (document.markdown_path, document.json_path):
        target = workshop.folder / "incidents" / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    workshop.page(
        f"incidents/{document.slug}.html",
        "incident.html.j2",
        current="incidents",
        document=document,
        figure=_around(workshop, document),
    )


def _around(workshop: Workshop, document: WrittenDocument) -> charts.Figure | None:
    found = workshop.rows(WINDOW, incident_id=document.incident_id)
    if not found:
        return None
    row = found[0]
    first, last = row["first_at"], row["last_at"]
    bucket = next((size for size in BUCKETS if (last - first).total_seconds() / size <= 240), BUCKETS[-1])
    between = {"bucket": bucket, "first": first, "last": last}
    return charts.over_time(
        "around",
        violations=workshop.rows(AROUND_VIOLATIONS, **between),
        traces=workshop.rows(AROUND_TRACES, **between),
        incidents=[{**row, "href": ""}],
        bucket_seconds=bucket,
        window=(first, last),
        csv=workshop.csv(f"incident-{document.slug}-violations", AROUND_VIOLATIONS, **between),
    )
