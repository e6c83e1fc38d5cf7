"""PagerDuty's answers of its REST API v2: which documents are read, what lands, what is refused."""

from __future__ import annotations

import json

import pytest

TICKET = {
    "id": "PABC",
    "type": "incident",
    "incident_number": 7,
    "incident_key": "INC-1",
    "status": "resolved",
    "created_at": "2023-01-29T08:44:04Z",
    "last_status_change_at": "2023-01-29T09:44:04Z",
}
ENTRY = {
    "id": "R1",
    "type": "acknowledge_log_entry",
    "created_at": "2023-01-29T08:45:00Z",
    "incident": {"id": "PABC", "type": "incident_reference"},
}


@pytest.mark.parametrize(
    ("document", "payloads"),
    [
        ({"incidents": [TICKET], "limit": 25, "offset": 0, "more": False}, [TICKET]),
        ({"limit": 25, "log_entries": [ENTRY, TICKET]}, [ENTRY, TICKET]),
        ([TICKET, ENTRY], [TICKET, ENTRY]),
        ({"incident": TICKET}, [TICKET]),
        ({"log_entry": ENTRY}, [ENTRY]),
        (TICKET, [TICKET]),
        (ENTRY, [ENTRY]),
        ({"incidents": [], "more": False}, []),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_documents_of_every_answer_are_read(land_bytes, document, payloads, indent):
    landed = land_bytes("pagerduty", json.dumps(document, indent=indent).encode())
    assert [json.loads(row["payload"]) for row in landed.rows] == payloads
    assert {(row["system"], row["ticket_id"]) for row in landed.rows} <= {("pagerduty", "PABC")}
    assert landed.reasons == []


def test_pages_one_a_line_are_read(land_bytes):
    pages = [{"incidents": [TICKET, TICKET]}, {"log_entries": [ENTRY]}, {"incident": TICKET}]
    lines = [json.dumps(page) for page in pages]
    landed = land_bytes("pagerduty", "\n".join([*lines[:2], "{broken", lines[2], "[]", '{"other": 1}', ""]).encode())
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (1, 2), (2, 1), (4, 1)]
    assert landed.reasons == [(3, None, "not_json"), (6, None, "other_format")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ENTRY | {"incident": None}, "id_missing"),
        (ENTRY | {"incident": {"id": None}}, "id_missing"),
        (TICKET | {"id": ""}, "id_missing"),
        (TICKET | {"created_at": None}, "time_missing"),
        (TICKET | {"created_at": "9999-01-01T00:00:00Z"}, "time_out_of_range"),
        (TICKET | {"resolved_at": "yesterday"}, "time_malformed"),
        ("PABC", "structure"),
        (None, "structure"),
    ],
)
def test_a_bad_one_is_refused_and_its_neighbours_land(land_bytes, bad, reason):
    landed = land_bytes("pagerduty", json.dumps({"incidents": [TICKET, bad, TICKET]}).encode())
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{}", "other_format"),
        (b'{"incidents": 3}', "other_format"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"incidents": [', "not_json"),
    ],
)
def test_another_document_is_refused(land_bytes, content, reason):
    landed = land_bytes("pagerduty", content)
    assert landed.reasons == [(1, None, reason)]
    assert landed.outcome.status == "failed"
