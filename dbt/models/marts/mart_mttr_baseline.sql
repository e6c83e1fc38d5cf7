{%- set clocks = ['detect', 'acknowledge', 'mitigate', 'resolve', 'close', 'between_failures'] %}
{%- set slices = {
    'system': [],
    'severity': ['severity'],
    'service': ['service_name'],
    'team': ['team'],
    'type': ['category'],
    'month': ['month_on'],
    'resolution method': ['resolution_method'],
    'severity and service': ['severity', 'service_name'],
    'severity and team': ['severity', 'team'],
} %}
{%- set texts = ['severity', 'service_name', 'team', 'category', 'resolution_method'] %}

with incidents as (
    select * from {{ ref('int_incident_durations') }}
),

-- A system is watched from its first incident to its last; at least a day, so that a burst makes no absurd rate.
observed as (
    select
        system,
        min(observed_from_at) as observed_from_at,
        greatest(max(observed_until_at), min(observed_from_at) + interval 1 day) as observed_until_at,
        max(as_of_at) as as_of_at
    from incidents
    group by system
),

grouped as (
    {%- for slice, columns in slices.items() %}
    select
        '{{ slice }}' as slice,
        system,
        {%- for column in texts %}
        {{ column if column in columns else 'cast(null as varchar)' }} as {{ column }},
        {%- endfor %}
        {{ 'month_on' if 'month_on' in columns else 'cast(null as date)' }} as month_on,
        count(*) as n_incidents
    from incidents
    where {{ are_present(columns) }}
    group by {{ (['system'] + columns) | join(', ') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Numbers instead of words, for the sort of all durations.
numbered as (
    select
        *,
        row_number() over (
            order by slice, system, severity, service_name, team, category, resolution_method, month_on
        ) * {{ clocks | length }} as first_curve
    from grouped
),

-- The rows of the result that each incident belongs to, looked up once an incident and not once a clock.
placed as (
    select
        {%- for clock in clocks %}
        incidents.{{ clock }}_seconds,
        incidents.{{ clock }}_open_seconds,
        incidents.{{ clock }}_reason,
        {%- endfor %}
        {%- for slice in slices %}
        {{ slice | replace(' ', '_') }}_rows.first_curve as curve_{{ loop.index }},
        {%- endfor %}
        incidents.system
    from
        incidents
    {% for slice, columns in slices.items() %}
    left join numbered as {{ slice | replace(' ', '_') }}_rows
        on
            {{ slice | replace(' ', '_') }}_rows.slice = '{{ slice }}'
            and incidents.system = {{ slice | replace(' ', '_') }}_rows.system
            {%- for column in columns %}
            and incidents.{{ column }} = {{ slice | replace(' ', '_') }}_rows.{{ column }}
            {%- endfor %}
    {%- endfor %}
),

clocked as (
    {%- for clock in clocks %}
    select
        {%- for slice in slices %}
        curve_{{ loop.index }} + {{ clocks.index(clock) }} as curve_{{ loop.index }},
        {%- endfor %}
        coalesce({{ clock }}_seconds, {{ clock }}_open_seconds) as seconds,
        {{ clock }}_seconds is null as is_running,
        cast(ln(nullif({{ clock }}_seconds, 0) / 60.0) as decimal(18, 15)) as log_minutes
    from placed
    where {{ clock }}_seconds is not null or {{ clock }}_open_seconds is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

lives as (
    {%- for slice in slices %}
    select
        curve_{{ loop.index }} as curve,
        seconds,
        is_running,
        log_minutes
    from clocked
    where curve_{{ loop.index }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Contradictions are no durations and are counted apart.
contradictions as (
    {%- for clock in clocks %}
    select
        {%- for slice in slices %}
        curve_{{ loop.index }} + {{ clocks.index(clock) }} as curve_{{ loop.index }},
        {%- endfor %}
        system
    from placed
    where {{ clock }}_reason in ('ends before it begins', 'no start')
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

contradicting as (
    {%- for slice in slices %}
    select
        curve_{{ loop.index }} as curve,
        count(*) as n_inconsistent
    from contradictions
    where curve_{{ loop.index }} is not null
    group by curve_{{ loop.index }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

{{ kaplan_meier('lives') }},

measured as (
    select
        curve,
        count(*) filter (where not is_running) as n,
        count(*) filter (where is_running) as n_open,
        count(*) filter (where not is_running and seconds = 0) as n_zero,
        -- Logarithms are summed as decimals: a sum of doubles would depend on the order of threads. What they lose,
        -- rounding hides.
        round(exp(cast(sum(log_minutes) as double) / nullif(count(log_minutes), 0)), 9) as geometric_mean_minutes,
        cast(sum(seconds) filter (where not is_running) as double)
        / nullif(count(*) filter (where not is_running), 0) / 60.0 as mean_minutes,
        max(seconds) filter (where not is_running) / 60.0 as longest_minutes,
        max(seconds) filter (where is_running) / 60.0 as longest_open_minutes
    from lives
    group by curve
),

clock_names as (
    {%- for clock in clocks %}
    select
        {{ loop.index0 }} as clock_number,
        '{{ clock }}' as clock
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

joined as (
    select
        numbered.*,
        clock_names.clock,
        clock_names.clock_number,
        coalesce(measured.n, 0) as n,
        coalesce(measured.n_open, 0) as n_open,
        coalesce(contradicting.n_inconsistent, 0) as n_inconsistent,
        coalesce(measured.n_zero, 0) as n_zero,
        curves.median_seconds / 60.0 as median_minutes,
        curves.median_low_seconds / 60.0 as median_low_minutes,
        curves.median_high_seconds / 60.0 as median_high_minutes,
        curves.p90_seconds / 60.0 as p90_minutes,
        measured.geometric_mean_minutes,
        measured.mean_minutes,
        measured.longest_minutes,
        measured.longest_open_minutes,
        observed.as_of_at,
        -- Of a month only what lies within the observation; one outside of it was not watched.
        case
            when
                observed.observed_from_at is not null
                and coalesce(cast(numbered.month_on as timestamp) <= observed.observed_until_at, true)
                and coalesce(
                    cast(numbered.month_on as timestamp) + interval 1 month > observed.observed_from_at, true
                )
                then greatest(
                    {{ seconds_between(
                        'greatest(observed.observed_from_at, coalesce(cast(numbered.month_on as timestamp), '
                        ~ 'observed.observed_from_at))',
                        'least(observed.observed_until_at, coalesce(cast(numbered.month_on as timestamp) '
                        ~ '+ interval 1 month, observed.observed_until_at))'
                    ) }} / 86400.0,
                    1.0
                )
        end as observed_days
    from numbered
    cross join clock_names
    inner join observed on numbered.system = observed.system
    left join measured on numbered.first_curve + clock_names.clock_number = measured.curve
    left join curves on numbered.first_curve + clock_names.clock_number = curves.curve
    left join contradicting on numbered.first_curve + clock_names.clock_number = contradicting.curve
),

final as (
    select
        {{ row_id([
            'slice', 'system', 'severity', 'service_name', 'team', 'category', 'resolution_method', 'month_on', 'clock'
        ]) }} as baseline_id,
        slice,
        system,
        severity,
        service_name,
        team,
        category,
        resolution_method,
        month_on,
        clock,
        n_incidents,
        n,
        n_open,
        n_incidents - n - n_open - n_inconsistent as n_unrecorded,
        n_inconsistent,
        n_zero,
        cast(median_minutes as double) as median_minutes,
        cast(median_low_minutes as double) as median_low_minutes,
        cast(median_high_minutes as double) as median_high_minutes,
        cast(p90_minutes as double) as p90_minutes,
        cast(geometric_mean_minutes as double) as geometric_mean_minutes,
        cast(mean_minutes as double) as mean_minutes,
        cast(longest_minutes as double) as longest_minutes,
        cast(longest_open_minutes as double) as longest_open_minutes,
        as_of_at,
        cast(observed_days as double) as observed_days,
        -- Of less than a week nobody knows what its other days are like.
        cast(
            case when observed_days >= 7 then n_incidents * 30.0 / observed_days end as double
        ) as incidents_per_30_days
    from joined
)

select *
from final
order by system, slice, severity, service_name, team, category, resolution_method, month_on, clock
