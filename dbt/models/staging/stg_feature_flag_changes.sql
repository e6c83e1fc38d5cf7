with changes as (
    select * from {{ source('raw', 'changes') }}
    where
        system = 'feature_flag'
        -- The audit log tells of members, projects and the rest, too.
        or (system = 'launchdarkly' and {{ json_text('payload', 'kind') }} = 'flag')
),

newest as (
    select *
    from changes
    qualify row_number() over (partition by system, change_id order by load_id desc, line desc, record desc) = 1
),

typed as (
    select
        change_id,
        system,
        -- proj/shop:env/production:flag/new-till
        {{ json_text('payload', 'accesses[0].resource') }} as resource,
        {{ json_text('payload', 'flag') }} as flag,
        {{ json_text('payload', 'name') }} as name,
        {{ json_text('payload', 'environment') }} as environment,
        {{ json_text('payload', 'service') }} as service_name,
        coalesce(
            {{ utc_timestamp(json_text('payload', 'changed_at')) }},
            {{ unix_timestamp(json_text('payload', 'date'), 1000) }}
        ) as changed_at,
        {{ json_text('payload', 'from') }} as value_before,
        {{ json_text('payload', 'to') }} as value_after,
        {{ json_text('payload', 'titleVerb') }} as verb,
        load_id,
        line,
        record
    from newest
),

final as (
    select
        change_id,
        system,
        coalesce(flag, nullif(regexp_extract(resource, ':flag/([^:;]+)', 1), ''), name) as flag_name,
        coalesce(environment, nullif(regexp_extract(resource, ':env/([^:;]+)', 1), '')) as environment,
        service_name,
        changed_at,
        value_before,
        value_after,
        coalesce(
            verb,
            'changed from ' || coalesce(value_before, 'nothing') || ' to ' || coalesce(value_after, 'nothing')
        ) as action,
        load_id,
        line,
        record
    from typed
)

select *
from final
order by changed_at, system, change_id
