with violations as (
    select * from {{ ref('fct_violations') }}
),

rules as (
    select * from {{ ref('rule_catalogue') }}
),

history as (
    select * from {{ source('audit', 'verdict_history') }}
    where verdict = 'violated'
),

newest as (
    select max(replay_id) as replay_id from {{ source('audit', 'verdict_history') }}
),

-- A version of a violation that took the place of another is no new one.
appearances as (
    select
        violation_id,
        coalesce(max(replay_id) filter (where not is_continued), min(replay_id)) as since_replay_id
    from (
        select
            violation_id,
            replay_id,
            count(*) filter (where change = 'superseded') > 0 as is_continued
        from history
        group by violation_id, replay_id
        having count(*) filter (where change = 'appeared') > 0
    ) as versions
    group by violation_id
),

standing as (
    select
        violations.violation_id,
        violations.rule_id,
        violations.meaning_hash,
        violations.severity,
        violations.status as rule_status,
        violations.scope_kind,
        violations.scope_key,
        violations.first_span_at,
        violations.last_span_at,
        case
            when violations.is_suppressed then 'suppressed'
            when appearances.since_replay_id = newest.replay_id then 'new'
            else 'ongoing'
        end as lifecycle,
        violations.status = 'active' and not violations.is_suppressed as is_alerting,
        appearances.since_replay_id,
        cast(null as bigint) as resolved_replay_id,
        cast(null as varchar) as resolved_because,
        cast(null as varchar) as superseded_by,
        violations.suppressed_by,
        violations.suppression_reason,
        violations.suppressed_until
    from violations
    cross join newest
    left join appearances on violations.violation_id = appearances.violation_id
),

last_seen as (
    select *
    from history
    where
        change = 'superseded'
        and violation_id not in (select violation_id from violations)
    qualify row_number() over (partition by violation_id order by replay_id desc, changed_at desc) = 1
),

resolved as (
    select
        last_seen.violation_id,
        last_seen.rule_id,
        last_seen.meaning_hash,
        rules.severity,
        rules.status as rule_status,
        last_seen.scope_kind,
        last_seen.scope_key,
        last_seen.first_span_at,
        last_seen.last_span_at,
        'resolved' as lifecycle,
        false as is_alerting,
        appearances.since_replay_id,
        last_seen.replay_id as resolved_replay_id,
        case
            when last_seen.cause = 'rule changed'
                then
                    case
                        when coalesce(rules.status, 'retired') = 'retired' then 'rule retired'
                        else 'rule changed'
                    end
            else 'late data'
        end as resolved_because,
        last_seen.superseded_by,
        cast(null as varchar) as suppressed_by,
        cast(null as varchar) as suppression_reason,
        cast(null as date) as suppressed_until
    from last_seen
    left join rules on last_seen.rule_id = rules.rule_id
    left join appearances on last_seen.violation_id = appearances.violation_id
),

final as (
    select * from standing
    union all
    select * from resolved
)

select *
from final
order by rule_id, first_span_at, scope_key, violation_id
