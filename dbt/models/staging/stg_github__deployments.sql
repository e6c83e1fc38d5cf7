with places as (
    {{ load_places() }}
),

sent as (
    select * from {{ source('raw', 'deploys') }}
    where system in ('github_deployments', 'github_deployment_statuses')
),

-- A deployment that was sent again replaces the one before it. Its address is its own in all of GitHub.
newest as (
    select
        *,
        coalesce({{ json_text('payload', 'url') }}, {{ json_text('payload', 'id') }}) as deployment_url
    from sent
    where system = 'github_deployments'
    qualify row_number() over (
        partition by deployment_url
        order by
            {{ utc_timestamp(json_text('payload', 'updated_at')) }} desc nulls last,
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

listed as (
    select
        deployment_url,
        unnest({{ json_elements('payload', 'statuses') }}) as status
    from newest

    union all

    select
        {{ json_text('payload', 'deployment_url') }} as deployment_url,
        payload as status
    from sent
    where system = 'github_deployment_statuses'
),

states as (
    select
        deployment_url,
        {{ json_text('status', 'state') }} as state,
        {{ utc_timestamp(json_text('status', 'created_at')) }} as created_at,
        try_cast({{ json_text('status', 'id') }} as bigint) as status_id
    from listed
),

succeeded as (
    select
        deployment_url,
        min(created_at) as succeeded_at
    from states
    where state = 'success'
    group by deployment_url
),

last_states as (
    select
        deployment_url,
        state
    from states
    qualify row_number() over (
        partition by deployment_url order by created_at desc nulls last, status_id desc nulls last, state asc
    ) = 1
),

typed as (
    select
        deployment_url,
        {{ json_text('payload', 'id') }} as id,
        {{ json_text('payload', 'sha') }} as sha,
        replace({{ json_text('payload', 'ref') }}, 'refs/tags/', '') as ref,
        lower({{ json_text('payload', 'task') }}) as task,
        {{ json_text('payload', 'service') }} as service,
        {{ json_text('payload', 'environment') }} as environment,
        {{ utc_timestamp(json_text('payload', 'created_at')) }} as created_at,
        load_id,
        line,
        record
    from newest
),

final as (
    select
        'github:' || typed.deployment_url as deploy_id,
        coalesce(typed.service, nullif(regexp_extract(typed.deployment_url, '/repos/[^/]+/([^/]+)', 1), ''))
            as service_name,
        -- A branch's name is no version: what it held then is.
        case when {{ version_numbers('typed.ref') }} is not null then typed.ref else typed.sha end as version,
        coalesce(succeeded.succeeded_at, typed.created_at) as deployed_at,
        typed.sha as commit_sha,
        typed.environment,
        last_states.state as status,
        case when typed.task like '%rollback%' then true end as said_rollback,
        typed.load_id,
        typed.line,
        typed.record
    from typed
    left join succeeded on typed.deployment_url = succeeded.deployment_url
    left join last_states on typed.deployment_url = last_states.deployment_url
)

select *
from final
order by deployed_at, deploy_id
