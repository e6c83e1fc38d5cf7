{# What changes of several systems have in common: lists of texts, Unix times, and versions that can be compared. #}

{# The texts of a list of texts at a path of a JSON column; an empty list where there is none. #}
{% macro json_text_list(column, path) -%}
    {{ return(adapter.dispatch('json_text_list', 'hindcast')(column, path)) }}
{%- endmacro %}

{% macro duckdb__json_text_list(column, path) -%}
    coalesce(json_extract_string({{ column }}, '$.{{ path }}[*]'), [])
{%- endmacro %}

{% macro default__json_text_list(column, path) -%}
    coalesce(from_json(get_json_object({{ column }}, '$.{{ path }}'), 'array<string>'), array())
{%- endmacro %}

{# Text of whole seconds since 1970, or of smaller units of which a second has `per_second`, as a UTC timestamp; null when it is
   none, or not between 2000 and 2100. #}
{% macro unix_timestamp(text, per_second=1) -%}
    {{ return(adapter.dispatch('unix_timestamp', 'hindcast')(text, per_second)) }}
{%- endmacro %}

{% macro duckdb__unix_timestamp(text, per_second) -%}
    case
        when try_cast({{ text }} as bigint) between {{ 946684800 * per_second }} and {{ 4102444800 * per_second - 1 }}
            then make_timestamp(try_cast({{ text }} as bigint) * {{ 1000000 // per_second }})
    end
{%- endmacro %}

{% macro default__unix_timestamp(text, per_second) -%}
    case
        when try_cast({{ text }} as bigint) between {{ 946684800 * per_second }} and {{ 4102444800 * per_second - 1 }}
            then timestamp_micros(try_cast({{ text }} as bigint) * {{ 1000000 // per_second }})
    end
{%- endmacro %}

{# The numbers of a version such as v12, 1.4.2 or release-v7, which compare as versions do; null for any other text. #}
{% macro version_numbers(version) -%}
    {{ return(adapter.dispatch('version_numbers', 'hindcast')(version)) }}
{%- endmacro %}

{% macro duckdb__version_numbers(version) -%}
    case
        when regexp_full_match({{ version }}, '([A-Za-z]+-)?[vV]?[0-9]{1,9}([.][0-9]{1,9}){0,4}')
            then try_cast(regexp_extract_all({{ version }}, '[0-9]+') as bigint[])
    end
{%- endmacro %}

{% macro default__version_numbers(version) -%}
    case
        when {{ version }} rlike '^([A-Za-z]+-)?[vV]?[0-9]{1,9}([.][0-9]{1,9}){0,4}$'
            then transform(regexp_extract_all({{ version }}, '([0-9]+)'), number -> cast(number as bigint))
    end
{%- endmacro %}

{# What stands before the numbers of a version; only versions of one kind are compared. #}
{% macro version_kind(version) -%}
    regexp_extract({{ version }}, '^([A-Za-z]+-)?[vV]?', 0)
{%- endmacro %}

{# Whether text that came as JSON or CSV says true or false; null when neither. #}
{% macro said_boolean(text) -%}
    case
        when lower(trim({{ text }})) in ('true', 'yes', '1') then true
        when lower(trim({{ text }})) in ('false', 'no', '0') then false
    end
{%- endmacro %}

{# The columns of `stg_deploys` that every system has; null for those that are absent from its own model. #}
{% macro deploy_columns(absent) -%}
        {%- for column in [
            'deploy_id', 'service_name', 'version', 'previous_version', 'deployed_at', 'commit_sha', 'environment',
            'status', 'said_rollback', 'load_id', 'line', 'record'
        ] %}
        {% if column not in absent %}{{ column }}
        {%- else %}cast(null as {{ 'boolean' if column == 'said_rollback' else 'varchar' }}) as {{ column }}
        {%- endif %}{{ ',' if not loop.last }}
        {%- endfor -%}
{%- endmacro %}

{# Whether a deploy of this status ran: not those that failed or never began, and those of which nobody says. #}
{% macro deploy_has_run(status) -%}
    coalesce(
        lower({{ status }}) not in (
            'failure', 'failed', 'error', 'cancelled', 'canceled', 'rejected', 'queued', 'pending', 'waiting',
            'in_progress'
        ), true
    )
{%- endmacro %}
