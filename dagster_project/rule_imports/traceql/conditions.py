"""Conditions on one span, or one event: comparisons, patterns and nil, with a denial that is exact where nil is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from dagster_project.rule_imports.regex_samples import sample
from dagster_project.rule_imports.traceql.examples import example_of
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_imports.traceql.values import WORDS, Value, constant_of, value_of
from dagster_project.rule_language.text.operators import OPPOSITE
from dagster_project.rule_language.writing.expression_text import (
    ABSENT,
    ALWAYS,
    Example,
    ItemCondition,
    Test,
    all_of,
    any_of,
    denied,
    text_literal,
)

NIL: Final = (
    "a comparison with an attribute that a span does not have is false, and `!` of it is true, as in Tempo's engine"
)
ARRAYS: Final = "an attribute that holds a list is compared as a whole; Tempo looks at each element"
MIXED: Final = "`&&` and `||` without brackets are read from left to right, as Tempo's grammar has them"
ANCHORED: Final = "`=~` and `!~` match the whole value, as in Tempo"


def condition_of(query: Reading, node: Any) -> ItemCondition:
    """What one span, event or link has to be like.

    Raises
    ------
    Refusal
        It is a value alone, or compares what cannot be compared here.
    """
    kind = str(node.data)
    if kind == "field_logical":
        return _field_logical(query, node)
    if kind == "denied":
        query.assume(NIL)
        operand = condition_of(query, node.children[0])
        if operand == ALWAYS:
            raise query.refuse(node, "what always holds is denied: nothing can match")
        return denied(operand)
    if kind == "compared":
        return _compared(query, node)
    if kind == "word" and str(node.children[0]) == "true":
        return ALWAYS
    if kind == "attribute":
        return _test(query, value_of(query, node), "==", Value("true", "boolean", constant=True), node)
    raise query.refuse(node, "this is a value, not a condition")


def _field_logical(query: Reading, node: Any) -> ItemCondition:
    condition = condition_of(query, node.children[0])
    if len({str(word) for word in node.children[1::2]}) > 1:
        query.assume(MIXED)
    for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
        join = all_of if str(operator) == "&&" else any_of
        condition = join([condition, condition_of(query, operand)])
    return condition


def _compared(query: Reading, node: Any) -> ItemCondition:
    left, operator, right = node.children
    root = _is_root(query, left, str(operator), right)
    if root is not None:
        return root
    for side, other in ((left, right), (right, left)):
        if str(side.data) == "word" and str(side.children[0]) == "nil":
            return _nil(query, value_of(query, other), str(operator), node)
    one, two = value_of(query, left), value_of(query, right)
    if one.constant is not None and two.constant is None and str(operator) not in {"=~", "!~"}:
        turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        return _test(query, two, turned.get(str(operator), str(operator)), one, node)
    return _test(query, one, str(operator), two, node)


def _is_root(query: Reading, left: Any, operator: str, right: Any) -> ItemCondition | None:
    """`nestedSetParent < 0` is how Tempo's queries ask for the root span."""
    if str(left.data) != "word" or str(left.children[0]) not in {"nestedSetParent", "span:nestedSetParent"}:
        return None
    bound = constant_of(query, right).text
    if (operator, bound) not in {("<", "0"), ("=", "-1")}:
        raise query.refuse(left, "of nestedSetParent only `< 0`, the root, is known")
    return Test("is_root", "not is_root", {}, None)


def _nil(query: Reading, value: Value, operator: str, node: Any) -> ItemCondition:
    if operator not in {"=", "!="}:
        raise query.refuse(node, f"`{operator} nil` is never true")
    if not value.present:
        raise query.refuse(node, "only attributes can be nil")
    present, missing = value.present, value.present.replace("exists(", "missing(", 1)
    if value.fallback is not None:
        other = value.fallback.present
        missing = f"({missing} and {other.replace('exists(', 'missing(', 1)})"
        present = f"({present} or {other})"
    there: Example = {value.example: "x"} if value.example else {}
    test = Test(missing, present, {value.example: ABSENT} if value.example else {}, there)
    return test if operator == "=" else denied(test)


def _test(query: Reading, left: Value, operator: str, right: Value, node: Any) -> ItemCondition:
    op = "==" if operator == "=" else operator
    if left.fallback is not None:
        first = _test(query, replace(left, fallback=None), operator, right, node)
        second = _test(query, left.fallback, operator, right, node)
        absent = Test(left.present.replace("exists(", "missing(", 1), left.present, {left.example: ABSENT}, {})
        return any_of([first, all_of([absent, second])])
    if op in {"=~", "!~"}:
        return _matched(query, left, op, right, node)
    _comparable(query, left, op, right, node)
    if left.present and right.constant is not None and op in {"==", "!="}:
        query.assume(ARRAYS)
    text = f"{left.text} {op} {right.text}"
    missing = [side.present.replace("exists(", "missing(", 1) for side in (left, right) if side.present]
    opposite = f"{left.text} {OPPOSITE[op]} {right.text}"
    deny_text = f"({' or '.join([*missing, opposite])})" if missing else opposite
    return Test(text, deny_text, example_of(left, op, right), example_of(left, OPPOSITE[op], right))


def _comparable(query: Reading, left: Value, op: str, right: Value, node: Any) -> None:
    ordered = op in {"<", "<=", ">", ">="}
    if ordered and "text" in {left.type, right.type}:
        raise query.refuse(node, "texts have no order here")
    for one, other in ((left, right), (right, left)):
        words = WORDS.get(one.type)
        if words is not None and (other.type != "word" or other.text not in words):
            raise query.refuse(node, f"{one.text} is one of {', '.join(words)}")
    if left.type == "any" and right.type == "word":
        raise query.refuse(node, f"`{right.text}` is neither a value nor a field", "texts are quoted")
    known = {left.type, right.type} - {"any", "word", *WORDS}
    if len(known) > 1 or (left.type == "any" and right.type == "duration"):
        raise query.refuse(node, f"compares {left.type} with {right.type}", "a number times 1ms is a duration here")


def _matched(query: Reading, left: Value, op: str, right: Value, node: Any) -> ItemCondition:
    if not isinstance(right.constant, str):
        raise query.refuse(node, "a pattern is a text")
    if left.type not in {"any", "text"}:
        raise query.refuse(node, f"`{op}` compares texts")
    query.assume(ANCHORED)
    pattern = text_literal(f"^(?:{right.constant})$")
    matches, differs = f"{left.text} matches {pattern}", f"not ({left.text} matches {pattern})"
    missing = left.present.replace("exists(", "missing(", 1)
    known = sample(right.constant)
    good = {left.example: known} if left.example and known is not None else None
    bad = {left.example: "quite another"} if left.example else None
    if op == "=~":
        return Test(matches, f"({missing} or {differs})" if missing else differs, good, bad)
    return Test(differs, f"({missing} or {matches})" if missing else matches, bad, good)
