"""What was recorded when: the time axis that pages share, with traces, incidents and violations in equal steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from dagster_project.site import charts
from dagster_project.site.workshop import Row, Workshop

# Steps that people know; the smallest is taken that gives no more bars than a screen shows apart.
STEPS = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400)
MOST_BARS = 300
MOST_MARKED = 2000
NAMED_RULES = 6
A_MINUTE = 60

EXTENT = """
select
    date_trunc('second', min(started_at)::timestamp) as first_at,
    date_trunc('second', max(ended_at)::timestamp) as last_at
from intermediate.int_traces
"""
TRACES = """
select time_bucket(to_seconds($step), started_at::timestamp) as bucket_at, count(*) as traces
from intermediate.int_traces
where started_at >= $first and started_at < $last
group by bucket_at
order by bucket_at
"""
INCIDENTS = """
select
    i.incident_id, i.system, i.title, i.severity, i.service_name, i.started_at, i.time_to_resolve_seconds as seconds,
    coalesce(case when i.resolved_at >= i.started_at then i.resolved_at end, i.started_at + interval 1 minute) as until,
    m.traces, v.violations
from marts.fct_incidents as i
left join marts.mart_incident_impact as m using (incident_id)
left join (
    select incident_id, sum(violations_during)::bigint as violations
    from marts.mart_incident_violations
    group by incident_id
) as v using (incident_id)
where i.started_at >= $first and i.started_at < $last
order by i.started_at, i.incident_id
limit $most
"""
# By the minute when a step is that long, for then the small mart serves; by the violation itself when not.
VIOLATIONS = """
with ranked as (
    select rule_id, row_number() over (order by sum(violations) desc, rule_id) as position
    from marts.mart_violation_timeline
    group by rule_id
), counted as (
    select rule_id, minute_at::timestamp as at_time, violations from marts.mart_violation_timeline where $by_minute
    union all
    select rule_id, first_span_at::timestamp, 1 from violations.fct_violations where not $by_minute
)
select
    case when r.position <= $named or $rule_id is not null then c.rule_id else 'other rules' end as rule,
    least(min(r.position), $named + 1) as position,
    time_bucket(to_seconds($step), c.at_time) as bucket_at,
    sum(c.violations)::bigint as violations
from counted as c inner join ranked as r using (rule_id)
where c.at_time >= $first and c.at_time < $last and ($rule_id is null or c.rule_id = $rule_id)
group by rule, bucket_at
order by position, rule, bucket_at
"""


@dataclass(frozen=True)
class Recorded:
    """The recorded time of a warehouse, and what pages draw on its axis."""

    workshop: Workshop
    pages: frozenset[str]

    @cached_property
    def window(self) -> tuple[datetime, datetime] | None:
        """From the first trace to the last, with a margin; None when there is no trace."""
        extent = self.workshop.row(EXTENT)
        if extent["first_at"] is None:
            return None
        margin = max((extent["last_at"] - extent["first_at"]) * 0.01, timedelta(minutes=5))
        return extent["first_at"] - margin, extent["last_at"] + margin

    @cached_property
    def incidents(self) -> list[Row]:
        """Incidents that began in the recorded time, the first of them when they are very many."""
        return self.incidents_between(*self.window) if self.window else []

    def incidents_between(self, first: datetime, last: datetime) -> list[Row]:
        """Incidents that began in a stretch of time, each with the address of its page from the site's root."""
        found = self.workshop.rows(INCIDENTS, first=first, last=last, most=MOST_MARKED)
        for row in found:
            row["href"] = self.workshop.incident_page(row["incident_id"], self.pages)
        return found

    def figure(
        self,
        name: str,
        csv: str,
        *,
        rule_id: str | None = None,
        window: tuple[datetime, datetime] | None = None,
        up: str = "",
    ) -> charts.Figure | None:
        """Violations over the recorded time or a part of it; `up` leads from the page to the site's root."""
        window = window or self.window
        if window is None:
            return None
        step = step_for(window)
        between: dict[str, Any] = {"step": step, "first": window[0], "last": window[1]}
        violations = self.workshop.rows(
            VIOLATIONS, rule_id=rule_id, named=NAMED_RULES, by_minute=step >= A_MINUTE, **between
        )
        return charts.over_time(
            name,
            violations=violations,
            traces=self.workshop.rows(TRACES, **between),
            incidents=list(_linked(self.incidents_between(*window), up)),
            bucket_seconds=step,
            window=window,
            csv=csv,
        )


def step_for(window: tuple[datetime, datetime]) -> int:
    """Seconds of a bar."""
    length = (window[1] - window[0]).total_seconds()
    return next((step for step in STEPS if length / step <= MOST_BARS), STEPS[-1])


def _linked(incidents: Iterable[Row], up: str) -> Iterable[Row]:
    return ({**row, "href": up + row["href"] if row["href"] else ""} for row in incidents)
