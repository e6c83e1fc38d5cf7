{%- set clocks = incident_clocks() %}

with incidents as (
    select
        *,
        case when mitigated_at >= started_at then mitigated_at else resolved_at end as impact_ended_at,
        case when mitigated_at >= started_at then mitigated_at_source else resolved_at_source end
            as impact_ended_at_source,
        {{ has_consistent_clocks('clock_problem') }} as is_consistent
    from {{ ref('int_incidents') }}
),

-- From when until when a system is watched, and what it has said last: how far its data goes.
systems as (
    select
        system,
        coalesce(
            max(greatest(
                started_at, detected_at, acknowledged_at, mitigated_at, resolved_at, closed_at, reopened_at
            )) filter (where is_consistent),
            max(started_at)
        ) as as_of_at,
        coalesce(min(started_at) filter (where is_consistent), min(started_at)) as observed_from_at,
        coalesce(max(started_at) filter (where is_consistent), max(started_at)) as observed_until_at,
        count(detected_at) > 0 as records_detected_at,
        count(acknowledged_at) > 0 as records_acknowledged_at,
        count(mitigated_at) > 0 as records_mitigated_at,
        count(closed_at) > 0 as records_closed_at
    from incidents
    group by system
),

followed as (
    select
        incidents.*,
        systems.as_of_at,
        systems.observed_from_at,
        systems.observed_until_at,
        systems.records_detected_at,
        systems.records_acknowledged_at,
        systems.records_mitigated_at,
        systems.records_closed_at,
        case
            when incidents.service_name is not null
                then lead(incidents.started_at) over (
                    partition by incidents.system, incidents.service_name
                    order by incidents.started_at nulls last, incidents.incident_id
                )
        end as next_started_at,
        case
            when incidents.service_name is not null
                then lead(incidents.started_at_source) over (
                    partition by incidents.system, incidents.service_name
                    order by incidents.started_at nulls last, incidents.incident_id
                )
        end as next_started_at_source
    from incidents
    inner join systems on incidents.system = systems.system
),

explained as (
    select
        {%- for clock in clocks %}
        {{ clock_reason(clock) }} as {{ clock }}_reason,
        {%- endfor %}
        *
    from followed
),

final as (
    select
        incident_id,
        system,
        severity,
        service_name,
        team,
        category,
        resolution_method,
        cast(date_trunc('month', started_at) as date) as month_on,
        satisfaction,
        is_open,
        {%- for time in [
            'started_at', 'detected_at', 'acknowledged_at', 'mitigated_at', 'resolved_at', 'closed_at',
            'impact_ended_at', 'next_started_at'
        ] %}
        {{ time }},
        case when {{ time }} is not null then {{ time }}_source end as {{ time }}_source,
        {%- endfor %}
        {%- for clock, it in clocks.items() %}
        case when {{ clock }}_reason is null then {{ seconds_between(it.start, it.end) }} end as {{ clock }}_seconds,
        case
            when {{ clock }}_reason = 'open' then greatest({{ seconds_between(it.start, 'as_of_at') }}, 0)
        end as {{ clock }}_open_seconds,
        {{ clock }}_reason,
        {%- endfor %}
        as_of_at,
        observed_from_at,
        observed_until_at
    from explained
)

select *
from final
order by system, incident_id
