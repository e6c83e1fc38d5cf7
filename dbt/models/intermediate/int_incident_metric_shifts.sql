with windows as (
    select * from {{ ref('int_incident_windows') }}
),

points as (
    select
        metric_name,
        service_name,
        series_id,
        observed_at,
        observed_on,
        value
    from {{ ref('stg_metric_points') }}
    where
        service_name is not null
        and value is not null
        and not regexp_matches(metric_name, '{{ var("host_metric_pattern") }}')
),

moments as (
    select distinct
        observed_at,
        observed_on
    from points
),

during_moments as (
    select
        windows.incident_id,
        moments.observed_at
    from windows
    inner join moments
        on
            windows.window_from <= moments.observed_at
            and windows.window_until >= moments.observed_at
),

quiet_moments as (
    select *
    from moments
    where observed_at not in (select observed_at from during_moments)
),

hour_before_moments as (
    select
        windows.incident_id,
        quiet_moments.observed_at
    from windows
    inner join quiet_moments
        on
            windows.baseline_from <= quiet_moments.observed_at
            and windows.window_from > quiet_moments.observed_at
),

during as (
    select
        during_moments.incident_id,
        points.series_id,
        any_value(points.metric_name) as metric_name,
        any_value(points.service_name) as service_name,
        count(*) as incident_n,
        {{ quantile('points.value', 0.5) }} as incident_median
    from during_moments
    inner join points on during_moments.observed_at = points.observed_at
    group by during_moments.incident_id, points.series_id
),

hour_before as (
    select
        hour_before_moments.incident_id,
        points.series_id,
        count(*) as baseline_n,
        {{ quantile('points.value', 0.25) }} as baseline_q25,
        {{ quantile('points.value', 0.5) }} as baseline_median,
        {{ quantile('points.value', 0.75) }} as baseline_q75
    from hour_before_moments
    inner join points on hour_before_moments.observed_at = points.observed_at
    group by hour_before_moments.incident_id, points.series_id
    having count(*) >= {{ var('baseline_minimum_n') }}
),

quiet_day as (
    select
        points.observed_on,
        points.series_id,
        count(*) as baseline_n,
        {{ quantile('points.value', 0.25) }} as baseline_q25,
        {{ quantile('points.value', 0.5) }} as baseline_median,
        {{ quantile('points.value', 0.75) }} as baseline_q75
    from quiet_moments
    inner join points on quiet_moments.observed_at = points.observed_at
    where quiet_moments.observed_on in (select window_day from windows)
    group by points.observed_on, points.series_id
    having count(*) >= {{ var('baseline_minimum_n') }}
),

compared as (
    select
        during.incident_id,
        during.service_name,
        during.metric_name,
        during.series_id,
        during.incident_n,
        during.incident_median,
        case
            when hour_before.series_id is not null then 'hour before'
            when quiet_day.series_id is not null then 'quiet day'
        end as baseline_kind,
        coalesce(hour_before.baseline_n, quiet_day.baseline_n, 0) as baseline_n,
        coalesce(hour_before.baseline_q25, quiet_day.baseline_q25) as baseline_q25,
        coalesce(hour_before.baseline_median, quiet_day.baseline_median) as baseline_median,
        coalesce(hour_before.baseline_q75, quiet_day.baseline_q75) as baseline_q75
    from during
    inner join windows on during.incident_id = windows.incident_id
    left join hour_before
        on
            during.incident_id = hour_before.incident_id
            and during.series_id = hour_before.series_id
    left join quiet_day
        on
            windows.window_day = quiet_day.observed_on
            and during.series_id = quiet_day.series_id
),

final as (
    select
        incident_id,
        service_name,
        metric_name,
        series_id,
        baseline_kind,
        baseline_n,
        baseline_median,
        baseline_q75 - baseline_q25 as baseline_iqr,
        incident_n,
        incident_median,
        case
            when incident_n >= {{ var('incident_minimum_n') }}
                then {{ robust_shift('baseline_median', '(baseline_q75 - baseline_q25)', 'incident_median') }}
        end as shift
    from compared
)

select *
from final
order by incident_id, service_name, metric_name, series_id
