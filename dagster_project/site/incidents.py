"""incidents/: the list, and a page an incident that frames its post-mortem."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from dagster_project import post_mortem
from dagster_project.facts import WrittenDocument
from dagster_project.site import charts
from dagster_project.site.recorded import Recorded
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop

MOST_LISTED = 200

LIST = """
select
    i.incident_id, i.system, i.title, i.severity, i.service_name, i.started_at, i.time_to_resolve_seconds as seconds,
    coalesce(m.traces, 0) as traces, v.violations, v.rules
from marts.fct_incidents as i
left join marts.mart_incident_impact as m using (incident_id)
left join (
    select incident_id, sum(violations_during)::bigint as violations,
        count(*) filter (where violated_during > 0) as rules
    from marts.mart_incident_violations group by incident_id
) as v using (incident_id)
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
select least(window_from, started_at) - interval 5 minute as first_at, window_until + interval 5 minute as last_at
from marts.mart_incident_impact inner join marts.fct_incidents using (incident_id)
where incident_id = $incident_id and traces > 0
"""
AROUND_CSV = """
select
    rule_id, violation_id,
    case when scope_kind = 'trace' then replace(scope_key, '-', '') else scope_key end as scope_key,
    first_span_at, last_span_at, service_names
from violations.fct_violations
where first_span_at >= $first and first_span_at < $last
order by first_span_at, rule_id, violation_id
"""


def write(workshop: Workshop, recorded: Recorded, documents: Sequence[WrittenDocument]) -> None:
    """The list, then every document in the site's frame with its Markdown and JSON beside it."""
    found = workshop.rows(LIST, most=MOST_LISTED)
    suspects = post_mortem.most_abnormal(workshop.connection, [row["incident_id"] for row in found])
    for row in found:
        row["suspect"] = suspects.get(row["incident_id"])
        row["href"] = workshop.incident_page(row["incident_id"], recorded.pages, prefix="")
    workshop.page(
        "incidents/index.html",
        "incidents.html.j2",
        current="incidents",
        table=_list(found, workshop.row(LISTED)["n"], workshop.csv("incidents", ALL)),
        systems=_systems(workshop.rows(SYSTEMS)),
        documents=len(documents),
    )
    for document in documents:
        _page(workshop, recorded, document)


def _list(found: list[Row], total: int, csv: str) -> Table:
    columns = (
        Column("started_at", "Began (UTC)", "time"),
        Column("incident_id", "Incident", "code", link="href"),
        Column("severity", "Severity", "severity"),
        Column("title", "Title", "wide"),
        Column("seconds", "Resolved after", "seconds"),
        Column("traces", "Traces", "count"),
        Column("violations", "Violations", "count"),
        Column("rules", "of rules", "count"),
        Column("suspect", "Most abnormal", "code"),
    )
    return table("Incidents with their own record or with telemetry in their window", columns, found, total, csv)


def _systems(found: list[Row]) -> Table:
    columns = (
        Column("system", "System"),
        Column("incidents", "Incidents", "count"),
        Column("open", "Open", "count"),
        Column("seen", "With telemetry", "count"),
        Column("clock_problems", "Clock problem", "count"),
        Column("first_at", "First began (UTC)", "time"),
        Column("last_at", "Last began (UTC)", "time"),
    )
    return table("Where incidents come from", columns, found)


def _page(workshop: Workshop, recorded: Recorded, document: WrittenDocument) -> None:
    for path in (document.markdown_path, document.json_path):
        target = workshop.folder / "incidents" / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    workshop.page(
        f"incidents/{document.slug}.html",
        "incident.html.j2",
        current="incidents",
        document=document,
        figure=_around(workshop, recorded, document),
    )


def _around(workshop: Workshop, recorded: Recorded, document: WrittenDocument) -> charts.Figure | None:
    found = workshop.rows(WINDOW, incident_id=document.incident_id)
    if not found:
        return None
    first, last = found[0]["first_at"], found[0]["last_at"]
    csv = workshop.csv(f"incident-{document.slug}-violations", AROUND_CSV, first=first, last=last)
    return recorded.figure("around", csv, window=(first, last), up="../")
