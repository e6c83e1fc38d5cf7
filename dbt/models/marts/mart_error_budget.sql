{%- set levels = var('service_levels') %}
{%- set window_seconds = levels['window_days'] * 86400 %}

with incidents as (
    select * from {{ ref('int_incident_durations') }}
),

-- Windows are counted back from the day after the last that the system has said anything about.
systems as (
    select
        system,
        cast(cast(max(as_of_at) as date) + interval 1 day as timestamp) as observed_until_at,
        min(observed_from_at) as observed_from_at
    from incidents
    group by system
),

services as (
    select
        incidents.system,
        incidents.service_name,
        systems.observed_from_at,
        systems.observed_until_at,
        cast(floor(
            {{ seconds_between('systems.observed_from_at', 'systems.observed_until_at') }} / {{ window_seconds }}.0
        ) as bigint) as last_window
    from incidents
    inner join systems on incidents.system = systems.system
    where incidents.service_name is not null and incidents.started_at is not null
    group by incidents.system, incidents.service_name, systems.observed_from_at, systems.observed_until_at
),

windows as (
    select
        *,
        observed_until_at - interval '1 day' * ({{ levels['window_days'] }} * (window_number + 1)) as window_from_at,
        observed_until_at - interval '1 day' * ({{ levels['window_days'] }} * window_number) as window_until_at
    from (
        select
            *,
            {{ each_number_to('last_window') }} as window_number
        from services
    ) as numbered
),

-- What counts as downtime: the severities that the policy names, from start to the end of the effect, and to the end of
-- the data while nothing says that it ended; one that begins behind that lasts for nothing. Of one that is over without
-- a time of it nobody knows how long it lasted.
outages as (
    select
        system,
        service_name,
        started_at,
        case
            when impact_seconds is not null then impact_ended_at
            when impact_reason = 'open' then greatest(as_of_at, started_at)
        end as ended_at
    from incidents
    where
        service_name is not null
        and started_at is not null
        and {{ is_one_of('severity', levels['counted_severities']) }}
),

-- Outages of a service that overlap are one: where one begins after all before it have ended, another island begins.
followed as (
    select
        *,
        max(ended_at) over (
            partition by system, service_name
            order by started_at, ended_at
            rows between unbounded preceding and 1 preceding
        ) as ended_before_at
    from outages
    where ended_at is not null
),

numbered_islands as (
    select
        *,
        sum(case when started_at <= ended_before_at then 0 else 1 end) over (
            partition by system, service_name
            order by started_at, ended_at
            rows unbounded preceding
        ) as island
    from followed
),

islands as (
    select
        system,
        service_name,
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from numbered_islands
    group by system, service_name, island
),

downtimes as (
    select
        windows.system,
        windows.service_name,
        windows.window_number,
        count(*) as n_outages,
        sum({{ seconds_between(
            'greatest(islands.started_at, windows.window_from_at)', 'least(islands.ended_at, windows.window_until_at)'
        ) }}) as downtime_seconds
    from windows
    inner join islands
        on
            windows.system = islands.system
            and windows.service_name = islands.service_name
            and windows.window_until_at > islands.started_at
            and (windows.window_from_at < islands.ended_at or windows.window_from_at <= islands.started_at)
    group by windows.system, windows.service_name, windows.window_number
),

counts as (
    select
        windows.system,
        windows.service_name,
        windows.window_number,
        count(*) as n_incidents,
        count(*) filter (where outages.ended_at is null) as n_unknown
    from windows
    inner join outages
        on
            windows.system = outages.system
            and windows.service_name = outages.service_name
            and windows.window_from_at <= outages.started_at
            and windows.window_until_at > outages.started_at
    group by windows.system, windows.service_name, windows.window_number
),

named_levels as (
    {%- for service, level in levels['services'].items() %}
    select
        {{ text_literal(service) }} as service_name,
        {{ number_literal(level['availability_percent']) }} as availability_percent,
        {{ text_literal(level['basis']) }} as target_basis,
        {{ text_literal(level['source']) }} as target_source
    union all
    {%- endfor %}
    select
        cast(null as varchar) as service_name,
        cast(null as double) as availability_percent,
        cast(null as varchar) as target_basis,
        cast(null as varchar) as target_source
    where false
),

promised as (
    select
        windows.*,
        coalesce(
            named_levels.availability_percent, {{ number_literal(levels['default']['availability_percent']) }}
        ) as availability_percent,
        coalesce(named_levels.target_basis, {{ text_literal(levels['default']['basis']) }}) as target_basis,
        coalesce(named_levels.target_source, {{ text_literal(levels['default']['source']) }}) as target_source
    from windows
    left join named_levels on windows.service_name = named_levels.service_name
),

measured as (
    select
        promised.*,
        coalesce(counts.n_incidents, 0) as n_incidents,
        coalesce(counts.n_unknown, 0) as n_unknown,
        coalesce(downtimes.n_outages, 0) as n_outages,
        coalesce(downtimes.downtime_seconds, 0) / 60.0 as downtime_minutes,
        -- Rounded, so that 99.9 % of 30 days leaves 43.2 minutes and not a digit less.
        round((100 - promised.availability_percent) / 100 * {{ window_seconds }} / 60.0, 9) as allowed_minutes
    from promised
    left join downtimes
        on
            promised.system = downtimes.system
            and promised.service_name = downtimes.service_name
            and promised.window_number = downtimes.window_number
    left join counts
        on
            promised.system = counts.system
            and promised.service_name = counts.service_name
            and promised.window_number = counts.window_number
),

final as (
    select
        {{ row_id(['system', 'service_name', 'window_from_at']) }} as budget_id,
        system,
        service_name,
        window_from_at,
        window_until_at,
        cast({{ levels['window_days'] }} as integer) as window_days,
        window_number = 0 as is_latest,
        window_from_at >= observed_from_at as is_whole,
        availability_percent,
        target_basis,
        target_source,
        n_incidents,
        n_outages,
        n_unknown,
        cast(allowed_minutes as double) as allowed_minutes,
        cast(downtime_minutes as double) as downtime_minutes,
        cast(allowed_minutes - downtime_minutes as double) as remaining_minutes,
        cast(downtime_minutes / nullif(allowed_minutes, 0) as double) as spent_share,
        cast(100 * (1 - downtime_minutes * 60 / {{ window_seconds }}) as double) as measured_availability_percent,
        downtime_minutes <= allowed_minutes as is_attained
    from measured
)

select *
from final
order by system, service_name, window_from_at
