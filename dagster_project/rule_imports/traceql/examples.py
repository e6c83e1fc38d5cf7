"""Items that make a part of a query true, and such that make it false: what test traces are made of."""

from __future__ import annotations

from decimal import Decimal

from dagster_project.rule_imports.example_traces import counts
from dagster_project.rule_imports.traceql.values import Value
from dagster_project.rule_language.text.operators import OPPOSITE
from dagster_project.rule_language.writing.expression_text import Example, Items, Test, all_of, duration


def example_of(left: Value, op: str, right: Value) -> Example | None:
    """A value of the left field for which the comparison holds."""
    value = right.constant
    if value is None or not left.example:
        return None
    if right.type == "duration":
        shift = {">": 10**6, "<": -(10**6), "!=": 10**6}.get(op, 0)
        return {left.example: duration(max(int(value) + shift, 0))}
    if isinstance(value, Decimal):
        return {left.example: value + {">": 1, "<": -1, "!=": 1}.get(op, 0)}
    if op == "!=":
        others = {"status": "ok" if value != "ok" else "error", "kind": "client" if value != "client" else "server"}
        return {left.example: (not value) if isinstance(value, bool) else others.get(left.type, f"not {value}")}
    return {left.example: value}


def measuring(
    items: Items | None, name: str, op: str, bound: Value
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """One item whose value alone makes an aggregate stand in the relation to the bound, and one that makes it not."""
    if items is None:
        return None, None
    found = []
    for relation in (op, OPPOSITE[op]):
        example = example_of(Value("", "any", example=name), relation, bound)
        test = None if example is None else Test("", "", example)
        found.append(None if test is None else (Items(items.entity, items.name, all_of([items.condition, test])),))
    return found[0], found[1]


def counting(
    related: tuple[Items, ...] | None, op: str, number: Decimal
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """Spans of which so many of the last kind are in a relation that their count is as asked, and that it is not."""
    if related is None:
        return None, None
    *before, last = related
    holds, fails = (next(counts(op, number, want=want), None) for want in (True, False))
    return (
        None if holds is None else (*before, *(last,) * holds),
        None if fails is None else (*before, *(last,) * fails),
    )


def examples_of_relation(
    left: Items | None, op: str, right: Items | None
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """Spans that stand in the relation, and such that do not; in a test the first span is the parent of the others."""
    if left is None or right is None:
        return None, None
    apart, down, up, beside = (right,), (left, right), (right, left), (Items("span", "root"), left, right)
    holds = {">": down, ">>": down, "<": up, "<<": up, "~": beside}
    base = op.removeprefix("!")
    fails = {">": up, ">>": up, "<": down, "<<": down, "~": down}
    return (fails[base] if base != "~" else apart, holds[base]) if op.startswith("!") else (holds[base], fails[base])
