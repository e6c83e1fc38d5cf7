"""Conditions on a whole scope → SQL over its counters, as what is possible under detectable loss.

A condition becomes a pair: can it be true, can it be false, for some way in which the lost spans may have been.
Quantities become intervals (`quantity`). The counters of `counting` count what is sure; a loss opens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan, may_be_lost, quantities
from dagster_project.rule_language.sql.nodes import call, cast, column, every_of, integer, of, one_of, text
from dagster_project.rule_language.sql.quantity import LOST, Interval, QuantitySql
from dagster_project.rule_language.text.operators import FLIPPED, compare
from dagster_project.rule_language.text.syntax import CompareOp

UNDECIDED = {
    "order": "order within clock skew",
    "baseline": "too few records for a baseline",
    "aggregate": "nothing to aggregate",
}
"""Why a scope cannot be judged of which nothing was lost."""


@dataclass(frozen=True)
class Possible:
    """Two conditions that are never null; at least one of them holds."""

    true: exp.Expression
    false: exp.Expression


def is_two_or_more_enough(made: Plan, distinct: model.Distinct) -> bool:
    """Whether 0, 1 or more decides every comparison of this count of values: smallest <> largest then does."""
    return all(
        _decided_by_two(one, distinct) for one in comparisons(made.judgement.when) + comparisons(made.judgement.bad)
    )


def comparisons(node: model.Condition) -> list[model.QuantityComparison]:
    """The comparisons of quantities in a condition."""
    if isinstance(node, model.QuantityComparison):
        return [node]
    if isinstance(node, model.Negation):
        return comparisons(node.operand)
    if isinstance(node, (model.Conjunction, model.Disjunction)):
        return [one for operand in node.operands for one in comparisons(operand)]
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


def against_number(comparison: model.QuantityComparison, quantity: model.Measured) -> tuple[CompareOp, Decimal | None]:
    """The comparison read as `quantity op number`; the number is None when it is not of that form."""
    if comparison.left == quantity and isinstance(comparison.right, model.Number):
        return comparison.op, comparison.right.value
    if comparison.right == quantity and isinstance(comparison.left, model.Number):
        return FLIPPED[comparison.op], comparison.left.value
    return comparison.op, None


@dataclass(frozen=True)
class ScopeSql:
    """Compiles conditions over the counters of one plan, which are columns of `table`."""

    made: Plan
    table: str

    def possible(self, node: model.Condition) -> Possible:  # noqa: PLR0911  # one return a kind of node
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
                one_of([of(exp.GT, sure, _zero()), *self._loss(node.items)]),
                of(exp.EQ, sure, _zero()),
            )
        if isinstance(node, model.Every):
            against = self._counter(f"x{self.made.everies.index(node)}")
            return Possible(
                of(exp.EQ, against, _zero()),
                one_of([of(exp.GT, against, _zero()), *self._loss(node.kept)]),
            )
        if isinstance(node, model.Ordered):
            return self._ordered(node)
        if isinstance(node, model.QuantityComparison):
            return self._quantities(node)
        raise TypeError(f"{type(node).__name__} says nothing of a scope")

    def sure(self, node: model.Condition, *, wanted: bool) -> exp.Expression:
        """Whether the condition has the wanted value whatever was lost."""
        possible = self.possible(node)
        return exp.Not(this=exp.Paren(this=possible.false if wanted else possible.true))

    def why_undecided(self) -> exp.Expression:
        """The reason why a scope without losses cannot be judged; the first that applies."""
        case = exp.Case()
        for number in range(len(self.made.baselines)):
            case = case.when(self._counter(f"few{number}"), text(UNDECIDED["baseline"]), copy=False)
        for number in range(len(self.made.orders)):
            undecided = every_of(
                [
                    of(exp.GT, self._counter(f"undecided{number}"), _zero()),
                    of(exp.EQ, self._counter(f"against{number}"), _zero()),
                ]
            )
            case = case.when(undecided, text(UNDECIDED["order"]), copy=False)
        return (
            case.else_(text(UNDECIDED["aggregate"]), copy=False)
            if case.args.get("ifs")
            else text(UNDECIDED["aggregate"])
        )

    def _ordered(self, node: model.Ordered) -> Possible:
        """A lost partner may settle a counterexample; a lost item may be one."""
        number = self.made.orders.index(node)
        against = of(exp.GT, self._counter(f"against{number}"), _zero())
        undecided = of(exp.GT, self._counter(f"undecided{number}"), _zero())
        none = of(exp.EQ, self._counter(f"against{number}"), _zero())
        return Possible(
            one_of([none, *self._loss(node.partners)]),
            one_of([against, undecided, *self._loss(node.quantified)]),
        )

    def _quantities(self, node: model.QuantityComparison) -> Possible:
        left, right, may_be_null = QuantitySql(self.made, self.table).sides(node)
        possible = _compared(node.op, left, right)
        if not may_be_null:
            return possible
        return Possible(*(call("coalesce", part, exp.true()) for part in (possible.true, possible.false)))

    def _counter(self, name: str) -> exp.Expression:
        return column(name, self.table)

    def _loss(self, items: model.Items) -> list[exp.Expression]:
        """Whether something was lost that may have been in the set, or decided what is in it."""
        return [column(LOST, self.table)] if may_be_lost(items) else []


def _compared(op: CompareOp, left: Interval, right: Interval) -> Possible:
    """`left op right` for some, and not for some, values of the two intervals."""
    if op in {">", ">="}:
        return _compared(FLIPPED[op], right, left)
    if op == "!=":
        equal = _compared("==", left, right)
        return Possible(equal.false, equal.true)
    if op == "==":
        overlap = every_of([of(exp.LTE, left.low, right.high), of(exp.LTE, right.low, left.high)])
        single = every_of(
            [of(exp.EQ, left.low, left.high), of(exp.EQ, right.low, right.high), of(exp.EQ, left.low, right.low)]
        )
        return Possible(overlap, exp.Paren(this=exp.Not(this=single)))
    if op == "<":
        return Possible(of(exp.LT, left.low, right.high), of(exp.GTE, left.high, right.low))
    return Possible(of(exp.LTE, left.low, right.high), of(exp.GT, left.high, right.low))


def _zero() -> exp.Expression:
    return integer(0)


def empty_list(type_: str) -> exp.Expression:
    """A list of nothing, with a type."""
    return cast(exp.Array(expressions=[]), type_)


def joined_lists(lists: list[exp.Expression]) -> exp.Expression:
    """One list after the other; null counts as empty."""
    return call("list_concat", *lists) if len(lists) > 1 else lists[0]
