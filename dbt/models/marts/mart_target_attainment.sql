{%- set clocks = ['detect', 'acknowledge', 'mitigate', 'resolve', 'close'] %}
{%- set targets = var('response_targets') %}

with incidents as (
    select * from {{ ref('int_incident_durations') }}
),

targets as (
    {%- for severity, minutes in targets['minutes'].items() %}
    {%- for clock in clocks if minutes.get(clock) is not none %}
    select
        '{{ severity }}' as severity,
        '{{ clock }}' as clock,
        {{ minutes[clock] }} as target_minutes
    union all
    {%- endfor %}
    {%- endfor %}
    select
        cast(null as varchar) as severity,
        cast(null as varchar) as clock,
        cast(null as integer) as target_minutes
    where false
),

clocked as (
    {%- for clock in clocks %}
    select
        system,
        severity,
        month_on,
        '{{ clock }}' as clock,
        {{ clock }}_seconds as seconds,
        {{ clock }}_open_seconds as open_seconds
    from incidents
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

judged as (
    select
        clocked.system,
        clocked.severity,
        clocked.month_on,
        clocked.clock,
        targets.target_minutes,
        case
            when clocked.seconds <= targets.target_minutes * 60 then 'met'
            when clocked.seconds > targets.target_minutes * 60 then 'missed'
            when clocked.open_seconds > targets.target_minutes * 60 then 'missed open'
            when clocked.open_seconds is not null then 'not due'
            else 'unknown'
        end as outcome
    from clocked
    inner join targets on clocked.severity = targets.severity and clocked.clock = targets.clock
),

counted as (
    {%- for month in ['cast(null as date)', 'month_on'] %}
    select
        {{ "'all'" if loop.first else "'month'" }} as slice,
        system,
        severity,
        {{ month }} as month_on,
        clock,
        target_minutes,
        count(*) as n_incidents,
        count(*) filter (where outcome = 'met') as n_met,
        count(*) filter (where outcome in ('missed', 'missed open')) as n_missed,
        count(*) filter (where outcome = 'missed open') as n_missed_open,
        count(*) filter (where outcome = 'not due') as n_not_due,
        count(*) filter (where outcome = 'unknown') as n_unknown
    from judged
    {{ 'where month_on is not null' if not loop.first }}
    group by system, severity, clock, target_minutes{{ ', month_on' if not loop.first }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

shared as (
    select
        *,
        n_met + n_missed as n,
        cast(n_met as double) / nullif(n_met + n_missed, 0) as share_met
    from counted
),

final as (
    select
        {{ row_id(['slice', 'system', 'severity', 'month_on', 'clock']) }} as attainment_id,
        slice,
        system,
        severity,
        month_on,
        clock,
        cast(target_minutes as double) as target_minutes,
        {{ number_literal(targets['required_share']) }} as required_share,
        {{ text_literal(targets['basis']) }} as target_basis,
        {{ text_literal(targets['source']) }} as target_source,
        n_incidents,
        n,
        n_met,
        n_missed,
        n_missed_open,
        n_not_due,
        n_unknown,
        share_met,
        share_met >= {{ targets['required_share'] }} as is_attained
    from shared
)

select *
from final
order by slice, system, severity, month_on, clock
