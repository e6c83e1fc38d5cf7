{# The window [replay_from, replay_until) of event days, none before first_day: predicates, and the deletions that make
   re-staging idempotent. #}

{# An ISO date of a variable as a SQL literal. A value that is no date stops the run here and never reaches SQL. #}
{% macro replay_day(variable) -%}
    {%- set value = var(variable, none) -%}
    {%- if value is not none and not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', value | string) -%}
        {{ exceptions.raise_compiler_error(
            "variable " ~ variable ~ " is '" ~ value ~ "': give a date such as 2023-01-29") }}
    {%- endif -%}
    {{ return("date '" ~ value ~ "'" if value is not none else none) }}
{%- endmacro %}

{# True from the project's first day on; `true` when it has none. What happened before has landed, and is staged by no run:
   neither by one of some days nor by one of all. #}
{% macro since_first_day(day) -%}
    {%- set first = replay_day('first_day') -%}
    {{ return('(' ~ day ~ ' >= ' ~ first ~ ')' if first else 'true') }}
{%- endmacro %}

{# True for days of the window that are not before the first day; `true` when there is no window and no first day. #}
{% macro in_replay_window(day) -%}
    {%- set first = replay_day('first_day') -%}
    {%- set from = replay_day('replay_from') -%}
    {%- set until = replay_day('replay_until') -%}
    {%- set bounds = [] -%}
    {%- if first %}{% do bounds.append(day ~ ' >= ' ~ first) %}{% endif -%}
    {%- if from %}{% do bounds.append(day ~ ' >= ' ~ from) %}{% endif -%}
    {%- if until %}{% do bounds.append(day ~ ' < ' ~ until) %}{% endif -%}
    {{ return('(' ~ (bounds | join(' and ') or 'true') ~ ')') }}
{%- endmacro %}

{% macro has_replay_window() -%}
    {{ return(replay_day('replay_from') is not none or replay_day('replay_until') is not none) }}
{%- endmacro %}

{# True for traces with a span in the window, or a log line when `logs` is given, or with a record there that is gone;
   `true` when there is no window. #}
{% macro touches_replay_window(spans, logs=none) -%}
    {%- if not has_replay_window() -%}
        {{ return('true') }}
    {%- endif -%}
    trace_id in (
        select trace_id from {{ spans }} where {{ in_replay_window('started_on') }}
        {%- if logs %}
        union
        select trace_id from {{ logs }} where trace_id is not null and {{ in_replay_window('occurred_on') }}
        {%- endif %}
        union
        select trace_id from audit.vanished_traces where trace_id is not null
    )
{%- endmacro %}

{# Pre-hook: the rows of the window go, in the transaction in which they come back. #}
{% macro delete_replay_window(day) -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ in_replay_window(day) }}
    {%- endif -%}
{%- endmacro %}

{# Pre-hook: the rows of touched traces go, in the transaction in which they come back. #}
{% macro delete_touched_traces(spans, logs=none) -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ touches_replay_window(spans, logs) }}
    {%- endif -%}
{%- endmacro %}

{# What was sent, without the place where it stood and without what is made of it. #}
{% macro sent_columns() -%}
    {%- set names = adapter.get_columns_in_relation(this) | map(attribute='name') | list -%}
    {%- set made = ['load_id', 'line', 'record'] -%}
    {%- set sent = [] -%}
    {%- for name in names if name not in made and not name.startswith('attr__') -%}
        {%- do sent.append(adapter.quote(name)) -%}
    {%- endfor -%}
    {{ return(sent | join(', ')) }}
{%- endmacro %}

{# Pre-hook, before the rows of the window go: put them aside, to see afterwards which did not come back. #}
{% macro put_staged_aside(day) -%}
    {%- if is_incremental() and has_replay_window() -%}
        create or replace temp table staged_before as
        select {{ sent_columns() }} from {{ this }} where {{ in_replay_window(day) }}
    {%- endif -%}
{%- endmacro %}

{# Post-hook, in the same transaction: the traces of records that are gone, or are others now. Most often a load that
   gave way to another. What was judged of them has to be judged again, though nothing of them may be left to say so. #}
{% macro note_vanished_traces(day) -%}
    {%- if is_incremental() and has_replay_window() -%}
        insert into audit.vanished_traces
        select distinct trace_id from (
            select {{ sent_columns() }} from temp.main.staged_before
            except
            select {{ sent_columns() }} from {{ this }} where {{ in_replay_window(day) }}
        ) as vanished
    {%- endif -%}
{%- endmacro %}
