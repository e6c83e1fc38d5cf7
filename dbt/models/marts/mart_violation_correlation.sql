with rules as (
    select rule_id from {{ ref('dim_rules') }}
    where status <> 'retired'
),

traces as (
    select
        trace_id,
        started_on
    from {{ ref('int_traces') }}
),

newest as (
    select max(started_on) as last_day from traces
),

violations as (
    select
        rule_id,
        violation_id,
        started_on
    from {{ ref('fct_violations') }}
),

-- The newest week of what was received against the one before it, by days and without a clock.
weeks as (
    select
        'last 7 days' as period,
        last_day - 6 as first_day,
        last_day
    from newest
    union all
    select
        'the 7 days before' as period,
        last_day - 13 as first_day,
        last_day - 7 as last_day
    from newest
),

traces_of_weeks as (
    select
        weeks.period,
        count(traces.trace_id) as traces
    from weeks
    left join traces on traces.started_on between weeks.first_day and weeks.last_day
    group by weeks.period
),

by_week as (
    select
        rules.rule_id,
        'window' as kind,
        weeks.period as compared_with,
        count(violations.violation_id) as violations,
        max(traces_of_weeks.traces) as traces
    from rules
    cross join weeks
    inner join traces_of_weeks on weeks.period = traces_of_weeks.period
    left join violations
        on
            rules.rule_id = violations.rule_id
            and violations.started_on between weeks.first_day and weeks.last_day
    group by rules.rule_id, weeks.period
),

by_incident as (
    select
        rule_id,
        'incident' as kind,
        incident_id as compared_with,
        violated_during as violations,
        traces_during as traces
    from {{ ref('mart_incident_violations') }}
),

final as (
    select * from by_week
    union all
    select * from by_incident
)

select
    rule_id,
    kind,
    compared_with,
    violations,
    traces,
    case when traces > 0 then 1000.0 * violations / traces end as violations_per_1000_traces
from final
order by rule_id, kind, compared_with
