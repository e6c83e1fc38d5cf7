with zones as (
    {{ load_time_zones() }}
),

tickets as (
    select
        sent.ticket_id,
        sent.payload,
        zones.time_zone,
        try_cast({{ json_text('sent.payload', 'sys_mod_count') }} as integer) as sys_mod_count,
        try_cast({{ json_text('sent.payload', 'reopen_count') }} as integer) as reopened_count,
        coalesce(
            nullif({{ json_text('sent.payload', 'ident_state') }}, '?'),
            nullif({{ json_text('sent.payload', 'incident_state') }}, '?'),
            nullif({{ json_text('sent.payload', 'state') }}, '?')
        ) as state,
        {{ local_timestamp(json_text('sent.payload', 'sys_updated_at'), 'zones.time_zone') }} as sys_updated_at,
        sent.load_id,
        sent.line,
        sent.record
    from {{ source('raw', 'tickets') }} as sent
    left join zones on sent.load_id = zones.load_id
    where sent.system = 'servicenow'
),

-- A row is an update; the last one is the incident's state.
states as (
    select
        *,
        count(*) over (partition by ticket_id) as update_count
    from tickets
    qualify row_number() over (
        partition by ticket_id
        order by sys_mod_count desc nulls last, sys_updated_at desc nulls last, load_id desc, line desc, record desc
    ) = 1
),

-- Nobody writes down who took it up when: the first update in a state of work says it.
taken_up as (
    select
        ticket_id,
        min(sys_updated_at) as acknowledged_at
    from tickets
    where {{ status_meaning('state') }} = 'acknowledged'
    group by ticket_id
),

-- The update in which the count of the state is reached.
reopened as (
    select
        tickets.ticket_id,
        min(tickets.sys_updated_at) as reopened_at
    from tickets
    inner join states on tickets.ticket_id = states.ticket_id
    where
        states.reopened_count > 0
        and states.reopened_count = tickets.reopened_count
    group by tickets.ticket_id
),

renamed as (
    select
        ticket_id as incident_id,
        state,
        nullif({{ json_text('payload', 'short_description') }}, '?') as short_description,
        nullif({{ json_text('payload', 'priority') }}, '?') as severity_as_sent,
        nullif({{ json_text('payload', 'cmdb_ci') }}, '?') as service_name,
        nullif({{ json_text('payload', 'assignment_group') }}, '?') as team,
        nullif({{ json_text('payload', 'category') }}, '?') as category,
        nullif({{ json_text('payload', 'category_1') }}, '?') as subcategory,
        nullif({{ json_text('payload', 'closed_code') }}, '?') as resolution_method,
        reopened_count,
        try_cast({{ json_text('payload', 'reassignment_count') }} as integer) as reassigned_count,
        {{ local_timestamp(json_text('payload', 'opened_at'), 'time_zone') }} as opened_at,
        {{ local_timestamp(json_text('payload', 'resolved_at'), 'time_zone') }} as resolved_at,
        {{ local_timestamp(json_text('payload', 'closed_at'), 'time_zone') }} as closed_at,
        sys_mod_count,
        sys_updated_at,
        update_count,
        load_id,
        line,
        record
    from states
),

final as (
    select
        renamed.incident_id,
        renamed.state,
        coalesce({{ status_meaning('renamed.state') }} in ('resolved', 'closed'), false) as is_over,
        renamed.short_description,
        {{ severity_level('renamed.severity_as_sent') }} as severity,
        renamed.severity_as_sent,
        renamed.service_name,
        renamed.team,
        renamed.category,
        renamed.subcategory,
        renamed.resolution_method,
        coalesce(renamed.reopened_count, 0) as reopened_count,
        coalesce(renamed.reassigned_count, 0) as reassigned_count,
        renamed.opened_at,
        taken_up.acknowledged_at,
        renamed.resolved_at,
        renamed.closed_at,
        reopened.reopened_at,
        renamed.sys_mod_count,
        renamed.sys_updated_at,
        renamed.update_count,
        renamed.load_id,
        renamed.line,
        renamed.record
    from renamed
    left join taken_up on renamed.incident_id = taken_up.ticket_id
    left join reopened on renamed.incident_id = reopened.ticket_id
)

select *
from final
order by incident_id
