with deploys as (
    select * from {{ source('raw', 'deploys') }}
),

renamed as (
    select
        {{ json_text('payload', 'deploy_id') }} as deploy_id,
        {{ json_text('payload', 'service') }} as service_name,
        {{ json_text('payload', 'version') }} as version,
        {{ json_text('payload', 'previous_version') }} as previous_version,
        {{ utc_timestamp(json_text('payload', 'deployed_at')) }} as deployed_at,
        {{ json_text('payload', 'commit') }} as commit_sha,
        {{ json_text('payload', 'environment') }} as environment,
        {{ json_text('payload', 'status') }} as status,
        load_id,
        line,
        record
    from deploys
),

-- A record sent again replaces the one before it.
final as (
    select *
    from renamed
    qualify row_number() over (partition by deploy_id order by load_id desc, line desc, record desc) = 1
)

select *
from final
order by deployed_at, deploy_id
