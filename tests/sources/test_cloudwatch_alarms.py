"""CloudWatch alarms: the API's answers, EventBridge's events and SNS's messages; what lands and what is refused."""

from __future__ import annotations

import json

import pytest

from dagster_project.sources.registry import FORMATS

ALARM = {
    "AlarmName": "checkout-errors",
    "AlarmArn": "arn:aws:cloudwatch:eu-central-1:000000000000:alarm:checkout-errors",
    "StateValue": "ALARM",
    "StateUpdatedTimestamp": "2023-01-29T08:44:04.123000+00:00",
    "Dimensions": [{"Name": "ServiceName", "Value": "checkout"}],
}
DATA = {"version": "1.0", "oldState": {"stateValue": "OK"}, "newState": {"stateValue": "ALARM"}}
HISTORY = {
    "AlarmName": "checkout-errors",
    "AlarmType": "MetricAlarm",
    "Timestamp": "2023-01-29T08:44:04.123000+00:00",
    "HistoryItemType": "StateUpdate",
    "HistorySummary": "Alarm updated from OK to ALARM",
    "HistoryData": json.dumps(DATA),
}
EVENT = {
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "time": "2023-01-29T08:44:04Z",
    "detail": {
        "alarmName": "checkout-errors",
        "state": {"value": "ALARM", "timestamp": "2023-01-29T08:44:04.123+0000"},
        "previousState": {"value": "OK", "timestamp": "2023-01-29T07:44:04.123+0000"},
    },
}
MESSAGE = {
    "AlarmName": "checkout-errors",
    "NewStateValue": "ALARM",
    "OldStateValue": "OK",
    "StateChangeTime": "2023-01-29T08:44:04.123+0000",
    "Trigger": {"Dimensions": [{"name": "ServiceName", "value": "checkout"}]},
}
NOTICE = {"Type": "Notification", "Timestamp": "2023-01-29T08:44:05.000Z", "Message": json.dumps(MESSAGE)}


def without(value: dict[str, object], name: str) -> dict[str, object]:
    return {key: each for key, each in value.items() if key != name}


@pytest.mark.parametrize(
    ("document", "payloads"),
    [
        ({"MetricAlarms": [ALARM], "CompositeAlarms": [ALARM]}, [ALARM, ALARM]),
        ({"AlarmHistoryItems": [HISTORY]}, [HISTORY | {"HistoryData": DATA}]),
        (
            {"AlarmHistoryItems": [HISTORY | {"HistoryItemType": "Action", "HistoryData": "text"}]},
            [HISTORY | {"HistoryItemType": "Action", "HistoryData": "text"}],
        ),
        (EVENT, [EVENT]),
        ([EVENT, MESSAGE], [EVENT, MESSAGE]),
        (MESSAGE, [MESSAGE]),
        (NOTICE, [NOTICE | {"Message": MESSAGE}]),
        ({"Records": [{"EventSource": "aws:sns", "Sns": NOTICE}]}, [NOTICE | {"Message": MESSAGE}]),
    ],
)
@pytest.mark.parametrize("indent", [None, 4])
def test_every_kind_of_record_lands_under_the_alarm(land_bytes, document, payloads, indent):
    content = json.dumps(document, indent=indent).encode()
    assert FORMATS["cloudwatch_alarms"].recognises(content)
    landed = land_bytes("cloudwatch_alarms", content)
    assert [(row["system"], row["ticket_id"]) for row in landed.rows] == [("cloudwatch", "checkout-errors")] * len(
        payloads
    )
    assert [json.loads(row["payload"]) for row in landed.rows] == payloads
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


def test_events_one_a_line_land(land_bytes):
    lines = [json.dumps(each) for each in (EVENT, MESSAGE, NOTICE, ALARM)]
    landed = land_bytes("cloudwatch_alarms", "\n".join([*lines, "{", '{"x": 1}']).encode())
    assert [row["line"] for row in landed.rows] == [1, 2, 3, 4]
    assert landed.reasons == [(5, None, "not_json"), (6, None, "other_format")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({}, "other_format"),
        (3, "structure"),
        (without(ALARM, "AlarmName"), "id_missing"),
        (ALARM | {"StateValue": "RED"}, "enum_unknown"),
        (ALARM | {"StateValue": ["OK"]}, "enum_unknown"),
        (ALARM | {"StateUpdatedTimestamp": 1674981844.1}, "time_malformed"),
        (without(ALARM, "StateUpdatedTimestamp"), "time_missing"),
        (HISTORY | {"Timestamp": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
        (HISTORY | {"HistoryData": "{"}, "field_malformed"),
        (HISTORY | {"HistoryData": "[]"}, "structure"),
        (HISTORY | {"HistoryData": '{"newState": {"stateValue": 1}}'}, "enum_unknown"),
        (HISTORY | {"HistoryData": "{}"}, "structure"),
        (EVENT | {"detail": None}, "structure"),
        (EVENT | {"detail": EVENT["detail"] | {"alarmName": ""}}, "id_missing"),
        (EVENT | {"detail": EVENT["detail"] | {"state": {"value": "ALARM"}}}, "time_missing"),
        (MESSAGE | {"NewStateValue": None}, "enum_unknown"),
        (NOTICE | {"Message": "not json"}, "field_malformed"),
        (NOTICE | {"Message": "{}"}, "time_missing"),
    ],
)
def test_a_bad_record_is_refused_alone(land_bytes, bad, reason):
    landed = land_bytes("cloudwatch_alarms", json.dumps([ALARM, bad, EVENT]).encode())
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]
