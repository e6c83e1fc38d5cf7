"""Model → plan: which sets, counters and values one pass over the items has to make, and where to start.

The plan is *anchored*: a rule that can only apply where some rare item exists starts from the scopes of those items.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TypeVar

from dagster_project.rule_language.attributes import entities_of
from dagster_project.rule_language.model import (
    Condition,
    Conjunction,
    Count,
    Disjunction,
    Distinct,
    Every,
    Field,
    Items,
    Judgement,
    Linear,
    Negation,
    Number,
    Quantity,
    QuantityComparison,
    Some,
)
from dagster_project.rule_language.syntax import Entity

T = TypeVar("T")

_OPERATIONS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@dataclass
class Plan:
    """What is computed per item and per scope. Positions in these lists name the columns of the SQL."""

    judgement: Judgement
    sets: list[Items] = field(default_factory=list)
    everies: list[Every] = field(default_factory=list)
    distincts: list[Distinct] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    relevant: set[int] = field(default_factory=set)  # sets whose items form the scope
    anchor: frozenset[int] | None = None  # `when` needs an item of one of these sets

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """Spans first; the order is that of the SQL."""
        present = entities_of(self.judgement)
        return tuple(entity for entity in ("span", "log") if entity in present)  # type: ignore[misc]

    @property
    def needs_candidates(self) -> bool:
        """Whether starting from the anchor spares reading items of other scopes."""
        return self.anchor is not None and not self.relevant <= self.anchor

    def set_of(self, items: Items) -> int:
        return _index(self.sets, items)

    def field_of(self, read: Field) -> int:
        return _index(self.fields, read)


def plan(judgement: Judgement) -> Plan:
    """The plan of one rule."""
    made = Plan(judgement)
    for condition in (judgement.when, judgement.bad):
        _collect(made, condition)
    for reported in judgement.report:
        _look_at(made, reported.items)
        if reported.field is not None:
            made.field_of(reported.field)
    made.anchor = _anchor(made, judgement.when, wanted=True)
    return made


def compare(op: str, left: Decimal, right: Decimal) -> bool:
    """`left op right`, for the operators of the language."""
    return bool(_OPERATIONS[op](left, right))


def quantities(quantity: Quantity) -> list[Count | Distinct]:
    """The counts inside a quantity, from left to right."""
    if isinstance(quantity, Linear):
        return quantities(quantity.left) + quantities(quantity.right)
    return [] if isinstance(quantity, Number) else [quantity]


def _index(known: list[T], wanted: T) -> int:
    if wanted not in known:
        known.append(wanted)
    return known.index(wanted)


def _look_at(made: Plan, items: Items) -> None:
    """Note a set; what its selector matches belongs to the group, whether `where` keeps it or not."""
    number = made.set_of(items)
    if made.judgement.group_by:
        number = made.set_of(Items(items.entity, items.selector, items.selector))
    made.relevant.add(number)


def _collect(made: Plan, condition: Condition) -> None:
    if isinstance(condition, Negation):
        _collect(made, condition.operand)
    elif isinstance(condition, (Conjunction, Disjunction)):
        for operand in condition.operands:
            _collect(made, operand)
    elif isinstance(condition, Some):
        _look_at(made, condition.items)
    elif isinstance(condition, Every):
        _index(made.everies, condition)
        _look_at(made, condition.items)
        made.set_of(condition.kept)
    elif isinstance(condition, QuantityComparison):
        for one in quantities(condition.left) + quantities(condition.right):
            _look_at(made, one.items)
            if isinstance(one, Distinct):
                _index(made.distincts, one)
                made.field_of(one.field)


def _anchor(  # noqa: PLR0911  # one return a kind of node
    made: Plan, condition: Condition, *, wanted: bool
) -> frozenset[int] | None:
    """Sets of which at least one item exists wherever the condition can have the wanted value; None: nowhere sure.

    Losses aside: a lost span can be an item of any set, so scopes with losses are candidates anyhow.
    """
    if isinstance(condition, Negation):
        return _anchor(made, condition.operand, wanted=not wanted)
    if isinstance(condition, (Conjunction, Disjunction)):
        parts = [_anchor(made, operand, wanted=wanted) for operand in condition.operands]
        if isinstance(condition, Conjunction) is wanted:
            sure = [part for part in parts if part is not None]
            return min(sure, key=lambda part: _breadth(made, part)) if sure else None
        return frozenset().union(*parts) if parts and None not in parts else None  # type: ignore[arg-type]
    if isinstance(condition, Some):
        return frozenset({made.set_of(condition.items)}) if wanted else None
    if isinstance(condition, Every):
        return None if wanted else frozenset({made.set_of(condition.items)})
    if isinstance(condition, QuantityComparison):
        at_zero = compare(condition.op, _at_zero(condition.left), _at_zero(condition.right))
        if at_zero is wanted:
            return None
        return frozenset(made.set_of(one.items) for one in quantities(condition.left) + quantities(condition.right))
    return None


def _breadth(made: Plan, sets: frozenset[int]) -> tuple[int, int]:
    """Fewer sets are narrower, and so are more conditions."""
    conditions = 0
    for number in sets:
        condition = made.sets[number].condition
        conditions += len(condition.operands) if isinstance(condition, Conjunction) else 1
    return len(sets), -conditions


def _at_zero(quantity: Quantity) -> Decimal:
    """The quantity where nothing matches."""
    if isinstance(quantity, Number):
        return quantity.value
    if isinstance(quantity, Linear):
        left, right = _at_zero(quantity.left), _at_zero(quantity.right)
        if quantity.op == "*":
            return left * right
        if quantity.op == "/":
            return left / right
        return left + right if quantity.op == "+" else left - right
    return Decimal(0)
