"""Syntax tree → typed model: what each name is, which types meet, which unit a number has.

Bindings shadow intrinsics, intrinsics shadow attributes. Nothing here knows SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, cast

from dagster_project.rule_language import model, syntax
from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.limits import MAX_PATTERN_CHARACTERS
from dagster_project.rule_language.model import ENUMERATIONS, INTRINSICS, ORDERED, Items, Type
from dagster_project.rule_language.parser import not_in_this_version
from dagster_project.rule_language.syntax import Entity, Expression
from dagster_project.wording import did_you_mean

_LATER_BASES = {"root": "the root span's fields", "parent": "a parent's fields"}


@dataclass
class Bindings:
    """The `let` names seen so far, and which of them were used.

    `refuses_pattern` says why RE2 would refuse a pattern, or None.
    """

    refuses_pattern: Callable[[str], str | None]
    items: dict[str, Items] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


def resolve_items(node: Expression, bindings: Bindings) -> Items:
    """The set that a selector, a binding, or either with `where` describes.

    Raises
    ------
    ExpressionError
        With the position of the name or value that does not fit.
    """
    if isinstance(node, syntax.Filtered):
        base = resolve_items(node.items, bindings)
        return _narrowed(base, _ItemResolver(base.entity, _word(node.items), bindings).condition(node.condition))
    if isinstance(node, syntax.Selector):
        return _selected(node, bindings)
    if isinstance(node, syntax.Name):
        if node.word not in bindings.items:
            known = did_you_mean(node.word, bindings.items)
            hint = known or 'bind it with `let`, or write a selector such as span("name")'
            raise ExpressionError(f"no binding is called `{node.word}`", node.at.start, node.at.end, hint)
        bindings.used.add(node.word)
        return bindings.items[node.word]
    raise _misplaced(node, "a set of spans or logs is expected here")


def resolve_condition(node: Expression, bindings: Bindings) -> model.Condition:
    """A condition on a whole scope, made of quantifiers and counts.

    Raises
    ------
    ExpressionError
        With the position of the name or value that does not fit.
    """
    if isinstance(node, syntax.Not):
        return model.Negation(resolve_condition(node.operand, bindings))
    if isinstance(node, syntax.And):
        return model.Conjunction(tuple(resolve_condition(operand, bindings) for operand in node.operands))
    if isinstance(node, syntax.Or):
        return model.Disjunction(tuple(resolve_condition(operand, bindings) for operand in node.operands))
    if isinstance(node, syntax.Compare):
        left, right = _quantity(node.left, bindings), _quantity(node.right, bindings)
        if isinstance(left, model.Number) and isinstance(right, model.Number):
            raise ExpressionError("compares two numbers; a count is missing", node.at.start, node.at.end)
        return model.QuantityComparison(node.op, left, right)
    if isinstance(node, syntax.Call):
        return _quantified(node, bindings)
    raise _misplaced(node, "a condition on the whole scope is expected here")


def resolve_reported(name: str, node: Expression, bindings: Bindings) -> model.Reported:
    """One value of `report`: first, sum, count or distinct.

    Raises
    ------
    ExpressionError
        For another function, or a sum of what is no number or duration.
    """
    if not isinstance(node, syntax.Call) or node.function in {"any", "all", "none"}:
        hint = "write first(x.field), sum(x.field), count(x) or distinct(x.field)"
        raise ExpressionError("no value to report", node.at.start, node.at.end, hint)
    items = _call_items(node, bindings)
    function = cast("Literal['first', 'sum', 'count', 'distinct']", node.function)
    field_ = _call_field(node, items, bindings)
    if function == "sum" and field_ is not None:
        field_ = _as_type(field_, Type.NUMBER) if field_.type is Type.ANY else field_
        if field_.type not in {Type.NUMBER, Type.DURATION}:
            message = f"`{field_.key}` is a {field_.type}; sum takes numbers and durations"
            raise ExpressionError(message, node.at.start, node.at.end)
    return model.Reported(name, function, items, field_)


def group_key(key: str, entity: Entity) -> model.Field:
    """The field of a span or log that a group key names, as JSON text.

    Raises
    ------
    ValueError
        For a key that this version cannot group by.
    """
    if key.startswith("trace."):
        raise ValueError(not_in_this_version(f"`{key}`", "grouping whole traces; `group_by: key` groups their spans"))
    if key in {"service", "name", "version"} and key in INTRINSICS[entity]:
        return model.Field(entity, "intrinsic", key, Type.TEXT)
    if key in INTRINSICS["span"] or key in INTRINSICS["log"]:
        raise ValueError(
            f"cannot group {entity}s by `{key}`; a group key is an attribute, `service`, `name` or `version`"
        )
    return model.Field(entity, "attribute", key, Type.ANY)


def _word(node: Expression) -> str | None:
    return node.word if isinstance(node, syntax.Name) else None


def _narrowed(items: Items, condition: model.Condition) -> Items:
    narrowed = model.Conjunction((*_operands(items.condition), *_operands(condition)))
    return Items(items.entity, items.selector, narrowed)


def _operands(condition: model.Condition) -> tuple[model.Condition, ...]:
    return condition.operands if isinstance(condition, model.Conjunction) else (condition,)


def _selected(node: syntax.Selector, bindings: Bindings) -> Items:
    resolver = _ItemResolver(node.entity, None, bindings)
    conditions: list[model.Condition] = []
    if node.name is not None:
        if node.entity == "log":
            hint = 'write log(body matches "...") or log(service = "...")'
            raise ExpressionError("a log has no name", node.at.start, node.at.end, hint)
        name = model.Field("span", "intrinsic", "name", Type.TEXT)
        if "*" in node.name or "?" in node.name:
            conditions.append(model.GlobMatched(name, node.name))
        else:
            conditions.append(model.Comparison("==", name, model.Constant(node.name, Type.TEXT)))
    conditions.extend(resolver.condition(argument) for argument in node.conditions)
    selector = model.Conjunction(tuple(part for one in conditions for part in _operands(one)))
    return Items(node.entity, selector, selector)


def _call_items(node: syntax.Call, bindings: Bindings) -> Items:
    items = resolve_items(node.items, bindings)
    if node.condition is None:
        return items
    return _narrowed(items, _ItemResolver(items.entity, _word(node.items), bindings).condition(node.condition))


def _call_field(node: syntax.Call, items: Items, bindings: Bindings) -> model.Field | None:
    needs_field = node.function in {"distinct", "first", "sum"}
    if needs_field and node.field_name is None:
        name = _word(node.items) or "selector"
        hint = f"write {node.function}({name}.field)"
        raise ExpressionError(f"`{node.function}` needs a field of the items", node.at.start, node.at.end, hint)
    if not needs_field and node.field_name is not None:
        hint = f"leave `.{node.field_name}` out, or write distinct(...) to count values"
        raise ExpressionError(f"`{node.function}` takes items, not a field", node.at.start, node.at.end, hint)
    if node.field_name is None:
        return None
    return _ItemResolver(items.entity, _word(node.items), bindings).field_called(node.field_name, node.at)


def _quantified(node: syntax.Call, bindings: Bindings) -> model.Condition:
    if node.function not in {"any", "all", "none"}:
        if node.function in {"sum", "first"}:
            message = not_in_this_version(f"`{node.function}` in a condition", "it is for `report`")
            raise ExpressionError(message, node.at.start, node.at.end)
        hint = f"compare it, such as {node.function}(...) > 1"
        raise ExpressionError(f"`{node.function}` is a number, not a condition", node.at.start, node.at.end, hint)
    _call_field(node, Items("span", model.ALWAYS_TRUE, model.ALWAYS_TRUE), bindings)
    kept = _call_items(node, bindings)
    if node.function == "all":
        if node.condition is None:
            hint = "write all(x where condition)"
            raise ExpressionError("`all` needs a `where`", node.at.start, node.at.end, hint)
        return model.Every(resolve_items(node.items, bindings), kept)
    return model.Some(kept) if node.function == "any" else model.Negation(model.Some(kept))


def _quantity(node: Expression, bindings: Bindings) -> model.Quantity:
    if isinstance(node, syntax.Value) and node.unit == "number" and isinstance(node.value, Decimal):
        return model.Number(node.value)
    if isinstance(node, syntax.Call) and node.function in {"count", "distinct"}:
        items = _call_items(node, bindings)
        field_ = _call_field(node, items, bindings)
        return model.Count(items) if field_ is None else model.Distinct(items, field_)
    if isinstance(node, syntax.Arithmetic):
        left, right = _quantity(node.left, bindings), _quantity(node.right, bindings)
        _refuse_nonlinear(node, left, right)
        return model.Linear(node.op, left, right)
    if isinstance(node, syntax.Call) and node.function in {"sum", "first"}:
        message = not_in_this_version(f"`{node.function}` in a condition", "it is for `report`")
        raise ExpressionError(message, node.at.start, node.at.end)
    raise _misplaced(node, "a count of the scope or a number is expected here")


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


def _misplaced(node: Expression, expected: str) -> ExpressionError:
    """Why this node cannot stand here, with what its writer probably meant."""
    hint = ""
    if isinstance(node, (syntax.Name, syntax.Path)):
        hint = "a field is looked at inside a quantifier: any(x where field == ...)"
    elif isinstance(node, (syntax.Selector, syntax.Filtered)):
        hint = 'write any(span("...")), none(span("...")) or count(span("...")) > n'
    elif isinstance(node, (syntax.Matches, syntax.In, syntax.Presence)):
        hint = "a condition on fields stands inside a quantifier: any(x where ...)"
    return ExpressionError(expected, node.at.start, node.at.end, hint)


@dataclass
class _ItemResolver:
    """Resolves what stands inside `where` and inside a selector: conditions on one item."""

    entity: Entity
    binding: str | None
    bindings: Bindings

    def condition(self, node: Expression) -> model.Condition:  # noqa: PLR0911  # one return a kind of node
        if isinstance(node, syntax.Not):
            return model.Negation(self.condition(node.operand))
        if isinstance(node, syntax.And):
            return model.Conjunction(tuple(self.condition(operand) for operand in node.operands))
        if isinstance(node, syntax.Or):
            return model.Disjunction(tuple(self.condition(operand) for operand in node.operands))
        if isinstance(node, syntax.Compare):
            return self._comparison(node)
        if isinstance(node, syntax.In):
            return self._membership(node)
        if isinstance(node, syntax.Matches):
            return self._pattern(node)
        if isinstance(node, syntax.Presence):
            return model.Presence(self._field(node.subject, "exists and missing take a field"), node.present)
        if isinstance(node, (syntax.Name, syntax.Path)):
            return self._truth(node)
        raise self._no_condition(node)

    def _no_condition(self, node: Expression) -> ExpressionError:
        hint = ""
        if isinstance(node, (syntax.Call, syntax.Selector)):
            message = not_in_this_version("a set inside a condition on one item", "structure and equality across spans")
            return ExpressionError(message, node.at.start, node.at.end)
        if isinstance(node, syntax.Value) and node.unit == "text":
            hint = f'compare it: "{node.value}" == ..., or exists("{node.value}")'
        return ExpressionError("no condition: compare it with something", node.at.start, node.at.end, hint)

    def _truth(self, node: syntax.Name | syntax.Path) -> model.Condition:
        field_ = self._field(node, "")
        if field_.type not in {Type.ANY, Type.BOOLEAN}:
            raise ExpressionError(
                f"`{field_.key}` is a {field_.type}; compare it with something", node.at.start, node.at.end
            )
        return model.Truth(_as_type(field_, Type.BOOLEAN))

    def _comparison(self, node: syntax.Compare) -> model.Condition:
        left, right = self._two_terms(node)
        if left.type is Type.ANY and right.type is Type.ANY and node.op not in {"==", "!="}:
            left, right = _typed(left, Type.NUMBER), _typed(right, Type.NUMBER)
        left, right = self._agree(node, left, right)
        if node.op not in {"==", "!="} and left.type not in ORDERED:
            hint = "numbers, durations, times and severities have an order"
            raise ExpressionError(f"`{node.op}` does not order {left.type}", node.at.start, node.at.end, hint)
        if isinstance(left, model.Constant) and isinstance(right, model.Constant):
            raise ExpressionError("compares two constants; a field is missing", node.at.start, node.at.end)
        return model.Comparison(node.op, left, right)

    def _two_terms(self, node: syntax.Compare) -> tuple[model.Term, model.Term]:
        """Resolve both sides; a bare word beside an enumerated intrinsic is one of its values."""
        for one, other in ((node.left, node.right), (node.right, node.left)):
            enumerated = self._enumeration(one)
            if enumerated and isinstance(other, (syntax.Name, syntax.Value)):
                constant = self._enumerated(enumerated, other)
                if constant is not None:
                    term = self._field(one, "")
                    return (term, constant) if one is node.left else (constant, term)
        return self.term(node.left, names=True), self.term(node.right, names=False)

    def _enumeration(self, node: Expression) -> Type | None:
        if isinstance(node, (syntax.Name, syntax.Path)):
            if isinstance(node, syntax.Name) and node.word in self.bindings.items:
                return None
            if isinstance(node, syntax.Path) and node.base != self.binding:
                return None
            type_ = INTRINSICS[self.entity].get(node.word if isinstance(node, syntax.Name) else node.field_name)
            return type_ if type_ in ENUMERATIONS else None
        return None

    def _enumerated(self, type_: Type, node: syntax.Name | syntax.Value) -> model.Constant | None:
        word = node.word if isinstance(node, syntax.Name) else node.value
        if isinstance(node, syntax.Name) and self._enumeration(node) is type_:
            return None
        if not isinstance(word, str) or word.lower() not in ENUMERATIONS[type_]:
            hint = did_you_mean(str(word), ENUMERATIONS[type_])
            raise ExpressionError(f"`{word}` is no {type_}", node.at.start, node.at.end, hint)
        return model.Constant(word.lower(), type_)

    def _agree(self, node: syntax.Compare, left: model.Term, right: model.Term) -> tuple[model.Term, model.Term]:
        """Give an attribute the type of what it is compared with; refuse types that do not meet."""
        if left.type is right.type:
            return left, right
        for one, other in ((left, right), (right, left)):
            if one.type is Type.ANY and other.type in {Type.NUMBER, Type.TEXT, Type.BOOLEAN}:
                return _typed(left, other.type), _typed(right, other.type)
        types = {left.type, right.type}
        hint = ""
        if types & {Type.DURATION} and types & {Type.NUMBER, Type.ANY}:
            hint = "give the number its unit: 500ms, or attribute * 1ms"
            words = [term.key for term in (left, right) if isinstance(term, model.Field) and term.type is Type.ANY]
            near = did_you_mean(words[0], INTRINSICS[self.entity]) if words else ""
            hint = near if near.startswith("did") else hint
        message = f"compares {_article(left.type)} with {_article(right.type)}"
        raise ExpressionError(message, node.at.start, node.at.end, hint)

    def _membership(self, node: syntax.In) -> model.Condition:
        if not node.values.items:
            raise ExpressionError("the list is empty, so nothing is in it", node.values.at.start, node.values.at.end)
        enumerated = self._enumeration(node.subject)
        if enumerated:
            named = [
                self._enumerated(enumerated, item)
                for item in node.values.items
                if isinstance(item, (syntax.Name, syntax.Value))
            ]
            constants = [constant for constant in named if constant is not None]
        else:
            constants = [self._constant(item) for item in node.values.items]
        term = self.term(node.subject, names=True)
        if len(constants) != len(node.values.items) or len({constant.type for constant in constants}) != 1:
            raise ExpressionError("a list holds values of one type", node.values.at.start, node.values.at.end)
        comparison = syntax.Compare("==", node.subject, node.values, at=node.at)
        term, _ = self._agree(comparison, term, constants[0])
        return model.Membership(term, tuple(constants))

    def _constant(self, node: Expression) -> model.Constant:
        term = self.term(node, names=False)
        if not isinstance(term, model.Constant):
            raise ExpressionError("a list holds plain values", node.at.start, node.at.end)
        return term

    def _pattern(self, node: syntax.Matches) -> model.Condition:
        term = self.term(node.subject, names=True)
        term = _typed(term, Type.TEXT)
        if term.type is not Type.TEXT:
            raise ExpressionError(f"`matches` reads text, this is {_article(term.type)}", node.at.start, node.at.end)
        pattern = node.pattern
        if not isinstance(pattern, syntax.Value) or not isinstance(pattern.value, str):
            raise ExpressionError("a pattern is a string", pattern.at.start, pattern.at.end)
        if len(pattern.value) > MAX_PATTERN_CHARACTERS:
            message = f"a pattern of {len(pattern.value)} characters; the limit is {MAX_PATTERN_CHARACTERS}"
            raise ExpressionError(message, pattern.at.start, pattern.at.end)
        complaint = self.bindings.refuses_pattern(pattern.value)
        if complaint:
            hint = "patterns are RE2: linear time, hence no look-around and no back references"
            raise ExpressionError(f"no pattern of RE2: {complaint}", pattern.at.start, pattern.at.end, hint)
        return model.PatternFound(term, pattern.value)

    def term(self, node: Expression, *, names: bool) -> model.Term:
        """A value of the item. `names`: a string here is the name of an attribute (the left side), else a text."""
        if isinstance(node, syntax.Value):
            return self._literal(node, names=names)
        if isinstance(node, (syntax.Name, syntax.Path)):
            return self._field(node, "")
        if isinstance(node, syntax.Arithmetic):
            return self._calculation(node)
        raise self._no_value(node)

    def _no_value(self, node: Expression) -> ExpressionError:
        if isinstance(node, (syntax.Call, syntax.Selector)):
            message = not_in_this_version("a set inside a condition on one item", "structure and equality across spans")
            return ExpressionError(message, node.at.start, node.at.end)
        return ExpressionError("a value is expected here", node.at.start, node.at.end)

    def _literal(self, node: syntax.Value, *, names: bool) -> model.Term:
        if node.value is None:
            hint = "a comparison with null is always unknown: write missing(field) or exists(field)"
            raise ExpressionError("null compares with nothing", node.at.start, node.at.end, hint)
        if node.unit == "text" and names:
            return model.Field(self.entity, "attribute", str(node.value), Type.ANY)
        return model.Constant(node.value, Type(node.unit))

    def _calculation(self, node: syntax.Arithmetic) -> model.Term:
        left, right = (_numeric(self.term(side, names=True)) for side in (node.left, node.right))
        types = (left.type, node.op, right.type)
        number, duration, time = Type.NUMBER, Type.DURATION, Type.TIME
        results = {
            (number, "+", number): number, (number, "-", number): number,
            (number, "*", number): number, (number, "/", number): number,
            (duration, "+", duration): duration, (duration, "-", duration): duration,
            (duration, "*", number): duration, (number, "*", duration): duration,
            (duration, "/", number): duration, (duration, "/", duration): number,
            (time, "-", time): duration,
        }  # fmt: skip
        if types not in results:
            message = f"no `{node.op}` between {_article(left.type)} and {_article(right.type)}"
            raise ExpressionError(message, node.at.start, node.at.end)
        return model.Calculation(node.op, left, right, results[types])

    def _field(self, node: Expression, otherwise: str) -> model.Field:
        if isinstance(node, syntax.Value) and isinstance(node.value, str):
            return model.Field(self.entity, "attribute", node.value, Type.ANY)
        if isinstance(node, syntax.Name):
            if node.word in self.bindings.items:
                hint = f"its field is written {node.word}.field"
                raise ExpressionError(f"`{node.word}` is a set, not a value", node.at.start, node.at.end, hint)
            return self.field_called(node.word, node.at)
        if not isinstance(node, syntax.Path):
            raise ExpressionError(otherwise or "a field is expected here", node.at.start, node.at.end)
        if node.base == "attribute":
            return model.Field(self.entity, "attribute", node.field_name, Type.ANY)
        if node.base == self.binding:
            return self.field_called(node.field_name, node.at)
        if node.base == "resource":
            return model.Field(self.entity, "resource", node.field_name, Type.ANY)
        raise self._unknown_base(node)

    def _unknown_base(self, node: syntax.Path) -> ExpressionError:
        if node.base in self.bindings.items or node.base in _LATER_BASES:
            what = f"`{node.base}.{node.field_name}` inside a condition on another item"
            return ExpressionError(not_in_this_version(what, "equality across spans"), node.at.start, node.at.end)
        near = did_you_mean(node.base, (*self.bindings.items, "resource", "attribute"))
        hint = near if near.startswith("did") else f'a dotted attribute is quoted: "{node.base}.{node.field_name}"'
        return ExpressionError(f"nothing is called `{node.base}`", node.at.start, node.at.end, hint)

    def field_called(self, word: str, at: syntax.At) -> model.Field:
        """An intrinsic of this entity, or else an attribute of that name."""
        type_ = INTRINSICS[self.entity].get(word)
        if type_ is not None:
            return model.Field(self.entity, "intrinsic", word, type_)
        other: Entity = "log" if self.entity == "span" else "span"
        if word in INTRINSICS[other]:
            hint = f"for an attribute of that name write attribute.{word}"
            raise ExpressionError(f"`{word}` is a field of {other}s, not of {self.entity}s", at.start, at.end, hint)
        return model.Field(self.entity, "attribute", word, Type.ANY)


def _as_type(field_: model.Field, type_: Type) -> model.Field:
    return model.Field(field_.entity, field_.origin, field_.key, type_)


def _typed(term: model.Term, type_: Type) -> model.Term:
    """An untyped attribute takes the type; everything else keeps its own."""
    return _as_type(term, type_) if isinstance(term, model.Field) and term.type is Type.ANY else term


def _numeric(term: model.Term) -> model.Term:
    return _typed(term, Type.NUMBER)


def _article(type_: Type) -> str:
    return "an attribute" if type_ is Type.ANY else f"a {type_}"


def binding_names(bindings: Mapping[str, Items], used: set[str]) -> list[str]:
    """The bindings that nothing uses: usually a typing mistake somewhere else."""
    return sorted(set(bindings) - used)
