{%- set control = var('kpis')['control'] %}

with kpis as (
    select * from {{ ref('mart_kpis') }}
),

-- Durations are charted as logarithms: as minutes their limits would lie below zero. What is 0 has no logarithm.
charted as (
    select
        *,
        unit = 'minutes' as is_logarithmic,
        case when unit = 'minutes' then ln(nullif(greatest(value, 0), 0)) else value end as charted
    from kpis
),

placed as (
    select
        *,
        is_whole and charted is not null as is_usable,
        case
            when is_whole and charted is not null
                then count(*) filter (where is_whole and charted is not null) over so_far
        end as place
    from charted
    window so_far as (partition by kpi, system order by period_on rows unbounded preceding)
),

moved as (
    select
        kpi,
        system,
        charted,
        abs(charted - lag(charted) over (partition by kpi, system order by period_on)) as moving_range
    from placed
    where is_usable and place <= {{ control['baseline_periods'] }}
),

-- Decimals, because a sum of doubles depends on the order of threads.
limits as (
    select
        kpi,
        system,
        count(*) as n_baseline_periods,
        cast(sum(cast(charted as decimal(30, 15))) as double) / count(*) as centre,
        cast(sum(cast(moving_range as decimal(30, 15))) as double) / nullif(count(moving_range), 0) as moving_range
    from moved
    group by kpi, system
),

-- 2.66 is 3 / 1.128, the factor of an individuals chart (Montgomery, Introduction to Statistical Quality Control,
-- chapter 6).
bounded as (
    select
        placed.*,
        coalesce(limits.n_baseline_periods, 0) as n_baseline_periods,
        coalesce(placed.is_usable and placed.place <= {{ control['baseline_periods'] }}, false) as is_baseline,
        case when limits.n_baseline_periods >= {{ control['minimum_periods'] }} then limits.centre end as centre,
        case
            when limits.n_baseline_periods >= {{ control['minimum_periods'] }}
                then limits.centre - 2.66 * limits.moving_range
        end as lower_limit,
        case
            when limits.n_baseline_periods >= {{ control['minimum_periods'] }}
                then limits.centre + 2.66 * limits.moving_range
        end as upper_limit
    from placed
    left join limits on placed.kpi = limits.kpi and placed.system = limits.system
),

-- A billionth is what rounding may do: a KPI that never moves would lie beside its own centre.
judged as (
    select
        *,
        case
            when not is_usable or centre is null then null
            when charted > upper_limit + 1e-9 then 'above'
            when charted < lower_limit - 1e-9 then 'below'
            else 'within'
        end as position
    from bounded
),

final as (
    select
        {{ row_id(["'alert'", 'kpi_id']) }} as alert_id,
        kpi_id,
        kpi,
        system,
        period,
        period_on,
        unit,
        direction,
        value,
        n,
        n_open,
        is_whole,
        is_baseline,
        n_baseline_periods,
        is_logarithmic,
        {% for bound in ['centre', 'lower_limit', 'upper_limit'] -%}
        case
            when is_logarithmic then exp({{ bound }})
            when unit = 'share' and {{ bound }} is not null then least(greatest({{ bound }}, 0), 1)
            else {{ bound }}
        end as {{ bound }},
        {% endfor -%}
        position,
        coalesce(position = case when direction = 'at most' then 'above' else 'below' end, false) as is_alert,
        case
            when charted is null then 'no value'
            when not is_whole then 'period not whole'
            when centre is null then 'fewer than {{ control['minimum_periods'] }} whole periods'
        end as reason
    from judged
)

select *
from final
order by kpi, system, period_on
