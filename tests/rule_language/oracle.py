"""A second, slow reading of docs/rules.md: what is true of one item, and which sets it belongs to.

Written from the document and independent of the compiler: of the package it knows the syntax tree only. `oracle_scopes`
goes on to scopes, verdicts and witnesses.
"""

# ruff: noqa: C901, PLR0911  # one return a kind of node

from __future__ import annotations

import json
import math
import re
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recorded import World  # type: ignore[import-not-found]

from dagster_project.rule_language.text import syntax as tree

SEVERITIES = ["trace", "debug", "info", "warn", "error", "fatal"]
ENUMERATED = {"span": {"kind", "status"}, "log": {"severity"}}
LOSSABLE = {"span", "event", "link"}
SCOPED = {"span", "log", "event", "link"}
MISSING = object()
UNKNOWABLE = object()  # missing, and perhaps only because it was lost

INTRINSICS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "span": {
        "name": lambda one: one.name,
        "service": lambda one: one.service,
        "version": lambda one: one.version,
        "kind": lambda one: one.kind,
        "status": lambda one: one.status,
        "duration": lambda one: one.duration,
        "start": lambda one: one.start,
        "end": lambda one: one.end,
        "is_root": lambda one: one.parent is None,
        "scope.name": lambda one: one.scope_name,
        "scope.version": lambda one: one.scope_version,
    },
    "log": {
        "service": lambda one: one.service,
        "severity": lambda one: None if one.severity == 0 else SEVERITIES[(one.severity - 1) // 4],
        "body": lambda one: one.body,
        "start": lambda one: one.start,
        "end": lambda one: one.end,
        "scope.name": lambda one: one.scope_name,
    },
    "event": {name: lambda one, name=name: getattr(one, name) for name in ("name", "service", "start", "end")},
    "link": {
        "service": lambda one: one.service,
        "start": lambda one: one.start,
        "end": lambda one: one.end,
        "linked_trace_id": lambda one: None if one.linked_trace is None else str(uuid.UUID(int=one.linked_trace << 64)),
    },
    "metric": {
        name: lambda one, name=name: getattr(one, name) for name in ("name", "service", "value", "unit", "start", "end")
    },
    "deploy": {
        name: lambda one, name=name: getattr(one, name)
        for name in (
            "service", "version", "previous_version", "environment", "status", "commit", "is_rollback", "start", "end",
        )
    },
    "ticket": {
        name: lambda one, name=name: getattr(one, name)
        for name in ("id", "system", "title", "severity", "service", "team", "category", "start", "end")
    },
}  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """An attribute as it was sent: of any type."""

    value: Any


@dataclass(frozen=True)
class Calculated:
    value: float


class ItemJudge:
    """What holds of each item of one world, by the names that one rule binds."""

    def __init__(self, let: tuple[tuple[str, tree.Expression], ...], world: World) -> None:
        self.let, self.world = dict(let), world
        self._members: dict[tuple[int, Any], Any] = {}
        self._relations: dict[tuple[int, Any], Any] = {}
        self._sure: dict[int, list[Any]] = {}
        self._facts: dict[int, list[tuple[str, Any]]] = {}
        self.seen: Counter[tuple[str, Any]] = Counter()  # operators, and what they gave: which pairs are not trivial

    # Values of one item.

    def value(self, node: tree.Expression, item: Any, word: str | None, left: bool = True) -> Any:
        """`left`: a quoted word is an attribute here, else a text."""
        if isinstance(node, tree.Value):
            if left and node.unit == "text":
                return self.attribute(item, str(node.value))
            return exactly(node.value) if node.unit == "number" else node.value
        if isinstance(node, tree.Name):
            return self.named(item, node.word)
        if isinstance(node, tree.Path):
            return self.of_path(node, item, word)
        assert isinstance(node, tree.Arithmetic)
        return self.calculated(node, item, word)

    def of_path(self, node: tree.Path, item: Any, word: str | None) -> Any:
        if node.base == "attribute":
            return self.attribute(item, node.field_name)
        if node.base == "resource":
            value = item.resource.get(node.field_name)
            return MISSING if value is None else Sent(value)
        if node.base == "scope":
            return self.named(item, f"scope.{node.field_name}")
        if node.base == "root":
            if item.trace is None:
                return self.noted("root", MISSING)
            shape = self.world.shapes.get(item.trace)
            if shape is None or len(shape.roots) != 1:
                return self.noted("root", UNKNOWABLE)
            return self.noted("root", self.named(shape.roots[0], node.field_name))
        if node.base == "parent":
            shape = self.world.shapes[item.trace]
            above = shape.parent[item]
            if above is None:
                return self.noted("parent", UNKNOWABLE if shape.severed(item) else MISSING)
            return self.noted("parent", self.named(above, node.field_name))
        assert node.base == word, f"{node.base} is not {word}"
        return self.named(item, node.field_name)

    def noted(self, operator: str, value: Any) -> Any:
        kind = value if value in (UNKNOWABLE, MISSING, True, False, None) else "value"
        self.seen[operator, {UNKNOWABLE: "lost", MISSING: "missing"}.get(kind, kind)] += 1  # type: ignore[call-overload]
        return value

    def named(self, item: Any, word: str) -> Any:
        if item.entity == "span" and word in {"depth", "children"}:
            if not self.world.complete(item.trace):
                return UNKNOWABLE
            shape = self.world.shapes[item.trace]
            return float(len(shape.ancestors(item)) if word == "depth" else len(shape.children[item]))
        known = INTRINSICS[item.entity]
        if word in known:
            found = known[word](item)
            return MISSING if found is None else found
        return self.attribute(item, word)

    def attribute(self, item: Any, key: str) -> Any:
        value = item.attributes.get(key)
        if value is not None:
            return Sent(value)
        return UNKNOWABLE if getattr(item, "dropped", 0) else MISSING

    def calculated(self, node: tree.Arithmetic, item: Any, word: str | None) -> Any:
        sides = [self.value(side, item, word) for side in (node.left, node.right)]
        if node.op == "-" and all(type(side) is int for side in sides):
            return Calculated(float(sides[0] - sides[1]))  # times, which are longer than doubles are exact
        left, right = (as_number(side) for side in sides)
        for absent in (UNKNOWABLE, MISSING):
            if left is absent or right is absent:
                return absent
        if node.op == "/" and right == 0:
            return MISSING
        operate = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__, "/": float.__truediv__}[node.op]
        result = operate(left, right)
        return Calculated(result) if math.isfinite(result) else MISSING

    # Conditions on one item: True, False, None (a fact that is not there), or UNKNOWABLE.

    def holds(self, node: tree.Expression, item: Any, word: str | None) -> Any:
        if isinstance(node, tree.Not):
            return inverse(self.holds(node.operand, item, word))
        if isinstance(node, (tree.And, tree.Or)):
            decisive = isinstance(node, tree.Or)
            parts = [self.holds(operand, item, word) for operand in node.operands]
            if any(part is decisive for part in parts):
                return decisive
            if UNKNOWABLE in parts:
                return UNKNOWABLE
            return None if None in parts else not decisive
        if isinstance(node, tree.Compare):
            return self.compared(node, item, word)
        if isinstance(node, tree.In):
            anyway = [self.compared(tree.Compare("==", node.subject, one), item, word) for one in node.values.items]
            if any(one is True for one in anyway):
                return True
            return next((one for one in anyway if one is not False), False)
        if isinstance(node, tree.Matches):
            text = as_text(self.value(node.subject, item, word))
            if text in (MISSING, UNKNOWABLE):
                return None if text is MISSING else UNKNOWABLE
            return re.search(str(node.pattern.value), text) is not None  # type: ignore[union-attr]
        if isinstance(node, tree.Presence):
            found = self.value(node.subject, item, word)
            return found if found is UNKNOWABLE else (found is not MISSING) is node.present
        found = as_boolean(self.value(node, item, word))
        return None if found is MISSING else found

    def enumerated(self, node: tree.Expression, item: Any, word: str | None) -> str | None:
        """The enumerated field that a side of a comparison is."""
        if isinstance(node, tree.Name):
            return node.word if node.word in ENUMERATED.get(item.entity, ()) else None
        if isinstance(node, tree.Path) and node.base in {"root", "parent"}:
            return node.field_name if node.field_name in ENUMERATED["span"] else None
        if isinstance(node, tree.Path) and node.base == word:
            return node.field_name if node.field_name in ENUMERATED.get(item.entity, ()) else None
        return None

    def compared(self, node: tree.Compare, item: Any, word: str | None) -> Any:
        enumeration = self.enumerated(node.left, item, word)
        left = self.value(node.left, item, word)
        if enumeration and isinstance(node.right, tree.Name) and not self.enumerated(node.right, item, word):
            right: Any = node.right.word
        else:
            right = self.value(node.right, item, word, left=False)
        left, right = meet(node.op, left, right)
        for absent, result in ((UNKNOWABLE, UNKNOWABLE), (MISSING, None)):
            if left is absent or right is absent:
                return result
        if enumeration == "severity":
            left, right = SEVERITIES.index(left), SEVERITIES.index(right)
        return OPERATORS[node.op](left, right)

    # Sets of items: True, False, None or UNKNOWABLE.

    def members(self, node: tree.Expression, item: Any) -> Any:
        known = self._members.get((id(node), item), self)
        if known is self:
            known = self._members[id(node), item] = self._member(node, item)
        return known

    def _member(self, node: tree.Expression, item: Any) -> Any:
        if isinstance(node, tree.Name):
            return self.members(self.let[node.word], item)
        if self.entity(node) != item.entity:
            return False
        if isinstance(node, tree.Filtered):
            inside = self.members(node.items, item)
            return inside if inside is False else both(inside, self.holds(node.condition, item, called(node)))
        if isinstance(node, tree.Structured):
            inside = self.members(node.right, item)
            if inside is False:
                return False
            related = self.relation(node, item)
            return both(inside, inverse(related) if node.negated else related)
        if isinstance(node, tree.Unless):
            inside = self.members(node.left, item)
            if inside is False:
                return False
            return both(inside, inverse(self.relation(node, item)))
        if isinstance(node, tree.Joined):
            inside = self.members(node.left, item)
            return inside if inside is False else both(inside, self.relation(node, item))
        assert isinstance(node, tree.Selector)
        result: Any = True
        if node.name is not None:
            pattern = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in node.name)
            found = INTRINSICS[item.entity]["name"](item)
            result = None if found is None else re.fullmatch(pattern, found, re.DOTALL) is not None
        for condition in node.conditions:
            result = both(result, self.holds(condition, item, None))
        return result

    def belongs(self, node: tree.Expression, item: Any) -> Any:
        """Membership as other sets see it: what is unknown is unknown by loss, or no member."""
        inside = self.members(node, item)
        return (UNKNOWABLE if self.hides(node, item) else False) if inside is None else inside

    def relation(self, node: Any, item: Any) -> Any:
        """What a set asks of other items: true, false, or unknown by loss."""
        known = self._relations.get((id(node), item), self)
        if known is self:
            if isinstance(node, tree.Structured):
                known = self.noted(f"!{node.op}" if node.negated else node.op, self.related(node, item))
            elif isinstance(node, tree.Unless):
                known = self.noted("unless", self.belongs(node.right, item))
            else:
                known = self.noted(node.direction, self.nearby(node, item))
                self.noted(f"on {self.kind_of_keys(node)}", known)
            self._relations[id(node), item] = known
        return known

    def related(self, node: tree.Structured, item: Any) -> Any:
        """Whether a span stands so to some span of the left set."""
        shape = self.world.shapes[item.trace]
        above = shape.parent[item]
        if node.op in {">", ">>"}:
            way = shape.ancestors(item) if node.op == ">>" else [above] if above else []
            inside = [self.belongs(node.left, one) for one in way]
            top = way[-1] if way and node.op == ">>" else item
            lost = UNKNOWABLE in inside or (shape.severed(top) and (node.op == ">>" or above is None))
            return True if True in inside else UNKNOWABLE if lost else False
        if node.op == "<":
            others = shape.children[item]
        elif node.op == "<<":
            others = shape.descendants(item)
        else:
            others = [one for one in shape.children[above] if one is not item] if above else []
        if any(self.members(node.left, one) is True for one in others):
            return True
        return False if self.world.complete(item.trace) else UNKNOWABLE

    def nearby(self, node: tree.Joined, item: Any) -> Any:
        """Whether there is one of the right set close enough, not the item itself, with the same keys."""
        entity = self.entity(node.right)
        keys = node.on if node.on is not None else ("trace",) if entity in SCOPED else ("service",)
        mine = [self.key_of(item, key) for key in keys]
        if not any(value is MISSING for value in mine):
            for one in self.sure(node.right):
                apart = item.start - one.start
                close = 0 <= apart <= node.within_ns if node.direction == "after" else abs(apart) <= node.within_ns
                if close and one is not item and [self.key_of(one, key) for key in keys] == mine:
                    return True
        broken = item.trace is not None and not self.world.complete(item.trace)
        return UNKNOWABLE if broken and self.can_miss(node) else False

    def kind_of_keys(self, node: tree.Joined) -> str:
        """What is near one another has in common, for the table of what was exercised."""
        if node.on is None:
            return "trace" if self.entity(node.right) in SCOPED else "service"
        is_shared = any(one not in {"trace", "service"} for one in node.on)
        return "attribute" if is_shared else "/".join(node.on) or "anything"

    def key_of(self, item: Any, key: str) -> Any:
        if key == "trace":
            return MISSING if item.trace is None else item.trace
        value = self.named(item, "service") if key == "service" else self.attribute(item, key)
        return MISSING if value is UNKNOWABLE else plain(value)

    def sure(self, node: tree.Expression) -> list[Any]:
        """Everything recorded, anywhere and at any time, that surely is in a set."""
        if id(node) not in self._sure:
            everything = self.world.of(self.entity(node))
            self._sure[id(node)] = [one for one in everything if self.members(node, one) is True]
        return self._sure[id(node)]

    def entity(self, node: Any) -> str:
        """Of which kind the items of a set are."""
        if isinstance(node, tree.Name):
            return self.entity(self.let[node.word])
        if isinstance(node, tree.Structured):
            return "span"
        if isinstance(node, (tree.Unless, tree.Joined)):
            return self.entity(node.left)
        return node.entity if isinstance(node, tree.Selector) else self.entity(node.items)

    def selected(self, node: Any, item: Any) -> bool:
        """Whether the selector at the bottom of a set matches, whatever `where` and relations say."""
        if isinstance(node, tree.Name):
            return self.selected(self.let[node.word], item)
        if isinstance(node, tree.Structured):
            return self.selected(node.right, item)
        if isinstance(node, (tree.Unless, tree.Joined)):
            return self.selected(node.left, item)
        return self.members(node, item) is True if isinstance(node, tree.Selector) else self.selected(node.items, item)

    def kept(self, call: tree.Call, item: Any) -> Any:
        """Whether an item of a call's set also fulfils its condition."""
        known = self._members.get((id(call), item), self)
        if known is self:
            known = self.members(call.items, item)
            if call.condition is not None and known is not False:
                known = both(known, self.holds(call.condition, item, call.variable or called(call.items)))
            self._members[id(call), item] = known
        return known

    # What may have been lost.

    def lossable(self, node: Any) -> bool:
        """Whether a loss can hide members of a set (of a call: of those that it keeps)."""
        return self.entity(node) in LOSSABLE or any(
            kind in {"root", "parent"} or (kind == "relation" and self.can_miss(part))
            for kind, part in self.reads(node)
        )

    def can_miss(self, node: Any) -> bool:
        """Whether a relation can be unknown by loss."""
        if isinstance(node, tree.Joined):
            default = ("trace",) if self.entity(node.right) in SCOPED else ("service",)
            return "trace" in (default if node.on is None else node.on) and self.lossable(node.right)
        return isinstance(node, tree.Structured) or self.lossable(node.right)

    def hides(self, node: Any, item: Any) -> bool:
        """Whether an unknown of this item may come from a loss: something that the set's conditions read was lost."""
        return any(self.is_lost(kind, part, item) for kind, part in self.reads(node))

    def is_lost(self, kind: str, part: Any, item: Any) -> bool:
        if kind == "attribute":
            return getattr(item, "dropped", 0) > 0
        if kind == "shape":
            return not self.world.complete(item.trace)
        if kind == "relation":
            return self.relation(part, item) is UNKNOWABLE
        shape = self.world.shapes.get(item.trace)
        if kind == "root":
            if shape is None or len(shape.roots) != 1:
                return item.trace is not None
            return part not in INTRINSICS["span"] and shape.roots[0].dropped > 0
        assert shape is not None
        above = shape.parent[item]
        if above is None:
            return bool(shape.severed(item))
        return part not in INTRINSICS["span"] and above.dropped > 0

    def reads(self, node: Any) -> list[tuple[str, Any]]:
        """What the conditions of a set read: attributes, shape, fields of root or parent, relations."""
        if id(node) not in self._facts:
            self._facts[id(node)] = self._reads(node)
        return self._facts[id(node)]

    def _reads(self, node: Any) -> list[tuple[str, Any]]:
        if isinstance(node, tree.Name):
            return self.reads(self.let[node.word])
        if isinstance(node, tree.Structured):
            return [*self.reads(node.right), ("relation", node)]
        if isinstance(node, (tree.Unless, tree.Joined)):
            return [*self.reads(node.left), ("relation", node)]
        if isinstance(node, (tree.Filtered, tree.Call)):
            own = [] if node.condition is None else self._fields(node.condition, self.entity(node))
            return [*self.reads(node.items), *own]
        assert isinstance(node, tree.Selector)
        return [part for one in node.conditions for part in self._fields(one, node.entity)]

    def _fields(self, node: Any, entity: str, left: bool = True) -> list[tuple[str, Any]]:
        """The same of a condition on one item."""
        if isinstance(node, tree.Value):
            return [("attribute", node.value)] if node.unit == "text" and left else []
        if isinstance(node, tree.Name):
            return self._field(node.word, entity)
        if isinstance(node, tree.Path):
            if node.base in {"root", "parent"}:
                return [(node.base, node.field_name)]
            if node.base in {"resource", "scope"}:
                return []
            return (
                [("attribute", node.field_name)] if node.base == "attribute" else self._field(node.field_name, entity)
            )
        if isinstance(node, (tree.And, tree.Or)):
            return [part for one in node.operands for part in self._fields(one, entity)]
        if isinstance(node, tree.Not):
            return self._fields(node.operand, entity)
        if isinstance(node, tree.Compare):
            chosen = node.left.word if isinstance(node.left, tree.Name) else getattr(node.left, "field_name", None)
            words = chosen in {"kind", "status", "severity"} and isinstance(node.right, tree.Name)
            return self._fields(node.left, entity) + ([] if words else self._fields(node.right, entity, left=False))
        if isinstance(node, tree.Arithmetic):
            return self._fields(node.left, entity) + self._fields(node.right, entity)
        return self._fields(node.subject, entity)

    def _field(self, word: str, entity: str) -> list[tuple[str, Any]]:
        if word in {"depth", "children"} and entity == "span":
            return [("shape", word)]
        return [] if word in INTRINSICS[entity] else [("attribute", word)]


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def called(node: Any) -> str | None:
    """What an item of a set is called in a condition on it."""
    if isinstance(node, tree.Name):
        return node.word
    if isinstance(node, tree.Filtered):
        return called(node.items)
    if isinstance(node, tree.Structured):
        return called(node.right)
    return called(node.left) if isinstance(node, (tree.Unless, tree.Joined)) else None


def inverse(value: Any) -> Any:
    return not value if isinstance(value, bool) else value


def both(left: Any, right: Any) -> Any:
    if left is False or right is False:
        return False
    if UNKNOWABLE in (left, right):
        return UNKNOWABLE
    return None if None in (left, right) else True


def exactly(value: Any) -> Any:
    """A number as it is compared: a whole one exactly, any other as a double."""
    return int(value) if value == int(value) else float(value)


def as_number(value: Any) -> Any:
    """A number as it is calculated with: a double."""
    found = comparable(value)
    return found if found is MISSING or found is UNKNOWABLE else float(found)


def comparable(value: Any) -> Any:
    """A number, or MISSING for what is none."""
    if isinstance(value, Sent):
        is_number = isinstance(value.value, (int, float)) and not isinstance(value.value, bool)
        return value.value if is_number else MISSING
    return value.value if isinstance(value, Calculated) else value


def as_text(value: Any) -> Any:
    if isinstance(value, Sent):
        return value.value if isinstance(value.value, str) else MISSING
    return value


def as_boolean(value: Any) -> Any:
    if isinstance(value, Sent):
        return value.value if isinstance(value.value, bool) else MISSING
    return value


def plain(value: Any) -> Any:
    """A value as it is counted and grouped: an attribute by its JSON text."""
    return json.dumps(value.value, separators=(",", ":")) if isinstance(value, Sent) else value


def meet(op: str, left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides as one type: an attribute becomes what it is compared with."""
    if isinstance(left, Sent) and isinstance(right, Sent) and op in {"==", "!="}:
        return plain(left), plain(right)
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Sent) and isinstance(other, bool):
            return as_boolean(left), as_boolean(right)
        if isinstance(one, Sent) and isinstance(other, str):
            return as_text(left), as_text(right)
    if isinstance(left, (Sent, Calculated)) or isinstance(right, (Sent, Calculated)):
        return comparable(left), comparable(right)
    return left, right
