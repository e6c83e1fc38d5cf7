{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ delete_replay_window('observed_on') }}"
    )
}}

with points as (
    select *
    from {{ source('raw', 'metric_points') }}
    where {{ in_replay_window('observed_at') }}
),

{{ metric_points_once() }},

final as (
    select
        metric_name,
        service_name,
        series_id,
        labels,
        {{ to_microseconds('observed_at') }} as observed_at,
        {{ utc_day('observed_at') }} as observed_on,
        {{ finite('value') }} as value,
        metric_type,
        unit,
        temporality,
        is_monotonic,
        {{ to_microseconds('started_at') }} as started_at,
        load_id,
        line,
        record
    from once
)

select *
from final
order by observed_on, metric_name, series_id, observed_at
