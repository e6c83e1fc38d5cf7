"""index.html: what the record shows, at one look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dagster_project.facts import WrittenDocument
from dagster_project.site import charts, resolve_times
from dagster_project.site.rules import RULE_COLUMNS, rule_rows
from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Row, Workshop

MOST_INCIDENTS = 12
# Wide enough that a bar can be seen, fine enough that a minute's burst is: about 300 bars across a screen.
MOST_BARS = 300
BUCKETS = (60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400)
NAMED_RULES = 6

TOTALS = """
select
    (select count(*) from violations.fct_violations) as violations,
    (select count(distinct rule_id) from violations.fct_violations) as rules_violated,
    (select count(*) from marts.dim_rules) as rules,
    (select count(*) from violations.fct_verdicts where verdict = 'inconclusive') as inconclusive,
    (select count(*) from intermediate.int_traces) as traces,
    (select count(*) from intermediate.int_traces where is_complete) as traces_complete,
    (select date_trunc('second', min(started_at)::timestamp) from intermediate.int_traces) as first_at,
    (select date_trunc('second', max(ended_at)::timestamp) from intermediate.int_traces) as last_at,
    (select count(*) from marts.fct_incidents) as incidents,
    (select count(*) from marts.fct_incidents where has_telemetry) as incidents_seen,
    (select count(*) from marts.fct_incidents where is_open) as incidents_open,
    (select coalesce(sum(records_read), 0) from audit.loads)::bigint as records_read,
    (select coalesce(sum(records_rejected), 0) from audit.loads)::bigint as records_rejected
"""

VIOLATIONS = """
with ranked as (
    select rule_id, row_number() over (order by sum(violations) desc, rule_id) as position
    from marts.mart_violation_timeline
    group by rule_id
)
select
    case when r.position <= $named then t.rule_id else 'other rules' end as rule,
    least(min(r.position), $named + 1) as position,
    time_bucket(to_seconds($bucket), t.minute_at::timestamp) as bucket_at,
    sum(t.violations)::bigint as violations
from marts.mart_violation_timeline as t inner join ranked as r using (rule_id)
group by rule, bucket_at
order by position, rule, bucket_at
"""

TRACES = """
select time_bucket(to_seconds($bucket), started_at::timestamp) as bucket_at, count(*) as traces
from intermediate.int_traces
group by bucket_at
order by bucket_at
"""

INCIDENTS = """
select
    i.incident_id, i.system, i.title, i.severity, i.service_name, i.started_at, i.time_to_resolve_seconds as seconds,
    i.clock_problem, i.is_open,
    coalesce(case when i.resolved_at >= i.started_at then i.resolved_at end, i.started_at + interval 1 minute) as until,
    m.traces, v.violated
from marts.fct_incidents as i
left join marts.mart_incident_impact as m using (incident_id)
left join (
    select incident_id, sum(violated_during)::bigint as violated
    from marts.mart_incident_violations
    group by incident_id
) as v using (incident_id)
where i.started_at >= $first and i.started_at <= $last
order by i.started_at, i.incident_id
limit $most
"""

MINUTES_CSV = (
    "select minute_at::timestamp as minute_at, rule_id, violations from marts.mart_violation_timeline order by 1, 2"
)


def write(workshop: Workshop, documents: Sequence[WrittenDocument]) -> None:
    """The page itself; its charts and tables are capped, each with the whole of it as a file."""
    totals = workshop.row(TOTALS)
    pages = {document.slug for document in documents}
    incidents = _incidents(workshop, totals, pages)
    workshop.page(
        "index.html",
        "index.html.j2",
        current="index",
        totals=totals,
        figure=_over_time(workshop, totals, incidents),
        incident_table=_incident_table(incidents),
        incident_total=totals["incidents_seen"],
        rule_table=table("Rules by violations", RULE_COLUMNS, rule_rows(workshop)),
        resolve=resolve_times.figure(workshop),
        medians=resolve_times.medians(workshop),
    )


def _incidents(workshop: Workshop, totals: Row, pages: set[str]) -> list[Row]:
    if totals["first_at"] is None:
        return []
    margin = timedelta(minutes=10)
    found = workshop.rows(INCIDENTS, first=totals["first_at"] - margin, last=totals["last_at"] + margin, most=2000)
    for row in found:
        row["href"] = workshop.incident_page(row["incident_id"], pages)
    return found


def _over_time(workshop: Workshop, totals: Row, incidents: list[Row]) -> charts.Figure | None:
    if totals["first_at"] is None:
        return None
    first, last = totals["first_at"], totals["last_at"]
    starts = [row["started_at"] for row in incidents]
    window = _rounded(min([first, *starts]), max([last, *starts]))
    bucket = next(
        (size for size in BUCKETS if (window[1] - window[0]).total_seconds() / size <= MOST_BARS), BUCKETS[-1]
    )
    return charts.over_time(
        "violations-over-time",
        violations=workshop.rows(VIOLATIONS, named=NAMED_RULES, bucket=bucket),
        traces=workshop.rows(TRACES, bucket=bucket),
        incidents=incidents,
        bucket_seconds=bucket,
        window=window,
        csv=workshop.csv("violations-by-minute", MINUTES_CSV),
    )


def _rounded(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    pad = max((last - first) * 0.01, timedelta(minutes=2))
    return first - pad, last + pad


def _incident_table(incidents: list[Row]) -> object:
    columns = (
        Column("started_at", "Began (UTC)", "time"),
        Column("incident_id", "Incident", "code", link="href"),
        Column("severity", "Severity", "severity"),
        Column("title", "Title", "wide"),
        Column("violated", "Violating traces", "count"),
        Column("seconds", "Resolved after", "seconds"),
    )
    return table("Incidents in the recorded time", columns, incidents[-MOST_INCIDENTS:][::-1], len(incidents))
