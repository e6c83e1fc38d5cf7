-- What landing writes: raw.* as sent, audit.* about the loads. dbt builds the other schemas.
-- A row of raw.* names its place of origin: (load_id, line, record), both counted from 1.

create schema if not exists raw;
create schema if not exists audit;

create table audit.loads (
    load_id bigint primary key,
    source varchar not null,            -- name in sources.yml, or 'command line'
    format varchar not null,            -- otlp_traces, otlp_logs, prometheus, incidents, pagerduty, servicenow, deploys
    path varchar not null,
    sha256 varchar not null,            -- of the bytes on disk
    status varchar not null,            -- loaded | empty | duplicate | failed
    duplicate_of bigint,                -- load_id whose bytes these are, when status = 'duplicate'
    file_bytes bigint not null,
    decoded_bytes bigint not null,      -- after decompression
    records_read bigint not null,       -- landed + rejected
    records_landed bigint not null,
    records_rejected bigint not null,
    unknown_fields varchar[] not null,  -- names that the format does not define; read over, never lost silently
    event_days date[] not null,         -- UTC days on which the landed records happened
    message varchar,
    started_at timestamp not null,
    finished_at timestamp not null,
    code_version varchar not null
);

create table audit.quarantine (
    load_id bigint not null,
    line bigint not null,
    record bigint,                      -- null: the whole line was refused
    reason varchar not null,            -- a code of warehouse/quarantine.py
    detail varchar,
    raw varchar                         -- the first 4 KiB of what was refused
);

create table raw.spans (
    load_id bigint not null,
    line bigint not null,
    record bigint not null,
    trace_id uuid not null,
    span_id ubigint not null,
    parent_span_id ubigint,
    trace_state varchar,
    service_name varchar,
    service_version varchar,
    span_name varchar not null,
    kind utinyint not null,             -- OTLP SpanKind, 0 to 5
    started_at timestamp_ns not null,
    ended_at timestamp_ns not null,
    status_code utinyint not null,      -- OTLP StatusCode: 0 unset, 1 ok, 2 error
    status_message varchar,
    scope_name varchar,
    scope_version varchar,
    dropped_attributes_count uinteger not null,
    dropped_events_count uinteger not null,
    dropped_links_count uinteger not null,
    attributes json,                    -- {"key": value}; numbers, strings, booleans keep their JSON type
    resource_attributes json,
    events json,
    links json
);

create table raw.logs (
    load_id bigint not null,
    line bigint not null,
    record bigint not null,
    occurred_at timestamp_ns not null,  -- timeUnixNano, else observedTimeUnixNano
    observed_at timestamp_ns,
    trace_id uuid,
    span_id ubigint,
    service_name varchar,
    severity_number utinyint not null,  -- 0 when not given
    severity_text varchar,
    event_name varchar,
    body varchar,                       -- a string body as it is, any other as JSON text
    scope_name varchar,
    dropped_attributes_count uinteger not null,
    attributes json,
    resource_attributes json
);

create table raw.metric_points (
    load_id bigint not null,
    line bigint not null,               -- position of the series in the file
    record bigint not null,             -- position of the point in the series
    metric_name varchar not null,
    service_name varchar,               -- label `service`, `service_name` or `job`
    labels json not null,               -- without __name__
    observed_at timestamp not null,
    value double not null
);

-- Small entities are kept as the JSON objects that were sent; staging gives them columns.
create table raw.incidents (load_id bigint not null, line bigint not null, record bigint not null, incident_id varchar not null, payload json not null);
create table raw.tickets (load_id bigint not null, line bigint not null, record bigint not null, system varchar not null, ticket_id varchar not null, payload json not null);
create table raw.deploys (load_id bigint not null, line bigint not null, record bigint not null, payload json not null);

-- One row a finished replay; written last, so that a replay which was killed is due again.
create table audit.replays (
    replay_id bigint primary key,
    first_day date,
    last_day date,
    through_load_id bigint not null,    -- every load up to this one was replayed
    built_from varchar not null,        -- the dbt models and the first day: when they change, all is built from scratch
    code_version varchar not null,
    finished_at timestamp not null
);

-- A row while dbt rebuilds the marts, gone when it has succeeded: with a row here the marts are not whole.
create table audit.replay_in_progress (started_at timestamp not null);
