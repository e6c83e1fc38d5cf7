"""Conditions on one item, as syntax → the same in the typed model: what stands in selectors and after `where`.

Bindings shadow intrinsics, intrinsics shadow attributes. Sets and conditions on a scope are `resolve`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.limits import MAX_PATTERN_CHARACTERS
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import ENUMERATIONS, INTRINSICS, NOT_OF_OTHERS, ORDERED, SCOPED, Type
from dagster_project.rule_language.text import syntax
from dagster_project.rule_language.text.syntax import Entity, Expression
from dagster_project.wording import did_you_mean

_WITHOUT_ATTRIBUTES: frozenset[Entity] = frozenset({"deploy", "ticket"})
_WITH_RESOURCE: frozenset[Entity] = frozenset({"span", "log"})


@dataclass
class ItemResolver:
    """Resolves what is said of one item of an entity."""

    entity: Entity
    word: str | None  # what the item is called, as in `q.field`
    sets: Collection[str]  # names of sets, which are no values
    refuses_pattern: Callable[[str], str | None]

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
            raise _set_inside(node)
        if isinstance(node, syntax.Value) and node.unit == "text":
            hint = f'compare it: "{node.value}" == ..., or exists("{node.value}")'
        return ExpressionError("no condition: compare it with something", node.at.start, node.at.end, hint)

    def _truth(self, node: syntax.Name | syntax.Path) -> model.Condition:
        field_ = self._field(node, "")
        if field_.type not in {Type.ANY, Type.BOOLEAN}:
            raise ExpressionError(
                f"`{field_.key}` is a {field_.type}; compare it with something", node.at.start, node.at.end
            )
        return model.Truth(as_type(field_, Type.BOOLEAN))

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
        """The enumeration that a field of the item, its root or its parent is of, or None."""
        if isinstance(node, syntax.Name) and node.word not in self.sets:
            type_ = INTRINSICS[self.entity].get(node.word)
        elif isinstance(node, syntax.Path) and node.base == self.word:
            type_ = INTRINSICS[self.entity].get(node.field_name)
        elif isinstance(node, syntax.Path) and node.base in {"root", "parent"}:
            type_ = INTRINSICS["span"].get(node.field_name)
        else:
            type_ = None
        return type_ if type_ in ENUMERATIONS else None

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
            hint = near if near.startswith("did") else _with_unit(node) or hint
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
        complaint = self.refuses_pattern(pattern.value)
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
            return _set_inside(node)
        return ExpressionError("a value is expected here", node.at.start, node.at.end)

    def _literal(self, node: syntax.Value, *, names: bool) -> model.Term:
        if node.value is None:
            hint = "a comparison with null is always unknown: write missing(field) or exists(field)"
            raise ExpressionError("null compares with nothing", node.at.start, node.at.end, hint)
        if node.unit == "text" and names:
            return self._attribute(str(node.value), node.at)
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
            return self._attribute(node.value, node.at)
        if isinstance(node, syntax.Name):
            if node.word in self.sets:
                hint = f"its field is written {node.word}.field"
                raise ExpressionError(f"`{node.word}` is a set, not a value", node.at.start, node.at.end, hint)
            return self.field_called(node.word, node.at)
        if not isinstance(node, syntax.Path):
            raise ExpressionError(otherwise or "a field is expected here", node.at.start, node.at.end)
        return self._of_path(node)

    def _of_path(self, node: syntax.Path) -> model.Field:
        if node.base == self.word:
            return self.field_called(node.field_name, node.at)
        if node.base == "attribute":
            return self._attribute(node.field_name, node.at)
        if node.base == "resource":
            if self.entity in _WITH_RESOURCE:
                return model.Field(self.entity, "resource", node.field_name, Type.ANY)
            raise ExpressionError(f"a {self.entity} has no resource of its own", node.at.start, node.at.end)
        if node.base == "scope":
            name = f"scope.{node.field_name}"
            if name in INTRINSICS[self.entity]:
                return model.Field(self.entity, "intrinsic", name, INTRINSICS[self.entity][name])
            known = [one for one in INTRINSICS[self.entity] if one.startswith("scope.")]
            hint = did_you_mean(name, known) if known else "spans and logs have a scope"
            raise ExpressionError(f"a {self.entity} has no `{name}`", node.at.start, node.at.end, hint)
        if node.base == "root":
            return self._of_other("root", node, SCOPED)
        if node.base == "parent":
            return self._of_other("parent", node, {"span"})
        raise self._unknown_base(node)

    def _of_other(self, holder: model.Holder, node: syntax.Path, entities: Collection[Entity]) -> model.Field:
        """A field of the root span of the item's trace, or of its parent."""
        if self.entity not in entities:
            raise ExpressionError(f"a {self.entity} has no {holder}", node.at.start, node.at.end)
        if node.field_name in NOT_OF_OTHERS:
            hint = "structure says it: any(root_set > x)"
            raise ExpressionError(f"`{node.field_name}` is not read of a {holder}", node.at.start, node.at.end, hint)
        type_ = INTRINSICS["span"].get(node.field_name)
        origin: model.Origin = "attribute" if type_ is None else "intrinsic"
        return model.Field(self.entity, origin, node.field_name, type_ or Type.ANY, holder)

    def _attribute(self, key: str, at: syntax.At) -> model.Field:
        if self.entity in _WITHOUT_ATTRIBUTES:
            hint = did_you_mean(key, INTRINSICS[self.entity]) or f"it has {', '.join(INTRINSICS[self.entity])}"
            raise ExpressionError(f"a {self.entity} has no `{key}`", at.start, at.end, hint)
        return model.Field(self.entity, "attribute", key, Type.ANY)

    def _unknown_base(self, node: syntax.Path) -> ExpressionError:
        if node.base in self.sets:
            message = f"`{node.base}` is another set; a condition looks at one item"
            hint = f"compare with root.{node.field_name} or parent.{node.field_name}, or group by what they share"
            return ExpressionError(message, node.at.start, node.at.end, hint)
        near = did_you_mean(node.base, (*self.sets, "resource", "attribute", "scope", "root", "parent"))
        hint = near if near.startswith("did") else f'a dotted attribute is quoted: "{node.base}.{node.field_name}"'
        return ExpressionError(f"nothing is called `{node.base}`", node.at.start, node.at.end, hint)

    def field_called(self, word: str, at: syntax.At) -> model.Field:
        """An intrinsic of this entity, or else an attribute of that name."""
        type_ = INTRINSICS[self.entity].get(word)
        if type_ is not None:
            return model.Field(self.entity, "intrinsic", word, type_)
        known: tuple[Entity, ...] = ("span", "log")
        others = [one for one in known if one != self.entity and word in INTRINSICS[one]]
        if others and self.entity not in _WITHOUT_ATTRIBUTES:
            hint = f"for an attribute of that name write attribute.{word}"
            message = f"`{word}` is a field of {others[0]}s, not of {self.entity}s"
            raise ExpressionError(message, at.start, at.end, hint)
        return self._attribute(word, at)


def _set_inside(node: Expression) -> ExpressionError:
    hint = "relations stand between sets: any(a >> b), any(a near b within 5s); name them with `let`"
    return ExpressionError("a set inside a condition on one item", node.at.start, node.at.end, hint)


def as_type(field_: model.Field, type_: Type) -> model.Field:
    """The same field, read as another type."""
    return replace(field_, type=type_)


def _typed(term: model.Term, type_: Type) -> model.Term:
    """An untyped attribute takes the type; everything else keeps its own."""
    return as_type(term, type_) if isinstance(term, model.Field) and term.type is Type.ANY else term


def _numeric(term: model.Term) -> model.Term:
    return _typed(term, Type.NUMBER)


def _with_unit(node: syntax.Compare) -> str:
    """What to write where a plain name is compared with a duration that is written out; else nothing."""
    written = []
    for side in (node.left, node.right):
        if isinstance(side, syntax.Name):
            written.append(f"{side.word} * 1ms")
        elif isinstance(side, syntax.Value) and side.unit == "duration" and isinstance(side.value, int):
            written.append(_spelled(side.value))
    return f"give the number its unit: {f' {node.op} '.join(written)}" if len(written) == 2 else ""


def _spelled(nanoseconds: int) -> str:
    units = (("h", 3_600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
    unit, size = next(one for one in units if nanoseconds % one[1] == 0)
    return f"{nanoseconds // size}{unit}" if nanoseconds else "0s"


def _article(type_: Type) -> str:
    return "an attribute" if type_ is Type.ANY else f"a {type_}"
