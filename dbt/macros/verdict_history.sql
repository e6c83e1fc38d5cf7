{# The history of verdicts, audit.verdict_history: what plan groups write into it, and what goes when a plan group goes. #}

{# The columns of a verdict that history keeps. #}
{% macro verdict_columns() -%}
    violation_id, rule_id, meaning_hash, scope_kind, scope_key, trace_ids, verdict, reason, first_span_at, last_span_at,
    started_on, service_names, service_versions, witness, reported
{%- endmacro %}

{# The number that the replay will have in audit.replays when it is finished; the same when it is killed and run again. #}
{% macro replay_in_progress() -%}
    (select coalesce(max(replay_id), 0) + 1 from audit.replays)
{%- endmacro %}

{# Post-hook of fct_verdicts: plan groups whose last rule is gone. Their verdicts go into the history. #}
{% macro forget_gone_plan_groups() -%}
    {%- if execute -%}
    {%- set listed = run_query(
        "select table_name from information_schema.tables where table_schema = '" ~ this.schema ~ "'"
        ~ " and table_catalog = current_database() and table_name like 'verdicts\\_\\_%' escape '\\'"
        ~ " and table_name not like '%\\_\\_dbt\\_%' escape '\\'"
    ).columns[0].values() -%}
    {%- for name in listed if name not in plan_groups() %}
    {%- set gone = api.Relation.create(database=this.database, schema=this.schema, identifier=name) %}
    insert into audit.verdict_history by name
    select 'superseded' as change, {{ replay_in_progress() }} as replay_id, now()::timestamp as changed_at,
        {{ verdict_columns() }}, 'rule changed' as cause
    from {{ gone }};
    drop table {{ gone }};
    {%- endfor %}
    delete from audit.judged_rules
    where model like 'verdicts\_\_%' escape '\' and model not in ({% for name in plan_groups() %}'{{ name }}', {% endfor %}'')
    {%- endif -%}
{%- endmacro %}
