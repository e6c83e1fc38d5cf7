"""A second, slow reading of docs/rules.md: judges rules over Python objects, one scope at a time.

Written from the document and independent of the compiler: of the package it knows the syntax tree only. Conditions are
sets of possible values, not pairs of SQL expressions.
"""

# ruff: noqa: C901, PLR0911  # one return a kind of node

from __future__ import annotations

import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dagster_project.rule_language import syntax as tree

# What a count can grow by when spans were lost. More than any number that the generated rules compare with.
LOST_AT_MOST = 40
NS = 1_000_000_000


@dataclass(frozen=True)
class Span:
    trace: int
    id: int
    parent: int | None
    name: str
    service: str | None
    version: str | None
    kind: str
    status: str
    start: int
    duration: int
    attributes: dict[str, Any] = field(hash=False)
    dropped: int = 0
    entity = "span"


@dataclass(frozen=True)
class Log:
    trace: int | None
    span: int | None
    service: str | None
    severity: int
    body: str | None
    start: int
    attributes: dict[str, Any] = field(hash=False)
    entity = "log"


@dataclass(frozen=True)
class Rule:
    """A rule as syntax trees; `let` is in order."""

    let: tuple[tuple[str, tree.Expression], ...] = ()
    when: tree.Expression | None = None
    always: tree.Expression | None = None
    never: tree.Expression | None = None
    detect: tree.Expression | None = None
    report: tuple[tuple[str, tree.Call], ...] = ()
    group_by: tuple[str, ...] = ()
    gap: int = 0


@dataclass(frozen=True)
class Verdict:
    key: str
    traces: tuple[int, ...]
    verdict: str
    first: int
    witness: tuple[tuple[int | None, int | None], ...]
    reported: str
    services: tuple[str, ...]


SEVERITIES = ["trace", "debug", "info", "warn", "error", "fatal"]
ENUMERATED = {"kind", "status", "severity"}
MISSING = object()
UNKNOWABLE = object()  # missing, and perhaps only because it was lost


class World:
    """Everything that was recorded, and what is seen to be lost of it."""

    def __init__(self, spans: list[Span], logs: list[Log]) -> None:
        self.spans, self.logs = spans, logs
        self.by_trace: dict[int, list[Span]] = defaultdict(list)
        for span in spans:
            self.by_trace[span.trace].append(span)

    def complete(self, trace: int | None) -> bool:
        spans = self.by_trace.get(trace or 0, [])
        ids = {span.id for span in spans}
        roots = sum(span.parent is None for span in spans)
        orphans = sum(span.parent is not None and span.parent not in ids for span in spans)
        return bool(spans) and roots == 1 and not orphans and not any(span.dropped for span in spans)

    def depth(self, span: Span) -> int | object:
        if not self.complete(span.trace):
            return UNKNOWABLE
        depth, here = 0, span
        while here.parent is not None:
            here = next(one for one in self.by_trace[span.trace] if one.id == here.parent)
            depth += 1
        return depth

    def children(self, span: Span) -> int | object:
        if not self.complete(span.trace):
            return UNKNOWABLE
        return sum(one.parent == span.id for one in self.by_trace[span.trace])


class Judge:
    """One rule over one world."""

    def __init__(self, rule: Rule, world: World) -> None:
        self.rule, self.world = rule, world
        self.let = dict(rule.let)

    # Values of one item.

    def value(self, node: tree.Expression, item: Span | Log, binding: str | None, left: bool = True) -> Any:
        if isinstance(node, tree.Value):
            if left and node.unit == "text":
                return self.attribute(item, str(node.value))
            return float(node.value) if node.unit == "number" else node.value  # type: ignore[arg-type]
        if isinstance(node, tree.Name):
            return self.named(item, node.word)
        if isinstance(node, tree.Path):
            if node.base == "attribute":
                return self.attribute(item, node.field_name)
            assert node.base == binding
            return self.named(item, node.field_name)
        assert isinstance(node, tree.Arithmetic)
        return self.calculated(node, item, binding)

    def named(self, item: Span | Log, word: str) -> Any:
        if item.entity == "span":
            known = {
                "name": lambda: item.name,
                "service": lambda: item.service,
                "version": lambda: item.version,
                "kind": lambda: item.kind,
                "status": lambda: item.status,
                "duration": lambda: item.duration,
                "start": lambda: item.start,
                "end": lambda: item.start + item.duration,
                "is_root": lambda: item.parent is None,
                "depth": lambda: self.world.depth(item),
                "children": lambda: self.world.children(item),
            }
        else:
            known = {
                "service": lambda: item.service,
                "severity": lambda: None if item.severity == 0 else SEVERITIES[(item.severity - 1) // 4],
                "body": lambda: item.body,
                "start": lambda: item.start,
                "end": lambda: item.start,
            }
        if word in known:
            found = known[word]()
            return MISSING if found is None else found
        return self.attribute(item, word)

    def attribute(self, item: Span | Log, key: str) -> Any:
        value = item.attributes.get(key)
        if value is not None:
            return Sent(value)
        return UNKNOWABLE if getattr(item, "dropped", 0) else MISSING

    def calculated(self, node: tree.Arithmetic, item: Span | Log, binding: str | None) -> Any:
        sides = [as_number(self.value(side, item, binding)) for side in (node.left, node.right)]
        for absent in (UNKNOWABLE, MISSING):
            if any(side is absent for side in sides):
                return absent
        left, right = sides
        if node.op == "/" and right == 0:
            return MISSING
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else 0.0}[node.op]
        return Calculated(result)

    # Conditions on one item: True, False, None (a fact that is not there), or UNKNOWABLE.

    def holds(self, node: tree.Expression, item: Span | Log, binding: str | None) -> Any:
        if isinstance(node, tree.Not):
            inner = self.holds(node.operand, item, binding)
            return inner if inner in (None, UNKNOWABLE) else not inner
        if isinstance(node, (tree.And, tree.Or)):
            decisive = isinstance(node, tree.Or)
            parts = [self.holds(operand, item, binding) for operand in node.operands]
            if decisive in [part for part in parts if isinstance(part, bool)]:
                return decisive
            if UNKNOWABLE in parts:
                return UNKNOWABLE
            return None if None in parts else not decisive
        if isinstance(node, tree.Compare):
            return self.compared(node, item, binding)
        if isinstance(node, tree.In):
            anyway = [self.compared(tree.Compare("==", node.subject, one), item, binding) for one in node.values.items]
            if True in anyway:
                return True
            return next((one for one in anyway if one is not False), False)
        if isinstance(node, tree.Matches):
            text = as_text(self.value(node.subject, item, binding))
            if text in (MISSING, UNKNOWABLE):
                return None if text is MISSING else UNKNOWABLE
            return re.search(str(node.pattern.value), text) is not None  # type: ignore[union-attr]
        if isinstance(node, tree.Presence):
            found = self.value(node.subject, item, binding)
            return found if found is UNKNOWABLE else (found is not MISSING) is node.present
        found = as_boolean(self.value(node, item, binding))
        return None if found is MISSING else found

    def compared(self, node: tree.Compare, item: Span | Log, binding: str | None) -> Any:
        left_enum = isinstance(node.left, tree.Name) and node.left.word in ENUMERATED
        left = self.value(node.left, item, binding)
        right = node.right.word if left_enum else self.value(node.right, item, binding, left=False)  # type: ignore[union-attr]
        left, right = meet(node.op, left, right)
        for absent, result in ((UNKNOWABLE, UNKNOWABLE), (MISSING, None)):
            if left is absent or right is absent:
                return result
        if left_enum and node.left.word == "severity":  # type: ignore[union-attr]
            left, right = SEVERITIES.index(left), SEVERITIES.index(right)
        return OPERATORS[node.op](left, right)

    # Sets of items.

    def members(self, node: tree.Expression, item: Span | Log) -> Any:
        """Whether the item belongs to a selector, a binding, or either with `where`."""
        if isinstance(node, tree.Name):
            return self.members(self.let[node.word], item)
        if isinstance(node, tree.Filtered):
            binding = node.items.word if isinstance(node.items, tree.Name) else None
            if self.entity(node) != item.entity:
                return False
            return both(self.members(node.items, item), self.holds(node.condition, item, binding))
        assert isinstance(node, tree.Selector)
        if node.entity != item.entity:
            return False
        result: Any = True
        if node.name is not None:
            pattern = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in node.name)
            result = re.fullmatch(pattern, item.name, re.DOTALL) is not None  # type: ignore[union-attr]
        for condition in node.conditions:
            result = both(result, self.holds(condition, item, None))
        return result

    def entity(self, node: tree.Expression) -> str:
        if isinstance(node, tree.Name):
            return self.entity(self.let[node.word])
        return self.entity(node.items) if isinstance(node, tree.Filtered) else node.entity  # type: ignore[union-attr]

    def selected(self, node: tree.Expression, item: Span | Log) -> bool:
        """Whether the selector at the bottom of a set matches, whatever `where` says."""
        if isinstance(node, tree.Name):
            return self.selected(self.let[node.word], item)
        return self.selected(node.items, item) if isinstance(node, tree.Filtered) else self.members(node, item) is True

    def kept(self, call: tree.Call, item: Span | Log) -> Any:
        inside = self.members(call.items, item)
        if call.condition is None:
            return inside
        if inside is False:
            return False
        binding = call.items.word if isinstance(call.items, tree.Name) else None
        return both(inside, self.holds(call.condition, item, binding))

    # Conditions on a scope: the set of values that they can have.

    def possible(self, node: tree.Expression, items: list[Any], lossy: bool) -> set[bool]:
        if isinstance(node, tree.Not):
            return {not value for value in self.possible(node.operand, items, lossy)}
        if isinstance(node, (tree.And, tree.Or)):
            parts = [self.possible(operand, items, lossy) for operand in node.operands]
            combine = all if isinstance(node, tree.And) else any
            return {combine(chosen) for chosen in itertools.product(*parts)}
        if isinstance(node, tree.Compare):
            return outcomes(node.op, self.quantity(node.left, items, lossy), self.quantity(node.right, items, lossy))
        assert isinstance(node, tree.Call)
        loses = lossy and self.entity(node.items) == "span"
        if node.function == "all":
            if self.counterexamples(node, items):
                return {False}
            return {True, False} if loses else {True}
        found = any(self.kept(node, item) is True for item in items)
        result = {True} if found else {True, False} if loses else {False}
        return result if node.function == "any" else {not value for value in result}

    def counterexamples(self, node: tree.Call, items: list[Any]) -> list[Any]:
        """Items of the set that are surely not kept; what is unknown where something was lost is not sure."""
        return [
            item
            for item in items
            if self.members(node.items, item) is True
            and ((kept := self.kept(node, item)) is False or (kept is None and not self.hides(node, item)))
        ]

    def hides(self, node: tree.Call, item: Span | Log) -> bool:
        """Whether an unknown of this item may come from a loss: of attributes that it reads, or of its shape."""
        if item.entity == "log":
            return False
        words = self.words(node)
        shape = bool(words & {"depth", "children"}) and not self.world.complete(item.trace)
        return shape or (item.dropped > 0 and bool(words - SPAN_INTRINSICS))

    def words(self, node: Any) -> set[str]:
        """Every field that a set's conditions read."""
        if isinstance(node, tree.Call):
            return self.words(node.items) | (self.words(node.condition) if node.condition else set())
        if isinstance(node, tree.Name):
            return self.words(self.let[node.word]) if node.word in self.let else {node.word}
        if isinstance(node, tree.Path):
            return {f"attribute.{node.field_name}"}
        if isinstance(node, tree.Value):
            return set()
        if isinstance(node, tree.Compare) and isinstance(node.left, tree.Value) and node.left.unit == "text":
            return {"attribute"} | self.words(node.right)
        if isinstance(node, tree.Compare) and isinstance(node.left, tree.Name) and node.left.word in ENUMERATED:
            return {node.left.word}
        children = [
            getattr(node, name)
            for name in ("operand", "left", "right", "subject", "items", "condition")
            if hasattr(node, name)
        ]
        children += [*getattr(node, "operands", ()), *getattr(node, "conditions", ())]
        return set().union(*(self.words(child) for child in children))

    def quantity(self, node: tree.Expression, items: list[Any], lossy: bool) -> tuple[float, float]:
        """The least and the greatest value."""
        if isinstance(node, tree.Value):
            return float(node.value), float(node.value)  # type: ignore[arg-type]
        if isinstance(node, tree.Arithmetic):
            sides = itertools.product(self.quantity(node.left, items, lossy), self.quantity(node.right, items, lossy))
            operate = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__, "/": float.__truediv__}[node.op]
            corners = [operate(left, right) for left, right in sides]
            return min(corners), max(corners)
        assert isinstance(node, tree.Call)
        kept = [item for item in items if self.kept(node, item) is True]
        low = len(kept) if node.function == "count" else len(self.values(node, kept))
        loses = lossy and self.entity(node.items) == "span"
        return float(low), float(low + LOST_AT_MOST if loses else low)

    def values(self, node: tree.Call, items: list[Any]) -> list[Any]:
        """Different values of a field, in order of their first item."""
        found: list[Any] = []
        for item in ordered(items):
            value = plain(self.named(item, str(node.field_name)))
            if value not in (MISSING, UNKNOWABLE) and value not in found:
                found.append(value)
        return found

    # Witness.

    def witness(self, node: tree.Expression, wanted: bool, items: list[Any], lossy: bool) -> list[Any]:
        if isinstance(node, tree.Not):
            return self.witness(node.operand, not wanted, items, lossy)
        if isinstance(node, (tree.And, tree.Or)):
            if isinstance(node, tree.And) is wanted:
                return [item for operand in node.operands for item in self.witness(operand, wanted, items, lossy)]
            for operand in node.operands:
                if self.possible(operand, items, lossy) == {wanted}:
                    return self.witness(operand, wanted, items, lossy)
            return []
        if isinstance(node, tree.Call):
            if node.function == "all":
                return [] if wanted else ordered(self.counterexamples(node, items))[:1]
            kept = ordered([item for item in items if self.kept(node, item) is True])
            return kept[:1] if (node.function == "any") is wanted else []
        assert isinstance(node, tree.Compare)
        op = node.op if wanted else OPPOSITE[node.op]
        return self.witness_of_counts(tree.Compare(op, node.left, node.right), items, lossy)

    def witness_of_counts(self, node: tree.Compare, items: list[Any], lossy: bool) -> list[Any]:
        calls = [part for side in (node.left, node.right) for part in counts_in(side)]
        kept = {call: ordered([item for item in items if self.kept(call, item) is True]) for call in calls}
        op, other = node.op, node.right
        if isinstance(node.left, tree.Value):
            op, other = MIRRORED[op], node.left
        if not isinstance(other, tree.Value) or not {type(node.left), type(node.right)} >= {tree.Call}:
            return [item for call in dict.fromkeys(calls) for item in kept[call][:1]]
        call, bound = calls[0], float(other.value)  # type: ignore[arg-type]
        needed = 0
        if not OPERATORS[op](0, bound):
            needed = {">": math.floor(bound) + 1, ">=": math.ceil(bound), "==": math.ceil(bound)}.get(op, 0)
        if call.function == "distinct":
            field_name = str(call.field_name)
            firsts = [
                next(item for item in kept[call] if plain(self.named(item, field_name)) == value)
                for value in self.values(call, kept[call])[:2]
            ]
            if op == "!=" or needed >= 2:
                return firsts if len(firsts) == 2 else []
            return firsts[:1] if needed == 1 else []
        if op == "!=":
            return kept[call][: math.floor(bound) + 1] if len(kept[call]) > bound else []
        return kept[call][:needed]

    # Scopes.

    def scopes(self) -> Iterable[tuple[str, tuple[int, ...], list[Any], bool, int]]:
        """Key, traces, items, whether something was lost, start."""
        return self.groups() if self.rule.group_by else self.traces()

    def sets(self) -> list[tree.Expression]:
        """Every set that a term of the rule looks at."""
        found: list[tree.Expression] = []
        stack: list[Any] = [self.rule.when, self.rule.always, self.rule.never, self.rule.detect]
        stack += [call for _name, call in self.rule.report]
        while stack:
            node = stack.pop()
            if isinstance(node, tree.Call):
                found.append(node)
            elif isinstance(node, tree.Not):
                stack.append(node.operand)
            elif isinstance(node, (tree.And, tree.Or)):
                stack.extend(node.operands)
            elif isinstance(node, (tree.Compare, tree.Arithmetic)):
                stack.extend((node.left, node.right))
        return found

    def looked_at(self, item: Span | Log) -> bool:
        for call in self.sets():
            assert isinstance(call, tree.Call)
            whole = call.function == "all"
            if (self.members(call.items, item) if whole else self.kept(call, item)) is True:
                return True
        return False

    def traces(self) -> Iterable[tuple[str, tuple[int, ...], list[Any], bool, int]]:
        logs_of: dict[int, list[Log]] = defaultdict(list)
        for log in self.world.logs:
            if log.trace is not None and self.looked_at(log):
                logs_of[log.trace].append(log)
        for trace in sorted({*self.world.by_trace, *logs_of}):
            spans = self.world.by_trace.get(trace, [])
            items: list[Any] = [span for span in spans if self.looked_at(span)] + logs_of[trace]
            first = min((item.start for item in items), default=min((span.start for span in spans), default=0))
            yield str(trace), (trace,), items, not self.world.complete(trace), first

    def keys(self, item: Span | Log) -> tuple[str, ...] | None:
        values = [plain(self.named(item, key)) for key in self.rule.group_by]
        if any(value in (MISSING, UNKNOWABLE) for value in values):
            return None
        return tuple(
            value if isinstance(value, str) and key not in NAMED_KEYS else json.dumps(value)
            for key, value in zip(self.rule.group_by, values, strict=True)
        )

    def groups(self) -> Iterable[tuple[str, tuple[int, ...], list[Any], bool, int]]:
        calls = [call for call in self.sets() if isinstance(call, tree.Call)]
        loses = any(self.entity(call.items) == "span" for call in calls)
        by_key: dict[tuple[str, ...], list[Any]] = defaultdict(list)
        for item in [*self.world.spans, *self.world.logs]:
            key = self.keys(item) if any(self.selected(call.items, item) for call in calls) else None
            if key is not None:
                by_key[key].append(item)
        lost: dict[tuple[tuple[str, ...], int], list[Span]] = defaultdict(list)
        for span in self.world.spans:
            key = self.keys(span)
            if loses and key is not None and not self.world.complete(span.trace):
                lost[key, span.trace] = self.world.by_trace[span.trace]
        formed = [(key, group) for key, items in sorted(by_key.items()) for group in split(items, self.rule.gap)]
        alone = dict(lost)
        for key, group in formed:
            starts = [item.start for item in group]
            touching = [
                one for one in lost if one[0] == key and near(lost[one], min(starts), max(starts), self.rule.gap)
            ]
            for one in touching:
                alone.pop(one, None)
            traces = tuple(sorted({item.trace for item in group if item.trace is not None}))
            yield shown(key), traces, group, bool(touching), min(starts)
        for (key, trace), spans in alone.items():
            yield shown(key), (trace,), [], True, min(span.start for span in spans)

    def verdicts(self) -> list[Verdict]:
        return [verdict for scope in self.scopes() if (verdict := self.judged(*scope)) is not None]

    def judged(self, key: str, traces: tuple[int, ...], items: list[Any], lossy: bool, first: int) -> Verdict | None:
        rule = self.rule
        when = self.possible(rule.when, items, lossy) if rule.when else {True}
        bad_node = rule.detect or bad(rule.always, rule.never)
        if True not in when:
            return None
        can_be_bad = self.possible(bad_node, items, lossy)
        verdict = "inconclusive"
        if when == {True} and len(can_be_bad) == 1:
            verdict = "violated" if can_be_bad == {True} else "satisfied"
        witness: list[Any] = []
        if verdict == "violated":
            witness = self.witness(bad_node, True, items, lossy)
            if not witness and rule.when:
                witness = self.witness(rule.when, True, items, lossy)
        spans = tuple(dict.fromkeys((item.trace, id_of(item)) for item in ordered(witness)))
        services = () if verdict == "satisfied" else tuple(sorted({item.service for item in items if item.service}))
        reported = "{}" if verdict == "satisfied" else self.reported(items)
        return Verdict(key, traces, verdict, first, spans, reported, services)

    def reported(self, items: list[Any]) -> str:
        values: dict[str, Any] = {}
        skipped: dict[str, int] = {}
        for name, call in self.rule.report:
            kept = ordered([item for item in items if self.kept(call, item) is True])
            if call.function == "count":
                values[name] = len(kept)
                continue
            if call.function == "distinct":
                values[name] = len(self.values(call, kept))
                continue
            found = [self.named(item, str(call.field_name)) for item in kept]
            if call.function == "sum":
                numbers = [number for one in found if (number := as_number(one)) not in (MISSING, UNKNOWABLE)]
                values[name] = float(sum(numbers)) if numbers else None
                skipped[name] = len(found) - len(numbers)
            else:
                present = [plain(one) for one in found if one not in (MISSING, UNKNOWABLE)]
                values[name] = (
                    json.loads(present[0])
                    if present and call.field_name not in NAMED_KEYS
                    else present[0]
                    if present
                    else None
                )
        if skipped:
            values["nulls_skipped"] = skipped
        return json.dumps(values, sort_keys=True)


@dataclass(frozen=True)
class Sent:
    """An attribute as it was sent: of any type."""

    value: Any


@dataclass(frozen=True)
class Calculated:
    value: float


SPAN_INTRINSICS = frozenset(
    {"name", "service", "version", "kind", "status", "duration", "start", "end", "is_root", "depth", "children"}
)
NAMED_KEYS = {"service", "name", "version", "duration", "status", "kind", "body", "severity"}
OPERATORS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def both(left: Any, right: Any) -> Any:
    if left is False or right is False:
        return False
    if UNKNOWABLE in (left, right):
        return UNKNOWABLE
    return None if None in (left, right) else True


def bad(always: tree.Expression | None, never: tree.Expression | None) -> tree.Expression:
    parts: list[tree.Expression] = [tree.Not(always)] if always else []
    parts += [never] if never else []
    return parts[0] if len(parts) == 1 else tree.Or(tuple(parts))


def as_number(value: Any) -> Any:
    if isinstance(value, Sent):
        return (
            float(value.value)
            if isinstance(value.value, (int, float)) and not isinstance(value.value, bool)
            else MISSING
        )
    if isinstance(value, Calculated):
        return value.value
    return value if value in (MISSING, UNKNOWABLE) else float(value)


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
    if isinstance(left, Calculated) or isinstance(right, Calculated):
        return as_number(left), as_number(right)
    if isinstance(left, Sent) and isinstance(right, Sent):
        return (plain(left), plain(right)) if op in {"==", "!="} else (as_number(left), as_number(right))
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Sent) and isinstance(other, bool):
            return as_boolean(left), as_boolean(right)
        if isinstance(one, Sent) and isinstance(other, str):
            return as_text(left), as_text(right)
        if isinstance(one, Sent) and isinstance(other, float):
            return as_number(left), as_number(right)
    if op not in {"==", "!="}:
        return (as_number(left) if isinstance(left, Sent) else left), (
            as_number(right) if isinstance(right, Sent) else right
        )
    return left, right


def id_of(item: Span | Log) -> int | None:
    return item.id if isinstance(item, Span) else item.span


def outcomes(op: str, left: tuple[float, float], right: tuple[float, float]) -> set[bool]:
    """What a comparison can give over two ranges of numbers: the corners tell, and whether the ranges meet."""
    found = {OPERATORS[op](one, other) for one, other in itertools.product(left, right)}
    if op in {"==", "!="}:
        meet_somewhere = max(left[0], right[0]) <= min(left[1], right[1])
        single = left[0] == left[1] == right[0] == right[1]
        equal = ({True} if meet_somewhere else set()) | (set() if single else {False})
        found = equal if op == "==" else {not one for one in equal}
    return found


def ordered(items: list[Any]) -> list[Any]:
    """By start, trace, span; what has no trace or span comes last."""

    def key(item: Any) -> Any:
        trace, span = item.trace, id_of(item)
        return item.start, trace is None, trace or 0, span is None, span or 0

    return sorted(items, key=key)


def split(items: list[Any], gap: int) -> list[list[Any]]:
    groups: list[list[Any]] = []
    for item in sorted(items, key=lambda one: one.start):
        if groups and item.start - groups[-1][-1].start <= gap:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def near(spans: list[Span], first: int, last: int, gap: int) -> bool:
    starts, ends = min(span.start for span in spans), max(span.start + span.duration for span in spans)
    return starts - gap <= last and ends + gap >= first


def shown(key: tuple[str, ...]) -> str:
    return key[0] if len(key) == 1 else f"[{','.join(key)}]"


def counts_in(node: tree.Expression) -> list[tree.Call]:
    if isinstance(node, tree.Call):
        return [node]
    return counts_in(node.left) + counts_in(node.right) if isinstance(node, tree.Arithmetic) else []
