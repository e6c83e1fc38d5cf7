with sent as (
    select
        system,
        {{ json_text('payload', 'app') }} as service_name,
        coalesce({{ json_text('payload', 'tag') }}, {{ json_text('payload', 'to_tag') }}) as version,
        coalesce({{ json_text('payload', 'prev_tag') }}, {{ json_text('payload', 'from_tag') }}) as previous_version,
        {{ json_text('payload', 'unix_ts') }} as unix_ts,
        {{ json_text('payload', 'commit') }} as commit_sha,
        load_id,
        line,
        record
    from {{ source('raw', 'deploys') }}
    where system in ('image_tag_bumps', 'image_tag_rollbacks')
),

identified as (
    select
        *,
        service_name || '@' || version || '@' || unix_ts as deploy_id
    from sent
),

-- A rollback is a bump as well, and stands in both lists.
final as (
    select
        deploy_id,
        service_name,
        version,
        previous_version,
        {{ unix_timestamp('unix_ts') }} as deployed_at,
        commit_sha,
        case
            when count(*) filter (where system = 'image_tag_rollbacks') over (partition by deploy_id) > 0 then true
        end as said_rollback,
        load_id,
        line,
        record
    from identified
    where deploy_id is not null
    qualify row_number() over (partition by deploy_id order by load_id desc, line desc, record desc) = 1
)

select *
from final
order by deployed_at, deploy_id
