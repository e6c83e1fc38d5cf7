"""The walk over the parse tree: which parts a query has, and how what they find is put together."""

from __future__ import annotations

from typing import Any, Final

from dagster_project.rule_imports.grammars import lark, parsed
from dagster_project.rule_imports.traceql.conditions import MIXED
from dagster_project.rule_imports.traceql.found import Found, all_spans, conjunction, found_of, whole
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_imports.traceql.selectors import selector_found
from dagster_project.rule_imports.traceql.stages import aggregated, filtered
from dagster_project.rule_imports.traceql.structure import related
from dagster_project.rule_language.writing.expression_text import Items, Joined, ScopeCondition, any_of

SHOWN: Final = "`select(...)` only chooses columns to show and is left out"
HINTS: Final = "hints in `with (...)` steer Tempo's search and are left out: every match is found here"


def trace_condition(query: Reading) -> ScopeCondition:
    """The condition on a trace under which the query finds it.

    Raises
    ------
    Refusal
        The query is no TraceQL, or says what has no counterpart here.
    """
    tree = parsed(lark("traceql", "query"), query.source.text, "TraceQL", query.source.line)
    return _pipeline(query, tree).condition


def _pipeline(query: Reading, tree: Any) -> Found:
    *stages, hints = tree.children
    if hints is not None:
        query.assume(HINTS)
    found: Found | None = None
    for stage in stages:
        found = _stage(query, stage, found)
    if found is None:
        raise query.refuse(tree, "the query selects nothing")
    return found


def _stage(query: Reading, stage: Any, before: Found | None) -> Found:
    kind = str(stage.data)
    if kind == "metric":
        raise query.refuse(stage, f"`{stage.children[0]}(...)` makes a metric over time, not a set of traces")
    if kind == "grouped":
        raise query.refuse(
            stage, "`by(...)` groups the spans of one trace; a rule judges a trace or a group as a whole"
        )
    if kind == "selected":
        query.assume(SHOWN)
    if kind in {"selected", "coalesced"}:
        return before or all_spans()
    if kind == "measured":
        return aggregated(query, stage, before or all_spans())
    found = _spansets(query, stage)
    return found if before is None else filtered(query, stage, before, found)


def _spansets(query: Reading, node: Any) -> Found:
    kind = str(node.data)
    if kind == "selector":
        return selector_found(query, node)
    if kind == "bracketed":
        return _pipeline(query, node.children[0])
    if kind == "logical":
        return _logical(query, node)
    return _structural(query, node)


def _logical(query: Reading, node: Any) -> Found:
    found = _spansets(query, node.children[0])
    words = {str(word) for word in node.children[1::2]}
    if len(words) > 1:
        query.assume(MIXED)
    for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
        other = _spansets(query, operand)
        if str(operator) == "&&":
            found = Found(conjunction(found.condition, other.condition))
        elif found.spans is not None and other.spans is not None and not found.of_trace + other.of_trace:
            either = any_of([whole(found.spans), whole(other.spans)])
            found = found_of(Items("span", None, either), ())
        else:
            found = Found(Joined("or", (found.condition, other.condition)))
    return found


def _structural(query: Reading, node: Any) -> Found:
    found = _spansets(query, node.children[0])
    for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
        found = related(query, found, str(operator), _spansets(query, operand), node)
    return found
