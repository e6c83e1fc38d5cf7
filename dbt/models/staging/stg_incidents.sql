with places as (
    {{ load_places() }}
),

incidents as (
    select * from {{ source('raw', 'incidents') }}
),

-- A record sent again replaces the one before it.
newest as (
    select *
    from incidents
    qualify row_number() over (
        partition by incident_id
        order by
            {{ load_place() }} desc,
            load_id desc,
            line desc,
            record desc
    ) = 1
),

final as (
    select
        incident_id,
        {{ json_text('payload', 'title') }} as title,
        {{ severity_level(json_text('payload', 'severity')) }} as severity,
        {{ json_text('payload', 'severity') }} as severity_as_sent,
        {{ json_text('payload', 'service') }} as service_name,
        {{ json_text('payload', 'team') }} as team,
        {{ json_text('payload', 'category') }} as category,
        {{ json_text('payload', 'resolution_method') }} as resolution_method,
        {{ utc_timestamp(json_text('payload', 'started_at')) }} as started_at,
        {{ utc_timestamp(json_text('payload', 'created_at')) }} as created_at,
        {{ utc_timestamp(json_text('payload', 'detected_at')) }} as detected_at,
        {{ utc_timestamp(json_text('payload', 'acknowledged_at')) }} as acknowledged_at,
        {{ utc_timestamp(json_text('payload', 'mitigated_at')) }} as mitigated_at,
        {{ utc_timestamp(json_text('payload', 'resolved_at')) }} as resolved_at,
        {{ utc_timestamp(json_text('payload', 'closed_at')) }} as closed_at,
        {{ utc_timestamp(json_text('payload', 'reopened_at')) }} as reopened_at,
        try_cast({{ json_text('payload', 'reopened_count') }} as bigint) as reopened_count,
        try_cast({{ json_text('payload', 'escalation_count') }} as bigint) as escalation_count,
        {{ finite("try_cast(" ~ json_text('payload', 'satisfaction') ~ " as double)") }} as satisfaction,
        load_id,
        line,
        record
    from newest
)

select *
from final
order by incident_id
