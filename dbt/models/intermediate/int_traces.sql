{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_touched_traces(ref('stg_spans'), ref('stg_logs')) }}"
    )
}}

with spans as (
    select *
    from {{ ref('stg_spans') }}
    where {{ touches_replay_window(ref('stg_spans'), ref('stg_logs')) }}
),

shapes as (
    select *
    from {{ ref('int_trace_shape') }}
    where {{ touches_replay_window(ref('stg_spans'), ref('stg_logs')) }}
),

logs as (
    select
        trace_id,
        is_error
    from {{ ref('stg_logs') }}
    where
        trace_id is not null
        and {{ touches_replay_window(ref('stg_spans'), ref('stg_logs')) }}
),

span_totals as (
    select
        trace_id,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        count(*) as span_count,
        count(distinct service_name) as service_count,
        count(*) filter (where status_code = 'error') as error_span_count,
        cast(sum(dropped_attributes_count) as bigint) as dropped_attributes_count,
        cast(sum(dropped_events_count) as bigint) as dropped_events_count,
        cast(sum(dropped_links_count) as bigint) as dropped_links_count
    from spans
    group by trace_id
),

shape_totals as (
    select
        trace_id,
        count(*) filter (where is_root) as root_count,
        count(*) filter (where is_orphan) as orphan_count,
        count(*) filter (where is_cycle_cut) as cycle_cut_count,
        count(*) filter (where is_too_deep) as too_deep_count,
        max(depth) as max_depth
    from shapes
    group by trace_id
),

-- With several roots the earliest names the trace.
roots as (
    select
        spans.trace_id,
        spans.service_name as root_service_name,
        spans.span_name as root_span_name
    from shapes
    inner join spans
        on
            shapes.trace_id = spans.trace_id
            and shapes.span_id = spans.span_id
            and shapes.kind = spans.kind
    where shapes.is_root
    qualify row_number() over (partition by spans.trace_id order by shapes.nested_left) = 1
),

log_totals as (
    select
        trace_id,
        count(*) as log_count,
        count(*) filter (where is_error) as error_log_count
    from logs
    group by trace_id
),

final as (
    select
        span_totals.trace_id,
        span_totals.started_at,
        span_totals.ended_at,
        {{ utc_day('span_totals.started_at') }} as started_on,
        {{ nanoseconds_between('span_totals.started_at', 'span_totals.ended_at') }} as duration_ns,
        roots.root_service_name,
        roots.root_span_name,
        span_totals.span_count,
        span_totals.service_count,
        span_totals.error_span_count,
        coalesce(log_totals.log_count, 0) as log_count,
        coalesce(log_totals.error_log_count, 0) as error_log_count,
        shape_totals.orphan_count,
        shape_totals.root_count,
        shape_totals.cycle_cut_count,
        shape_totals.too_deep_count,
        shape_totals.max_depth,
        span_totals.dropped_attributes_count,
        span_totals.dropped_events_count,
        span_totals.dropped_links_count,
        shape_totals.root_count = 1
        and shape_totals.orphan_count = 0
        and shape_totals.cycle_cut_count = 0
        and shape_totals.too_deep_count = 0
        and span_totals.dropped_attributes_count = 0
        and span_totals.dropped_events_count = 0
        and span_totals.dropped_links_count = 0 as is_complete
    from span_totals
    inner join shape_totals on span_totals.trace_id = shape_totals.trace_id
    left join roots on span_totals.trace_id = roots.trace_id
    left join log_totals on span_totals.trace_id = log_totals.trace_id
)

select *
from final
order by started_on, started_at, trace_id
