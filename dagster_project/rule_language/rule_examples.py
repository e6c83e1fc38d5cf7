"""The test traces of a rule: terse YAML → spans and log records with sensible defaults.

Running them is `replay.rule_tests`' business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from dagster_project.rule_language.example_records import (
    Example,
    ExampleDeploy,
    ExampleEvent,
    ExampleLink,
    ExampleLog,
    ExampleMetric,
    ExampleSpan,
    ExampleTicket,
)
from dagster_project.rule_language.meaning.model import ENUMERATIONS, Type
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_language.text.yaml_text import Node
from dagster_project.wording import did_you_mean

VERDICTS: Final = ("violated", "satisfied", "inconclusive", "not applicable")

_TEST_FIELDS: Final = ("name", "verdict", "from", "spans", "logs", "metrics", "deploys", "tickets")
_SPAN_FIELDS: Final = (
    "name", "service", "version", "kind", "status", "trace", "id", "parent", "at", "duration", "attributes",
    "resource", "dropped", "scope", "scope_version", "events", "links", "repeat",
)  # fmt: skip
_LOG_FIELDS: Final = ("body", "service", "severity", "trace", "span", "at", "attributes", "resource", "scope", "repeat")
_EVENT_FIELDS: Final = ("name", "at", "attributes", "repeat")
_LINK_FIELDS: Final = ("trace", "span", "attributes")
_REPEAT_FIELDS: Final = ("times", "every", "traces")
_METRIC_FIELDS: Final = ("name", "service", "value", "unit", "at", "attributes", "repeat")
_DEPLOY_FIELDS: Final = (
    "service", "version", "previous_version", "environment", "status", "commit", "is_rollback", "at",
)  # fmt: skip
_TICKET_FIELDS: Final = ("id", "system", "title", "severity", "service", "team", "category", "at", "resolved")
_DEFAULT_STEP_NS: Final = 1_000_000
_MOST: Final = 10_000  # of each kind of record in a test
# A test begins in 2024, and a time with nanoseconds ends in 2262; a span begins and lasts.
_FURTHEST_DAYS: Final = 36_500
_FURTHEST_NS: Final = _FURTHEST_DAYS * 86_400 * 10**9


class ExampleError(Exception):
    """A test trace that cannot be read; `node` is where."""

    def __init__(self, message: str, node: Node, hint: str = "") -> None:
        self.message, self.node, self.hint = message, node, hint
        super().__init__(message)


def read_example(node: Node) -> Example:
    """One entry of `tests`.

    Raises
    ------
    ExampleError
        With the node at fault.
    """
    entry = _mapping(node, _TEST_FIELDS, "a test")
    for required in ("name", "verdict"):
        if required not in entry:
            raise ExampleError(f"the test has no `{required}`", node)
    verdict = entry["verdict"].value
    if verdict not in VERDICTS:
        raise ExampleError(f"`{verdict}` is no verdict", entry["verdict"], did_you_mean(str(verdict), VERDICTS))
    spans: list[ExampleSpan] = []
    for index, child in enumerate(_sequence(entry.get("spans"))):
        spans.extend(_spans(child, index, spans))
        # Here, for a small file can ask for millions.
        _require_few(len(spans), "spans", child)
        _require_few(sum(len(span.events) for span in spans), "span events", child)
    logs: list[ExampleLog] = []
    for index, child in enumerate(_sequence(entry.get("logs"))):
        logs.extend(_logs(child, index, spans))
        _require_few(len(logs), "log records", child)
    metrics: list[ExampleMetric] = []
    for child in _sequence(entry.get("metrics")):
        metrics.extend(_metrics(child))
        _require_few(len(metrics), "metric points", child)
    if not spans and not logs:
        raise ExampleError("the test has no spans and no logs", node)
    identities = [(span.trace, span.id, span.kind) for span in spans]
    if len(set(identities)) != len(identities):
        raise ExampleError("two spans of the test have the same trace, id and kind", entry["spans"])
    return Example(
        name=str(entry["name"].value),
        verdict=verdict,
        spans=tuple(spans),
        logs=tuple(logs),
        line=node.line,
        column=node.column,
        metrics=tuple(metrics),
        deploys=tuple(_deploy(child) for child in _sequence(entry.get("deploys"))),
        tickets=tuple(_ticket(child, index) for index, child in enumerate(_sequence(entry.get("tickets")))),
        from_ns=_duration(entry, "from", 0) if "from" in entry else None,
    )


def _require_few(number: int, what: str, node: Node) -> None:
    if number > _MOST:
        raise ExampleError(f"the test has more than {_MOST:,} {what}", node)


@dataclass(frozen=True, slots=True)
class _Repeat:
    """How often a record is there, how far apart, and whether each copy is of a trace of its own."""

    times: int = 1
    every_ns: int = 0
    in_new_traces: bool = False

    @property
    def offsets_ns(self) -> list[int]:
        """Of each copy, in nanoseconds after the first."""
        return [number * self.every_ns for number in range(self.times)]


def _repeat(entry: dict[str, Node], *moments_ns: int, has_traces: bool) -> _Repeat:
    """What `repeat` says of a record with these times; only spans and log records are of traces."""
    if "repeat" not in entry:
        return _Repeat()
    known = _REPEAT_FIELDS if has_traces else _REPEAT_FIELDS[:2]
    repeat = _mapping(entry["repeat"], known, "a repeat")
    times, every = _whole(repeat, "times"), _duration(repeat, "every", _DEFAULT_STEP_NS)
    if not 1 <= times <= _MOST:
        raise ExampleError(f"`times` is a whole number from 1 to {_MOST:,}", entry["repeat"])
    if any(abs(moment + (times - 1) * every) > _FURTHEST_NS for moment in moments_ns):
        raise ExampleError(f"the last of them is further than {_FURTHEST_DAYS:,} days", entry["repeat"])
    traces = _text(repeat, "traces") or "same"
    if traces not in {"same", "new"}:
        raise ExampleError("`traces` is same or new", repeat["traces"])
    return _Repeat(times, every, traces == "new")


def _spans(node: Node, index: int, before: list[ExampleSpan]) -> list[ExampleSpan]:
    """A span, or as many of it as `repeat` says."""
    entry = _mapping(node, _SPAN_FIELDS, "a span")
    if "name" not in entry:
        raise ExampleError("the span has no `name`", node)
    one = _span(entry, index, before)
    if "repeat" not in entry:
        return [one]
    repeat = _repeat(entry, one.at_ns, *(event.at_ns for event in one.events), has_traces=True)
    _require_few(repeat.times * len(one.events), "span events", node)
    is_new = repeat.in_new_traces
    return [
        replace(
            one,
            trace=f"{one.trace}.{one.id}.{number}" if is_new else one.trace,
            # Each new trace has a root of its own; in one trace the first copy may be the root of the others.
            parent=one.parent
            if "parent" in entry or (one.parent and not is_new)
            else None
            if is_new or number == 1
            else f"{one.id}.1",
            id=f"{one.id}.{number}",
            at_ns=one.at_ns + later,
            # What a copy carries is as far from its start as it was from that of the first.
            events=tuple(replace(event, at_ns=event.at_ns + later) for event in one.events),
        )
        for number, later in enumerate(repeat.offsets_ns, start=1)
    ]


def _span(entry: dict[str, Node], index: int, before: list[ExampleSpan]) -> ExampleSpan:
    trace = _text(entry, "trace") or "t1"
    # The first span of a trace is its root and the others are its children, so that a trace is complete unless
    # the test says otherwise.
    first = next((span for span in before if span.trace == trace), None)
    parent = _text(entry, "parent") if "parent" in entry else first.id if first else None
    at_ns = _duration(entry, "at", index * _DEFAULT_STEP_NS)
    return ExampleSpan(
        name=str(entry["name"].value),
        service=_text(entry, "service") if "service" in entry else "test",
        version=_text(entry, "version"),
        kind=_enumerated(entry, "kind", Type.KIND, "internal"),
        status=_enumerated(entry, "status", Type.STATUS, "unset"),
        trace=trace,
        id=_text(entry, "id") or f"s{index + 1}",
        parent=parent,
        at_ns=at_ns,
        duration_ns=_duration(entry, "duration", _DEFAULT_STEP_NS),
        attributes=_json(entry, "attributes"),
        resource=_json(entry, "resource"),
        dropped=_whole(entry, "dropped"),
        scope=_text(entry, "scope"),
        scope_version=_text(entry, "scope_version"),
        events=_events(entry, at_ns),
        links=tuple(_link(child) for child in _sequence(entry.get("links"))),
    )


def _events(span: dict[str, Node], span_at_ns: int) -> tuple[ExampleEvent, ...]:
    events: list[ExampleEvent] = []
    for child in _sequence(span.get("events")):
        events.extend(_event(child, span_at_ns))
        _require_few(len(events), "span events", child)
    return tuple(events)


def _event(node: Node, span_at_ns: int) -> list[ExampleEvent]:
    """A span event, or as many of it as `repeat` says."""
    entry = _mapping(node, _EVENT_FIELDS, "a span event")
    if "name" not in entry:
        raise ExampleError("the event has no `name`", node)
    at_ns = _duration(entry, "at", span_at_ns)
    one = ExampleEvent(str(entry["name"].value), at_ns, _json(entry, "attributes"))
    return [replace(one, at_ns=at_ns + later) for later in _repeat(entry, at_ns, has_traces=False).offsets_ns]


def _link(node: Node) -> ExampleLink:
    entry = _mapping(node, _LINK_FIELDS, "a span link")
    return ExampleLink(_text(entry, "trace") or "linked", _text(entry, "span") or "s1", _json(entry, "attributes"))


def _logs(node: Node, index: int, spans: list[ExampleSpan]) -> list[ExampleLog]:
    """A log record, or as many of it as `repeat` says."""
    entry = _mapping(node, _LOG_FIELDS, "a log record")
    one = _log(entry, index, spans)
    repeat = _repeat(entry, one.at_ns, has_traces=True)
    return [
        replace(
            one,
            trace=f"{one.trace}.log{index + 1}.{number}" if repeat.in_new_traces else one.trace,
            at_ns=one.at_ns + later,
        )
        for number, later in enumerate(repeat.offsets_ns, start=1)
    ]


def _log(entry: dict[str, Node], index: int, spans: list[ExampleSpan]) -> ExampleLog:
    trace = _text(entry, "trace") or (spans[0].trace if spans else "t1")
    return ExampleLog(
        body=_text(entry, "body"),
        service=_text(entry, "service") if "service" in entry else "test",
        severity=_enumerated(entry, "severity", Type.SEVERITY, "info"),
        trace=trace,
        span=_text(entry, "span"),
        at_ns=_duration(entry, "at", index * _DEFAULT_STEP_NS),
        attributes=_json(entry, "attributes"),
        resource=_json(entry, "resource"),
        scope=_text(entry, "scope"),
    )


def _metrics(node: Node) -> list[ExampleMetric]:
    """A measured point, or as many of it as `repeat` says."""
    entry = _mapping(node, _METRIC_FIELDS, "a metric point")
    value = entry["value"].value if "value" in entry else None
    if "name" not in entry or isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ExampleError("a metric point has a `name` and a number as its `value`", node)
    at_ns = _duration(entry, "at", 0)
    one = ExampleMetric(
        name=str(entry["name"].value),
        service=_text(entry, "service") if "service" in entry else "test",
        value=float(value),
        unit=_text(entry, "unit"),
        at_ns=at_ns,
        attributes=_json(entry, "attributes"),
    )
    return [replace(one, at_ns=at_ns + later) for later in _repeat(entry, at_ns, has_traces=False).offsets_ns]


def _deploy(node: Node) -> ExampleDeploy:
    entry = _mapping(node, _DEPLOY_FIELDS, "a deploy")
    is_rollback = entry["is_rollback"].value if "is_rollback" in entry else False
    if not isinstance(is_rollback, bool):
        raise ExampleError("`is_rollback` is true or false", entry["is_rollback"])
    return ExampleDeploy(
        service=_text(entry, "service") if "service" in entry else "test",
        version=_text(entry, "version"),
        previous_version=_text(entry, "previous_version"),
        environment=_text(entry, "environment"),
        status=_text(entry, "status"),
        commit=_text(entry, "commit"),
        is_rollback=is_rollback,
        at_ns=_duration(entry, "at", 0),
    )


def _ticket(node: Node, index: int) -> ExampleTicket:
    entry = _mapping(node, _TICKET_FIELDS, "a ticket")
    return ExampleTicket(
        id=_text(entry, "id") or f"INC-{index + 1}",
        system=_text(entry, "system") or "incidents",
        title=_text(entry, "title"),
        severity=_text(entry, "severity"),
        service=_text(entry, "service") if "service" in entry else "test",
        team=_text(entry, "team"),
        category=_text(entry, "category"),
        at_ns=_duration(entry, "at", 0),
        resolved_ns=_duration(entry, "resolved", 0) if "resolved" in entry else None,
    )


def _mapping(node: Node, known: tuple[str, ...], what: str) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        raise ExampleError(f"{what} is a mapping of {', '.join(known)}", node)
    for word, (key, _value) in node.value.items():
        if word not in known:
            hint = did_you_mean(word, known)
            raise ExampleError(f"{what} has no field `{word}`", key, hint or "other values go under `attributes:`")
    return {word: value for word, (_key, value) in node.value.items()}


def _sequence(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if not isinstance(node.value, list):
        raise ExampleError("a list is expected here", node)
    return node.value


def _text(entry: dict[str, Node], key: str) -> str | None:
    if key not in entry or entry[key].value is None:
        return None
    if isinstance(entry[key].value, (dict, list)):
        raise ExampleError(f"`{key}` is a text", entry[key])
    return str(entry[key].value)


def _enumerated(entry: dict[str, Node], key: str, type_: Type, default: str) -> str:
    word = _text(entry, key) or default
    if word not in ENUMERATIONS[type_]:
        raise ExampleError(f"`{word}` is no {type_}", entry[key], did_you_mean(word, ENUMERATIONS[type_]))
    return word


def _duration(entry: dict[str, Node], key: str, default: int) -> int:
    word = _text(entry, key)
    if word is None:
        return default
    sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word)
    try:
        found = 0 if digits == "0" else sign * parse_duration(digits)
    except ValueError as error:
        raise ExampleError(str(error), entry[key]) from None
    if abs(found) > _FURTHEST_NS:
        raise ExampleError(f"`{key}: {word}` is further than {_FURTHEST_DAYS:,} days", entry[key])
    return found


def _whole(entry: dict[str, Node], key: str) -> int:
    if key not in entry:
        return 0
    value = entry[key].value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ExampleError(f"`{key}` is a whole number from 0", entry[key])
    return int(value)


def _json(entry: dict[str, Node], key: str) -> str:
    if key not in entry:
        return "{}"
    if not isinstance(entry[key].value, dict):
        raise ExampleError(f"`{key}` is a mapping of attribute to value", entry[key])
    return json.dumps(_plain(entry[key]), ensure_ascii=False, separators=(",", ":"))


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(value) for key, (_name, value) in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(child) for child in node.value]
    return node.value
