{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_replay_window('occurred_on') }}"
    )
}}

{%- set content = [
    'observed_at', 'trace_id', 'span_id', 'service_name', 'severity_number', 'severity_text', 'event_name', 'body',
    'scope_name', 'attributes', 'resource_attributes'
] %}

-- The source is read twice: a table of whole records between the two would be held in memory.
-- Within one load equal records are real. Of days that one load brought there is nothing to compare.
with shared_days as (
    select {{ utc_day('occurred_at') }} as occurred_on
    from {{ source('raw', 'logs') }}
    where {{ in_replay_window('occurred_at') }}
    group by {{ utc_day('occurred_at') }}
    having min(load_id) < max(load_id)
),

-- The time stands beside the hash: two contents of one hash would have to share their nanosecond, too.
contents as (
    select
        logs.load_id,
        logs.line,
        logs.record,
        logs.occurred_at,
        shared_days.occurred_on,
        {{ content_hash(content) }} as content
    from {{ source('raw', 'logs') }} as logs
    inner join shared_days on {{ utc_day('logs.occurred_at') }} = shared_days.occurred_on
    where {{ in_replay_window('logs.occurred_at') }}
),

shared_contents as (
    select
        occurred_at,
        content
    from contents
    group by occurred_at, content
    having min(load_id) < max(load_id)
),

numbered as (
    select
        contents.load_id,
        contents.line,
        contents.record,
        contents.occurred_on,
        contents.occurred_at,
        contents.content,
        row_number() over (
            partition by contents.occurred_at, contents.content, contents.load_id
            order by contents.line, contents.record
        ) as occurrence
    from contents
    inner join shared_contents
        on contents.occurred_at = shared_contents.occurred_at and contents.content = shared_contents.content
),

firsts as (
    select
        occurred_at,
        content,
        occurrence,
        min(struct_pack(load_id := load_id, line := line, record := record)) as origin
    from numbered
    group by occurred_at, content, occurrence
),

final as (
    select
        repeats.load_id,
        repeats.line,
        repeats.record,
        firsts.origin.load_id as kept_load_id,
        firsts.origin.line as kept_line,
        firsts.origin.record as kept_record,
        repeats.occurred_on
    from numbered as repeats
    inner join firsts
        on
            repeats.occurred_at = firsts.occurred_at
            and repeats.content = firsts.content
            and repeats.occurrence = firsts.occurrence
    where repeats.load_id > firsts.origin.load_id
)

select *
from final
order by load_id, line, record
