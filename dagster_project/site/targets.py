"""Parts of mttr.html that compare with targets: indicators, control charts, attainment, error budgets, delivery.

Targets come from the policy; every row names the one that it used, and whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagster_project.site import charts
from dagster_project.site.tables import DASH, Column, Table, measure, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import counted, slug

KPIS = ("marts.mart_kpis", "kpi_id")
ALERTS = ("marts.mart_kpi_alerts", "alert_id")
ATTAINMENT = ("marts.mart_target_attainment", "attainment_id")
BUDGETS = ("marts.mart_error_budget", "budget_id")
DELIVERY = ("marts.mart_delivery_performance", "delivery_id")
MOST_ROWS = 60
MOST_SERVICES = 20
# Charts drawn on the page; the table below has every indicator.
MOST_CHARTS = 8
NAMES = {
    "mttr": "Time to resolve (MTTR)",
    "mtta": "Time to acknowledge (MTTA)",
    "repeat_incidents": "Repeat incidents",
    "documentation_complete": "Documentation complete",
    "satisfaction": "Satisfaction",
}
# The newest whole period of each; the newest at all where none is whole.
LATEST_KPIS = """
select * from marts.mart_kpis
qualify row_number() over (partition by kpi, system order by value is not null desc, is_whole desc, period_on desc) = 1
order by system, list_position($names, kpi) nulls last, kpi
"""
CHARTED = """
select * from marts.mart_kpi_alerts
qualify count(value) over (partition by kpi, system) >= 2
order by count(*) over (partition by kpi, system) desc, list_position($names, kpi) nulls last, kpi, system, period_on
"""
LEFT_LIMITS = "select * from marts.mart_kpi_alerts where is_alert order by period_on desc, kpi, system limit $most"
ALERT_COUNT = "select count(*) as n from marts.mart_kpi_alerts where is_alert"
ATTAINED = """
select * from marts.mart_target_attainment
where slice = 'all' order by system, severity nulls last, list_position($clocks, clock), clock
"""
LATEST_BUDGETS = """
select *, count(*) over () as in_all from marts.mart_error_budget
where is_latest order by spent_share desc nulls last, system, service_name limit $most
"""
DELIVERED = """
select *, count(*) over () as in_all from marts.mart_delivery_performance
where slice = $slice order by system, environment, month_on, n_deploys desc, service_name limit $most
"""
_KPIS = (
    Column("name", "Indicator", "wide"),
    Column("system", "System"),
    Column("period_on", "Period from", "time"),
    Column("statistic", "Statistic"),
    Column("value", "Value", "measure", unit="unit"),
    Column("direction", "Target"),
    Column("target", "", "measure", unit="unit"),
    Column("is_met", "Met", "met"),
    Column("n", "n", "count"),
    Column("target_basis", "Target is"),
    Column("target_source", "Whose target", "sentences"),
    Column("reason", "Why no value", "wide"),
)
_ALERTS = (
    Column("name", "Indicator", "wide"),
    Column("system", "System"),
    Column("period_on", "Period from", "time"),
    Column("value", "Value", "measure", unit="unit"),
    Column("lower_limit", "Limit below", "measure", unit="unit"),
    Column("upper_limit", "Limit above", "measure", unit="unit"),
    Column("position", "Lies"),
    Column("n", "n", "count"),
)
_ATTAINMENT = (
    Column("system", "System"),
    Column("severity", "Severity", "severity"),
    Column("clock", "Clock"),
    Column("target_minutes", "Target", "minutes"),
    Column("n", "Judged", "count"),
    Column("n_met", "In time", "count"),
    Column("n_missed", "Missed", "count"),
    Column("n_missed_open", "… still running", "count"),
    Column("n_not_due", "Not due yet", "count"),
    Column("share_met", "In time", "share", share="share_met"),
    Column("required_share", "Required", "share"),
    Column("is_attained", "Attained", "met"),
)
_BUDGETS = (
    Column("service_name", "Service", "code"),
    Column("system", "System"),
    Column("window_from_at", "Window from", "minute"),
    Column("availability_percent", "Promised %", "number"),
    Column("allowed_minutes", "Allowed", "minutes"),
    Column("downtime_minutes", "Down", "minutes"),
    Column("remaining_minutes", "Left", "minutes"),
    Column("spent_share", "Spent", "share", share="spent_share"),
    Column("is_attained", "Held", "met"),
    Column("n_incidents", "Incidents", "count"),
    Column("n_unknown", "End unknown", "count"),
)
_DELIVERY = (
    Column("n_deploys", "Deploys", "count"),
    Column("deploys_per_day", "A day", "number"),
    Column("n_lead_times", "Commits known", "count"),
    Column("median_lead_minutes", "Lead time, median", "minutes"),
    Column("n_rollbacks", "Rollbacks", "count"),
    Column("n_bulk_days", "Bulk days", "count"),
    Column("n_rollback_causes", "Causes", "count"),
    Column("change_failure_share", "Change failure rate", "share"),
    Column("change_failure_share_by_cause", "… a bulk day one cause", "share"),
    Column("median_restore_minutes", "To rollback, median", "minutes"),
    Column("p90_restore_minutes", "90th percentile", "minutes"),
)
_DELIVERED_BY = {
    "all": ("All services", (Column("system", "System"), Column("environment", "Environment"))),
    "month": ("By month", (Column("system", "System"), Column("month_on", "Month", "time"))),
    "service": ("By service", (Column("system", "System"), Column("service_name", "Service", "code"))),
}


def indicators(workshop: Workshop) -> dict[str, Any] | None:
    """The table of indicators, their control charts, and the periods outside of limits; None without the mart."""
    if not workshop.has(KPIS[0]):
        return None
    csv = workshop.csv("kpis", "select * from marts.mart_kpis order by kpi, system, period_on")
    rows = [_named(row) for row in workshop.rows(LATEST_KPIS, names=list(NAMES))]
    # Most projects measure most of them, and the table is wide.
    columns = [one for one in _KPIS if one.key != "reason" or any(row["reason"] for row in rows)]
    found = table("The newest period of each, against its target", columns, rows, csv=csv, source=KPIS)
    return {"table": found, **_control(workshop)}


def _control(workshop: Workshop) -> dict[str, Any]:
    if not workshop.has(ALERTS[0]):
        return {"charts": [], "constant": [], "alerts": None}
    csv = workshop.csv("kpi-alerts", "select * from marts.mart_kpi_alerts order by kpi, system, period_on")
    targets = {(row["kpi_id"]): row["target"] for row in workshop.rows("select kpi_id, target from marts.mart_kpis")}
    charted = workshop.rows(CHARTED, names=list(NAMES))
    groups = list(dict.fromkeys((row["kpi"], row["system"]) for row in charted))[:MOST_CHARTS]
    series = [[row for row in charted if (row["kpi"], row["system"]) == group] for group in groups]
    figures = [_chart(rows, targets, csv) for rows in series if not _is_constant(rows)]
    constant = [_constant(rows) for rows in series if _is_constant(rows)]
    alerts = [_named(row) for row in workshop.rows(LEFT_LIMITS, most=MOST_ROWS)]
    total = workshop.row(ALERT_COUNT)["n"]
    listed = table("Periods outside of their limits, on the bad side", _ALERTS, alerts, total, csv, source=ALERTS)
    return {"charts": figures, "constant": constant, "alerts": listed}


def _is_constant(rows: list[Row]) -> bool:
    return len({row["value"] for row in rows if row["value"] is not None}) == 1


def _constant(rows: list[Row]) -> str:
    """What a chart of one value would show."""
    known = [row for row in rows if row["value"] is not None]
    value = measure(known[0]["value"], known[0]["unit"])
    return f"{_title(rows[0])}: {value} in each of {counted(len(known), 'period')}, so that no chart is drawn."


def _title(row: Row) -> str:
    return f"{NAMES.get(row['kpi'], row['kpi'])}, {row['system']}"


def _chart(rows: list[Row], targets: dict[str, float | None], csv: str) -> charts.Figure:
    first = rows[0]
    title = _title(first)
    # Limits from too few periods judge nothing, and are not drawn either.
    is_judged = any(row["position"] for row in rows)
    drawn = [
        {
            "period_at": row["period_on"],
            "value": row["value"],
            "centre": row["centre"] if is_judged else None,
            "low": row["lower_limit"] if is_judged else None,
            "high": row["upper_limit"] if is_judged else None,
            "target": targets.get(row["kpi_id"]),
            "is_alert": bool(row["is_alert"]),
            "text": _said(row),
        }
        for row in rows
    ]
    outside = sum(one["is_alert"] for one in drawn)
    if not is_judged:
        why = next((row["reason"] for row in reversed(rows) if row["is_whole"] and row["reason"]), "too few periods")
        said = f"No limits: {why}."
    else:
        baseline = counted(max(row["n_baseline_periods"] for row in rows), "period")
        said = f"Limits are set by the first {baseline}. {counted(outside, 'period')} outside, on the bad side."
    return charts.control_chart(
        f"control-{slug(first['kpi'])}-{slug(first['system'])}", title=title, rows=drawn, said=said, csv=csv,
        unit=first["unit"], is_logarithmic=bool(first["is_logarithmic"]),
    )  # fmt: skip


def _said(row: Row) -> str:
    value = DASH if row["value"] is None else measure(row["value"], row["unit"])
    covered = "" if row["is_whole"] else ", not covered whole"
    return f"{row['period']} of {row['period_on']}: {value}, n = {row['n']:,}{covered}"


@dataclass(frozen=True)
class Aimed:
    """A table against targets, and beside it whose targets they are: who, target_basis, target_source."""

    table: Table
    sources: list[Row]


def attainment(workshop: Workshop, clocks: list[str]) -> Aimed | None:
    """Share of incidents in time, by severity and clock."""
    if not workshop.has(ATTAINMENT[0]):
        return None
    csv = workshop.csv("target-attainment", "select * from marts.mart_target_attainment order by attainment_id")
    rows = workshop.rows(ATTAINED, clocks=clocks)
    found = table("In time, by severity and clock", _ATTAINMENT, rows, csv=csv, source=ATTAINMENT)
    return Aimed(found, _sources(rows, "severity"))


def budgets(workshop: Workshop) -> Aimed | None:
    """Error budgets in the newest window, the most spent first."""
    if not workshop.has(BUDGETS[0]):
        return None
    csv = workshop.csv("error-budget", "select * from marts.mart_error_budget order by budget_id")
    rows = workshop.rows(LATEST_BUDGETS, most=MOST_SERVICES)
    total = rows[0]["in_all"] if rows else 0
    caption = "The newest window of each service, the most spent first"
    return Aimed(table(caption, _BUDGETS, rows, total, csv, source=BUDGETS), _sources(rows, "service_name"))


def _sources(rows: list[Row], who: str) -> list[Row]:
    """Each source of a target once, with those that it is for where there are several."""
    sources = dict.fromkeys((row["target_source"], row["target_basis"]) for row in rows)
    found = []
    for source, basis in sources:
        whose = sorted({str(row[who]) for row in rows if row["target_source"] == source})
        name = ", ".join(whose) if len(sources) > 1 else "all of them"
        found.append({"who": name, "target_source": source, "target_basis": basis})
    return found


def delivery(workshop: Workshop) -> dict[str, Any] | None:
    """DORA's measures as far as deploys say them: a figure a system, tables whole, by month and by service."""
    if not workshop.has(DELIVERY[0]):
        return None
    csv = workshop.csv("delivery-performance", "select * from marts.mart_delivery_performance order by delivery_id")
    found = {name: workshop.rows(DELIVERED, slice=name, most=MOST_ROWS) for name in _DELIVERED_BY}
    tables = [
        table(caption, (*columns, *_DELIVERY), found[name], found[name][0]["in_all"], csv, source=DELIVERY)
        for name, (caption, columns) in _DELIVERED_BY.items()
        if found[name]
    ]
    months: dict[tuple[str, str | None], list[Row]] = {}
    for row in found["month"]:
        months.setdefault((row["system"], row["environment"]), []).append(row)
    drawn = [
        charts.delivery(f"delivery-{place}", rows=rows, csv=csv)
        for place, rows in enumerate(months.values(), start=1)
        if len(rows) > 1
    ]
    return {"charts": drawn, "tables": tables} if tables else None


def _named(row: Row) -> Row:
    return {**row, "name": NAMES.get(row["kpi"], row["kpi"])}
