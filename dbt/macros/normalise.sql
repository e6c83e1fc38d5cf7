{# Words of the outside world as the words used here. #}

{# OTLP's SpanKind. #}
{% macro span_kind(column) -%}
    case {{ column }}
        when 1 then 'internal'
        when 2 then 'server'
        when 3 then 'client'
        when 4 then 'producer'
        when 5 then 'consumer'
        else 'unspecified'
    end
{%- endmacro %}

{# OTLP's StatusCode. #}
{% macro status_code(column) -%}
    case {{ column }} when 1 then 'ok' when 2 then 'error' else 'unset' end
{%- endmacro %}

{# P1 (worst) to P5 of whatever a system calls its priorities: the policy's spellings, or text that begins with a level (P2,
   SEV-2, "3 - Moderate", 4). Null when it says none of these. #}
{% macro severity_level(column) -%}
    case
        {%- for level, aliases in var('severity_aliases').items() if aliases %}
        when {{ is_one_of('lower(trim(' ~ column ~ '))', aliases) }} then '{{ level }}'
        {%- endfor %}
        when regexp_matches(lower(trim({{ column }})), '^(p|sev|s|severity)?[ -]*[1-5]([^0-9].*)?$')
            then 'P' || regexp_extract({{ column }}, '[1-5]')
    end
{%- endmacro %}

{# True when the column holds one of `values`, a list of texts. #}
{% macro is_one_of(column, values) -%}
    {%- set quoted = [] -%}
    {%- for value in values %}{% do quoted.append("'" ~ (value | replace("'", "''")) ~ "'") %}{% endfor -%}
    {{ column }} in ({{ quoted | join(', ') }})
{%- endmacro %}

{# True when no column of the list is null; of an empty list always. #}
{% macro are_present(columns) -%}
    {%- for column in columns -%}
        {{ column }} is not null{{ ' and ' if not loop.last }}
    {%- else -%}
        true
    {%- endfor -%}
{%- endmacro %}

{# The unit at the end of a metric's name, as Prometheus has it; null when there is none. #}
{% macro metric_unit(column) -%}
    case
        when {{ column }} like '%milliseconds' or {{ column }} like '%\_ms' escape '\' then 'ms'
        when {{ column }} like '%\_seconds' escape '\' or {{ column }} like '%\_s' escape '\' then 's'
        when {{ column }} like '%\_percent' escape '\' then '%'
        when {{ column }} like '%\_ratio' escape '\' then 'ratio'
        when {{ column }} like '%bytes' then 'bytes'
        when {{ column }} like '%\_mi' escape '\' then 'MiB'
        when {{ column }} like '%\_m' escape '\' then 'millicores'
        when {{ column }} like '%\_ops' escape '\' then 'operations/s'
    end
{%- endmacro %}
