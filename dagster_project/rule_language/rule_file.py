"""The text of a rule file → a Rule, or every mistake in it with file, line and column.

Knows the fields of the file and their forms. Expressions are parsed by `parser` and resolved by `resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeAlias, get_args

from dagster_project.rule_language.errors import ExpressionError, RuleError, RuleErrors
from dagster_project.rule_language.example_records import Example
from dagster_project.rule_language.limits import MAX_BINDINGS
from dagster_project.rule_language.meaning.attributes import SPAN, entities_of
from dagster_project.rule_language.meaning.identity import meaning_hash
from dagster_project.rule_language.meaning.item_sets import Bindings, resolve_items
from dagster_project.rule_language.meaning.model import (
    ALWAYS_TRUE,
    Condition,
    Disjunction,
    Judgement,
    Negation,
    Reported,
    Scope,
)
from dagster_project.rule_language.meaning.resolve import binding_names, group_key, resolve_condition, resolve_reported
from dagster_project.rule_language.rule_examples import ExampleError, read_example
from dagster_project.rule_language.text import patterns
from dagster_project.rule_language.text.inline_text import one_key_a_line
from dagster_project.rule_language.text.parser import Start, parse, parse_duration
from dagster_project.rule_language.text.yaml_text import Node, YamlText
from dagster_project.rule_language.writing import betrace
from dagster_project.wording import did_you_mean

FIELDS: Final = (
    "id", "title", "description", "severity", "status", "owner", "controls", "references",
    "group_by", "gap", "skew", "let", "when", "always", "never", "detect", "assert", "report", "tests",
)  # fmt: skip
Severity: TypeAlias = Literal["critical", "high", "medium", "low"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
STATUSES: Final = ("active", "shadow", "retired")
INLINE_PATH: Final = "<in line>"
_CONDITIONS: Final = ("when", "always", "never", "detect")

_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED_REPORT_NAME: Final = "nulls_skipped"
LIFTING: Final = "trace."
DEFAULT_SKEW_NS: Final = 10_000_000
"""Clocks that are kept by NTP differ by some milliseconds; what is closer than that in two services has no order."""


@dataclass(frozen=True)
class Rule:
    """A rule that can be judged. `expressions` holds let, when, always, ... as they were written, for people to read.

    `content` is what its file held when it was read, so that a record of the rule can be of that and no later text.
    """

    path: str
    id: str
    title: str
    description: str
    severity: Literal["critical", "high", "medium", "low"]
    status: Literal["active", "shadow", "retired"]
    owner: str
    domain: str
    controls: tuple[str, ...]
    references: tuple[str, ...]
    judgement: Judgement
    meaning_hash: str
    expressions: Mapping[str, str]
    examples: tuple[Example, ...]
    content: bytes
    assumed: tuple[str, ...] = ()  # what a condition in another tool's syntax left open

    @property
    def scope_kind(self) -> Literal["trace", "group", "hour"]:
        kinds: dict[Scope, Literal["trace", "group", "hour"]] = {Scope.TRACE: "trace", Scope.HOUR: "hour"}
        return kinds.get(self.judgement.scope, "group")


def read_rule(path: str, text: str) -> Rule:
    """The rule of one file.

    Parameters
    ----------
    path
        `rules/<domain>/<id>.yml`, as it is shown in errors; the domain and the expected id are taken from it.
    text
        The whole file.

    Raises
    ------
    RuleErrors
        With everything that is wrong with it.
    """
    return _Reader(YamlText(path, text)).rule()


def read_inline(text: str) -> Rule:
    """A rule that is not written down: `when: any(...) always: ...`, on one line or as YAML; needs no tests.

    Raises
    ------
    RuleErrors
        With everything that is wrong with it.
    """
    return _Reader(YamlText(INLINE_PATH, one_key_a_line(text, FIELDS)), inline=True).rule()


@dataclass
class _Reader:
    """Reads one file; goes on after a mistake, so that all of them are reported at once."""

    source: YamlText
    inline: bool = False
    errors: list[RuleError] = field(default_factory=list)
    values: dict[str, Node] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    def rule(self) -> Rule:
        root = self.source.root()
        if not isinstance(root.value, dict):
            raise RuleErrors([self.source.error("a rule is a mapping of `id:`, `title:`, ...", root.line, root.column)])
        for word, (key, value) in root.value.items():
            if word in FIELDS:
                self.values[word] = value
            else:
                self._complain(f"a rule has no field `{word}`", key, did_you_mean(word, FIELDS))
        path = PurePosixPath(self.source.path)
        identity = "inline" if self.inline else self._identity(root, path.stem)
        judgement, expressions = self._judgement(root)
        rule = Rule(
            path=self.source.path,
            id=identity,
            title=self._text("title", root, required=not self.inline) or "typed in line",
            description=self._text("description", root),
            severity=self._choice("severity", SEVERITIES, root, None if not self.inline else "medium"),
            status=self._choice("status", STATUSES, root, "active"),
            owner=self._text("owner", root, required=not self.inline),
            domain=path.parent.name,
            controls=self._texts("controls"),
            references=self._texts("references"),
            judgement=judgement,
            meaning_hash=meaning_hash(judgement),
            expressions=expressions,
            examples=() if self.inline else self._examples(root),
            content=self.source.text.encode("utf-8", "surrogatepass"),
            assumed=self.assumed,
        )
        if self.errors:
            raise RuleErrors(self.errors)
        return rule

    def _complain(self, message: str, node: Node, hint: str = "") -> None:
        self.errors.append(self.source.error(message, node.line, node.column, hint))

    @contextmanager
    def _expression(self, node: Node) -> Iterator[None]:
        try:
            yield
        except ExpressionError as error:
            line, column = self.source.position_in(node, error.start)
            self.errors.append(self.source.error(error.message, line, column, error.hint))

    def _identity(self, root: Node, stem: str) -> str:
        identity = self._text("id", root, required=True)
        if identity and not _ID.fullmatch(identity):
            self._complain(f"`{identity}` is no id", self.values["id"], "lower-case words joined by hyphens")
        elif identity and identity != stem:
            self._complain(
                f"the id `{identity}` is not the name of its file", self.values["id"], f"rename it to {identity}.yml"
            )
        return identity

    def _text(self, name: str, root: Node, *, required: bool = False) -> str:
        node = self.values.get(name)
        if node is None:
            if required:
                self._complain(f"`{name}` is missing", root)
            return ""
        if isinstance(node.value, (dict, list)) or node.value is None or not str(node.value).strip():
            self._complain(f"`{name}` is a text", node)
            return ""
        return str(node.value).strip()

    def _choice(self, name: str, known: tuple[str, ...], root: Node, default: str | None) -> Any:
        text = self._text(name, root, required=default is None)
        if text and text not in known:
            self._complain(f"`{text}` is no {name}", self.values[name], did_you_mean(text, known))
        return text or default

    def _texts(self, name: str) -> tuple[str, ...]:
        node = self.values.get(name)
        if node is None:
            return ()
        children = node.value if isinstance(node.value, list) else [node]
        for child in children:
            if isinstance(child.value, (dict, list)) or child.value is None:
                self._complain(f"`{name}` is a list of texts", child)
                return ()
        return tuple(str(child.value) for child in children)

    def _judgement(self, root: Node) -> tuple[Judgement, Mapping[str, str]]:
        bindings = self._bindings()
        skew_ns = self._duration("skew", DEFAULT_SKEW_NS)
        translated = self._translated()
        if translated is None:
            said = {name for name in _CONDITIONS if name in self.values}
            parts = {name: self._condition(name, bindings, skew_ns) for name in said}
        else:
            parts = {name: resolve_condition(parse(text), bindings, skew_ns) for name, text in translated.items()}
        report = self._report(bindings)
        group_by, gap_ns, scope = self._grouping(root, bindings.by)
        for unused in binding_names(bindings.items, bindings.used):
            self._complain(f"nothing uses the binding `{unused}`", self.values["let"].value[unused][0])
        judgement = replace(self._judged(root, parts, report), group_by=group_by, gap_ns=gap_ns, scope=scope)
        self._check_keys(judgement)
        return judgement, dict(self._as_written())

    def _translated(self) -> dict[str, str] | None:
        """The conditions that a condition of BeTrace stands for, as texts of this language; None when there is none."""
        keyword: betrace.Keyword = "assert" if "assert" in self.values else "detect"
        node = self.values.get(keyword)
        if node is None or not isinstance(node.value, str):
            return None
        if keyword == "detect" and not betrace.looks_like_betrace(node.value):
            return None
        for other in ("let", *_CONDITIONS):
            if other in self.values and other != keyword:
                self._complain(f"`{other}` beside a condition of BeTrace, which stands alone", self.values[other])
        with self._expression(node):
            made = betrace.translate(node.value, keyword)
            parts = {"when": made.when, "always": made.always, "never": made.never}
            self.assumed = made.assumed
            return {name: text for name, text in parts.items() if text is not None}
        return {}

    def _as_written(self) -> Iterator[tuple[str, str]]:
        let = self.values["let"].value if "let" in self.values else None
        if isinstance(let, dict):
            yield "let", "\n".join(f"{word}: {str(value.value).strip()}" for word, (_, value) in let.items())
        for name in (*_CONDITIONS, "assert"):
            if name in self.values:
                yield name, str(self.values[name].value).strip()

    def _judged(
        self,
        root: Node,
        parts: Mapping[str, Condition | None],
        report: tuple[Reported, ...],
    ) -> Judgement:
        """Violation = when and (not always or never), or detect alone."""
        when, always, never, detect = (parts.get(name) for name in _CONDITIONS)
        if "detect" in parts:
            for other in ("when", "always", "never"):
                if other in self.values:
                    message = f"`{other}` beside `detect`; detect stands alone"
                    self._complain(message, self.values[other], "write `when` and `never` instead of `detect`")
            return Judgement(ALWAYS_TRUE, detect or ALWAYS_TRUE, "detect", (), 0, report)
        if not {"always", "never", "assert", "detect"} & {*parts, *self.values}:
            self._complain("the rule says nothing: `always`, `never` or `detect` is missing", root)
        bad = [Negation(always)] if always else []
        clause: Literal["always", "never", "always or never"] = "always"
        if never:
            clause = "always or never" if always else "never"
        whole = Disjunction((*bad, never)) if never and bad else never or (bad[0] if bad else ALWAYS_TRUE)
        return Judgement(when or ALWAYS_TRUE, whole, clause, (), 0, report)

    def _source_text(self, node: Node, what: str) -> str | None:
        if isinstance(node.value, bool) or not isinstance(node.value, str):
            self._complain(f"{what} is an expression", node)
            return None
        return str(node.value)

    def _bindings(self) -> Bindings:
        bindings = Bindings(patterns.complaint)
        node = self.values.get("let")
        if node is None:
            return bindings
        if not isinstance(node.value, dict):
            self._complain('`let` is a mapping of name to selector, such as `charge: span("payment.charge")`', node)
            return bindings
        if len(node.value) > MAX_BINDINGS:
            self._complain(f"{len(node.value)} bindings; the limit is {MAX_BINDINGS}", node)
            return bindings
        for word, (key, value) in node.value.items():
            if not _WORD.fullmatch(word) or word in {"resource", "scope", "attribute", "root", "parent", "trace"}:
                self._complain(
                    f"`{word}` cannot name a binding", key, "letters, digits and _; a word not taken otherwise"
                )
                continue
            text = self._source_text(value, "a binding")
            if text is not None:
                with self._expression(value):
                    bindings.items[word] = resolve_items(parse(text, "definition"), bindings)
        return bindings

    def _parsed(self, name: str, start: Start, use: Callable[[Any], Any]) -> Any:
        node = self.values.get(name)
        text = None if node is None else self._source_text(node, f"`{name}`")
        if node is not None and text is not None:
            with self._expression(node):
                return use(parse(text, start))
        return None

    def _condition(self, name: str, bindings: Bindings, skew_ns: int) -> Condition | None:
        condition: Condition | None = self._parsed(
            name, "condition", lambda tree: resolve_condition(tree, bindings, skew_ns)
        )
        return condition

    def _report(self, bindings: Bindings) -> tuple[Reported, ...]:
        node = self.values.get("report")
        if node is None:
            return ()
        if not isinstance(node.value, dict):
            self._complain("`report` is a mapping of name to value, such as `exposed: sum(charge.amount)`", node)
            return ()
        reported = []
        for word, (key, value) in node.value.items():
            if not _WORD.fullmatch(word) or word == RESERVED_REPORT_NAME:
                self._complain(f"`{word}` cannot name a reported value", key, "letters, digits and _")
                continue
            text = self._source_text(value, "a reported value")
            if text is not None:
                with self._expression(value):
                    reported.append(resolve_reported(word, parse(text, "report"), bindings))
        return tuple(reported)

    def _grouping(self, root: Node, by: tuple[str, ...] | None) -> tuple[tuple[str, ...], int, Scope]:
        """The keys of the rule's scopes, the pause that ends one, and their kind."""
        keys = self._texts("group_by")
        gap = self.values.get("gap")
        if by is not None:
            for name in ("group_by", "gap"):
                if name in self.values:
                    self._complain(f"`{name}` beside `by`, which makes scopes of keys and hours", self.values[name])
            return by, 0, Scope.HOUR
        if len(set(keys)) != len(keys):
            self._complain("a key is named twice", self.values["group_by"])
        if bool(keys) != (gap is not None):
            node = gap or self.values.get("group_by", root)
            self._complain(
                "`group_by` and `gap` come together", node, "gap is the longest pause inside a group, such as 24h"
            )
        lifted = [key for key in keys if key.startswith(LIFTING)]
        if lifted and len(lifted) < len(keys):
            hint = f"write {', '.join(LIFTING + key.removeprefix(LIFTING) for key in keys)}"
            self._complain("keys of spans and of traces together", self.values["group_by"], hint)
        scope = Scope.LIFTED if lifted else Scope.GROUP if keys else Scope.TRACE
        return tuple(key.removeprefix(LIFTING) for key in keys), self._duration("gap", 0), scope

    def _duration(self, name: str, default: int) -> int:
        node = self.values.get(name)
        if node is None:
            return default
        try:
            return parse_duration(str(node.value))
        except ValueError as error:
            self._complain(str(error), node)
            return default

    def _check_keys(self, judgement: Judgement) -> None:
        """A key must be one of everything that is grouped by it; traces are lifted by what their spans carry."""
        if judgement.scope not in {Scope.GROUP, Scope.LIFTED} or "group_by" not in self.values:
            return
        entities = SPAN if judgement.scope is Scope.LIFTED else entities_of(judgement) or SPAN
        for key in judgement.group_by:
            for entity in sorted(entities):
                try:
                    group_key(key, entity)
                except ValueError as error:
                    self._complain(str(error), self.values["group_by"])
                    break

    def _examples(self, root: Node) -> tuple[Example, ...]:
        node = self.values.get("tests")
        if node is None or not isinstance(node.value, list):
            hint = "at least one that violates the rule and one that satisfies it"
            self._complain("`tests` is missing: a list of test traces", node or root, hint)
            return ()
        examples = []
        for child in node.value:
            try:
                examples.append(read_example(child))
            except ExampleError as error:
                self._complain(error.message, error.node, error.hint)
        for verdict in ("violated", "satisfied"):
            if len(examples) == len(node.value) and not any(example.verdict == verdict for example in examples):
                self._complain(
                    f"no test has the verdict `{verdict}`", node, "a rule needs one of each to show that it can fail"
                )
        return tuple(examples)
