"""Alertmanager's webhook notifications and answers of its API v2, as rows of `raw.tickets`: an alert each time it was
sent, under its fingerprint and start. What a resolved notification ends is staging's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import orjson

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, check_clock, clock, listed_or_single, nested
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: the alert is firing
_STATUSES = frozenset({"firing", "resolved"})
_STATES = frozenset({"unprocessed", "active", "suppressed"})


def _columns(alert: Mapping[str, Any]) -> dict[str, str]:
    labels = nested(alert, "labels")
    starts_at = clock(alert, "startsAt")
    if alert.get("endsAt") != NEVER:
        check_clock(alert, "endsAt")
    _check_status(alert.get("status"))
    # The webhook writes nanoseconds, the API milliseconds, of the same start.
    start = starts_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{starts_at.microsecond // 1000:03}Z"
    return {"system": "alertmanager", "ticket_id": f"{_fingerprint(alert, labels)}@{start}"}


def _check_status(status: object) -> None:
    if isinstance(status, dict):
        if not isinstance(state := status.get("state"), str) or state not in _STATES:
            raise Malformed(f"status.state is {state!r:.80}", Reason.ENUM_UNKNOWN)
    elif status is not None and (not isinstance(status, str) or status not in _STATUSES):
        raise Malformed(f"status is {status!r:.80}", Reason.ENUM_UNKNOWN)


def _fingerprint(alert: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    """As sent; old versions send none, and there the labels are what tells alerts apart."""
    found = alert.get("fingerprint")
    if isinstance(found, str) and found.strip():
        return found
    if not labels:
        raise Malformed("neither fingerprint nor labels", Reason.ID_MISSING)
    return hashlib.sha256(orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


_ENTITY = Entity(
    objects=listed_or_single("alerts", is_single=lambda value: "labels" in value),
    columns=_columns,
    arrays=("alerts",),
)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return json_objects.batches(stream, _ENTITY)


def _recognises(start: bytes) -> bool:
    return start.lstrip()[:1] in (b"{", b"[") and all(key in start for key in (b'"startsAt"', b'"labels"'))


FORMAT = Format(
    name="alertmanager",
    table="raw.tickets",
    happened_at="try_cast(payload ->> 'startsAt' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    filled_from={"ticket_id": ("fingerprint",)},
)
