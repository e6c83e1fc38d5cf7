{# Lists inside a JSON column: as rows, one an element, and the members of objects, whose names may hold dots. #}

{# A JSON list as a list of JSON values. #}
{% macro json_list_items(column) -%}
    {{ return(adapter.dispatch('json_list_items', 'hindcast')(column)) }}
{%- endmacro %}

{% macro duckdb__json_list_items(column) -%}
    json_transform({{ column }}, '["JSON"]')
{%- endmacro %}

{% macro default__json_list_items(column) -%}
    from_json({{ column }}, 'array<string>')
{%- endmacro %}

{# Two columns for a select list: each element of a list, and its place from 0; one row an element. #}
{% macro each_element(list, element, place) -%}
    {{ return(adapter.dispatch('each_element', 'hindcast')(list, element, place)) }}
{%- endmacro %}

{% macro duckdb__each_element(list, element, place) -%}
    unnest({{ list }}) as {{ element }}, generate_subscripts({{ list }}, 1) - 1 as {{ place }}
{%- endmacro %}

{% macro default__each_element(list, element, place) -%}
    posexplode({{ list }}) as ({{ place }}, {{ element }})
{%- endmacro %}

{# The text of an object's member, whose name may hold dots; null when it is absent or null. #}
{% macro json_member(column, name) -%}
    {{ return(adapter.dispatch('json_member', 'hindcast')(column, name)) }}
{%- endmacro %}

{% macro duckdb__json_member(column, name) -%}
    json_extract_string({{ column }}, '/{{ name | replace('~', '~0') | replace('/', '~1') }}')
{%- endmacro %}

{% macro default__json_member(column, name) -%}
    get_json_object({{ column }}, "$['{{ name }}']")
{%- endmacro %}

{# An object's member as JSON; null when it is absent. #}
{% macro json_part(column, name) -%}
    {{ return(adapter.dispatch('json_part', 'hindcast')(column, name)) }}
{%- endmacro %}

{% macro duckdb__json_part(column, name) -%}
    json_extract({{ column }}, '/{{ name | replace('~', '~0') | replace('/', '~1') }}')
{%- endmacro %}

{% macro default__json_part(column, name) -%}
    get_json_object({{ column }}, "$['{{ name }}']")
{%- endmacro %}

{# Nanoseconds since 1970, as digits, as a timestamp; null when they are none or lie outside of 2000 to 2100. #}
{% macro unix_nano_timestamp(digits) -%}
    {{ return(adapter.dispatch('unix_nano_timestamp', 'hindcast')(digits)) }}
{%- endmacro %}

{% macro duckdb__unix_nano_timestamp(digits) -%}
    {%- set number = 'try_cast(' ~ digits ~ ' as bigint)' -%}
    case
        when {{ number }} >= 946684800000000000 and {{ number }} < 4102444800000000000 then make_timestamp_ns({{ number }})
    end
{%- endmacro %}

{% macro default__unix_nano_timestamp(digits) -%}
    {{ plausible_timestamp("timestamp_micros(try_cast(" ~ digits ~ " as bigint) div 1000)") }}
{%- endmacro %}

{# Hexadecimal digits as the ids of traces and of spans; null when there are not exactly as many as an id has. #}
{% macro hex_trace_id(text) -%}
    {{ return(adapter.dispatch('hex_trace_id', 'hindcast')(text)) }}
{%- endmacro %}

{% macro duckdb__hex_trace_id(text) -%}
    case when regexp_full_match({{ text }}, '[0-9a-fA-F]{32}') then try_cast({{ text }} as uuid) end
{%- endmacro %}

{% macro default__hex_trace_id(text) -%}
    case when {{ text }} rlike '^[0-9a-fA-F]{32}$' then lower({{ text }}) end
{%- endmacro %}

{% macro hex_span_id(text) -%}
    {{ return(adapter.dispatch('hex_span_id', 'hindcast')(text)) }}
{%- endmacro %}

{% macro duckdb__hex_span_id(text) -%}
    case when regexp_full_match({{ text }}, '[0-9a-fA-F]{16}') then cast('0x' || {{ text }} as ubigint) end
{%- endmacro %}

{% macro default__hex_span_id(text) -%}
    case when {{ text }} rlike '^[0-9a-fA-F]{16}$' then cast(conv({{ text }}, 16, 10) as decimal(20, 0)) end
{%- endmacro %}
