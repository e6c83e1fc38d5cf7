{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ sync_promoted_columns('span') }}",
            "{{ put_staged_aside('started_on') }}",
            "{{ delete_replay_window('started_on') }}"
        ],
        post_hook="{{ note_vanished_traces('started_on') }}"
    )
}}

with spans as (
    select *
    from {{ source('raw', 'spans') }}
    where {{ in_replay_window('started_at') }}
),

repeats as (
    select
        load_id,
        line,
        record
    from {{ ref('stg_span_repeats') }}
    where {{ in_replay_window('started_on') }}
),

firsts as (
    select spans.*
    from spans
    where not exists (
        select 1
        from repeats
        where
            spans.load_id = repeats.load_id
            and spans.line = repeats.line
            and spans.record = repeats.record
    )
),

final as (
    select
        trace_id,
        span_id,
        parent_span_id,
        service_name,
        service_version,
        span_name,
        {{ span_kind('kind') }} as kind,
        started_at,
        ended_at,
        {{ nanoseconds_between('started_at', 'ended_at') }} as duration_ns,
        {{ status_code('status_code') }} as status_code,
        status_message,
        scope_name,
        scope_version,
        trace_state,
        dropped_attributes_count,
        dropped_events_count,
        dropped_links_count,
        dropped_attributes_count > 0 as has_dropped_attributes,
        attributes,
        resource_attributes,
        events,
        links,
        {{ utc_day('started_at') }} as started_on,
        load_id,
        line,
        record{{ promoted_columns('span') }}
    from firsts
)

-- Laid out so that zone maps prune by day, service and name.
select *
from final
order by started_on, service_name, span_name, started_at, trace_id, span_id, kind
