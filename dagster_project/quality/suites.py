"""What is expected of each raw table, and why.

A suite looks at one row of aggregates over the whole table (made by SQL, so that its cost does not grow with what
Great Expectations holds in memory) and at a bounded, repeatable sample of rows. How a suite is run is `validation.py`'s
business. Every expectation says its reason; `error` blocks what follows, `warning` is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Expectation:
    """One expectation: the class of `great_expectations.expectations`, its arguments, and why it is held."""

    kind: str
    arguments: dict[str, Any]
    reason: str
    severity: Severity = "error"


@dataclass(frozen=True)
class Suite:
    """The expectations of one raw table."""

    table: str
    aggregates: str  # SQL: one row
    of_aggregates: tuple[Expectation, ...]
    sample: str  # SQL: at most SAMPLE_ROWS rows, the same ones each time
    of_sample: tuple[Expectation, ...]


SAMPLE_ROWS = 5_000

_REFUSED_SHARE = Expectation(
    "ExpectColumnValuesToBeBetween",
    {"column": "refused_share", "max_value": 0.01},
    "one record in a hundred refused is an exporter that changed its format, not a stray bad line",
    "warning",
)


def _none(column: str, reason: str, severity: Severity = "error") -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"column": column, "max_value": 0}, reason, severity)


def _filled(column: str, reason: str) -> Expectation:
    return Expectation("ExpectColumnValuesToNotBeNull", {"column": column}, reason)


SPANS = Suite(
    table="raw.spans",
    aggregates="""
        select
            count(*) filter (where ended_at < started_at) as ended_before_started,
            count(*) filter (where started_at < timestamp '2000-01-01') as before_telemetry_existed,
            coalesce(avg((service_name is null)::int), 0) as share_without_service,
            count(*) filter (where epoch_ns(ended_at) - epoch_ns(started_at) > 86400000000000) as longer_than_a_day,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.spans' and superseded_by is null) as refused_share
        from raw.spans
    """,
    of_aggregates=(
        _none("ended_before_started", "landing refuses such spans; one here is a defect of landing"),
        _none("before_telemetry_existed", "landing refuses such times; one here is a defect of landing"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "share_without_service", "max_value": 0.01},
            "OpenTelemetry requires service.name; without it a span counts for no service",
            "warning",
        ),
        _none("longer_than_a_day", "a span that lasts over a day is a forgotten end more often than work", "warning"),
        _REFUSED_SHARE,
    ),
    sample="select trace_id::varchar as trace_id, span_id::varchar as span_id, span_name, kind, status_code"
    " from raw.spans order by hash(trace_id, span_id), load_id, line, record limit $rows",
    of_sample=(
        _filled("trace_id", "a span without a trace can be in no verdict"),
        _filled("span_id", "a span without an id can be in no witness"),
        Expectation(
            "ExpectColumnValuesToNotBeInSet",
            {"column": "trace_id", "value_set": ["00000000-0000-0000-0000-000000000000"]},
            "OTLP calls the all-zero trace id invalid",
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween", {"column": "kind", "min_value": 0, "max_value": 5}, "OTLP SpanKind"
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "status_code", "min_value": 0, "max_value": 2},
            "OTLP StatusCode",
        ),
    ),
)

LOGS = Suite(
    table="raw.logs",
    aggregates="""
        select
            count(*) filter (where occurred_at < timestamp '2000-01-01') as before_telemetry_existed,
            count(*) filter (where body is null and event_name is null) as says_nothing,
            count(*) filter (where span_id is not null and trace_id is null) as span_without_trace,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.logs' and superseded_by is null) as refused_share
        from raw.logs
    """,
    of_aggregates=(
        _none("before_telemetry_existed", "landing refuses such times; one here is a defect of landing"),
        _none("says_nothing", "a record with neither body nor event name carries nothing to judge", "warning"),
        _none("span_without_trace", "a span id means nothing outside its trace", "warning"),
        _REFUSED_SHARE,
    ),
    sample="select severity_number, trace_id::varchar as trace_id, length(body) as body_length"
    " from raw.logs order by hash(load_id, line, record) limit $rows",
    of_sample=(
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "severity_number", "min_value": 0, "max_value": 24},
            "OpenTelemetry SeverityNumber; 0 is unspecified",
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "body_length", "max_value": 1_000_000},
            "a line of over a megabyte is a dump that belongs elsewhere",
            "warning",
        ),
    ),
)

METRIC_POINTS = Suite(
    table="raw.metric_points",
    aggregates="""
        select
            count(*) filter (where isinf(value)) as infinite,
            coalesce(avg(isnan(value)::int), 0) as share_not_a_number,
            count(distinct metric_name) as metrics,
            coalesce(avg((service_name is null)::int), 0) as share_without_service,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.metric_points' and superseded_by is null) as refused_share
        from raw.metric_points
    """,
    of_aggregates=(
        _none("infinite", "a division by zero in a recording rule; it would swamp every mean", "warning"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "share_not_a_number", "max_value": 0.2},
            "a quantile of no requests is NaN and normal; a fifth of all points is a metric that stopped",
            "warning",
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "metrics", "max_value": 20_000},
            "more names than that is a label that leaked into the name",
            "warning",
        ),
        _REFUSED_SHARE,
    ),
    sample="select metric_name, value from raw.metric_points order by hash(load_id, line, record) limit $rows",
    of_sample=(
        Expectation(
            "ExpectColumnValuesToMatchRegex",
            {"column": "metric_name", "regex": r"^[a-zA-Z_:][a-zA-Z0-9_:.\-/]*$"},
            "Prometheus and OpenTelemetry names; anything else came from a mangled file",
        ),
    ),
)

INCIDENTS = Suite(
    table="raw.incidents",
    aggregates="""
        select
            count(*) - count(distinct (incident_id, payload)) as repeated,
            count(*) filter (where payload ->> 'created_at' is null) as without_creation,
            count(*) filter (
                where try_cast(payload ->> 'resolved_at' as timestamptz)
                    < try_cast(payload ->> 'created_at' as timestamptz)
            ) as resolved_before_created,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.incidents' and superseded_by is null) as refused_share
        from raw.incidents
    """,
    of_aggregates=(
        _none("repeated", "the same incident twice would count twice in every rate", "warning"),
        _none("without_creation", "landing refuses such incidents; one here is a defect of landing"),
        _none("resolved_before_created", "its clocks cannot be used; it is left out of every duration", "warning"),
        _REFUSED_SHARE,
    ),
    sample="select incident_id, payload ->> 'severity' as severity from raw.incidents"
    " order by hash(load_id, line, record) limit $rows",
    of_sample=(
        _filled("incident_id", "nothing can be said about an incident that has no name"),
        Expectation(
            "ExpectColumnValuesToNotBeNull",
            {"column": "severity", "mostly": 0.95},
            "without a severity an incident falls out of every comparison that is stratified by it",
            "warning",
        ),
    ),
)

METRIC_HISTOGRAMS = Suite(
    table="raw.metric_histograms",
    aggregates="""
        select
            count(*) filter (
                where len(explicit_bounds) > 0 and len(bucket_counts) <> len(explicit_bounds) + 1
            ) as buckets_without_bounds,
            count(*) filter (
                where len(bucket_counts) > 0 and list_sum(bucket_counts) <> point_count
            ) as buckets_that_do_not_add_up,
            coalesce(avg((temporality is null)::int), 0) as share_without_temporality
        from raw.metric_histograms
    """,
    of_aggregates=(
        _none("buckets_without_bounds", "bounds part the buckets: there is one bucket more than bounds", "warning"),
        _none(
            "buckets_that_do_not_add_up", "a count that is not the sum of its buckets skews every quantile", "warning"
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "share_without_temporality", "max_value": 0.01},
            "without it nobody knows whether a histogram counts since the last point or since the start",
            "warning",
        ),
    ),
    sample="select metric_name from raw.metric_histograms order by hash(load_id, line, record) limit $rows",
    of_sample=(
        Expectation(
            "ExpectColumnValuesToMatchRegex",
            {"column": "metric_name", "regex": r"^[a-zA-Z_:][a-zA-Z0-9_:.\-/]*$"},
            "Prometheus and OpenTelemetry names; anything else came from a mangled file",
        ),
    ),
)

TICKETS = Suite(
    table="raw.tickets",
    aggregates="""
        select
            count(*) filter (where ticket_id = '') as without_id,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.tickets' and superseded_by is null) as refused_share
        from raw.tickets
    """,
    of_aggregates=(
        _none("without_id", "landing refuses such tickets; one here is a defect of landing"),
        _REFUSED_SHARE,
    ),
    sample="select system, ticket_id from raw.tickets order by hash(load_id, line, record) limit $rows",
    of_sample=(
        _filled("system", "staging asks it how to read the ticket; without it the ticket is in no incident"),
        _filled("ticket_id", "updates of a ticket are told to belong together by nothing else"),
    ),
)

DEPLOYS = Suite(
    table="raw.deploys",
    aggregates="""
        select
            count(*) filter (where json_type(payload) <> 'OBJECT') as without_object,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.deploys' and superseded_by is null) as refused_share
        from raw.deploys
    """,
    of_aggregates=(
        _none("without_object", "all that is known of a deploy are the fields of its payload"),
        _REFUSED_SHARE,
    ),
    sample="select system from raw.deploys order by hash(load_id, line, record) limit $rows",
    of_sample=(
        _filled("system", "staging asks it how to read the deploy; without it the deploy precedes no incident"),
    ),
)

CHANGES = Suite(
    table="raw.changes",
    aggregates="""
        select
            count(*) filter (where change_id = '') as without_id,
            (select coalesce(sum(records_rejected) / nullif(sum(records_read), 0), 0)
             from audit.loads where target = 'raw.changes' and superseded_by is null) as refused_share
        from raw.changes
    """,
    of_aggregates=(
        _none("without_id", "a change that nothing names can be pointed to by no paper"),
        _REFUSED_SHARE,
    ),
    sample="select system, change_id from raw.changes order by hash(load_id, line, record) limit $rows",
    of_sample=(_filled("system", "staging asks it how to read the change"),),
)

_ALL = (SPANS, LOGS, METRIC_POINTS, METRIC_HISTOGRAMS, INCIDENTS, TICKETS, DEPLOYS, CHANGES)
SUITES: dict[str, Suite] = {suite.table: suite for suite in _ALL}
