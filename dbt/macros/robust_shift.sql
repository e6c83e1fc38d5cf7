{# How far a median moved, in robust standard deviations of the baseline. #}

{# |incident median - baseline median| / max(IQR / 1.35, floor * |baseline median|).

   IQR / 1.35 is the standard deviation when values are normal. Where a baseline is constantly zero there is no scale at all: the
   incident's own median takes the baseline's place under the floor, which caps such a shift at 1 / floor. Null without
   a baseline. #}
{% macro robust_shift(baseline_median, baseline_iqr, incident_median) -%}
    {%- set floor = var('shift_scale_floor') -%}
    case
        when {{ incident_median }} = {{ baseline_median }} then 0.0
        else abs({{ incident_median }} - {{ baseline_median }}) / coalesce(
            nullif(greatest({{ baseline_iqr }} / 1.35, {{ floor }} * abs({{ baseline_median }})), 0.0),
            {{ floor }} * abs({{ incident_median }})
        )
    end
{%- endmacro %}

{# How far a count lies from what was expected, in standard deviations: 2 (sqrt(k + 3/8) - sqrt(E + 3/8)) without its sign, for
   a Poisson count (F. J. Anscombe, The transformation of Poisson, binomial and negative-binomial data, Biometrika 35, 1948). #}
{% macro count_shift(count, expected) -%}
    abs(2 * (sqrt({{ count }} + 0.375) - sqrt({{ expected }} + 0.375)))
{%- endmacro %}
