{# What incidents of several systems have in common. #}

{# The columns of `int_incidents` that every system has: texts, then each clock with its source.
   clocks: clock -> (column, SQL of its source); a clock that is not there is null, as is its source.
   texts: name -> SQL, when it is no column of that name; none for what the system does not say. #}
{% macro incident_columns(system, clocks, texts) -%}
        incident_id,
        '{{ system }}' as system,
        {% for name in ['title', 'severity', 'severity_as_sent', 'service_name', 'team', 'category', 'resolution_method'] -%}
        {% if name not in texts %}{{ name }}
        {%- elif texts[name] is none %}cast(null as varchar) as {{ name }}
        {%- else %}{{ texts[name] }} as {{ name }}
        {%- endif %},
        {% endfor -%}
        {% for clock in [
            'started_at', 'detected_at', 'acknowledged_at', 'mitigated_at', 'resolved_at', 'closed_at', 'reopened_at'
        ] -%}
        {% if clock in clocks -%}
        {% set column, source = clocks[clock] -%}
        {{ column }}{{ ' as ' ~ clock if column != clock }},
        case when {{ column }} is not null then {{ source }} end as {{ clock }}_source
        {%- else -%}
        cast(null as timestamp) as {{ clock }},
        cast(null as varchar) as {{ clock }}_source
        {%- endif %}{{ ',' if not loop.last }}
        {% endfor -%}
{%- endmacro %}

{# What a ticket's status means, by the policy's spellings: acknowledged, mitigated, resolved or closed; null when they have
   it not. #}
{% macro status_meaning(column) -%}
    case
        {%- for meaning, spellings in var('ticket_statuses').items() if spellings %}
        when {{ is_one_of('lower(trim(' ~ column ~ '))', spellings) }} then '{{ meaning }}'
        {%- endfor %}
        {# A policy may name none. #}
        when false then ''
    end
{%- endmacro %}

{# Loads with the zone of their files' times, where these name none. #}
{% macro load_time_zones() -%}
    select
        load_id,
        coalesce({{ json_text('reading', 'time_zone') }}, 'UTC') as time_zone
    from {{ source('audit', 'loads') }}
{%- endmacro %}
