"""Conditions on a scope, as syntax → the same in the typed model: quantifiers, counts, aggregates, rates, order.

Sets of items are `item_sets`' business. Nothing here knows SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, cast

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.item_conditions import as_type
from dagster_project.rule_language.meaning.item_sets import Bindings, item_word, misplaced, narrowed, scoped_items
from dagster_project.rule_language.meaning.model import INTRINSICS, SCOPED, Items, Type
from dagster_project.rule_language.text import syntax
from dagster_project.rule_language.text.parser import AGGREGATES
from dagster_project.rule_language.text.syntax import Entity, Expression

LEAST_FOR_A_BASELINE: Final = 30
"""Below it a quantile in the tails is one or two records; a rule may ask for more or be content with fewer."""

_EXTREMES: Final = frozenset({"min", "max"})
_MEASURED_TYPES: Final = frozenset({Type.NUMBER, Type.DURATION})
# Of quantities: what each operator gives, for the types on its two sides.
_RESULTS: Final = {
    (Type.NUMBER, "+", Type.NUMBER): Type.NUMBER, (Type.NUMBER, "-", Type.NUMBER): Type.NUMBER,
    (Type.NUMBER, "*", Type.NUMBER): Type.NUMBER, (Type.NUMBER, "/", Type.NUMBER): Type.NUMBER,
    (Type.DURATION, "+", Type.DURATION): Type.DURATION, (Type.DURATION, "-", Type.DURATION): Type.DURATION,
    (Type.DURATION, "*", Type.NUMBER): Type.DURATION, (Type.NUMBER, "*", Type.DURATION): Type.DURATION,
    (Type.DURATION, "/", Type.NUMBER): Type.DURATION, (Type.TIME, "-", Type.TIME): Type.DURATION,
}  # fmt: skip


def resolve_condition(node: Expression, bindings: Bindings, skew_ns: int) -> model.Condition:
    """A condition on a whole scope.

    Parameters
    ----------
    skew_ns
        How far the clocks of two services may be apart, for conditions of order.

    Raises
    ------
    ExpressionError
        With the position of the name or value that does not fit.
    """
    if isinstance(node, syntax.Not):
        return model.Negation(resolve_condition(node.operand, bindings, skew_ns))
    if isinstance(node, syntax.And):
        return model.Conjunction(tuple(resolve_condition(operand, bindings, skew_ns) for operand in node.operands))
    if isinstance(node, syntax.Or):
        return model.Disjunction(tuple(resolve_condition(operand, bindings, skew_ns) for operand in node.operands))
    if isinstance(node, syntax.Compare):
        return _comparison(node, bindings)
    if isinstance(node, syntax.Call):
        return _quantified(node, bindings)
    if isinstance(node, syntax.Ordered):
        return _ordered(node, bindings, skew_ns)
    raise misplaced(node, "a condition on the whole scope is expected here")


def resolve_reported(name: str, node: Expression, bindings: Bindings) -> model.Reported:
    """One value of `report`: first, count, distinct or an aggregate.

    Raises
    ------
    ExpressionError
        For a condition, or a sum of what is no number or duration.
    """
    if not isinstance(node, syntax.Call) or node.function in {"any", "all", "none"}:
        hint = "write first(x.field), sum(x.field), max(x.field), count(x) or distinct(x.field)"
        raise ExpressionError("no value to report", node.at.start, node.at.end, hint)
    items = _call_items(node, bindings)
    field_ = _call_field(node, items, bindings)
    if node.function in AGGREGATES and field_ is not None:
        field_ = _measured_field(node, field_)
    return model.Reported(name, cast("model.ReportFunction", node.function), items, field_)


def group_key(key: str, entity: Entity) -> model.Field:
    """The field of a span, log, event or link that a group key names, as JSON text.

    Raises
    ------
    ValueError
        For a key that nothing can be grouped by.
    """
    if key in {"service", "name", "version"} and key in INTRINSICS[entity]:
        return model.Field(entity, "intrinsic", key, Type.TEXT)
    if any(key in INTRINSICS[one] for one in SCOPED):
        raise ValueError(
            f"cannot group {entity}s by `{key}`; a group key is an attribute, or what all that is grouped has of"
            " `service`, `name`, `version`"
        )
    return model.Field(entity, "attribute", key, Type.ANY)


def binding_names(bindings: Mapping[str, Items], used: set[str]) -> list[str]:
    """The bindings that nothing uses: usually a typing mistake somewhere else."""
    return sorted(set(bindings) - used)


def _call_items(node: syntax.Call, bindings: Bindings) -> Items:
    _note_keys(node, bindings)
    items = scoped_items(node.items, bindings)
    if node.condition is None:
        return items
    word = node.variable or item_word(node.items)
    return narrowed(items, bindings.resolver(items.entity, word).condition(node.condition))


def _note_keys(node: syntax.Call, bindings: Bindings) -> None:
    """Every `by` of a rule names the same keys: they make its scopes."""
    if not node.by:
        return
    if bindings.by is not None and bindings.by != node.by:
        message = f"one term is taken by {', '.join(bindings.by)} and this one by {', '.join(node.by)}"
        raise ExpressionError(message, node.at.start, node.at.end, "the terms of a rule share one `by`")
    if len(set(node.by)) != len(node.by):
        raise ExpressionError("a key is named twice", node.at.start, node.at.end)
    for key in node.by:
        try:
            group_key(key, "span")
        except ValueError as error:
            raise ExpressionError(str(error), node.at.start, node.at.end) from None
    bindings.by = node.by


def _call_field(node: syntax.Call, items: Items, bindings: Bindings) -> model.Field | None:
    needs_field = node.function in {"distinct", "first", *AGGREGATES}
    if needs_field and node.field_name is None:
        hint = f"write {node.function}({item_word(node.items) or 'selector'}.field)"
        raise ExpressionError(f"`{node.function}` needs a field of the items", node.at.start, node.at.end, hint)
    if not needs_field and node.field_name is not None:
        hint = f"leave `.{node.field_name}` out, or write distinct(...) to count values"
        raise ExpressionError(f"`{node.function}` takes items, not a field", node.at.start, node.at.end, hint)
    if node.field_name is None:
        return None
    return bindings.resolver(items.entity, item_word(node.items)).field_called(node.field_name, node.at)


def _measured_field(node: syntax.Call, field_: model.Field) -> model.Field:
    """A field that can be summed or ordered; an attribute is read as a number."""
    field_ = as_type(field_, Type.NUMBER) if field_.type is Type.ANY else field_
    if field_.type in _MEASURED_TYPES or (field_.type is Type.TIME and node.function in _EXTREMES):
        return field_
    takes = "numbers, durations and times" if node.function in _EXTREMES else "numbers and durations"
    message = f"`{field_.key}` is a {field_.type}; {node.function} takes {takes}"
    raise ExpressionError(message, node.at.start, node.at.end)


def _quantified(node: syntax.Call, bindings: Bindings) -> model.Condition:
    if node.function not in {"any", "all", "none"}:
        hint = f"compare it, such as {node.function}(...) > 1"
        if node.function == "first":
            raise ExpressionError("`first` is for `report`", node.at.start, node.at.end)
        raise ExpressionError(f"`{node.function}` is a number, not a condition", node.at.start, node.at.end, hint)
    _call_field(node, Items("span", model.ALWAYS_TRUE, model.ALWAYS_TRUE), bindings)
    kept = _call_items(node, bindings)
    if node.function == "all":
        if node.condition is None:
            hint = "write all(x where condition)"
            raise ExpressionError("`all` needs a `where`", node.at.start, node.at.end, hint)
        return model.Every(scoped_items(node.items, bindings), kept)
    return model.Some(kept) if node.function == "any" else model.Negation(model.Some(kept))


def _ordered(node: syntax.Ordered, bindings: Bindings, skew_ns: int) -> model.Ordered:
    return model.Ordered(
        first=scoped_items(node.first, bindings),
        first_edge=node.first_edge,
        second=scoped_items(node.second, bindings),
        second_edge=node.second_edge,
        every="second" if node.kind == "before" else "first",
        within_ns=node.within_ns,
        skew_ns=skew_ns,
    )


def _comparison(node: syntax.Compare, bindings: Bindings) -> model.Condition:
    if node.per_ns is not None:
        return _rate(node, node.per_ns, bindings)
    measured = [*_calls(node.left), *_calls(node.right)]
    calls = [one for one in measured if isinstance(one, syntax.Call)]
    baselines = [one for one in measured if isinstance(one, syntax.Baseline)]
    if baselines and len(calls) != 1:
        hint = "such as p95(x.duration) by service > 2 * baseline(7d)"
        message = "a baseline stands beside exactly one quantity, whose past it is"
        raise ExpressionError(message, baselines[0].at.start, baselines[0].at.end, hint)
    if baselines and not calls[0].by:
        hint = f"write {calls[0].function}(...) by service"
        message = "a baseline needs `by`: its scopes are keys and hours"
        raise ExpressionError(message, calls[0].at.start, calls[0].at.end, hint)
    beside = _measured(calls[0], bindings)[0] if baselines else None
    (left, left_type), (right, right_type) = (_quantity(side, bindings, beside) for side in (node.left, node.right))
    if isinstance(left, model.Number) and isinstance(right, model.Number):
        raise ExpressionError("compares two numbers; a count is missing", node.at.start, node.at.end)
    if left_type is not right_type or left_type is Type.TIME:
        hint = "give the number its unit, such as 500ms" if {left_type, right_type} == _MEASURED_TYPES else ""
        message = f"compares a {left_type} with a {right_type}"
        raise ExpressionError(message, node.at.start, node.at.end, hint)
    return model.QuantityComparison(node.op, left, right)


def _rate(node: syntax.Compare, per_ns: int, bindings: Bindings) -> model.Condition:
    """`count(x) > n per 1m`, either way round."""
    sides = (node.left, node.right)
    is_count = [isinstance(side, syntax.Call) and side.function == "count" for side in sides]
    ops = {">", ">="} if is_count[0] else {"<", "<="}
    if is_count.count(True) != 1 or node.op not in ops:
        hint = "such as count(x) > 3 per 1m: some stretch of a minute holds more than three"
        raise ExpressionError("`per` stands after `count(x) > number`", node.at.start, node.at.end, hint)
    if per_ns == 0:
        raise ExpressionError("a stretch of no length", node.at.start, node.at.end)
    parts: list[model.Quantity] = []
    for side in sides:
        if isinstance(side, syntax.Call):
            parts.append(model.Rate(_call_items(side, bindings), per_ns))
        elif isinstance(side, syntax.Value) and side.unit == "number" and isinstance(side.value, Decimal):
            parts.append(model.Number(side.value))
        else:
            raise ExpressionError("`per` compares with a plain number", side.at.start, side.at.end)
    return model.QuantityComparison(node.op, *parts)


def _calls(node: Expression) -> Iterator[syntax.Call | syntax.Baseline]:
    if isinstance(node, (syntax.Call, syntax.Baseline)):
        yield node
    elif isinstance(node, syntax.Arithmetic):
        yield from _calls(node.left)
        yield from _calls(node.right)


def _measured(node: syntax.Call, bindings: Bindings) -> tuple[model.Count | model.Distinct | model.Aggregate, Type]:
    if node.function == "first":
        raise ExpressionError("`first` is for `report`", node.at.start, node.at.end)
    if node.function in {"any", "all", "none"}:
        raise ExpressionError(f"`{node.function}` is a condition, not a number", node.at.start, node.at.end)
    items = _call_items(node, bindings)
    field_ = _call_field(node, items, bindings)
    if field_ is None:
        return model.Count(items), Type.NUMBER
    if node.function == "distinct":
        return model.Distinct(items, field_), Type.NUMBER
    field_ = _measured_field(node, field_)
    return model.Aggregate(cast("model.AggregateFunction", node.function), items, field_), field_.type


def _quantity(
    node: Expression, bindings: Bindings, beside: model.Count | model.Distinct | model.Aggregate | None
) -> tuple[model.Quantity, Type]:
    """A number of the scope and its type. `beside` is the quantity whose past a baseline is."""
    if isinstance(node, syntax.Value) and node.unit == "number" and isinstance(node.value, Decimal):
        return model.Number(node.value), Type.NUMBER
    if isinstance(node, syntax.Value) and node.unit == "duration" and isinstance(node.value, int):
        return model.Number(Decimal(node.value)), Type.DURATION
    if isinstance(node, syntax.Call):
        return _measured(node, bindings)
    if isinstance(node, syntax.Baseline) and beside is not None:
        least = LEAST_FOR_A_BASELINE if node.at_least is None else node.at_least
        type_ = beside.field.type if isinstance(beside, model.Aggregate) else Type.NUMBER
        return model.Baseline(beside, node.back_ns, node.same_hour, least), type_
    if isinstance(node, syntax.Arithmetic):
        (left, left_type), (right, right_type) = (_quantity(side, bindings, beside) for side in (node.left, node.right))
        result = _RESULTS.get((left_type, node.op, right_type))
        if result is None:
            message = f"no `{node.op}` between a {left_type} and a {right_type}"
            raise ExpressionError(message, node.at.start, node.at.end)
        _refuse_nonlinear(node, left, right)
        return model.Linear(node.op, left, right), result
    raise misplaced(node, "a count of the scope or a number is expected here")


def _refuse_nonlinear(node: syntax.Arithmetic, left: model.Quantity, right: model.Quantity) -> None:
    """Only what keeps intervals exact: sums, and products with a number that is not zero."""
    if node.op in {"+", "-"}:
        return
    number = right if isinstance(right, model.Number) else left if node.op == "*" else None
    if not isinstance(number, model.Number):
        message = f"`{node.op}` between counts needs a plain number on {'one' if node.op == '*' else 'the right'} side"
        raise ExpressionError(message, node.at.start, node.at.end)
    if number.value == 0:
        raise ExpressionError(f"`{node.op}` by zero", node.at.start, node.at.end)
