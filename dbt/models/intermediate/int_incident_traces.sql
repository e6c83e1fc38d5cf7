with windows as (
    select * from {{ ref('int_incident_windows') }}
),

traces as (
    select
        trace_id,
        {{ to_microseconds('started_at') }} as started_at,
        started_on
    from {{ ref('int_traces') }}
),

during as (
    select
        windows.incident_id,
        traces.trace_id,
        traces.started_on
    from windows
    inner join traces
        on
            windows.window_from <= traces.started_at
            and windows.window_until >= traces.started_at
),

quiet as (
    select traces.*
    from traces
    where traces.trace_id not in (select trace_id from during)
),

hour_before as (
    select
        windows.incident_id,
        quiet.trace_id,
        quiet.started_on
    from windows
    inner join quiet
        on
            windows.baseline_from <= quiet.started_at
            and windows.window_from > quiet.started_at
),

served as (
    select incident_id
    from hour_before
    group by incident_id
    having count(*) >= {{ var('baseline_minimum_traces') }}
),

final as (
    select
        incident_id,
        trace_id,
        'during' as period,
        cast(null as varchar) as baseline_kind,
        started_on
    from during

    union all

    select
        incident_id,
        trace_id,
        'baseline' as period,
        'hour before' as baseline_kind,
        started_on
    from hour_before
    where incident_id in (select incident_id from served)

    union all

    select
        windows.incident_id,
        quiet.trace_id,
        'baseline' as period,
        'quiet day' as baseline_kind,
        quiet.started_on
    from windows
    inner join quiet on windows.window_day = quiet.started_on
    where windows.incident_id not in (select incident_id from served)
)

select *
from final
order by incident_id, period, trace_id
