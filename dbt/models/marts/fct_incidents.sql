with incidents as (
    select * from {{ ref('int_incidents') }}
),

windows as (
    select * from {{ ref('int_incident_windows') }}
),

final as (
    select
        incidents.incident_id,
        incidents.system,
        incidents.title,
        incidents.severity,
        incidents.severity_as_sent,
        incidents.service_name,
        incidents.team,
        incidents.category,
        incidents.resolution_method,
        incidents.started_at,
        incidents.started_at_source,
        incidents.detected_at,
        incidents.detected_at_source,
        incidents.acknowledged_at,
        incidents.acknowledged_at_source,
        incidents.mitigated_at,
        incidents.mitigated_at_source,
        incidents.resolved_at,
        incidents.resolved_at_source,
        incidents.closed_at,
        incidents.closed_at_source,
        incidents.reopened_at,
        incidents.reopened_at_source,
        incidents.reopened_count,
        incidents.escalation_count,
        incidents.is_open,
        incidents.clock_problem,
        {{ has_consistent_clocks('incidents.clock_problem') }} as has_consistent_clocks,
        {% for clock in ['detect', 'acknowledge', 'mitigate', 'resolve'] %}
        {%- set at = 'incidents.' ~ {
            'detect': 'detected_at', 'acknowledge': 'acknowledged_at',
            'mitigate': 'mitigated_at', 'resolve': 'resolved_at'
        }[clock] %}
        case
            when {{ at }} >= incidents.started_at then {{ seconds_between('incidents.started_at', at) }}
        end as time_to_{{ clock }}_seconds,
        {%- endfor %}
        windows.incident_id is not null as has_telemetry,
        incidents.pagerduty_id,
        incidents.load_id,
        incidents.line,
        incidents.record
    from incidents
    left join windows on incidents.incident_id = windows.incident_id
)

select *
from final
order by system, incident_id
