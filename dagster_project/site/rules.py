"""rules/: the catalogue, and a page a rule with its verdicts, certificate, first violations and when they were."""

from __future__ import annotations

from datetime import datetime, timedelta

from dagster_project.site import charts
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug

MOST_VIOLATIONS = 50
BARS = 240
BUCKETS = (60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400)

RULES = "select * from marts.dim_rules order by violated desc, rule_id"
REASONS = """
select verdict, reason, count(*) as scopes
from violations.fct_verdicts where rule_id = $rule_id
group by all order by verdict, scopes desc, reason limit 20
"""
CERTIFICATE = "select * from marts.mart_certificates where rule_id = $rule_id"
EXTENT = (
    "select min(started_at)::timestamp as first_at, max(ended_at)::timestamp as last_at from intermediate.int_traces"
)
MINUTES = """
select
    rule_id as rule, 1 as position, time_bucket(to_seconds($bucket), minute_at::timestamp) as bucket_at,
    sum(violations)::bigint as violations
from marts.mart_violation_timeline where rule_id = $rule_id
group by all order by bucket_at
"""
TRACES = """
select time_bucket(to_seconds($bucket), started_at::timestamp) as bucket_at, count(*) as traces
from intermediate.int_traces group by all order by bucket_at
"""
VIOLATIONS = """
select first_span_at::timestamp as first_span_at, scope_key, service_names, violation_id
from violations.fct_violations where rule_id = $rule_id
order by first_span_at, violation_id limit $most
"""
ALL_VIOLATIONS = """
select
    violation_id, rule_id, meaning_hash, scope_kind, scope_key, first_span_at, last_span_at, service_names, trace_ids,
    witness, reported
from violations.fct_violations where rule_id = $rule_id order by first_span_at, violation_id
"""
MINUTES_CSV = """
select minute_at::timestamp as minute_at, violations
from marts.mart_violation_timeline where rule_id = $rule_id order by minute_at
"""
INCIDENTS = """
select
    v.incident_id, i.title, i.started_at, v.violated_during, v.traces_during, v.violated_baseline, v.traces_baseline,
    v.violated_during / nullif(v.traces_during, 0) as share_during,
    v.violated_baseline / nullif(v.traces_baseline, 0) as share_baseline
from marts.mart_incident_violations as v inner join marts.fct_incidents as i using (incident_id)
where v.rule_id = $rule_id and v.traces_during > 0
order by share_during desc, v.incident_id limit 40
"""

RULE_COLUMNS = (
    Column("rule_id", "Rule", "code", link="href"),
    Column("title", "What it demands", "wide"),
    Column("severity", "Severity", "severity"),
    Column("violated", "Violated", "count", share="share"),
    Column("satisfied", "Satisfied", "count"),
    Column("inconclusive", "Undecided", "count"),
)


def rule_rows(workshop: Workshop, prefix: str = "rules/") -> list[Row]:
    """The catalogue with verdicts, each rule with the address of its page and its share of the most violated one."""
    found = workshop.rows(RULES)
    most = max((row["violated"] for row in found), default=0)
    for row in found:
        row["href"] = f"{prefix}{slug(row['rule_id'])}.html"
        row["share"] = row["violated"] / most if most else 0.0
    return found


def write(workshop: Workshop) -> None:
    """The catalogue page and a page a rule."""
    found = rule_rows(workshop, prefix="")
    catalogue = workshop.csv("rules", RULES)
    workshop.page(
        "rules/index.html",
        "rules.html.j2",
        current="rules",
        rules=found,
        table=table("The catalogue", RULE_COLUMNS, found, csv=catalogue),
    )
    window = _window(workshop)
    for row in found:
        _rule(workshop, row, window)


def _window(workshop: Workshop) -> tuple[datetime, datetime] | None:
    extent = workshop.row(EXTENT)
    if extent["first_at"] is None:
        return None
    pad = timedelta(minutes=2)
    return extent["first_at"] - pad, extent["last_at"] + pad


def _rule(workshop: Workshop, rule: Row, window: tuple[datetime, datetime] | None) -> None:
    name = slug(rule["rule_id"])
    key = {"rule_id": rule["rule_id"]}
    certificate = workshop.rows(CERTIFICATE, **key)
    workshop.page(
        f"rules/{name}.html",
        "rule.html.j2",
        current="rules",
        rule=rule,
        expression=rule.get("expression") or rule.get("source"),
        certificate=certificate[0] if certificate else None,
        reasons=_reasons(workshop, rule["rule_id"]),
        figure=_figure(workshop, rule, window) if window and rule["violated"] else None,
        incidents=_incidents(workshop, rule["rule_id"]),
        violations=_violations(workshop, rule),
    )


def _reasons(workshop: Workshop, rule_id: str) -> Table:
    columns = (
        Column("verdict", "Verdict", "verdict"),
        Column("reason", "Why", "wide"),
        Column("scopes", "Cases", "count"),
    )
    return table("Verdicts with their reasons", columns, workshop.rows(REASONS, rule_id=rule_id))


def _figure(workshop: Workshop, rule: Row, window: tuple[datetime, datetime]) -> charts.Figure:
    bucket = next((size for size in BUCKETS if (window[1] - window[0]).total_seconds() / size <= BARS), BUCKETS[-1])
    return charts.over_time(
        "violations",
        violations=workshop.rows(MINUTES, rule_id=rule["rule_id"], bucket=bucket),
        traces=workshop.rows(TRACES, bucket=bucket),
        incidents=[],
        bucket_seconds=bucket,
        window=window,
        csv=workshop.csv(f"rule-{slug(rule['rule_id'])}-by-minute", MINUTES_CSV, rule_id=rule["rule_id"]),
    )


def _incidents(workshop: Workshop, rule_id: str) -> Table:
    found = workshop.rows(INCIDENTS, rule_id=rule_id)
    for row in found:
        row["href"] = f"../incidents/{slug(row['incident_id'])}.html"
    columns = (
        Column("incident_id", "Incident", "code", link="href"),
        Column("started_at", "Began (UTC)", "time"),
        Column("violated_during", "Violating", "count"),
        Column("traces_during", "of traces", "count"),
        Column("share_during", "During", "share", share="share_during"),
        Column("share_baseline", "Baseline", "share", share="share_baseline"),
    )
    return table("Traces that violate the rule, during each incident and in its baseline", columns, found)


def _violations(workshop: Workshop, rule: Row) -> Table | None:
    if not rule["violated"]:
        return None
    key = {"rule_id": rule["rule_id"]}
    columns = (
        Column("first_span_at", "First span (UTC)", "time"),
        Column("scope_key", "Trace or group", "code"),
        Column("service_names", "Services", "wide"),
        Column("violation_id", "Violation", "code"),
    )
    return table(
        "The earliest violations",
        columns,
        workshop.rows(VIOLATIONS, most=MOST_VIOLATIONS, **key),
        total=rule["violated"],
        csv=workshop.csv(f"rule-{slug(rule['rule_id'])}-violations", ALL_VIOLATIONS, **key),
    )
