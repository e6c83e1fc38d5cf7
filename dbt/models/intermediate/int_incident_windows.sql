with incidents as (
    select * from {{ ref('int_incidents') }}
),

traces as (
    select
        started_at,
        ended_at
    from {{ ref('int_traces') }}
),

points as (
    select observed_at from {{ ref('stg_metric_points') }}
),

spans as (
    select service_name from {{ ref('stg_spans') }}
),

services as (
    select distinct service_name from spans
    where service_name is not null
),

extents as (
    select
        {{ to_microseconds('min(started_at)') }} as telemetry_from,
        {{ to_microseconds('max(started_at)') }} as telemetry_until
    from traces

    union all

    select
        {{ to_microseconds('min(observed_at)') }} as telemetry_from,
        {{ to_microseconds('max(observed_at)') }} as telemetry_until
    from points
),

extent as (
    select
        min(telemetry_from) as telemetry_from,
        max(telemetry_until) as telemetry_until
    from extents
),

relevant as (
    select
        incident_id,
        system,
        started_at,
        resolved_at,
        case when closed_at >= started_at then closed_at end as closed_at
    from incidents
    where
        started_at is not null
        and (
            {{ is_one_of('system', var('telemetry_systems')) }}
            or (
                -- Alerts come all day: each would take quiet time away from baselines.
                system not in ('alertmanager', 'cloudwatch')
                and service_name in (select service_name from services)
            )
        )
),

-- An end before the start is no end; an incident without one is followed for a while, and not past its closing or
-- what was received.
windows as (
    select
        relevant.incident_id,
        relevant.system,
        relevant.started_at - interval '{{ var("incident_lead_minutes") }}' minute as window_from,
        case
            when relevant.resolved_at >= relevant.started_at then relevant.resolved_at
            else least(
                relevant.started_at + interval '{{ var("open_incident_hours") }}' hour,
                relevant.closed_at,
                greatest(extent.telemetry_until, relevant.started_at)
            )
        end as window_until,
        extent.telemetry_from,
        extent.telemetry_until
    from relevant
    cross join extent
),

final as (
    select
        incident_id,
        system,
        window_from,
        window_until,
        window_from - interval '{{ var("baseline_minutes") }}' minute as baseline_from,
        cast(window_from as date) as window_day
    from windows
    where
        window_from <= telemetry_until
        and window_until >= telemetry_from
)

select *
from final
order by window_from, system, incident_id
