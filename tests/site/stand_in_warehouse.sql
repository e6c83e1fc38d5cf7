-- A small warehouse with the columns that documents and pages read, for their tests. Not a sample of anything real.
-- What Python infers from it (comparisons, estimates, claims) is `stand_in_marts.py`.
-- Five incidents: a usual one, one without end, one whose clocks contradict each other and that has no telemetry,
-- one with hostile text, and tickets of another system.
create schema if not exists audit;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists violations;
create schema if not exists marts;

create table audit.loads as
select *, timestamp '2024-03-05 02:00:00' as started_at, timestamp '2024-03-05 02:00:05' as finished_at, '0.1.0' as code_version,
    null::bigint as replaces, null::bigint as superseded_by, 0::bigint as rows_expired
from (values
    (1, 'shop', 'otlp_traces', 'traces.jsonl.gz', repeat('a', 64), 'loaded', null::bigint, 120000, 900000, 1005, 1000, 5, ['oddField']::varchar[], [date '2024-03-04'], null::varchar),
    (2, 'shop', 'otlp_logs', 'logs.jsonl.gz', repeat('b', 64), 'loaded', null, 50000, 300000, 500, 498, 2, []::varchar[], [date '2024-03-04'], null),
    (3, 'shop', 'otlp_traces', '=cmd|calc.jsonl.gz', repeat('a', 64), 'duplicate', 1, 120000, 0, 0, 0, 0, []::varchar[], []::date[], null),
    (4, 'shop', 'otlp_traces', 'broken.jsonl.gz', repeat('c', 64), 'failed', null, 10, 0, 0, 0, 0, []::varchar[], []::date[], 'the compressed stream ends early')
) as t (load_id, source, format, path, sha256, status, duplicate_of, file_bytes, decoded_bytes, records_read, records_landed, records_rejected, unknown_fields, event_days, message);

create table audit.quarantine as
select * from (values
    (1, 3, 7, 'ends_before_start', 'ended 12 ns early', '{"name": "<script>alert(1)</script>"}'),
    (1, 4, 1, 'no_trace_id', null, '{}'), (1, 4, 2, 'no_trace_id', null, '{}'), (1, 4, 3, 'no_trace_id', null, '{}'),
    (1, 9, null, 'not_json', 'line 9', '=1+1'),
    (2, 2, 5, 'impossible_time', '1754', '{}'), (2, 2, 6, 'impossible_time', '1754', '{}')
) as t (load_id, line, record, reason, detail, raw);

create table intermediate.int_traces as
select
    ('00000000-0000-0000-0000-' || lpad(i::varchar, 12, '0'))::uuid as trace_id,
    (timestamp '2024-03-04 10:00:00' + to_seconds(i * 9))::timestamp_ns as started_at,
    (timestamp '2024-03-04 10:00:00' + to_seconds(i * 9 + 1))::timestamp_ns as ended_at,
    date '2024-03-04' as started_on, 1000000000 + i as duration_ns, 'front' as root_service_name, 'GET /' as root_span_name,
    5 as span_count, 3 as service_count, 0 as error_span_count, 2 as log_count, (i % 7 = 0)::int as error_log_count,
    0 as orphan_count, 1 as root_count, 0 as dropped_attributes_count, i % 10 <> 0 as is_complete
from range(200) as t (i);

create table marts.dim_services as
select *, timestamp_ns '2024-03-04 10:00:00' as first_seen_at, timestamp_ns '2024-03-04 10:30:00' as last_seen_at from (values
    ('front', true, 500, 200, 0, 100, 5, 3, 2, 0), ('cart', true, 300, 150, 0, 80, 9, 3, 0, 1),
    ('<b>pay</b>', true, 200, 100, 0, 20, 0, 0, 1, 0), ('ghost', false, 0, 0, 0, 0, 0, 0, 1, 0)
) as t (service_name, has_spans, span_count, trace_count, error_span_count, log_count, error_log_count, metric_series_count, incident_count, deploy_count);

create table marts.dim_rules as
select * from (values
    ('cart-needs-stock', 'A cart asks for stock', 'Every cart trace asks the stock service. Measured: 12 of 60 faulty traces.', 'high', 'active', 'shop-team', 'shop', ['CC7.2']::varchar[], 'h1', []::varchar[], 'trace', 'rules/shop/cart-needs-stock.yml', E'when: any(span.name == "cart")\nalways: any(span.service == "stock")', null::json),
    ('payment-idempotency', 'A retried payment keeps its key', 'Groups by order.', 'critical', 'active', 'pay-team', 'payments', []::varchar[], 'h2', ['order.id']::varchar[], 'group', 'rules/payments/payment-idempotency.yml', 'never: distinct(attr.key) > 1', null::json),
    ('hostile-rule', '<img src=x onerror=alert(1)>', '[click](javascript:alert(1)) `code`', 'low', 'draft', 'x', 'x', []::varchar[], 'h3', []::varchar[], 'trace', 'rules/x/hostile.yml', 'any(span.name == "</pre><script>alert(1)</script>")', null::json)
) as t (rule_id, title, description, severity, status, owner, domain, controls, meaning_hash, group_by, scope_kind, file, expression, tests);
alter table marts.dim_rules drop column tests;

create table marts.fct_incidents as
with base (incident_id, system, title, severity, severity_as_sent, service_name, team, category, resolution_method, started_at, detected_at, acknowledged_at, mitigated_at, resolved_at, closed_at, reopened_count, is_open, clock_problem) as (
    values
    ('INC-1', 'incidents', 'Checkout slow', 'P2', 'P2', 'front', 'shop-team', null, null, timestamp '2024-03-04 10:10:00', timestamp '2024-03-04 10:11:00', timestamp '2024-03-04 10:12:30', null, timestamp '2024-03-04 10:20:00', null, 0, false, null),
    ('INC-2', 'incidents', 'Carts vanish', 'P1', 'SEV-one', 'ghost', null, null, null, timestamp '2024-03-04 10:25:00', null, null, null, null, null, 1, true, null),
    ('INC-3', 'incidents', 'Clock went back', null, 'urgent', 'front', null, null, 'restart', timestamp '2024-03-04 15:00:00', null, null, null, timestamp '2024-03-04 14:00:00', null, 0, false, 'resolved before created'),
    ('../../<INC>-4', 'incidents', E'</title><script>alert("x")</script> [a](javascript:alert(1)) ' || chr(8238) || 'evil' || chr(8236) || E' **bold** =1+1\n# heading', 'P3', 'P3', '<b>pay</b>', null, null, null, timestamp '2024-03-04 10:05:00', null, null, null, timestamp '2024-03-04 10:06:00', null, 0, false, null)
), tickets as (
    select 'TK' || lpad(i::varchar, 4, '0'), 'servicenow', '', 'P' || (1 + i % 4), (1 + i % 4)::varchar, null, 'group ' || (i % 5), 'category ' || (i % 3), null,
        timestamp '2016-03-01 00:00:00' + to_hours(i * 5), null, null, null,
        case when i % 11 <> 0 then timestamp '2016-03-01 00:00:00' + to_hours(i * 5) + to_minutes(10 + (i * i * 37) % 9000) end, null, i % 2, i % 11 = 0, null
    from range(120) as t (i)
), both_systems as (select * from base union all select * from tickets)
select *,
    'incidents.created_at' as started_at_source, case when detected_at is not null then 'pagerduty.created_at' end as detected_at_source,
    case when acknowledged_at is not null then 'pagerduty.acknowledge_log_entry.created_at' end as acknowledged_at_source, null::varchar as mitigated_at_source,
    case when resolved_at is not null then 'incidents.resolved_at' end as resolved_at_source, null::varchar as closed_at_source,
    system = 'incidents' and started_at < timestamp '2024-03-04 12:00:00' as has_telemetry, 1 as load_id, 1 as line, 1 as record,
    case when clock_problem is null then epoch(detected_at - started_at) end as time_to_detect_seconds,
    case when clock_problem is null then epoch(acknowledged_at - started_at) end as time_to_acknowledge_seconds,
    case when clock_problem is null then epoch(mitigated_at - started_at) end as time_to_mitigate_seconds,
    case when clock_problem is null then epoch(resolved_at - started_at) end as time_to_resolve_seconds
from both_systems;

create table violations.fct_verdicts as
select
    rule_id, meaning_hash, scope_kind, scope_key, [trace_id] as trace_ids, verdict, reason,
    first_span_at, first_span_at + interval 1 second as last_span_at, date '2024-03-04' as started_on,
    service_names, []::varchar[] as service_versions, [{'trace_id': trace_id, 'span_id': 1::ubigint}] as witness, '{"order": 1}'::json as reported,
    md5(rule_id || scope_key) as violation_id
from (
    select 'cart-needs-stock' as rule_id, 'h1' as meaning_hash, 'trace' as scope_kind, trace_id::varchar as scope_key, trace_id,
        case when i % 5 = 0 then 'violated' when i % 10 = 3 then 'inconclusive' else 'satisfied' end as verdict,
        case when i % 10 = 3 then 'trace is incomplete' end as reason, started_at as first_span_at, ['cart', 'front'] as service_names
    from (select *, row_number() over (order by started_at) as i from intermediate.int_traces)
    union all
    select 'payment-idempotency', 'h2', 'group', '=order-' || i, trace_id, 'violated', null, started_at, ['<b>pay</b>']
    from (select *, row_number() over (order by started_at) as i from intermediate.int_traces) where i % 40 = 0
);

create table violations.fct_violations as
select v.*, r.title, r.severity, r.status, r.owner, r.controls
from violations.fct_verdicts as v inner join marts.dim_rules as r using (rule_id) where v.verdict = 'violated';

create or replace table marts.dim_rules as
select
    r.*, coalesce(v.violated, 0) as violated, coalesce(v.satisfied, 0) as satisfied, coalesce(v.inconclusive, 0) as inconclusive,
    v.first_violation_at, v.last_violation_at
from marts.dim_rules as r
left join (
    select
        rule_id, count(*) filter (where verdict = 'violated') as violated, count(*) filter (where verdict = 'satisfied') as satisfied,
        count(*) filter (where verdict = 'inconclusive') as inconclusive,
        min(first_span_at) filter (where verdict = 'violated') as first_violation_at,
        max(last_span_at) filter (where verdict = 'violated') as last_violation_at
    from violations.fct_verdicts group by rule_id
) as v using (rule_id);

create table marts.mart_certificates as
select rule_id, meaning_hash, timestamp '2024-03-04 00:00:00' as window_from, timestamp '2024-03-05 00:00:00' as window_until, 1 as days,
    1000 as spans_scanned, 5 as spans_repeated, 498 as logs_scanned, 200 as traces_scanned, 180 as traces_complete, 20 as traces_incomplete,
    7 as records_quarantined, case when scope_kind = 'trace' then 0 end as null_keys,
    (select count(*) from violations.fct_verdicts v where v.rule_id = r.rule_id and verdict = 'violated') as violated,
    (select count(*) from violations.fct_verdicts v where v.rule_id = r.rule_id and verdict = 'satisfied') as satisfied,
    (select count(*) from violations.fct_verdicts v where v.rule_id = r.rule_id and verdict = 'inconclusive') as inconclusive,
    case when scope_kind = 'trace' then 10 end as not_applicable,
    [{'verdict': 'inconclusive', 'reason': 'trace is incomplete', 'scopes': 20}] as verdict_reasons,
    'A span that was lost without children leaves no mark.' as undetectable_loss_note
from marts.dim_rules as r;

create table marts.mart_violation_timeline as
select rule_id, date_trunc('minute', first_span_at) as minute_at, count(*) as violations from violations.fct_violations group by all;

create temp table stand_in_windows as
select * from (values
    ('INC-1', timestamp '2024-03-04 10:08:00', timestamp '2024-03-04 10:20:00', 'hour before'),
    ('INC-2', timestamp '2024-03-04 10:23:00', timestamp '2024-03-04 10:30:00', 'hour before'),
    ('INC-3', timestamp '2024-03-04 14:58:00', timestamp '2024-03-04 15:00:00', null),
    ('../../<INC>-4', timestamp '2024-03-04 10:03:00', timestamp '2024-03-04 10:06:00', 'quiet day')
) as t (incident_id, window_from, window_until, baseline_kind);

create table intermediate.int_incident_traces as
select w.incident_id, t.trace_id, case when t.started_at >= w.window_from then 'during' else 'baseline' end as period, w.baseline_kind, t.started_on
from stand_in_windows as w
inner join intermediate.int_traces as t on t.started_at >= w.window_from - interval 1 hour and t.started_at <= w.window_until
where t.started_at >= w.window_from or w.incident_id <> 'INC-2';

create table marts.mart_incident_impact as
select
    w.incident_id, any_value(w.window_from) as window_from, any_value(w.window_until) as window_until,
    any_value(w.window_from) - interval 1 hour as baseline_from, any_value(w.baseline_kind) as baseline_kind,
    count(*) filter (where m.period = 'during') as traces,
    count(*) filter (where m.period = 'during' and t.error_log_count > 0) as traces_with_error_logs,
    0 as traces_with_error_spans,
    case when count(*) filter (where m.period = 'during') > 0 then ['<b>pay</b>', 'cart', 'front'] else [] end as services_reached,
    3 as services_reached_count,
    median(t.duration_ns) filter (where m.period = 'during') as median_duration_ns,
    quantile_cont(t.duration_ns, 0.95) filter (where m.period = 'during') as p95_duration_ns,
    count(*) filter (where m.period = 'baseline') as baseline_traces,
    count(*) filter (where m.period = 'baseline' and t.error_log_count > 0) as baseline_traces_with_error_logs,
    0 as baseline_traces_with_error_spans,
    median(t.duration_ns) filter (where m.period = 'baseline') as baseline_median_duration_ns,
    quantile_cont(t.duration_ns, 0.95) filter (where m.period = 'baseline') as baseline_p95_duration_ns
from stand_in_windows as w
left join intermediate.int_incident_traces as m using (incident_id)
left join intermediate.int_traces as t using (trace_id)
group by w.incident_id;

create table marts.mart_incident_violations as
select
    i.incident_id, r.rule_id, count(*) filter (where m.period = 'during' and v.verdict = 'violated') as violated_during, any_value(i.traces) as traces_during,
    count(*) filter (where m.period = 'baseline' and v.verdict = 'violated') as violated_baseline, any_value(i.baseline_traces) as traces_baseline,
    any_value(i.baseline_kind) as baseline_kind,
    count(*) filter (where m.period = 'during' and v.verdict = 'inconclusive') as inconclusive_during,
    count(*) filter (where m.period = 'baseline' and v.verdict = 'inconclusive') as inconclusive_baseline,
    count(*) filter (where m.period = 'during' and v.verdict = 'violated') as violations_during,
    min(v.first_span_at) filter (where m.period = 'during' and v.verdict = 'violated') as first_violation_at,
    max(v.last_span_at) filter (where m.period = 'during' and v.verdict = 'violated') as last_violation_at
from marts.mart_incident_impact as i
cross join marts.dim_rules as r
left join intermediate.int_incident_traces as m using (incident_id)
left join violations.fct_verdicts as v on v.rule_id = r.rule_id and v.trace_ids[1] = m.trace_id
group by i.incident_id, r.rule_id;

create table marts.mart_incident_services as
select
    *, null::varchar as series_id, 'hour before' as baseline_kind,
    row_number() over (partition by incident_id order by shift desc, service_name, signal) as rank_in_incident
from (values
    ('INC-1', 'cart', 'error logs', 'traces with error logs', 'traces', 8.0, 54, 31.0, 80, 5.4, 1, 75e-2),
    ('INC-1', 'cart', 'span duration', 'duration of GET /cart', 'ms', 40.0, 60, 900.0, 55, 21.5, 1, 75e-2),
    ('INC-1', 'cart', 'metric', 'cpuusage', '%', 12.0, 30, 90.0, 10, 8.4, 1, 75e-2),
    ('INC-1', 'cart', 'metric', 'memoryusage', 'Mi', 120.0, 30, 121.0, 10, 0.4, 1, 75e-2),
    ('INC-1', 'front', 'span duration', 'duration of GET /', 'ms', 100.0, 60, 300.0, 55, 4.2, 2, 1e0),
    ('INC-1', '<b>pay</b>', 'span duration', 'duration of POST /', 'ms', 10.0, 4, 10.0, 5, 0.0, 3, 0e0),
    ('../../<INC>-4', '<b>pay</b>', 'span duration', 'duration of POST /', 'ms', 10.0, 4, 14.0, 5, 3.1, 1, 1e0)
) as t (incident_id, service_name, signal_kind, signal, unit, baseline_median, baseline_n, incident_median, incident_n, shift, service_rank, moved_share);

create table marts.mart_incident_timeline as
select * from (values
    ('INC-1', timestamp '2024-03-04 09:58:00', 'deploy', 'cart 1.4.0 deployed (before: 1.3.9)', 'load 1, line 7, record 1'),
    ('INC-1', timestamp '2024-03-04 10:10:00', 'started', 'Incident began', 'incidents INC-1 created_at'),
    ('INC-1', timestamp '2024-03-04 10:10:21', 'violation', 'First violation of cart-needs-stock', 'violations.fct_violations'),
    ('INC-1', timestamp '2024-03-04 10:11:00', 'detected', 'Detected', 'incidents INC-1 detected_at'),
    ('INC-1', timestamp '2024-03-04 10:20:00', 'resolved', 'Resolved', 'incidents INC-1 resolved_at'),
    ('INC-2', timestamp '2024-03-04 10:25:00', 'started', 'Incident began', 'incidents INC-2 created_at'),
    ('../../<INC>-4', timestamp '2024-03-04 10:05:00', 'started', '<script>alert(2)</script> | pipe', 'incidents')
) as t (incident_id, "at", kind, text, source_ref);

create table marts.mart_incident_clocks as
select
    incident_id, system, clock, 'incident started' as start_event, started_at as start_at, started_at_source as start_source,
    clock as end_event, end_at, case when end_at is not null then system || '.' || clock end as end_source,
    case when end_at >= started_at then epoch(end_at - started_at)::bigint end as seconds,
    case when end_at is null and is_open then epoch(case when system = 'incidents' then timestamp '2024-03-05 02:00:00' else timestamp '2016-04-01 00:00:00' end - started_at)::bigint end as open_seconds,
    case when end_at >= started_at then null when end_at < started_at then 'ends before it begins' when is_open then 'open' else 'not recorded' end as reason
from (select incident_id, system, started_at, started_at_source, is_open, detected_at as detect, acknowledged_at as acknowledge, resolved_at as resolve from marts.fct_incidents) as incidents
unpivot include nulls (end_at for clock in (detect, acknowledge, resolve));

create table marts.mart_mttr_baseline as
with lives as (
    select c.system, c.clock, c.seconds / 60.0::double as minutes, c.open_seconds, c.reason, i.severity, i.team, i.service_name, i.category, i.resolution_method, date_trunc('month', i.started_at)::date as month_on
    from marts.mart_incident_clocks as c inner join marts.fct_incidents as i using (system, incident_id)
), sliced as (
    select 'system' as slice, null::varchar as severity, null::varchar as team, null::varchar as service_name, null::varchar as category, null::varchar as resolution_method, null::date as month_on, system, clock, minutes, open_seconds, reason from lives
    union all select 'severity', severity, null, null, null, null, null, system, clock, minutes, open_seconds, reason from lives where severity is not null
    union all select 'team', null, team, null, null, null, null, system, clock, minutes, open_seconds, reason from lives where team is not null
    union all select 'service', null, null, service_name, null, null, null, system, clock, minutes, open_seconds, reason from lives where service_name is not null
    union all select 'type', null, null, null, category, null, null, system, clock, minutes, open_seconds, reason from lives where category is not null
    union all select 'resolution method', null, null, null, null, resolution_method, null, system, clock, minutes, open_seconds, reason from lives where resolution_method is not null
    union all select 'month', null, null, null, null, null, month_on, system, clock, minutes, open_seconds, reason from lives
    union all select 'severity and team', severity, team, null, null, null, null, system, clock, minutes, open_seconds, reason from lives where severity is not null and team is not null
)
select
    concat_ws('/', slice, system, severity, team, service_name, category, resolution_method, month_on::varchar, clock) as baseline_id,
    slice, system, severity, service_name, team, category, resolution_method, month_on, clock,
    count(*) as n_incidents, count(minutes) as n, count(open_seconds) as n_open, count(*) filter (reason = 'not recorded') as n_unrecorded,
    count(*) filter (reason = 'ends before it begins') as n_inconsistent, count(*) filter (minutes = 0) as n_zero,
    median(minutes) as median_minutes, quantile_cont(minutes, 0.4) as median_low_minutes, quantile_cont(minutes, 0.6) as median_high_minutes, quantile_cont(minutes, 0.9) as p90_minutes,
    exp(avg(ln(nullif(minutes, 0)))) as geometric_mean_minutes, avg(minutes) as mean_minutes, max(minutes) as longest_minutes, max(open_seconds) / 60.0::double as longest_open_minutes,
    timestamp '2024-03-05 02:00:00' as as_of_at, 25e0 as observed_days, count(*) * 30 / 25e0 as incidents_per_30_days
from sliced group by all;

create table marts.mart_kpis as
select
    kpi || '/servicenow/' || month_on as kpi_id, kpi, 'servicenow' as system, 'month' as period, month_on as period_on, place < 9 as is_whole,
    statistic, unit, value, direction, target, 'convention' as target_basis, 'A source <b>of</b> a target' as target_source,
    case when value is not null then (direction = 'at most') = (value <= target) end as is_met, case when value is null then 0 else 12 end as n,
    case when unit = 'share' then 3 end as n_counted, 1 as n_open, case when value is null then 'no incident has this field' end as reason
from (
    select place, (date '2015-07-01' + to_months(place::int))::date as month_on, kpi, statistic, unit, direction, target, case when kpi = 'satisfaction' then null when place = 8 then 10 * base else base + place % 3 * base / 10 end as value
    from range(10) as months (place),
        (values ('mttr', 'median', 'minutes', 'at most', 60e0, 75e0), ('repeat_incidents', 'share', 'share', 'at most', 1e-1, 5e-2), ('satisfaction', 'mean', 'score', 'at least', 4e0, null)) as kpis (kpi, statistic, unit, direction, target, base)
) as periods;

create table marts.mart_kpi_alerts as
select
    'alert/' || kpi_id as alert_id, kpi_id, kpi, system, period, period_on, unit, direction, value, n, n_open, is_whole, period_on < date '2016-03-01' as is_baseline, 8 as n_baseline_periods,
    unit = 'minutes' as is_logarithmic, 80e0 as centre, 60e0 as lower_limit, 110e0 as upper_limit,
    case when unit <> 'minutes' or value is null then null when value > 110 then 'above' else 'within' end as position, unit = 'minutes' and value > 110 as is_alert,
    case when unit <> 'minutes' then 'fewer than 8 periods with a value' end as reason
from marts.mart_kpis;

create table marts.mart_target_attainment as
select
    'all/' || system || '/' || severity || '/resolve' as attainment_id, 'all' as slice, system, severity, null::date as month_on, 'resolve' as clock, 6e1 as target_minutes, 9e-1 as required_share,
    'convention' as target_basis, 'Nobody in particular' as target_source, count(*) as n_incidents, count(*) as n, count(*) filter (time_to_resolve_seconds <= 3600) as n_met,
    count(*) filter (time_to_resolve_seconds > 3600 or is_open) as n_missed, count(*) filter (is_open) as n_missed_open, 0 as n_not_due, 0 as n_unknown,
    count(*) filter (time_to_resolve_seconds <= 3600) / count(*) as share_met, count(*) filter (time_to_resolve_seconds <= 3600) / count(*) >= 0.9 as is_attained
from marts.fct_incidents where severity is not null group by system, severity;

create table marts.mart_error_budget as
select
    system || '/' || service_name || '/1' as budget_id, system, service_name, timestamp '2024-02-04 00:00:00' as window_from_at, timestamp '2024-03-05 00:00:00' as window_until_at, 30 as window_days,
    true as is_latest, true as is_whole, 99.9e0 as availability_percent, 'convention' as target_basis, 'Three nines' as target_source, 1 as n_incidents, 1 as n_outages, 0 as n_unknown,
    43.2e0 as allowed_minutes, downtime_minutes, 43.2e0 - downtime_minutes as remaining_minutes, downtime_minutes / 43.2e0 as spent_share, 100 - downtime_minutes / 432e0 as measured_availability_percent, downtime_minutes <= 43.2 as is_attained
from (values ('incidents', 'front', 1e1), ('incidents', '<b>pay</b>', 6e1)) as budgets (system, service_name, downtime_minutes);

create table marts.mart_delivery_performance as
select
    slice || '/deploys/' || place as delivery_id, slice, 'deploys' as system, 'production' as environment, case when slice = 'service' then 'cart' end as service_name, case when slice = 'month' then date '2024-02-01' + to_months(place) end::date as month_on,
    31 as observed_days, 62 as n_deploys, 20 as n_days_with_deploys, 2e0 as deploys_per_day, 50 as n_lead_times, 300e0 as median_lead_minutes, 5 as n_rollbacks, 3 as n_bulk_rollbacks, 1 as n_bulk_days,
    3 as n_rollback_causes, 5 / 62e0 as change_failure_share, 3 / 62e0 as change_failure_share_by_cause, 3 as n_restores, 45e0 as median_restore_minutes, 90e0 as p90_restore_minutes, 44e0 as median_restore_minutes_each
from (values ('all', 0), ('month', 0), ('month', 1), ('service', 0)) as slices (slice, place);

create table marts.mart_load_summary as
select * exclude (started_at, finished_at, code_version, rows_expired), rows_expired as records_expired,
    [{'reason': 'not_json', 'records': 1}] as rejected_by_reason, case when load_id = 1 then 5 else 0 end as records_repeated, 0 as records_repeated_with_other_content
from audit.loads;

create table marts.mart_evidence as
select 1 as seq, 'c0ffee00-0000-5000-8000-000000000000' as id, 'post_mortem' as type, 'Post-mortem of INC-1 (md)' as name, ['SOC2:CC7.4']::varchar[] as controls,
    'INC-1' as incident_id, null::varchar as rule_id, 'reports/post_mortems/INC-1.md' as source_path, repeat('d', 64) as source_sha256, 8000 as bytes, null::bigint as row_count;
