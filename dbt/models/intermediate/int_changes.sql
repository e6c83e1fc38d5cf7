with deploys as (
    select * from {{ ref('stg_deploys') }}
),

commits as (
    select * from {{ ref('stg_commits') }}
),

tags as (
    select * from {{ ref('stg_tags') }}
),

flags as (
    select * from {{ ref('stg_feature_flag_changes') }}
),

settings as (
    select * from {{ ref('stg_configuration_changes') }}
),

-- A commit may be taken back more than once: the first time counts.
taken_back as (
    select
        reverted_commit_id as commit_id,
        reverting_commit_id
    from {{ ref('int_commit_reverts') }}
    where reverted_commit_id is not null
    qualify row_number() over (partition by reverted_commit_id order by reverted_at, reverting_commit_id) = 1
),

listed as (
    select
        case when is_rollback then 'rollback' else 'deploy' end as kind,
        system,
        deploy_id as reference,
        service_name,
        environment,
        deployed_at as occurred_at,
        case when is_rollback then 'Rollback of ' else 'Deploy of ' end
        || coalesce(service_name, 'an unnamed service')
        || coalesce(case when is_rollback then ' to ' else ' ' end || version, '')
        || coalesce(case when is_rollback then ' from ' else ' after ' end || previous_version, '')
        || coalesce(' in ' || environment, '')
        || coalesce(' (' || status || ')', '') as summary,
        commit_sha,
        cast(null as varchar) as reverted_by,
        load_id,
        line,
        record
    from deploys

    union all

    select
        'commit' as kind,
        'git' as system,
        commits.commit_id as reference,
        cast(null as varchar) as service_name,
        cast(null as varchar) as environment,
        commits.committed_at as occurred_at,
        coalesce(nullif(commits.subject, ''), 'Commit without a message') as summary,
        commits.sha as commit_sha,
        taken_back.reverting_commit_id as reverted_by,
        commits.load_id,
        commits.line,
        commits.record
    from commits
    left join taken_back on commits.commit_id = taken_back.commit_id

    union all

    select
        'tag' as kind,
        'git' as system,
        tag_id as reference,
        cast(null as varchar) as service_name,
        cast(null as varchar) as environment,
        tagged_at as occurred_at,
        'Tag ' || tag_name || ' of ' || repository as summary,
        sha as commit_sha,
        cast(null as varchar) as reverted_by,
        load_id,
        line,
        record
    from tags

    union all

    select
        'flag' as kind,
        system,
        change_id as reference,
        service_name,
        environment,
        changed_at as occurred_at,
        'Flag ' || coalesce(flag_name, 'without a name') || ': ' || action
        || coalesce(' in ' || environment, '') as summary,
        cast(null as varchar) as commit_sha,
        cast(null as varchar) as reverted_by,
        load_id,
        line,
        record
    from flags

    union all

    select
        'configuration' as kind,
        'configuration' as system,
        change_id as reference,
        service_name,
        environment,
        changed_at as occurred_at,
        'Configuration ' || coalesce(configuration_key, 'without a key')
        || ' from ' || coalesce(value_before, 'nothing') || ' to ' || coalesce(value_after, 'nothing')
        || coalesce(' in ' || environment, '') as summary,
        cast(null as varchar) as commit_sha,
        cast(null as varchar) as reverted_by,
        load_id,
        line,
        record
    from settings
),

final as (
    select
        kind,
        system,
        reference,
        service_name,
        environment,
        occurred_at,
        -- Values of flags and configuration may be whole documents.
        left(summary, 500) as summary,
        commit_sha,
        reverted_by,
        load_id,
        line,
        record
    from listed
    where occurred_at is not null
)

select *
from final
order by occurred_at, kind, system, reference
