with places as (
    {{ load_places() }}
),

listed as (
    select
        {{ json_text('payload', 'deploy_id') }} as deploy_id,
        {{ json_text('payload', 'service') }} as service_name,
        {{ json_text('payload', 'version') }} as version,
        {{ json_text('payload', 'previous_version') }} as previous_version,
        {{ utc_timestamp(json_text('payload', 'deployed_at')) }} as deployed_at,
        {{ json_text('payload', 'commit') }} as commit_sha,
        {{ json_text('payload', 'environment') }} as environment,
        {{ json_text('payload', 'status') }} as status,
        {{ said_boolean(json_text('payload', 'is_rollback')) }} as said_rollback,
        load_id,
        line,
        record
    from {{ source('raw', 'deploys') }}
    where system = 'deploys'
    -- A record sent again replaces the one before it.
    qualify row_number() over (
        partition by deploy_id
        order by
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

unioned as (
    {% for system, relation, absent in [
        ('deploys', 'listed', []),
        ('github_deployments', ref('stg_github__deployments'), ['previous_version']),
        ('argocd', ref('stg_argocd__deploys'), ['previous_version', 'status', 'said_rollback']),
        ('image_tag_bumps', ref('stg_image_tag_bumps'), ['environment', 'status']),
    ] %}
    select
        '{{ system }}' as system,
        {{ deploy_columns(absent) }}
    from {{ relation }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

scoped as (
    select
        *,
        coalesce(environment, '') as scope,
        -- What failed or never began did not run before the next one.
        {{ deploy_has_run('status') }} as has_run
    from unioned
),

ordered as (
    select
        *,
        coalesce(
            previous_version,
            last_value(case when has_run then version end ignore nulls) over (
                partition by system, service_name, scope
                order by deployed_at, deploy_id
                rows between unbounded preceding and 1 preceding
            )
        ) as version_before
    from scoped
),

first_deploys as (
    select
        system,
        service_name,
        scope,
        version,
        min(deployed_at) as first_at
    from scoped
    where has_run
    group by system, service_name, scope, version
),

compared as (
    select
        ordered.*,
        this.first_at as version_first_at,
        earlier.first_at as version_before_first_at
    from ordered
    left join first_deploys as this
        on
            ordered.system = this.system
            and ordered.service_name = this.service_name
            and ordered.scope = this.scope
            and ordered.version = this.version
    left join first_deploys as earlier
        on
            ordered.system = earlier.system
            and ordered.service_name = earlier.service_name
            and ordered.scope = earlier.scope
            and ordered.version_before = earlier.version
),

judged as (
    select
        *,
        case
            when said_rollback then 'said'
            when not said_rollback or version = version_before then null
            when
                {{ version_kind('version') }} = {{ version_kind('version_before') }}
                and {{ version_numbers('version') }} is not null
                and {{ version_numbers('version_before') }} is not null
                then case
                    when {{ version_numbers('version') }} < {{ version_numbers('version_before') }} then 'lower_number'
                end
            -- Names that move from version to version are no versions.
            when
                lower(version) in ('latest', 'main', 'master', 'head', 'stable')
                or lower(version_before) in ('latest', 'main', 'master', 'head', 'stable')
                then null
            when version_first_at < version_before_first_at then 'deployed_earlier'
        end as rollback_basis
    from compared
),

final as (
    select
        deploy_id,
        system,
        service_name,
        version,
        version_before as previous_version,
        deployed_at,
        commit_sha,
        environment,
        status,
        rollback_basis is not null as is_rollback,
        rollback_basis,
        load_id,
        line,
        record
    from judged
)

select *
from final
order by deployed_at, system, deploy_id
