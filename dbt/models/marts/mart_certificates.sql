{{ config(post_hook="{{ note_certificates() }}") }}

with rules as (
    select * from {{ ref('dim_rules') }}
    where status <> 'retired'
),

spans as (
    select
        started_at,
        started_on,
        trace_state,
        attributes,
        resource_attributes
    from {{ ref('stg_spans') }}
),

null_keys as (
    select * from {{ ref('rule_null_keys') }}
),

violations as (
    select
        rule_id,
        count(*) filter (where is_suppressed) as suppressed
    from {{ ref('fct_violations') }}
    group by rule_id
),

taken_out as (
    select
        rule_id,
        meaning_hash,
        max(cause) as cause
    from {{ source('audit', 'rules_taken_out') }}
    group by rule_id, meaning_hash
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
        started_at,
        ended_at,
        duration_ns,
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
        count(*) as spans_scanned,
        max(started_at) as last_span_at,
        min(started_on) as first_day,
        max(started_on) as last_day
    from spans
),

-- What spans say of their own sampling. Attributes are long to read: above two million spans those of the newest day.
own_sampling as (
    select
        count(*) as spans_looked_at,
        count(*) < max(scanned_spans.spans_scanned) as is_sample,
        count(*) filter (where marks.kept < 1) as with_probability,
        min(marks.kept) filter (where marks.kept < 1) as lowest_probability,
        count(*) filter (where marks.rejected > 0) as with_threshold,
        -- How many of all possible random numbers are not kept, in 56 bits.
        1 - max(marks.rejected) filter (where marks.rejected > 0) / 72057594037927936.0 as lowest_threshold_probability
    from (
        select
            started_on,
            {{ kept_share('attributes', 'resource_attributes') }} as kept,
            {{ rejected_numbers('trace_state') }} as rejected
        from spans
    ) as marks
    cross join scanned_spans
    where
        scanned_spans.spans_scanned <= 2000000
        or marks.started_on = scanned_spans.last_day
),

declared_sampling as (
    select list(struct_pack(source := source, lowest := lowest) order by source) as declared
    from (
        select
            source,
            min(sampling_ratio) as lowest
        from loads
        where target = 'raw.spans' and sampling_ratio < 1
        group by source
    ) as by_source
),

-- Records that landed more than a day after the first load of a day of theirs, without those that an older load had.
late as (
    select
        cast(
            coalesce(sum(greatest(0, loads.records_landed - coalesce(replaced.records_landed, 0))), 0) as bigint
        ) as late_records
    from loads
    left join {{ source('audit', 'loads') }} as replaced on loads.replaces = replaced.load_id
    where loads.load_id in (
        select by_day.load_id
        from (
            select
                load_id,
                finished_at,
                superseded_by,
                min(finished_at) over (partition by target, day) as first_at
            from (
                select
                    load_id,
                    target,
                    finished_at,
                    superseded_by,
                    unnest(event_days) as day
                from {{ source('audit', 'loads') }}
                where target in ('raw.spans', 'raw.logs')
            ) as of_days
        ) as by_day
        where by_day.superseded_by is null and by_day.finished_at > by_day.first_at + interval '1' day
    )
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
        count(*) filter (where not is_complete) as traces_incomplete,
        min(started_at) as window_available_from,
        max(ended_at) as window_available_until,
        max(duration_ns) as longest_ns
    from traces
),

-- How far back what arrives in order can still reach: a gap for groups, an hour for hours, the longest trace that was
-- seen for traces.
settled as (
    select
        rules.rule_id,
        {{ earlier_by(
            'scanned_spans.last_span_at',
            "case rules.scope_kind
                when 'trace' then scanned_traces.longest_ns when 'hour' then 3600000000000 else rules.gap_ns
            end"
        ) }} as settled_until
    from rules
    cross join scanned_spans
    cross join scanned_traces
),

unsettled as (
    select
        verdicts.rule_id,
        count(*) as unsettled
    from verdicts
    inner join settled on verdicts.rule_id = settled.rule_id
    where verdicts.last_span_at > settled.settled_until
    group by verdicts.rule_id
),

-- Traces of which only log records came: they have verdicts and are no traces that were scanned.
log_only as (
    select
        verdicts.rule_id,
        count(*) as log_only_traces
    from verdicts
    left join traces on verdicts.scope_key = cast(traces.trace_id as varchar)
    where
        verdicts.scope_kind = 'trace'
        and traces.trace_id is null
    group by verdicts.rule_id
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
        rules.scope_kind,
        scanned_spans.window_from,
        scanned_spans.window_until,
        scanned_traces.window_available_from,
        scanned_traces.window_available_until,
        settled.settled_until,
        scanned_spans.days,
        scanned_spans.days as days_scanned,
        coalesce(scanned_spans.last_day - scanned_spans.first_day + 1 - scanned_spans.days, 0) as days_without_traces,
        scanned_spans.spans_scanned,
        scanned_repeats.spans_repeated,
        scanned_logs.logs_scanned,
        scanned_traces.traces_scanned,
        scanned_traces.traces_complete,
        scanned_traces.traces_incomplete,
        refused.records_quarantined,
        case when rules.scope_kind = 'trace' then coalesce(log_only.log_only_traces, 0) end as log_only_traces,
        late.late_records,
        case when rules.scope_kind = 'trace' then 0 else null_keys.null_keys end as null_keys,
        struct_pack(
            declared := coalesce(declared_sampling.declared, []),
            spans_looked_at := own_sampling.spans_looked_at,
            is_sample := own_sampling.is_sample,
            with_probability := own_sampling.with_probability,
            lowest_probability := own_sampling.lowest_probability,
            with_threshold := own_sampling.with_threshold,
            lowest_threshold_probability := own_sampling.lowest_threshold_probability
        ) as sampling,
        rules.violated,
        rules.satisfied,
        rules.inconclusive,
        coalesce(violations.suppressed, 0) as suppressed,
        case
            when rules.scope_kind = 'trace'
                then scanned_traces.traces_scanned - coalesce(judged.traces_judged, 0)
            -- Groups outside `when` are not formed; without a `when` there are none.
            when rules.is_unconditional then 0
        end as not_applicable,
        coalesce(unsettled.unsettled, 0) as unsettled,
        coalesce(reasons.verdict_reasons, []) as verdict_reasons,
        'A span that was lost without children leaves no mark: of what was received, '
        || scanned_traces.traces_complete || ' of ' || scanned_traces.traces_scanned
        || ' traces show no loss, and a lost leaf would not show.' || sampled.sampling_note as undetectable_loss_note,
        rules.inconclusive = 0 and scanned_spans.spans_scanned > 0 and taken_out.cause is null as is_exhaustive,
        taken_out.cause as taken_out_because,
        {{ engine_version() }} as engine,
        '{{ code_version() }}' as code_version
    from rules
    cross join scanned_spans
    cross join scanned_repeats
    cross join scanned_logs
    cross join scanned_traces
    cross join refused
    cross join sampled
    cross join own_sampling
    cross join declared_sampling
    cross join late
    left join settled on rules.rule_id = settled.rule_id
    left join unsettled on rules.rule_id = unsettled.rule_id
    left join log_only on rules.rule_id = log_only.rule_id
    left join null_keys on rules.rule_id = null_keys.rule_id
    left join violations on rules.rule_id = violations.rule_id
    left join taken_out
        on
            rules.rule_id = taken_out.rule_id
            and rules.meaning_hash = taken_out.meaning_hash
    left join judged on rules.rule_id = judged.rule_id
    left join reasons on rules.rule_id = reasons.rule_id
)

select *
from final
order by rule_id
