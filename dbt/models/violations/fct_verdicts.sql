{{ config(materialized='view', post_hook="{{ forget_gone_plan_groups() }}") }}
{%- set groups = plan_groups() %}

with together as (
    {%- if not groups %}
    -- No rules yet: the table is there, and empty.
    select
        cast(null as varchar) as rule_id,
        cast(null as varchar) as meaning_hash,
        cast(null as varchar) as scope_kind,
        cast(null as varchar) as scope_key,
        cast(null as uuid[]) as trace_ids,
        cast(null as varchar) as verdict,
        cast(null as varchar) as reason,
        cast(null as timestamp_ns) as first_span_at,
        cast(null as timestamp_ns) as last_span_at,
        cast(null as date) as started_on,
        cast(null as varchar[]) as service_names,
        cast(null as varchar[]) as service_versions,
        cast(null as struct(trace_id uuid, span_id ubigint)[]) as witness,
        cast(null as json) as reported,
        cast(null as varchar) as violation_id
    where false
    {%- endif %}
    {%- for group in groups %}
    {{- '\n    union all' if not loop.first }}
    select
        rule_id,
        meaning_hash,
        scope_kind,
        scope_key,
        trace_ids,
        verdict,
        reason,
        first_span_at,
        last_span_at,
        started_on,
        service_names,
        service_versions,
        witness,
        reported,
        violation_id
    from {{ ref(group) }}
    {%- endfor %}
),

final as (
    select * from together
)

select *
from final
