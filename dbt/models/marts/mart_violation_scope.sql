with rules as (
    select * from {{ ref('dim_rules') }}
    where status <> 'retired'
),

violations as (
    select * from {{ ref('fct_violations') }}
),

counted as (
    select
        rule_id,
        count(*) as violations,
        count(*) filter (where is_suppressed) as suppressed,
        count(distinct scope_key) as scopes,
        min(first_span_at) as first_violation_at,
        max(last_span_at) as last_violation_at
    from violations
    group by rule_id
),

traces as (
    select
        rule_id,
        count(distinct trace_id) as traces
    from (
        select
            rule_id,
            unnest(trace_ids) as trace_id
        from violations
    ) as involved
    group by rule_id
),

services as (
    select
        rule_id,
        {{ sorted_set('service_name') }} as service_names
    from (
        select
            rule_id,
            unnest(service_names) as service_name
        from violations
    ) as involved
    group by rule_id
),

totalled as (
    select
        rule_id,
        unnest(totalled) as name
    from {{ ref('rule_catalogue') }}
),

-- Sums and counts that a rule reports are added up, in decimals; a sum of means or of extremes would say nothing.
-- Of all values it is counted how many different ones there are.
reported as (
    select
        valued.rule_id,
        valued.name,
        count(distinct valued.value) as different,
        case
            when count(*) filter (where valued.amount is null) = 0 and count(totalled.name) > 0
                then cast(sum(valued.amount) as double)
        end as total
    from (
        select
            rule_id,
            name,
            json_extract_string(reported, '/' || replace(replace(name, '~', '~0'), '/', '~1')) as value,
            case
                when
                    json_type(reported, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
                    in ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')
                    then try_cast(
                        json_extract_string(reported, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
                        as decimal(38, 9)
                    )
            end as amount
        from (
            select
                rule_id,
                reported,
                unnest(json_keys(reported)) as name
            from violations
        ) as named
        where name <> 'nulls_skipped'
    ) as valued
    left join totalled
        on
            valued.rule_id = totalled.rule_id
            and valued.name = totalled.name
    where valued.value is not null
    group by valued.rule_id, valued.name
),

reports as (
    select
        rule_id,
        list(struct_pack(name := name, different := different, total := total) order by name) as reported
    from reported
    group by rule_id
),

final as (
    select
        rules.rule_id,
        rules.severity,
        rules.status,
        coalesce(counted.violations, 0) as violations,
        coalesce(counted.suppressed, 0) as suppressed,
        coalesce(counted.scopes, 0) as scopes,
        coalesce(traces.traces, 0) as traces,
        rules.inconclusive,
        counted.first_violation_at,
        counted.last_violation_at,
        coalesce(services.service_names, []) as service_names,
        coalesce(reports.reported, []) as reported
    from rules
    left join counted on rules.rule_id = counted.rule_id
    left join traces on rules.rule_id = traces.rule_id
    left join services on rules.rule_id = services.rule_id
    left join reports on rules.rule_id = reports.rule_id
)

select *
from final
order by rule_id
