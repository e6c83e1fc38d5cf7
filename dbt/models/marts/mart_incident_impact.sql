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
        max(memberships.baseline_kind) as baseline_kind,
        {%- for period, prefix in [('during', ''), ('baseline', 'baseline_')] %}
        count(*) filter (where memberships.period = '{{ period }}') as {{ prefix }}traces,
        count(*) filter (where memberships.period = '{{ period }}' and traces.error_log_count > 0)
            as {{ prefix }}traces_with_error_logs,
        count(*) filter (where memberships.period = '{{ period }}' and traces.error_span_count > 0)
            as {{ prefix }}traces_with_error_spans,
        {{ quantile("case when memberships.period = '" ~ period ~ "' then traces.duration_ns end", 0.5) }} / 1e6
            as {{ prefix }}median_duration_ms,
        {{ quantile("case when memberships.period = '" ~ period ~ "' then traces.duration_ns end", 0.95) }} / 1e6
            as {{ prefix }}p95_duration_ms{{ ',' if not loop.last }}
        {%- endfor %}
    from memberships
    inner join traces on memberships.trace_id = traces.trace_id
    group by memberships.incident_id
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
        measured.baseline_kind,
        coalesce(measured.traces, 0) as traces,
        coalesce(measured.traces_with_error_logs, 0) as traces_with_error_logs,
        coalesce(measured.traces_with_error_spans, 0) as traces_with_error_spans,
        coalesce(reached.services_reached, []) as services_reached,
        cast(len(coalesce(reached.services_reached, [])) as bigint) as services_reached_count,
        measured.median_duration_ms,
        measured.p95_duration_ms,
        coalesce(measured.baseline_traces, 0) as baseline_traces,
        coalesce(measured.baseline_traces_with_error_logs, 0) as baseline_traces_with_error_logs,
        coalesce(measured.baseline_traces_with_error_spans, 0) as baseline_traces_with_error_spans,
        measured.baseline_median_duration_ms,
        measured.baseline_p95_duration_ms
    from windows
    left join measured on windows.incident_id = measured.incident_id
    left join reached on windows.incident_id = reached.incident_id
)

select *
from final
order by incident_id
