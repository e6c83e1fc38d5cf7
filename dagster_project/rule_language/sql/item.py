"""Conditions and values of one item → SQL expressions, three-valued.

The SQL keeps Kleene's logic: null is unknown. Where attributes were dropped a missing one may be anything, so `exists`
is null there too; what is true (or false) nevertheless stays so whatever the lost values were. What is said of other
items (relations, the root, the parent) comes in through `Beside`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.attributes import PROMOTED, column_type, promoted_column
from dagster_project.rule_language.meaning.model import ENUMERATIONS, Type
from dagster_project.rule_language.sql.entity import ALIASES, ENTITY_TABLES, ended_at, field_column, started_at
from dagster_project.rule_language.sql.nodes import call, cast, column, every_of, is_true, one_of, text
from dagster_project.rule_language.sql.value import (
    COMPARISONS,
    constant,
    json_value,
    like,
    needs_whole_numbers,
    number,
    together,
    whole_comparison,
)
from dagster_project.rule_language.text.operators import FLIPPED
from dagster_project.rule_language.text.syntax import Entity

__all__ = ["ALIASES", "SHAPE", "TRACE", "Beside", "ItemSql", "json_value", "number", "own_parts", "reads_beside"]

SHAPE, TRACE = "h", "c"
ROOT, PARENT = "rt", "pt"
"""The aliases of what is known of the root and of the parent of an item."""

_ARITHMETIC: dict[str, type[exp.Binary]] = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div}


class Beside(Protocol):
    """What stands in other rows than the item's own."""

    def related(self, node: model.Related | model.Nearby, entity: Entity) -> exp.Expression:
        """Whether the item is so related: true, false, or null where what was lost may tell."""

    def value(self, field: model.Field) -> exp.Expression:
        """A field of the root or of the parent."""


@dataclass(frozen=True)
class ItemSql:
    """Compiles what is said of one item.

    Attributes
    ----------
    columns
        Per entity the promoted columns that the tables have; None when all are there, as in generated models.
    beside
        Gives what stands in other rows; None where nothing of the kind is said.
    """

    columns: Mapping[Entity, Set[str]] | None = None
    beside: Beside | None = None

    def condition(  # noqa: C901, PLR0911  # one return a kind of node
        self, node: model.Condition, entity: Entity
    ) -> exp.Expression:
        """A three-valued boolean."""
        if isinstance(node, model.Negation):
            return exp.Paren(this=exp.Not(this=self.condition(node.operand, entity)))
        if isinstance(node, model.Conjunction):
            return every_of([self.condition(operand, entity) for operand in node.operands])
        if isinstance(node, model.Disjunction):
            return one_of([self.condition(operand, entity) for operand in together(node.operands)])
        if isinstance(node, model.Comparison):
            return self._comparison(node)
        if isinstance(node, model.Membership):
            return self._membership(node)
        if isinstance(node, model.PatternFound):
            return call("regexp_matches", self.value(node.term), text(node.pattern))
        if isinstance(node, model.GlobMatched):
            return like(self.value(node.term), node.glob)
        if isinstance(node, model.Presence):
            return self._presence(node, entity)
        if isinstance(node, model.Truth):
            return self.value(node.term)
        if isinstance(node, model.Member):
            return self._member(node, entity)
        if isinstance(node, (model.Related, model.Nearby)) and self.beside is not None:
            return self.beside.related(node, entity)
        raise TypeError(f"{type(node).__name__} says nothing of one item")

    def value(self, term: model.Term) -> exp.Expression:
        """A value of the type that the model gives it: durations and times are nanoseconds, severities words."""
        if isinstance(term, model.Constant):
            return constant(term)
        if isinstance(term, model.Calculation):
            return self._calculation(term)
        if term.of != "item":
            if self.beside is None:
                raise TypeError(f"nothing is known of the {term.of} here")
            return self.beside.value(term)
        if term.origin == "intrinsic":
            return self._intrinsic(term)
        return self._attribute(term)

    def may_be_lost(self, node: object, entity: Entity) -> exp.Expression:
        """Whether an unknown here may come from something that was lost, rather than never there."""
        reasons: dict[str, exp.Expression] = {}
        for part in _leaves(node):
            found = _losses(part, entity) if isinstance(part, model.Field) else self._unknown(part, entity)
            for reason in found:
                reasons.setdefault(reason.sql("duckdb"), reason)
        return one_of(list(reasons.values()))

    def _unknown(self, part: model.Related | model.Nearby | model.Member, entity: Entity) -> list[exp.Expression]:
        """What is said of other items is unknown by loss only."""
        related = self.condition(part, entity)
        return [exp.Paren(this=exp.Is(this=related, expression=exp.null()))]

    def _member(self, node: model.Member, entity: Entity) -> exp.Expression:
        inside = self.condition(node.items.condition, entity)
        case = exp.Case().when(inside, exp.true(), copy=False)
        lost = self.may_be_lost(node.items.condition, entity)
        if lost != exp.false():
            unknown = exp.Is(this=inside.copy(), expression=exp.null())
            case = case.when(every_of([exp.Paren(this=unknown), lost]), exp.null(), copy=False)
        return case.else_(exp.false(), copy=False)

    def _comparison(self, node: model.Comparison) -> exp.Expression:
        if isinstance(node.left, model.Constant):
            node = model.Comparison(FLIPPED[node.op], node.right, node.left)
        if node.left.type is Type.SEVERITY and isinstance(node.right, model.Constant):
            return _severity(node.op, str(node.right.value))
        left, right = (self._finite(term) for term in (node.left, node.right))
        plain = exp.Paren(this=COMPARISONS[node.op](this=left, expression=right))
        if needs_whole_numbers(node.left, node.right):
            sent = (self._sent(node.left), self._sent(node.right))
            return whole_comparison(node.op, plain, (left, right), sent)
        return plain

    def _membership(self, node: model.Membership) -> exp.Expression:
        if node.term.type is Type.SEVERITY:
            return one_of([_severity("==", str(value.value)) for value in node.values])
        large = [value for value in node.values if needs_whole_numbers(node.term, value)]
        parts = [self._comparison(model.Comparison("==", node.term, value)) for value in large]
        values = [constant(value) for value in node.values if value not in large]
        if values:
            parts.append(exp.Paren(this=exp.In(this=self._finite(node.term), expressions=values)))
        return one_of(parts)

    def _presence(self, node: model.Presence, entity: Entity) -> exp.Expression:
        missing = exp.Is(this=self.value(node.field), expression=exp.null())
        case = exp.Case().when(exp.Not(this=exp.Paren(this=missing)), exp.Boolean(this=node.present), copy=False)
        if losses := _losses(node.field, entity):
            case = case.when(one_of(losses), exp.null(), copy=False)
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
            # Infinity stays infinite in every other calculation, and is found at the end; below a line it would vanish.
            checked = cast(self._finite(term.right), "DOUBLE") if isinstance(term.right, model.Calculation) else right
            divisor = exp.Nullif(this=checked, expression=exp.Literal.number(0))
        return exp.Paren(this=_ARITHMETIC[term.op](this=left, expression=divisor))

    def _intrinsic(self, field: model.Field) -> exp.Expression:
        if field.key == "is_root":
            return exp.Paren(this=exp.Is(this=column("parent_span_id", ALIASES["span"]), expression=exp.null()))
        if field.key in {"depth", "children"}:
            # A lost span may have been a child, or have stood above.
            counted = column("depth" if field.key == "depth" else "child_count", SHAPE)
            return cast(exp.Case().when(column("is_complete", TRACE), counted, copy=False), "DOUBLE")
        if field.type is Type.SEVERITY:
            return _severity_word()
        if field.type is Type.TIME:
            return call("epoch_ns", (started_at if field.key == "start" else ended_at)(field.entity))
        stored = field_column(field.entity, field.key)
        return cast(stored, "VARCHAR") if field.key == "linked_trace_id" else stored

    def _attribute(self, field: model.Field) -> exp.Expression:
        """The promoted column where there is one, else the same value out of the JSON."""
        name = promoted_column(field.key, column_type(field.type))
        has_column = self.columns is None or name in self.columns.get(field.entity, frozenset())
        if field.origin == "attribute" and field.entity in PROMOTED and has_column:
            return column(name, ALIASES[field.entity])
        return json_value(_document(field), field.key, field.type)

    def _sent(self, term: model.Term) -> tuple[exp.Expression, str] | int:
        """Where an attribute was sent; of a constant, the whole number that it is."""
        if isinstance(term, model.Field):
            return _document(term), term.key
        if isinstance(term, model.Constant):
            return int(term.value)
        raise TypeError("a calculation was not sent")


def reads_beside(node: object) -> bool:
    """Whether a condition on one item looks at other items, or at sets beside its own."""
    if isinstance(node, (model.Related, model.Nearby, model.Member)):
        return True
    if isinstance(node, model.Field):
        return node.of != "item"
    return any(map(reads_beside, _children(node)))


def _leaves(node: object) -> Iterator[model.Field | model.Related | model.Nearby | model.Member]:
    """The fields, relations and memberships that a condition on one item is made of."""
    if isinstance(node, (model.Field, model.Related, model.Nearby, model.Member)):
        yield node
    else:
        for child in _children(node):
            yield from _leaves(child)


def own_parts(node: object) -> Iterator[model.Field | model.Related | model.Nearby]:
    """The fields and relations that decide a condition on one item: not what is said of the items it is related to."""
    if isinstance(node, (model.Field, model.Related, model.Nearby)):
        yield node
    elif isinstance(node, model.Member):
        yield from own_parts(node.items.condition)
    else:
        for child in _children(node):
            yield from own_parts(child)


def _children(node: object) -> Iterator[object]:
    """What a condition on one item is made of."""
    yield from getattr(node, "operands", ())
    for name in ("operand", "left", "right", "term", "field"):
        if hasattr(node, name):
            yield getattr(node, name)


def _losses(field: model.Field, entity: Entity) -> list[exp.Expression]:
    """Why this field may lack its value only because it was lost."""
    if field.of == "item":
        if field.origin == "attribute" and entity == "span":
            return [_dropped(column("dropped_attributes_count", ALIASES["span"]))]
        if field.origin == "intrinsic" and field.key in {"depth", "children"}:
            return [exp.Not(this=is_true(column("is_complete", TRACE)))]
        return []
    if field.of == "root":
        missing: exp.Expression = exp.Paren(this=exp.Is(this=column("trace_id", ROOT), expression=exp.null()))
        if entity == "log":
            here = exp.Is(this=column("trace_id", ALIASES["log"]), expression=exp.null())
            missing = every_of([missing, exp.Not(this=exp.Paren(this=here))])
    else:
        missing = is_true(column("hangs_loose", PARENT))
    if field.origin != "attribute":
        return [missing]
    return [missing, is_true(_dropped(column("dropped", ROOT if field.of == "root" else PARENT)))]


def _document(field: model.Field) -> exp.Expression:
    name = ENTITY_TABLES[field.entity].document if field.origin == "attribute" else "resource_attributes"
    return column(name, ALIASES[field.entity])


def _dropped(count: exp.Expression) -> exp.Expression:
    return exp.Paren(this=exp.GT(this=count, expression=exp.Literal.number(0)))


def _severity_number() -> exp.Expression:
    return exp.Nullif(this=column("severity_number", ALIASES["log"]), expression=exp.Literal.number(0))


def _severity_word() -> exp.Expression:
    case = exp.Case()
    for index, word in enumerate(ENUMERATIONS[Type.SEVERITY]):
        bound = exp.Literal.number(4 * index + 4)
        case = case.when(exp.LTE(this=_severity_number(), expression=bound), text(word), copy=False)
    return case


def _severity(op: str, word: str) -> exp.Expression:
    """Each word stands for four numbers of OpenTelemetry; 0 is no severity."""
    first = 1 + 4 * ENUMERATIONS[Type.SEVERITY].index(word)
    if op in {"==", "!="}:
        low, high = (exp.Literal.number(bound) for bound in (first, first + 3))
        between = exp.Between(this=_severity_number(), low=low, high=high)
        return exp.Paren(this=between if op == "==" else exp.Not(this=exp.Paren(this=between)))
    bound = first if op in {">=", "<"} else first + 3
    return exp.Paren(this=COMPARISONS[op](this=_severity_number(), expression=exp.Literal.number(bound)))
