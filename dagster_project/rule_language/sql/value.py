"""Constants and attributes as SQL values, and comparisons of whole numbers that doubles cannot hold.

Which column or document an attribute is in is `item`'s business.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.sql.nodes import call, cast, every_of, text

COMPARISONS: Final[dict[str, type[exp.Binary]]] = {
    "==": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}
_WHOLE: Final = ("UBIGINT", "BIGINT", "HUGEINT", "UHUGEINT")
_EXACT_IN_DOUBLES: Final = 2**53
_LARGEST_WHOLE: Final = 2**126


def json_value(document: exp.Expression, key: str, type_: Type) -> exp.Expression:
    """One attribute of a JSON object as a type; null when it is missing, null or of another type.

    Says what the macro `promoted_column` of the dbt project says; a test holds the two together.
    """
    pointer = _pointer(key)
    kind = call("json_type", document, pointer)
    extracted = call("json_extract", document.copy(), pointer.copy())
    if type_ is Type.NUMBER:
        numbers = [text(name) for name in (*_WHOLE, "DOUBLE")]
        return exp.Case().when(exp.In(this=kind, expressions=numbers), cast(extracted, "DOUBLE"), copy=False)
    if type_ is Type.TEXT:
        value: exp.Expression = call("json_extract_string", document.copy(), pointer.copy())
        return exp.Case().when(exp.EQ(this=kind, expression=text("VARCHAR")), value, copy=False)
    if type_ is Type.BOOLEAN:
        return exp.Case().when(exp.EQ(this=kind, expression=text("BOOLEAN")), cast(extracted, "BOOLEAN"), copy=False)
    return exp.Case().when(exp.NEQ(this=kind, expression=text("NULL")), cast(extracted, "VARCHAR"), copy=False)


def number(value: Decimal) -> exp.Expression:
    """A number as the engine's double."""
    literal = exp.Literal.number(f"{abs(value)}")
    return cast(exp.Neg(this=literal) if value < 0 else literal, "DOUBLE")


def constant(one: model.Constant) -> exp.Expression:
    """A literal of a rule."""
    value = one.value
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Decimal):
        return number(value)
    literal = exp.Literal.number(abs(value))
    return cast(exp.Neg(this=literal) if value < 0 else literal, "BIGINT")


def needs_whole_numbers(left: model.Term, right: model.Term) -> bool:
    """Whether two sides may be whole numbers that doubles round together."""
    sides = (left, right)
    are_large = [_is_large(side) if isinstance(side, model.Constant) else _may_be_large(side) for side in sides]
    return all(are_large)


def whole_comparison(
    op: str,
    plain: exp.Expression,
    sides: tuple[exp.Expression, exp.Expression],
    documents: tuple[tuple[exp.Expression, str] | int, tuple[exp.Expression, str] | int],
) -> exp.Expression:
    """`plain`, but exact where both sides are whole numbers too large for doubles.

    Parameters
    ----------
    sides
        The values as doubles.
    documents
        Per side the JSON object and key that an attribute was sent in, or a constant.
    """
    limit = exp.Literal.number(_EXACT_IN_DOUBLES)
    read = [(side, one) for side, one in zip(sides, documents, strict=True) if not isinstance(one, int)]
    are_large = every_of([exp.GTE(this=exp.Abs(this=side.copy()), expression=limit.copy()) for side, _one in read])
    are_whole = []
    values: list[exp.Expression] = []
    for one in documents:
        if isinstance(one, int):
            literal = exp.Literal.number(abs(one))
            values.append(cast(exp.Neg(this=literal) if one < 0 else literal, "HUGEINT"))
            continue
        document, key = one
        kind = call("json_type", document.copy(), _pointer(key))
        are_whole.append(exp.In(this=kind, expressions=[text(name) for name in _WHOLE]))
        extracted = call("json_extract", document.copy(), _pointer(key))
        values.append(cast(extracted, "HUGEINT"))
    exact = COMPARISONS[op](this=values[0], expression=values[1])
    return exp.Case().when(every_of([are_large, *are_whole]), exact, copy=False).else_(plain, copy=False)


def _may_be_large(side: model.Term) -> bool:
    return (
        isinstance(side, model.Field) and side.type is Type.NUMBER and side.origin != "intrinsic" and side.of == "item"
    )


def _is_large(side: model.Constant) -> bool:
    value = side.value
    return (
        isinstance(value, Decimal)
        and value == value.to_integral_value()
        and (_EXACT_IN_DOUBLES <= abs(value) < _LARGEST_WHOLE)
    )


def _pointer(key: str) -> exp.Expression:
    return text("/" + key.replace("~", "~0").replace("/", "~1"))


def like(value: exp.Expression, glob: str) -> exp.Expression:
    """The whole text matches the glob."""
    escaped = "".join("\\" + character if character in "%_\\" else character for character in glob)
    pattern = text(escaped.replace("*", "%").replace("?", "_"))
    return exp.Paren(this=exp.Escape(this=exp.Like(this=value, expression=pattern), expression=text("\\")))


def together(operands: tuple[model.Condition, ...]) -> tuple[model.Condition, ...]:
    """Alternatives, with the equalities of one field as one membership: engines look a value up in it at once."""
    merged: dict[object, list[model.Constant]] = {}
    for operand in operands:
        if found := _equality(operand):
            merged.setdefault(found[0], []).extend(found[1])
    kept: dict[object, model.Condition] = {}
    for position, operand in enumerate(operands):
        found = _equality(operand)
        if found is None:
            kept[position] = operand
        elif len(merged[found[0]]) > 1:
            kept.setdefault(found[0], model.Membership(found[0], tuple(dict.fromkeys(merged[found[0]]))))
        else:
            kept[position] = operand
    return tuple(kept.values())


def _equality(node: model.Condition) -> tuple[model.Field, tuple[model.Constant, ...]] | None:
    if isinstance(node, model.Membership) and isinstance(node.term, model.Field):
        return node.term, node.values
    if not isinstance(node, model.Comparison) or node.op != "==":
        return None
    sides = (node.left, node.right)
    for one, other in (sides, sides[::-1]):
        if isinstance(one, model.Field) and isinstance(other, model.Constant):
            return one, (other,)
    return None
