{# What DuckDB and Spark say differently, a dispatched macro each. Models hold no function that only one of them knows when
   one of these will do. #}

{# The exact quantile, interpolated between neighbours. #}
{% macro quantile(expression, fraction) -%}
    {{ return(adapter.dispatch('quantile', 'hindcast')(expression, fraction)) }}
{%- endmacro %}

{% macro duckdb__quantile(expression, fraction) -%}
    quantile_cont({{ expression }}, {{ fraction }})
{%- endmacro %}

{% macro default__quantile(expression, fraction) -%}
    percentile({{ expression }}, {{ fraction }})
{%- endmacro %}

{# The values that occur, each once, in order. #}
{% macro sorted_set(expression) -%}
    {{ return(adapter.dispatch('sorted_set', 'hindcast')(expression)) }}
{%- endmacro %}

{% macro duckdb__sorted_set(expression) -%}
    coalesce(list_sort(list(distinct {{ expression }}) filter (where {{ expression }} is not null)), [])
{%- endmacro %}

{% macro default__sorted_set(expression) -%}
    array_sort(collect_set({{ expression }}))
{%- endmacro %}

{# The time, or null when it is not between 2000 and 2100, as for whatever lands. Later ones, of which infinity is one, have no
   place among the nanoseconds of telemetry, and comparing them would stop the run. #}
{% macro plausible_timestamp(timestamp) -%}
    case when {{ timestamp }} >= timestamp '2000-01-01' and {{ timestamp }} < timestamp '2100-01-01' then {{ timestamp }} end
{%- endmacro %}

{# ISO 8601 text as a UTC timestamp; null when it is none. An offset counts; text without one is UTC. #}
{% macro utc_timestamp(text) -%}
    {{ return(adapter.dispatch('utc_timestamp', 'hindcast')(text)) }}
{%- endmacro %}

{% macro duckdb__utc_timestamp(text) -%}
    {{ plausible_timestamp("(try_cast(" ~ text ~ " as timestamptz) at time zone 'UTC')") }}
{%- endmacro %}

{% macro default__utc_timestamp(text) -%}
    {{ plausible_timestamp("try_to_timestamp(" ~ text ~ ")") }}
{%- endmacro %}

{# Day-first text (29/2/2016 01:16) or ISO 8601 text as a timestamp; null when it is neither. #}
{% macro day_first_timestamp(text) -%}
    {{ return(adapter.dispatch('day_first_timestamp', 'hindcast')(text)) }}
{%- endmacro %}

{% macro duckdb__day_first_timestamp(text) -%}
    coalesce(
        {{ plausible_timestamp("try_strptime(" ~ text ~ ", ['%d/%m/%Y %H:%M', '%d/%m/%Y %H:%M:%S'])") }},
        {{ duckdb__utc_timestamp(text) }}
    )
{%- endmacro %}

{% macro default__day_first_timestamp(text) -%}
    coalesce(
        {{ plausible_timestamp("try_to_timestamp(" ~ text ~ ", 'd/M/y HH:mm')") }},
        {{ plausible_timestamp("try_to_timestamp(" ~ text ~ ", 'd/M/y HH:mm:ss')") }},
        {{ default__utc_timestamp(text) }}
    )
{%- endmacro %}

{# The text at a path (keys without dots, joined by dots) of a JSON column; null when absent or null. #}
{% macro json_text(column, path) -%}
    {{ return(adapter.dispatch('json_text', 'hindcast')(column, path)) }}
{%- endmacro %}

{% macro duckdb__json_text(column, path) -%}
    json_extract_string({{ column }}, '$.{{ path }}')
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    get_json_object({{ column }}, '$.{{ path }}')
{%- endmacro %}

{# The texts at a path within the elements of a list of a JSON column; an empty list where there is no list. #}
{% macro json_texts(column, list_path, path) -%}
    {{ return(adapter.dispatch('json_texts', 'hindcast')(column, list_path, path)) }}
{%- endmacro %}

{% macro duckdb__json_texts(column, list_path, path) -%}
    json_extract_string({{ column }}, '$.{{ list_path }}[*].{{ path }}')
{%- endmacro %}

{% macro default__json_texts(column, list_path, path) -%}
    from_json(get_json_object({{ column }}, '$.{{ list_path }}[*].{{ path }}'), 'array<string>')
{%- endmacro %}

{# Nanoseconds from one timestamp to another. #}
{% macro nanoseconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('nanoseconds_between', 'hindcast')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__nanoseconds_between(earlier, later) -%}
    (epoch_ns({{ later }}) - epoch_ns({{ earlier }}))
{%- endmacro %}

{% macro default__nanoseconds_between(earlier, later) -%}
    ((unix_micros({{ later }}) - unix_micros({{ earlier }})) * 1000)
{%- endmacro %}

{# Whole seconds from one timestamp to another. #}
{% macro seconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('seconds_between', 'hindcast')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__seconds_between(earlier, later) -%}
    ((epoch_us({{ later }}) - epoch_us({{ earlier }})) // 1000000)
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    (unix_seconds({{ later }}) - unix_seconds({{ earlier }}))
{%- endmacro %}

{# A timestamp to the microsecond, as incidents have, from one of telemetry. DuckDB's own casts round, and so move the last half
   microsecond of a day into the next. #}
{% macro to_microseconds(timestamp) -%}
    {{ return(adapter.dispatch('to_microseconds', 'hindcast')(timestamp)) }}
{%- endmacro %}

{% macro duckdb__to_microseconds(timestamp) -%}
    make_timestamp(epoch_ns({{ timestamp }}) // 1000)
{%- endmacro %}

{% macro default__to_microseconds(timestamp) -%}
    {{ timestamp }}
{%- endmacro %}

{# The number, or null where it is infinite or no number (what Prometheus gives for a quotient of nothing by nothing). #}
{% macro finite(value) -%}
    {{ return(adapter.dispatch('finite', 'hindcast')(value)) }}
{%- endmacro %}

{% macro duckdb__finite(value) -%}
    case when isfinite({{ value }}) then {{ value }} end
{%- endmacro %}

{% macro default__finite(value) -%}
    case when not isnan({{ value }}) and abs({{ value }}) < double('inf') then {{ value }} end
{%- endmacro %}

{# The UTC day of a timestamp of telemetry. #}
{% macro utc_day(timestamp) -%}
    cast({{ to_microseconds(timestamp) }} as date)
{%- endmacro %}

{# The minute of a timestamp of telemetry. #}
{% macro utc_minute(timestamp) -%}
    date_trunc('minute', {{ to_microseconds(timestamp) }})
{%- endmacro %}
