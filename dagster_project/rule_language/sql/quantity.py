"""What a quantity of a scope can be, as an interval of SQL values: one number where nothing was lost.

Counts, durations and times are compared as whole numbers, which no rounding touches, as long as only whole factors
stand before them; everything else as doubles, times then from the first item of the scope. Null stays null.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.planning.planner import Plan, may_be_lost, quantities
from dagster_project.rule_language.sql.item import number
from dagster_project.rule_language.sql.nodes import call, cast, column, is_null, of, text

LOST = "has_loss"

# Far above every sum of durations, and so far below 2 ** 127 that it can be multiplied.
_BEYOND = "1000000000000000000000000000000"
_LARGEST_WHOLE, _LARGEST_FACTOR = Decimal(10**18), Decimal(10**6)


@dataclass(frozen=True)
class Interval:
    """The least and the greatest value that a quantity can have; each may be infinite. Both are null, or none is."""

    low: exp.Expression
    high: exp.Expression


@dataclass(frozen=True)
class QuantitySql:
    """Compiles quantities over the counters of one plan, which are columns of `table`."""

    made: Plan
    table: str

    def sides(self, node: model.QuantityComparison) -> tuple[Interval, Interval, bool]:
        """Both sides of a comparison, and whether one of them may be null."""
        whole = _is_whole(node.left) and _is_whole(node.right)
        may_be_null = any(map(_may_be_null, quantities(node.left) + quantities(node.right)))
        return self._interval(node.left, whole), self._interval(node.right, whole), may_be_null

    def _interval(self, quantity: model.Quantity, whole: bool) -> Interval:
        if isinstance(quantity, model.Number):
            value = _constant(quantity.value, whole)
            return Interval(value, value.copy())
        if isinstance(quantity, model.Linear):
            return self._linear(quantity, whole)
        return self._measured(quantity, whole)

    def _linear(self, quantity: model.Linear, whole: bool) -> Interval:
        left, right = self._interval(quantity.left, whole), self._interval(quantity.right, whole)
        if quantity.op == "+":
            return Interval(of(exp.Add, left.low, right.low), of(exp.Add, left.high, right.high))
        if quantity.op == "-":
            return Interval(of(exp.Sub, left.low, right.high), of(exp.Sub, left.high, right.low))
        factor, scaled = (quantity.left, right) if isinstance(quantity.left, model.Number) else (quantity.right, left)
        if not isinstance(factor, model.Number):
            raise TypeError("a product of two quantities; resolve refuses it")
        kind = exp.Mul if quantity.op == "*" else exp.Div
        low, high = (of(kind, bound, _constant(factor.value, whole)) for bound in (scaled.low, scaled.high))
        return Interval(low, high) if factor.value > 0 else Interval(high, low)

    def _measured(self, measured: model.Measured, whole: bool) -> Interval:
        value = self._value(measured, whole)
        if isinstance(measured, model.Baseline) or not may_be_lost(measured):
            return Interval(value, value.copy())
        lowest, highest = _opened(measured)
        return Interval(
            value if lowest is None else self._unless_lost(value, lowest, whole),
            value.copy() if highest is None else self._unless_lost(value, highest, whole),
        )

    def _value(self, measured: model.Measured, whole: bool) -> exp.Expression:
        value = column(self._name(measured), self.table)
        if not whole and _type(measured) is Type.TIME:
            began = call("epoch_ns", column("began_at", self.table))
            return cast(of(exp.Sub, value, began), "DOUBLE")
        return cast(value, "HUGEINT" if whole else "DOUBLE")

    def _name(self, measured: model.Measured) -> str:
        made = self.made
        if isinstance(measured, model.Distinct):
            return f"d{made.distincts.index(measured)}"
        if isinstance(measured, model.Aggregate):
            return f"a{made.aggregates.index(measured)}"
        if isinstance(measured, model.Rate):
            return f"m{made.rates.index(measured)}"
        if isinstance(measured, model.Baseline):
            return f"b{made.baselines.index(measured)}"
        return f"n{made.set_of(measured.items)}"

    def _unless_lost(self, value: exp.Expression, bound: int, whole: bool) -> exp.Expression:
        """The value, or how far it can lie off when something was lost: of nothing it stays null."""
        opened = {0: _constant(Decimal(0), whole), 1: _infinite(whole), -1: exp.Neg(this=_infinite(whole))}[bound]
        known = exp.Not(this=is_null(value))
        case = exp.Case().when(exp.And(this=known, expression=column(LOST, self.table)), opened, copy=False)
        return case.else_(value.copy(), copy=False)


def _opened(measured: model.Measured) -> tuple[int | None, int | None]:
    """Where an interval ends when something was lost: at -1 or 1 times infinity, at 0, or (None) at what was seen."""
    if not isinstance(measured, model.Aggregate):
        return None, 1
    # No duration is negative.
    lowest = 0 if measured.field.type is Type.DURATION else -1
    if measured.function == "min":
        return lowest, None
    if measured.function == "max" or (measured.function == "sum" and lowest == 0):
        return None, 1
    return lowest, 1


def _type(measured: model.Measured) -> Type:
    return measured.field.type if isinstance(measured, model.Aggregate) else Type.NUMBER


def _may_be_null(measured: model.Measured) -> bool:
    """Everything but counts and sums of whole numbers: a sum of decimals is null when it is too large."""
    if isinstance(measured, model.Aggregate):
        return measured.function != "sum" or measured.field.type is not Type.DURATION
    return isinstance(measured, model.Baseline)


def _is_whole(quantity: model.Quantity, factor: Decimal = Decimal(1)) -> bool:
    """Whether the quantity is a whole number, calculated from whole numbers."""
    if isinstance(quantity, model.Number):
        return quantity.value == int(quantity.value) and abs(quantity.value) <= _LARGEST_WHOLE
    if isinstance(quantity, model.Linear):
        sides = (quantity.left, quantity.right)
        if quantity.op in {"+", "-"}:
            return all(_is_whole(side, factor) for side in sides)
        constant, scaled = sides if isinstance(quantity.left, model.Number) else sides[::-1]
        if quantity.op == "/" or not isinstance(constant, model.Number) or not _is_whole(constant):
            return False
        factor *= abs(constant.value)
        return factor <= _LARGEST_FACTOR and _is_whole(scaled, factor)
    if isinstance(quantity, model.Aggregate):
        return quantity.function != "avg" and quantity.field.type in {Type.DURATION, Type.TIME}
    return not isinstance(quantity, model.Baseline)


def _constant(value: Decimal, whole: bool) -> exp.Expression:
    if not whole:
        return number(value)
    literal = exp.Literal.number(abs(int(value)))
    return cast(exp.Neg(this=literal) if value < 0 else literal, "HUGEINT")


def _infinite(whole: bool) -> exp.Expression:
    return cast(exp.Literal.number(_BEYOND), "HUGEINT") if whole else cast(text("Infinity"), "DOUBLE")
