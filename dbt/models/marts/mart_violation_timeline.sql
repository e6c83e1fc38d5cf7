with violations as (
    select * from {{ ref('fct_violations') }}
),

final as (
    select
        rule_id,
        {{ utc_minute('first_span_at') }} as minute_at,
        count(*) as violations
    from violations
    group by rule_id, {{ utc_minute('first_span_at') }}
)

select *
from final
order by rule_id, minute_at
