{# Ids of rows that are made of what the row is about, so that a number on a page can be found in its mart again. #}

{# The same id for the same texts, night after night: MD5 of the columns, the unit separator between them, and a text of its own
   for null. #}
{% macro row_id(columns) -%}
    md5(concat_ws(chr(31){% for column in columns %}, coalesce(cast({{ column }} as varchar), chr(30)){% endfor %}))
{%- endmacro %}

{# A text of the configuration as an SQL literal; null for none. #}
{% macro text_literal(value) -%}
    {%- if value is none -%}
        cast(null as varchar)
    {%- else -%}
        '{{ value | string | replace("'", "''") }}'
    {%- endif -%}
{%- endmacro %}

{# A number of the configuration as a double; null for none. #}
{% macro number_literal(value) -%}
    cast({{ 'null' if value is none else value }} as double)
{%- endmacro %}
