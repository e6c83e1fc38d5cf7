with places as (
    {{ load_places() }}
),

tickets as (
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
    qualify row_number() over (
        partition by ticket_id
        order by
            greatest(
                {{ utc_timestamp(json_text('payload', 'updated_at')) }},
                {{ utc_timestamp(json_text('payload', 'last_status_change_at')) }}
            ) desc nulls last,
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

-- Pages of a listing overlap: an entry counts once. Its kind is what stands before _log_entry.
entries as (
    select
        pagerduty_id,
        replace(replace(entry_type, '_reference', ''), '_log_entry', '') as kind,
        created_at,
        coalesce({{ json_text('payload', 'id') }}, load_id || '/' || line || '/' || record) as entry_id
    from typed
    where entry_type like '%log_entry%'
    qualify row_number() over (
        partition by pagerduty_id, entry_id, kind, created_at
        order by load_id desc, line desc, record desc
    ) = 1
),

acknowledgements as (
    select
        pagerduty_id,
        created_at,
        'acknowledge_log_entry.created_at' as field
    from entries
    where kind = 'acknowledge'

    union all

    select
        pagerduty_id,
        {{ utc_timestamp('sent_at') }} as created_at,
        'acknowledgements.at' as field
    from (
        select
            ticket_id as pagerduty_id,
            unnest({{ json_texts('payload', 'acknowledgements', 'at') }}) as sent_at
        from newest
    ) as listed
),

first_acknowledgement as (
    select
        pagerduty_id,
        created_at as acknowledged_at,
        field as acknowledged_at_field
    from acknowledgements
    where created_at is not null
    qualify row_number() over (partition by pagerduty_id order by created_at, field) = 1
),

-- Whatever follows a resolution has opened the incident again. When a further resolution is all that follows, nobody
-- says when that was.
courses as (
    select
        pagerduty_id,
        kind,
        created_at,
        lag(kind) over (partition by pagerduty_id order by created_at, kind, entry_id) as previous_kind
    from entries
    where kind in ('trigger', 'acknowledge', 'unacknowledge', 'escalate', 'reopen', 'resolve')
),

histories as (
    select
        pagerduty_id,
        max(case when kind = 'resolve' then created_at end) as resolved_at,
        count(case when previous_kind = 'resolve' then 1 end) as reopened_count,
        max(case when previous_kind = 'resolve' and kind <> 'resolve' then created_at end) as reopened_at,
        count(case when kind = 'escalate' then 1 end) as escalation_count
    from courses
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
        first_acknowledgement.acknowledged_at_field,
        case
            when renamed.status = 'resolved'
                then coalesce(renamed.resolved_at, histories.resolved_at, renamed.last_status_change_at)
        end as resolved_at,
        case
            when renamed.status <> 'resolved' then null
            when renamed.resolved_at is not null then 'resolved_at'
            when histories.resolved_at is not null then 'resolve_log_entry.created_at'
            when renamed.last_status_change_at is not null then 'last_status_change_at'
        end as resolved_at_field,
        histories.reopened_at,
        coalesce(histories.reopened_count, 0) as reopened_count,
        -- Without log entries nobody says whether it was escalated.
        histories.escalation_count,
        renamed.load_id,
        renamed.line,
        renamed.record
    from renamed
    left join first_acknowledgement on renamed.incident_id = first_acknowledgement.pagerduty_id
    left join histories on renamed.incident_id = histories.pagerduty_id
)

select *
from final
order by incident_id
