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

{# A timestamp of a zone's clocks as UTC; of an hour that clocks show twice, the engine chooses. #}
{% macro in_utc(timestamp, time_zone) -%}
    {{ return(adapter.dispatch('in_utc', 'hindcast')(timestamp, time_zone)) }}
{%- endmacro %}

{% macro duckdb__in_utc(timestamp, time_zone) -%}
    (({{ timestamp }} at time zone coalesce({{ time_zone }}, 'UTC')) at time zone 'UTC')
{%- endmacro %}

{% macro default__in_utc(timestamp, time_zone) -%}
    to_utc_timestamp({{ timestamp }}, coalesce({{ time_zone }}, 'UTC'))
{%- endmacro %}

{# Day-first text (29/2/2016 01:16, 29/Feb/16 1:16 AM) or the same with the year first, of a zone's clocks, or ISO 8601 text
   with a zone of its own, as a UTC timestamp; null when it is none of these. #}
{% macro local_timestamp(text, time_zone) -%}
    {{ return(adapter.dispatch('local_timestamp', 'hindcast')(text, time_zone)) }}
{%- endmacro %}

{% macro duckdb__local_timestamp(text, time_zone) -%}
    {%- set formats = [] -%}
    {%- for day in ['%d/%b/%y', '%d/%b/%Y', '%d/%m/%Y', '%Y-%m-%d'] -%}
        {%- for clock in ['%I:%M %p', '%H:%M', '%H:%M:%S'] %}{% do formats.append(day ~ ' ' ~ clock) %}{% endfor -%}
    {%- endfor -%}
    coalesce(
        {{ plausible_timestamp(duckdb__in_utc("try_strptime(trim(" ~ text ~ "), " ~ formats ~ ")", time_zone)) }},
        {{ duckdb__utc_timestamp(text) }}
    )
{%- endmacro %}

{% macro default__local_timestamp(text, time_zone) -%}
    coalesce(
        {%- for day in ['d/MMM/yy', 'd/MMM/yyyy', 'd/M/yyyy', 'yyyy-MM-dd'] %}
        {%- for clock in ['h:mm a', 'H:mm', 'H:mm:ss'] %}
        {{ plausible_timestamp(
            default__in_utc("try_to_timestamp(trim(" ~ text ~ "), '" ~ day ~ " " ~ clock ~ "')", time_zone)
        ) }},
        {%- endfor %}
        {%- endfor %}
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

{# The elements of the list at a path of a JSON column, as JSON; an empty list where there is no list. #}
{% macro json_elements(column, path) -%}
    {{ return(adapter.dispatch('json_elements', 'hindcast')(column, path)) }}
{%- endmacro %}

{% macro duckdb__json_elements(column, path) -%}
    json_extract({{ column }}, '$.{{ path }}[*]')
{%- endmacro %}

{% macro default__json_elements(column, path) -%}
    from_json(get_json_object({{ column }}, '$.{{ path }}'), 'array<string>')
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

{# Whole days from one date to another. #}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'hindcast')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{# A column for a select list: the whole numbers from 0 to that of another column, one row each. #}
{% macro each_number_to(last) -%}
    {{ return(adapter.dispatch('each_number_to', 'hindcast')(last)) }}
{%- endmacro %}

{% macro duckdb__each_number_to(last) -%}
    unnest(range({{ last }} + 1))
{%- endmacro %}

{% macro default__each_number_to(last) -%}
    explode(sequence(0, {{ last }}))
{%- endmacro %}
