with places as (
    {{ load_places() }}
),

notices as (
    select
        *,
        {{ json_text('payload', 'status') }} as status,
        {{ utc_timestamp(json_text('payload', 'endsAt')) }} as ends_at
    from {{ source('raw', 'tickets') }}
    where system = 'alertmanager'
),

newest as (
    select *
    from notices
    qualify row_number() over (
        partition by ticket_id
        order by
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

-- Only a resolved notification has an end. The end that the API gives of an alert that fires is when it would be given
-- up without news, and an alert that fires again has another start, thus another id.
ends as (
    select
        ticket_id,
        min(ends_at) as resolved_at,
        count(*) as resolved_notice_count
    from notices
    where status = 'resolved'
    group by ticket_id
),

renamed as (
    select
        ticket_id as incident_id,
        coalesce(
            {{ json_text('payload', 'annotations.summary') }},
            {{ json_text('payload', 'labels.alertname') }},
            ticket_id
        ) as title,
        {{ json_text('payload', 'labels.severity') }} as severity_as_sent,
        coalesce({{ json_text('payload', 'labels.service') }}, {{ json_text('payload', 'labels.service_name') }})
            as service_name,
        {{ json_text('payload', 'labels.team') }} as team,
        {{ json_text('payload', 'labels.alertname') }} as category,
        {{ utc_timestamp(json_text('payload', 'startsAt')) }} as starts_at,
        load_id,
        line,
        record
    from newest
),

final as (
    select
        renamed.incident_id,
        renamed.title,
        {{ severity_level('renamed.severity_as_sent') }} as severity,
        renamed.severity_as_sent,
        renamed.service_name,
        renamed.team,
        renamed.category,
        renamed.starts_at,
        ends.resolved_at,
        coalesce(ends.resolved_notice_count, 0) > 0 as is_over,
        renamed.load_id,
        renamed.line,
        renamed.record
    from renamed
    left join ends on renamed.incident_id = ends.ticket_id
)

select *
from final
order by incident_id
