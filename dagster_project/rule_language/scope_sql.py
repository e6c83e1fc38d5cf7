"""Conditions on a whole scope → SQL over its counters, as what is possible under detectable loss.

A condition becomes a pair: can it be true, can it be false, for some way in which the lost spans may have been. Counts
become intervals. The counters of `sql` count what is sure; a loss opens them upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.item_sql import number
from dagster_project.rule_language.planner import Plan, compare, quantities
from dagster_project.rule_language.sql_nodes import call, cast, column, every_of, one_of, text
from dagster_project.rule_language.syntax import CompareOp

LOST = "has_loss"
OPPOSITE: dict[CompareOp, CompareOp] = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED: dict[CompareOp, CompareOp] = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True)
class Possible:
    """Two conditions that are never null; at least one of them holds."""

    true: exp.Expression
    false: exp.Expression


@dataclass(frozen=True)
class Interval:
    """The least and the greatest value that a quantity can have; the greatest may be infinite."""

    low: exp.Expression
    high: exp.Expression


def is_two_or_more_enough(made: Plan, distinct: model.Distinct) -> bool:
    """Whether 0, 1 or more decides every comparison of this count of values: smallest <> largest then does."""
    return all(
        _decided_by_two(one, distinct) for one in _comparisons(made.judgement.when) + _comparisons(made.judgement.bad)
    )


def _comparisons(node: model.Condition) -> list[model.QuantityComparison]:
    if isinstance(node, model.QuantityComparison):
        return [node]
    if isinstance(node, model.Negation):
        return _comparisons(node.operand)
    if isinstance(node, (model.Conjunction, model.Disjunction)):
        return [one for operand in node.operands for one in _comparisons(operand)]
    return []


def _decided_by_two(comparison: model.QuantityComparison, distinct: model.Distinct) -> bool:
    if distinct not in quantities(comparison.left) + quantities(comparison.right):
        return True
    op, bound = against_number(comparison, distinct)
    if bound is None:
        return False
    outcome = compare(op, Decimal(2), bound)
    # From 2 upwards the outcome must no longer change.
    return all(compare(op, value, bound) is outcome for value in (Decimal(3), bound, bound + 1) if value >= 2)


def against_number(
    comparison: model.QuantityComparison, quantity: model.Count | model.Distinct
) -> tuple[CompareOp, Decimal | None]:
    """The comparison read as `quantity op number`; the number is None when it is not of that form."""
    if comparison.left == quantity and isinstance(comparison.right, model.Number):
        return comparison.op, comparison.right.value
    if comparison.right == quantity and isinstance(comparison.left, model.Number):
        return MIRRORED[comparison.op], comparison.left.value
    return comparison.op, None


@dataclass(frozen=True)
class ScopeSql:
    """Compiles conditions over the counters of one plan, which are columns of `table`."""

    made: Plan
    table: str

    def possible(self, node: model.Condition) -> Possible:
        """What the condition can be."""
        if isinstance(node, model.Negation):
            inner = self.possible(node.operand)
            return Possible(inner.false, inner.true)
        if isinstance(node, (model.Conjunction, model.Disjunction)):
            parts = [self.possible(operand) for operand in node.operands]
            trues, falses = [part.true for part in parts], [part.false for part in parts]
            if isinstance(node, model.Conjunction):
                return Possible(every_of(trues), one_of(falses))
            return Possible(one_of(trues), every_of(falses))
        if isinstance(node, model.Some):
            sure = self._counter(f"n{self.made.set_of(node.items)}")
            return Possible(
                one_of([exp.Paren(this=exp.GT(this=sure, expression=_zero())), *self._loss(node.items)]),
                exp.Paren(this=exp.EQ(this=sure.copy(), expression=_zero())),
            )
        if isinstance(node, model.Every):
            against = self._counter(f"x{self.made.everies.index(node)}")
            return Possible(
                exp.Paren(this=exp.EQ(this=against, expression=_zero())),
                one_of([exp.Paren(this=exp.GT(this=against.copy(), expression=_zero())), *self._loss(node.items)]),
            )
        if isinstance(node, model.QuantityComparison):
            return _compared(node.op, self.interval(node.left), self.interval(node.right))
        raise TypeError(f"{type(node).__name__} says nothing of a scope")

    def sure(self, node: model.Condition, *, wanted: bool) -> exp.Expression:
        """Whether the condition has the wanted value whatever was lost."""
        possible = self.possible(node)
        return exp.Not(this=exp.Paren(this=possible.false if wanted else possible.true))

    def interval(self, quantity: model.Quantity) -> Interval:
        """The values that a quantity can have."""
        if isinstance(quantity, model.Number):
            return Interval(number(quantity.value), number(quantity.value))
        if isinstance(quantity, model.Linear):
            return self._linear(quantity)
        name = f"n{self.made.set_of(quantity.items)}"
        if isinstance(quantity, model.Distinct):
            name = f"d{self.made.distincts.index(quantity)}"
        low = cast(self._counter(name), "DOUBLE")
        loss = self._loss(quantity.items)
        if not loss:
            return Interval(low, low.copy())
        return Interval(low, exp.Case().when(loss[0], _infinity(), copy=False).else_(low.copy(), copy=False))

    def _linear(self, quantity: model.Linear) -> Interval:
        left, right = self.interval(quantity.left), self.interval(quantity.right)
        if quantity.op == "+":
            return Interval(_of(exp.Add, left.low, right.low), _of(exp.Add, left.high, right.high))
        if quantity.op == "-":
            return Interval(_of(exp.Sub, left.low, right.high), _of(exp.Sub, left.high, right.low))
        factor, scaled = (quantity.left, right) if isinstance(quantity.left, model.Number) else (quantity.right, left)
        if not isinstance(factor, model.Number):
            raise TypeError("a product of two counts; resolve refuses it")
        kind = exp.Mul if quantity.op == "*" else exp.Div
        low, high = (_of(kind, bound, number(factor.value)) for bound in (scaled.low, scaled.high))
        return Interval(low, high) if factor.value > 0 else Interval(high, low)

    def _counter(self, name: str) -> exp.Expression:
        return column(name, self.table)

    def _loss(self, items: model.Items) -> list[exp.Expression]:
        """Only the loss of spans can be detected; log records are what was received."""
        return [column(LOST, self.table)] if items.entity == "span" else []


def _compared(op: CompareOp, left: Interval, right: Interval) -> Possible:
    """`left op right` for some, and not for some, values of the two intervals."""
    if op in {">", ">="}:
        return _compared(MIRRORED[op], right, left)
    if op == "!=":
        equal = _compared("==", left, right)
        return Possible(equal.false, equal.true)
    if op == "==":
        overlap = every_of([_of(exp.LTE, left.low, right.high), _of(exp.LTE, right.low, left.high)])
        single = every_of(
            [_of(exp.EQ, left.low, left.high), _of(exp.EQ, right.low, right.high), _of(exp.EQ, left.low, right.low)]
        )
        return Possible(overlap, exp.Paren(this=exp.Not(this=single)))
    if op == "<":
        return Possible(_of(exp.LT, left.low, right.high), _of(exp.GTE, left.high, right.low))
    return Possible(_of(exp.LTE, left.low, right.high), _of(exp.GT, left.high, right.low))


def _of(kind: type[exp.Binary], left: exp.Expression, right: exp.Expression) -> exp.Expression:
    return exp.Paren(this=kind(this=left.copy(), expression=right.copy()))


def _zero() -> exp.Expression:
    return exp.Literal.number(0)


def _infinity() -> exp.Expression:
    return cast(text("Infinity"), "DOUBLE")


def empty_list(type_: str) -> exp.Expression:
    """A list of nothing, with a type."""
    return cast(exp.Array(expressions=[]), type_)


def joined_lists(lists: list[exp.Expression]) -> exp.Expression:
    """One list after the other; null counts as empty."""
    return call("list_concat", *lists) if len(lists) > 1 else lists[0]
