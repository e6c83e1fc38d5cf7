"""The questions that facts are gathered with. Each takes $ids, a list of incident ids, and caps its rows itself."""

from __future__ import annotations

# Incidents of their own system get a document; of ticket systems with thousands of rows only those that telemetry saw.
WANTED = """
select i.incident_id
from marts.fct_incidents as i
left join marts.mart_incident_impact as m using (incident_id)
where i.system = 'incidents' or coalesce(m.traces, 0) > 0
order by i.started_at, i.incident_id
"""

INCIDENTS = """
select
    i.*,
    exists (
        select 1
        from marts.dim_services as s
        where s.service_name = i.service_name and (s.has_spans or s.log_count > 0 or s.metric_series_count > 0)
    ) as is_service_in_telemetry
from marts.fct_incidents as i
where list_contains($ids, i.incident_id)
order by i.started_at, i.incident_id
"""

IMPACT = "select * from marts.mart_incident_impact where list_contains($ids, incident_id)"

TIMELINE = """
select
    incident_id, "at"::timestamp as "at", "at"::varchar as at_key, kind, text, source_ref,
    count(*) over (partition by incident_id) as total
from marts.mart_incident_timeline
where list_contains($ids, incident_id) and "at" is not null
qualify row_number() over (partition by incident_id order by "at", kind, text) <= $most
order by incident_id, "at", coalesce(list_position($clocks, kind), 99), text
"""

VIOLATIONS = """
select
    v.incident_id, v.rule_id, r.title, r.severity, v.violated_during, v.traces_during, v.violated_baseline,
    v.traces_baseline, v.inconclusive_during, v.first_violation_at::timestamp as first_violation_at,
    v.last_violation_at::timestamp as last_violation_at
from marts.mart_incident_violations as v
left join marts.dim_rules as r using (rule_id)
where list_contains($ids, v.incident_id)
order by v.incident_id, v.violated_during desc, v.rule_id
"""

# The violations of an incident are those with a trace in its window.
_IN_WINDOW = """
with during as (
    select incident_id, trace_id
    from intermediate.int_incident_traces
    where list_contains($ids, incident_id) and period = 'during'
), violated as (
    select violation_id, rule_id, scope_key, first_span_at, service_names, unnest(trace_ids) as trace_id
    from violations.fct_violations
)
"""

EXAMPLES = (
    _IN_WINDOW  # noqa: S608 - both parts are constants
    + """
, distinct_violations as (
    select distinct on (d.incident_id, v.violation_id)
        d.incident_id, v.rule_id, v.violation_id, v.scope_key, v.first_span_at::timestamp as first_span_at,
        v.service_names
    from during as d inner join violated as v using (trace_id)
)
select *
from distinct_violations
qualify row_number() over (partition by incident_id, rule_id order by first_span_at, violation_id) <= $most
order by incident_id, rule_id, first_span_at, violation_id
"""
)

VIOLATING_SERVICES = (
    _IN_WINDOW
    + """
select d.incident_id, s.service_name, count(distinct d.trace_id) as violating
from during as d inner join violated as v using (trace_id), unnest(v.service_names) as s (service_name)
group by all
"""
)

# The mart ranks services; per service how many signals moved, how many did not, and a few names of those.
SUSPECTS = """
with shifts as (
    select * from marts.mart_incident_services where list_contains($ids, incident_id) and shift is not null
), services as (
    select
        incident_id, service_name, min(service_rank) as service_rank, max(moved_share) as moved_share,
        count(*) as compared_count,
        count(*) filter (where shift >= $moved) as moved_count,
        count(*) filter (where shift < 1) as still_count,
        list(signal order by shift, signal) filter (where shift < 1) as still,
        sum(count(*)) over (partition by incident_id) as signals_compared
    from shifts
    group by incident_id, service_name
)
select * exclude (still), still[1:3] as still_examples
from services
where moved_count > 0 and service_rank <= $most
order by incident_id, service_rank
"""

MOVED_SIGNALS = """
select *
from marts.mart_incident_services
where list_contains($ids, incident_id) and shift >= $moved
qualify row_number() over (
    partition by incident_id, service_name order by signal_kind = 'error logs' desc, shift desc, signal
) <= $most
order by incident_id, service_name, signal_kind = 'error logs' desc, shift desc, signal
"""

CERTIFICATES = "select * from marts.mart_certificates order by rule_id"
