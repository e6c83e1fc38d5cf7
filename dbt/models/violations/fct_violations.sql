with verdicts as (
    select * from {{ ref('fct_verdicts') }}
    where verdict = 'violated'
),

rules as (
    select * from {{ ref('rule_catalogue') }}
),

suppressions as (
    select
        *,
        row_number() over (order by until desc, suppression_id asc) as place
    from {{ source('audit', 'suppressions') }}
    where is_in_force
),

-- Of one violation, of one scope of a rule, or of a whole rule: joins by equality, for one with an `or` pairs all.
met as (
    select
        verdicts.violation_id,
        suppressions.place
    from verdicts
    inner join suppressions on verdicts.violation_id = suppressions.violation_id
    union all
    select
        verdicts.violation_id,
        suppressions.place
    from verdicts
    inner join suppressions
        on
            verdicts.rule_id = suppressions.rule_id
            and verdicts.scope_key = suppressions.scope_key
    union all
    select
        verdicts.violation_id,
        suppressions.place
    from verdicts
    inner join suppressions on verdicts.rule_id = suppressions.rule_id
    where
        suppressions.scope_key is null
        and suppressions.violation_id is null
),

-- The one that holds longest, when several meet a violation: places are in that order.
suppressed as (
    select
        first_met.violation_id,
        suppressions.owner as suppressed_by,
        suppressions.reason as suppression_reason,
        suppressions.until as suppressed_until
    from (
        select
            violation_id,
            min(place) as place
        from met
        group by violation_id
    ) as first_met
    inner join suppressions on first_met.place = suppressions.place
),

final as (
    select
        verdicts.violation_id,
        verdicts.rule_id,
        verdicts.meaning_hash,
        rules.title,
        rules.severity,
        rules.status,
        rules.owner,
        rules.controls,
        verdicts.scope_kind,
        verdicts.scope_key,
        verdicts.trace_ids,
        verdicts.verdict,
        verdicts.reason,
        verdicts.first_span_at,
        verdicts.last_span_at,
        verdicts.started_on,
        verdicts.service_names,
        verdicts.service_versions,
        verdicts.witness,
        verdicts.reported,
        suppressed.violation_id is not null as is_suppressed,
        suppressed.suppressed_by,
        suppressed.suppression_reason,
        suppressed.suppressed_until
    from verdicts
    inner join rules
        on
            verdicts.rule_id = rules.rule_id
            and verdicts.meaning_hash = rules.meaning_hash
    left join suppressed on verdicts.violation_id = suppressed.violation_id
)

select *
from final
order by first_span_at, rule_id, scope_key
