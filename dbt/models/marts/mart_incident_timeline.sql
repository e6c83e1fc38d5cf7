with incidents as (
    select * from {{ ref('int_incidents') }}
),

windows as (
    select * from {{ ref('int_incident_windows') }}
),

deploys as (
    select * from {{ ref('stg_deploys') }}
),

memberships as (
    select * from {{ ref('int_incident_traces') }}
    where period = 'during'
),

violations as (
    select
        *,
        unnest(trace_ids) as trace_id
    from {{ ref('fct_violations') }}
),

logs as (
    select * from {{ ref('stg_logs') }}
    where
        is_error
        and service_name is not null
),

clocks as (
    {% for clock, text in [
        ('started_at', 'Incident begins'), ('detected_at', 'Detected'), ('acknowledged_at', 'Acknowledged'),
        ('mitigated_at', 'Mitigated'), ('resolved_at', 'Resolved'), ('closed_at', 'Closed'),
        ('reopened_at', 'Opened again')
    ] %}
    select
        incident_id,
        {{ clock }} as occurred_at,
        '{{ clock[:-3] }}' as kind,
        '{{ text }} ({{ clock }} says ' || {{ clock }}_source || ')' as text,
        'load ' || load_id || ', line ' || line || ', record ' || record as source_ref
    from incidents
    where {{ clock }} is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

deployed as (
    select
        windows.incident_id,
        deploys.deployed_at as occurred_at,
        'deploy' as kind,
        'Deploy of ' || coalesce(deploys.service_name, 'an unnamed service')
        || coalesce(' ' || deploys.version, '')
        || coalesce(' after ' || deploys.previous_version, '')
        || coalesce(' to ' || deploys.environment, '')
        || coalesce(' (' || deploys.status || ')', '') as text,
        'load ' || deploys.load_id || ', line ' || deploys.line || ', record ' || deploys.record as source_ref
    from windows
    inner join deploys
        on
            deploys.deployed_at
            >= windows.window_from - interval '{{ var("deploy_lookback_hours") }}' hour
            and windows.window_until >= deploys.deployed_at
),

first_violations as (
    select
        memberships.incident_id,
        {{ to_microseconds('violations.first_span_at') }} as occurred_at,
        'violation' as kind,
        'First violation of ' || violations.rule_id || ': ' || violations.title as text,
        'violation ' || violations.violation_id as source_ref
    from memberships
    inner join violations on memberships.trace_id = violations.trace_id
    qualify row_number() over (
        partition by memberships.incident_id, violations.rule_id
        order by violations.first_span_at, violations.violation_id, memberships.trace_id
    ) = 1
),

first_errors as (
    select
        windows.incident_id,
        {{ to_microseconds('logs.occurred_at') }} as occurred_at,
        'error_log' as kind,
        'First error log of ' || logs.service_name || ': ' || left(coalesce(logs.body, ''), 300) as text,
        'load ' || logs.load_id || ', line ' || logs.line || ', record ' || logs.record as source_ref
    from windows
    inner join logs
        on
            windows.window_from <= {{ to_microseconds('logs.occurred_at') }}
            and windows.window_until >= {{ to_microseconds('logs.occurred_at') }}
    qualify row_number() over (
        partition by windows.incident_id, logs.service_name
        order by logs.occurred_at, logs.load_id, logs.line, logs.record
    ) = 1
),

final as (
    select * from clocks
    union all
    select * from deployed
    union all
    select * from first_violations
    union all
    select * from first_errors
)

select
    incident_id,
    occurred_at as {{ adapter.quote('at') }},
    kind,
    text,
    source_ref
from final
order by incident_id, occurred_at, kind, text, source_ref
