with duration_shifts as (
    select * from {{ ref('int_incident_duration_shifts') }}
),

metric_shifts as (
    select * from {{ ref('int_incident_metric_shifts') }}
),

error_log_shifts as (
    select * from {{ ref('int_incident_error_log_shifts') }}
),

-- Of a metric's series of one service (its pods) the one that moved most speaks for it: a fault in one pod of ten
-- would drown in their pool.
strongest_series as (
    select *
    from metric_shifts
    qualify row_number() over (
        partition by incident_id, service_name, metric_name
        order by shift desc nulls last, series_id asc
    ) = 1
),

signals as (
    select
        incident_id,
        service_name,
        'span duration' as signal_kind,
        'duration of ' || span_name as signal,
        'ms' as unit,
        cast(null as varchar) as series_id,
        baseline_kind,
        baseline_median_ms as baseline_median,
        baseline_n,
        incident_median_ms as incident_median,
        incident_n,
        shift
    from duration_shifts

    union all

    select
        incident_id,
        service_name,
        'metric' as signal_kind,
        metric_name as signal,
        {{ metric_unit('metric_name') }} as unit,
        series_id,
        baseline_kind,
        baseline_median,
        baseline_n,
        incident_median,
        incident_n,
        shift
    from strongest_series

    union all

    select
        incident_id,
        service_name,
        'error logs' as signal_kind,
        'traces with error logs' as signal,
        'traces' as unit,
        cast(null as varchar) as series_id,
        baseline_kind,
        expected_count as baseline_median,
        baseline_n,
        cast(incident_count as double) as incident_median,
        incident_n,
        shift
    from error_log_shifts
),

-- The largest shift of a service would rank by luck: of dozens of signals some tail percentile always jumps. More error
-- logs than expected are said outright; after them counts how much of what a service shows has moved at all.
scored as (
    select
        incident_id,
        service_name,
        max(
            case
                when
                    signal_kind = 'error logs'
                    and incident_median > baseline_median
                    and shift >= {{ var('moved_shift') }}
                    then shift
            end
        ) as error_log_shift,
        count(*) filter (where shift >= {{ var('moved_shift') }})
        / cast(nullif(count(shift), 0) as double) as moved_share
    from signals
    group by incident_id, service_name
),

services as (
    select
        incident_id,
        service_name,
        moved_share,
        row_number() over (
            partition by incident_id
            order by error_log_shift desc nulls last, moved_share desc nulls last, service_name asc
        ) as service_rank
    from scored
),

final as (
    select
        signals.incident_id,
        signals.service_name,
        signals.signal_kind,
        signals.signal,
        signals.unit,
        signals.series_id,
        signals.baseline_kind,
        signals.baseline_median,
        signals.baseline_n,
        signals.incident_median,
        signals.incident_n,
        signals.shift,
        row_number() over (
            partition by signals.incident_id
            order by
                signals.shift desc nulls last, signals.service_name asc, signals.signal asc, signals.signal_kind asc
        ) as rank_in_incident,
        services.service_rank,
        services.moved_share
    from signals
    inner join services
        on
            signals.incident_id = services.incident_id
            and signals.service_name = services.service_name
)

select *
from final
order by incident_id, rank_in_incident
