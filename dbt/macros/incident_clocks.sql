{# The clocks of an incident, in one place: which event starts each, which ends it, when one is still running. #}

{# Name -> `start` and `end` (a time of `int_incident_durations`), their events, and `without_start`: why there is no
   duration where the start is missing. Every clock but response and up_time starts with the incident. #}
{% macro incident_clocks() -%}
    {%- set begins = {'start': 'started_at', 'start_event': 'incident started', 'without_start': 'no start'} -%}
    {{ return({
        'detect': dict(begins, end='detected_at', end_event='detected'),
        'acknowledge': dict(begins, end='acknowledged_at', end_event='acknowledged'),
        'mitigate': dict(begins, end='mitigated_at', end_event='mitigated'),
        'resolve': dict(begins, end='resolved_at', end_event='resolved'),
        'close': dict(begins, end='closed_at', end_event='closed'),
        'impact': dict(begins, end='impact_ended_at', end_event='effect ended'),
        'response': {
            'start': 'acknowledged_at', 'start_event': 'acknowledged', 'without_start': 'never acknowledged',
            'end': 'resolved_at', 'end_event': 'resolved'
        },
        'between_failures': dict(begins, end='next_started_at', end_event='next incident of the service started'),
        'up_time': {
            'start': 'resolved_at', 'start_event': 'resolved', 'without_start': 'not resolved',
            'end': 'next_started_at', 'end_event': 'next incident of the service started'
        },
    }) }}
{%- endmacro %}

{# Whether a clock that has started and not ended still runs. A clock that its system never records does not, nor does one that
   a later event of the same incident has passed. #}
{% macro clock_is_running(clock) -%}
    {{ return({
        'detect': 'is_open and records_detected_at and coalesce(acknowledged_at, mitigated_at) is null',
        'acknowledge': 'is_open and records_acknowledged_at and mitigated_at is null',
        'mitigate': 'is_open and records_mitigated_at',
        'resolve': 'is_open',
        'close': '(is_open or resolved_at is not null) and records_closed_at',
        'impact': 'is_open',
        'response': 'is_open',
        'between_failures': 'true',
        'up_time': 'true',
    }[clock]) }}
{%- endmacro %}

{# Why a clock of `int_incident_durations` has no duration; null when it has one. #}
{% macro clock_reason(clock) -%}
    {%- set it = incident_clocks()[clock] -%}
    case
        {%- if it.end == 'next_started_at' %}
        when service_name is null then 'no service named'
        {%- endif %}
        when {{ it.start }} is null then '{{ it.without_start }}'
        {%- if it.start != 'started_at' %}
        when {{ it.start }} < started_at then 'ends before it begins'
        {%- endif %}
        when {{ it.end }} < {{ it.start }} then '{{
            'the next began before its end' if clock == 'up_time' else 'ends before it begins'
        }}'
        when {{ it.end }} >= {{ it.start }} then null
        when {{ clock_is_running(clock) }} then 'open'
        {%- if clock in ['resolve', 'impact', 'response'] %}
        when closed_at is not null then 'closed, never resolved'
        {%- endif %}
        else 'not recorded'
    end
{%- endmacro %}

{# Whether an incident of `int_incidents` says from when until when its system is watched. One whose clocks contradict each other
   does not: one typing error in a year would stretch every rate and age any open incident. A missing end contradicts
   nothing. #}
{% macro has_consistent_clocks(clock_problem) -%}
    coalesce({{ clock_problem }}, '') in ('', 'closed, never resolved', 'over, no time of it')
{%- endmacro %}
