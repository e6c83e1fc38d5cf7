{# Quantiles of durations of which some still run, after Kaplan and Meier (Nonparametric estimation from incomplete observations,
   JASA 53, 1958), by sets: one sort of all durations, then arithmetic on the few that still run.

   Between two that still run the curve falls by whole places: behind place i of N it is (N - i) / N times a weight that only
   those still running before i make, the product of (N - j + 1) / (N - j) over their places j. So the place at which a
   curve has come down to any height is computed and need not be looked for. #}

{# CTEs after a comma; `relation` has curve (bigint), seconds (bigint) and is_running (boolean: it lasts at least so long). The
   last CTE, `curves`, has a row a curve: median, p90, and the ends of the median's 95 % interval, in seconds.

   Where a curve is flat exactly at the height, the middle of the flat piece is taken, as R's survfit does; null where it
   does not come down so far. The interval turns the complementary log-log transformed Greenwood interval at the median
   back through the curve (Brookmeyer and Crowley, Biometrics 38, 1982, with the variance taken at the median). Within ends of
   the same length that is the place at which one after another would bring the curve to the half: the variance behind all of
   them belongs to a lower height, and with the half's logarithm would make intervals too wide. #}
{% macro kaplan_meier(relation) -%}
    -- One number for the sort: an end goes before one that still runs and is as long.
    ranked as (
        select
            curve,
            life,
            row_number() over (partition by curve order by life) as place
        from (
            select
                curve,
                seconds * 2 + case when is_running then 1 else 0 end as life
            from {{ relation }}
        ) as lives_in_order
    ),

    sizes as (
        select
            curve,
            max(place) as size,
            count(*) filter (where life % 2 = 0) as n_ended
        from ranked
        group by curve
    ),

    running as (
        select
            ranked.curve,
            ranked.place,
            sizes.size
        from ranked
        inner join sizes on ranked.curve = sizes.curve
        where ranked.life % 2 = 1 and sizes.n_ended > 0
    ),

    -- Decimals, because a sum of doubles depends on their order.
    stretches as (
        select
            curve,
            size,
            place as after_place,
            lead(place, 1, size + 1) over (partition by curve order by place) as before_place,
            exp(cast(sum(
                cast(case when place < size then ln((size - place + 1.0) / (size - place)) else 0 end as decimal(38, 18))
            ) over (partition by curve order by place rows unbounded preceding) as double)) as weight,
            cast(sum(
                cast(
                    case when place < size then 1.0 / (size - place) - 1.0 / (size - place + 1) else 0 end
                    as decimal(38, 18)
                )
            ) over (partition by curve order by place rows unbounded preceding) as double) as not_ended_variance
        from running

        union all

        select
            sizes.curve,
            sizes.size,
            0 as after_place,
            coalesce(min(running.place), sizes.size + 1) as before_place,
            1.0 as weight,
            0.0 as not_ended_variance
        from sizes
        left join running on sizes.curve = running.curve
        where sizes.n_ended > 0
        group by sizes.curve, sizes.size
    ),

    fixed_heights as (
        select curve, 'median' as point, 0.5 as height from sizes
        union all
        select curve, 'p90' as point, 0.1 as height from sizes
    ),

    {{ _kaplan_meier_points('fixed', 'fixed_heights') }},

    -- Of fewer than five ends an interval says nothing; behind the last place there is no variance.
    interval_widths as (
        select
            fixed_places.curve,
            1.959963984540054 * sqrt(greatest(
                1.0 / (fixed_places.size - fixed_places.reached) - 1.0 / fixed_places.size
                - fixed_places.not_ended_variance,
                0.0
            )) / ln(2.0) as width
        from fixed_places
        inner join sizes on fixed_places.curve = sizes.curve
        where fixed_places.point = 'median' and fixed_places.reached < fixed_places.size and sizes.n_ended >= 5
    ),

    interval_heights as (
        select curve, 'low' as point, pow(0.5, exp(-width)) as height from interval_widths
        union all
        select curve, 'high' as point, pow(0.5, exp(width)) as height from interval_widths
    ),

    {{ _kaplan_meier_points('interval', 'interval_heights') }},

    curves as (
        select
            curve,
            max(seconds) filter (where point = 'median') as median_seconds,
            max(seconds) filter (where point = 'low') as median_low_seconds,
            max(seconds) filter (where point = 'high') as median_high_seconds,
            max(seconds) filter (where point = 'p90') as p90_seconds
        from (
            select curve, point, seconds from fixed_points
            union all
            select curve, point, seconds from interval_points
        ) as points
        group by curve
    )
{%- endmacro %}

{# CTEs: for each curve, point and height of `heights`, the first place at which the curve is as low, the first at which it is
   lower, and the middle of their durations. A billionth is what rounding may do. #}
{% macro _kaplan_meier_points(prefix, heights) -%}
    {{ prefix }}_candidates as (
        select
            heights.curve,
            heights.point,
            stretches.size,
            stretches.not_ended_variance,
            stretches.before_place,
            greatest(
                stretches.after_place + 1,
                cast(ceil(stretches.size * (1 - (heights.height + 1e-9) / stretches.weight)) as bigint)
            ) as reached,
            greatest(
                stretches.after_place + 1,
                cast(floor(stretches.size * (1 - (heights.height - 1e-9) / stretches.weight)) as bigint) + 1
            ) as below
        from {{ heights }} as heights
        inner join stretches on heights.curve = stretches.curve
    ),

    {{ prefix }}_places as (
        select
            reached_first.curve,
            reached_first.point,
            reached_first.size,
            reached_first.not_ended_variance,
            reached_first.reached,
            below_first.below
        from (
            select *
            from {{ prefix }}_candidates
            where reached < before_place
            qualify row_number() over (partition by curve, point order by reached) = 1
        ) as reached_first
        left join (
            select
                curve,
                point,
                min(below) as below
            from {{ prefix }}_candidates
            where below < before_place
            group by curve, point
        ) as below_first
            on reached_first.curve = below_first.curve and reached_first.point = below_first.point
    ),

    {{ prefix }}_points as (
        select
            places.curve,
            places.point,
            -- Both ends of a flat piece, or the one that there is.
            cast(min(ranked.life) + max(ranked.life) as double) / 4 as seconds
        from {{ prefix }}_places as places
        inner join ranked
            on places.curve = ranked.curve and ranked.place in (places.reached, places.below)
        group by places.curve, places.point
    )
{%- endmacro %}
