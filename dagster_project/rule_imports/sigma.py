"""Sigma's correlation rules as drafts, with the rules that they refer to, and single rules when a scope is given.

pySigma is not used: it makes queries for search engines out of what it reads, knows no lines, and brings five packages,
two of them in C, for a format that is YAML with one small expression in it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from dagster_project.rule_imports import field_tests
from dagster_project.rule_imports.example_traces import traces_for
from dagster_project.rule_imports.grammars import lark, parsed
from dagster_project.rule_imports.imported import Assumptions, Decisions, Draft, Imported, Note, Refusal, drafted
from dagster_project.rule_imports.source_text import Document, complaint_of_key, documents, slug
from dagster_project.rule_language.errors import RuleErrors
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_language.text.yaml_text import Node
from dagster_project.rule_language.writing.expression_text import (
    AnyItem,
    ItemCondition,
    Items,
    Joined,
    Said,
    ScopeCondition,
    Test,
    all_of,
    any_of,
    attribute,
    denied,
    duration,
    key,
    scope_text,
)

LOGSOURCE: Final = "`logsource` is not carried over: {source}; every {entity} that matches the fields counts"
FIELDS: Final = "fields are attributes of the {entity}s by the same name; no taxonomy is mapped"
CASE: Final = "texts are compared without regard to case, as Sigma does without `|cased`"
NOT: Final = "`not` of a field that a record does not have is true, as in the searches that Sigma is made into"
GROUP: Final = "records are grouped by {keys}, with pauses of at most {gap}; records without it are in no group"
TIES: Final = "two records of the same time count as in order"
SESSIONS: Final = (
    "--sessions: the time span of {span} is the longest pause between records, so that a group may last longer"
)
ORDERED: Final = "every match is found, with windows at any time, not only at full hours"
NUMBERS: Final = "a number matches whether it was sent as a number or as text, as Sigma knows no types"

_LEVELS: Final = {"informational": "low", "low": "low", "medium": "medium", "high": "high", "critical": "critical"}
_COMPARED: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_KNOWN_MODIFIERS: Final = frozenset(
    {
        "contains",
        "startswith",
        "endswith",
        "all",
        "re",
        "i",
        "m",
        "s",
        "cidr",
        "cased",
        "exists",
        "fieldref",
        "neq",
        *_COMPARED,
    }
)


def recognises(text: str) -> bool:
    """Whether the text is YAML with a correlation, or a detection with its log source."""
    has = {word for word in ("correlation", "detection", "logsource") if re.search(rf"(?m)^{word}:(?:\s|$)", text)}
    return "correlation" in has or has >= {"detection", "logsource"}


def read(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """The correlations of a file; without any, its single rules."""
    try:
        found = documents(text)
    except RuleErrors as error:
        first = error.errors[0]
        yield Imported(name, first.line, refused=(Note(first.line, f"{first.message} {first.hint}".strip()),))
        return
    correlations = [document for document in found if document.field(document.root, "correlation") is not None]
    bases = [document for document in found if document.field(document.root, "detection") is not None]
    known = {ref: base for base in bases for ref in _names(base)}
    chained = {ref for document in correlations for ref in _names(document)}
    for document in correlations or bases:
        yield _imported(document, known, chained, decisions, name)


def _names(document: Document) -> tuple[str, ...]:
    return tuple(ref for field_ in ("name", "id") if (ref := document.text_of(document.root, field_)))


def _imported(
    document: Document, known: Mapping[str, Document], chained: set[str], decisions: Decisions, name: str
) -> Imported:
    title = document.text_of(document.root, "title") or document.text_of(document.root, "name") or name
    reader = _Reader(document, known, chained, decisions, Assumptions())
    return drafted(slug(title), document.root.line, lambda: reader.draft(title))


@dataclass
class _Reader:
    """One document → a draft."""

    document: Document
    known: Mapping[str, Document]
    chained: set[str]
    decisions: Decisions
    assumed: Assumptions
    named: dict[str, Items] = field(default_factory=dict)

    def assume(self, text: str) -> None:
        self.assumed.add(self.document.root.line, text)

    def draft(self, title: str) -> Draft:
        document = self.document
        correlation = document.field(document.root, "correlation")
        self.assume(FIELDS.format(entity=self.decisions.entity))
        if correlation is None:
            expressions, bad, keys, gap = self._alone()
        else:
            expressions, bad, keys, gap = self._correlated(correlation)
        self.assume(GROUP.format(keys=", ".join(keys), gap=duration(gap)))
        return Draft(
            id=slug(title),
            title=title,
            line=document.root.line,
            expressions=expressions,
            description=document.text_of(document.root, "description"),
            severity=_LEVELS.get(document.text_of(document.root, "level").lower(), ""),
            references=tuple(ref for ref in document.texts_of(document.root, "references") if ref),
            group_by=keys,
            gap_ns=gap,
            assumed=self.assumed.notes,
            tests=traces_for(bad, keys=keys),
        )

    def _alone(self) -> tuple[dict[str, str], ScopeCondition, tuple[str, ...], int]:
        if not self.decisions.group_by:
            message = "one record says nothing of what it belongs to"
            raise Refusal(message, self.document.root.line, "give --group-by and --gap")
        found = AnyItem(self._items(self.document))
        return {"detect": scope_text(found)}, found, self.decisions.group_by, self.decisions.gap_ns

    # --- correlations ---

    def _correlated(self, node: Node) -> tuple[dict[str, str], ScopeCondition, tuple[str, ...], int]:
        document = self.document
        for word, (key_node, _) in (node.value if isinstance(node.value, dict) else {}).items():
            if word not in {"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}:
                raise Refusal(f"`correlation` has no field `{word}` that is known here", key_node.line)
        kind = document.text_of(node, "type")
        refs = document.texts_of(node, "rules")
        span = self._timespan(node)
        keys = self._keys(node, refs)
        sets = [self._referred(ref, node) for ref in refs]
        if not sets:
            raise Refusal("the correlation refers to no rule", node.line)
        readers: dict[str, Callable[[Node, list[Items], tuple[str, ...], int], ScopeCondition]] = {
            "event_count": self._event_count,
            "value_count": self._value_count,
            "temporal": self._temporal,
            "temporal_ordered": self._temporal,
        }
        if kind not in readers:
            raise Refusal(f"the correlation type `{kind}` has no counterpart here", node.line)
        bad = readers[kind](node, sets, keys, span)
        return {"detect": scope_text(bad)}, bad, keys, span

    def _timespan(self, node: Node) -> int:
        text = self.document.text_of(node, "timespan")
        if not re.fullmatch(r"\d{1,9}[smhd]", text):
            raise Refusal(f"the timespan `{text}` is no number with s, m, h or d", node.line)
        span = parse_duration(text)
        if not span:
            raise Refusal("a timespan of nothing", node.line)
        return span

    def _keys(self, node: Node, refs: tuple[str, ...]) -> tuple[str, ...]:
        """The keys of `group-by`; an alias stands for a field when it is the same field in every rule."""
        found = self.document.texts_of(node, "group-by") or self.decisions.group_by
        if not found:
            raise Refusal(
                "nothing says which records belong together: there is no group-by", node.line, "give --group-by"
            )
        aliases = self.document.field(node, "aliases")
        keys = tuple(self._alias(aliases, name, refs) for name in found)
        for name in keys if found != self.decisions.group_by else ():
            complaint = complaint_of_key(name)
            if complaint is not None:
                raise Refusal(complaint, node.line)
        return keys

    def _alias(self, aliases: Node | None, name: str, refs: tuple[str, ...]) -> str:
        alias = self.document.field(aliases, name)
        if alias is None:
            return name
        fields = {self.document.text_of(alias, ref) for ref in refs}
        if len(fields) != 1 or fields == {""}:
            message = f"the alias `{name}` names different fields in different rules, which a group here cannot be by"
            raise Refusal(message, alias.line)
        return fields.pop()

    def _referred(self, ref: str, node: Node) -> Items:
        if ref in self.known:
            if ref not in self.named:
                self.named[ref] = replace(self._items(self.known[ref]), is_closed=True)
            return self.named[ref]
        if ref in self.chained:
            raise Refusal(f"`{ref}` is a correlation itself; a chain of them has no counterpart here", node.line)
        raise Refusal(f"the rule `{ref}` is not in the file", node.line, "put it there, before a line of ---")

    def _bounds(self, node: Node) -> dict[str, Decimal]:
        condition = self.document.field(node, "condition")
        plain = self.document.plain(condition) if condition is not None else {}
        if not isinstance(plain, dict):
            raise Refusal("an extended condition has no counterpart here", node.line)
        bounds: dict[str, Decimal] = {}
        for word, value in plain.items():
            if word == "field":
                continue
            if (
                word not in {"gt", "gte", "lt", "lte", "eq", "neq"}
                or isinstance(value, bool)
                or not isinstance(value, int)
            ):
                raise Refusal(f"the condition `{word}: {value}` is not known here", node.line)
            bounds[word] = Decimal(value)
        return bounds

    def _at_least(self, node: Node) -> int:
        """The number that a correlation needs; only "so many or more" is the same in windows at any time."""
        bounds = self._bounds(node)
        if len(bounds) != 1 or not bounds.keys() & {"gt", "gte"}:
            message = "only `gt` or `gte` alone is carried over: fewer than so many depends on where windows begin"
            raise Refusal(message, node.line)
        ((word, number),) = bounds.items()
        least = int(number) + (word == "gt")
        if least < 1:
            raise Refusal("the count is always reached", node.line)
        return least

    def _event_count(self, node: Node, sets: list[Items], _keys: tuple[str, ...], span: int) -> ScopeCondition:
        least = self._at_least(node)
        items = sets[0] if len(sets) == 1 else replace(sets[0], condition=any_of([one.condition for one in sets]))
        self.assume(ORDERED)
        if least == 1:
            return AnyItem(items)
        text = f"count({items.narrowed}) > {least - 1} per {duration(span)}"
        many = (items,) * least if least <= 60 else None
        return Said(text, many, (items,) * min(least - 1, 60) or None)

    def _value_count(self, node: Node, sets: list[Items], _keys: tuple[str, ...], span: int) -> ScopeCondition:
        counted = self.document.text_of(self.document.field(node, "condition"), "field")
        if not counted:
            raise Refusal("value_count names no field", node.line)
        least = self._at_least(node)
        if not self.decisions.sessions:
            message = "different values within a window at any time have no counterpart here"
            raise Refusal(message, node.line, "with --sessions the time span becomes the longest pause between records")
        self.assume(SESSIONS.format(span=duration(span)))
        items = sets[0] if len(sets) == 1 else replace(sets[0], condition=any_of([one.condition for one in sets]))
        text = f"distinct({items.text}.{key(counted)}) >= {least}"

        def valued(count: int) -> tuple[Items, ...]:
            tests = [Test("", "", {f"attribute.{counted}": f"value-{at}"}) for at in range(1, count + 1)]
            return tuple(replace(items, condition=all_of([items.condition, test])) for test in tests)

        return Said(text, valued(least) if least <= 60 else None, valued(min(least - 1, 60)) or None)

    def _temporal(self, node: Node, sets: list[Items], keys: tuple[str, ...], span: int) -> ScopeCondition:
        is_ordered = self.document.text_of(node, "type") == "temporal_ordered"
        if self.document.field(node, "condition") is not None and self._bounds(node):
            raise Refusal("a number of different rules in a temporal correlation has no counterpart here", node.line)
        if len(sets) == 1:
            raise Refusal("a temporal correlation of one rule", node.line)
        on = ", ".join(key(name) for name in keys)
        if is_ordered:
            self.assume(TIES)
        if len(sets) == 2:
            word = "after" if is_ordered else "near"
            text = f"any({sets[1].text} {word} {sets[0].text} within {duration(span)} on {on})"
            return Said(text, tuple(sets), tuple(reversed(sets)) if is_ordered else (sets[0],))
        if not self.decisions.sessions:
            message = f"{len(sets)} rules within one time span: nearness is said of pairs here"
            raise Refusal(message, node.line, "with --sessions the time span becomes the longest pause between records")
        self.assume(SESSIONS.format(span=duration(span)))
        if not is_ordered:
            return Joined("and", tuple(AnyItem(one) for one in sets))
        text = sets[0].text
        for at, items in enumerate(sets[1:]):
            text = f"{items.text} after {f'({text})' if at else text} within {duration(span)} on {on}"
        return Said(f"any({text})", tuple(sets), tuple(reversed(sets)))

    # --- the rules that are referred to ---

    def _items(self, base: Document) -> Items:
        detection = base.field(base.root, "detection")
        source = base.field(base.root, "logsource")
        if source is not None:
            plain = base.plain(source)
            said = (
                ", ".join(f"{word} {value}" for word, value in plain.items()) if isinstance(plain, dict) else str(plain)
            )
            self.assume(LOGSOURCE.format(source=said, entity=self.decisions.entity))
        if detection is None or not isinstance(detection.value, dict):
            raise Refusal("the rule has no detection", base.root.line)
        selections = {
            name: node for name, (_, node) in detection.value.items() if name not in {"condition", "timeframe"}
        }
        if "timeframe" in detection.value:
            raise Refusal("`timeframe` belongs to the old aggregations", detection.line, "write a correlation")
        text = base.text_of(detection, "condition")
        if "|" in text or not text:
            raise Refusal(
                "a condition with `|`, or none, has no counterpart here", detection.line, "write a correlation"
            )
        tree = parsed(lark("sigma", "condition"), text, "condition of Sigma", base.field(detection, "condition").line)  # type: ignore[union-attr]
        condition = self._joined(tree.children[0], base, selections, detection.line)
        return Items(self.decisions.entity, None, condition)

    def _joined(self, node: Any, base: Document, selections: Mapping[str, Node], line: int) -> ItemCondition:
        kind = str(node.data)
        if kind in {"disjunction", "conjunction"}:
            parts = [self._joined(part, base, selections, line) for part in node.children]
            return any_of(parts) if kind == "disjunction" else all_of(parts)
        if kind == "negated":
            self.assume(NOT)
            return denied(self._joined(node.children[0], base, selections, line))
        if kind == "selection":
            return self._selection(base, selections, str(node.children[0]), line)
        quantity, *pattern = (str(child) for child in node.children)
        chosen = [name for name in selections if not pattern or fnmatch.fnmatchcase(name, pattern[0])]
        chosen = [name for name in chosen if pattern or not name.startswith("_")]
        if not chosen or quantity.lower() not in {"all", "any", "1"}:
            raise Refusal(f"`{quantity} of ...` names no selection, or a number that is not known here", line)
        parts = [self._selection(base, selections, name, line) for name in chosen]
        return all_of(parts) if quantity.lower() == "all" else any_of(parts)

    def _selection(self, base: Document, selections: Mapping[str, Node], name: str, line: int) -> ItemCondition:
        if name not in selections:
            raise Refusal(f"the condition names `{name}`, which the detection does not have", line)
        return self._searched(base, selections[name])

    def _searched(self, base: Document, node: Node) -> ItemCondition:
        """A mapping: all of its fields; a list: one of its entries; a text: somewhere in the record's body."""
        if isinstance(node.value, dict):
            return all_of([self._field(word, value) for word, (_, value) in node.value.items()])
        if isinstance(node.value, list):
            return any_of([self._searched(base, child) for child in node.value])
        if self.decisions.entity != "log":
            raise Refusal("keywords are looked for in the body of logs", node.line, "leave --entity span out")
        return self._value("body", node, frozenset({"contains"}))

    def _field(self, word: str, node: Node) -> ItemCondition:
        name, *modifiers = word.split("|")
        unknown = [modifier for modifier in modifiers if modifier not in _KNOWN_MODIFIERS]
        if unknown:
            raise Refusal(f"the modifier `{unknown[0]}` of `{name}` has no counterpart here", node.line)
        if not name:
            raise Refusal("keywords with modifiers are not known here", node.line)
        found = frozenset(modifiers)
        values = node.value if isinstance(node.value, list) else [node]
        if not values:
            raise Refusal(f"`{name}` has an empty list", node.line)
        tests = [self._value(name, value, found) for value in values]
        joined = all_of(tests) if "all" in found else any_of(tests)
        if field_tests.needs_a_list(joined) is not None:
            message = (
                f"`{name}` must have several values at once, so it is a list there; a list is compared as a whole here"
            )
            raise Refusal(message, node.line)
        return denied(joined) if "neq" in found else joined

    def _value(self, name: str, node: Node, modifiers: frozenset[str]) -> ItemCondition:
        value = node.value
        if isinstance(value, (dict, list)):
            raise Refusal(f"`{name}` wants a value here", node.line)
        if "exists" in modifiers:
            absent = field_tests.missing(name)
            return absent if str(value).lower() == "false" else denied(absent)
        if value is None:
            return field_tests.missing(name)
        if "fieldref" in modifiers:
            return self._same(name, str(value))
        compared = next((op for word, op in _COMPARED.items() if word in modifiers), None)
        if compared is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise Refusal(f"`{name}` is compared with a number", node.line)
            return field_tests.compared(name, compared, Decimal(str(value)), strict=False)
        if "cidr" in modifiers:
            try:
                return field_tests.in_network(name, str(value), strict=False)
            except ValueError as error:
                raise Refusal(str(error), node.line) from None
        return self._text(name, value, modifiers)

    def _same(self, name: str, other: str) -> ItemCondition:
        one, two = attribute(name), attribute(other)
        good = {f"attribute.{name}": "same", f"attribute.{other}": "same"}
        return Test(f"{one} == {two}", f"(missing({one}) or missing({two}) or {one} != {two})", good, None)

    def _text(self, name: str, value: Any, modifiers: frozenset[str]) -> ItemCondition:
        if "re" in modifiers:
            flags = "".join(sorted(modifiers & {"i", "m", "s"}))
            return field_tests.matching(name, f"(?{flags}){value}" if flags else str(value), strict=False)
        part = next((word for word in ("contains", "startswith", "endswith") if word in modifiers), None)
        if not isinstance(value, str) and part is None:
            self.assume(NUMBERS)
            number = value if isinstance(value, bool) else Decimal(str(value))
            written = str(value).lower() if isinstance(value, bool) else str(value)
            kinds = [field_tests.compared(name, "==", one, strict=False) for one in (number, written)]
            return any_of(kinds)
        text = str(value)
        if text == "" and part is None:
            return field_tests.compared(name, "==", "", strict=False)
        text = {"contains": f"*{text}*", "startswith": f"{text}*", "endswith": f"*{text}", None: text}[part]
        any_case = "cased" not in modifiers
        if any_case:
            self.assume(CASE)
        pattern, example = field_tests.wildcard_pattern(text, any_case=any_case, escapes=True)
        test = field_tests.matching(name, pattern, strict=False, example=example)
        return test if set("*?") & set(text) else field_tests.as_exact(test, name, text)
