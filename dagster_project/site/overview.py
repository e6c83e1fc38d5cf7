"""index.html: what the record shows, at one look."""

from __future__ import annotations

from dagster_project.site import resolve_times
from dagster_project.site.recorded import Recorded
from dagster_project.site.rules import RULE_COLUMNS, rule_rows
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import counted

MOST_INCIDENTS = 12

TOTALS = """
select
    (select count(*) from violations.fct_violations) as violations,
    (
        select count(distinct t.trace_id)
        from (select unnest(trace_ids) as trace_id from violations.fct_violations) as v
        inner join intermediate.int_traces as t using (trace_id)
    ) as traces_violating,
    (select count(distinct rule_id) from violations.fct_violations) as rules_violated,
    (
        select count(*) from marts.dim_rules where violated + satisfied + inconclusive = 0
    ) as rules_never_applied,
    (select count(*) from marts.dim_rules) as rules,
    (select count(*) from violations.fct_verdicts where verdict = 'inconclusive') as inconclusive,
    (select count(*) from intermediate.int_traces) as traces,
    (select count(*) from intermediate.int_traces where is_complete) as traces_complete,
    (select date_trunc('second', min(started_at)::timestamp) from intermediate.int_traces) as first_at,
    (select date_trunc('second', max(ended_at)::timestamp) from intermediate.int_traces) as last_at,
    (select count(*) from marts.fct_incidents) as incidents,
    (select count(*) from marts.fct_incidents where has_telemetry) as incidents_seen,
    (select count(*) from marts.fct_incidents where is_open) as incidents_open,
    (select coalesce(sum(records_read), 0) from audit.loads where superseded_by is null)::bigint
        as records_read,
    (select coalesce(sum(records_rejected), 0) from audit.loads where superseded_by is null)::bigint
        as records_rejected
"""

MINUTES_CSV = (
    "select minute_at::timestamp as minute_at, rule_id, violations from marts.mart_violation_timeline order by 1, 2"
)


JUDGED = "select lower(replace(verdict, '_', ' ')) as said, count(*) as n from marts.mart_significance group by said"
ESTIMATED = "select count(distinct estimate_id) as n from marts.mart_roi_summary"
CLAIMED = "select count(*) filter (where verdict = 'OK') as held, count(*) as n from marts.claims_audit"


def write(workshop: Workshop, recorded: Recorded) -> None:
    """The page itself; its charts and tables are capped, each with the whole of it as a file."""
    totals = workshop.row(TOTALS)
    csv = workshop.csv("violations-by-minute", MINUTES_CSV)
    workshop.page(
        "index.html",
        "index.html.j2",
        current="index",
        totals=totals,
        figure=recorded.figure("violations-over-time", csv),
        incident_table=_incident_table(recorded.incidents),
        rule_table=table("Rules by violations", RULE_COLUMNS, rule_rows(workshop)),
        resolve=resolve_times.figure(workshop),
        medians=resolve_times.medians(workshop),
        answers=_answers(workshop),
    )


def _answers(workshop: Workshop) -> list[dict[str, str]]:
    """What other pages answer, each in a line, of those whose mart holds anything."""
    found = []
    if workshop.has("marts.mart_significance") and (rows := workshop.rows(f"{JUDGED} order by n desc, said")):
        said = ", ".join(f"{row['n']:,} {row['said']}" for row in rows)
        found.append({"href": "significance.html", "name": "Is it really better?", "said": f"Comparisons: {said}."})
    if workshop.has("marts.mart_roi_summary") and (n := workshop.row(ESTIMATED)["n"]):
        said = f"{counted(n, 'estimate')} of return, with what each rests on."
        found.append({"href": "roi.html", "name": "What is it worth?", "said": said})
    if workshop.has("marts.claims_audit") and (row := workshop.row(CLAIMED))["n"]:
        said = f"{row['held']:,} of {row['n']:,} numeric claims hold when they are computed again."
        found.append({"href": "claims.html", "name": "What is claimed?", "said": said})
    return found


def _incident_table(incidents: list[Row]) -> Table:
    columns = (
        Column("started_at", "Began (UTC)", "time"),
        Column("incident_id", "Incident", "code", link="href"),
        Column("severity", "Severity", "severity"),
        Column("title", "Title", "wide"),
        Column("violations", "Violations", "count"),
        Column("seconds", "Resolved after", "seconds"),
    )
    return table("Incidents in the recorded time", columns, incidents[-MOST_INCIDENTS:][::-1], len(incidents))
