"""rules/: the catalogue, and a page a rule with its verdicts, certificate, first violations and when they were."""

from __future__ import annotations

from dagster_project.site.recorded import Recorded
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug, visible

MOST_VIOLATIONS = 50

RULES = "select * from marts.dim_rules order by violated desc, rule_id"
REASONS = """
select verdict, reason, count(*) as scopes
from violations.fct_verdicts where rule_id = $rule_id
group by all order by verdict, scopes desc, reason limit 20
"""
CERTIFICATE = "select * from marts.mart_certificates where rule_id = $rule_id"
VIOLATIONS = """
select first_span_at::timestamp as first_span_at, scope_key, service_names, left(violation_id, 12) as violation
from violations.fct_violations where rule_id = $rule_id
order by first_span_at, violation_id limit $most
"""
ALL_VIOLATIONS = """
select
    violation_id, rule_id, meaning_hash, scope_kind,
    case when scope_kind = 'trace' then replace(scope_key, '-', '') else scope_key end as scope_key,
    first_span_at, last_span_at, service_names,
    array_to_string(list_transform(trace_ids, lambda one: replace(one::varchar, '-', '')), ' ') as trace_ids,
    -- A log record that names no span is found by its trace alone.
    array_to_string(list_transform(witness, lambda one: concat_ws(
        ':', replace(one.trace_id::varchar, '-', ''), lower(lpad(to_hex(one.span_id), 16, '0'))
    )), ' ') as witness,
    reported
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
    Column("inconclusive", "Inconclusive", "count"),
    Column("marks", "Note", "state"),
)


def rule_rows(workshop: Workshop, prefix: str = "rules/") -> list[Row]:
    """The catalogue with verdicts, each rule with the address of its page and its share of the most violated one."""
    found = workshop.rows(RULES)
    most = max((row["violated"] for row in found), default=0)
    for row in found:
        row["href"] = f"{prefix}{slug(row['rule_id'])}.html"
        row["share"] = row["violated"] / most if most else 0.0
        row["marks"] = marks(row)
    return found


def marks(rule: Row) -> list[str]:
    """What must be known before a count of none is read as good news: the rule alerts nobody, or judged nothing."""
    found = [] if rule["status"] in (None, "active") else [str(rule["status"])]
    if not rule["violated"] and not rule["satisfied"]:
        found.append("never decided" if rule["inconclusive"] else "never applied")
    return found


def write(workshop: Workshop, recorded: Recorded) -> None:
    """The catalogue page and a page a rule."""
    found = rule_rows(workshop, prefix="")
    catalogue = workshop.csv("rules", RULES)
    workshop.page(
        "rules/index.html",
        "rules.html.j2",
        current="rules",
        table=table("The catalogue", RULE_COLUMNS, found, csv=catalogue),
    )
    for row in found:
        _rule(workshop, recorded, row)


def _rule(workshop: Workshop, recorded: Recorded, rule: Row) -> None:
    name = slug(rule["rule_id"])
    key = {"rule_id": rule["rule_id"]}
    certificate = workshop.rows(CERTIFICATE, **key)
    figure = None
    if rule["violated"]:
        csv = workshop.csv(f"rule-{name}-by-minute", MINUTES_CSV, **key)
        figure = recorded.figure("violations", csv, rule_id=rule["rule_id"], up="../")
    workshop.page(
        f"rules/{name}.html",
        "rule.html.j2",
        current="rules",
        rule=rule,
        expression=rule.get("expression"),
        paragraphs=_paragraphs(rule["description"]),
        certificate=certificate[0] if certificate else None,
        reasons=_reasons(workshop, rule["rule_id"]),
        figure=figure,
        incidents=_incidents(workshop, recorded.pages, rule["rule_id"]),
        violations=_violations(workshop, rule),
    )


def _paragraphs(description: str | None) -> list[str]:
    """A description's paragraphs; its lines are only how the file was wrapped."""
    return [visible(part, 4000) for part in (description or "").split("\n\n") if part.strip()][:12]


def _reasons(workshop: Workshop, rule_id: str) -> Table:
    columns = (
        Column("verdict", "Verdict", "verdict"),
        Column("reason", "Why", "wide"),
        Column("scopes", "Cases", "count"),
    )
    return table("Verdicts with their reasons", columns, workshop.rows(REASONS, rule_id=rule_id))


def _incidents(workshop: Workshop, pages: frozenset[str], rule_id: str) -> Table:
    found = workshop.rows(INCIDENTS, rule_id=rule_id)
    largest = max(
        (share for row in found for share in (row["share_during"], row["share_baseline"]) if share), default=1
    )
    for row in found:
        row["href"] = workshop.incident_page(row["incident_id"], pages, prefix="../incidents/")
        # Bars are drawn against the largest share of the page: most shares of most rules are small.
        row["bar_during"] = (row["share_during"] or 0) / largest
        row["bar_baseline"] = (row["share_baseline"] or 0) / largest
    columns = (
        Column("incident_id", "Incident", "code", link="href"),
        Column("started_at", "Began (UTC)", "time"),
        Column("violated_during", "Violating", "count"),
        Column("traces_during", "of traces", "count"),
        Column("share_during", "During", "share", share="bar_during"),
        Column("share_baseline", "Baseline", "share", share="bar_baseline"),
    )
    return table("Traces that violate the rule, during each incident and in its baseline", columns, found)


def _violations(workshop: Workshop, rule: Row) -> Table | None:
    if not rule["violated"]:
        return None
    key = {"rule_id": rule["rule_id"]}
    columns = (
        Column("first_span_at", "First span (UTC)", "time"),
        Column("scope_key", "Trace or group", "scope"),
        Column("service_names", "Services", "wide"),
        Column("violation", "Id begins", "code"),
    )
    return table(
        "The earliest violations",
        columns,
        workshop.rows(VIOLATIONS, most=MOST_VIOLATIONS, **key),
        total=rule["violated"],
        csv=workshop.csv(f"rule-{slug(rule['rule_id'])}-violations", ALL_VIOLATIONS, **key),
    )
