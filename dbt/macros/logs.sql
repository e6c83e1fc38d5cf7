{# What tells one log record from another. #}

{# A number of 64 bits for the contents of some columns, nulls included. #}
{% macro content_hash(columns) -%}
    {{ return(adapter.dispatch('content_hash', 'hindcast')(columns)) }}
{%- endmacro %}

{% macro duckdb__content_hash(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}

{% macro default__content_hash(columns) -%}
    xxhash64({{ columns | join(', ') }})
{%- endmacro %}
