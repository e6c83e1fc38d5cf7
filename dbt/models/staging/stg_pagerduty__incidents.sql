with tickets as (
    select * from {{ source('raw', 'tickets') }}
    where system = 'pagerduty'
),

-- Incidents and their log entries come in one list; a log entry names its incident.
typed as (
    select
        ticket_id,
        payload,
        coalesce({{ json_text('payload', 'type') }}, 'incident') as entry_type,
        coalesce({{ json_text('payload', 'incident.id') }}, ticket_id) as pagerduty_id,
        {{ utc_timestamp(json_text('payload', 'created_at')) }} as created_at,
        load_id,
        line,
        record
    from tickets
),

newest as (
    select *
    from typed
    where entry_type not like '%log_entry%'
    qualify row_number() over (partition by ticket_id order by load_id desc, line desc, record desc) = 1
),

acknowledgements as (
    select
        pagerduty_id,
        created_at
    from typed
    where entry_type like 'acknowledge_log_entry%'

    union all

    select
        pagerduty_id,
        {{ utc_timestamp('sent_at') }} as created_at
    from (
        select
            ticket_id as pagerduty_id,
            unnest({{ json_texts('payload', 'acknowledgements', 'at') }}) as sent_at
        from newest
    ) as entries
),

first_acknowledgement as (
    select
        pagerduty_id,
        min(created_at) as acknowledged_at
    from acknowledgements
    group by pagerduty_id
),

last_resolution as (
    select
        pagerduty_id,
        max(created_at) as resolved_at,
        greatest(count(*) - 1, 0) as reopened_count
    from typed
    where entry_type like 'resolve_log_entry%'
    group by pagerduty_id
),

renamed as (
    select
        ticket_id as incident_id,
        {{ json_text('payload', 'incident_key') }} as incident_key,
        {{ json_text('payload', 'title') }} as title,
        coalesce({{ json_text('payload', 'priority.summary') }}, {{ json_text('payload', 'urgency') }})
            as severity_as_sent,
        {{ json_text('payload', 'service.summary') }} as service_name,
        {{ json_text('payload', 'teams[0].summary') }} as team,
        {{ json_text('payload', 'resolve_reason.type') }} as resolution_method,
        {{ json_text('payload', 'status') }} as status,
        created_at,
        {{ utc_timestamp(json_text('payload', 'resolved_at')) }} as resolved_at,
        {{ utc_timestamp(json_text('payload', 'last_status_change_at')) }} as last_status_change_at,
        load_id,
        line,
        record
    from newest
),

final as (
    select
        renamed.incident_id,
        renamed.incident_key,
        renamed.title,
        -- An urgency is no priority: it stays as sent and makes no level.
        case
            when renamed.severity_as_sent not in ('high', 'low') then {{ severity_level('renamed.severity_as_sent') }}
        end as severity,
        renamed.severity_as_sent,
        renamed.service_name,
        renamed.team,
        renamed.resolution_method,
        renamed.status,
        renamed.created_at,
        first_acknowledgement.acknowledged_at,
        case
            when renamed.status = 'resolved'
                then coalesce(renamed.resolved_at, last_resolution.resolved_at, renamed.last_status_change_at)
        end as resolved_at,
        case
            when renamed.status <> 'resolved' then null
            when renamed.resolved_at is not null then 'resolved_at'
            when last_resolution.resolved_at is not null then 'resolve_log_entry.created_at'
            when renamed.last_status_change_at is not null then 'last_status_change_at'
        end as resolved_at_field,
        coalesce(last_resolution.reopened_count, 0) as reopened_count,
        renamed.load_id,
        renamed.line,
        renamed.record
    from renamed
    left join first_acknowledgement on renamed.incident_id = first_acknowledgement.pagerduty_id
    left join last_resolution on renamed.incident_id = last_resolution.pagerduty_id
)

select *
from final
order by incident_id
