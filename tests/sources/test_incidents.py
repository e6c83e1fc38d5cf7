"""Incidents in Hindcast's own form: what lands as it was sent, and what is refused with a reason."""

from __future__ import annotations

import gzip
import json

import pytest


def incident(**changes: object) -> dict[str, object]:
    good = {"incident_id": "INC-1", "title": "down", "severity": "P1", "created_at": "2023-01-29T08:44:04Z"}
    return {name: value for name, value in (good | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resolved_at": None},
        {"resolved_at": "2023-01-29T08:00:00Z"},  # before it was created: staging flags it
        {"created_at": "2023-01-29T08:44:04+08:00"},
        {"created_at": "2023-01-29"},
        {"incident_id": 7},
    ],
)
def test_an_incident_lands_as_it_was_sent(land_bytes, changes):
    landed = land_bytes("incidents", json.dumps([incident(**changes)]).encode())
    assert landed.reasons == []
    assert json.loads(landed.rows[0]["payload"]) == incident(**changes)
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"incident_id": ...}, "id_missing"),
        ({"incident_id": " "}, "id_missing"),
        ({"created_at": ...}, "time_missing"),
        ({"created_at": "soon"}, "time_malformed"),
        ({"created_at": 1674981600}, "time_malformed"),
        ({"created_at": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"resolved_at": "later"}, "time_malformed"),
        ({"created_at": "20240129T084404"}, "time_malformed"),  # Python reads it, the engine does not
        ({"created_at": "2024-W05-1"}, "time_malformed"),
        ({"created_at": "2024-01-29T08"}, "time_malformed"),
    ],
)
def test_a_bad_incident_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("incidents", json.dumps([incident(), incident(**changes), incident(incident_id="2")]).encode())
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (3, 1)]
    assert landed.reasons == [(2, 1, reason)]
    assert json.loads(landed.refusals[0]["raw"]) == incident(**changes)


def test_an_incident_nested_beyond_reading_is_refused_alone(land_bytes):
    deep = "[" * 300 + "]" * 300
    content = json.dumps([incident(), incident(note="deep"), incident(incident_id="2")]).replace('"deep"', deep)
    landed = land_bytes("incidents", content.encode())
    assert [row["line"] for row in landed.rows] in ([1, 3], [1, 2, 3])
    assert landed.outcome.records_read == 3


def test_fields_without_a_use_are_kept_and_named(land_bytes):
    landed = land_bytes("incidents", json.dumps([incident(colour="red")]).encode())
    assert landed.outcome.unknown_fields == ("colour",)
    assert json.loads(landed.rows[0]["payload"])["colour"] == "red"


@pytest.mark.parametrize(("content", "reason"), [(b"[", "not_json"), (b"{}", "other_format"), (b"[3]", "structure")])
def test_a_document_of_something_else_has_failed(land_bytes, content, reason):
    landed = land_bytes("incidents", content)
    assert landed.outcome.status == "failed"
    assert landed.reasons[0][2] == reason


def test_incidents_one_a_line_land(land_bytes):
    lines = [json.dumps(incident(incident_id=str(n))) for n in range(3)]
    landed = land_bytes("incidents", "\n".join([*lines, '{"id": 3}']).encode())
    assert [(row["line"], row["incident_id"]) for row in landed.rows] == [(1, "0"), (2, "1"), (3, "2")]
    assert landed.reasons == [(4, None, "other_format")]


@pytest.mark.parametrize("clock", ["started_at", "detected_at", "mitigated_at", "closed_at", "reopened_at"])
def test_every_clock_is_a_time(land_bytes, clock):
    landed = land_bytes("incidents", json.dumps([incident(**{clock: "2101-01-01T00:00:00Z"})]).encode())
    assert landed.reasons == [(1, 1, "time_out_of_range")]


def test_an_element_that_is_no_json_is_refused_alone(land_bytes):
    landed = land_bytes(
        "incidents", json.dumps([incident(), 1, incident(incident_id="3")]).encode().replace(b"1,", b"1x,")
    )
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, None, "not_json")]


def test_a_list_that_breaks_off_keeps_its_whole_incidents(land_bytes):
    rows = [incident(incident_id=str(n), title=f"down {n * 7919 % 1009}") for n in range(5000)]
    packed = gzip.compress(json.dumps(rows).encode())
    landed = land_bytes("incidents", packed[: len(packed) // 2])
    whole = len(landed.rows)
    assert 1000 < whole < 4000
    assert [json.loads(row["payload"]) for row in landed.rows] == rows[:whole]
    assert landed.reasons == [(whole + 1, None, "truncated_gzip")]
