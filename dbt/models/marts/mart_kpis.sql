{%- set kpis = var('kpis') %}
{%- set durations = {'mttr': 'resolve', 'mtta': 'acknowledge'} %}
{%- set period = kpis['period'] %}

with incidents as (
    select
        *,
        cast(date_trunc('{{ period }}', started_at) as date) as period_on
    from {{ ref('int_incident_durations') }}
    where started_at is not null
),

systems as (
    select
        system,
        min(observed_from_at) as observed_from_at,
        max(as_of_at) as as_of_at
    from incidents
    group by system
),

numbered as (
    select
        system,
        period_on,
        row_number() over (order by system, period_on) * {{ durations | length }} as first_curve
    from incidents
    group by system, period_on
),

lives as (
    {%- for kpi, clock in durations.items() %}
    select
        numbered.first_curve + {{ loop.index0 }} as curve,
        coalesce(incidents.{{ clock }}_seconds, incidents.{{ clock }}_open_seconds) as seconds,
        incidents.{{ clock }}_seconds is null as is_running
    from incidents
    inner join numbered on incidents.system = numbered.system and incidents.period_on = numbered.period_on
    where
        (incidents.{{ clock }}_seconds is not null or incidents.{{ clock }}_open_seconds is not null)
        and {{ is_one_of('incidents.severity', kpis[kpi]['severities']) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

{{ kaplan_meier('lives') }},

-- Logarithms are summed as decimals: a sum of doubles would depend on the order of threads.
averages as (
    select
        curve,
        count(*) filter (where not is_running) as n,
        count(*) filter (where is_running) as n_open,
        cast(sum(seconds) filter (where not is_running) as double)
        / nullif(count(*) filter (where not is_running), 0) as mean_seconds,
        round(exp(cast(
            sum(cast(ln(nullif(seconds, 0)) as decimal(18, 15))) filter (where not is_running) as double
        ) / nullif(count(nullif(seconds, 0)) filter (where not is_running), 0)), 9) as geometric_mean_seconds
    from lives
    group by curve
),

timed as (
    {%- for kpi, clock in durations.items() %}
    select
        '{{ kpi }}' as kpi,
        numbered.system,
        numbered.period_on,
        {{ {
            'median': 'curves.median_seconds', 'mean': 'averages.mean_seconds',
            'geometric_mean': 'averages.geometric_mean_seconds'
        }[kpis[kpi]['statistic']] }} / 60.0 as value,
        coalesce(averages.n, 0) as n,
        cast(null as bigint) as n_counted,
        coalesce(averages.n_open, 0) as n_open
    from numbered
    left join averages on numbered.first_curve + {{ loop.index0 }} = averages.curve
    left join curves on numbered.first_curve + {{ loop.index0 }} = curves.curve
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

repeats as (
    select
        system,
        period_on,
        lag(started_at) over (
            partition by system, {{ kpis['repeat_incidents']['same'] | join(', ') }}
            order by started_at, incident_id
        ) >= started_at - interval {{ kpis['repeat_incidents']['within_days'] }} day as is_repeat
    from incidents
    where {{ are_present(kpis['repeat_incidents']['same']) }}
),

judged as (
    select
        'repeat_incidents' as kpi,
        system,
        period_on,
        count(*) as n,
        count(*) filter (where is_repeat) as n_counted,
        0 as n_open
    from repeats
    group by system, period_on

    union all

    -- Of one that is still open the papers need not be complete.
    select
        'documentation_complete' as kpi,
        system,
        period_on,
        count(*) as n,
        count(*) filter (where {{ are_present(kpis['documentation_complete']['fields']) }}) as n_counted,
        0 as n_open
    from incidents
    where not is_open
    group by system, period_on
),

scored as (
    select
        'satisfaction' as kpi,
        system,
        period_on,
        cast(sum(cast(satisfaction as decimal(18, 6))) as double) / count(*) as value,
        count(*) as n,
        cast(null as bigint) as n_counted,
        0 as n_open
    from incidents
    where satisfaction is not null
    group by system, period_on
),

valued as (
    select * from timed
    union all
    select
        kpi,
        system,
        period_on,
        cast(n_counted as double) / n as value,
        n,
        n_counted,
        n_open
    from judged
    union all
    select * from scored
),

{%- set bounds = {
    'mttr': ('minutes', 'at most'), 'mtta': ('minutes', 'at most'), 'repeat_incidents': ('share', 'at most'),
    'documentation_complete': ('share', 'at least'), 'satisfaction': ('score', 'at least'),
} %}

targets as (
    {%- for kpi, (unit, direction) in bounds.items() %}
    select
        '{{ kpi }}' as kpi,
        '{{ unit }}' as unit,
        '{{ direction }}' as direction,
        {{ text_literal(kpis[kpi].get('statistic', {'share': 'share', 'score': 'mean'}.get(unit))) }} as statistic,
        {{ number_literal(kpis[kpi]['target']) }} as target,
        {{ text_literal(kpis[kpi]['basis']) }} as target_basis,
        {{ text_literal(kpis[kpi]['source']) }} as target_source
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        {{ row_id(['valued.kpi', 'valued.system', "'" ~ period ~ "'", 'valued.period_on']) }} as kpi_id,
        valued.kpi,
        valued.system,
        '{{ period }}' as period,
        valued.period_on,
        valued.period_on >= systems.observed_from_at
        and valued.period_on + interval 1 {{ period }} <= systems.as_of_at as is_whole,
        targets.statistic,
        targets.unit,
        cast(valued.value as double) as value,
        targets.direction,
        targets.target,
        targets.target_basis,
        targets.target_source,
        case
            when targets.direction = 'at most' then valued.value <= targets.target else valued.value >= targets.target
        end as is_met,
        valued.n,
        valued.n_counted,
        valued.n_open,
        case
            when valued.value is not null then null
            when valued.n + valued.n_open = 0 then 'nothing measured'
            when valued.n = 0 then 'all still open'
            else 'too many still open'
        end as reason
    from valued
    inner join targets on valued.kpi = targets.kpi
    inner join systems on valued.system = systems.system
)

select *
from final
order by kpi, system, period_on
