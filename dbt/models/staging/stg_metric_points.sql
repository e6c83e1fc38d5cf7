{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_replay_window('observed_on') }}"
    )
}}

with points as (
    select *
    from {{ source('raw', 'metric_points') }}
    where {{ in_replay_window('observed_at') }}
),

series as (
    select
        metric_name,
        labels,
        md5(metric_name || ' ' || cast(labels as varchar)) as series_id
    from points
    group by metric_name, labels
),

identified as (
    select
        points.*,
        series.series_id
    from points
    inner join series
        on
            points.metric_name = series.metric_name
            and points.labels = series.labels
),

repeated as (
    select
        series_id,
        observed_at,
        min(struct_pack(load_id := load_id, line := line, record := record)) as origin
    from identified
    group by series_id, observed_at
    having count(*) > 1
),

final as (
    select
        identified.metric_name,
        identified.service_name,
        identified.series_id,
        identified.labels,
        identified.observed_at,
        cast(identified.observed_at as date) as observed_on,
        {{ finite('identified.value') }} as value,
        identified.load_id,
        identified.line,
        identified.record
    from identified
    left join repeated
        on
            identified.series_id = repeated.series_id
            and identified.observed_at = repeated.observed_at
    where
        repeated.series_id is null
        or repeated.origin
        = struct_pack(load_id := identified.load_id, line := identified.line, record := identified.record)
)

select *
from final
order by observed_on, metric_name, series_id, observed_at
