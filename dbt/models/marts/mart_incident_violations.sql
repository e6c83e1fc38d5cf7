with windows as (
    select * from {{ ref('int_incident_windows') }}
),

rules as (
    select * from {{ ref('rule_catalogue') }}
    where status <> 'retired'
),

memberships as (
    select * from {{ ref('int_incident_traces') }}
),

verdicts as (
    select * from {{ ref('fct_verdicts') }}
    where verdict in ('violated', 'inconclusive')
),

-- Traces are counted, not scopes, so that a count has the number of traces as its denominator whatever a rule
-- groups by.
involved as (
    select
        rule_id,
        verdict,
        violation_id,
        first_span_at,
        last_span_at,
        unnest(trace_ids) as trace_id
    from verdicts
),

traces as (
    select
        incident_id,
        max(baseline_kind) as baseline_kind,
        count(*) filter (where period = 'during') as traces_during,
        count(*) filter (where period = 'baseline') as traces_baseline
    from memberships
    group by incident_id
),

-- How a verdict meets an incident, as four conditions that counts filter on.
met as (
    select
        memberships.incident_id,
        involved.rule_id,
        memberships.trace_id,
        involved.violation_id,
        involved.first_span_at,
        involved.last_span_at,
        involved.verdict = 'violated' and memberships.period = 'during' as is_violated_during,
        involved.verdict = 'violated' and memberships.period = 'baseline' as is_violated_baseline,
        involved.verdict = 'inconclusive' and memberships.period = 'during' as is_inconclusive_during,
        involved.verdict = 'inconclusive' and memberships.period = 'baseline' as is_inconclusive_baseline
    from memberships
    inner join involved on memberships.trace_id = involved.trace_id
),

counted as (
    select
        incident_id,
        rule_id,
        count(distinct trace_id) filter (where is_violated_during) as violated_during,
        count(distinct trace_id) filter (where is_violated_baseline) as violated_baseline,
        count(distinct trace_id) filter (where is_inconclusive_during) as inconclusive_during,
        count(distinct trace_id) filter (where is_inconclusive_baseline) as inconclusive_baseline,
        count(distinct violation_id) filter (where is_violated_during) as violations_during,
        min(first_span_at) filter (where is_violated_during) as first_violation_at,
        max(last_span_at) filter (where is_violated_during) as last_violation_at
    from met
    group by incident_id, rule_id
),

final as (
    select
        windows.incident_id,
        rules.rule_id,
        coalesce(counted.violated_during, 0) as violated_during,
        coalesce(traces.traces_during, 0) as traces_during,
        coalesce(counted.violated_baseline, 0) as violated_baseline,
        coalesce(traces.traces_baseline, 0) as traces_baseline,
        traces.baseline_kind,
        coalesce(counted.inconclusive_during, 0) as inconclusive_during,
        coalesce(counted.inconclusive_baseline, 0) as inconclusive_baseline,
        coalesce(counted.violations_during, 0) as violations_during,
        counted.first_violation_at,
        counted.last_violation_at
    from windows
    cross join rules
    left join traces on windows.incident_id = traces.incident_id
    left join counted
        on
            windows.incident_id = counted.incident_id
            and rules.rule_id = counted.rule_id
)

select *
from final
order by incident_id, rule_id
