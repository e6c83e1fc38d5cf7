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
        started_on,
        {{ json_list_items('events') }} as events
    from {{ ref('stg_spans') }}
    where
        events is not null
        and {{ in_replay_window('started_on') }}
),

elements as (
    select
        trace_id,
        span_id,
        kind,
        started_on,
        {{ each_element('events', 'element', 'place') }}
    from spans
),

final as (
    select
        trace_id,
        span_id,
        kind,
        cast(place + 1 as integer) as position,
        {{ json_member('element', 'name') }} as event_name,
        {{ unix_nano_timestamp(json_member('element', 'timeUnixNano')) }} as occurred_at,
        {{ json_member(json_part('element', 'attributes'), 'exception.type') }} as exception_type,
        {{ json_member(json_part('element', 'attributes'), 'exception.message') }} as exception_message,
        {{ json_part('element', 'attributes') }} as attributes,
        coalesce(try_cast({{ json_member('element', 'droppedAttributesCount') }} as bigint), 0)
            as dropped_attributes_count,
        started_on
    from elements
)

select *
from final
order by started_on, trace_id, span_id, kind, position
