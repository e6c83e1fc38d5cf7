"""Alertmanager's notifications and its API's answers: what an alert's id is, what lands, what is refused."""

from __future__ import annotations

import json

import pytest

from dagster_project.sources.registry import FORMATS

ALERT = {
    "status": "firing",
    "labels": {"alertname": "SlowCheckout", "severity": "critical", "service": "checkout"},
    "annotations": {"summary": "Checkout is slow"},
    "startsAt": "2023-01-29T08:44:04.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph",
    "fingerprint": "1a30ba71cca2921f",
}
WEBHOOK = {"version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "web", "alerts": [ALERT]}
OF_API = ALERT | {
    "startsAt": "2023-01-29T08:44:04.123Z",
    "endsAt": "2023-01-29T08:49:04.123Z",
    "updatedAt": "2023-01-29T08:45:04.123Z",
    "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
}
ALERT_ID = "1a30ba71cca2921f@2023-01-29T08:44:04.123Z"


@pytest.mark.parametrize("document", [WEBHOOK, [OF_API], ALERT, {"alerts": [OF_API]}])
def test_an_alert_has_one_id_wherever_it_comes_from(land_bytes, document):
    content = json.dumps(document).encode()
    assert FORMATS["alertmanager"].recognises(content)
    landed = land_bytes("alertmanager", content)
    assert [(row["system"], row["ticket_id"]) for row in landed.rows] == [("alertmanager", ALERT_ID)]
    assert json.loads(landed.rows[0]["payload"]) in (ALERT, OF_API)
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


def test_notifications_one_a_line_land(land_bytes):
    resolved = ALERT | {"status": "resolved", "endsAt": "2023-01-29T09:00:00Z"}
    lines = [WEBHOOK, WEBHOOK | {"alerts": [resolved, ALERT | {"fingerprint": "b"}]}]
    landed = land_bytes("alertmanager", "\n".join(json.dumps(line) for line in lines).encode())
    assert [(row["line"], row["record"], row["ticket_id"][:2]) for row in landed.rows] == [
        (1, 1, "1a"),
        (2, 1, "1a"),
        (2, 2, "b@"),
    ]


def test_without_a_fingerprint_the_labels_tell_alerts_apart(land_bytes):
    bare = {key: value for key, value in ALERT.items() if key != "fingerprint"}
    turned = bare | {"labels": dict(reversed(bare["labels"].items()))}
    other = bare | {"labels": bare["labels"] | {"service": "cart"}}
    ids = [row["ticket_id"] for row in land_bytes("alertmanager", json.dumps([bare, turned, other]).encode()).rows]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": None}, "structure"),
        ({"labels": {}, "fingerprint": ""}, "id_missing"),
        ({"startsAt": None}, "time_missing"),
        ({"startsAt": "0001-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"endsAt": "then"}, "time_malformed"),
        ({"endsAt": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"status": "pending"}, "enum_unknown"),
        ({"status": {"state": []}}, "enum_unknown"),
        ({"status": ["firing"]}, "enum_unknown"),
    ],
)
def test_a_bad_alert_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("alertmanager", json.dumps(WEBHOOK | {"alerts": [ALERT, ALERT | changes, ALERT]}).encode())
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


@pytest.mark.parametrize(("content", "reason"), [(b"{}", "other_format"), (b'{"alerts": {}}', "other_format")])
def test_another_document_is_refused(land_bytes, content, reason):
    assert land_bytes("alertmanager", content).reasons == [(1, None, reason)]


def test_a_notification_without_alerts_is_empty(land_bytes):
    assert land_bytes("alertmanager", json.dumps(WEBHOOK | {"alerts": []}).encode()).outcome.status == "empty"
