"""The test traces of a rule: terse YAML → spans and log records with sensible defaults.

Running them is `replay.rule_tests`' business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from dagster_project.rule_language.model import ENUMERATIONS, Type
from dagster_project.rule_language.parser import parse_duration
from dagster_project.rule_language.yaml_text import Node
from dagster_project.wording import did_you_mean

VERDICTS: Final = ("violated", "satisfied", "inconclusive", "not applicable")

_SPAN_FIELDS: Final = (
    "name service version kind status trace id parent at duration attributes resource dropped".split()  # noqa: SIM905
)
_LOG_FIELDS: Final = "body service severity trace span at attributes resource".split()  # noqa: SIM905
_DEFAULT_STEP_NS: Final = 1_000_000


class ExampleError(Exception):
    """A test trace that cannot be read; `node` is where."""

    def __init__(self, message: str, node: Node, hint: str = "") -> None:
        self.message, self.node, self.hint = message, node, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ExampleSpan:
    """A span of a test. Times are nanoseconds after the test's own zero; attributes are JSON texts."""

    name: str
    service: str | None
    version: str | None
    kind: str
    status: str
    trace: str
    id: str
    parent: str | None
    at_ns: int
    duration_ns: int
    attributes: str
    resource: str
    dropped: int


@dataclass(frozen=True, slots=True)
class ExampleLog:
    """A log record of a test."""

    body: str | None
    service: str | None
    severity: str
    trace: str
    span: str | None
    at_ns: int
    attributes: str
    resource: str


@dataclass(frozen=True, slots=True)
class Example:
    """One test of a rule: what the rule says of these spans and logs."""

    name: str
    verdict: str
    spans: tuple[ExampleSpan, ...]
    logs: tuple[ExampleLog, ...]
    line: int
    column: int


def read_example(node: Node) -> Example:
    """One entry of `tests`.

    Raises
    ------
    ExampleError
        With the node at fault.
    """
    entry = _mapping(node, ("name", "verdict", "spans", "logs"), "a test")
    for required in ("name", "verdict"):
        if required not in entry:
            raise ExampleError(f"the test has no `{required}`", node)
    verdict = entry["verdict"].value
    if verdict not in VERDICTS:
        raise ExampleError(f"`{verdict}` is no verdict", entry["verdict"], did_you_mean(str(verdict), VERDICTS))
    spans: list[ExampleSpan] = []
    for index, child in enumerate(_sequence(entry.get("spans"))):
        spans.append(_span(child, index, spans))
    logs = [_log(child, index, spans) for index, child in enumerate(_sequence(entry.get("logs")))]
    if not spans and not logs:
        raise ExampleError("the test has no spans and no logs", node)
    identities = [(span.trace, span.id, span.kind) for span in spans]
    if len(set(identities)) != len(identities):
        raise ExampleError("two spans of the test have the same trace, id and kind", entry["spans"])
    return Example(str(entry["name"].value), verdict, tuple(spans), tuple(logs), node.line, node.column)


def _span(node: Node, index: int, before: list[ExampleSpan]) -> ExampleSpan:
    entry = _mapping(node, tuple(_SPAN_FIELDS), "a span")
    if "name" not in entry:
        raise ExampleError("the span has no `name`", node)
    trace = _text(entry, "trace") or "t1"
    # The first span of a trace is its root and the others are its children, so that a trace is complete unless
    # the test says otherwise.
    first = next((span for span in before if span.trace == trace), None)
    parent = _text(entry, "parent") if "parent" in entry else first.id if first else None
    return ExampleSpan(
        name=str(entry["name"].value),
        service=_text(entry, "service") if "service" in entry else "test",
        version=_text(entry, "version"),
        kind=_enumerated(entry, "kind", Type.KIND, "internal"),
        status=_enumerated(entry, "status", Type.STATUS, "unset"),
        trace=trace,
        id=_text(entry, "id") or f"s{index + 1}",
        parent=parent,
        at_ns=_duration(entry, "at", index * _DEFAULT_STEP_NS),
        duration_ns=_duration(entry, "duration", _DEFAULT_STEP_NS),
        attributes=_json(entry, "attributes"),
        resource=_json(entry, "resource"),
        dropped=_whole(entry, "dropped"),
    )


def _log(node: Node, index: int, spans: list[ExampleSpan]) -> ExampleLog:
    entry = _mapping(node, tuple(_LOG_FIELDS), "a log record")
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
        return 0 if digits == "0" else sign * parse_duration(digits)
    except ValueError as error:
        raise ExampleError(str(error), entry[key]) from None


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
