"""CloudWatch alarms as rows of `raw.tickets`, under the alarm's name: alarms and their history as the API answers, and
changes of state as EventBridge and SNS send them. Which changes make an episode is staging's business.

JSON that arrives as text inside of JSON (HistoryData, an SNS Message) is kept as JSON under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import (
    Entity,
    as_json,
    check_clock,
    identifier,
    listed_or_single,
    nested,
)
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

STATES = frozenset({"OK", "ALARM", "INSUFFICIENT_DATA"})
LISTINGS = ("MetricAlarms", "CompositeAlarms", "AlarmHistoryItems", "Records")


def _columns(sent: Mapping[str, Any]) -> dict[str, str]:
    record = dict(sent["Sns"]) if isinstance(sent.get("Sns"), dict) else dict(sent)
    if isinstance(record.get("detail-type"), str):
        name = _event(record)
    elif isinstance(record.get("Message"), str):
        record["Message"] = _object_in(record, "Message")
        name = _notification(record["Message"])
    elif "HistoryItemType" in record:
        name = _history(record)
    elif "NewStateValue" in record:
        name = _notification(record)
    elif "StateValue" in record:
        name = _alarm(record)
    else:
        raise Malformed("neither an alarm, nor its history, nor a change of its state", Reason.OTHER_FORMAT)
    return {"system": "cloudwatch", "ticket_id": name, "payload": as_json(record)}


def _event(record: Mapping[str, Any]) -> str:
    check_clock(record, "time", is_required=True)
    detail = nested(record, "detail")
    name = identifier(detail, "alarmName")
    state = nested(detail, "state")
    check_clock(state, "timestamp", is_required=True)
    _check_state(state, "value")
    if isinstance(previous := detail.get("previousState"), dict):
        check_clock(previous, "timestamp")
        _check_state(previous, "value")
    return name


def _notification(message: Mapping[str, Any]) -> str:
    check_clock(message, "StateChangeTime", is_required=True)
    _check_state(message, "NewStateValue")
    return identifier(message, "AlarmName")


def _history(record: dict[str, Any]) -> str:
    check_clock(record, "Timestamp", is_required=True)
    if record.get("HistoryItemType") == "StateUpdate":
        record["HistoryData"] = _object_in(record, "HistoryData")
        _check_state(nested(record["HistoryData"], "newState"), "stateValue")
    return identifier(record, "AlarmName")


def _alarm(record: Mapping[str, Any]) -> str:
    _check_state(record, "StateValue")
    check_clock(record, "StateUpdatedTimestamp", is_required=True)
    check_clock(record, "StateTransitionedTimestamp")
    return identifier(record, "AlarmName")


def _check_state(value: Mapping[str, Any], name: str) -> None:
    found = value.get(name)
    if not isinstance(found, str) or found not in STATES:
        raise Malformed(f"{name} is {found!r:.80}, none of {', '.join(sorted(STATES))}", Reason.ENUM_UNKNOWN)


def _object_in(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object that is sent as JSON text, or as it is."""
    sent = record.get(name)
    try:
        found = orjson.loads(sent) if isinstance(sent, str) else sent
    except orjson.JSONDecodeError as error:
        raise Malformed(f"{name} is no JSON: {error}", Reason.FIELD_MALFORMED) from None
    if not isinstance(found, dict):
        raise Malformed(f"{name} holds no object", Reason.STRUCTURE)
    return found


_MARKS = ("detail-type", "HistoryItemType", "NewStateValue", "StateValue", "Message", "Sns")
_ENTITY = Entity(
    objects=listed_or_single(*LISTINGS, is_single=lambda value: any(mark in value for mark in _MARKS)),
    columns=_columns,
    arrays=LISTINGS,
)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return json_objects.batches(stream, _ENTITY)


def _recognises(start: bytes) -> bool:
    is_api = b'"AlarmName"' in start and any(
        key in start for key in (b'"HistoryItemType"', b'"StateValue"', b'"NewStateValue"')
    )
    is_event = b'"CloudWatch Alarm State Change"' in start
    is_sns = b'\\"AlarmName\\"' in start and b'\\"NewStateValue\\"' in start
    return start.lstrip()[:1] in (b"{", b"[") and (is_api or is_event or is_sns)


# One of these stands in each kind of record.
_CLOCKS = (
    "payload ->> 'Timestamp'",
    "payload ->> '$.detail.state.timestamp'",
    "payload ->> 'StateChangeTime'",
    "payload ->> '$.Message.StateChangeTime'",
    "payload ->> 'StateUpdatedTimestamp'",
)

FORMAT = Format(
    name="cloudwatch_alarms",
    table="raw.tickets",
    # Of a notification, Timestamp is when it was published: next to when the state changed.
    happened_at=f"try_cast(coalesce({', '.join(_CLOCKS)}) as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
    filled_from={"ticket_id": ("AlarmName", "alarmName", "detail.alarmName")},
)
