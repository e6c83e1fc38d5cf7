-- What verdicts were before they changed, what people said of violations, and a ledger row a replay and rule.

-- Which rules a plan group has judged over all history. Older notes did not say which group: all is judged once more.
drop table if exists audit.judged_rules;
create table audit.judged_rules (
    model varchar not null,
    rule_id varchar not null,
    meaning_hash varchar not null
);

-- Grows only. `appeared`: a violated or inconclusive verdict that was not there before. `superseded`: a verdict of any
-- kind that holds no longer as it stands here. The columns from violation_id to reported are those of a verdict.
create table audit.verdict_history (
    change varchar not null,            -- appeared | superseded
    replay_id bigint not null,          -- of audit.replays, when the replay is finished
    changed_at timestamp not null,
    violation_id varchar not null,
    rule_id varchar not null,
    meaning_hash varchar not null,
    scope_kind varchar not null,
    scope_key varchar not null,
    trace_ids uuid[] not null,
    verdict varchar not null,
    reason varchar,
    first_span_at timestamp_ns,
    last_span_at timestamp_ns,
    started_on date,
    service_names varchar[],
    service_versions varchar[],
    witness struct(trace_id uuid, span_id ubigint)[],
    reported json,
    superseded_by varchar,              -- violation_id of the verdict that holds for the scope now; null: none does
    superseded_by_verdict varchar,
    cause varchar                       -- of superseded ones: judged again | rule changed (or retired, or gone)
);

-- Traces of which a record was staged and is not any more, or is another one now; null: of a log line without a trace.
-- Emptied when a replay is finished: until then what hangs on them is to be judged again.
create table audit.vanished_traces (trace_id uuid);

-- What people said of violations: a snapshot of data/state/hindcast.sqlite, taken before the models run.
create table audit.suppressions (
    suppression_id bigint not null,
    rule_id varchar,                    -- of a rule or of one scope of it; null: of one violation
    scope_key varchar,                  -- of one scope; null: every one of the rule
    violation_id varchar,
    owner varchar not null,
    reason varchar not null,
    until date not null,                -- the last day on which it holds
    created_at timestamp not null,
    is_in_force boolean not null        -- on the day of the snapshot
);

-- One row a replay and rule: the certificate as it was written.
create table audit.rule_replays (
    replay_id bigint not null,
    rule_id varchar not null,
    meaning_hash varchar not null,
    violated bigint not null,
    satisfied bigint not null,
    inconclusive bigint not null,
    certificate json not null,
    written_at timestamp not null
);

-- Rules that hit a limit of the engine, and are left out of their plan group until their meaning or the data change.
create table audit.rules_taken_out (
    rule_id varchar not null,
    meaning_hash varchar not null,
    cause varchar not null,
    taken_out_at timestamp not null
);
