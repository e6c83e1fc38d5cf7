"""Which spans show that a scope violates a rule: the canonical witness, as SQL over the lists of a plan.

any → the earliest match; all, order → the earliest counterexample; count > n → the first n + 1, with `per` those of the
earliest such stretch; distinct → the earliest spans of the first two values; other quantities → the earliest item of
each set; absence → the witness of `when`. Ties go by (start, trace, span).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from math import floor

from sqlglot import exp

from dagster_project.rule_language.limits import MAX_WITNESS_SPANS
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan, items_of, quantities
from dagster_project.rule_language.sql.nodes import call, column
from dagster_project.rule_language.sql.scope import ScopeSql, against_number, empty_list, joined_lists
from dagster_project.rule_language.text.operators import OPPOSITE, compare
from dagster_project.rule_language.text.syntax import CompareOp

SPAN_LIST = "STRUCT(trace_id UUID, span_id UBIGINT)[]"
ORDERED_LIST = "STRUCT(at TIMESTAMP_NS, trace_id UUID, span_id UBIGINT)[]"


@dataclass
class WitnessLists:
    """The lists of earliest items that witnesses need; their positions name the columns of the SQL."""

    firsts: dict[int, int] = field(default_factory=dict)  # set → how many of its earliest items
    counterexamples: set[int] = field(default_factory=set)  # positions in plan.everies
    values: set[int] = field(default_factory=set)  # positions in plan.distincts
    stretches: set[tuple[int, int]] = field(default_factory=set)  # positions in plan.rates, with how many items


@dataclass
class WitnessSql:
    """Compiles the witness of a violation and notes which lists it reads."""

    made: Plan
    scope: ScopeSql
    lists_table: str
    lists: WitnessLists = field(default_factory=WitnessLists)

    def of_violation(self) -> exp.Expression:
        """The witness of `bad`, or that of `when` where `bad` is an absence."""
        judgement = self.made.judgement
        bad, when = self._of(judgement.bad, wanted=True), self._of(judgement.when, wanted=True)
        if when is None or bad is None:
            return bad or when or _none()
        absent = exp.EQ(this=call("len", bad), expression=exp.Literal.number(0))
        return exp.Case().when(absent, when, copy=False).else_(bad.copy(), copy=False)

    def _of(  # noqa: PLR0911  # one return a kind of node
        self, node: model.Condition, *, wanted: bool
    ) -> exp.Expression | None:
        """The spans that show the condition to have the wanted value; None where that is always an absence."""
        if isinstance(node, model.Negation):
            return self._of(node.operand, wanted=not wanted)
        if isinstance(node, (model.Conjunction, model.Disjunction)):
            if isinstance(node, model.Conjunction) is wanted:
                return self._together([self._of(operand, wanted=wanted) for operand in node.operands])
            return self._first_that_holds(node.operands, wanted=wanted)
        if isinstance(node, model.Some):
            return self._firsts(node.items, 1) if wanted else None
        if isinstance(node, model.Every):
            return None if wanted else self._counterexample(node)
        if isinstance(node, model.Ordered):
            return None if wanted else self._out_of_order(node)
        if isinstance(node, model.QuantityComparison):
            op = node.op if wanted else OPPOSITE[node.op]
            return self._of_comparison(model.QuantityComparison(op, node.left, node.right))
        raise TypeError(f"{type(node).__name__} says nothing of a scope")

    def _together(self, parts: list[exp.Expression | None]) -> exp.Expression | None:
        lists = [part for part in parts if part is not None]
        return joined_lists(lists) if lists else None

    def _first_that_holds(self, operands: tuple[model.Condition, ...], *, wanted: bool) -> exp.Expression | None:
        """Of alternatives, the first one that surely holds explains enough."""
        witnesses = [self._of(operand, wanted=wanted) for operand in operands]
        if all(witness is None for witness in witnesses):
            return None
        case = exp.Case()
        for operand, witness in zip(operands, witnesses, strict=True):
            case = case.when(self.scope.sure(operand, wanted=wanted), witness or _none(), copy=False)
        return case.else_(_none(), copy=False)

    def _of_comparison(self, comparison: model.QuantityComparison) -> exp.Expression | None:
        counted = quantities(comparison.left) + quantities(comparison.right)
        one = counted[0]
        op, bound = against_number(comparison, one)
        if bound is None or isinstance(one, (model.Aggregate, model.Baseline)):
            return self._together([self._firsts(items, 1) for items in dict.fromkeys(map(items_of, counted))])
        if isinstance(one, model.Rate):
            return self._stretch(one, needed_of(comparison, one)) if _needs(op, bound) > 0 else None
        if isinstance(one, model.Distinct):
            return (
                self._two_values(one) if _needs(op, bound) >= 2 or op == "!=" else self._values_of_few(op, bound, one)
            )
        if op == "!=":
            # More than the number is shown by one more than it; fewer is an absence.
            more = self._firsts(one.items, _least_above(bound))
            above = self.scope.sure(model.QuantityComparison(">", one, model.Number(bound)), wanted=True)
            return exp.Case().when(above, more, copy=False).else_(_none(), copy=False)
        needed = _needs(op, bound)
        return self._firsts(one.items, needed) if needed > 0 else None

    def _values_of_few(self, op: CompareOp, bound: Decimal, one: model.Distinct) -> exp.Expression | None:
        return self._two_values(one, only_first=True) if _needs(op, bound) == 1 else None

    def _two_values(self, distinct: model.Distinct, *, only_first: bool = False) -> exp.Expression:
        """The earliest spans of the first two values, when there are two (or of the first, when one is needed)."""
        number = self.made.distincts.index(distinct)
        self.lists.values.add(number)
        first, second = column(f"v{number}", self.lists_table), column(f"u{number}", self.lists_table)
        if only_first:
            return _listed(first)
        none = exp.Is(this=second, expression=exp.null())
        pair = exp.Array(expressions=[first, second.copy()])
        return exp.Case().when(none, _none(), copy=False).else_(pair, copy=False)

    def _firsts(self, items: model.Items, count: int) -> exp.Expression:
        number, count = self.made.set_of(items), min(count, MAX_WITNESS_SPANS)
        self.lists.firsts[number] = max(count, self.lists.firsts.get(number, 0))
        taken = call(
            "list_slice", column(f"w{number}", self.lists_table), exp.Literal.number(1), exp.Literal.number(count)
        )
        return call("coalesce", taken, _none())

    def _stretch(self, rate: model.Rate, count: int) -> exp.Expression:
        """The first items of the earliest stretch that holds so many."""
        number = self.made.rates.index(rate)
        self.lists.stretches.add((number, count))
        return call("coalesce", column(f"l{number}_{count}", self.lists_table), _none())

    def _out_of_order(self, node: model.Ordered) -> exp.Expression:
        """The earliest item without a partner; where there is no partner at all, the earliest item."""
        number = self.made.orders.index(node)
        found = column(f"first_against{number}", self.scope.table)
        missing = exp.Is(this=found, expression=exp.null())
        alone = self._firsts(node.quantified, 1)
        return exp.Case().when(missing, alone, copy=False).else_(exp.Array(expressions=[found.copy()]), copy=False)

    def _counterexample(self, node: model.Every) -> exp.Expression:
        number = self.made.everies.index(node)
        self.lists.counterexamples.add(number)
        return _listed(column(f"y{number}", self.lists_table))


def full_from(number: int, count: int) -> str:
    """The column that says where the earliest stretch with so many items of a rate begins."""
    return f"full{number}_{count}"


def needed_of(comparison: model.QuantityComparison, rate: model.Rate) -> int:
    """The fewest items in a stretch that make the comparison true; 1 where that is no plain number."""
    op, bound = against_number(comparison, rate)
    return max(1, _needs(op, bound)) if bound is not None else 1


def _listed(one: exp.Expression) -> exp.Expression:
    missing = exp.Is(this=one, expression=exp.null())
    return exp.Case().when(missing, _none(), copy=False).else_(exp.Array(expressions=[one.copy()]), copy=False)


def _none() -> exp.Expression:
    return empty_list(ORDERED_LIST)


def _needs(op: CompareOp, bound: Decimal) -> int:
    """The least count that satisfies `count op bound`, when none does not; 0 for an absence."""
    if compare(op, Decimal(0), bound):
        return 0
    if op in {">", ">=", "=="}:
        return _least_above(bound) if op == ">" else max(0, -floor(-bound))
    return 0


def _least_above(bound: Decimal) -> int:
    return max(0, floor(bound) + 1)
