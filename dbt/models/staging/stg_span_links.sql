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
        {{ json_list_items('links') }} as links
    from {{ ref('stg_spans') }}
    where
        links is not null
        and {{ in_replay_window('started_on') }}
),

elements as (
    select
        trace_id,
        span_id,
        kind,
        started_on,
        {{ each_element('links', 'element', 'place') }}
    from spans
),

final as (
    select
        trace_id,
        span_id,
        kind,
        cast(place + 1 as integer) as position,
        {{ hex_trace_id(json_member('element', 'traceId')) }} as linked_trace_id,
        {{ hex_span_id(json_member('element', 'spanId')) }} as linked_span_id,
        nullif({{ json_member('element', 'traceState') }}, '') as trace_state,
        {{ json_part('element', 'attributes') }} as attributes,
        coalesce(try_cast({{ json_member('element', 'droppedAttributesCount') }} as bigint), 0)
            as dropped_attributes_count,
        try_cast({{ json_member('element', 'flags') }} as bigint) as flags,
        started_on
    from elements
)

select *
from final
order by started_on, trace_id, span_id, kind, position
