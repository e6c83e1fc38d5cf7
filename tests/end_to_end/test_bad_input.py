"""Bad input through a whole night: nothing crashes it, everything refused is counted and shown."""

import gzip
import json
import shutil

import pytest

from dagster_project.settings import Project
from dagster_project.warehouse.connection import connect
from tests.end_to_end.conftest import REPOSITORY, hindcast

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
TRACE = "5b8efff798038103d269b633813fc60c"
RULE = """
id: error-is-answered
title: A failed call fails the request
severity: high
status: active
owner: on-call
when: any(span(status = error))
always: any(span(is_root = true, status = error))
tests:
  - {name: hidden, verdict: violated, spans: [{name: a, service: s}, {name: b, service: s, status: error}]}
  - {name: told, verdict: satisfied, spans: [{name: a, service: s, status: error}]}
"""


def span(**changes):
    return {
        "traceId": TRACE, "spanId": "eee19b7ec3c1b173", "name": "GET /", "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + SECOND), **changes,
    }  # fmt: skip


def request(*spans, **unknown):
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scope = {"scope": {}, "spans": list(spans), **unknown}
    return json.dumps({"resourceSpans": [{"resource": service, "scopeSpans": [scope]}]}).encode() + b"\n"


BAD_LINES = [
    request(span(), span(spanId="", name="no id"), span(traceId="", spanId="1" * 16, name="no trace")),
    b"this is no JSON\n",
    request(span(spanId="EEE19B7EC3C1B174", name="upper case")),
    request(span(spanId="2" * 16, endTimeUnixNano=str(START - SECOND), name="ends before it starts")),
    request(span(spanId="3" * 16, startTimeUnixNano=str(2**63), endTimeUnixNano=str(2**63), name="far future")),
    request(span(spanId="4" * 16, newField={"a": 1}, name="unknown field"), newBlock=[1]),
]
METRIC = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {"metric": {"__name__": "up", "service": "shop"}, "values": [[1_700_000_000, "NaN"], [1_700_000_060, "1"]]}
        ],
    },
}
INCIDENTS = [
    {"incident_id": "I-1", "title": "backwards", "severity": "P1", "service": "shop",
     "created_at": "2023-11-14T22:13:20Z", "resolved_at": "2023-11-14T22:00:00Z"},
    {"incident_id": "I-2", "title": "never resolved", "severity": "P1", "service": "shop",
     "created_at": "2023-11-14T22:13:20Z", "resolved_at": None},
    {"title": "without an id", "created_at": "2023-11-14T22:13:20Z"},
]  # fmt: skip
SOURCES = """
version: 1
first_day: 2023-11-14
folders: [data/landing]
sources:
  - {name: traces, format: otlp_traces, path: data/landing/*traces*}
  - {name: metrics, format: prometheus, path: data/landing/metrics.json}
  - {name: incidents, format: incidents, path: data/landing/incidents.json}
"""


def new_project(root):
    for folder in ("rules/reliability", "data/landing"):
        (root / folder).mkdir(parents=True)
    (root / "data/sources.yml").write_text(SOURCES)
    for name in ("policy.yml", "roi.yml", "comparisons.yml"):
        shutil.copyfile(REPOSITORY / "data" / name, root / "data" / name)
    (root / "rules/reliability/error-is-answered.yml").write_text(RULE)
    return Project(root)


@pytest.fixture(scope="module")
def bad_night(tmp_path_factory):
    """A night over files that are all bad in one way or another."""
    project = new_project(tmp_path_factory.mktemp("bad"))
    landing = project.root / "data/landing"
    (landing / "traces.jsonl").write_bytes(b"".join(BAD_LINES))
    (landing / "traces_again.jsonl").write_bytes(b"".join(BAD_LINES))
    (landing / "empty_traces.jsonl").write_bytes(b"")
    whole = gzip.compress(b"".join(request(span(spanId=f"{n:016x}", name=f"n{n}" * 30)) for n in range(1000, 3000)))
    (landing / "truncated_traces.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (landing / "metrics.json").write_text(json.dumps(METRIC))
    (landing / "incidents.json").write_text(json.dumps(INCIDENTS))
    return project, hindcast("nightly", project=project)


def query(project, sql, *parameters):
    with connect(project.warehouse_file, read_only=True) as connection:
        return connection.execute(sql, list(parameters)).fetchall()


def test_the_night_goes_on(bad_night):
    project, done = bad_night
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert (project.site_dir / "index.html").exists()


def test_good_records_beside_bad_ones_land(bad_night):
    project, _ = bad_night
    names = {
        name
        for (name,) in query(project, "select span_name from raw.spans where load_id = 1 or length(span_name) < 20")
    }
    assert {"GET /", "upper case", "unknown field"} <= names
    assert not names & {"no id", "no trace", "ends before it starts", "far future"}


def test_everything_refused_is_counted_with_file_line_and_reason(bad_night):
    project, _ = bad_night
    refused = query(
        project,
        "select q.line, q.record from audit.quarantine as q join audit.loads as l using (load_id)"
        " where l.path like '%/traces.jsonl' or l.path like '%/traces_again.jsonl' order by all",
    )
    assert refused == [(1, 2), (1, 3), (2, None), (4, 1), (5, 1)]
    assert all(reason for (reason,) in query(project, "select reason from audit.quarantine"))
    unbalanced = query(project, "select path from audit.loads where records_read <> records_landed + records_rejected")
    assert unbalanced == []


def test_a_truncated_archive_lands_what_came_before_the_break_and_says_so(bad_night):
    project, _ = bad_night
    ((landed, reasons),) = query(
        project,
        "select any_value(records_landed), list(q.reason)"
        " from audit.loads as l join audit.quarantine as q using (load_id) where l.path like '%truncated%'",
    )
    assert 0 < landed < 2000
    assert reasons == ["truncated_gzip"]


def test_a_file_under_another_name_and_an_empty_one_are_told(bad_night):
    project, _ = bad_night
    statuses = dict(query(project, "select path, status from audit.loads"))
    by_name = {path.rsplit("/", 1)[1]: status for path, status in statuses.items()}
    assert by_name["empty_traces.jsonl"] == "empty"
    assert sorted([by_name["traces.jsonl"], by_name["traces_again.jsonl"]]) == ["duplicate", "loaded"]


def test_unknown_fields_are_read_over_and_named(bad_night):
    project, _ = bad_night
    ((names,),) = query(project, "select unknown_fields from audit.loads where len(unknown_fields) > 0")
    assert any("newField" in name for name in names)
    assert any("newBlock" in name for name in names)


def test_a_metric_without_a_value_lands_and_counts_in_no_baseline(bad_night):
    project, _ = bad_night
    assert query(project, "select count(*), count(*) filter (where isnan(value)) from raw.metric_points") == [(2, 1)]
    assert query(project, "select count(*), count(value) from staging.stg_metric_points") == [(2, 1)]


def test_incidents_with_impossible_or_missing_ends_have_no_duration(bad_night):
    project, _ = bad_night
    rows = query(
        project,
        "select incident_id, time_to_resolve_seconds, is_open, clock_problem is not null"
        " from marts.fct_incidents order by 1",
    )
    assert rows == [("I-1", None, False, True), ("I-2", None, True, False)]


def test_the_morning_shows_what_was_refused(bad_night):
    project, done = bad_night
    page = (project.site_dir / "morning.html").read_text()
    for (reason,) in query(project, "select distinct reason from audit.quarantine"):
        assert reason in page
        assert reason in done.stdout


def test_wrong_rules_stop_the_night_before_anything_runs_and_all_are_told(tmp_path):
    project = new_project(tmp_path)
    folder = project.root / "rules/reliability"
    (folder / "syntax-error.yml").write_text(RULE.replace("any(span(status = error))", "any(span(status = error)"))
    (folder / "unknown-field.yml").write_text(RULE.replace("severity: high", "severty: high"))
    (folder / "no-tests.yml").write_text(RULE[: RULE.index("tests:")])
    done = hindcast("nightly", project=project, check=False)
    assert done.returncode == 2
    assert "rules/reliability/syntax-error.yml:7:" in done.stderr
    assert "did you mean `severity`" in done.stderr
    assert "rules/reliability/no-tests.yml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not project.warehouse_file.exists()
