"""Conditions and values of one span or log record → SQL expressions, three-valued.

The SQL keeps Kleene's logic: null is unknown. Where attributes were dropped a missing one may be anything, so `exists`
is null there too; what is true (or false) nevertheless stays so whatever the lost values were.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.attributes import column_type, fields_of, promoted_column
from dagster_project.rule_language.model import ENUMERATIONS, Type
from dagster_project.rule_language.sql_nodes import call, cast, column, every_of, is_true, one_of, text
from dagster_project.rule_language.syntax import Entity

ALIASES: dict[Entity, str] = {"span": "s", "log": "l"}
SHAPE, TRACE = "h", "c"

_COLUMNS: dict[tuple[Entity, str], str] = {
    ("span", "name"): "span_name",
    ("span", "service"): "service_name",
    ("span", "version"): "service_version",
    ("span", "kind"): "kind",
    ("span", "status"): "status_code",
    ("span", "duration"): "duration_ns",
    ("span", "start"): "started_at",
    ("span", "end"): "ended_at",
    ("log", "service"): "service_name",
    ("log", "severity"): "severity_number",
    ("log", "body"): "body",
    ("log", "start"): "occurred_at",
    ("log", "end"): "occurred_at",
}

_COMPARISONS: dict[str, type[exp.Binary]] = {
    "==": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ARITHMETIC: dict[str, type[exp.Binary]] = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div}


@dataclass(frozen=True)
class ItemSql:
    """Compiles what is said of one item.

    Attributes
    ----------
    columns
        Per entity the promoted columns that the tables have; None when all are there, as in generated models.
    """

    columns: Mapping[Entity, Set[str]] | None = None

    def condition(self, node: model.Condition) -> exp.Expression:  # noqa: PLR0911  # one return a kind of node
        """A three-valued boolean."""
        if isinstance(node, model.Negation):
            return exp.Paren(this=exp.Not(this=self.condition(node.operand)))
        if isinstance(node, model.Conjunction):
            return every_of([self.condition(operand) for operand in node.operands])
        if isinstance(node, model.Disjunction):
            return one_of([self.condition(operand) for operand in node.operands])
        if isinstance(node, model.Comparison):
            return self._comparison(node)
        if isinstance(node, model.Membership):
            return self._membership(node)
        if isinstance(node, model.PatternFound):
            return call("regexp_matches", self.value(node.term), text(node.pattern))
        if isinstance(node, model.GlobMatched):
            return self._glob(node)
        if isinstance(node, model.Presence):
            return self._presence(node)
        if isinstance(node, model.Truth):
            return self.value(node.term)
        raise TypeError(f"{type(node).__name__} says nothing of one item")

    def value(self, term: model.Term) -> exp.Expression:
        """A value of the type that the model gives it: durations and times are nanoseconds, severities words."""
        if isinstance(term, model.Constant):
            return _constant(term)
        if isinstance(term, model.Calculation):
            return self._calculation(term)
        if term.origin == "intrinsic":
            return self._intrinsic(term)
        return self._attribute(term)

    def may_be_lost(self, node: object, entity: Entity) -> exp.Expression:
        """Whether an unknown here may come from something that was lost, rather than never there."""
        reasons: list[exp.Expression] = []
        read = list(fields_of(node))
        if entity == "span" and any(field.origin == "attribute" for field in read):
            reasons.append(_dropped())
        if any(field.key in {"depth", "children"} and field.origin == "intrinsic" for field in read):
            reasons.append(exp.Not(this=is_true(column("is_complete", TRACE))))
        return one_of(reasons)

    def _comparison(self, node: model.Comparison) -> exp.Expression:
        if isinstance(node.left, model.Constant):
            node = model.Comparison(_FLIPPED[node.op], node.right, node.left)  # type: ignore[arg-type]
        if node.left.type is Type.SEVERITY and isinstance(node.right, model.Constant):
            return self._severity(node.op, str(node.right.value))
        left, right = (self._finite(term) for term in (node.left, node.right))
        return exp.Paren(this=_COMPARISONS[node.op](this=left, expression=right))

    def _severity(self, op: str, word: str) -> exp.Expression:
        """Each word stands for four numbers of OpenTelemetry; 0 is no severity."""
        first = 1 + 4 * ENUMERATIONS[Type.SEVERITY].index(word)
        number = _severity_number()
        if op in {"==", "!="}:
            between = exp.Between(this=number, low=exp.Literal.number(first), high=exp.Literal.number(first + 3))
            return exp.Paren(this=between if op == "==" else exp.Not(this=exp.Paren(this=between)))
        bound = first if op in {">=", "<"} else first + 3
        return exp.Paren(this=_COMPARISONS[op](this=number, expression=exp.Literal.number(bound)))

    def _membership(self, node: model.Membership) -> exp.Expression:
        if node.term.type is Type.SEVERITY:
            return one_of([self._severity("==", str(value.value)) for value in node.values])
        values = [_constant(value) for value in node.values]
        return exp.Paren(this=exp.In(this=self._finite(node.term), expressions=values))

    def _glob(self, node: model.GlobMatched) -> exp.Expression:
        escaped = "".join("\\" + character if character in "%_\\" else character for character in node.glob)
        pattern = text(escaped.replace("*", "%").replace("?", "_"))
        like = exp.Like(this=self.value(node.term), expression=pattern)
        return exp.Paren(this=exp.Escape(this=like, expression=text("\\")))

    def _presence(self, node: model.Presence) -> exp.Expression:
        missing = exp.Is(this=self.value(node.field), expression=exp.null())
        case = exp.Case().when(exp.Not(this=exp.Paren(this=missing)), exp.Boolean(this=node.present), copy=False)
        lost = self.may_be_lost(node.field, node.field.entity)
        if lost != exp.false():
            case = case.when(lost, exp.null(), copy=False)
        return case.else_(exp.Boolean(this=not node.present), copy=False)

    def _finite(self, term: model.Term) -> exp.Expression:
        """What came out of arithmetic as infinite or as no number is unknown."""
        value = self.value(term)
        if not isinstance(term, model.Calculation):
            return value
        return exp.Case().when(call("isfinite", value), value.copy(), copy=False)

    def _calculation(self, term: model.Calculation) -> exp.Expression:
        if term.left.type is Type.TIME:
            # Nanoseconds since 1970 fill 61 bits: the difference is taken exactly and only then rounded.
            sides = [cast(self.value(side), "DECIMAL(38, 0)") for side in (term.left, term.right)]
            return cast(exp.Paren(this=exp.Sub(this=sides[0], expression=sides[1])), "DOUBLE")
        left, right = (cast(self.value(side), "DOUBLE") for side in (term.left, term.right))
        divisor: exp.Expression = right
        if term.op == "/":
            divisor = exp.Nullif(this=right, expression=exp.Literal.number(0))
        return exp.Paren(this=_ARITHMETIC[term.op](this=left, expression=divisor))

    def _intrinsic(self, field: model.Field) -> exp.Expression:
        alias = ALIASES[field.entity]
        if field.key == "is_root":
            return exp.Paren(this=exp.Is(this=column("parent_span_id", alias), expression=exp.null()))
        if field.key in {"depth", "children"}:
            # A lost span may have been a child, or have stood above.
            counted = column("depth" if field.key == "depth" else "child_count", SHAPE)
            return cast(exp.Case().when(column("is_complete", TRACE), counted, copy=False), "DOUBLE")
        if field.type is Type.SEVERITY:
            return _severity_word()
        base = column(_COLUMNS[field.entity, field.key], alias)
        return call("epoch_ns", base) if field.type is Type.TIME else base

    def _attribute(self, field: model.Field) -> exp.Expression:
        """The promoted column where there is one, else the same value out of the JSON."""
        alias = ALIASES[field.entity]
        name = promoted_column(field.key, column_type(field.type))
        has_column = self.columns is None or name in self.columns.get(field.entity, frozenset())
        if field.origin == "attribute" and has_column:
            return column(name, alias)
        document = column("attributes" if field.origin == "attribute" else "resource_attributes", alias)
        return json_value(document, field.key, field.type)


def json_value(document: exp.Expression, key: str, type_: Type) -> exp.Expression:
    """One attribute of a JSON object as a type; null when it is missing, null or of another type.

    Says what the macro `promoted_column` of the dbt project says; a test holds the two together.
    """
    pointer = text("/" + key.replace("~", "~0").replace("/", "~1"))
    kind = call("json_type", document, pointer)
    extracted = call("json_extract", document.copy(), pointer.copy())
    if type_ is Type.NUMBER:
        numbers = [text(name) for name in ("UBIGINT", "BIGINT", "HUGEINT", "UHUGEINT", "DOUBLE")]
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


def _constant(constant: model.Constant) -> exp.Expression:
    value = constant.value
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Decimal):
        return number(value)
    literal = exp.Literal.number(abs(value))
    return cast(exp.Neg(this=literal) if value < 0 else literal, "BIGINT")


def _dropped() -> exp.Expression:
    return exp.Paren(
        this=exp.GT(this=column("dropped_attributes_count", ALIASES["span"]), expression=exp.Literal.number(0))
    )


def _severity_number() -> exp.Expression:
    return exp.Nullif(this=column("severity_number", ALIASES["log"]), expression=exp.Literal.number(0))


def _severity_word() -> exp.Expression:
    case = exp.Case()
    for index, word in enumerate(ENUMERATIONS[Type.SEVERITY]):
        bound = exp.Literal.number(4 * index + 4)
        case = case.when(exp.LTE(this=_severity_number(), expression=bound), text(word), copy=False)
    return case
