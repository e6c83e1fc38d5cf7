{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ sync_promoted_columns('log') }}",
            "{{ put_staged_aside('occurred_on') }}",
            "{{ delete_replay_window('occurred_on') }}"
        ],
        post_hook="{{ note_vanished_traces('occurred_on') }}"
    )
}}

with logs as (
    select *
    from {{ source('raw', 'logs') }}
    where {{ in_replay_window('occurred_at') }}
),

repeats as (
    select
        load_id,
        line,
        record
    from {{ ref('stg_log_repeats') }}
    where {{ in_replay_window('occurred_on') }}
),

firsts as (
    select logs.*
    from logs
    where not exists (
        select 1
        from repeats
        where
            logs.load_id = repeats.load_id
            and logs.line = repeats.line
            and logs.record = repeats.record
    )
),

final as (
    select
        occurred_at,
        observed_at,
        {{ utc_day('occurred_at') }} as occurred_on,
        trace_id,
        span_id,
        service_name,
        severity_number,
        severity_text,
        severity_number >= 17 as is_error,
        event_name,
        body,
        scope_name,
        dropped_attributes_count,
        attributes,
        resource_attributes,
        load_id,
        line,
        record{{ promoted_columns('log') }}
    from firsts
)

select *
from final
order by occurred_on, service_name, occurred_at, load_id, line, record
