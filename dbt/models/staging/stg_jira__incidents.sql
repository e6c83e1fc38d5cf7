with places as (
    {{ load_places() }}
),

zones as (
    {{ load_time_zones() }}
),

-- Which of its fields the source of a file declares to be a clock.
mappings as (
    select
        load_id,
        {{ json_text('reading', 'fields.started_at') }} as started_at_field,
        {{ json_text('reading', 'fields.detected_at') }} as detected_at_field,
        {{ json_text('reading', 'fields.mitigated_at') }} as mitigated_at_field
    from {{ source('audit', 'loads') }}
),

tickets as (
    select
        sent.*,
        zones.time_zone,
        mappings.started_at_field,
        mappings.detected_at_field,
        mappings.mitigated_at_field
    from {{ source('raw', 'tickets') }} as sent
    left join zones on sent.load_id = zones.load_id
    left join mappings on sent.load_id = mappings.load_id
    where sent.system = 'jira'
),

-- An issue sent again replaces the one before it.
newest as (
    select *
    from tickets
    qualify row_number() over (
        partition by ticket_id
        order by
            coalesce(
                {{ utc_timestamp(json_text('payload', 'fields.updated')) }},
                {{ local_timestamp(json_text('payload', 'Updated'), 'time_zone') }}
            ) desc nulls last,
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

-- Answers of the API nest what exports have in columns.
renamed as (
    select
        ticket_id as incident_id,
        coalesce({{ json_text('payload', 'fields.summary') }}, {{ json_text('payload', 'Summary') }}) as title,
        coalesce(
            {{ json_text('payload', 'hindcast_fields.severity') }},
            {{ json_text('payload', 'fields.priority.name') }},
            {{ json_text('payload', 'Priority') }}
        ) as severity_as_sent,
        coalesce(
            {{ json_text('payload', 'hindcast_fields.service') }},
            {{ json_text('payload', 'fields.components[0].name') }},
            nullif({{ json_text('payload', '"Component/s"') }}, ''),
            nullif({{ json_text('payload', 'Components') }}, '')
        ) as service_name,
        {{ json_text('payload', 'hindcast_fields.team') }} as team,
        coalesce(
            {{ json_text('payload', 'hindcast_fields.category') }},
            {{ json_text('payload', 'fields.issuetype.name') }},
            {{ json_text('payload', '"Issue Type"') }}
        ) as category,
        nullif(nullif(coalesce(
            {{ json_text('payload', 'fields.resolution.name') }}, {{ json_text('payload', 'Resolution') }}
        ), ''), 'Unresolved') as resolution_method,
        coalesce({{ json_text('payload', 'fields.status.name') }}, {{ json_text('payload', 'Status') }}) as status,
        lower(coalesce(
            {{ json_text('payload', 'fields.status.statusCategory.key') }},
            {{ json_text('payload', '"Status Category"') }}
        )) as status_category,
        coalesce(
            {{ utc_timestamp(json_text('payload', 'fields.created')) }},
            {{ local_timestamp(json_text('payload', 'Created'), 'time_zone') }}
        ) as created_at,
        coalesce(
            {{ utc_timestamp(json_text('payload', 'fields.resolutiondate')) }},
            {{ local_timestamp(json_text('payload', 'Resolved'), 'time_zone') }}
        ) as resolution_at,
        case when {{ json_text('payload', 'fields.created') }} is null then 'Created' else 'fields.created' end
            as created_at_field,
        {{ local_timestamp(json_text('payload', 'hindcast_fields.started_at'), 'time_zone') }} as started_at,
        {{ local_timestamp(json_text('payload', 'hindcast_fields.detected_at'), 'time_zone') }} as detected_at,
        {{ local_timestamp(json_text('payload', 'hindcast_fields.mitigated_at'), 'time_zone') }} as mitigated_at,
        started_at_field,
        detected_at_field,
        mitigated_at_field,
        payload,
        load_id,
        line,
        record
    from newest
),

-- The policy says what a status means. Of one that it does not name, Jira's category tells, and Jira sends that of the
-- present status only.
judged as (
    select
        *,
        coalesce(
            {{ status_meaning('status') }},
            case
                when status_category in ('indeterminate', 'in progress') then 'acknowledged'
                when status_category = 'done' then 'resolved'
            end
        ) as meaning
    from renamed
),

histories as (
    select
        incident_id,
        status,
        meaning,
        unnest({{ json_elements('payload', 'changelog.histories') }}) as history
    from judged
),

items as (
    select
        incident_id,
        status,
        meaning,
        {{ utc_timestamp(json_text('history', 'created')) }} as moved_at,
        unnest({{ json_elements('history', 'items') }}) as item
    from histories
),

-- The same change stands in two pages of an answer at most once after this: what it says identifies it.
moves as (
    select distinct
        incident_id,
        moved_at,
        coalesce(
            {{ status_meaning(json_text('item', 'fromString')) }},
            case when {{ json_text('item', 'fromString') }} = status then meaning end,
            'open'
        ) as left_meaning,
        coalesce(
            {{ status_meaning(json_text('item', 'toString')) }},
            case when {{ json_text('item', 'toString') }} = status then meaning end,
            'open'
        ) as meaning
    from items
    where
        {{ json_text('item', 'field') }} = 'status'
        and moved_at is not null
),

turns as (
    select
        *,
        left_meaning in ('resolved', 'closed') as was_over,
        meaning in ('resolved', 'closed') as is_over
    from moves
),

courses as (
    select
        incident_id,
        min(case when meaning = 'acknowledged' then moved_at end) as acknowledged_at,
        max(case when meaning = 'mitigated' then moved_at end) as mitigated_at,
        max(case when meaning = 'resolved' then moved_at end) as resolved_at,
        max(case when meaning = 'closed' then moved_at end) as closed_at,
        max(case when was_over and not is_over then moved_at end) as reopened_at,
        count(case when was_over and not is_over then 1 end) as reopened_count
    from turns
    group by incident_id
),

final as (
    select
        judged.incident_id,
        judged.title,
        {{ severity_level('judged.severity_as_sent') }} as severity,
        judged.severity_as_sent,
        judged.service_name,
        judged.team,
        judged.category,
        judged.resolution_method,
        judged.status,
        judged.meaning as status_meaning,
        coalesce(judged.meaning in ('resolved', 'closed'), false) as is_over,
        judged.created_at,
        coalesce(judged.started_at, judged.created_at) as started_at,
        case when judged.started_at is not null then judged.started_at_field else judged.created_at_field end
            as started_at_field,
        judged.detected_at,
        judged.detected_at_field,
        courses.acknowledged_at,
        coalesce(judged.mitigated_at, courses.mitigated_at) as mitigated_at,
        case when judged.mitigated_at is not null then judged.mitigated_at_field else 'changelog.status' end
            as mitigated_at_field,
        -- A resolution that is left standing when an issue is opened again is none; of a status that nobody can place,
        -- the resolution's date is believed.
        case
            when coalesce(judged.meaning, 'resolved') in ('resolved', 'closed')
                then coalesce(judged.resolution_at, courses.resolved_at)
        end as resolved_at,
        case
            when coalesce(judged.meaning, 'resolved') not in ('resolved', 'closed') then null
            when judged.resolution_at is not null and judged.created_at_field = 'Created' then 'Resolved'
            when judged.resolution_at is not null then 'fields.resolutiondate'
            when courses.resolved_at is not null then 'changelog.status'
        end as resolved_at_field,
        case when judged.meaning = 'closed' then courses.closed_at end as closed_at,
        courses.reopened_at,
        coalesce(courses.reopened_count, 0) as reopened_count,
        judged.load_id,
        judged.line,
        judged.record
    from judged
    left join courses on judged.incident_id = courses.incident_id
)

select *
from final
order by incident_id
