"""What stands behind `|`: filters and aggregates over what the stages before them found."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from dagster_project.rule_imports.traceql.examples import counting, measuring
from dagster_project.rule_imports.traceql.found import Found, conjunction, found_of, whole, with_name_in_front
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_imports.traceql.values import Value, constant_of, value_of
from dagster_project.rule_language.writing.expression_text import (
    CountOf,
    Items,
    Said,
    ScopeCondition,
    all_of,
    is_own_word,
    key,
)

EMPTY: Final = "an aggregate is asked only of traces in which the selector finds a span, as in Tempo"


def filtered(query: Reading, stage: Any, before: Found, found: Found) -> Found:
    """`{a} | {b}`: the spans of the first that also match the second."""
    if before.spans is None or found.spans is None:
        raise query.refuse(
            stage, "a filter after or of structure, events or a combination of spansets cannot be carried over"
        )
    both = with_name_in_front(Items("span", None, all_of([whole(before.spans), whole(found.spans)])))
    return found_of(both, before.of_trace + found.of_trace)


def aggregated(query: Reading, stage: Any, found: Found) -> Found:
    """`| count() > 2`, `| avg(duration) > 20ms`: traces whose spans, found before, measure so much.

    Raises
    ------
    Refusal
        There are several sets, or what is measured has no counterpart here.
    """
    aggregate, operator, value = stage.children
    if found.text is None:
        raise query.refuse(stage, "an aggregate over several spansets together has no counterpart")
    if found.items is not None and found.spans is None:
        raise query.refuse(stage, "an aggregate is over spans; those that have such an event or link are no set here")
    function, subject = aggregate.children
    op = "==" if str(operator) == "=" else str(operator)
    if op in {"=~", "!~"}:
        raise query.refuse(stage, f"`{op}` does not compare numbers")
    number = constant_of(query, value)
    inner = found.items.narrowed if found.items is not None else found.text
    if str(function) == "count":
        if isinstance(number.constant, str) or number.type != "number":
            raise query.refuse(stage, "count() is compared with a number")
        return _counted(query, found, inner, op, Decimal(str(number.constant)))
    measure = _measure(query, subject, number, stage)
    text = f"{function}({_of(found)}.{measure}) {op} {number.text}"
    query.assume(EMPTY)
    name = "duration" if measure == "duration" else value_of(query, subject).example
    there = f"any({found.items.narrowed if found.items is not None else found.text}) and {text}"
    said = Said(there, *measuring(found.items, name, op, number), is_joined=True)
    return replace(found, condition=conjunction(*found.of_trace, said), text=None, items=None)


def _counted(query: Reading, found: Found, inner: str, op: str, number: Decimal) -> Found:
    count: ScopeCondition = Said(f"count({inner}) {op} {number:f}", *counting(found.related, op, number))
    if found.items is not None:
        count = CountOf(found.items, op, number)
    needs_one = op in {"<", "<=", "!="} or (op in {"==", ">="} and number <= 0) or (op == ">" and number < 0)
    if needs_one:
        query.assume(EMPTY)
    # What the selector asks of the trace stays beside the count.
    parts = [*found.of_trace, *([found.condition] if needs_one else []), count]
    return replace(found, condition=conjunction(*parts), text=None, items=None)


def _of(found: Found) -> str:
    return f"({found.text})" if found.is_structural else str(found.text)


def _measure(query: Reading, subject: Any, number: Value, stage: Any) -> str:
    if subject is None:
        raise query.refuse(stage, "the aggregate names no field")
    measured = value_of(query, subject)
    if measured.text == "duration":
        if number.type != "duration":
            raise query.refuse(stage, "a duration is compared with a duration, such as 20ms")
        return "duration"
    if not measured.example.startswith("attribute.") or measured.fallback is not None:
        raise query.refuse(stage, "only durations and attributes of spans are aggregated here")
    name = measured.example.removeprefix("attribute.")
    if is_own_word(name):
        raise query.refuse(
            stage, f"`{name}` is a field of spans here, so an attribute of that name cannot be aggregated"
        )
    if number.type != "number":
        raise query.refuse(stage, "an attribute is compared with a number here")
    return key(name)
