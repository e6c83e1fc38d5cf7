with rules as (
    select * from {{ ref('rule_catalogue') }}
),

verdicts as (
    select * from {{ ref('fct_verdicts') }}
),

totals as (
    select
        rule_id,
        meaning_hash,
        count(*) filter (where verdict = 'violated') as violated,
        count(*) filter (where verdict = 'satisfied') as satisfied,
        count(*) filter (where verdict = 'inconclusive') as inconclusive,
        min(first_span_at) filter (where verdict = 'violated') as first_violation_at,
        max(last_span_at) filter (where verdict = 'violated') as last_violation_at
    from verdicts
    group by rule_id, meaning_hash
),

final as (
    select
        rules.rule_id,
        rules.title,
        rules.description,
        rules.severity,
        rules.status,
        rules.owner,
        rules.domain,
        rules.controls,
        rules.meaning_hash,
        rules.group_by,
        rules.scope_kind,
        rules.gap_ns,
        rules.is_unconditional,
        rules.file,
        rules.file_sha256,
        rules.file_bytes,
        rules.expression,
        coalesce(totals.violated, 0) as violated,
        coalesce(totals.satisfied, 0) as satisfied,
        coalesce(totals.inconclusive, 0) as inconclusive,
        totals.first_violation_at,
        totals.last_violation_at
    from rules
    left join totals
        on
            rules.rule_id = totals.rule_id
            and rules.meaning_hash = totals.meaning_hash
)

select *
from final
order by rule_id
