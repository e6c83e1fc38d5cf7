"""No value that a source declares as personal is stored anywhere, whatever it is part of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

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
