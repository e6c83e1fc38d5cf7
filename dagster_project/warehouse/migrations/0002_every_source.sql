-- What the load of every source needs: what a source says of itself, loads that replace loads, where refused bytes are,
-- histograms, and changes. Old warehouses stay usable: columns are added, filled where older rows have a known value.

alter table audit.loads add column target varchar;          -- the raw table that the format lands in first
alter table audit.loads add column tenant varchar;          -- as the source declares it
alter table audit.loads add column reading varchar;         -- JSON: options of the source that the file was read with; null: none
alter table audit.loads add column sampling_ratio double;   -- the share of telemetry that the source says it kept
alter table audit.loads add column replaces bigint;         -- load_id whose rows this one took the place of
alter table audit.loads add column superseded_by bigint;    -- load_id that took the place of this one; its rows are gone
alter table audit.loads add column rows_expired bigint default 0;  -- landed rows that retention has removed since

update audit.loads set rows_expired = 0, target = case format
    when 'otlp_traces' then 'raw.spans'
    when 'otlp_logs' then 'raw.logs'
    when 'prometheus' then 'raw.metric_points'
    when 'incidents' then 'raw.incidents'
    when 'deploys' then 'raw.deploys'
    else 'raw.tickets'
end;

alter table audit.quarantine add column byte_offset bigint;  -- of the line in the decoded file, from 0; null when not known
alter table audit.quarantine add column raw_bytes bigint;    -- length of the refused line; null when not known
alter table audit.quarantine add column raw_file varchar;    -- under data/quarantine/: the bytes, when `raw` cannot say them whole

-- Metrics of OpenTelemetry carry more than a name and a value. Points keep nanoseconds.
alter table raw.metric_points alter column observed_at type timestamp_ns using observed_at::timestamp_ns;
alter table raw.metric_points add column metric_type varchar;     -- gauge | sum | summary | counter | ...; null: not said
alter table raw.metric_points add column unit varchar;
alter table raw.metric_points add column temporality varchar;     -- delta | cumulative; null: not said
alter table raw.metric_points add column is_monotonic boolean;
alter table raw.metric_points add column started_at timestamp_ns; -- of the interval that a sum covers
alter table raw.metric_points add column scope_name varchar;
alter table raw.metric_points add column resource_attributes json;

create table raw.metric_histograms (
    load_id bigint not null,
    line bigint not null,
    record bigint not null,
    metric_name varchar not null,
    service_name varchar,
    labels json not null,               -- attributes of the point
    observed_at timestamp_ns not null,
    started_at timestamp_ns,
    unit varchar,
    temporality varchar,
    point_count ubigint not null,
    point_sum double,                   -- null: not sent
    point_min double,
    point_max double,
    explicit_bounds double[],           -- histogram
    bucket_counts ubigint[],
    scale integer,                      -- exponential histogram
    zero_count ubigint,
    zero_threshold double,
    positive_offset integer,
    positive_counts ubigint[],
    negative_offset integer,
    negative_counts ubigint[],
    scope_name varchar,
    resource_attributes json
);

-- Deploys of several systems; the older rows came from the generic list.
alter table raw.deploys add column system varchar default 'deploys';

-- What changed: commits, tags, feature flags, configuration. As sent; staging gives them columns.
create table raw.changes (
    load_id bigint not null,
    line bigint not null,
    record bigint not null,
    system varchar not null,            -- git_commit | git_tag | feature_flag | configuration
    change_id varchar not null,
    payload json not null
);

-- One row each time retention removed rows of a source.
create table audit.expirations (
    source varchar not null,
    target varchar not null,
    before_day date not null,           -- days before this one were removed
    rows_removed bigint not null,
    finished_at timestamp not null
);
