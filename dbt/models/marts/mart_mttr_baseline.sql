with incidents as (
    select
        system,
        severity,
        service_name,
        team,
        started_at,
        resolved_at,
        is_open,
        time_to_resolve_seconds,
        not is_open and resolved_at is null as is_closed_unresolved,
        resolved_at is not null and time_to_resolve_seconds is null as is_inconsistent
    from {{ ref('fct_incidents') }}
),

-- A system is watched from its first incident to its last; at least a day, so that a burst makes no absurd rate.
observed as (
    select
        system,
        greatest({{ seconds_between('min(started_at)', 'max(started_at)') }} / 86400.0, 1.0) as observed_days
    from incidents
    group by system
),

{%- set slices = {
    'system': [],
    'severity': ['severity'],
    'service': ['service_name'],
    'team': ['team'],
    'severity and service': ['severity', 'service_name'],
    'severity and team': ['severity', 'team'],
} %}

sliced as (
    {% for slice, columns in slices.items() %}
    select
        '{{ slice }}' as slice,
        system,
        {%- for column in ['severity', 'service_name', 'team'] %}
        {{ column if column in columns else 'cast(null as varchar)' }} as {{ column }},
        {%- endfor %}
        is_open,
        is_closed_unresolved,
        is_inconsistent,
        time_to_resolve_seconds
    from incidents
    where {{ are_present(columns) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

measured as (
    select
        slice,
        system,
        severity,
        service_name,
        team,
        count(*) as n_incidents,
        count(time_to_resolve_seconds) as n,
        count(*) filter (where is_open) as n_open,
        count(*) filter (where is_closed_unresolved) as n_closed_unresolved,
        count(*) filter (where is_inconsistent) as n_inconsistent,
        count(*) filter (where time_to_resolve_seconds = 0) as n_zero,
        -- Logarithms are summed as decimals: a sum of doubles would depend on the order of threads. What they lose,
        -- rounding hides.
        round(exp(
            cast(sum(cast(ln(nullif(time_to_resolve_seconds, 0) / 60.0) as decimal(30, 16))) as double)
            / nullif(count(nullif(time_to_resolve_seconds, 0)), 0)
        ), 9) as geometric_mean_minutes,
        cast(sum(time_to_resolve_seconds) as double) / nullif(count(time_to_resolve_seconds), 0) / 60.0 as mean_minutes,
        {{ quantile('time_to_resolve_seconds', 0.5) }} / 60.0 as median_minutes,
        {{ quantile('time_to_resolve_seconds', 0.9) }} / 60.0 as p90_minutes,
        max(time_to_resolve_seconds) / 60.0 as longest_minutes
    from sliced
    group by slice, system, severity, service_name, team
),

final as (
    select
        measured.slice,
        measured.system,
        measured.severity,
        measured.service_name,
        measured.team,
        'started_at to resolved_at' as clock,
        measured.n_incidents,
        measured.n,
        measured.n_open,
        measured.n_closed_unresolved,
        measured.n_inconsistent,
        measured.n_zero,
        measured.geometric_mean_minutes,
        measured.mean_minutes,
        measured.median_minutes,
        measured.p90_minutes,
        measured.longest_minutes,
        observed.observed_days,
        measured.n_incidents * 30.0 / observed.observed_days as incidents_per_30_days
    from measured
    inner join observed on measured.system = observed.system
)

select
    slice,
    system,
    severity,
    service_name,
    team,
    clock,
    n_incidents,
    n,
    n_open,
    n_closed_unresolved,
    n_inconsistent,
    n_zero,
    cast(geometric_mean_minutes as double) as geometric_mean_minutes,
    cast(mean_minutes as double) as mean_minutes,
    cast(median_minutes as double) as median_minutes,
    cast(p90_minutes as double) as p90_minutes,
    cast(longest_minutes as double) as longest_minutes,
    cast(observed_days as double) as observed_days,
    cast(incidents_per_30_days as double) as incidents_per_30_days
from final
order by system, slice, severity, service_name, team
