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
    incident_id, "at"::timestamp as "at", "at"::varchar as at_key, kind, text,
    -- A load's number says nothing to a reader: its file does.
    coalesce(l.path || substr(source_ref, strpos(source_ref, ', line ')), source_ref) as source_ref,
    count(*) over (partition by incident_id) as total
from marts.mart_incident_timeline
left join audit.loads as l on l.load_id = try_cast(regexp_extract(source_ref, '^load (\\d+), line ', 1) as bigint)
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

# Signals whose name says which direction is the worse one; of all others either direction counts.
_SIGNALS = """
with signals as (
    select
        *,
        case
            when signal_kind in ('span duration', 'error logs') or regexp_matches(lower(signal), 'latency|duration')
                then incident_median < baseline_median
            when regexp_matches(lower(signal), 'success_?rate') then incident_median > baseline_median
            else false
        end as is_improved
    from marts.mart_incident_services
    where list_contains($ids, incident_id) and shift is not null
)
"""

# Ranked as the mart does, but without what moved to the better; per service how many signals moved, how many did not,
# and a few names of those.
SUSPECTS = (
    _SIGNALS
    + """
, services as (
    select
        incident_id, service_name,
        max(shift) filter (where signal_kind = 'error logs' and shift >= $moved and not is_improved) as error_log_shift,
        count(*) as compared_count,
        count(*) filter (where shift >= $moved and not is_improved) as moved_count,
        count(*) filter (where shift >= $moved and is_improved) as improved_count,
        count(*) filter (where shift < 1) as still_count,
        list(signal order by shift, signal) filter (where shift < 1) as still,
        list(signal order by shift desc, signal) filter (where shift >= $moved and is_improved) as improved,
        sum(count(*)) over (partition by incident_id) as signals_compared
    from signals
    group by incident_id, service_name
)
select
    * exclude (still, improved), still[1:3] as still_examples, improved[1:3] as improved_examples,
    moved_count / compared_count as moved_share,
    row_number() over (
        partition by incident_id
        order by error_log_shift desc nulls last, moved_count / compared_count desc, service_name
    ) as service_rank
from services
where moved_count > 0
qualify service_rank <= $most
order by incident_id, service_rank
"""
)

MOVED_SIGNALS = (
    _SIGNALS
    + """
select *
from signals
where shift >= $moved and not is_improved
qualify row_number() over (
    partition by incident_id, service_name order by signal_kind = 'error logs' desc, shift desc, signal
) <= $most
order by incident_id, service_name, signal_kind = 'error logs' desc, shift desc, signal
"""
)

CERTIFICATES = "select * from marts.mart_certificates order by rule_id"
