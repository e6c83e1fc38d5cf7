"""Flags, LaunchDarkly's audit log and configuration: what lands, what is refused, and what is stored nowhere."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.sources.changes.secret_values import MARKER, is_secret_key, without_secrets
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.registry import FORMATS

FLAG = {
    "flag": "new_till", "environment": "production", "changed_at": "2024-01-02T10:00:00Z", "from": False, "to": True,
    "service": "till",
}  # fmt: skip
SETTING = {"key": "pool.size", "service": "till", "changed_at": "2024-01-02T10:00:00Z", "from": 5, "to": 50}


def payloads(landed) -> list[dict[str, object]]:
    return [json.loads(row["payload"]) for row in landed.rows]


def as_csv(*entries: dict[str, object]) -> bytes:
    rows = [",".join(str(value) for value in entry.values()) for entry in entries]
    return "\n".join([",".join(entries[0]), *rows, ""]).encode()


# --- lists ------------------------------------------------------------------------------------------------------------


def test_an_array_lines_and_csv_say_the_same(land_bytes):
    other = FLAG | {"flag": "other"}
    array = land_bytes("feature_flags", json.dumps([FLAG, other]).encode(), "array")
    lines = land_bytes("feature_flags", f"{json.dumps(FLAG)}\n{json.dumps(other)}\n".encode(), "lines")
    table = land_bytes("feature_flags", as_csv(FLAG, other), "table")
    assert payloads(array) == payloads(lines) == [FLAG, other]
    assert payloads(table) == [each | {"from": "False", "to": "True"} for each in (FLAG, other)]
    assert [row["change_id"] for row in array.rows] == [row["change_id"] for row in lines.rows]
    assert array.rows[0]["change_id"].startswith("new_till@production@2024-01-02T10:00:00Z@")
    assert {row["system"] for row in array.rows} == {"feature_flag"}
    assert [row["line"] for row in table.rows] == [2, 3]
    assert [str(day) for day in array.outcome.event_days] == ["2024-01-02"]


def test_an_id_that_was_sent_is_kept_and_made_ones_differ_by_content(land_bytes):
    landed = land_bytes(
        "feature_flags", json.dumps([FLAG | {"change_id": 7}, FLAG, FLAG | {"to": None}, FLAG]).encode()
    )
    ids = [row["change_id"] for row in landed.rows]
    assert ids[0] == "7"
    assert ids[1] == ids[3] != ids[2]


def test_who_changed_it_is_left_out_everywhere(land_bytes):
    by = {"changed_by": "Ann Invented", "approved_by": "Bo Invented"}
    landed = land_bytes("feature_flags", json.dumps([FLAG | by, FLAG | by | {"flag": ""}]).encode())
    assert landed.reasons == [(2, 1, "id_missing")]
    assert "Invented" not in landed.rows[0]["payload"] + landed.refusals[0]["raw"]
    assert landed.outcome.unknown_fields == ("approved_by", "changed_by")


@pytest.mark.parametrize(
    ("name", "entry", "field"), [("feature_flags", FLAG, "flag"), ("configuration_changes", SETTING, "key")]
)
@pytest.mark.parametrize(
    ("value", "at", "reason"),
    [
        (None, "2024-01-02T10:00:00Z", "id_missing"),
        ("x", None, "time_missing"),
        ("x", "soon", "time_malformed"),
        ("x", True, "time_malformed"),
        ("x", 5, "time_malformed"),
        ("x", 99999999999999999999, "time_malformed"),
        ("x", "1969-01-01", "time_out_of_range"),
        ("x", [], "time_malformed"),
    ],
)
def test_a_bad_one_is_refused_alone(land_bytes, name, entry, field, value, at, reason):
    landed = land_bytes(
        name, json.dumps([entry, entry | {field: value, "changed_at": at}, entry | {field: "y"}]).encode()
    )
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


@pytest.mark.parametrize(
    ("sent", "zone", "stored"),
    [
        (1704189600, "UTC", "2024-01-02T10:00:00Z"),
        ("1704189600", "UTC", "2024-01-02T10:00:00Z"),
        (1704189600123, "UTC", "2024-01-02T10:00:00.123000Z"),
        ("2024-01-02 10:00:00", "UTC", "2024-01-02 10:00:00"),
        ("2024-01-02 10:00:00", "Europe/Berlin", "2024-01-02T09:00:00+00:00"),
        ("2024-07-02T10:00:00", "Europe/Berlin", "2024-07-02T08:00:00+00:00"),
        ("2024-01-02T10:00:00+05:00", "Europe/Berlin", "2024-01-02T10:00:00+05:00"),
        ("2024-01-02T10:00:00Z", "Europe/Berlin", "2024-01-02T10:00:00Z"),
    ],
)
def test_unix_times_and_times_of_the_source_s_zone_become_utc(tmp_path, sent, zone, stored):
    path = tmp_path / "file"
    path.write_text(json.dumps([FLAG | {"changed_at": sent}]))
    decoding = FORMATS["feature_flags"].with_options(ReadOptions(time_zone=zone)).open(path)
    (batch,) = (each for each in decoding if each.records)
    assert json.loads(batch.tables["json_objects"]["payload"][0].as_py())["changed_at"] == stored


def test_a_source_s_own_names_and_service_are_used(tmp_path):
    options = ReadOptions(service_name="shop", fields={"flag": "name", "changed_at": "when.at"})
    path = tmp_path / "file"
    path.write_text(json.dumps([{"name": "new_till", "when": {"at": "2024-01-02T10:00:00Z"}, "to": True}]))
    (batch,) = (each for each in FORMATS["feature_flags"].with_options(options).open(path) if each.records)
    stored = json.loads(batch.tables["json_objects"]["payload"][0].as_py())
    assert stored == {"flag": "new_till", "changed_at": "2024-01-02T10:00:00Z", "to": True, "service": "shop"}
    assert batch.unknown_fields == frozenset()
    table = replace(options, fields={"flag": "Name", "changed_at": "When"})
    path.write_text("Name,When,to\nnew_till,2024-01-02T10:00:00Z,on\n")
    (batch,) = (each for each in FORMATS["feature_flags"].with_options(table).open(path) if each.records)
    assert batch.records == 1


def test_deploys_take_unix_times_and_names_too(land_bytes, tmp_path):
    deploy = {"deploy_id": "D1", "service": "shop", "deployed_at": 1704189600}
    assert payloads(land_bytes("deploys", json.dumps([deploy]).encode()))[0]["deployed_at"] == "2024-01-02T10:00:00Z"


# --- LaunchDarkly -----------------------------------------------------------------------------------------------------

ENTRY = {
    "_id": "5f0c1", "_accountId": "5e0c1", "date": 1704189600000, "kind": "flag", "name": "New till",
    "titleVerb": "turned on the flag",
    "title": "[Ann Invented](mailto:ann@example.org) turned on the flag [New till](https://example.org)",
    "description": "* Ann Invented did", "comment": "asked by Bo Invented", "shortDescription": "",
    "member": {"email": "ann@example.org", "firstName": "Ann", "lastName": "Invented"},
    "accesses": [{"action": "updateOn", "resource": "proj/shop:env/production:flag/new-till"}],
}  # fmt: skip


def test_the_audit_log_lands_without_people(land_bytes):
    member = ENTRY | {"_id": "2", "kind": "member", "name": "Bo Invented"}
    bad = ENTRY | {"_id": None}
    landed = land_bytes(
        "launchdarkly", json.dumps({"_links": {}, "items": [ENTRY, member, bad], "totalCount": 3}).encode()
    )
    assert [(row["system"], row["change_id"]) for row in landed.rows] == [
        ("launchdarkly", "5f0c1"),
        ("launchdarkly", "2"),
    ]
    assert payloads(landed)[0]["accesses"] == ENTRY["accesses"]
    assert landed.reasons == [(3, 1, "id_missing")]
    stored = "".join(row["payload"] for row in landed.rows) + landed.refusals[0]["raw"]
    assert not any(word in stored for word in ("Invented", "example.org", "Ann"))
    assert [str(day) for day in landed.outcome.event_days] == ["2024-01-02"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"date": None}, "time_missing"),
        ({"date": "2024"}, "time_malformed"),
        ({"date": True}, "time_malformed"),
        ({"date": 1704189600}, "time_out_of_range"),
        ({"kind": None}, "id_missing"),
    ],
)
def test_a_bad_entry_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("launchdarkly", json.dumps({"items": [ENTRY, ENTRY | changes]}).encode())
    assert landed.reasons == [(2, 1, reason)]


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("db.password", "hunter2"),
        ("API_TOKEN", "hunter2"),
        ("client-secret", {"a": "hunter2"}),
        ("signingKey", ["hunter2"]),
        ("pool", {"size": 5, "passwd": "hunter2"}),
        ("pool", [{"deep": {"aws_secret_access_key": "hunter2"}}]),
        ("database_url", "postgres://till:hunter2@db.example.org/till"),
        ("header", "Bearer hunter2hunter2"),
        ("pem", "-----BEGIN PRIVATE hunter2"),
        ("jwt", "eyJhbGciOiJub25lIn0.eyJodW50ZXIyIjoxfQ.hunter2"),
    ],
)
def test_a_secret_is_stored_nowhere(land_bytes, warehouse, key, value):
    good = SETTING | {"key": key, "to": value, "old_copy": value}
    refused = good | {"changed_at": "soon"}
    content = json.dumps([good, refused, "hunter2"]) + "hunter2"
    landed = land_bytes("configuration_changes", content.encode())
    lines = land_bytes(
        "configuration_changes", f"{json.dumps(good)}\n{json.dumps(refused)}\nhunter2\n".encode(), "lines"
    )
    assert len(landed.rows) == len(lines.rows) == 1
    assert MARKER in landed.rows[0]["payload"]
    kept = [landed.rows, landed.refusals, landed.outcome, lines.rows, lines.refusals, lines.outcome]
    assert "hunter2" not in str(kept)
    assert payloads(landed)[0]["from"] in (5, MARKER)


def test_values_that_are_no_secrets_are_kept_as_they_are(land_bytes):
    landed = land_bytes(
        "configuration_changes", json.dumps([SETTING, SETTING | {"to": {"max": [1, None, "x"]}}]).encode()
    )
    assert [each["to"] for each in payloads(landed)] == [50, {"max": [1, None, "x"]}]
    assert len({row["change_id"] for row in landed.rows}) == 2


@given(st.text(max_size=20), st.sampled_from(["password", "Token", "SECRET", "key"]), st.text(max_size=20))
def test_a_secret_word_anywhere_in_a_key_is_found(before, word, after):
    assert is_secret_key(before + word + after)


def test_a_nest_too_deep_to_look_into_is_not_stored():
    value: object = "hunter2"
    for _ in range(200):
        value = [value]
    assert "hunter2" not in str(without_secrets(value))


# --- recognition ------------------------------------------------------------------------------------------------------

DEPLOY = {"deploy_id": "D1", "service": "shop", "deployed_at": "2024-01-02T10:00:00Z"}


@pytest.mark.parametrize(
    ("name", "entry"), [("feature_flags", FLAG), ("configuration_changes", SETTING), ("deploys", DEPLOY)]
)
def test_a_list_of_any_form_is_recognised_by_one_format(name, entry):
    forms = [
        json.dumps([entry]), json.dumps([entry], indent=2), json.dumps(entry), f"{json.dumps(entry)}\n" * 2,
        as_csv(entry).decode(),
    ]  # fmt: skip
    for form in forms:
        assert [known.name for known in FORMATS.values() if known.recognises(form.encode())] == [name], form
