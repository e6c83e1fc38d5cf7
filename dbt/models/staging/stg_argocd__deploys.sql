with places as (
    {{ load_places() }}
),

entries as (
    select
        payload,
        {{ json_text('payload', 'metadata.name') }} as application,
        {{ json_text('payload', 'metadata.namespace') }} as namespace,
        {{ json_text('payload', 'entry.id') }} as entry_id,
        {{ json_text('payload', 'entry.deployedAt') }} as deployed_at_as_sent,
        -- An application of several sources has a list of revisions.
        coalesce(
            nullif({{ json_text('payload', 'entry.revision') }}, ''),
            nullif(translate({{ json_text('payload', 'entry.revisions') }}, '[]" ', ''), '')
        ) as revision,
        load_id,
        line,
        record
    from {{ source('raw', 'deploys') }}
    where system = 'argocd'
),

-- Every export tells the history anew.
identified as (
    select
        *,
        'argocd:' || coalesce(namespace || '/', '') || application || '/' || entry_id || '@' || deployed_at_as_sent
            as deploy_id
    from entries
    qualify row_number() over (
        partition by deploy_id
        order by
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

final as (
    select
        deploy_id,
        application as service_name,
        revision as version,
        {{ utc_timestamp('deployed_at_as_sent') }} as deployed_at,
        case when regexp_matches(revision, '^[0-9a-f]{40}$') then revision end as commit_sha,
        coalesce(
            {{ json_text('payload', 'metadata.labels.environment') }},
            {{ json_text('payload', 'metadata.labels.env') }},
            {{ json_text('payload', 'spec.destination.namespace') }}
        ) as environment,
        load_id,
        line,
        record
    from identified
    where deploy_id is not null
)

select *
from final
order by deployed_at, deploy_id
