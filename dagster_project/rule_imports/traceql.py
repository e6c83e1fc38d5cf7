"""TraceQL's spanset queries as drafts: selectors, structure and aggregates, with TraceQL's own reading of nil.

A query says what to find, so a trace that it finds is a violation. Metrics and groups within a trace are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from lark import Lark

from dagster_project.rule_imports.example_traces import traces_for
from dagster_project.rule_imports.grammars import parsed, place
from dagster_project.rule_imports.imported import Assumptions, Decisions, Draft, Imported, Note, Refusal
from dagster_project.rule_imports.regex_samples import sample
from dagster_project.rule_imports.source_text import Query, line_of, queries, slug
from dagster_project.rule_language.text.operators import OPPOSITE
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_language.writing.expression_text import (
    ABSENT,
    ALWAYS,
    AllOf,
    AnyItem,
    CountOf,
    Example,
    ItemCondition,
    Items,
    Joined,
    Said,
    Scalar,
    ScopeCondition,
    Test,
    all_of,
    any_of,
    attribute,
    denied,
    duration,
    is_own_word,
    key,
    literal,
    number_of,
    resource,
    scope_text,
    text_literal,
)

FINDS: Final = "a query says what to find; every trace that it finds is a violation"
NIL: Final = (
    "a comparison with an attribute that a span does not have is false, and `!` of it is true, as in Tempo's engine"
)
ARRAYS: Final = "an attribute that holds a list is compared as a whole; Tempo looks at each element"
MIXED: Final = "`&&` and `||` without brackets are read from left to right, as Tempo's grammar has them"
ANCHORED: Final = "`=~` and `!~` match the whole value, as in Tempo"
UNSCOPED: Final = "`{name}` without a scope is the span's attribute, and the resource's when the span has none"
NOTHING_LEFT: Final = "a negated relation holds for every span on its right when nothing matches on its left"
SHOWN: Final = "`select(...)` only chooses columns to show and is left out"
HINTS: Final = "hints in `with (...)` steer Tempo's search and are left out: every match is found here"
EMPTY: Final = "an aggregate is asked only of traces in which the selector finds a span, as in Tempo"

_INTRINSICS: Final = {
    "name": "name",
    "span:name": "name",
    "duration": "duration",
    "span:duration": "duration",
    "status": "status",
    "span:status": "status",
    "kind": "kind",
    "span:kind": "kind",
    "childCount": "children",
    "span:childCount": "children",
    "rootName": "root.name",
    "trace:rootName": "root.name",
    "rootServiceName": "root.service",
    "trace:rootService": "root.service",
    "trace:rootServiceName": "root.service",
    "instrumentation:name": "scope.name",
    "instrumentation:version": "scope.version",
}
_NUMBERS: Final = frozenset({"children"})
_WORDS: Final = {
    "status": ("ok", "error", "unset"),
    "kind": ("unspecified", "internal", "server", "client", "producer", "consumer"),
}


def recognises(text: str) -> bool:
    """Whether the text looks like TraceQL: a selector in braces, or an aggregate alone."""
    plain = re.sub(r"(?m)^\s*(?://|#).*$", "", text).strip()
    return re.match(r"\(*\s*\{|(count|avg|min|max|sum)\s*\(", plain) is not None


def read(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """Every query of the text; queries stand between blank lines."""
    found = queries(text)
    for at, query in enumerate(found):
        identity = slug(query.title) if query.title else slug(name) if len(found) == 1 else f"{slug(name)}-{at + 1}"
        assumed = Assumptions()
        try:
            condition = _Reader(query, assumed).query()
        except Refusal as refusal:
            note = Note(refusal.line or query.line, f"{refusal.message}{f' ({refusal.hint})' if refusal.hint else ''}")
            yield Imported(identity, query.line, refused=(note,))
            continue
        assumed.add(query.line, FINDS)
        draft = Draft(
            id=identity,
            title=query.title or identity,
            line=query.line,
            expressions={"detect": scope_text(condition)},
            group_by=decisions.group_by,
            gap_ns=decisions.gap_ns,
            assumed=assumed.notes,
            tests=traces_for(condition, keys=decisions.group_by),
        )
        yield Imported(identity, query.line, draft)


@lru_cache(maxsize=1)
def _lark() -> Lark:
    grammar = Path(__file__).with_name("traceql.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start="query", propagate_positions=True, maybe_placeholders=True)


@dataclass(frozen=True)
class _Found:
    """What a spanset expression finds: whether anything, and the set itself when it is one set."""

    condition: ScopeCondition
    items: Items | None = None
    text: str | None = None
    is_structural: bool = False
    of_trace: tuple[Said, ...] = ()


@dataclass(frozen=True)
class _Value:
    """A side of a comparison. `present` says that it is not null; `example` names the field for test traces."""

    text: str
    type: str
    present: str = ""
    example: str = ""
    constant: Scalar | None = None
    fallback: _Value | None = None


@dataclass
class _Reader:
    """One query → a condition on a trace."""

    source: Query
    assumed: Assumptions
    of_trace: list[Said] = field(default_factory=list)
    entity: str = "span"

    def refuse(self, node: Any, message: str, hint: str = "") -> Refusal:
        start, _ = place(node)
        return Refusal(message, self.source.line + line_of(self.source.text, start) - 1, hint)

    def assume(self, text: str) -> None:
        self.assumed.add(self.source.line, text)

    # --- the pipeline ---

    def query(self) -> ScopeCondition:
        return self._pipeline(parsed(_lark(), self.source.text, "TraceQL", self.source.line)).condition

    def _pipeline(self, tree: Any) -> _Found:
        *stages, hints = tree.children
        if hints is not None:
            self.assume(HINTS)
        found: _Found | None = None
        for stage in stages:
            found = self._stage(stage, found)
        if found is None:
            raise self.refuse(tree, "the query selects nothing")
        return found

    def _stage(self, stage: Any, before: _Found | None) -> _Found:
        kind = str(stage.data)
        if kind == "metric":
            raise self.refuse(stage, f"`{stage.children[0]}(...)` makes a metric over time, not a set of traces")
        if kind == "grouped":
            raise self.refuse(
                stage, "`by(...)` groups the spans of one trace; a rule judges a trace or a group as a whole"
            )
        if kind == "selected":
            self.assume(SHOWN)
        if kind in {"selected", "coalesced"}:
            return before or self._all()
        if kind == "measured":
            return self._measured(stage, before or self._all())
        found = self._spansets(stage)
        return found if before is None else self._filtered(stage, before, found)

    def _all(self) -> _Found:
        return _Found(AnyItem(Items()), Items(), "span()")

    def _filtered(self, stage: Any, before: _Found, found: _Found) -> _Found:
        """`{a} | {b}`: the spans of the first that also match the second."""
        if before.items is None or found.items is None:
            raise self.refuse(stage, "a filter after structure or a combination of spansets cannot be carried over")
        both = _plain(Items("span", None, all_of([_whole(before.items), _whole(found.items)])))
        return self._found(both, before.of_trace + found.of_trace)

    def _measured(self, stage: Any, found: _Found) -> _Found:
        aggregate, operator, value = stage.children
        if found.text is None:
            raise self.refuse(stage, "an aggregate over several spansets together has no counterpart")
        function, subject = aggregate.children
        op = "==" if str(operator) == "=" else str(operator)
        if op in {"=~", "!~"}:
            raise self.refuse(stage, f"`{op}` does not compare numbers")
        number = self._constant(value)
        inner = found.items.narrowed if found.items is not None else found.text
        if str(function) == "count":
            if isinstance(number.constant, str) or number.type != "number":
                raise self.refuse(stage, "count() is compared with a number")
            return self._counted(found, inner, op, Decimal(str(number.constant)))
        measure = self._measure(subject, number, stage)
        text = f"{function}({self._of(found)}.{measure}) {op} {number.text}"
        self.assume(EMPTY)
        name = "duration" if measure == "duration" else self._value(subject).example
        there = f"any({found.items.narrowed if found.items is not None else found.text}) and {text}"
        said = Said(there, *_measuring(found.items, name, op, number), is_joined=True)
        return replace(found, condition=_and(*found.of_trace, said), text=None, items=None)

    def _counted(self, found: _Found, inner: str, op: str, number: Decimal) -> _Found:
        count: ScopeCondition = Said(f"count({inner}) {op} {number:f}")
        if found.items is not None:
            count = CountOf(found.items, op, number)
        needs_one = op in {"<", "<=", "!="} or (op in {"==", ">="} and number <= 0) or (op == ">" and number < 0)
        if needs_one:
            self.assume(EMPTY)
        # What the selector asks of the trace stays beside the count.
        parts = [*found.of_trace, *([found.condition] if needs_one else []), count]
        return replace(found, condition=_and(*parts), text=None, items=None)

    def _of(self, found: _Found) -> str:
        return f"({found.text})" if found.is_structural else str(found.text)

    def _measure(self, subject: Any, number: _Value, stage: Any) -> str:
        if subject is None:
            raise self.refuse(stage, "the aggregate names no field")
        measured = self._value(subject)
        if measured.text == "duration":
            if number.type != "duration":
                raise self.refuse(stage, "a duration is compared with a duration, such as 20ms")
            return "duration"
        if not measured.example.startswith("attribute.") or measured.fallback is not None:
            raise self.refuse(stage, "only durations and attributes of spans are aggregated here")
        name = measured.example.removeprefix("attribute.")
        if is_own_word(name):
            raise self.refuse(
                stage, f"`{name}` is a field of spans here, so an attribute of that name cannot be aggregated"
            )
        if number.type != "number":
            raise self.refuse(stage, "an attribute is compared with a number here")
        return key(name)

    # --- spansets ---

    def _spansets(self, node: Any) -> _Found:
        kind = str(node.data)
        if kind == "selector":
            return self._selector(node)
        if kind == "bracketed":
            return self._pipeline(node.children[0])
        if kind == "logical":
            return self._logical(node)
        return self._structural(node)

    def _logical(self, node: Any) -> _Found:
        found = self._spansets(node.children[0])
        words = {str(word) for word in node.children[1::2]}
        if len(words) > 1:
            self.assume(MIXED)
        for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
            other = self._spansets(operand)
            if str(operator) == "&&":
                found = _Found(_and(found.condition, other.condition))
            elif found.items is not None and other.items is not None and not found.of_trace + other.of_trace:
                either = any_of([_whole(found.items), _whole(other.items)])
                found = self._found(Items("span", None, either), ())
            else:
                found = _Found(Joined("or", (found.condition, other.condition)))
        return found

    def _structural(self, node: Any) -> _Found:
        found = self._spansets(node.children[0])
        for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
            found = self._related(found, str(operator), self._spansets(operand), node)
        return found

    def _related(self, left: _Found, op: str, right: _Found, node: Any) -> _Found:
        for side in (left, right):
            if side.of_trace:
                raise self.refuse(node, "trace:duration beside structure cannot be carried over")
            if side.text is None or (side.items is not None and side.items.entity != "span"):
                raise self.refuse(
                    node, f"`{op}` between combinations of spansets, counts or events cannot be carried over"
                )
        if op.startswith("!"):
            self.assume(NOTHING_LEFT)
        plain = op.removeprefix("&")
        text = f"{left.text} {plain} {f'({right.text})' if right.is_structural else right.text}"
        examples = _examples(left.items, plain, right.items)
        # Both sides are shown by `&>>`; what exists is the same, but a count after it is not.
        is_union = op.startswith("&")
        return _Found(Said(f"any({text})", *examples), None, None if is_union else text, is_structural=True)

    def _selector(self, node: Any) -> _Found:
        inner = node.children[0]
        if inner is None:
            return self._all()
        self.of_trace, self.entity = [], "span"
        parts = self._conjuncts(inner)
        scopes = {scope for part in parts for scope in self._scopes(part)}
        if scopes & {"event", "link"}:
            return self._of_events(node, parts, scopes)
        conditions = [self._condition(part) for part in parts if not self._trace_duration(part)]
        return self._found(_plain(Items("span", None, all_of(conditions))), tuple(self.of_trace))

    def _found(self, items: Items, of_trace: tuple[Said, ...]) -> _Found:
        condition = _and(*of_trace, AnyItem(items))
        return _Found(condition, items, items.text, of_trace=of_trace)

    def _of_events(self, node: Any, parts: list[Any], scopes: set[str]) -> _Found:
        """`{ event.x = ... }` becomes a set of events; beside conditions on the span it would need both at once."""
        if len(parts) != 1 or len(scopes) != 1:
            raise self.refuse(
                node, "conditions on an event or a link beside others of the same selector need both at once"
            )
        self.entity = scopes.pop()
        condition = self._condition(parts[0])
        if isinstance(condition, Test) and condition.text.startswith(("missing(", "(missing(", "not (")):
            raise self.refuse(node, "a denial over the events of a span cannot be carried over")
        return self._found(Items(self.entity, None, condition), ())

    def _conjuncts(self, node: Any) -> list[Any]:
        if str(node.data) == "field_logical" and all(str(word) == "&&" for word in node.children[1::2]):
            return [part for child in node.children[0::2] for part in self._conjuncts(child)]
        return [node]

    def _scopes(self, node: Any) -> set[str]:
        tokens = [str(token) for token in node.scan_values(lambda _token: True)]
        return {match.group(1) for token in tokens if (match := re.match(r"(event|link)[.:]", token))}

    def _trace_duration(self, node: Any) -> bool:
        """`trace:duration > 5s` is a condition on the trace, not on a span; only as a conjunct of its own."""
        if str(node.data) != "compared" or not _is_trace_duration(node.children[0]):
            return False
        value = self._constant(node.children[2])
        op = "==" if str(node.children[1]) == "=" else str(node.children[1])
        if value.type != "duration" or op in {"=~", "!~"}:
            raise self.refuse(node, "trace:duration is compared with a duration, such as 5s")
        self.of_trace.append(Said(f"max(span().end) - min(span().start) {op} {value.text}", *_lasting(op, value)))
        return True

    # --- conditions on one span ---

    def _condition(self, node: Any) -> ItemCondition:
        kind = str(node.data)
        if kind == "field_logical":
            return self._field_logical(node)
        if kind == "denied":
            self.assume(NIL)
            return denied(self._condition(node.children[0]))
        if kind == "compared":
            return self._compared(node)
        if kind == "word" and str(node.children[0]) == "true":
            return ALWAYS
        if kind == "attribute":
            return self._test(self._value(node), "==", _Value("true", "boolean", constant=True), node)
        raise self.refuse(node, "this is a value, not a condition")

    def _field_logical(self, node: Any) -> ItemCondition:
        condition = self._condition(node.children[0])
        if len({str(word) for word in node.children[1::2]}) > 1:
            self.assume(MIXED)
        for operator, operand in zip(node.children[1::2], node.children[2::2], strict=True):
            join = all_of if str(operator) == "&&" else any_of
            condition = join([condition, self._condition(operand)])
        return condition

    def _compared(self, node: Any) -> ItemCondition:
        left, operator, right = node.children
        root = self._is_root(left, str(operator), right)
        if root is not None:
            return root
        for side, other in ((left, right), (right, left)):
            if str(side.data) == "word" and str(side.children[0]) == "nil":
                return self._nil(self._value(other), str(operator), node)
        one, two = self._value(left), self._value(right)
        if one.constant is not None and two.constant is None and str(operator) not in {"=~", "!~"}:
            turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
            return self._test(two, turned.get(str(operator), str(operator)), one, node)
        return self._test(one, str(operator), two, node)

    def _is_root(self, left: Any, operator: str, right: Any) -> ItemCondition | None:
        """`nestedSetParent < 0` is how Tempo's queries ask for the root span."""
        if str(left.data) != "word" or str(left.children[0]) not in {"nestedSetParent", "span:nestedSetParent"}:
            return None
        bound = self._constant(right).text
        if (operator, bound) not in {("<", "0"), ("=", "-1")}:
            raise self.refuse(left, "of nestedSetParent only `< 0`, the root, is known")
        return Test("is_root", "not is_root", {}, None)

    def _nil(self, value: _Value, operator: str, node: Any) -> ItemCondition:
        if operator not in {"=", "!="}:
            raise self.refuse(node, f"`{operator} nil` is never true")
        if not value.present:
            raise self.refuse(node, "only attributes can be nil")
        present, missing = value.present, value.present.replace("exists(", "missing(", 1)
        if value.fallback is not None:
            other = value.fallback.present
            missing = f"({missing} and {other.replace('exists(', 'missing(', 1)})"
            present = f"({present} or {other})"
        there: Example = {value.example: "x"} if value.example else {}
        test = Test(missing, present, {value.example: ABSENT} if value.example else {}, there)
        return test if operator == "=" else denied(test)

    def _test(self, left: _Value, operator: str, right: _Value, node: Any) -> ItemCondition:
        op = "==" if operator == "=" else operator
        if left.fallback is not None:
            first = self._test(replace(left, fallback=None), operator, right, node)
            second = self._test(left.fallback, operator, right, node)
            absent = Test(left.present.replace("exists(", "missing(", 1), left.present, {left.example: ABSENT}, {})
            return any_of([first, all_of([absent, second])])
        if op in {"=~", "!~"}:
            return self._matched(left, op, right, node)
        self._comparable(left, op, right, node)
        if left.present and right.constant is not None and op in {"==", "!="}:
            self.assume(ARRAYS)
        text = f"{left.text} {op} {right.text}"
        missing = [side.present.replace("exists(", "missing(", 1) for side in (left, right) if side.present]
        opposite = f"{left.text} {OPPOSITE[op]} {right.text}"
        deny_text = f"({' or '.join([*missing, opposite])})" if missing else opposite
        return Test(text, deny_text, _example(left, op, right), _example(left, OPPOSITE[op], right))

    def _comparable(self, left: _Value, op: str, right: _Value, node: Any) -> None:
        ordered = op in {"<", "<=", ">", ">="}
        if ordered and "text" in {left.type, right.type}:
            raise self.refuse(node, "texts have no order here")
        for one, other in ((left, right), (right, left)):
            words = _WORDS.get(one.type)
            if words is not None and (other.type != "word" or other.text not in words):
                raise self.refuse(node, f"{one.text} is one of {', '.join(words)}")
        if left.type == "any" and right.type == "word":
            raise self.refuse(node, f"`{right.text}` is neither a value nor a field", "texts are quoted")
        known = {left.type, right.type} - {"any", "word", *_WORDS}
        if len(known) > 1 or (left.type == "any" and right.type == "duration"):
            raise self.refuse(node, f"compares {left.type} with {right.type}", "a number times 1ms is a duration here")

    def _matched(self, left: _Value, op: str, right: _Value, node: Any) -> ItemCondition:
        if not isinstance(right.constant, str):
            raise self.refuse(node, "a pattern is a text")
        if left.type not in {"any", "text"}:
            raise self.refuse(node, f"`{op}` compares texts")
        self.assume(ANCHORED)
        pattern = text_literal(f"^(?:{right.constant})$")
        matches, differs = f"{left.text} matches {pattern}", f"not ({left.text} matches {pattern})"
        missing = left.present.replace("exists(", "missing(", 1)
        known = sample(right.constant)
        good = {left.example: known} if left.example and known is not None else None
        bad = {left.example: "quite another"} if left.example else None
        if op == "=~":
            return Test(matches, f"({missing} or {differs})" if missing else differs, good, bad)
        return Test(differs, f"({missing} or {matches})" if missing else matches, bad, good)

    # --- values ---

    def _constant(self, node: Any) -> _Value:
        value = self._value(node)
        if value.constant is None:
            raise self.refuse(node, "a value is expected here")
        return value

    def _value(self, node: Any) -> _Value:
        read: dict[str, Callable[[Any], _Value]] = {
            "number": lambda tree: _number(number_of(str(tree.children[0]))),
            "duration": lambda tree: _duration(parse_duration(str(tree.children[0]))),
            "text": lambda tree: _text(re.sub(r"\\([\"\\])", r"\1", str(tree.children[0])[1:-1])),
            "raw": lambda tree: _text(str(tree.children[0])[1:-1]),
            "word": self._word,
            "attribute": self._attribute,
            "arithmetic": self._arithmetic,
            "minus": self._minus,
        }
        kind = str(node.data)
        if kind not in read:
            raise self.refuse(node, "a value is expected here, not a condition")
        try:
            return read[kind](node)
        except ValueError as error:
            raise self.refuse(node, str(error)) from None

    def _minus(self, node: Any) -> _Value:
        value = self._value(node.children[0])
        if isinstance(value.constant, Decimal):
            return _number(-value.constant)
        raise self.refuse(node, "only a number can be negative here")

    def _word(self, node: Any) -> _Value:
        word = str(node.children[0])
        if word in {"true", "false"}:
            return _Value(word, "boolean", constant=word == "true")
        if word in {"minInt", "maxInt"}:
            return _number(Decimal(-(2**63) if word == "minInt" else 2**63 - 1))
        if word in {"event:name", "link:traceID"}:
            return _Value("name" if word == "event:name" else "linked_trace_id", "text", example="name")
        name = _INTRINSICS.get(word)
        if name is not None:
            return _intrinsic(name)
        if any(word in words for words in _WORDS.values()):
            return _Value(word, "word", constant=word)
        raise self.refuse(node, f"`{word}` has no counterpart here")

    def _attribute(self, node: Any) -> _Value:
        written = str(node.children[0])
        of_parent = written.startswith("parent.")
        scope, _, rest = written.removeprefix("parent.").partition(".") if of_parent else written.partition(".")
        if of_parent and scope in {"name", "duration", "status", "kind"} and not rest:
            return replace(_intrinsic(scope), text=f"parent.{scope}", example="", present=f"exists(parent.{scope})")
        name = re.sub(r'"((?:\\.|[^"\\])*)"', lambda part: re.sub(r"\\(.)", r"\1", part.group(1)), rest)
        if of_parent:
            if scope != "span":
                raise self.refuse(
                    node, f"`{written}`: of a parent only `parent.span.x` and its own fields are carried over"
                )
            text = f"parent.{key(name)}"
            return _Value(text, "any", f"exists({text})")
        return self._scoped(scope, name, written, node)

    def _scoped(self, scope: str, name: str, written: str, node: Any) -> _Value:
        if scope == "resource":
            if name == "service.name":
                return _Value("service", "text", "exists(service)", "service")
            return _Value(resource(name), "any", f"exists({resource(name)})", f"resource.{name}")
        if scope in {"span", "event", "link"}:
            return _Value(attribute(name), "any", f"exists({attribute(name)})", f"attribute.{name}")
        if scope == "":
            self.assume(UNSCOPED.format(name=written))
            other = self._scoped("resource", name, written, node)
            own = _Value(attribute(name), "any", f"exists({attribute(name)})", f"attribute.{name}")
            return replace(own, fallback=other)
        raise self.refuse(node, f"`{written}`: attributes of the scope `{scope}` are not kept here")

    def _arithmetic(self, node: Any) -> _Value:
        parts = [self._value(part) for part in node.children[0::2]]
        operators = [str(operator) for operator in node.children[1::2]]
        if {"%", "^"} & set(operators):
            raise self.refuse(node, "`%` and `^` have no counterpart here")
        if any(part.type not in {"number", "any"} or part.fallback is not None for part in parts):
            raise self.refuse(node, "arithmetic is of numbers and scoped attributes here")
        text = (
            f"({parts[0].text}"
            + "".join(f" {op} {part.text}" for op, part in zip(operators, parts[1:], strict=True))
            + ")"
        )
        present = [part.present for part in parts if part.present]
        if len(present) > 1:
            raise self.refuse(node, "arithmetic between two attributes cannot be denied as Tempo does")
        return _Value(text, "number", present[0] if present else "")


def _and(*parts: ScopeCondition) -> ScopeCondition:
    flat = [
        one for part in parts for one in (part.parts if isinstance(part, Joined) and part.word == "and" else (part,))
    ]
    return flat[0] if len(flat) == 1 else Joined("and", tuple(flat))


def _whole(items: Items) -> ItemCondition:
    """The condition of a set with its name as one of the parts."""
    if items.name is None:
        return items.condition
    return all_of(
        [
            Test(
                f"name == {text_literal(items.name)}",
                f"name != {text_literal(items.name)}",
                {"name": items.name},
                {"name": "other"},
            ),
            items.condition,
        ]
    )


def _plain(items: Items) -> Items:
    """A name that is asked for exactly moves to the front: span("name", ...)."""
    parts = items.condition.parts if isinstance(items.condition, AllOf) else (items.condition,)
    for part in parts:
        found = re.fullmatch(r'name == "([^"\\*?]*)"', part.text) if isinstance(part, Test) else None
        if found and items.name is None and found.group(1):
            return Items(items.entity, found.group(1), all_of([other for other in parts if other is not part]))
    return items


def _is_trace_duration(node: Any) -> bool:
    return str(node.data) == "word" and str(node.children[0]) in {"trace:duration", "traceDuration"}


def _intrinsic(name: str) -> _Value:
    types = {"duration": "duration", "status": "status", "kind": "kind", "children": "number"}
    example = name if name in {"name", "duration", "status", "kind"} else ""
    present = f"exists({name})" if "." in name else ""
    return _Value(name, types.get(name, "text"), present, example)


def _number(value: Decimal) -> _Value:
    return _Value(f"{value:f}", "number", constant=value)


def _duration(nanoseconds: int) -> _Value:
    return _Value(duration(nanoseconds), "duration", constant=nanoseconds)


def _text(value: str) -> _Value:
    return _Value(literal(value), "text", constant=value)


def _example(left: _Value, op: str, right: _Value) -> Example | None:
    """A value of the left field for which the comparison holds."""
    value = right.constant
    if value is None or not left.example:
        return None
    if right.type == "duration":
        shift = {">": 10**6, "<": -(10**6), "!=": 10**6}.get(op, 0)
        return {left.example: duration(max(int(value) + shift, 0))}
    if isinstance(value, Decimal):
        return {left.example: value + {">": 1, "<": -1, "!=": 1}.get(op, 0)}
    if op == "!=":
        others = {"status": "ok" if value != "ok" else "error", "kind": "client" if value != "client" else "server"}
        return {left.example: (not value) if isinstance(value, bool) else others.get(left.type, f"not {value}")}
    return {left.example: value}


def _lasting(op: str, bound: _Value) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """One span that makes the trace last as long as asked, and one that does not."""
    return _measuring(Items(), "duration", op, bound)


def _measuring(
    items: Items | None, name: str, op: str, bound: _Value
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """One item whose value alone makes an aggregate stand in the relation to the bound, and one that makes it not."""
    if items is None:
        return None, None
    found = []
    for relation in (op, OPPOSITE[op]):
        example = _example(_Value("", "any", example=name), relation, bound)
        test = None if example is None else Test("", "", example)
        found.append(None if test is None else (Items(items.entity, items.name, all_of([items.condition, test])),))
    return found[0], found[1]


def _examples(
    left: Items | None, op: str, right: Items | None
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """Spans that stand in the relation, and such that do not; in a test the first span is the parent of the others."""
    if left is None or right is None:
        return None, None
    apart, down, up, beside = (right,), (left, right), (right, left), (Items("span", "root"), left, right)
    holds = {">": down, ">>": down, "<": up, "<<": up, "~": beside}
    base = op.removeprefix("!")
    fails = {">": up, ">>": up, "<": down, "<<": down, "~": down}
    return (fails[base] if base != "~" else apart, holds[base]) if op.startswith("!") else (holds[base], fails[base])
