"""Conditions on a scope → test traces that should violate and satisfy a rule.

Only a first idea of them: whoever has an engine runs each and keeps those that say what they promise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice, product
from typing import Any, Final

from dagster_project.rule_imports.imported import TestTrace
from dagster_project.rule_language.writing.expression_text import (
    Absent,
    AllOf,
    AnyItem,
    AnyOf,
    CountOf,
    Denied,
    ItemCondition,
    Items,
    Joined,
    Said,
    ScopeCondition,
    deny,
)

_MOST_ITEMS: Final = 60
_MOST_IDEAS: Final = 12
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Values = dict[str, Any]


def traces_for(
    bad: ScopeCondition,
    when: ScopeCondition | None = None,
    keys: tuple[str, ...] = (),
    steps: int = 10**6,
) -> tuple[TestTrace, ...]:
    """Traces that make `bad` true while `when` holds, and such that make it false.

    Parameters
    ----------
    bad
        What is wrong in a scope.
    when
        Where the rule applies.
    keys
        Attributes that every record gets with one value, because the rule groups by them.
    steps
        Nanoseconds between a record and the next.
    """
    applies = when if when is not None else Said("", (), ())
    entity = next((items.entity for part in (bad, applies) for items in _mentioned(part)), "span")
    beside = Items("log") if entity == "log" else Items("span", "something else")
    found: dict[str, TestTrace] = {}
    for verdict, wanted in (("violated", bad), ("satisfied", deny(bad))):
        for idea in islice(_ideas(Joined("and", (applies, wanted)), True), _MOST_IDEAS):
            trace = _trace(verdict, idea or (beside,), keys, steps)
            if trace is not None:
                found.setdefault(repr(trace), trace)
    return tuple(found.values())


def _mentioned(condition: ScopeCondition) -> Iterator[Items]:
    """The sets that a condition speaks of, as far as they are known."""
    if isinstance(condition, (AnyItem, CountOf)):
        yield condition.items
    elif isinstance(condition, Denied):
        yield from _mentioned(condition.part)
    elif isinstance(condition, Joined):
        for part in condition.parts:
            yield from _mentioned(part)
    else:
        yield from condition.makes_true or ()


def _ideas(condition: ScopeCondition, want: bool) -> Iterator[tuple[Items, ...]]:
    """Lists of items that make the condition true, or false; the shortest way first."""
    if isinstance(condition, Denied):
        yield from _ideas(condition.part, not want)
    elif isinstance(condition, AnyItem):
        yield (condition.items,) if condition.is_there is want else ()
    elif isinstance(condition, CountOf):
        yield from _counted(condition, want)
    elif isinstance(condition, Said):
        known = condition.makes_true if want else condition.makes_false
        if known is not None:
            yield known
    elif (condition.word == "and") is want:
        choices = [list(islice(_ideas(part, want), _MOST_IDEAS)) for part in condition.parts]
        for chosen in islice(product(*choices), _MOST_IDEAS):
            yield tuple(item for part in chosen for item in part)
    else:
        # One part suffices; the others are made to fail it, so that the test shows that one alone.
        for at, part in enumerate(condition.parts):
            others = [_ideas(other, not want) for index, other in enumerate(condition.parts) if index != at]
            rest = tuple(item for other in others for item in next(other, ()))
            for mine in _ideas(part, want):
                yield (*rest, *mine)
            yield from _ideas(part, want)


def _counted(condition: CountOf, want: bool) -> Iterator[tuple[Items, ...]]:
    for count in counts(condition.op, condition.number, want=want):
        yield (condition.items,) * count


def counts(op: str, number: Decimal, *, want: bool) -> Iterator[int]:
    """Numbers of items for a test that stand in the relation to the number, or that do not; the nearest first."""
    near = int(number)
    for count in (near, near + 1, near - 1, 0):
        if 0 <= count <= _MOST_ITEMS and _COMPARE[op](count, number) is want:
            yield count


def _trace(verdict: Any, items: tuple[Items, ...], keys: tuple[str, ...], steps: int) -> TestTrace | None:
    records: dict[str, list[Mapping[str, Any]]] = {"span": [], "log": []}
    for index, item in enumerate(items):
        values = _values(item.condition)
        if values is None or item.entity not in {"span", "log", "event"}:
            return None
        for key in keys:
            name = key if key in {"service", "name", "version"} else f"attribute.{key}"
            if isinstance(values.get(name), Absent):
                return None
            values.setdefault(name, f"{key}-1")
        record = _record(item, values, index * steps)
        if item.entity == "event":
            event = {"name": record.get("name", "event"), "attributes": record.get("attributes", {})}
            record = {"name": "work", "events": [event]}
        records["log" if item.entity == "log" else "span"].append(record)
    name = f"{'bad' if verdict == 'violated' else 'well'}: {', '.join(_named(item) for item in items)}"
    return TestTrace(name[:120], verdict, tuple(records["span"]), tuple(records["log"]))


def _named(item: Items) -> str:
    return item.name or item.entity


def _record(item: Items, values: Values, at_ns: int) -> dict[str, Any]:
    record: dict[str, Any] = {"name": item.name or "work"} if item.entity != "log" else {}
    record["at"] = f"{at_ns // 10**6}ms"
    for field, value in values.items():
        if isinstance(value, Absent):
            continue
        group, _, name = field.partition(".")
        if group in {"attribute", "resource"} and name:
            record.setdefault("attributes" if group == "attribute" else group, {})[name] = value
        else:
            record[field] = value
    return record


def _values(condition: ItemCondition) -> Values | None:
    """Values of one record that satisfy the condition, or None when they contradict each other or nobody knows."""
    if isinstance(condition, AnyOf):
        return next((values for part in condition.parts if (values := _values(part)) is not None), None)
    if not isinstance(condition, AllOf):
        return None if condition.example is None else dict(condition.example)
    merged: Values = {}
    for part in condition.parts:
        values = _values(part)
        if values is None:
            return None
        for field, value in values.items():
            if field in merged and not _agree(merged[field], value):
                return None
            merged[field] = value
    return merged


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, Absent) or isinstance(other, Absent):
        return isinstance(one, Absent) and isinstance(other, Absent)
    # Two bounds on one number are left to whoever runs the test: the later one is tried.
    numbers = isinstance(one, (int, Decimal)) and isinstance(other, (int, Decimal))
    return bool(one == other) or numbers
