with changes as (
    select * from {{ source('raw', 'changes') }}
    where system = 'configuration'
),

newest as (
    select *
    from changes
    qualify row_number() over (partition by change_id order by load_id desc, line desc, record desc) = 1
),

final as (
    select
        change_id,
        {{ json_text('payload', 'key') }} as configuration_key,
        {{ json_text('payload', 'service') }} as service_name,
        {{ json_text('payload', 'environment') }} as environment,
        {{ utc_timestamp(json_text('payload', 'changed_at')) }} as changed_at,
        {{ json_text('payload', 'from') }} as value_before,
        {{ json_text('payload', 'to') }} as value_after,
        load_id,
        line,
        record
    from newest
)

select *
from final
order by changed_at, change_id
