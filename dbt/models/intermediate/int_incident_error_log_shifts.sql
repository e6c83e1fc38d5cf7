with memberships as (
    select * from {{ ref('int_incident_traces') }}
),

logs as (
    select
        trace_id,
        service_name
    from {{ ref('stg_logs') }}
    where
        is_error
        and trace_id is not null
        and service_name is not null
),

traces as (
    select
        incident_id,
        max(baseline_kind) as baseline_kind,
        count(*) filter (where period = 'baseline') as baseline_n,
        count(*) filter (where period = 'during') as incident_n
    from memberships
    group by incident_id
),

counted as (
    select
        memberships.incident_id,
        logs.service_name,
        count(distinct memberships.trace_id) filter (where memberships.period = 'baseline') as baseline_count,
        count(distinct memberships.trace_id) filter (where memberships.period = 'during') as incident_count
    from memberships
    inner join logs on memberships.trace_id = logs.trace_id
    group by memberships.incident_id, logs.service_name
),

expected as (
    select
        counted.incident_id,
        counted.service_name,
        traces.baseline_kind,
        traces.baseline_n,
        counted.baseline_count,
        traces.incident_n,
        counted.incident_count,
        counted.baseline_count * traces.incident_n / nullif(cast(traces.baseline_n as double), 0) as expected_count
    from counted
    inner join traces on counted.incident_id = traces.incident_id
),

final as (
    select
        *,
        case
            when baseline_n >= {{ var('baseline_minimum_n') }} and incident_n >= {{ var('incident_minimum_n') }}
                then {{ count_shift('incident_count', 'expected_count') }}
        end as shift
    from expected
)

select *
from final
order by incident_id, service_name
