"""No value that a source declares as personal is stored anywhere, whatever it is part of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import personal_data
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land

KEY = "a key for the tests only"
SECRETS = ["ann@example.org", "bo@example.org", "4711-secret", "deep@example.org", "twice@example.org", "31337"]


@pytest.fixture
def warehouse(monkeypatch):
    monkeypatch.setenv(personal_data.KEY_VARIABLE, KEY)
    with connect(":memory:") as connection:
        migrate(connection)
        yield connection


def keyed(value: str) -> str:
    inner = hashlib.sha256((KEY + value).encode()).hexdigest()
    return "keyed:" + hashlib.sha256((KEY + inner).encode()).hexdigest()[:32]


def file(tmp_path: Path, format_name: str, content: str, *names: str) -> InputFile:
    path = tmp_path / format_name
    path.write_text(content)
    return InputFile(path, FORMATS[format_name], personal_data=names)


def everything(connection, folder: Path) -> str:
    tables = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where schema_name in ('raw', 'audit')"
    ).fetchall()
    kept = [str(path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    return str([connection.execute(f"select * from {name}").fetchall() for (name,) in tables]) + str(kept)


def attribute(key: str, value: object) -> dict[str, object]:
    return {"key": key, "value": value}


def traces() -> str:
    email = attribute("user.email", {"stringValue": SECRETS[0]})
    nested = attribute("user", {"kvlistValue": {"values": [attribute("email", {"stringValue": SECRETS[3]})]}})
    number = attribute("user.id", {"intValue": SECRETS[5]})
    times = {"startTimeUnixNano": "1704103200000000000", "endTimeUnixNano": "1704103200000000001"}
    span = {"traceId": "1" * 32, "name": "GET /", **times}
    spans = [
        span | {"spanId": "1" * 16, "attributes": [email, nested, number, attribute("route", {"stringValue": "/"})],
                "events": [{"timeUnixNano": "1704103200000000000", "name": "seen", "attributes": [email, number]}],
                "links": [{"traceId": "2" * 32, "spanId": "2" * 16, "attributes": [email]}]},
        span | {"spanId": "2" * 16},
        span | {"spanId": "", "attributes": [email]},
    ]  # fmt: skip
    resource = {"attributes": [email, attribute("service.name", {"stringValue": "cart"})]}
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    broken = json.dumps(request)[:-5]
    return f"{json.dumps(request)}\n{broken}\n" + "\x00" + SECRETS[1] + "\n"


def test_no_value_is_stored_and_the_rest_stays(warehouse, tmp_path):
    given = file(tmp_path, "otlp_traces", traces(), "user.email", "user.id")
    (outcome,) = land(warehouse, [given], quarantine_dir=tmp_path / "kept").files
    assert (outcome.records_landed, outcome.records_rejected) == (2, 3)
    found = everything(warehouse, tmp_path / "kept")
    assert not [secret for secret in SECRETS if secret in found]
    ((attributes, resource, events, links),) = warehouse.execute(
        "select attributes, resource_attributes, events, links from raw.spans where record = 1"
    ).fetchall()
    assert json.loads(attributes) == {
        "user.email": keyed(SECRETS[0]), "user": {"email": keyed(SECRETS[3])}, "user.id": keyed(SECRETS[5]),
        "route": "/",
    }  # fmt: skip
    assert json.loads(resource) == {"user.email": keyed(SECRETS[0]), "service.name": "cart"}
    assert keyed(SECRETS[0]) in events
    assert keyed(SECRETS[0]) in links
    assert warehouse.execute("select distinct raw, detail from audit.quarantine").fetchall() == [
        (personal_data.WITHHELD, personal_data.WITHHELD)
    ]


@pytest.mark.parametrize(
    ("format_name", "content", "names"),
    [
        ("incidents", json.dumps([{"incident_id": "I", "created_at": "2024-01-01T00:00:00Z", "who": SECRETS[0],
                                   "team": {"who": SECRETS[1], "x": [{"who": SECRETS[2]}]}}]), ["who"]),
        ("incident_csv", f"incident_id,created_at,who\nI,2024-01-01T00:00:00Z,{SECRETS[0]}\n", ["who"]),
        ("prometheus", json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"__name__": "up", "user": SECRETS[0]}, "values": [[1704103200, "1"]]}]}}), ["user"]),
        ("json_lines", json.dumps({"time": "2024-01-01T00:00:00Z", "message": "paid", "user": {"email": SECRETS[0]},
                                   "user.email": SECRETS[1]}), ["user.email"]),
        ("otlp_logs", json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"timeUnixNano": "1704103200000000000", "body": {"kvlistValue": {"values": [
                attribute("email", {"stringValue": SECRETS[0]}), attribute("x", {"kvlistValue": {"values": [
                    attribute("email", {"stringValue": SECRETS[1]})]}})]}}}]}]}]}), ["email"]),
        ("json_lines", json.dumps({"time": "2024-01-01T00:00:00Z", "message": SECRETS[0]}), ["body"]),
        ("deploys", json.dumps([{"deploy_id": "d", "service": "s", "deployed_at": "2024-01-01T00:00:00Z",
                                 "by": {"name": SECRETS[0], "all": [SECRETS[1]]}}]), ["by"]),
        ("deploys", '[{"deploy_id": "d", "service": "s", "deployed_at": "2024-01-01T00:00:00Z", "x": {"b~/y\\"": "'
         + SECRETS[0] + '", "b~/y\\"": "' + SECRETS[1] + '"}, "b~/y\\"": "' + SECRETS[2] + '"}]', ['b~/y"']),
    ],
)  # fmt: skip
def test_every_place_of_a_value_is_hidden(warehouse, tmp_path, format_name, content, names):
    (outcome,) = land(warehouse, [file(tmp_path, format_name, content, *names)]).files
    assert (outcome.status, outcome.records_landed) == ("loaded", 1), outcome.message
    found = everything(warehouse, tmp_path / "kept")
    assert not [secret for secret in SECRETS if secret in found]
    assert "keyed:" in found


NOON = "2024-01-01T12:00:00Z"
LINE = {"timestamp": NOON, "message": "paid"}
DEPLOY = {"deploy_id": "d", "service": "s", "deployed_at": "2024-01-01T00:00:00Z"}
ISSUE = {"key": "A-1", "fields": {"created": "2024-01-01T00:00:00.000+0000", "issuetype": {"name": "Bug"}}}
LOG = {"timeUnixNano": "1704103200000000000", "body": {"stringValue": "x"}}
SPAN = {"traceId": "1" * 32, "spanId": "1" * 16, "name": "GET /", "startTimeUnixNano": "1704103200000000000",
        "endTimeUnixNano": "1704103200000000001"}  # fmt: skip
RESOURCE = {"attributes": [attribute(f"service.{name}", {"stringValue": SECRETS[0]}) for name in ("name", "version")]}
ZIPKIN = {"traceId": "1" * 32, "id": "1" * 16, "name": "get", "timestamp": 1704103200000000, "duration": 1,
          "remoteEndpoint": {"serviceName": SECRETS[0], "ipv4": SECRETS[1]}, "tags": {"error": SECRETS[2]}}  # fmt: skip


def jira(**fields: object) -> str:
    return json.dumps({"issues": [ISSUE | {"fields": ISSUE["fields"] | fields}]})


def moved(format_name: str, content: str, names: list[str], **fields: str) -> object:
    return pytest.param(format_name, content, names, fields, id=f"{format_name}-{'-'.join([*names, *fields])}")


@pytest.mark.parametrize(
    ("format_name", "content", "names", "fields"),
    [
        moved("json_lines", json.dumps(LINE | {"message": SECRETS[0]}), ["message"]),
        moved("json_lines", json.dumps(LINE | {"service": {"name": SECRETS[0]}}), ["service"]),
        moved("json_lines", json.dumps(LINE | {"user": SECRETS[0]}), ["user"], service_name="user"),
        moved("json_lines", json.dumps(LINE | {"user": {"id": SECRETS[0]}}), ["user"], service_name="user.id"),
        moved("json_lines", json.dumps(LINE | {"user": {"login": SECRETS[0]}}), ["login"], service_name="user.login"),
        moved("json_lines", json.dumps(LINE | {"user": SECRETS[0]}), ["user"], event_name="user"),
        moved("logfmt", f"ts=2024-01-01T10:00:00Z msg=x user={SECRETS[0]}", ["user"], service_name="user"),
        moved("syslog", f"<34>1 2024-01-01T10:00:00Z h {SECRETS[0]} - ID47 - hi", ["service.name"]),
        moved("otlp_logs", json.dumps({"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [LOG]}]}]}),
              ["service.name", "service.version"]),
        moved("otlp_logs", json.dumps({"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [LOG]}]}]}),
              ["service_name", "service.version"]),
        moved("otlp_traces", json.dumps({"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [SPAN]}]}]}),
              ["service.name", "service.version"]),
        moved("zipkin", json.dumps([ZIPKIN]), ["serviceName", "ipv4", "error"]),
        moved("prometheus", json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"__name__": "up", "job": SECRETS[0]}, "values": [[1704103200, "1"]]}]}}), ["job"]),
        moved("jira", jira(customfield_1=SECRETS[0]), ["customfield_1"], team="customfield_1"),
        moved("jira", jira(customfield_1=SECRETS[0]), ["fields.customfield_1"], team="customfield_1"),
        moved("jira", jira(customfield_1={"value": SECRETS[0]}), ["customfield_1"], team="customfield_1.value"),
        moved("jira", jira(customfield_1={"value": SECRETS[0]}), ["team"], team="customfield_1.value"),
        moved("jira", f"Issue key,Status,Created,Assigned\nA-1,Done,01/Jan/24 9:00 AM,{SECRETS[0]}\n", ["Assigned"],
              team="assigned"),
        moved("deploys", json.dumps([DEPLOY | {"who": SECRETS[0]}]), ["who"], commit="who"),
        moved("deploys", json.dumps([DEPLOY | {"who": {"name": SECRETS[0]}}]), ["who.name"], commit="who"),
        moved("deploys", json.dumps([DEPLOY | {"who": SECRETS[0]}]), ["commit"], commit="who"),
        moved("incident_csv", f"incident_id,created_at,Title\nI,2024-01-01T00:00:00Z,{SECRETS[0]}\n", ["Title"]),
        moved("feature_flags", json.dumps([{"flag": SECRETS[0], "changed_at": "2024-01-01T00:00:00Z", "to": True}]),
              ["flag"]),
    ],
)  # fmt: skip
def test_a_value_is_hidden_where_the_format_moves_it(warehouse, tmp_path, format_name, content, names, fields):
    given = file(tmp_path, format_name, content + "\n", *names)
    read_as = FORMATS[format_name].with_options(ReadOptions(fields=fields))
    (outcome,) = land(warehouse, [replace(given, format=read_as)]).files
    assert (outcome.status, outcome.records_landed) == ("loaded", 1), outcome.message
    tables = {target.table for target in read_as.targets}
    found = str([warehouse.execute(f"select * from {name}").fetchall() for name in tables])
    assert not [secret for secret in SECRETS if secret in found]
    assert "keyed:" in found


@pytest.mark.parametrize(
    ("format_name", "content", "names", "fields", "column"),
    [
        ("json_lines", LINE | {"id": SECRETS[0]}, ["traceId"], {}, "trace_id, a uuid"),
        ("json_lines", LINE | {"level": "info"}, ["level"], {}, "severity_number, a utinyint"),
        ("json_lines", LINE | {"when": NOON}, ["when"], {"occurred_at": "when"}, "occurred_at, a time"),
        ("deploys", DEPLOY | {"when": NOON}, ["when"], {"deployed_at": "when"}, "deployed_at, a time"),
    ],
)  # fmt: skip
def test_what_cannot_be_hidden_is_not_loaded(warehouse, tmp_path, format_name, content, names, fields, column):
    given = file(tmp_path, format_name, json.dumps(content) + "\n", *names)
    read_as = FORMATS[format_name].with_options(ReadOptions(fields=fields))
    (outcome,) = land(warehouse, [replace(given, format=read_as)]).files
    assert outcome.status == "failed"
    assert column in outcome.message
    assert SECRETS[0] not in everything(warehouse, tmp_path / "kept")


def test_formats_with_columns_say_what_fills_them():
    without = {name for name, each in FORMATS.items() if not each.filled_from}
    assert {FORMATS[name].table for name in without} <= {"raw.deploys", "raw.incidents"}, "they keep what was sent"


def test_names_that_have_nothing_in_common_stay_clear(warehouse, tmp_path):
    line = json.dumps(LINE | {"id": SECRETS[0], "service": "cart", "name": SECRETS[1]}) + "\n"
    land(warehouse, [file(tmp_path, "json_lines", line, "id", "name")])
    assert warehouse.execute("select service_name, body from raw.logs").fetchall() == [("cart", "paid")]


def test_what_is_null_or_missing_stays_so(warehouse, tmp_path):
    content = json.dumps([{"incident_id": n, "created_at": "2024-01-01T00:00:00Z", **more}
                          for n, more in enumerate([{"who": None}, {}, {"who": ""}])])  # fmt: skip
    land(warehouse, [file(tmp_path, "incidents", content, "who")])
    found = warehouse.execute("select payload from raw.incidents order by line").fetchall()
    assert [json.loads(payload).get("who", "missing") for (payload,) in found] == [None, "missing", keyed("")]


@pytest.mark.parametrize(("key", "message"), [("", "is not set"), ("short", "has 5 characters")])
def test_without_a_key_nothing_lands(warehouse, tmp_path, monkeypatch, key, message):
    monkeypatch.setenv(personal_data.KEY_VARIABLE, key)
    (outcome,) = land(warehouse, [file(tmp_path, "otlp_traces", traces(), "user.email")]).files
    assert outcome.status == "failed"
    assert message in outcome.message
    assert warehouse.execute("select count(*) from audit.loads").fetchall() == [(0,)]


def test_another_list_of_names_replaces_the_load(warehouse, tmp_path):
    given = file(tmp_path, "otlp_traces", traces())
    land(warehouse, [given], quarantine_dir=tmp_path / "kept")
    assert SECRETS[0] in everything(warehouse, tmp_path)
    for names, replaces in ((("user.email", "user.id"), 1), (("user.id", "user.email"), None), (("user.id",), 2)):
        (outcome,) = land(warehouse, [replace(given, personal_data=names)]).files
        assert outcome.replaces == replaces
        if replaces == 1:
            assert not [secret for secret in SECRETS if secret in everything(warehouse, tmp_path / "none")]
            (reading,) = warehouse.execute("select reading from audit.loads where load_id = 2").fetchone()
            assert json.loads(reading) == {"personal_data": ["user.email", "user.id"]}
