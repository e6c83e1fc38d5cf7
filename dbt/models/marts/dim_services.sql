with spans as (
    select * from {{ ref('stg_spans') }}
),

logs as (
    select * from {{ ref('stg_logs') }}
),

points as (
    select * from {{ ref('stg_metric_points') }}
),

incidents as (
    select * from {{ ref('int_incidents') }}
),

deploys as (
    select * from {{ ref('stg_deploys') }}
),

from_spans as (
    select
        service_name,
        min(started_at) as first_seen_at,
        max(started_at) as last_seen_at,
        count(*) as span_count,
        count(distinct trace_id) as trace_count,
        count(*) filter (where status_code = 'error') as error_span_count,
        {{ sorted_set('service_version') }} as service_versions
    from spans
    where service_name is not null
    group by service_name
),

from_logs as (
    select
        service_name,
        count(*) as log_count,
        count(*) filter (where is_error) as error_log_count
    from logs
    where service_name is not null
    group by service_name
),

from_points as (
    select
        service_name,
        count(distinct series_id) as metric_series_count
    from points
    where service_name is not null
    group by service_name
),

from_incidents as (
    select
        service_name,
        count(*) as incident_count
    from incidents
    where service_name is not null
    group by service_name
),

from_deploys as (
    select
        service_name,
        count(*) as deploy_count
    from deploys
    where service_name is not null
    group by service_name
),

named as (
    select service_name from from_spans
    union
    select service_name from from_logs
    union
    select service_name from from_points
    union
    select service_name from from_incidents
    union
    select service_name from from_deploys
),

final as (
    select
        named.service_name,
        from_spans.service_name is not null as has_spans,
        from_spans.first_seen_at,
        from_spans.last_seen_at,
        coalesce(from_spans.service_versions, []) as service_versions,
        coalesce(from_spans.span_count, 0) as span_count,
        coalesce(from_spans.trace_count, 0) as trace_count,
        coalesce(from_spans.error_span_count, 0) as error_span_count,
        coalesce(from_logs.log_count, 0) as log_count,
        coalesce(from_logs.error_log_count, 0) as error_log_count,
        coalesce(from_points.metric_series_count, 0) as metric_series_count,
        coalesce(from_incidents.incident_count, 0) as incident_count,
        coalesce(from_deploys.deploy_count, 0) as deploy_count
    from named
    left join from_spans on named.service_name = from_spans.service_name
    left join from_logs on named.service_name = from_logs.service_name
    left join from_points on named.service_name = from_points.service_name
    left join from_incidents on named.service_name = from_incidents.service_name
    left join from_deploys on named.service_name = from_deploys.service_name
)

select *
from final
order by service_name
