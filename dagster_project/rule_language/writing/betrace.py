"""BeTrace's rules, in both dialects, as expressions of this language; what they leave open is refused.

`translate` reads the whitepaper's syntax below `assert:` and `detect:` of a rule file, `read_blocks` the texts
`when {} always {} never {}` of the importer. Files are read elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.limits import MAX_DEPTH, MAX_FILE_BYTES
from dagster_project.rule_language.text.operators import OPPOSITE
from dagster_project.rule_language.writing.expression_text import (
    ABSENT,
    AnyItem,
    CountOf,
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
    deny,
    is_own_word,
    item_text,
    key,
    literal,
    scope_text,
    text_literal,
)

Keyword: TypeAlias = Literal["assert", "detect"]
_Branch: TypeAlias = Tree[Token]

BARE_WORDS: Final = "a bare word on the right is a text: `{word}` means {text}"
MISSING: Final = "`!=`, `not` and `not in` are true of a span without the attribute, as BeTrace has it"
ORDERED: Final = (
    "an ordered comparison, `==`, `in`, `matches` and `contains` are not true of a span without the attribute"
)
TYPED: Final = "a value counts with the type that it was sent with: a number sent as text is no number"


@dataclass(frozen=True)
class Translated:
    """Texts of this language, and what was taken for granted on the way."""

    when: str | None
    always: str | None
    never: str | None
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """One `when {} always {} never {}`: the conditions, where it starts in the text, and what was assumed.

    A `when` that stands alone and is bad by itself is in `never`, with no `when`.
    """

    when: ScopeCondition | None
    always: ScopeCondition | None
    never: ScopeCondition | None
    start: int
    assumed: tuple[str, ...] = ()


def looks_like_betrace(text: str) -> bool:
    """Whether an expression is in the whitepaper's syntax: it has `trace.has(` or `trace.count(` outside strings."""
    outside = re.sub(r'"(?:\\.|[^"\\\n])*"|//[^\n]*', '""', text)
    return re.search(r"(?<![\w.])trace\s*\.\s*(?:has|count)\s*\(", outside) is not None


def translate(text: str, keyword: Keyword) -> Translated:
    """The whitepaper's expression as `when` and `always`, or `when` and `never`.

    Leading `trace.has(...)` conjuncts say where the rule applies and become `when`; the rest is what must hold
    (`assert`) or what is bad (`detect`). `trace` is the scope of the rule.

    Raises
    ------
    ExpressionError
        With offsets into `text`, for what is no BeTrace or has no stated meaning.
    """
    if not text.strip():
        raise ExpressionError("the expression is empty", 0)
    reader = _Reader(text)
    whole = reader.scope(_only(_parsed(text, "condition")))
    conjuncts = list(whole.parts) if isinstance(whole, Joined) and whole.word == "and" else [whole]
    leading = next((at for at, part in enumerate(conjuncts) if not _is_has(part)), len(conjuncts))
    applies, rest = conjuncts[:leading], conjuncts[leading:]
    if not rest and keyword == "assert":
        hint = f"write `when:` and `always:` apart, such as always: {scope_text(conjuncts[-1])}"
        message = "every conjunct is a trace.has, so nothing says which of them must hold when the others do"
        raise ExpressionError(message, 0, len(text), hint)
    if not rest:
        reader.assume("every conjunct is a trace.has, so all of them together are what is bad")
        applies, rest = [], conjuncts
    when = _conjoined(applies)
    bad = _conjoined(rest)
    reader.assume("`trace` is the scope of the rule: the trace, or the group when the file has `group_by`")
    return Translated(when, bad if keyword == "assert" else None, bad if keyword == "detect" else None, reader.assumed)


def read_condition(text: str) -> tuple[ScopeCondition, tuple[str, ...]]:
    """One condition of either dialect, with what was assumed.

    Raises
    ------
    ExpressionError
        With offsets into `text`.
    """
    reader = _Reader(text)
    return reader.scope(_only(_parsed(text, "condition"))), reader.assumed


def read_blocks(text: str, *, is_bad_alone: bool = False) -> tuple[Block, ...]:
    """The rules of a text in the second dialect.

    Parameters
    ----------
    text
        One or several rules.
    is_bad_alone
        Whether a `when` without `always` and `never` says what is bad; without that it is refused.

    Raises
    ------
    ExpressionError
        With offsets into `text`.
    """
    blocks: list[dict[str, _Branch | None]] = []
    starts: list[int] = []
    for found in _parsed(text, "blocks").find_data("block"):
        clause, condition = found.children
        if str(clause) == "when":
            blocks.append({})
            starts.append(_at(clause)[0])
        if not blocks:
            raise ExpressionError(f"`{clause}` without a `when` before it", *_at(clause))
        if str(clause) in blocks[-1]:
            raise ExpressionError(f"a second `{clause}` in one rule", *_at(clause))
        if condition is None:
            raise ExpressionError(f"`{clause} {{}}` is empty", *_at(clause))
        blocks[-1][str(clause)] = condition  # type: ignore[assignment]  # a tree, by the grammar
    return tuple(_block(text, parts, start, is_bad_alone) for parts, start in zip(blocks, starts, strict=True))


def _block(text: str, parts: dict[str, _Branch | None], start: int, is_bad_alone: bool) -> Block:
    is_alone = "always" not in parts and "never" not in parts
    if is_alone and not is_bad_alone:
        message = "`when` alone says nothing: neither `always` nor `never` says what is wrong with it"
        raise ExpressionError(message, start, start + 4, "BeTrace's evaluator refuses it, too")
    reader = _Reader(text)
    read = {name: reader.scope(_only(tree)) for name, tree in parts.items() if tree is not None}
    if is_alone:
        return Block(None, None, read["when"], start, reader.assumed)
    return Block(read["when"], read.get("always"), read.get("never"), start, reader.assumed)


def _conjoined(parts: list[ScopeCondition]) -> str | None:
    if not parts:
        return None
    return scope_text(parts[0] if len(parts) == 1 else Joined("and", tuple(parts)))


def _is_has(condition: ScopeCondition) -> bool:
    return isinstance(condition, AnyItem) and condition.is_there


@lru_cache(maxsize=1)
def _lark() -> Lark:
    grammar = Path(__file__).with_name("betrace.lark").read_text(encoding="utf-8")
    return Lark(
        grammar, parser="lalr", start=["condition", "blocks"], propagate_positions=True, maybe_placeholders=True
    )


def _parsed(text: str, start: str) -> _Branch:
    if len(text) > MAX_FILE_BYTES:
        raise ExpressionError(f"{len(text)} characters; at most {MAX_FILE_BYTES}", 0)
    try:
        tree = _lark().parse(text, start=start)
    except UnexpectedInput as error:
        at = len(text) if getattr(getattr(error, "token", None), "type", "") == "$END" else error.pos_in_stream or 0
        word = re.match(r"\w+|\S", text[at:])
        found = f"`{word.group()}`" if word else "the end"
        raise ExpressionError(f"no BeTrace: did not expect {found} here", at) from None
    # What comes after this recurses, so nesting is measured without recursion.
    stack = [(tree, 1)]
    while stack:
        branch, level = stack.pop()
        if level > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", *_at(branch))
        stack.extend((child, level + 1) for child in branch.children if isinstance(child, Tree))
    return tree


def _at(node: Any) -> tuple[int, int]:
    if isinstance(node, Token):
        return node.start_pos or 0, node.end_pos or 0
    return (0, 1) if node.meta.empty else (node.meta.start_pos, node.meta.end_pos)


def _only(tree: _Branch) -> _Branch:
    return tree.children[0]  # type: ignore[return-value]  # a condition holds one tree


@dataclass
class _Reader:
    """Parse tree → conditions; collects what is taken for granted."""

    text: str
    found: dict[str, None] = field(default_factory=dict)

    @property
    def assumed(self) -> tuple[str, ...]:
        return tuple(self.found)

    def assume(self, what: str) -> None:
        self.found[what] = None

    # --- on a scope ---

    def scope(self, node: _Branch) -> ScopeCondition:
        read: dict[str, Callable[[_Branch], ScopeCondition]] = {
            "condition": lambda tree: self.scope(_only(tree)),
            "disjunction": lambda tree: Joined("or", tuple(self.scope(part) for part in tree.children)),  # type: ignore[arg-type]
            "conjunction": lambda tree: Joined("and", tuple(self.scope(part) for part in tree.children)),  # type: ignore[arg-type]
            "negated": lambda tree: deny(self.scope(_only(tree))),
            "check": self._check,
            "bare_check": self._check,
            "bare_comparison": self._bare_comparison,
            "count_compared": self._count_compared,
        }
        return read[str(node.data)](node)

    def _check(self, node: _Branch) -> ScopeCondition:
        return AnyItem(Items("span", _path(node.children[0]), self._filters(node.children[1:])))

    def _filters(self, wheres: list[Any]) -> ItemCondition:
        return all_of([self._filter(_only(_only(where))) for where in wheres])

    def _bare_comparison(self, node: _Branch) -> ScopeCondition:
        path = _path(node.children[0])
        message = f"`{path} {_operator(node.children[1])} ...`: BeTrace's documents read it as an attribute of a span"
        hint = "write span.where(attribute ...), which says where the span's name ends"
        raise ExpressionError(f"{message}, its evaluator does not read the attribute at all", *_at(node), hint)

    def _count_compared(self, node: _Branch) -> ScopeCondition:
        left, operator, right = node.children
        op = str(operator)
        unique = [_unique(where) for where in left.children[1:]]  # type: ignore[union-attr]
        if any(unique):
            return self._distinct(node, op)
        items = self._counted(left)
        if isinstance(right, Tree) and right.data == "counted":
            counts = self._counted(right)
            return Said(f"count({items.narrowed}) {op} count({counts.narrowed})", *_unequal(items, counts, op))
        return CountOf(items, op, Decimal(str(_only(right))))  # type: ignore[arg-type]

    def _counted(self, node: Any) -> Items:
        return Items("span", _path(node.children[0]), self._filters(node.children[1:]))

    def _distinct(self, node: _Branch, op: str) -> ScopeCondition:
        """`trace.count(S).where(a == unique)` is the number of different values of `a` in S."""
        left, _, right = node.children
        if isinstance(right, Tree) and right.data == "counted":
            raise ExpressionError("`unique` counts are compared with numbers only", *_at(right))
        fields, conditions = [], []
        for where in left.children[1:]:  # type: ignore[union-attr]
            name = _unique(where)
            if name:
                fields.append(name)
            else:
                conditions.append(self._filter(_only(_only(where))))  # type: ignore[arg-type]
        if len(fields) > 1:
            raise ExpressionError("two `unique` in one count have no stated meaning", *_at(left))
        if is_own_word(fields[0]):
            message = (
                f"`{fields[0]}` is a field of spans here; the values of an attribute of that name cannot be counted"
            )
            raise ExpressionError(message, *_at(left))
        name = _path(left.children[0])  # type: ignore[union-attr]
        condition = all_of(conditions)
        narrowed = f" where {item_text(condition)}" if conditions else ""
        number = Decimal(str(_only(right)))  # type: ignore[arg-type]
        self.assume("`== unique` counts the different values of the attribute; spans without it are skipped")
        text = f"distinct({Items('span', name).text}.{key(fields[0])}{narrowed}) {op} {number:f}"
        return Said(text, *_different(name, fields[0], condition, op, number))

    # --- on one span ---

    def _filter(self, node: _Branch) -> ItemCondition:
        if node.data == "filter_or":
            return any_of([self._filter(part) for part in node.children])  # type: ignore[arg-type]
        if node.data == "filter_and":
            return all_of([self._filter(part) for part in node.children])  # type: ignore[arg-type]
        if node.data == "filter_negated":
            self.assume(MISSING)
            return denied(self._filter(_only(node)))
        if node.data == "is_true":
            return self._test(_path(node.children[0]), "==", True)
        name, operator, value = node.children
        subject = _path(name) if isinstance(name, Tree) else _string(name)
        return self._compared(subject, _operator(operator), value, node)

    def _compared(self, name: str, op: str, value: Any, node: _Branch) -> ItemCondition:
        kind = str(value.data)
        if op in {"in", "not in"}:
            if kind != "list_value" or value.children == [None]:
                raise ExpressionError(f"`{op}` wants a list, such as [a, b]", *_at(value))
            return self._contained(name, op, [self._value(part) for part in value.children])
        if kind == "list_value":
            raise ExpressionError(f"`{op}` takes one value, not a list", *_at(value))
        ordered = op in {"<", "<=", ">", ">="}
        if kind == "word_value" and ordered and _path(_only(value)) not in {"true", "false"}:
            word = _path(_only(value))
            message = f"`{op} {word}` compares with the text {text_literal(word)} in BeTrace, not with an attribute"
            raise ExpressionError(message, *_at(value), "compare with a number, or write the rule in our language")
        if ordered and kind == "text_value":
            raise ExpressionError(f"`{op}` with a text has no order here", *_at(value))
        plain = self._value(value)
        if plain == "unique" and kind == "word_value":
            message = "`unique` says something only as trace.count(X).where(attribute == unique)"
            raise ExpressionError(message, *_at(node))
        if op in {"matches", "contains"}:
            pattern = str(plain) if op == "matches" else re.escape(_spelled(plain))
            return self._test(name, "matches", _re2(pattern) if op == "contains" else pattern, str(_spelled(plain)))
        return self._test(name, op, plain)

    def _value(self, value: Any) -> Scalar:
        child = _only(value)
        if value.data == "text_value":
            return _string(child)
        if value.data == "word_value":
            word = _path(child)
            if word in {"true", "false"}:
                return word == "true"
            if word != "unique":
                self.assume(BARE_WORDS.format(word=word, text=text_literal(word)))
            return word
        if value.data == "list_value":
            raise ExpressionError("a list in a list", *_at(value))
        return Decimal(str(_only(child)))

    def _contained(self, name: str, op: str, values: list[Scalar]) -> ItemCondition:
        self.assume(ORDERED)
        subject = attribute(name)
        listed = f"[{', '.join(literal(value) for value in values)}]"
        test = Test(
            f"{subject} in {listed}",
            f"(missing({subject}) or {subject} not in {listed})",
            {f"attribute.{name}": values[0]},
            {f"attribute.{name}": ABSENT},
        )
        if op == "not in":
            self.assume(MISSING)
            return denied(test)
        return test

    def _test(self, name: str, op: str, value: Scalar, sample: str | None = None) -> ItemCondition:
        subject = attribute(name)
        written = literal(value)
        self.assume(ORDERED)
        if not isinstance(value, str):
            self.assume(TYPED)
        field_name = f"attribute.{name}"
        absent = {field_name: ABSENT}
        if op == "!=":
            self.assume(MISSING)
            return Test(
                f"(missing({subject}) or {subject} != {written})",
                f"{subject} == {written}",
                absent,
                {field_name: value},
            )
        example = {field_name: _example(op, value)} if op != "matches" else {field_name: sample or ""}
        opposite = f"not ({subject} matches {written})" if op == "matches" else f"{subject} {OPPOSITE[op]} {written}"
        return Test(f"{subject} {op} {written}", f"(missing({subject}) or {opposite})", example, absent)


def _operator(node: Any) -> str:
    return " ".join(str(token) for token in node.scan_values(lambda _token: True))


def _path(node: Any) -> str:
    return ".".join(str(word) for word in node.children)


def _string(token: Any) -> str:
    return re.sub(r"\\([\"\\])", r"\1", str(token)[1:-1])


def _unique(where: Any) -> str | None:
    """The attribute of `.where(attribute == unique)`."""
    node: Any = _only(_only(where))
    if node.data != "compared" or _operator(node.children[1]) != "==":
        return None
    value = node.children[2]
    if value.data != "word_value" or _path(_only(value)) != "unique":
        return None
    name = node.children[0]
    return _path(name) if isinstance(name, Tree) else _string(name)


def _spelled(value: Scalar) -> str:
    return value if isinstance(value, str) else literal(value)


def _re2(escaped: str) -> str:
    """What `re.escape` wrote, without the escapes that RE2 does not know."""
    return re.sub(r"\\([^\w.^$*+?()\[\]{}|\\-])", r"\1", escaped)


def _example(op: str, value: Scalar) -> Scalar:
    if op in {"==", ">=", "<="} or isinstance(value, (bool, str)):
        return value
    return value + 1 if op == ">" else value - 1


def _unequal(left: Items, right: Items, op: str) -> tuple[tuple[Items, ...], tuple[Items, ...]]:
    """Items that make `count(left) op count(right)` true, and such that make it false."""
    equal, more, fewer = (left, right), (left, left, right), (left, right, right)
    true = {"==": equal, "<=": equal, ">=": equal, "!=": more, ">": more, "<": fewer}
    false = {"==": more, "<=": more, ">=": fewer, "!=": equal, ">": equal, "<": equal}
    return true[op], false[op]


def _different(
    name: str, attribute_name: str, condition: ItemCondition, op: str, number: Decimal
) -> tuple[tuple[Items, ...] | None, tuple[Items, ...] | None]:
    """Items with so many different values that the comparison is true, and such that it is false."""
    if number != int(number) or not 0 < number <= 10:
        return None, None

    def valued(count: int) -> tuple[Items, ...]:
        tests = (Test("", "", {f"attribute.{attribute_name}": f"value-{index}"}) for index in range(1, count + 1))
        return tuple(Items("span", name, all_of([condition, test])) for test in tests)

    at, above, below = valued(int(number)), valued(int(number) + 1), valued(int(number) - 1)
    true = {"==": at, "<=": at, ">=": at, "!=": above, ">": above, "<": below}
    false = {"==": above, "<=": above, ">=": below, "!=": at, ">": at, "<": at}
    return true[op], false[op]
