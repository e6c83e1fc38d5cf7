"""The four answers, on a few traces whose violations are known by hand."""

from datetime import datetime, timedelta

import pytest

from dagster_project.replay import scratch
from dagster_project.replay.formats.terminal import Histogram
from dagster_project.replay.found import Timeline
from dagster_project.replay.incident_windows import incident_ids, incident_window
from dagster_project.replay.query import compared, replay, share_violated
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_inline

MIDNIGHT = datetime(2024, 1, 1)
DATA = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans:
      - {name: GET /pay, service: edge, trace: t1, id: s1, resource: {cloud.region: eu}}
      - {name: pay, service: shop, version: "2", trace: t1, at: 1s, attributes: {customer: ann, amount: 5}}
      - {name: GET /pay, service: edge, trace: t2, at: 90m, resource: {cloud.region: eu}}
      - {name: pay, service: shop, version: "2", trace: t2, at: 90m1s, attributes: {customer: ann, amount: 2.5}}
      - {name: pay, service: shop, version: "2", trace: t2, at: 90m2s, attributes: {customer: bob}}
      - {name: GET /look, service: edge, trace: t3, at: 3h, resource: {cloud.region: us}}
      - {name: look, service: search, version: "1", trace: t3, at: 3h}
      - {name: pay, service: shop, version: "1", trace: t4, at: 27h, parent: gone}
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""
RULE = 'never: any(span("pay")) report: {who: first(span("pay").customer), paid: sum(span("pay").amount)}'
STAGED = """
    create or replace table staging.stg_deploys (
        deploy_id varchar, service_name varchar, version varchar, deployed_at timestamp, commit_sha varchar
    );
    insert into staging.stg_deploys values
        ('d1', 'shop', '1', timestamp '2023-12-01', 'aaa'),
        ('d2', 'shop', '2', timestamp '2023-12-31 20:00', 'bbb'),
        ('d3', 'search', '1', timestamp '2023-12-31 23:00', null),
        ('d4', 'shop', '3', timestamp '2024-01-01 05:00', 'x');
    create or replace table staging.stg_commits (
        sha varchar, repository varchar, committed_at timestamp, subject varchar
    );
    insert into staging.stg_commits values
        ('bbb', 'shop', timestamp '2023-12-31 19:00', 'Drop the check'),
        ('ccc', 'shop', timestamp '2024-01-01 04:00', 'x');
    create or replace table intermediate.int_incidents (
        incident_id varchar, title varchar, severity varchar, service_name varchar, started_at timestamp
    );
    insert into intermediate.int_incidents values
        ('INC-1', 'Double charges', 'P1', 'shop', timestamp '2024-01-01 01:35'),
        ('INC-2', 'x', 'P3', null, timestamp '2024-01-05');
    create or replace table intermediate.int_incident_windows (
        incident_id varchar, window_from timestamp, window_until timestamp
    );
    insert into intermediate.int_incident_windows values
        ('INC-1', timestamp '2024-01-01 01:00', timestamp '2024-01-01 02:00'),
        ('INC-2', timestamp '2024-01-05', timestamp '2024-01-06');
"""


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    made.execute(STAGED)
    yield made
    made.close()


@pytest.fixture(scope="module")
def answer(connection):
    return replay(connection, read_inline(RULE), with_investigation=True)


def names(ranked, *keys):
    return [tuple(row[key] for key in (*keys, "violations", "traces", "received")) for row in ranked.rows]


def test_who_counts_what_the_rule_reports(answer):
    who, paid = answer.investigation.reported
    assert (answer.certificate.violated, answer.certificate.inconclusive) == (3, 0)
    assert (who.name, who.different, who.missing, who.total) == ("who", 1, 1, None)
    assert who.most == ({"value": "ann", "violations": 2},)
    assert (paid.name, paid.total) == ("paid", 7.5)


def test_when_has_ends_hours_and_what_changed_before(answer):
    line = answer.investigation.timeline
    assert (line.first, line.last) == (MIDNIGHT + timedelta(seconds=1), MIDNIGHT + timedelta(hours=27))
    hours = [(row["hour_at"], row["violations"]) for row in line.per_hour]
    assert hours == [(MIDNIGHT, 1), (MIDNIGHT + timedelta(hours=1), 1), (MIDNIGHT + timedelta(hours=27), 1)]
    assert sum(row["violations"] for row in line.bars) == 3
    assert line.bucket_seconds == 3600
    assert {"bucket_at": MIDNIGHT + timedelta(hours=3), "violations": 0, "traces": 1} in line.bars
    changes = [(row["kind"], row["service_name"], row["version"], row["commit_sha"]) for row in line.changes_before]
    assert changes == [("deploy", "search", "1", None), ("deploy", "shop", "2", "bbb"), ("commit", "shop", None, "bbb")]
    assert line.changes_before[1]["seconds_before"] == 4 * 3600 + 1
    assert line.seconds_received_before == 1


def test_how_far_names_what_is_touched_and_what_is_not(answer):
    radius = answer.investigation.blast_radius
    assert names(radius.services, "service_name") == [("shop", 3, 3, 4), ("edge", 2, 2, 3), ("search", 0, 0, 1)]
    assert (radius.services.total, radius.services.without) == (3, 1)
    assert names(radius.versions, "service_name", "service_version") == [
        ("shop", "2", 2, 2, 3), ("shop", "1", 1, 1, 1), ("search", "1", 0, 0, 1),
    ]  # fmt: skip
    assert names(radius.places["cloud.region"], "name") == [("eu", 2, 2, 2), ("us", 0, 0, 1)]
    assert names(radius.endpoints, "service_name", "span_name") == [
        ("edge", "GET /pay", 2, 2, 2), ("", "", 1, 1, 1), ("edge", "GET /look", 0, 0, 1),
    ]  # fmt: skip


def test_together_with_incidents_and_other_windows(connection, answer):
    found = answer.investigation
    assert [(row["incident_id"], row["violations"]) for row in found.incidents] == [("INC-1", 1)]
    assert found.outside_incidents == 2
    window = incident_window(connection, "INC-1")
    assert window == Window(MIDNIGHT + timedelta(hours=1), MIDNIGHT + timedelta(hours=2))
    assert incident_window(connection, "INC-9") is None
    assert incident_ids(connection) == ["INC-1", "INC-2"]
    beside = compared(connection, answer, [("INC-1", window), ("2023", Window(None, MIDNIGHT))])
    assert [(one.label, one.certificate.violated) for one in beside.comparisons] == [("INC-1", 1), ("2023", 0)]
    assert [share_violated(one.certificate) for one in beside.comparisons] == [1.0, None]
    assert share_violated(answer.certificate) == 0.75


def test_nothing_is_left_on_the_connection(connection, answer):
    left = connection.execute("select table_name from duckdb_tables() where temporary").fetchall()
    assert left == []


def test_no_violation_has_four_empty_answers(connection):
    found = replay(connection, read_inline('never: any(span("x"))'), with_investigation=True).investigation
    assert (found.timeline.first, found.timeline.bars, found.timeline.changes_before) == (None, (), ())
    assert found.blast_radius.services.without == found.blast_radius.services.total == 3
    assert Histogram(found.timeline).lines(80) == []


def line_of(*counts, step=3600, traces=1):
    bars = tuple(
        {"bucket_at": MIDNIGHT + timedelta(seconds=step * place), "violations": count, "traces": traces}
        for place, count in enumerate(counts)
        if count is not None
    )
    return Timeline(MIDNIGHT, MIDNIGHT + timedelta(seconds=step * len(counts)), (), step, bars, (), None)


def test_a_histogram_draws_the_peak_whole_and_the_least_visibly():
    lines = Histogram(line_of(1000, None, 1)).lines(80)
    assert lines[0] == "1,000 ████"
    assert lines[3] == "1,000 "[:0] + "      ████    ▁▁▁▁"
    assert lines[4] == "    0 ────    ────", "nothing was received in between"
    assert lines[5].strip().startswith("2024-01-01 00:00")


@pytest.mark.parametrize("width", [24, 30, 40, 80, 240])
@pytest.mark.parametrize("counts", [(1,), (1, 2, 3), tuple(range(1, 97))])
def test_a_histogram_keeps_inside_any_width(width, counts):
    lines = Histogram(line_of(*counts)).lines(width)
    assert max(map(len, lines)) <= width
    drawn = Histogram(line_of(*counts)).lines(width, ascii_only=True)
    assert all(line.isascii() for line in drawn)


def test_there_is_no_histogram_where_there_is_no_room():
    assert Histogram(line_of(1, 2)).lines(20) == []
