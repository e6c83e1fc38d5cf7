with verdicts as (
    select * from {{ ref('fct_verdicts') }}
    where verdict = 'violated'
),

rules as (
    select * from {{ ref('rule_catalogue') }}
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
        verdicts.reported
    from verdicts
    inner join rules
        on
            verdicts.rule_id = rules.rule_id
            and verdicts.meaning_hash = rules.meaning_hash
)

select *
from final
order by first_span_at, rule_id, scope_key
