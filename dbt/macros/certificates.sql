{# What certificates read of spans and of the engine, and their ledger. #}

{# The share that a span says its sender kept, of the attribute sampling.probability; null when it says none. #}
{% macro kept_share(attributes, resource_attributes) -%}
    coalesce(
        try_cast(json_extract_string({{ attributes }}, '/sampling.probability') as double),
        try_cast(json_extract_string({{ resource_attributes }}, '/sampling.probability') as double)
    )
{%- endmacro %}

{# The threshold below which OpenTelemetry's samplers reject a trace, of its tracestate (`ot=th:...`), as a number of 56 bits. #}
{% macro rejected_numbers(trace_state) -%}
    case
        when {{ trace_state }} like '%th:%' then try_cast(
            '0x' || rpad(
                regexp_extract({{ trace_state }}, '(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})', 1), 14, '0'
            ) as bigint
        )
    end
{%- endmacro %}

{# A time so many nanoseconds before another, to the microsecond. #}
{% macro earlier_by(at, nanoseconds) -%}
    make_timestamp((epoch_ns({{ at }}) - ({{ nanoseconds }})) // 1000)
{%- endmacro %}

{% macro engine_version() -%}
    'duckdb ' || ltrim(version(), 'v')
{%- endmacro %}

{# Post-hook of the certificates: each is kept as it was written by this replay; one that is run again writes it again. #}
{% macro note_certificates() -%}
    delete from audit.rule_replays where replay_id = {{ replay_in_progress() }};
    insert into audit.rule_replays
    select
        {{ replay_in_progress() }}, rule_id, meaning_hash, violated, satisfied, inconclusive,
        to_json(certificates), now()::timestamp
    from {{ this }} as certificates
{%- endmacro %}
