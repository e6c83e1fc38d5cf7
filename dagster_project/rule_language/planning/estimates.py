"""How many items of a set there are, estimated from statistics of the tables. Measures nothing: that is `replay`'s.

Names and services are exact, since rows are counted by them; values are estimated from a sample of each name's rows,
and conditions on one item as if they had nothing to do with each other. What is not known has a stated default.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Final, TypeAlias

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.attributes import column_type, promoted_column
from dagster_project.rule_language.meaning.model import ENUMERATIONS, Type
from dagster_project.rule_language.text.operators import FLIPPED, compare
from dagster_project.rule_language.text.syntax import Entity

Value: TypeAlias = str | float | bool

# Shares of rows where nothing is known. Rough, as everybody's are; what matters is that equality is rarer than a range.
EQUAL: Final = 0.05
RANGE: Final = 1 / 3
PATTERN: Final = 0.1
FILLED: Final = 0.5
RELATED: Final = 0.5
NEARBY: Final = 0.1
UNMEASURED_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one field, in a sample of rows.

    Attributes
    ----------
    sampled
        Rows looked at.
    filled
        Share of them that have a value.
    common
        The most frequent values, and their shares of the rows that have one.
    distinct
        Different values in the sample.
    quantiles
        Of numbers: a share, and the value that so many are not above; from the least to the greatest.
    """

    sampled: int
    filled: float
    common: Mapping[Value, float] = field(default_factory=dict)
    distinct: int = 0
    quantiles: tuple[tuple[float, float], ...] = ()

    @property
    def rest(self) -> float:
        """The share of values that are none of the common ones."""
        return max(0.0, 1.0 - sum(self.common.values()))

    @property
    def smallest(self) -> float:
        """The share of what was looked for and not found in the sample."""
        return 0.5 / max(1, self.sampled)


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one service and name: their number, and values by `field_name`. Of logs the name is None."""

    service: str | None
    name: str | None
    rows: int
    values: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of the tables, per kind of item; a kind that is missing was not measured."""

    groups: Mapping[Entity, tuple[Group, ...]]

    def rows(self, entity: Entity) -> int:
        return sum(group.rows for group in self.groups.get(entity, ()))


@dataclass(frozen=True, slots=True)
class _Shares:
    """Of how many rows a condition is true, and of how many false; of the others it is unknown."""

    true: float
    false: float


def field_name(read: model.Field) -> str | None:
    """What statistics call a field: its key, or the promoted column of an attribute; None of what is not measured."""
    if read.of != "item" or read.origin == "resource":
        return None
    return read.key if read.origin == "intrinsic" else promoted_column(read.key, column_type(read.type))


def estimate_rows(items: model.Items, statistics: Statistics) -> float:
    """About how many items of a set there are in all."""
    groups = statistics.groups.get(items.entity)
    if groups is None:
        return UNMEASURED_ROWS * _shares(items.condition, None).true
    return sum(group.rows * _shares(items.condition, group).true for group in groups)


def _shares(node: model.Condition, group: Group | None) -> _Shares:
    """What a condition on one item is, over the rows of a group; of a table that was not measured the group is None."""
    if isinstance(node, model.Negation):
        shares = _shares(node.operand, group)
        return _Shares(shares.false, shares.true)
    if isinstance(node, model.Conjunction):
        return _together(node.operands, group)
    if isinstance(node, model.Disjunction):
        none = _together(tuple(model.Negation(one) for one in node.operands), group)
        return _Shares(none.false, none.true)
    if isinstance(node, model.Member):
        return _shares(node.items.condition, group)
    if isinstance(node, (model.Related, model.Nearby)):
        share = RELATED if isinstance(node, model.Related) else NEARBY
        return _Shares(share, 1 - share)
    return _of_item(node, group)


def _of_item(node: model.Condition, group: Group | None) -> _Shares:
    """What is said of an item's own fields."""
    if isinstance(node, model.Comparison):
        return _comparison(node, group)
    if isinstance(node, model.Membership):
        true = min(1.0, sum(_comparison(model.Comparison("==", node.term, one), group).true for one in node.values))
        return _Shares(true, max(0.0, _filled(node.term, group) - true))
    if isinstance(node, model.GlobMatched):
        pattern = re.compile("".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in node.glob), re.DOTALL)
        return _of_values(node.term, group, lambda value: pattern.fullmatch(str(value)) is not None, PATTERN)
    if isinstance(node, model.PatternFound):
        return _divided(_filled(node.term, group), PATTERN)
    if isinstance(node, model.Presence):
        filled = _filled(node.field, group)
        return _Shares(filled, 1 - filled) if node.present else _Shares(1 - filled, filled)
    if isinstance(node, model.Truth):
        return _of_values(node.term, group, lambda value: value is True, 0.5)
    raise TypeError(f"{type(node).__name__} says nothing of one item")


def _together(operands: tuple[model.Condition, ...], group: Group | None) -> _Shares:
    true, not_false = 1.0, 1.0
    for operand in operands:
        shares = _shares(operand, group)
        true *= shares.true
        not_false *= 1 - shares.false
        if not true and not not_false:
            break
    return _Shares(true, 1 - not_false)


def _comparison(node: model.Comparison, group: Group | None) -> _Shares:
    left, op, right = node.left, node.op, node.right
    if isinstance(left, model.Constant):
        left, op, right = right, FLIPPED[op], left
    guess = {"==": EQUAL, "!=": 1 - EQUAL}.get(op, RANGE)
    if not isinstance(left, model.Field) or not isinstance(right, model.Constant):
        return _divided(_filled(left, group) * _filled(right, group), guess)
    if left.type is Type.SEVERITY:
        return _severity(op, left, str(right.value), group)
    return _compared(op, left, right.value, group)


def _compared(op: str, read: model.Field, wanted: str | Decimal | int | bool, group: Group | None) -> _Shares:
    """A field against a constant: the common values one by one, numbers among the rest by quantiles."""
    constant: Value = wanted if isinstance(wanted, (str, bool)) else float(wanted)
    found = _known(read, group)
    guess = _guess(op, constant, found if isinstance(found, Values) else Values(0, FILLED))
    return _of_values(read, group, lambda value: _holds(op, value, constant), guess)


def _guess(op: str, constant: Value, values: Values) -> float:
    """Of the values that are none of the common ones, the share for which a comparison holds."""
    if op in {"==", "!="}:
        others = values.distinct - len(values.common)
        one = 0.0 if constant in values.common else 1 / others if others > 0 else EQUAL
        return one if op == "==" else 1 - one
    if not values.quantiles or not isinstance(constant, float):
        return RANGE
    below = _below(values.quantiles, constant)
    return below if op in {"<", "<="} else 1 - below


def _below(quantiles: tuple[tuple[float, float], ...], number: float) -> float:
    """The share of numbers below one, as if they were spread evenly between two quantiles."""
    place = bisect_left(quantiles, number, key=itemgetter(1))
    if place in {0, len(quantiles)}:
        return float(place > 0)
    (share_low, low), (share_high, high) = quantiles[place - 1], quantiles[place]
    return share_low + (share_high - share_low) * (number - low) / (high - low)


def _severity(op: str, read: model.Field, word: str, group: Group | None) -> _Shares:
    """Each word stands for four numbers of OpenTelemetry."""
    first = 1 + 4 * ENUMERATIONS[Type.SEVERITY].index(word)
    if op in {"==", "!="}:
        inside = _of_values(read, group, lambda value: isinstance(value, float) and first <= value <= first + 3, EQUAL)
        return inside if op == "==" else _Shares(inside.false, inside.true)
    return _compared(op, read, first if op in {">=", "<"} else first + 3, group)


def _of_values(term: model.Term, group: Group | None, holds: Callable[[Value], bool], of_rest: float) -> _Shares:
    """What holds of the values that are known, and `of_rest` of the others."""
    found = _known(term, group)
    if found is None:
        return _divided(FILLED if _is_attribute(term) else 1.0, of_rest)
    if not isinstance(found, Values):
        return _Shares(float(holds(found)), float(not holds(found)))
    if not found.filled:
        return _Shares(found.smallest, 0.0)
    share = sum(part for value, part in found.common.items() if holds(value)) + found.rest * of_rest
    share = min(max(share, found.smallest), 1 - found.smallest)
    return _divided(found.filled, share)


def _known(term: model.Term, group: Group | None) -> Values | str | None:
    """What statistics say of a field: its values, or the only value that it has in the group."""
    if group is None or not isinstance(term, model.Field) or term.of != "item":
        return None
    if term.origin == "intrinsic" and term.key in {"name", "service"}:
        one = group.name if term.key == "name" else group.service
        return one if one is not None else Values(group.rows, 0.0)
    name = field_name(term)
    return None if name is None else group.values.get(name)


def _filled(term: model.Term, group: Group | None) -> float:
    if isinstance(term, model.Constant):
        return 1.0
    if isinstance(term, model.Calculation):
        return _filled(term.left, group) * _filled(term.right, group)
    found = _known(term, group)
    if found is None:
        return FILLED if _is_attribute(term) else 1.0
    return found.filled if isinstance(found, Values) else 1.0


def _is_attribute(term: model.Term) -> bool:
    return isinstance(term, model.Field) and term.origin != "intrinsic"


def _divided(filled: float, share: float) -> _Shares:
    return _Shares(filled * share, filled * (1 - share))


def _holds(op: str, value: Value, constant: Value) -> bool:
    if isinstance(value, str) or isinstance(constant, str) or isinstance(value, bool) or isinstance(constant, bool):
        return (value == constant) is (op == "==") if op in {"==", "!="} else False
    return compare(op, Decimal(value), Decimal(constant))
