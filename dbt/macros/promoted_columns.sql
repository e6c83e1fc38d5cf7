{# Attributes that rules name become typed columns. Which ones, macros/generated/promoted_attributes.sql says:
   a list of {"column", "path", "type"}; the column's name holds the type, so a change of type is another column. #}

{% macro promoted_column(attr) -%}
    {{ return(adapter.dispatch('promoted_column', 'hindcast')(attr)) }}
{%- endmacro %}

{# A value of another type than the rule compares with is not converted: it is null, as a missing one. #}
{% macro duckdb__promoted_column(attr) -%}
    {#- A JSON pointer: names of attributes hold dots and quotes, which a JSON path would have to escape. -#}
    {%- set key = attr['path'] | replace('~', '~0') | replace('/', '~1') | replace("'", "''") -%}
    {%- set pointer = "'/" ~ key ~ "'" -%}
    {%- set json_type = "json_type(attributes, " ~ pointer ~ ")" -%}
    {%- if attr['type'] == 'number' -%}
        case
            when {{ json_type }} in ('UBIGINT', 'BIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE')
                then try_cast(json_extract(attributes, {{ pointer }}) as double)
        end
    {%- elif attr['type'] == 'text' -%}
        case when {{ json_type }} = 'VARCHAR' then json_extract_string(attributes, {{ pointer }}) end
    {%- elif attr['type'] == 'boolean' -%}
        case when {{ json_type }} = 'BOOLEAN' then try_cast(json_extract(attributes, {{ pointer }}) as boolean) end
    {%- elif attr['type'] == 'any' -%}
        case when {{ json_type }} <> 'NULL' then try_cast(json_extract(attributes, {{ pointer }}) as varchar) end
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "promoted attribute '" ~ attr['path'] ~ "' has type '" ~ attr['type'] ~ "': number, text, boolean or any") }}
    {%- endif -%}
{%- endmacro %}

{# Every promoted column of an entity, each after a comma, for the end of a select list. #}
{% macro promoted_columns(entity) -%}
    {%- for attr in promoted_attributes(entity) -%}
        , {{ promoted_column(attr) }} as {{ adapter.quote(attr['column']) }}
    {%- endfor -%}
{%- endmacro %}

{# The SQL type of a promoted column. #}
{% macro promoted_type(attr) -%}
    {{ return({'number': 'double', 'text': 'varchar', 'boolean': 'boolean', 'any': 'varchar'}[attr['type']]) }}
{%- endmacro %}

{# Pre-hook: days that are staged already get the columns that rules newly name, without being staged again, and lose those
   that none names any more (kept, they would be null for the days staged since). #}
{% macro sync_promoted_columns(entity) -%}
    {%- if is_incremental() -%}
        {%- set present = adapter.get_columns_in_relation(this) | map(attribute='name') | list -%}
        {%- set wanted = promoted_attributes(entity) -%}
        {%- set names = wanted | map(attribute='column') | list -%}
        {%- set added = wanted | rejectattr('column', 'in', present) | list -%}
        {%- for column in present if column.startswith('attr__') and column not in names %}
            alter table {{ this }} drop column {{ adapter.quote(column) }};
        {%- endfor %}
        {%- for attr in added %}
            alter table {{ this }} add column {{ adapter.quote(attr['column']) }} {{ promoted_type(attr) }};
        {%- endfor %}
        {%- if added %}
            update {{ this }} set
            {%- for attr in added %}
                {{ adapter.quote(attr['column']) }} = {{ promoted_column(attr) }}{{ ',' if not loop.last }}
            {%- endfor %}
            where attributes is not null;
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
