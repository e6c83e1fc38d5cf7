with incidents as (
    select * from {{ ref('stg_incidents') }}
),

loads as (
    select * from {{ source('audit', 'loads') }}
),

pagerduty as (
    select * from {{ ref('stg_pagerduty__incidents') }}
),

jira as (
    select * from {{ ref('stg_jira__incidents') }}
),

servicenow as (
    select * from {{ ref('stg_servicenow__incidents') }}
),

alertmanager as (
    select * from {{ ref('stg_alertmanager__incidents') }}
),

cloudwatch as (
    select * from {{ ref('stg_cloudwatch__incidents') }}
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
{%- set said_by_page = {
    'detected_at': ('created_at', "'created_at'"),
    'acknowledged_at': ('acknowledged_at', 'pages.acknowledged_at_field'),
    'resolved_at': ('resolved_at', 'pages.resolved_at_field'),
    'reopened_at': ('reopened_at', "'log_entries'"),
} %}

incidents_and_pages as (
    select
        incidents.incident_id,
        coalesce(incidents.title, pages.title) as title,
        coalesce(incidents.severity, pages.severity) as severity,
        coalesce(incidents.severity_as_sent, pages.severity_as_sent) as severity_as_sent,
        coalesce(incidents.service_name, pages.service_name) as service_name,
        coalesce(incidents.team, pages.team) as team,
        incidents.category,
        coalesce(incidents.resolution_method, pages.resolution_method) as resolution_method,
        coalesce(incidents.started_at, incidents.created_at) as started_at,
        case when incidents.started_at is not null then 'incidents.started_at' else 'incidents.created_at' end
            as started_at_said_by,
        {%- for clock in [
            'detected_at', 'acknowledged_at', 'mitigated_at', 'resolved_at', 'closed_at', 'reopened_at'
        ] %}
        {%- if clock in said_by_page %}
        {%- set column, field = said_by_page[clock] %}
        coalesce(incidents.{{ clock }}, pages.{{ column }}) as {{ clock }},
        case when incidents.{{ clock }} is not null then 'incidents.{{ clock }}' else 'pagerduty.' || {{ field }} end
            as {{ clock }}_said_by,
        {%- else %}
        incidents.{{ clock }},
        'incidents.{{ clock }}' as {{ clock }}_said_by,
        {%- endif %}
        {%- endfor %}
        coalesce(incidents.reopened_count, pages.reopened_count, 0) as reopened_count,
        coalesce(incidents.escalation_count, pages.escalation_count) as escalation_count,
        incidents.satisfaction,
        coalesce(pages.status = 'resolved', false) as is_over,
        pages.incident_id as pagerduty_id,
        incidents.load_id,
        incidents.line,
        incidents.record
    from incidents
    left join pages on incidents.incident_id = pages.incident_key
),

from_incidents as (
    select
        {{ incident_columns('incidents', texts={}, clocks={
            'started_at': ('started_at', 'started_at_said_by'),
            'detected_at': ('detected_at', 'detected_at_said_by'),
            'acknowledged_at': ('acknowledged_at', 'acknowledged_at_said_by'),
            'mitigated_at': ('mitigated_at', 'mitigated_at_said_by'),
            'resolved_at': ('resolved_at', 'resolved_at_said_by'),
            'closed_at': ('closed_at', 'closed_at_said_by'),
            'reopened_at': ('reopened_at', 'reopened_at_said_by'),
        }) }},
        reopened_count,
        escalation_count,
        satisfaction,
        is_over,
        pagerduty_id,
        load_id,
        line,
        record
    from incidents_and_pages
),

from_pagerduty as (
    select
        {{ incident_columns('pagerduty', texts={'category': none}, clocks={
            'started_at': ('created_at', "'pagerduty.created_at'"),
            'acknowledged_at': ('acknowledged_at', "'pagerduty.' || acknowledged_at_field"),
            'resolved_at': ('resolved_at', "'pagerduty.' || resolved_at_field"),
            'reopened_at': ('reopened_at', "'pagerduty.log_entries'"),
        }) }},
        reopened_count,
        escalation_count,
        cast(null as double) as satisfaction,
        coalesce(status = 'resolved', false) as is_over,
        incident_id as pagerduty_id,
        load_id,
        line,
        record
    from pagerduty
    where incident_key is null or incident_key not in (select incident_id from incidents)
),

from_jira as (
    select
        {{ incident_columns('jira', texts={}, clocks={
            'started_at': ('started_at', "'jira.' || started_at_field"),
            'detected_at': ('detected_at', "'jira.' || detected_at_field"),
            'acknowledged_at': ('acknowledged_at', "'jira.changelog.status'"),
            'mitigated_at': ('mitigated_at', "'jira.' || mitigated_at_field"),
            'resolved_at': ('resolved_at', "'jira.' || resolved_at_field"),
            'closed_at': ('closed_at', "'jira.changelog.status'"),
            'reopened_at': ('reopened_at', "'jira.changelog.status'"),
        }) }},
        reopened_count,
        cast(null as bigint) as escalation_count,
        cast(null as double) as satisfaction,
        is_over,
        cast(null as varchar) as pagerduty_id,
        load_id,
        line,
        record
    from jira
),

from_servicenow as (
    select
        {{ incident_columns('servicenow', texts={
            'title': "coalesce(short_description, 'Incident ' || incident_id)"
        }, clocks={
            'started_at': ('opened_at', "'servicenow.opened_at'"),
            'acknowledged_at': ('acknowledged_at', "'servicenow.state, sys_updated_at'"),
            'resolved_at': ('resolved_at', "'servicenow.resolved_at'"),
            'closed_at': ('closed_at', "'servicenow.closed_at'"),
            'reopened_at': ('reopened_at', "'servicenow.reopen_count, sys_updated_at'"),
        }) }},
        reopened_count,
        cast(null as bigint) as escalation_count,
        cast(null as double) as satisfaction,
        is_over,
        cast(null as varchar) as pagerduty_id,
        load_id,
        line,
        record
    from servicenow
),

from_alertmanager as (
    select
        {{ incident_columns('alertmanager', texts={'resolution_method': none}, clocks={
            'started_at': ('starts_at', "'alertmanager.startsAt'"),
            'resolved_at': ('resolved_at', "'alertmanager.endsAt'"),
        }) }},
        0 as reopened_count,
        cast(null as bigint) as escalation_count,
        cast(null as double) as satisfaction,
        is_over,
        cast(null as varchar) as pagerduty_id,
        load_id,
        line,
        record
    from alertmanager
),

from_cloudwatch as (
    select
        {{ incident_columns('cloudwatch', texts={
            'title': 'alarm_name', 'severity': none, 'severity_as_sent': none, 'team': none, 'category': none,
            'resolution_method': none
        }, clocks={
            'started_at': ('alarmed_at', "'cloudwatch.' || alarmed_at_field"),
            'resolved_at': ('ended_at', "'cloudwatch.' || ended_at_field"),
        }) }},
        0 as reopened_count,
        cast(null as bigint) as escalation_count,
        cast(null as double) as satisfaction,
        false as is_over,
        cast(null as varchar) as pagerduty_id,
        load_id,
        line,
        record
    from cloudwatch
),

{%- set systems = ['incidents', 'pagerduty', 'jira', 'servicenow', 'alertmanager', 'cloudwatch'] %}

together as (
    {%- for system in systems %}
    select * from from_{{ system }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Systems number their incidents without regard to each other. The first in the list that has an id keeps it; the
-- others', and whatever looks like such a made id as sent, get the system before it, so that no two are the same.
named as (
    select
        * exclude (is_over)
        replace (
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
        ),
        coalesce(resolved_at, closed_at) is null and not is_over as is_open
    from together
),

final as (
    select
        named.*,
        case
            when named.started_at is null then 'no start'
            when named.resolved_at < named.started_at then 'resolved before created'
            when named.detected_at < named.started_at then 'detected before created'
            when named.acknowledged_at < named.started_at then 'acknowledged before created'
            when named.mitigated_at < named.started_at then 'mitigated before created'
            when named.closed_at < named.resolved_at then 'closed before resolved'
            when named.closed_at < named.started_at then 'closed before created'
            -- A day, because local times may be read as UTC.
            when
                greatest(
                    named.started_at, named.detected_at, named.acknowledged_at, named.mitigated_at, named.resolved_at,
                    named.closed_at, named.reopened_at
                ) > loads.started_at + interval 1 day
                then 'dated after its load'
            when named.resolved_at is null and named.closed_at is not null then 'closed, never resolved'
            when named.resolved_at is null and not named.is_open then 'over, no time of it'
        end as clock_problem
    from named
    left join loads on named.load_id = loads.load_id
)

select *
from final
order by system, incident_id
