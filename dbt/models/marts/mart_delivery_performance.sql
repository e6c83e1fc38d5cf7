{%- set bulk_services = var('delivery')['bulk_rollback_services'] %}
{%- set slices = {
    'all': [],
    'service': ['service_name'],
    'month': ['month_on'],
    'service and month': ['service_name', 'month_on'],
} %}

with deploys as (
    select
        *,
        cast(date_trunc('month', deployed_at) as date) as month_on,
        cast(deployed_at as date) as deployed_on
    from {{ ref('stg_deploys') }}
    where deployed_at is not null and {{ deploy_has_run('status') }}
),

commits as (
    select
        sha,
        min(committed_at) as committed_at
    from {{ ref('stg_commits') }}
    group by sha
),

-- What a rollback takes back: the last deploy of the service before it that was none itself. Another rollback of the
-- same deploy restores nothing that the first had not.
ordered as (
    select
        deploys.*,
        last_value(case when not deploys.is_rollback then deploys.deploy_id end ignore nulls) over so_far
            as undone_deploy_id,
        case
            when not lag(deploys.is_rollback) over in_order then lag(deploys.deployed_at) over in_order
        end as undone_deployed_at
    from deploys
    window
        in_order as (
            partition by deploys.system, deploys.environment, deploys.service_name
            order by deploys.deployed_at, deploys.deploy_id
        ),
        so_far as (
            partition by deploys.system, deploys.environment, deploys.service_name
            order by deploys.deployed_at, deploys.deploy_id
            rows between unbounded preceding and 1 preceding
        )
),

bulk_days as (
    select
        system,
        environment,
        deployed_on
    from deploys
    where is_rollback
    group by system, environment, deployed_on
    having count(distinct service_name) >= {{ bulk_services }}
),

explained as (
    select
        ordered.*,
        bulk_days.deployed_on is not null as is_bulk,
        case
            when bulk_days.deployed_on is not null then 'day ' || cast(ordered.deployed_on as varchar)
            when ordered.is_rollback then coalesce('deploy ' || ordered.undone_deploy_id, ordered.deploy_id)
        end as cause,
        case
            when ordered.is_rollback then {{ seconds_between('ordered.undone_deployed_at', 'ordered.deployed_at') }}
        end as restore_seconds,
        -- Of these two systems the commit is one of manifests: when the code was written it does not say.
        case
            when
                not ordered.is_rollback
                and ordered.system not in ('argocd', 'image_tag_bumps')
                and commits.committed_at <= ordered.deployed_at
                then {{ seconds_between('commits.committed_at', 'ordered.deployed_at') }}
        end as lead_seconds
    from ordered
    left join bulk_days
        on
            ordered.is_rollback
            and ordered.system = bulk_days.system
            and ordered.environment is not distinct from bulk_days.environment
            and ordered.deployed_on = bulk_days.deployed_on
    left join commits on ordered.commit_sha = commits.sha
),

-- A deploy has failed once, however often it was taken back.
followed as (
    select
        *,
        case
            when not is_rollback
                then lead(cause) over (
                    partition by system, environment, service_name
                    order by deployed_at, deploy_id
                )
        end as taken_back_by_cause
    from explained
),

observed as (
    select
        system,
        environment,
        min(deployed_on) as first_on,
        max(deployed_on) as last_on
    from deploys
    group by system, environment
),

sliced as (
    {%- for slice, columns in slices.items() %}
    select
        '{{ slice }}' as slice,
        system,
        environment,
        {{ 'service_name' if 'service_name' in columns else 'cast(null as varchar)' }} as service_name,
        {{ 'month_on' if 'month_on' in columns else 'cast(null as date)' }} as month_on,
        deployed_on,
        is_rollback,
        is_bulk,
        cause,
        taken_back_by_cause,
        restore_seconds,
        lead_seconds
    from followed
    where {{ are_present(columns) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        slice,
        system,
        environment,
        service_name,
        month_on,
        count(*) filter (where not is_rollback) as n_deploys,
        count(distinct case when not is_rollback then deployed_on end) as n_days_with_deploys,
        count(taken_back_by_cause) as n_taken_back,
        count(distinct taken_back_by_cause) as n_failure_causes,
        count(*) filter (where is_rollback) as n_rollbacks,
        count(*) filter (where is_bulk) as n_bulk_rollbacks,
        count(distinct case when is_bulk then deployed_on end) as n_bulk_days,
        count(lead_seconds) as n_lead_times,
        {{ quantile('lead_seconds', 0.5) }} / 60.0 as median_lead_minutes,
        {{ quantile('restore_seconds', 0.5) }} / 60.0 as median_restore_minutes_each
    from sliced
    group by slice, system, environment, service_name, month_on
),

-- A day of bulk rollbacks is one cause with one time: the median of its rollbacks.
causes as (
    select
        slice,
        system,
        environment,
        service_name,
        month_on,
        cause,
        {{ quantile('restore_seconds', 0.5) }} as restore_seconds
    from sliced
    where is_rollback
    group by slice, system, environment, service_name, month_on, cause
),

caused as (
    select
        slice,
        system,
        environment,
        service_name,
        month_on,
        count(*) as n_causes,
        count(restore_seconds) as n_restores,
        {{ quantile('restore_seconds', 0.5) }} / 60.0 as median_restore_minutes,
        {{ quantile('restore_seconds', 0.9) }} / 60.0 as p90_restore_minutes
    from causes
    group by slice, system, environment, service_name, month_on
),

final as (
    select
        {{ row_id([
            'counted.slice', 'counted.system', 'counted.environment', 'counted.service_name', 'counted.month_on'
        ]) }} as delivery_id,
        counted.slice,
        counted.system,
        counted.environment,
        counted.service_name,
        counted.month_on,
        cast(greatest(
            1,
            {{ days_between(
                'greatest(observed.first_on, coalesce(counted.month_on, observed.first_on))',
                "least(observed.last_on, coalesce(cast(counted.month_on + interval 1 month - interval 1 day as date), "
                ~ "observed.last_on))"
            ) }} + 1
        ) as bigint) as observed_days,
        counted.n_deploys,
        counted.n_days_with_deploys,
        counted.n_lead_times,
        cast(counted.median_lead_minutes as double) as median_lead_minutes,
        counted.n_taken_back,
        counted.n_rollbacks,
        counted.n_bulk_rollbacks,
        counted.n_bulk_days,
        coalesce(caused.n_causes, 0) as n_rollback_causes,
        cast(counted.n_taken_back as double) / nullif(counted.n_deploys, 0) as change_failure_share,
        cast(counted.n_failure_causes as double) / nullif(counted.n_deploys, 0) as change_failure_share_by_cause,
        coalesce(caused.n_restores, 0) as n_restores,
        cast(caused.median_restore_minutes as double) as median_restore_minutes,
        cast(caused.p90_restore_minutes as double) as p90_restore_minutes,
        cast(counted.median_restore_minutes_each as double) as median_restore_minutes_each
    from counted
    inner join observed
        on counted.system = observed.system and counted.environment is not distinct from observed.environment
    left join caused
        on
            counted.slice = caused.slice
            and counted.system = caused.system
            and counted.environment is not distinct from caused.environment
            and counted.service_name is not distinct from caused.service_name
            and counted.month_on is not distinct from caused.month_on
)

select
    delivery_id,
    slice,
    system,
    environment,
    service_name,
    month_on,
    observed_days,
    n_deploys,
    n_days_with_deploys,
    n_deploys / cast(observed_days as double) as deploys_per_day,
    n_lead_times,
    median_lead_minutes,
    n_taken_back,
    n_rollbacks,
    n_bulk_rollbacks,
    n_bulk_days,
    n_rollback_causes,
    change_failure_share,
    change_failure_share_by_cause,
    n_restores,
    median_restore_minutes,
    p90_restore_minutes,
    median_restore_minutes_each
from final
order by system, environment, slice, service_name, month_on
