{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_replay_window('started_on') }}"
    )
}}

with spans as (
    select
        trace_id,
        span_id,
        kind,
        parent_span_id,
        service_name,
        span_name,
        started_at,
        ended_at,
        load_id,
        line,
        record
    from {{ source('raw', 'spans') }}
    -- A record that is not staged cannot be the one that is kept.
    where {{ since_first_day('started_at') }}
),

{% if has_replay_window() %}
-- An earlier record of the same span may lie outside the window, when it was sent with another time.
keys as (
    select
        trace_id,
        span_id,
        kind,
        load_id,
        line,
        record
    from spans
    where
        trace_id in (
            select spans_in_window.trace_id from spans as spans_in_window
            where {{ in_replay_window('spans_in_window.started_at') }}
        )
),
{% else %}
keys as (
    select
        trace_id,
        span_id,
        kind,
        load_id,
        line,
        record
    from spans
),
{% endif %}

firsts as (
    select
        trace_id,
        span_id,
        kind,
        min(struct_pack(load_id := load_id, line := line, record := record)) as origin
    from keys
    group by trace_id, span_id, kind
    having count(*) > 1
),

final as (
    select
        repeats.load_id,
        repeats.line,
        repeats.record,
        firsts.origin.load_id as kept_load_id,
        firsts.origin.line as kept_line,
        firsts.origin.record as kept_record,
        repeats.trace_id,
        repeats.span_id,
        {{ span_kind('repeats.kind') }} as kind,
        {{ utc_day('repeats.started_at') }} as started_on,
        repeats.span_name = kept.span_name
        and repeats.started_at = kept.started_at
        and repeats.ended_at = kept.ended_at
        and coalesce(repeats.parent_span_id, 0) = coalesce(kept.parent_span_id, 0)
        and coalesce(repeats.service_name, '') = coalesce(kept.service_name, '')
            as is_identical
    from firsts
    inner join spans as repeats
        on
            firsts.trace_id = repeats.trace_id
            and firsts.span_id = repeats.span_id
            and firsts.kind = repeats.kind
    inner join spans as kept
        on
            firsts.origin.load_id = kept.load_id
            and firsts.origin.line = kept.line
            and firsts.origin.record = kept.record
    where
        firsts.origin < struct_pack(load_id := repeats.load_id, line := repeats.line, record := repeats.record)
        and {{ in_replay_window('repeats.started_at') }}
)

select *
from final
order by load_id, line, record
