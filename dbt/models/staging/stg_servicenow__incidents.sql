with tickets as (
    select
        ticket_id,
        payload,
        try_cast({{ json_text('payload', 'sys_mod_count') }} as integer) as sys_mod_count,
        {{ day_first_timestamp(json_text('payload', 'sys_updated_at')) }} as sys_updated_at,
        load_id,
        line,
        record
    from {{ source('raw', 'tickets') }}
    where system = 'servicenow'
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

renamed as (
    select
        ticket_id as incident_id,
        nullif({{ json_text('payload', 'ident_state') }}, '?') as state_as_sent,
        nullif({{ json_text('payload', 'incident_state') }}, '?') as incident_state_as_sent,
        nullif({{ json_text('payload', 'short_description') }}, '?') as short_description,
        nullif({{ json_text('payload', 'priority') }}, '?') as severity_as_sent,
        nullif({{ json_text('payload', 'cmdb_ci') }}, '?') as service_name,
        nullif({{ json_text('payload', 'assignment_group') }}, '?') as team,
        nullif({{ json_text('payload', 'category') }}, '?') as category,
        nullif({{ json_text('payload', 'category_1') }}, '?') as subcategory,
        nullif({{ json_text('payload', 'closed_code') }}, '?') as resolution_method,
        try_cast({{ json_text('payload', 'reopen_count') }} as integer) as reopened_count,
        try_cast({{ json_text('payload', 'reassignment_count') }} as integer) as reassigned_count,
        {{ day_first_timestamp(json_text('payload', 'opened_at')) }} as opened_at,
        {{ day_first_timestamp(json_text('payload', 'resolved_at')) }} as resolved_at,
        {{ day_first_timestamp(json_text('payload', 'closed_at')) }} as closed_at,
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
        incident_id,
        coalesce(state_as_sent, incident_state_as_sent) as state,
        short_description,
        {{ severity_level('severity_as_sent') }} as severity,
        severity_as_sent,
        service_name,
        team,
        category,
        subcategory,
        resolution_method,
        coalesce(reopened_count, 0) as reopened_count,
        coalesce(reassigned_count, 0) as reassigned_count,
        opened_at,
        resolved_at,
        closed_at,
        sys_mod_count,
        sys_updated_at,
        update_count,
        load_id,
        line,
        record
    from renamed
)

select *
from final
order by incident_id
