with windows as (
    select * from {{ ref('int_incident_windows') }}
),

memberships as (
    select * from {{ ref('int_incident_traces') }}
),

traces as (
    select * from {{ ref('int_traces') }}
),

spans as (
    select
        trace_id,
        service_name
    from {{ ref('stg_spans') }}
    where service_name is not null
),

measured as (
    select
        memberships.incident_id,
        memberships.period,
        max(memberships.baseline_kind) as baseline_kind,
        count(*) as traces,
        count(*) filter (where traces.error_log_count > 0) as traces_with_error_logs,
        count(*) filter (where traces.error_span_count > 0) as traces_with_error_spans,
        {{ quantile('traces.duration_ns', 0.5) }} as median_duration_ns,
        {{ quantile('traces.duration_ns', 0.95) }} as p95_duration_ns
    from memberships
    inner join traces on memberships.trace_id = traces.trace_id
    group by memberships.incident_id, memberships.period
),

during as (
    select * from measured
    where period = 'during'
),

baseline as (
    select * from measured
    where period = 'baseline'
),

reached as (
    select
        memberships.incident_id,
        {{ sorted_set('spans.service_name') }} as services_reached
    from memberships
    inner join spans on memberships.trace_id = spans.trace_id
    where memberships.period = 'during'
    group by memberships.incident_id
),

final as (
    select
        windows.incident_id,
        windows.window_from,
        windows.window_until,
        windows.baseline_from,
        baseline.baseline_kind,
        coalesce(during.traces, 0) as traces,
        coalesce(during.traces_with_error_logs, 0) as traces_with_error_logs,
        coalesce(during.traces_with_error_spans, 0) as traces_with_error_spans,
        coalesce(reached.services_reached, []) as services_reached,
        cast(len(coalesce(reached.services_reached, [])) as bigint) as services_reached_count,
        during.median_duration_ns,
        during.p95_duration_ns,
        coalesce(baseline.traces, 0) as baseline_traces,
        coalesce(baseline.traces_with_error_logs, 0) as baseline_traces_with_error_logs,
        coalesce(baseline.traces_with_error_spans, 0) as baseline_traces_with_error_spans,
        baseline.median_duration_ns as baseline_median_duration_ns,
        baseline.p95_duration_ns as baseline_p95_duration_ns
    from windows
    left join during on windows.incident_id = during.incident_id
    left join baseline on windows.incident_id = baseline.incident_id
    left join reached on windows.incident_id = reached.incident_id
)

select *
from final
order by incident_id
