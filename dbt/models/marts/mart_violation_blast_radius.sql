with rules as (
    select rule_id from {{ ref('dim_rules') }}
    where status <> 'retired'
),

involved as (
    select distinct
        rule_id,
        violation_id,
        unnest(trace_ids) as trace_id
    from {{ ref('fct_violations') }}
),

-- What was received at all, and of which kinds.
received as (
    select
        dimension,
        value,
        count(*) as traces_received,
        count(*) over (partition by dimension) as values_received
    from {{ ref('int_trace_places') }}
    group by dimension, value
),

touched as (
    select
        involved.rule_id,
        places.dimension,
        places.value,
        count(distinct involved.violation_id) as violations,
        count(distinct involved.trace_id) as traces
    from involved
    inner join {{ ref('int_trace_places') }} as places on involved.trace_id = places.trace_id
    group by involved.rule_id, places.dimension, places.value
),

final as (
    select
        rules.rule_id,
        received.dimension,
        received.value,
        coalesce(touched.violations, 0) as violations,
        coalesce(touched.traces, 0) as traces,
        received.traces_received
    from rules
    cross join received
    left join touched
        on
            rules.rule_id = touched.rule_id
            and received.dimension = touched.dimension
            and received.value = touched.value
    -- Those without a violation are named, too, as long as there are few: nobody reads a list of 500.
    where touched.violations is not null or received.values_received <= 500
)

select *
from final
order by rule_id asc, dimension asc, violations desc, value asc
