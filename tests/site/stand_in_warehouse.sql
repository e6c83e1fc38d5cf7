-- A small warehouse with the columns that documents and pages read, for their tests. Not a sample of anything real.
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

create table marts.mart_mttr_baseline as
select
    case when grouping_id(severity, team) = 3 then 'system' when grouping_id(severity, team) = 1 then 'severity' when grouping_id(severity, team) = 2 then 'team' else 'severity and team' end as slice,
    system, severity, null::varchar as service_name, team, 'resolve' as clock,
    count(*) as n_incidents, count(time_to_resolve_seconds) as n, count(*) filter (is_open) as n_open,
    count(*) filter (not is_open and time_to_resolve_seconds is null) as n_inconsistent, 0 as n_zero,
    exp(avg(ln(time_to_resolve_seconds / 60))) as geometric_mean_minutes, avg(time_to_resolve_seconds / 60) as mean_minutes,
    median(time_to_resolve_seconds / 60) as median_minutes,
    quantile_cont(time_to_resolve_seconds / 60, 0.9) as p90_minutes, max(time_to_resolve_seconds / 60) as longest_minutes,
    25.0 as observed_days, count(*) * 30 / 25.0 as incidents_per_30_days
from marts.fct_incidents group by grouping sets ((system), (system, severity), (system, team), (system, severity, team));

create table marts.mart_load_summary as
select * exclude (started_at, finished_at, code_version, rows_expired), rows_expired as records_expired,
    [{'reason': 'not_json', 'records': 1}] as rejected_by_reason, case when load_id = 1 then 5 else 0 end as records_repeated, 0 as records_repeated_with_other_content
from audit.loads;

create table marts.mart_significance as
select *, 'resolve' as clock, 'full' as tier, 0.05 as alpha, 0.1 as smallest_effect, repeat('e', 64) as plan_sha256, null::timestamp as cut_over_at,
    ['A caveat <i>from outside</i>.'] as caveats, 'first' as baseline_label, 'second' as candidate_label,
    0 as baseline_open_count, 0 as candidate_open_count, 20 as baseline_incident_count, 22 as candidate_incident_count,
    ratio as adjusted_ratio, ratio_low as adjusted_ratio_low, ratio_high as adjusted_ratio_high, welch_p as permutation_p, welch_p as mann_whitney_p
from (values
    ('tickets-p1-p4', 'Are P1 tickets slower?', 'WORSE', 'interval_above_one', 'P1 takes longer.', 30, 28, 3e2, 4.8e3, 16e0, 12e0, 21e0, 1e-5),
    ('incidents-halves', 'Were later incidents shorter?', 'NOT_COMPARABLE', 'too_few', 'Fewer than two different durations an arm.', 1, 1, null, null, null, null, null, null)
) as t (comparison_id, question, verdict, reason, sentence, baseline_n, candidate_n, baseline_geometric_mean_minutes, candidate_geometric_mean_minutes, ratio, ratio_low, ratio_high, welch_p);

create table marts.mart_roi_lines as
select 'shop' as estimate_id, 'all_lines' as basis, *, amount as present_value, 'EUR' as currency, kind <> 'transfer' as is_credited,
    ['labour.hours']::varchar[] as inputs, []::varchar[] as unsupported_inputs
from (values
    (1, 'licence', 'cost', 'Licence', '400 EUR', 1, 4e2), (1, 'licence', 'cost', 'Licence', '400 EUR', 2, 4e2),
    (2, 'labour', 'benefit', '=Hours <saved>', '10 hours x 60 EUR', 1, 6e2), (3, 'refunds', 'transfer', 'Refunds', '90 EUR', 1, 9e1)
) as t (position, line_id, kind, label, formula, year, amount);

create table marts.mart_roi_summary as
select 'shop' as estimate_id, 'The shop <i>' as title, 'all_lines' as basis, repeat('f', 64) as plan_sha256, 'EUR' as currency, 2 as years, 1e-1 as discount_rate,
    8e2 as present_costs, 6e2 as present_benefits, -2e2 as net_present_value, -25e-2 as roi, 75e-2 as benefit_cost_ratio, null::double as irr,
    null::double as payback_months, null::double as stated_ratio, 9e1 as transfers_not_credited, 3 as input_count,
    ['labour.hours']::varchar[] as unsupported_inputs, 'It costs more than it brings.' as sentence, ['A caveat.']::varchar[] as caveats;

create table marts.mart_roi_inputs as
select 'shop' as estimate_id, 'labour.hours' as input_id, 1e1 as value, 'hours' as unit, null::double as low, null::double as high,
    'a guess' as source, null::date as dated_on, 'unsupported' as confidence, false as is_supported;

create table marts.mart_evidence as
select 1 as seq, 'c0ffee00-0000-5000-8000-000000000000' as id, 'post_mortem' as type, 'Post-mortem of INC-1 (md)' as name, ['SOC2:CC7.4']::varchar[] as controls,
    'INC-1' as incident_id, null::varchar as rule_id, 'reports/post_mortems/INC-1.md' as source_path, repeat('d', 64) as source_sha256, 8000 as bytes, null::bigint as row_count;
