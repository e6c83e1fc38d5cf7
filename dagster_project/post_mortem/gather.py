"""From marts to facts: what the warehouse knows about incidents, each piece with the row that says it.

SQL selects, counts and caps; Python only puts the few rows of an incident together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from dagster_project.facts import (
    Certificate,
    Clock,
    Impact,
    IncidentFacts,
    Reference,
    RuleViolations,
    ServiceShift,
    SuspectService,
    TimelineEntry,
    ViolationExample,
)
from dagster_project.post_mortem import queries
from dagster_project.wording import scope, slug, visible

# Three robust standard deviations: about one quiet signal in 370 moves that far by chance if it is normal.
MOVED = 3.0
MOST_TIMELINE_ENTRIES = 60
MOST_EXAMPLES = 3
MOST_SUSPECTS = 5
MOST_SIGNALS = 4

ORDER_AT_ONE_TIME = ["deploy", "started", "detected", "acknowledged", "mitigated", "resolved", "closed", "reopened"]
COUNTS_OF_A_CERTIFICATE = (
    *("spans_scanned", "spans_repeated", "logs_scanned", "traces_scanned", "traces_complete", "traces_incomplete"),
    *("records_quarantined", "violated", "satisfied", "inconclusive"),
)

Row = dict[str, Any]
CLOCKS = (
    ("detected", "time_to_detect_seconds"),
    ("acknowledged", "time_to_acknowledge_seconds"),
    ("mitigated", "time_to_mitigate_seconds"),
    ("resolved", "time_to_resolve_seconds"),
    ("closed", None),
)


class UnknownIncident(LookupError):
    """An incident was asked for that `marts.fct_incidents` does not hold."""


def gather(connection: duckdb.DuckDBPyConnection, incidents: Sequence[str] | None = None) -> list[IncidentFacts]:
    """What is known about each incident, ordered by its start.

    Parameters
    ----------
    connection
        With schemas audit, marts, intermediate, violations; the warehouse or a published generation.
    incidents
        Incident ids. By default every incident of system 'incidents', and of other systems those in whose window
        there are traces: thousands of tickets that no telemetry saw would all read the same.

    Raises
    ------
    UnknownIncident
        Names the ids that are not in `marts.fct_incidents`.
    """
    ids = [row["incident_id"] for row in _rows(connection, queries.WANTED)] if incidents is None else list(incidents)
    rows = _rows(connection, queries.INCIDENTS, ids=ids)
    if missing := sorted(set(ids) - {row["incident_id"] for row in rows}):
        raise UnknownIncident(f"not in marts.fct_incidents: {', '.join(missing)}; `hindcast query` lists what is there")
    impacts = {row["incident_id"]: row for row in _rows(connection, queries.IMPACT, ids=ids)}
    timelines = _by_incident(
        _rows(connection, queries.TIMELINE, ids=ids, most=MOST_TIMELINE_ENTRIES, clocks=ORDER_AT_ONE_TIME)
    )
    violations = _by_incident(_rows(connection, queries.VIOLATIONS, ids=ids))
    examples = _by_incident(_rows(connection, queries.EXAMPLES, ids=ids, most=MOST_EXAMPLES))
    suspects = _by_incident(_rows(connection, queries.SUSPECTS, ids=ids, most=MOST_SUSPECTS, moved=MOVED))
    moved = _by_incident(_rows(connection, queries.MOVED_SIGNALS, ids=ids, most=MOST_SIGNALS, moved=MOVED))
    violating = _by_incident(_rows(connection, queries.VIOLATING_SERVICES, ids=ids))
    certificates = tuple(_certificate(row) for row in _rows(connection, queries.CERTIFICATES))
    return [
        _incident(
            row,
            impact=_impact(impacts[key]) if (key := row["incident_id"]) in impacts else None,
            timeline=timelines[key],
            violations=tuple(_violations(one, examples[key]) for one in violations[key]),
            suspects=suspects[key],
            moved=moved[key],
            violating={one["service_name"]: one["violating"] for one in violating[key]},
            certificates=certificates,
        )
        for row in rows
    ]


def most_abnormal(connection: duckdb.DuckDBPyConnection, incidents: Sequence[str]) -> dict[str, str]:
    """The service that an incident's document names first, by incident; none where no signal moved far."""
    found = _rows(connection, queries.SUSPECTS, ids=list(incidents), most=1, moved=MOVED)
    return {row["incident_id"]: row["service_name"] for row in found}


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **values: Any) -> list[Row]:
    cursor = connection.execute(query, values or None)
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _by_incident(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["incident_id"]].append(row)
    return grouped


def _shown(value: Any) -> str | None:
    return None if value is None or value == "" else visible(str(value))


def _shown_list(values: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(visible(value) for value in values or () if value is not None)


def _reference(relation: str, row: Row, *columns: str) -> Reference:
    return Reference(relation, tuple((column, str(row[column])) for column in columns if row[column] is not None))


def _incident(
    row: Row,
    *,
    impact: Impact | None,
    timeline: list[Row],
    violations: tuple[RuleViolations, ...],
    suspects: list[Row],
    moved: list[Row],
    violating: dict[str, int],
    certificates: tuple[Certificate, ...],
) -> IncidentFacts:
    return IncidentFacts(
        incident_id=visible(row["incident_id"]),
        slug=slug(row["incident_id"]),
        title=_shown(row["title"]) or "(no title)",
        system=visible(row["system"]),
        severity=_shown(row["severity"]),
        severity_as_sent=_shown(row["severity_as_sent"]),
        service_name=_shown(row["service_name"]),
        service_in_telemetry=bool(row["is_service_in_telemetry"]),
        team=_shown(row["team"]),
        category=_shown(row["category"]),
        resolution_method=_shown(row["resolution_method"]),
        started=Clock("started", row["started_at"], _shown(row["started_at_source"]), 0.0),
        clocks=tuple(_clock(row, name, seconds) for name, seconds in CLOCKS),
        is_open=bool(row["is_open"]),
        reopened_count=int(row["reopened_count"] or 0),
        clock_problem=_shown(row["clock_problem"]),
        reference=_reference("marts.fct_incidents", row, "incident_id", "system"),
        impact=impact,
        timeline=tuple(_timeline_entry(one) for one in timeline),
        timeline_total=timeline[0]["total"] if timeline else 0,
        violations=violations,
        suspects=tuple(_suspect(one, moved, violating) for one in suspects),
        signals_compared=int(suspects[0]["signals_compared"]) if suspects else 0,
        certificates=certificates,
    )


def _clock(row: Row, name: str, seconds: str | None) -> Clock:
    return Clock(
        name=name,
        at=row[f"{name}_at"],
        said_by=_shown(row[f"{name}_at_source"]),
        seconds=None if seconds is None or row[seconds] is None else float(row[seconds]),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _milliseconds(nanoseconds: Any) -> float | None:
    return None if nanoseconds is None else float(nanoseconds) / 1e6


def _impact(row: Row) -> Impact:
    return Impact(
        window_from=row["window_from"],
        window_until=row["window_until"],
        traces=int(row["traces"] or 0),
        traces_with_error_logs=int(row["traces_with_error_logs"] or 0),
        services_reached=tuple(sorted(_shown_list(row["services_reached"]))),
        median_duration_ms=_milliseconds(row["median_duration_ns"]),
        p95_duration_ms=_milliseconds(row["p95_duration_ns"]),
        baseline_kind=_shown(row["baseline_kind"]),
        baseline_traces=int(row["baseline_traces"] or 0),
        baseline_traces_with_error_logs=int(row["baseline_traces_with_error_logs"] or 0),
        baseline_median_duration_ms=_milliseconds(row["baseline_median_duration_ns"]),
        baseline_p95_duration_ms=_milliseconds(row["baseline_p95_duration_ns"]),
        reference=_reference("marts.mart_incident_impact", row, "incident_id"),
    )


def _timeline_entry(row: Row) -> TimelineEntry:
    key = (("incident_id", row["incident_id"]), ("at", row["at_key"]), ("kind", row["kind"]), ("text", row["text"]))
    return TimelineEntry(
        at=row["at"],
        kind=visible(row["kind"]),
        text=visible(row["text"] or ""),
        source=visible(row["source_ref"] or ""),
        reference=Reference("marts.mart_incident_timeline", tuple(one for one in key if one[1] is not None)),
    )


def _violations(row: Row, examples: list[Row]) -> RuleViolations:
    return RuleViolations(
        rule_id=visible(row["rule_id"]),
        title=_shown(row["title"]) or visible(row["rule_id"]),
        severity=_shown(row["severity"]),
        violated_during=int(row["violated_during"] or 0),
        traces_during=int(row["traces_during"] or 0),
        violated_baseline=int(row["violated_baseline"] or 0),
        traces_baseline=int(row["traces_baseline"] or 0),
        first_at=row["first_violation_at"],
        last_at=row["last_violation_at"],
        inconclusive_during=int(row["inconclusive_during"] or 0),
        examples=tuple(_example(one) for one in examples if one["rule_id"] == row["rule_id"]),
        reference=_reference("marts.mart_incident_violations", row, "incident_id", "rule_id"),
    )


def _example(row: Row) -> ViolationExample:
    return ViolationExample(
        violation_id=visible(row["violation_id"]),
        scope_key=visible(scope(row["scope_key"])),
        first_span_at=row["first_span_at"],
        service_names=_shown_list(row["service_names"]),
        reference=_reference("violations.fct_violations", row, "violation_id"),
    )


def _suspect(row: Row, moved: list[Row], violating: dict[str, int]) -> SuspectService:
    name = row["service_name"]
    return SuspectService(
        service_name=visible(name),
        rank=int(row["service_rank"]),
        moved=tuple(_shift(one) for one in moved if one["service_name"] == name),
        moved_count=int(row["moved_count"]),
        compared_count=int(row["compared_count"]),
        moved_share=float(row["moved_share"] or 0),
        still_count=int(row["still_count"]),
        still_examples=_shown_list(row["still_examples"]),
        improved_count=int(row["improved_count"]),
        improved_examples=_shown_list(row["improved_examples"]),
        violating_traces=violating.get(name, 0),
        reference=_reference("marts.mart_incident_services", row, "incident_id", "service_name"),
    )


def _shift(row: Row) -> ServiceShift:
    return ServiceShift(
        service_name=visible(row["service_name"]),
        kind=visible(row["signal_kind"]),
        signal=visible(row["signal"]),
        unit=_shown(row["unit"]),
        baseline_median=_number(row["baseline_median"]),
        baseline_n=int(row["baseline_n"] or 0),
        incident_median=_number(row["incident_median"]),
        incident_n=int(row["incident_n"] or 0),
        shift=float(row["shift"]),
        rank=int(row["rank_in_incident"]),
        reference=_reference(
            "marts.mart_incident_services", row, "incident_id", "service_name", "signal_kind", "signal"
        ),
    )


def _certificate(row: Row) -> Certificate:
    return Certificate(
        rule_id=visible(row["rule_id"]),
        meaning_hash=_shown(row["meaning_hash"]),
        window_from=row["window_from"],
        window_until=row["window_until"],
        null_keys=row["null_keys"],
        not_applicable=row["not_applicable"],
        undetectable_loss_note=_shown(row["undetectable_loss_note"]),
        reference=_reference("marts.mart_certificates", row, "rule_id"),
        **{name: int(row[name] or 0) for name in COUNTS_OF_A_CERTIFICATE},
    )
