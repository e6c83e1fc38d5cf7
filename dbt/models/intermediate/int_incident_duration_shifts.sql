with memberships as (
    select * from {{ ref('int_incident_traces') }}
),

spans as (
    select
        trace_id,
        service_name,
        span_name,
        duration_ns
    from {{ ref('stg_spans') }}
    where service_name is not null
),

measured as (
    select
        memberships.incident_id,
        spans.service_name,
        spans.span_name,
        max(memberships.baseline_kind) as baseline_kind,
        count(*) filter (where memberships.period = 'baseline') as baseline_n,
        count(*) filter (where memberships.period = 'during') as incident_n,
        {{ quantile("case when memberships.period = 'baseline' then spans.duration_ns end", 0.25) }} as baseline_q25,
        {{ quantile("case when memberships.period = 'baseline' then spans.duration_ns end", 0.5) }} as baseline_median,
        {{ quantile("case when memberships.period = 'baseline' then spans.duration_ns end", 0.75) }} as baseline_q75,
        {{ quantile("case when memberships.period = 'during' then spans.duration_ns end", 0.5) }} as incident_median
    from memberships
    inner join spans on memberships.trace_id = spans.trace_id
    group by memberships.incident_id, spans.service_name, spans.span_name
),

final as (
    select
        incident_id,
        service_name,
        span_name,
        baseline_kind,
        baseline_n,
        baseline_median / 1e6 as baseline_median_ms,
        (baseline_q75 - baseline_q25) / 1e6 as baseline_iqr_ms,
        incident_n,
        incident_median / 1e6 as incident_median_ms,
        case
            when baseline_n >= {{ var('baseline_minimum_n') }} and incident_n >= {{ var('incident_minimum_n') }}
                then {{ robust_shift('baseline_median', '(baseline_q75 - baseline_q25)', 'incident_median') }}
        end as shift
    from measured
    where incident_n > 0
)

select *
from final
order by incident_id, service_name, span_name
