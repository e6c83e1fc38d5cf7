"""Spans of no format, made by hypothesis, and what a row of `raw.spans` must say of them; tests write them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
MICROSECONDS = st.integers(946_684_800_000_000, 4_102_444_799_000_000)
TRACE_IDS = st.one_of(st.integers(1, 2**64 - 1), st.integers(1, 2**128 - 1))
SPAN_IDS = st.integers(1, 2**64 - 1)
INTS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(TEXTS, st.booleans(), INTS, DOUBLES)


@dataclass(frozen=True)
class Event:
    at: int  # microseconds
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    trace: int
    span: int
    parent: int | None
    name: str
    service: str
    kind: int
    started: int  # microseconds
    duration: int  # microseconds
    attributes: dict[str, Any]
    events: list[Event]


def spans(values: st.SearchStrategy[Any], kinds: list[int], *, with_event_attributes: bool) -> st.SearchStrategy[Span]:
    events = st.builds(
        Event,
        at=MICROSECONDS,
        name=TEXTS,
        attributes=st.dictionaries(KEYS, values, max_size=2) if with_event_attributes else st.just({}),
    )
    return st.builds(
        Span,
        trace=TRACE_IDS,
        span=SPAN_IDS,
        parent=st.none() | SPAN_IDS,
        name=TEXTS,
        service=KEYS,
        kind=st.sampled_from(kinds),
        started=MICROSECONDS,
        duration=st.integers(0, 10**6),
        attributes=st.dictionaries(KEYS, values, max_size=4),
        events=st.lists(events, max_size=2),
    )


def typed(value: Any) -> Any:
    """A decoded JSON value in which 2 and 2.0 and true differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, value


def columns_of(row: dict[str, Any]) -> dict[str, Any]:
    """What is compared of a row of `raw.spans`, in which times are microseconds."""
    epoch = row["started_us"]
    return {
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "parent_span_id": row["parent_span_id"],
        "span_name": row["span_name"],
        "service_name": row["service_name"],
        "kind": row["kind"],
        "started": epoch,
        "duration": row["ended_us"] - epoch,
        "attributes": typed(json.loads(row["attributes"] or "{}")),
        "events": typed(json.loads(row["events"] or "[]")),
    }


def expected(span: Span, attributes: dict[str, Any], event_attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """The same of a span, with the attributes that its format gives it and its events."""
    return {
        "trace_id": UUID(int=span.trace),
        "span_id": span.span,
        "parent_span_id": span.parent,
        "span_name": span.name,
        "service_name": span.service,
        "kind": span.kind,
        "started": span.started,
        "duration": span.duration,
        "attributes": typed(attributes),
        "events": typed(
            [
                {
                    "timeUnixNano": f"{event.at}000",
                    "name": event.name,
                    "attributes": attributes,
                    "droppedAttributesCount": 0,
                }
                for event, attributes in zip(span.events, event_attributes, strict=True)
            ]
        ),
    }


def hexadecimal(draw_case: int, number: int, digits: int) -> str:
    """An id as senders write it: with or without leading zeros, in either case."""
    text = f"{number:x}" if draw_case % 2 else f"{number:0{digits}x}"
    return text.upper() if draw_case % 4 > 1 else text
