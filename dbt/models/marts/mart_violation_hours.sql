with violations as (
    select
        rule_id,
        date_trunc('hour', {{ to_microseconds('first_span_at') }}) as hour_at,
        is_suppressed
    from {{ ref('fct_violations') }}
),

counted as (
    select
        rule_id,
        hour_at,
        count(*) as violations,
        count(*) filter (where is_suppressed) as suppressed
    from violations
    group by rule_id, hour_at
),

final as (
    select
        rule_id,
        hour_at,
        violations,
        suppressed,
        cast(sum(violations) over (partition by rule_id order by hour_at) as bigint) as violations_so_far
    from counted
)

select *
from final
order by rule_id, hour_at
