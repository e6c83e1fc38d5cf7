with incidents as (
    select * from {{ ref('stg_incidents') }}
),

pagerduty as (
    select * from {{ ref('stg_pagerduty__incidents') }}
),

servicenow as (
    select * from {{ ref('stg_servicenow__incidents') }}
),

-- Several pages may name one incident; the first that was created speaks for it.
pages as (
    select *
    from pagerduty
    where incident_key in (select incident_id from incidents)
    qualify row_number() over (partition by incident_key order by created_at, incident_id) = 1
),

-- What the incident's own record says goes before what the page says. The page's creation is when a machine or a person
-- noticed: it detects, it does not begin.
from_incidents as (
    select
        incidents.incident_id,
        'incidents' as system,
        coalesce(incidents.title, pages.title) as title,
        coalesce(incidents.severity, pages.severity) as severity,
        coalesce(incidents.severity_as_sent, pages.severity_as_sent) as severity_as_sent,
        coalesce(incidents.service_name, pages.service_name) as service_name,
        coalesce(incidents.team, pages.team) as team,
        incidents.category,
        coalesce(incidents.resolution_method, pages.resolution_method) as resolution_method,
        coalesce(incidents.started_at, incidents.created_at) as started_at,
        case
            when incidents.started_at is not null then 'incidents.started_at'
            when incidents.created_at is not null then 'incidents.created_at'
        end as started_at_source,
        coalesce(incidents.detected_at, pages.created_at) as detected_at,
        case
            when incidents.detected_at is not null then 'incidents.detected_at'
            when pages.created_at is not null then 'pagerduty.created_at'
        end as detected_at_source,
        coalesce(incidents.acknowledged_at, pages.acknowledged_at) as acknowledged_at,
        case
            when incidents.acknowledged_at is not null then 'incidents.acknowledged_at'
            when pages.acknowledged_at is not null then 'pagerduty.acknowledge_log_entry.created_at'
        end as acknowledged_at_source,
        incidents.mitigated_at,
        case when incidents.mitigated_at is not null then 'incidents.mitigated_at' end as mitigated_at_source,
        coalesce(incidents.resolved_at, pages.resolved_at) as resolved_at,
        case
            when incidents.resolved_at is not null then 'incidents.resolved_at'
            when pages.resolved_at is not null then 'pagerduty.' || pages.resolved_at_field
        end as resolved_at_source,
        incidents.closed_at,
        case when incidents.closed_at is not null then 'incidents.closed_at' end as closed_at_source,
        coalesce(pages.reopened_count, 0) as reopened_count,
        coalesce(incidents.resolved_at, incidents.closed_at, pages.resolved_at) is null
        and coalesce(pages.status, '') <> 'resolved' as is_open,
        pages.incident_id as pagerduty_id,
        incidents.load_id,
        incidents.line,
        incidents.record
    from incidents
    left join pages on incidents.incident_id = pages.incident_key
),

from_pagerduty as (
    select
        incident_id,
        'pagerduty' as system,
        title,
        severity,
        severity_as_sent,
        service_name,
        team,
        cast(null as varchar) as category,
        resolution_method,
        created_at as started_at,
        case when created_at is not null then 'pagerduty.created_at' end as started_at_source,
        cast(null as timestamp) as detected_at,
        cast(null as varchar) as detected_at_source,
        acknowledged_at,
        case when acknowledged_at is not null then 'pagerduty.acknowledge_log_entry.created_at' end
            as acknowledged_at_source,
        cast(null as timestamp) as mitigated_at,
        cast(null as varchar) as mitigated_at_source,
        resolved_at,
        case when resolved_at is not null then 'pagerduty.' || resolved_at_field end as resolved_at_source,
        cast(null as timestamp) as closed_at,
        cast(null as varchar) as closed_at_source,
        reopened_count,
        resolved_at is null and coalesce(status, '') <> 'resolved' as is_open,
        incident_id as pagerduty_id,
        load_id,
        line,
        record
    from pagerduty
    where incident_key is null or incident_key not in (select incident_id from incidents)
),

from_servicenow as (
    select
        incident_id,
        'servicenow' as system,
        coalesce(short_description, 'Incident ' || incident_id) as title,
        severity,
        severity_as_sent,
        service_name,
        team,
        category,
        resolution_method,
        opened_at as started_at,
        case when opened_at is not null then 'servicenow.opened_at' end as started_at_source,
        cast(null as timestamp) as detected_at,
        cast(null as varchar) as detected_at_source,
        cast(null as timestamp) as acknowledged_at,
        cast(null as varchar) as acknowledged_at_source,
        cast(null as timestamp) as mitigated_at,
        cast(null as varchar) as mitigated_at_source,
        resolved_at,
        case when resolved_at is not null then 'servicenow.resolved_at' end as resolved_at_source,
        closed_at,
        case when closed_at is not null then 'servicenow.closed_at' end as closed_at_source,
        reopened_count,
        coalesce(resolved_at, closed_at) is null
        and lower(coalesce(state, '')) not in ('resolved', 'closed', 'canceled', 'cancelled') as is_open,
        cast(null as varchar) as pagerduty_id,
        load_id,
        line,
        record
    from servicenow
),

{%- set systems = ['incidents', 'pagerduty', 'servicenow'] %}

together as (
    select * from from_incidents
    union all
    select * from from_pagerduty
    union all
    select * from from_servicenow
),

-- Systems number their incidents without regard to each other. The first in the list that has an id keeps it; the
-- others', and whatever looks like such a made id as sent, get the system before it, so that no two are the same.
named as (
    select
        * replace (
            case
                when
                    {% for system in systems %}
                    incident_id like '{{ system }}:%' or
                    {%- endfor %}
                    row_number() over (
                        partition by incident_id
                        order by
                            case system
                                {% for system in systems %}
                                when '{{ system }}' then {{ loop.index }}
                                {%- endfor %}
                            end
                    ) > 1
                    then system || ':' || incident_id
                else incident_id
            end as incident_id
        )
    from together
),

final as (
    select
        *,
        case
            when started_at is null then 'no start'
            when resolved_at < started_at then 'resolved before created'
            when detected_at < started_at then 'detected before created'
            when acknowledged_at < started_at then 'acknowledged before created'
            when mitigated_at < started_at then 'mitigated before created'
            when closed_at < resolved_at then 'closed before resolved'
            when resolved_at is null and closed_at is not null then 'closed, never resolved'
            when resolved_at is null and not is_open then 'over, no time of it'
        end as clock_problem
    from named
)

select *
from final
order by system, incident_id
