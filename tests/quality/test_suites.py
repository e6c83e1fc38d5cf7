import json

import pytest

from dagster_project.quality.suites import SUITES
from dagster_project.quality.validation import validate
from dagster_project.warehouse.connection import connect, migrate

SPAN = {
    "load_id": 1, "line": 1, "record": 1, "trace_id": "11111111-1111-1111-1111-111111111111", "span_id": 7,
    "service_name": "cart", "span_name": "GET /cart", "kind": 2, "started_at": "2024-01-01 00:00:00",
    "ended_at": "2024-01-01 00:00:01", "status_code": 0, "dropped_attributes_count": 0, "dropped_events_count": 0,
    "dropped_links_count": 0,
}  # fmt: skip
LOG = {
    "load_id": 1, "line": 1, "record": 1, "occurred_at": "2024-01-01 00:00:00", "severity_number": 9, "body": "said",
    "dropped_attributes_count": 0,
}  # fmt: skip
POINT = {
    "load_id": 1, "line": 1, "record": 1, "metric_name": "cpu", "labels": "{}", "observed_at": "2024-01-01",
    "value": 1.0,
}  # fmt: skip
INCIDENT = {
    "load_id": 1, "line": 1, "record": 1, "incident_id": "INC-1",
    "payload": '{"incident_id": "INC-1", "severity": "P1", "created_at": "2024-01-01T00:00:00Z"}',
}  # fmt: skip
HISTOGRAM = {
    "load_id": 1, "line": 1, "record": 1, "metric_name": "latency", "labels": "{}", "observed_at": "2024-01-01",
    "temporality": "delta", "point_count": 3, "explicit_bounds": [1.0], "bucket_counts": [2, 1],
}  # fmt: skip
TICKET = {"load_id": 1, "line": 1, "record": 1, "system": "jira", "ticket_id": "A-1", "payload": "{}"}
DEPLOY = {"load_id": 1, "line": 1, "record": 1, "system": "argocd", "payload": "{}"}
CHANGE = {"load_id": 1, "line": 1, "record": 1, "system": "git_tag", "change_id": "v1", "payload": "{}"}
GOOD = {
    "raw.spans": SPAN, "raw.logs": LOG, "raw.metric_points": POINT, "raw.incidents": INCIDENT,
    "raw.metric_histograms": HISTOGRAM, "raw.tickets": TICKET, "raw.deploys": DEPLOY, "raw.changes": CHANGE,
}  # fmt: skip

BROKEN = [
    ("raw.spans", {"ended_at": "2023-12-31"}, "ended_before_started", "error"),
    ("raw.spans", {"started_at": "1999-01-01", "ended_at": "1999-01-01"}, "before_telemetry_existed", "error"),
    ("raw.spans", {"service_name": None}, "share_without_service", "warning"),
    ("raw.spans", {"ended_at": "2024-01-03"}, "longer_than_a_day", "warning"),
    ("raw.spans", {"trace_id": "00000000-0000-0000-0000-000000000000"}, "trace_id", "error"),
    ("raw.spans", {"kind": 9}, "kind", "error"),
    ("raw.spans", {"status_code": 3}, "status_code", "error"),
    ("raw.logs", {"occurred_at": "1754-08-30"}, "before_telemetry_existed", "error"),
    ("raw.logs", {"body": None}, "says_nothing", "warning"),
    ("raw.logs", {"span_id": 5}, "span_without_trace", "warning"),
    ("raw.logs", {"severity_number": 25}, "severity_number", "error"),
    ("raw.logs", {"body": "x" * 1_000_001}, "body_length", "warning"),
    ("raw.metric_points", {"value": float("inf")}, "infinite", "warning"),
    ("raw.metric_points", {"value": float("nan")}, "share_not_a_number", "warning"),
    ("raw.metric_points", {"metric_name": "a b"}, "metric_name", "error"),
    ("raw.incidents", {"payload": '{"severity": "P1"}'}, "without_creation", "error"),
    ("raw.incidents", {"payload": '{"created_at": "2024-01-01T00:00:00Z"}'}, "severity", "warning"),
    ("raw.metric_histograms", {"bucket_counts": [3]}, "buckets_without_bounds", "warning"),
    ("raw.metric_histograms", {"point_count": 4}, "buckets_that_do_not_add_up", "warning"),
    ("raw.metric_histograms", {"temporality": None}, "share_without_temporality", "warning"),
    ("raw.metric_histograms", {"metric_name": "a b"}, "metric_name", "error"),
    ("raw.tickets", {"ticket_id": ""}, "without_id", "error"),
    ("raw.deploys", {"system": None}, "system", "error"),
    ("raw.deploys", {"payload": "[]"}, "without_object", "error"),
    ("raw.changes", {"change_id": ""}, "without_id", "error"),
    (
        "raw.incidents",
        {"payload": '{"severity": "P1", "created_at": "2024-01-02T00:00:00Z", "resolved_at": "2024-01-01T00:00:00Z"}'},
        "resolved_before_created",
        "warning",
    ),
]


@pytest.fixture
def warehouse(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        yield connection


def insert(connection, table, row):
    columns, marks = ", ".join(row), ", ".join("?" for _ in row)
    connection.execute(f"insert into {table} ({columns}) values ({marks})", list(row.values()))


@pytest.mark.parametrize("table", SUITES)
def test_good_rows_meet_every_expectation_and_an_empty_table_says_nothing(warehouse, table):
    assert validate(warehouse, SUITES[table]).is_empty
    insert(warehouse, table, GOOD[table])
    validation = validate(warehouse, SUITES[table])
    assert (validation.rows, validation.worst, validation.broken) == (1, None, ())


@pytest.mark.parametrize(("table", "change", "column", "severity"), BROKEN)
def test_each_expectation_is_broken_by_what_it_is_against(warehouse, table, change, column, severity):
    insert(warehouse, table, GOOD[table] | change)
    validation = validate(warehouse, SUITES[table])
    broken = [each for each in validation.broken if f"column='{column}'" in each.name]
    assert [each.severity for each in broken] == [severity]
    assert broken[0].reason


@pytest.mark.parametrize(
    ("created", "resolved", "is_before"),
    [
        ("2024-01-02T00:00:00+09:00", "2024-01-01T20:00:00Z", False),
        ("2024-01-01T23:00:00-05:00", "2024-01-02T01:00:00Z", True),
        ("2024-01-01T09:00:00Z", "2024-01-01T09:00:00.5Z", False),
        ("2024-01-01T09:00:00Z", "never", False),
        ("2024-01-01T09:00:00Z", None, False),
    ],
)
def test_times_of_incidents_are_compared_as_times(warehouse, created, resolved, is_before):
    payload = {"severity": "P1", "created_at": created, "resolved_at": resolved}
    insert(warehouse, "raw.incidents", INCIDENT | {"payload": json.dumps(payload)})
    broken = [each.name for each in validate(warehouse, SUITES["raw.incidents"]).broken]
    assert any("resolved_before_created" in name for name in broken) == is_before


@pytest.mark.parametrize("superseded_by", [None, 2])
def test_a_refused_share_over_one_in_a_hundred_warns_while_its_rows_are_there(warehouse, superseded_by):
    insert(warehouse, "raw.spans", SPAN)
    warehouse.execute(
        "insert into audit.loads select 1, 's', 'otlp_traces', 'p', 'h', 'loaded', null, 1, 1, 100, 98, 2, [], [],"
        " null, now()::timestamp, now()::timestamp, 'v', 'raw.spans', null, null, null, null, ?, 0",
        [superseded_by],
    )
    broken = validate(warehouse, SUITES["raw.spans"]).broken
    assert ["refused_share" in each.name for each in broken] == ([] if superseded_by else [True])


def test_every_expectation_says_why():
    every = [each for suite in SUITES.values() for each in (*suite.of_aggregates, *suite.of_sample)]
    assert all(len(each.reason) > 8 for each in every)
