"""EQL queries as drafts: sequences of two steps, runs, missing events, samples and joins of two; the rest is refused.

A chain of three under one `maxspan` cannot be said exactly in pairs, so it is refused, not approximated.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from dagster_project.rule_imports import field_tests
from dagster_project.rule_imports.example_traces import traces_for
from dagster_project.rule_imports.grammars import lark, parsed, place
from dagster_project.rule_imports.imported import Assumptions, Decisions, Draft, Imported, Note, Refusal, drafted
from dagster_project.rule_imports.source_text import Query, complaint_of_key, identities, line_of, queries, slug
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_language.writing.expression_text import (
    ALWAYS,
    AnyItem,
    ItemCondition,
    Items,
    Said,
    Scalar,
    ScopeCondition,
    Test,
    all_of,
    any_of,
    attribute,
    denied,
    deny,
    duration,
    key,
    number_of,
    scope_text,
)

FINDS: Final = "a query says what to find; every group that it finds is a violation"
CATEGORY: Final = "`{category} where` asks that the attribute event.category is `{category}`"
FIELDS: Final = "fields are attributes of the {entity}s by the same name; lists in them are compared as a whole"
TIES: Final = "two records of the same time count as in order, as nothing breaks the tie"
SKEW: Final = "an order that hangs on less than the clocks' skew between two services is inconclusive"
GROUP: Final = "a scope is the records of one {keys} with pauses of at most {gap}"
PIPES: Final = "`| {pipe}` only limits what is shown and is left out: every match is found here"

_SEVERITIES: Final = {"low": "low", "medium": "medium", "high": "high", "critical": "critical"}
_FUNCTIONS: Final = {
    "stringcontains": "contains",
    "startswith": "starts",
    "endswith": "ends",
    "wildcard": "wildcard",
    "match": "match",
    "cidrmatch": "cidr",
}
# What Lucene's patterns read as operators and RE2 as itself.
_LUCENE_ONLY: Final = re.compile(r'(?<!\\)[#@&<>~"]')


def recognises(text: str) -> bool:
    """Whether the text is EQL, or a TOML file of a rule in it."""
    if re.search(r'(?m)^\s*language\s*=\s*"eql"', text):
        return True
    plain = re.sub(r"(?m)^\s*(?://|#).*$", "", text).strip()
    return re.match(r'(?i)(sequence|sample|join)\s+(by|with|\[)|("[^"\n]*"|[a-z_*]+)\s+where\s', plain) is not None


def read(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """Every query of a text, or the one of a TOML file."""
    if re.search(r'(?m)^\s*language\s*=\s*"eql"', text):
        yield _toml(text, decisions, name)
        return
    found = queries(text)
    for identity, query in zip(identities(found, name), found, strict=True):
        yield _imported(query, decisions, {"id": identity, "title": query.title or identity})


def _toml(text: str, decisions: Decisions, name: str) -> Imported:
    try:
        rule: Any = tomllib.loads(text).get("rule", {})
    # A ValueError of a number of thousands of digits, too; what TOML is not is one.
    except (ValueError, RecursionError) as error:
        return Imported(slug(name), 1, refused=(Note(1, f"no TOML: {error}"),))
    query = rule.get("query") if isinstance(rule, dict) else None
    if not isinstance(query, str):
        return Imported(slug(name), 1, refused=(Note(1, "the file has no rule.query"),))
    line = line_of(text, max(text.find("query"), 0))
    about = {
        "id": slug(name),
        "title": str(rule.get("name", name)),
        "description": str(rule.get("description", "")).strip(),
        "severity": _SEVERITIES.get(str(rule.get("severity", "")), ""),
    }
    return _imported(Query(query, line, about["title"]), decisions, about)


def _imported(query: Query, decisions: Decisions, about: dict[str, str]) -> Imported:
    reader = _Reader(query, decisions, Assumptions())
    return drafted(about["id"], query.line, lambda: reader.draft(about))


@dataclass(frozen=True)
class _Step:
    """One `[category where condition]` of a sequence."""

    items: Items
    keys: tuple[str, ...]
    runs: int
    is_missing: bool


@dataclass
class _Reader:
    """One query → a draft."""

    source: Query
    decisions: Decisions
    assumed: Assumptions

    def refuse(self, node: Any, message: str, hint: str = "") -> Refusal:
        return Refusal(message, self.source.line + line_of(self.source.text, place(node)[0]) - 1, hint)

    def assume(self, text: str) -> None:
        self.assumed.add(self.source.line, text)

    def draft(self, about: dict[str, str]) -> Draft:
        tree = parsed(lark("eql", "query", placeholders=False), self.source.text, "EQL", self.source.line)
        what, *pipes = tree.children
        for pipe in pipes:
            if str(pipe.children[0]) not in {"head", "tail"}:  # type: ignore[union-attr]
                raise self.refuse(pipe, f"the pipe `{pipe.children[0]}` has no counterpart")  # type: ignore[union-attr]
            self.assume(PIPES.format(pipe=pipe.children[0]))  # type: ignore[union-attr]
        readers: dict[
            str, Callable[[Any], tuple[dict[str, str], ScopeCondition, ScopeCondition | None, tuple[str, ...], int]]
        ] = {
            "sequence": self._sequence,
            "sample": self._unordered,
            "join": self._unordered,
            "event": self._single,
        }
        expressions, bad, when, keys, gap = readers[str(what.data)](what)  # type: ignore[union-attr]
        self.assume(FINDS)
        self.assume(FIELDS.format(entity=self.decisions.entity))
        self.assume(GROUP.format(keys=", ".join(keys), gap=duration(gap)))
        return Draft(
            id=about["id"],
            title=about["title"],
            line=self.source.line,
            expressions=expressions,
            description=about.get("description", ""),
            severity=about.get("severity", ""),
            group_by=keys,
            gap_ns=gap,
            assumed=self.assumed.notes,
            tests=traces_for(bad, when, keys),
        )

    # --- what a query is ---

    def _single(self, node: Any) -> Any:
        """One event: bad by itself; which scope it is judged in is the person's decision."""
        if not self.decisions.group_by:
            raise self.refuse(node, "one event says nothing of what it belongs to", "give --group-by and --gap")
        found = AnyItem(self._items(node))
        return {"detect": scope_text(found)}, found, None, self.decisions.group_by, self.decisions.gap_ns

    def _unordered(self, node: Any) -> Any:
        keys, _span, steps, until = self._parts(node)
        if until is not None:
            raise self.refuse(until, "`until` says that something does not come in between, which cannot be said here")
        if len(steps) != 2:
            raise self.refuse(node, f"{len(steps)} events without an order: only two can be said to be near each other")
        if not self.decisions.within_ns:
            raise self.refuse(node, "how near the events are is not said", "give --within, such as --within 1h")
        return self._paired("near", steps, keys, self.decisions.within_ns)

    def _sequence(self, node: Any) -> Any:
        keys, span, steps, until = self._parts(node)
        if until is not None:
            raise self.refuse(until, "`until` says that something does not come in between, which cannot be said here")
        within = span or self.decisions.within_ns
        if not within:
            raise self.refuse(node, "the sequence has no maxspan", "give --within, such as --within 24h")
        if any(step.is_missing for step in steps):
            return self._absent(node, steps, keys, within)
        total = sum(step.runs for step in steps)
        if len(steps) == 1 and total > 1:
            return self._repeated(steps[0], keys, within)
        if total == 2:
            return self._paired("after", steps, keys, within)
        if total == 1:
            raise self.refuse(node, "a sequence of one event")
        if span:
            message = (
                f"{total} events in a row within one maxspan: order and distance are said of pairs here, not of chains"
            )
            if any(step.runs > 1 for step in steps):
                message = f"`with runs` beside other steps makes {message}"
            raise self.refuse(
                node, message, "without maxspan and with --within, which then holds from each to the next, it can be"
            )
        return self._chained(steps, keys, within)

    def _paired(self, word: str, steps: list[_Step], keys: tuple[str, ...], within: int) -> Any:
        first, second = steps if len(steps) == 2 else (steps[0], steps[0])
        on = ", ".join(key(name) for name in keys)
        text = f"any({second.items.text} {word} {first.items.text} within {duration(within)} on {on})"
        if word == "after":
            self.assume(TIES)
        bad = Said(
            text, (first.items, second.items), (second.items, first.items) if word == "after" else (first.items,)
        )
        return {"detect": text}, bad, None, keys, within

    def _chained(self, steps: list[_Step], keys: tuple[str, ...], within: int) -> Any:
        flat = [step.items for step in steps for _ in range(step.runs)]
        on = ", ".join(key(name) for name in keys)
        text = flat[0].text
        for items in flat[1:]:
            left = text if text == flat[0].text else f"({text})"
            text = f"{items.text} after {left} within {duration(within)} on {on}"
        self.assume(TIES)
        self.assume(f"each event follows the one before it by at most {duration(within)}")
        bad = Said(f"any({text})", tuple(flat), tuple(reversed(flat)))
        return {"detect": bad.text}, bad, None, keys, within

    def _repeated(self, step: _Step, keys: tuple[str, ...], within: int) -> Any:
        text = f"count({step.items.narrowed}) > {step.runs - 1} per {duration(within)}"
        many = (step.items,) * min(step.runs, 60)
        bad = Said(text, many if step.runs <= 60 else None, many[:-1])
        return {"detect": text}, bad, None, keys, within

    def _absent(self, node: Any, steps: list[_Step], keys: tuple[str, ...], within: int) -> Any:
        if len(steps) != 2 or sum(step.is_missing for step in steps) != 1 or any(step.runs != 1 for step in steps):
            raise self.refuse(node, "a missing event stands beside exactly one that is there")
        first, second = steps
        self.assume(SKEW)
        word, there = ("before", second) if first.is_missing else ("followed by", first)
        text = f"{first.items.text} {word} {second.items.text} within {duration(within)}"
        when = AnyItem(there.items)
        bad = deny(Said(text, (first.items, second.items), (there.items,)))
        return {"when": scope_text(when), "always": text}, bad, Said("", (), ()), keys, within

    def _parts(self, node: Any) -> tuple[tuple[str, ...], int, list[_Step], Any]:
        keys: list[str] = []
        span, until, steps = 0, None, []
        for child in node.children:
            kind = str(child.data)
            if kind == "by_keys":
                keys += [_path(part) for part in child.children]
            elif kind == "maxspan":
                span = parse_duration(str(child.children[0]))
            elif kind == "until":
                until = child
            else:
                steps.append(self._step(child))
        own = {step.keys for step in steps}
        if len(own) > 1:
            raise self.refuse(node, "the events are joined by fields of different names, which a group here cannot be")
        shared = (*keys, *(next(iter(own)) if own else ()))
        if not shared:
            raise self.refuse(node, "nothing says which events belong together: there is no `by`")
        for name in shared:
            complaint = complaint_of_key(name)
            if complaint is not None:
                raise self.refuse(node, complaint)
        return shared, span, steps, until

    def _step(self, node: Any) -> _Step:
        keys: tuple[str, ...] = ()
        runs, is_missing, event = 1, False, None
        for child in node.children:
            kind = str(getattr(child, "data", "missing"))
            if kind == "missing":
                is_missing = True
            elif kind == "by_keys":
                keys = tuple(_path(part) for part in child.children)
            elif kind == "runs":
                runs = int(self._number(child.children[0]))
            else:
                event = child
        if not 1 <= runs <= 10_000:
            raise self.refuse(node, f"with runs={runs}: from 1 to 10000")
        return _Step(replace(self._items(event), is_closed=True), keys, runs, is_missing)

    def _items(self, node: Any) -> Items:
        category_node, condition = node.children
        category = re.sub(r'^["\']|["\']$', "", str(category_node.children[0])) if category_node.children else "any"
        parts = []
        if category.lower() != "any":
            self.assume(CATEGORY.format(category=category))
            parts.append(field_tests.compared("event.category", "==", category, strict=True))
        parts.append(self._condition(condition.children[0]))
        return Items(self.decisions.entity, None, all_of(parts))

    # --- conditions on one event ---

    def _condition(self, node: Any) -> ItemCondition:
        kind = str(node.data)
        if kind in {"disjunction", "conjunction"}:
            join = any_of if kind == "disjunction" else all_of
            joined = join([self._condition(part) for part in node.children])
            listed = field_tests.needs_a_list(joined)
            if listed is not None:
                message = f"`{listed}` must have two values at once: a list there, which is compared as a whole here"
                raise self.refuse(node, message)
            return joined
        if kind == "negated":
            operand = self._condition(node.children[0])
            if operand == ALWAYS:
                raise self.refuse(node, "what always holds is denied: nothing can match")
            return denied(operand)
        if kind == "true":
            return ALWAYS
        if kind.startswith("not_"):
            return denied(self._read(kind.removeprefix("not_"), node))
        if kind == "path":
            return field_tests.compared(_path(node), "==", True, strict=True)
        return self._read(kind, node)

    def _read(self, kind: str, node: Any) -> ItemCondition:
        read: dict[str, Callable[[Any], ItemCondition]] = {
            "compared": self._compared,
            "liked": self._liked,
            "contained": lambda tree: self._contained(tree, any_case=False),
            "contained_any_case": lambda tree: self._contained(tree, any_case=True),
            "function": self._function,
        }
        if kind not in read:
            raise self.refuse(node, "a condition is expected here")
        return read[kind](node)

    def _compared(self, node: Any) -> ItemCondition:
        left, operator, right = node.children
        op = str(operator)
        if str(left.data) != "path" and str(right.data) == "path":
            left, right = right, left
            op = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op)
        name = self._name(left)
        if str(right.data) == "null":
            if op not in {"==", "!="}:
                raise self.refuse(node, f"`{op} null` is never true")
            absent = field_tests.missing(name)
            return absent if op == "==" else denied(absent)
        if str(right.data) == "path":
            return self._fields(name, op, self._name(right), node)
        value = self._value(right)
        if isinstance(value, str) and op in {"<", "<=", ">", ">="}:
            raise self.refuse(node, "texts have no order here")
        return field_tests.compared(name, op, value, strict=True)

    def _fields(self, left: str, op: str, right: str, node: Any) -> ItemCondition:
        if op not in {"==", "!="}:
            raise self.refuse(node, "two fields are only compared for equality here")
        one, other = attribute(left), attribute(right)
        same = {f"attribute.{left}": "same", f"attribute.{right}": "same"}
        differ = {f"attribute.{left}": "one", f"attribute.{right}": "other"}
        test = Test(f"{one} == {other}", f"{one} != {other}", same, differ)
        return test if op == "==" else denied(test)

    def _liked(self, node: Any) -> ItemCondition:
        """`:` and `like~` know wildcards and no case, `like` knows case, `regex` is Lucene's."""
        left, operator, right = node.children
        word = str(operator).lower()
        name = self._name(left)
        values = right.children if str(right.data) == "list" else [right]
        any_case = word == ":" or word.endswith("~")
        if word.startswith("regex"):
            return any_of([self._regex(name, part, any_case=any_case) for part in values])
        return any_of([self._wildcard(name, part, any_case=any_case) for part in values])

    def _wildcard(self, name: str, node: Any, *, any_case: bool) -> ItemCondition:
        value = self._value(node)
        if not isinstance(value, str):
            return field_tests.compared(name, "==", value, strict=True)
        if not any_case and not set("*?") & set(value):
            return field_tests.compared(name, "==", value, strict=True)
        pattern, example = field_tests.wildcard_pattern(value, any_case=any_case, escapes=False)
        test = field_tests.matching(name, pattern, strict=True, example=example)
        return test if set("*?") & set(value) else field_tests.as_exact(test, name, value)

    def _regex(self, name: str, node: Any, *, any_case: bool) -> ItemCondition:
        value = self._value(node)
        if not isinstance(value, str):
            raise self.refuse(node, "a pattern is a text")
        if _LUCENE_ONLY.search(value):
            raise self.refuse(node, "the pattern uses operators of Lucene (# @ & < > ~) that RE2 does not know")
        return field_tests.matching(name, f"(?{'is' if any_case else 's'})^(?:{value})$", strict=True)

    def _contained(self, node: Any, *, any_case: bool) -> ItemCondition:
        left, right = node.children
        name = self._name(left)
        values = [self._value(part) for part in right.children]
        if any_case:
            return any_of([self._wildcard_free(name, value) for value in values])
        return field_tests.one_of(name, values, strict=True)

    def _wildcard_free(self, name: str, value: Scalar) -> ItemCondition:
        if not isinstance(value, str):
            return field_tests.compared(name, "==", value, strict=True)
        return field_tests.matching(name, f"(?is)^{field_tests.escaped(value)}$", strict=True, example=value)

    def _function(self, node: Any) -> ItemCondition:
        called, *arguments = node.children
        word = str(called).rstrip("~").lower()
        any_case = str(called).endswith("~")
        meaning = _FUNCTIONS.get(word)
        if meaning is None:
            raise self.refuse(node, f"the function `{called}` has no counterpart here")
        if len(arguments) < 2:
            raise self.refuse(node, f"`{called}` wants a field and a value")
        name = self._name(arguments[0])
        if meaning == "cidr":
            return any_of([self._network(name, part) for part in arguments[1:]])
        if meaning == "wildcard":
            return any_of([self._wildcard(name, part, any_case=any_case) for part in arguments[1:]])
        if meaning == "match":
            return any_of([self._regex(name, part, any_case=any_case) for part in arguments[1:]])
        value = self._value(arguments[1])
        if not isinstance(value, str) or len(arguments) != 2:
            raise self.refuse(node, f"`{called}` wants a field and a text")
        around = {"contains": ("", ""), "starts": ("^", ""), "ends": ("", "$")}[meaning]
        flags = "is" if any_case else "s"
        return field_tests.matching(
            name, f"(?{flags}){around[0]}{field_tests.escaped(value)}{around[1]}", strict=True, example=value
        )

    def _network(self, name: str, node: Any) -> ItemCondition:
        try:
            return field_tests.in_network(name, str(self._value(node)), strict=True)
        except ValueError as error:
            raise self.refuse(node, str(error)) from None

    def _name(self, node: Any) -> str:
        if str(node.data) != "path":
            raise self.refuse(node, "only fields are compared here, not functions or arithmetic of them")
        return _path(node)

    def _number(self, token: Any) -> Decimal:
        try:
            return number_of(str(token))
        except ValueError as error:
            raise self.refuse(token, str(error)) from None

    def _value(self, node: Any) -> Scalar:
        kind = str(node.data)
        if kind == "number":
            return self._number(node.children[0])
        if kind == "minus" and str(node.children[0].data) == "number":
            return -self._number(node.children[0].children[0])
        if kind == "raw_text":
            return str(node.children[0])[3:-3]
        if kind == "text":
            return _unescaped(str(node.children[0])[1:-1])
        if kind in {"true", "false"}:
            return kind == "true"
        raise self.refuse(node, "a value is expected here")


def _path(node: Any) -> str:
    parts = [part for part in node.children if str(getattr(part, "data", "")) == "part"]
    return ".".join(str(part.children[0]).strip("`") for part in parts)


def _unescaped(text: str) -> str:
    known = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: known.get(found.group(1), found.group(1)), text)
