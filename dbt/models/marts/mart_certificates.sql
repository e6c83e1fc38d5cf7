with rules as (
    select * from {{ ref('dim_rules') }}
    where status <> 'retired'
),

spans as (
    select started_on from {{ ref('stg_spans') }}
),

repeats as (
    select started_on from {{ ref('stg_span_repeats') }}
),

logs as (
    select occurred_on from {{ ref('stg_logs') }}
),

traces as (
    select
        trace_id,
        is_complete
    from {{ ref('int_traces') }}
),

verdicts as (
    select * from {{ ref('fct_verdicts') }}
),

loads as (
    select * from {{ source('audit', 'loads') }}
    where target in ('raw.spans', 'raw.logs') and superseded_by is null
),

sampled as (
    select
        coalesce(
            ' Of the spans of ' || string_agg(
                source || ' its sender kept ' || lowest || ' of all', ', of ' order by source
            ) || ': what sampling left out was never received.',
            ''
        ) as sampling_note
    from (
        select
            source,
            min(sampling_ratio) as lowest
        from loads
        where target = 'raw.spans' and sampling_ratio < 1
        group by source
    ) as by_source
),

quarantine as (
    select load_id from {{ source('audit', 'quarantine') }}
),

scanned_spans as (
    select
        cast(min(started_on) as timestamp) as window_from,
        cast(max(started_on) + interval '1' day as timestamp) as window_until,
        count(distinct started_on) as days,
        count(*) as spans_scanned
    from spans
),

scanned_repeats as (
    select count(*) as spans_repeated from repeats
),

scanned_logs as (
    select count(*) as logs_scanned from logs
),

scanned_traces as (
    select
        count(*) as traces_scanned,
        count(*) filter (where is_complete) as traces_complete,
        count(*) filter (where not is_complete) as traces_incomplete
    from traces
),

refused as (
    select count(*) as records_quarantined
    from quarantine
    where load_id in (select load_id from loads)
),

-- Verdicts outlive the telemetry that retention removes: only those of traces that are there count against them.
judged as (
    select
        verdicts.rule_id,
        count(*) as traces_judged
    from verdicts
    inner join traces on verdicts.scope_key = cast(traces.trace_id as varchar)
    where verdicts.scope_kind = 'trace'
    group by verdicts.rule_id
),

reasons as (
    select
        rule_id,
        list(struct_pack(verdict := verdict, reason := reason, scopes := scopes) order by verdict, reason)
            as verdict_reasons
    from (
        select
            rule_id,
            verdict,
            reason,
            count(*) as scopes
        from verdicts
        where reason is not null
        group by rule_id, verdict, reason
    ) as by_reason
    group by rule_id
),

final as (
    select
        rules.rule_id,
        rules.meaning_hash,
        scanned_spans.window_from,
        scanned_spans.window_until,
        scanned_spans.days,
        scanned_spans.spans_scanned,
        scanned_repeats.spans_repeated,
        scanned_logs.logs_scanned,
        scanned_traces.traces_scanned,
        scanned_traces.traces_complete,
        scanned_traces.traces_incomplete,
        refused.records_quarantined,
        cast(case when rules.scope_kind = 'trace' then 0 end as bigint) as null_keys,
        rules.violated,
        rules.satisfied,
        rules.inconclusive,
        case
            when rules.scope_kind = 'trace'
                then scanned_traces.traces_scanned - coalesce(judged.traces_judged, 0)
        end as not_applicable,
        coalesce(reasons.verdict_reasons, []) as verdict_reasons,
        'A span that was lost without children leaves no mark: of what was received, '
        || scanned_traces.traces_complete || ' of ' || scanned_traces.traces_scanned
        || ' traces show no loss, and a lost leaf would not show.' || sampled.sampling_note as undetectable_loss_note
    from rules
    cross join scanned_spans
    cross join scanned_repeats
    cross join scanned_logs
    cross join scanned_traces
    cross join refused
    cross join sampled
    left join judged on rules.rule_id = judged.rule_id
    left join reasons on rules.rule_id = reasons.rule_id
)

select *
from final
order by rule_id
