"""`{ ... }`: one selector as a set of spans or events, and what it asks of the whole trace."""

from __future__ import annotations

import re
from typing import Any

from dagster_project.rule_imports.traceql.conditions import condition_of
from dagster_project.rule_imports.traceql.examples import measuring
from dagster_project.rule_imports.traceql.found import Found, all_spans, found_of, with_name_in_front
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_imports.traceql.values import constant_of
from dagster_project.rule_language.writing.expression_text import Items, Said, Test, all_of


def selector_found(query: Reading, node: Any) -> Found:
    """What a selector finds.

    Raises
    ------
    Refusal
        It asks what cannot be said of one span, one event or the trace.
    """
    inner = node.children[0]
    if inner is None:
        return all_spans()
    parts = _conjuncts(inner)
    scopes = {scope for part in parts for scope in _scopes(part)}
    if scopes & {"event", "link"}:
        return _of_events(query, node, parts, scopes)
    of_trace, conditions = [], []
    for part in parts:
        if str(part.data) == "compared" and _is_trace_duration(part.children[0]):
            of_trace.append(_trace_duration(query, part))
        else:
            conditions.append(condition_of(query, part))
    return found_of(with_name_in_front(Items("span", None, all_of(conditions))), tuple(of_trace))


def _of_events(query: Reading, node: Any, parts: list[Any], scopes: set[str]) -> Found:
    """`{ event.x = ... }` becomes a set of events; beside conditions on the span it would need both at once."""
    if len(parts) != 1 or len(scopes) != 1:
        raise query.refuse(
            node, "conditions on an event or a link beside others of the same selector need both at once"
        )
    (entity,) = scopes
    condition = condition_of(query, parts[0])
    if isinstance(condition, Test) and condition.text.startswith(("missing(", "(missing(", "not (")):
        raise query.refuse(node, "a denial over the events of a span cannot be carried over")
    return found_of(Items(entity, None, condition), ())


def _conjuncts(node: Any) -> list[Any]:
    if str(node.data) == "field_logical" and all(str(word) == "&&" for word in node.children[1::2]):
        return [part for child in node.children[0::2] for part in _conjuncts(child)]
    return [node]


def _scopes(node: Any) -> set[str]:
    tokens = [str(token) for token in node.scan_values(lambda _token: True)]
    return {match.group(1) for token in tokens if (match := re.match(r"(event|link)[.:]", token))}


def _trace_duration(query: Reading, node: Any) -> Said:
    """`trace:duration > 5s` is a condition on the trace, not on a span; only as a conjunct of its own."""
    value = constant_of(query, node.children[2])
    op = "==" if str(node.children[1]) == "=" else str(node.children[1])
    if value.type != "duration" or op in {"=~", "!~"}:
        raise query.refuse(node, "trace:duration is compared with a duration, such as 5s")
    # In a test one span makes the trace last as long as asked.
    return Said(f"max(span().end) - min(span().start) {op} {value.text}", *measuring(Items(), "duration", op, value))


def _is_trace_duration(node: Any) -> bool:
    return str(node.data) == "word" and str(node.children[0]) in {"trace:duration", "traceDuration"}
