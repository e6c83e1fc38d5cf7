with rules as (
    select * from {{ ref('dim_rules') }}
    where status <> 'retired'
),

changes as (
    select * from {{ ref('int_changes') }}
),

first_services as (
    select
        rule_id,
        service_names
    from {{ ref('fct_violations') }}
    qualify row_number() over (partition by rule_id order by first_span_at, violation_id) = 1
),

-- Just before the first violation: what was deployed of its services, or of any when none was; and the last commit.
before_the_first as (
    select
        rules.rule_id,
        changes.kind,
        changes.reference,
        changes.service_name,
        changes.occurred_at,
        changes.summary,
        list_contains(first_services.service_names, changes.service_name) as is_of_its_services
    from rules
    inner join first_services on rules.rule_id = first_services.rule_id
    inner join changes
        on
            rules.first_violation_at >= changes.occurred_at
            and changes.kind in ('deploy', 'commit')
),

deploys as (
    select *
    from before_the_first
    where kind = 'deploy'
    qualify
        row_number() over (
            partition by rule_id
            order by coalesce(is_of_its_services, false) desc, occurred_at desc, reference asc
        ) = 1
),

commits as (
    select *
    from before_the_first
    where kind = 'commit'
    qualify row_number() over (partition by rule_id order by occurred_at desc, reference asc) = 1
),

final as (
    select
        rules.rule_id,
        rules.first_violation_at,
        rules.last_violation_at,
        deploys.reference as deploy_reference,
        deploys.service_name as deploy_service_name,
        deploys.summary as deploy_summary,
        cast(deploys.occurred_at as timestamp) as deployed_at,
        coalesce(deploys.is_of_its_services, false) as is_deploy_of_its_services,
        {{ seconds_between('deploys.occurred_at', 'rules.first_violation_at') }} as seconds_since_deploy,
        commits.reference as commit_reference,
        commits.summary as commit_summary,
        cast(commits.occurred_at as timestamp) as committed_at,
        {{ seconds_between('commits.occurred_at', 'rules.first_violation_at') }} as seconds_since_commit
    from rules
    left join deploys on rules.rule_id = deploys.rule_id
    left join commits on rules.rule_id = commits.rule_id
    where rules.first_violation_at is not null
)

select *
from final
order by rule_id
