"""Model → plan: which sets, counters and values one pass over the items has to make, and where to start.

The plan is *anchored*: a rule that can only apply where some rare item exists starts from the scopes of those items.
Which items are rare is measured where there are statistics, else guessed from the number of conditions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

from dagster_project.rule_language.meaning.attributes import entities_of
from dagster_project.rule_language.meaning.model import (
    LOSSABLE,
    Aggregate,
    Baseline,
    Condition,
    Conjunction,
    Disjunction,
    Distinct,
    Every,
    Field,
    Items,
    Judgement,
    Linear,
    Measured,
    Nearby,
    Negation,
    Number,
    Ordered,
    Quantity,
    QuantityComparison,
    Rate,
    Related,
    Scope,
    Some,
    parts,
)
from dagster_project.rule_language.planning.estimates import Statistics, estimate_rows
from dagster_project.rule_language.text.operators import compare
from dagster_project.rule_language.text.syntax import Entity

T = TypeVar("T")

HOUR_NS = 3_600_000_000_000

# Looking for candidates reads the anchor twice; it pays when it spares at least so much of what else is read.
_WORTH_ANCHORING = 2


@dataclass
class Plan:
    """What is computed per item and per scope. Positions in these lists name the columns of the SQL."""

    judgement: Judgement
    statistics: Statistics | None = None
    sets: list[Items] = field(default_factory=list)
    everies: list[Every] = field(default_factory=list)
    distincts: list[Distinct] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    baselines: list[Baseline] = field(default_factory=list)
    orders: list[Ordered] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    relevant: set[int] = field(default_factory=set)  # sets whose items form the scope
    anchor: frozenset[int] | None = None  # `when` needs an item of one of these sets
    anchored: bool | None = None  # whether starting from them pays, where somebody counted

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """What the items of scopes are, spans first; the order is that of the SQL."""
        present = entities_of(self.judgement)
        return tuple(one for one in ("span", "log", "event", "link") if one in present)  # type: ignore[misc]

    @cached_property
    def can_lose(self) -> bool:
        """Whether what a trace lost can change anything that is said of a scope."""
        return any(may_be_lost(items) for items in self.sets) or any(may_be_lost(one) for one in self.fields)

    @property
    def has_keys(self) -> bool:
        """Whether scopes have names beyond the hour."""
        return bool(self.judgement.group_by) or self.judgement.scope is not Scope.HOUR

    @property
    def needs_candidates(self) -> bool:
        """Whether starting from the anchor spares reading items of other scopes."""
        if self.anchor is None or self.relevant <= self.anchor or not self.has_keys:
            return False
        if self.anchored is not None:
            return self.anchored
        if self.statistics is None:
            return True
        return _WORTH_ANCHORING * self.rows(self.anchor) <= self.rows(frozenset(self.relevant))

    @property
    def back_ns(self) -> int:
        """How far before a window items are read: they may open a group of it, or be its baseline."""
        if self.judgement.scope is Scope.HOUR:
            return max((-(-one.back_ns // HOUR_NS) * HOUR_NS for one in self.baselines), default=0)
        return self.judgement.gap_ns

    def set_of(self, items: Items) -> int:
        return _index(self.sets, items)

    def field_of(self, read: Field) -> int:
        return _index(self.fields, read)

    def rows(self, sets: frozenset[int]) -> float:
        """How many items of these sets there are, as the statistics say."""
        if self.statistics is None:
            return 0.0
        return sum(estimate_rows(self.sets[number], self.statistics) for number in sets)


def plan(judgement: Judgement, statistics: Statistics | None = None) -> Plan:
    """The plan of one rule; with statistics the anchor is the one with the fewest items."""
    made = Plan(judgement, statistics)
    for condition in (judgement.when, judgement.bad):
        _collect(made, condition)
    for reported in judgement.report:
        _look_at(made, reported.items)
        if reported.field is not None:
            made.field_of(reported.field)
    made.anchor = _anchor(made, judgement.when, wanted=True)
    return made


def quantities(quantity: Quantity) -> list[Measured]:
    """What is measured inside a quantity, from left to right."""
    if isinstance(quantity, Linear):
        return quantities(quantity.left) + quantities(quantity.right)
    return [] if isinstance(quantity, Number) else [quantity]


def items_of(measured: Measured) -> Items:
    """The set that a quantity is measured over."""
    return measured.of.items if isinstance(measured, Baseline) else measured.items


def may_be_lost(node: Any) -> bool:
    """Whether losses of a trace can hide items of a set, or what decides that an item is in it."""
    if isinstance(node, Items) and node.entity in LOSSABLE:
        return True
    if isinstance(node, Related) or (isinstance(node, Field) and node.of != "item"):
        return True
    if isinstance(node, Nearby) and "trace" not in node.on:
        return False  # losses of other traces are not looked for
    return any(may_be_lost(part) for part in parts(node))


def _index(known: list[T], wanted: T) -> int:
    if wanted not in known:
        known.append(wanted)
    return known.index(wanted)


def _look_at(made: Plan, items: Items) -> None:
    """Note a set; what its selector matches belongs to the group, whether `where` keeps it or not."""
    number = made.set_of(items)
    if made.judgement.group_by or made.judgement.scope is not Scope.TRACE:
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
    elif isinstance(condition, Ordered):
        _index(made.orders, condition)
        _look_at(made, condition.quantified)
        _look_at(made, condition.partners)
    elif isinstance(condition, QuantityComparison):
        for one in quantities(condition.left) + quantities(condition.right):
            _measure(made, one)


def _measure(made: Plan, measured: Measured) -> None:
    _look_at(made, items_of(measured))
    if isinstance(measured, Baseline):
        _index(made.baselines, measured)
    elif isinstance(measured, Distinct):
        _index(made.distincts, measured)
    elif isinstance(measured, Aggregate):
        _index(made.aggregates, measured)
    elif isinstance(measured, Rate):
        _index(made.rates, measured)
    of = measured.of if isinstance(measured, Baseline) else measured
    if isinstance(of, (Distinct, Aggregate)):
        made.field_of(of.field)


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
    if isinstance(condition, Ordered):
        # It holds of nothing; a counterexample, and what skew leaves open, needs an item that needs a partner.
        return None if wanted else frozenset({made.set_of(condition.quantified)})
    if isinstance(condition, QuantityComparison):
        left, right = at_zero(condition.left), at_zero(condition.right)
        if left is None or right is None or compare(condition.op, left, right) is wanted:
            return None
        measured = quantities(condition.left) + quantities(condition.right)
        return frozenset(made.set_of(items_of(one)) for one in measured)
    return None


def _breadth(made: Plan, sets: frozenset[int]) -> tuple[float, int, int]:
    """Fewer items are narrower; where they were not counted fewer sets, and then more conditions."""
    conditions = 0
    for number in sets:
        condition = made.sets[number].condition
        conditions += len(condition.operands) if isinstance(condition, Conjunction) else 1
    return made.rows(sets), len(sets), -conditions


def at_zero(quantity: Quantity) -> Decimal | None:
    """The quantity where nothing matches; None where it then is null."""
    if isinstance(quantity, Number):
        return quantity.value
    if isinstance(quantity, Linear):
        left, right = at_zero(quantity.left), at_zero(quantity.right)
        return None if left is None or right is None else _calculated(quantity.op, left, right)
    if isinstance(quantity, Baseline) or (isinstance(quantity, Aggregate) and quantity.function != "sum"):
        return None
    return Decimal(0)


def _calculated(op: str, left: Decimal, right: Decimal) -> Decimal:
    if op == "*":
        return left * right
    if op == "/":
        return left / right
    return left + right if op == "+" else left - right
