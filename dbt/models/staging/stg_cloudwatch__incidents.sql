with reading as (
    select
        load_id,
        {{ json_text('reading', 'service_name') }} as declared_service_name
    from {{ source('audit', 'loads') }}
),

records as (
    select
        sent.*,
        reading.declared_service_name
    from {{ source('raw', 'tickets') }} as sent
    left join reading on sent.load_id = reading.load_id
    where sent.system = 'cloudwatch'
),

-- Every kind of record says which state an alarm came into, and when.
{%- set changes = [
    ('HistoryData.newState.stateValue', 'Timestamp', 'AlarmHistoryItems.Timestamp'),
    ('detail.state.value', 'detail.state.timestamp', 'detail.state.timestamp'),
    ('detail.previousState.value', 'detail.previousState.timestamp', 'detail.previousState.timestamp'),
    ('NewStateValue', 'StateChangeTime', 'StateChangeTime'),
    ('Message.NewStateValue', 'Message.StateChangeTime', 'StateChangeTime'),
    ('StateValue', 'StateTransitionedTimestamp', 'StateTransitionedTimestamp'),
    ('StateValue', 'StateUpdatedTimestamp', 'StateUpdatedTimestamp')
] %}

changes as (
    {% for state, at, field in changes %}
    select
        ticket_id as alarm_name,
        {{ json_text('payload', state) }} as state,
        {{ utc_timestamp(json_text('payload', at)) }} as changed_at,
        '{{ field }}' as field,
        load_id,
        line,
        record
    from records
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

-- One change arrives by several ways, milliseconds apart: of changes into the same state that follow each other, the
-- first is one. Missing data says nothing of the fault, and ends no episode.
turns as (
    select *
    from changes
    where
        state in ('ALARM', 'OK')
        and changed_at is not null
    qualify coalesce(
        state <> lag(state) over (partition by alarm_name order by changed_at, load_id, line, record, field), true
    )
),

episodes as (
    select
        *,
        lead(changed_at) over (partition by alarm_name order by changed_at, load_id, line, record, field) as ended_at,
        lead(field) over (partition by alarm_name order by changed_at, load_id, line, record, field) as ended_at_field
    from turns
    qualify state = 'ALARM'
),

-- Which dimension names a service, its own AWS service decides.
dimensions as (
    {% for path, name, value in [
        ('Dimensions', 'Name', 'Value'),
        ('Trigger.Dimensions', 'name', 'value'),
        ('Message.Trigger.Dimensions', 'name', 'value')
    ] %}
    select
        ticket_id as alarm_name,
        {{ json_text('dimension', name) }} as dimension_name,
        {{ json_text('dimension', value) }} as dimension_value
    from (
        select
            ticket_id,
            unnest({{ json_elements('payload', path) }}) as dimension
        from records
    ) as listed

    union all
    {% endfor %}
    {% for name in ['Service', 'ServiceName', 'FunctionName'] %}
    select
        ticket_id as alarm_name,
        '{{ name }}' as dimension_name,
        {{ json_text('payload', 'detail.configuration.metrics[0].metricStat.metric.dimensions.' ~ name) }}
            as dimension_value
    from records
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

services as (
    select
        alarm_name,
        coalesce(
            max(case when dimension_name = 'Service' then dimension_value end),
            max(case when dimension_name = 'ServiceName' then dimension_value end),
            max(case when dimension_name = 'FunctionName' then dimension_value end)
        ) as service_name
    from dimensions
    group by alarm_name
),

declared as (
    select
        ticket_id as alarm_name,
        max(declared_service_name) as service_name
    from records
    group by ticket_id
),

final as (
    select
        episodes.alarm_name || '@' || cast(episodes.changed_at as varchar) as incident_id,
        episodes.alarm_name,
        coalesce(services.service_name, declared.service_name) as service_name,
        episodes.changed_at as alarmed_at,
        episodes.field as alarmed_at_field,
        episodes.ended_at,
        episodes.ended_at_field,
        episodes.load_id,
        episodes.line,
        episodes.record
    from episodes
    left join services on episodes.alarm_name = services.alarm_name
    left join declared on episodes.alarm_name = declared.alarm_name
)

select *
from final
order by incident_id
