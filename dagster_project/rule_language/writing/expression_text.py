"""Expressions of the rule language written from parts, by whoever translates another language into it.

Every text from outside passes `text_literal` or `attribute`, so that none can end a string or add a word. The
parts keep values that satisfy them, from which test traces are made. Nothing is parsed or resolved here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from dagster_project.rule_language.meaning.model import INTRINSICS

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that the grammar or the resolver reads as something else than an attribute, whatever stands around them.
_WORDS: Final = (
    "where or and not matches in true false null before followed by per within unless on near after at_least same "
    "any all none count distinct first sum avg min max p50 p90 p95 p99 exists missing baseline "
    "span log event link metric deploy ticket resource scope attribute root parent trace anything "
    "ok error unset internal server client producer consumer unspecified debug info warn fatal"
)
_TAKEN: Final = frozenset(_WORDS.split())

_LARGEST_EXPONENT: Final = 300

Scalar: TypeAlias = str | bool | int | Decimal


class Absent:
    """What an attribute has that must not be there."""


ABSENT: Final = Absent()
Example: TypeAlias = Mapping[str, "Scalar | Absent"]
"""Field → value. An attribute is `attribute.x`, one of the resource `resource.x`; the others are fields of tests."""


def text_literal(text: str) -> str:
    """The text as a string of the language; raw when it is full of backslashes, as patterns are."""
    if "\\" in text and '"' not in text and text.isprintable():
        return f'r"{text}"'
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(_escaped(character, escapes) for character in text) + '"'


def _escaped(character: str, escapes: Mapping[str, str]) -> str:
    if character in escapes:
        return escapes[character]
    hidden = not character.isprintable() and ord(character) <= 0xFFFF
    return f"\\u{ord(character):04x}" if hidden else character


def number_of(text: str) -> Decimal:
    """A number of another language.

    Raises
    ------
    ValueError
        It is further from 0 or nearer to it than a double gets: written without an exponent it may fill the memory.
    """
    value = Decimal(text)
    if not value.is_finite() or (value and abs(value.adjusted()) > _LARGEST_EXPONENT):
        raise ValueError(f"`{text[:40]}` is no number that a double holds")
    return value if value else Decimal(0)


def literal(value: Scalar) -> str:
    """A value as the language writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        if not value.is_finite():  # `Infinity` would be an attribute
            raise ValueError(f"{value} is no number of the language")
        return f"{value:f}"
    return text_literal(value) if isinstance(value, str) else str(value)


def is_own_word(word: str) -> bool:
    """Whether the language takes the word for something else than an attribute."""
    return word in _TAKEN or any(word in fields for fields in INTRINSICS.values())


def attribute(name: str) -> str:
    """An attribute of an item, as it stands on either side of an operator."""
    if not _PLAIN.fullmatch(name):
        return f"attribute.{_quoted(name)}"
    return f"attribute.{_quoted(name)}" if is_own_word(name) else name


def resource(name: str) -> str:
    """An attribute of the resource that sent an item."""
    return f"resource.{_quoted(name)}"


def key(name: str) -> str:
    """A name behind `on`, or behind the dot of `x.name`."""
    return name if _PLAIN.fullmatch(name) and not is_own_word(name) else _quoted(name)


def _quoted(text: str) -> str:
    written = text_literal(text)
    return '"' + written[2:-1].replace("\\", "\\\\") + '"' if written.startswith("r") else written


def duration(nanoseconds: int) -> str:
    """The shortest exact duration, such as `90s` or `24h`."""
    for unit, size in (("h", 3_600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if nanoseconds and nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


# --- conditions on one item ---


@dataclass(frozen=True)
class Test:
    """One comparison, and its denial as the other language means it: what holds for a missing field is in the text."""

    __test__ = False

    text: str
    denied: str
    example: Example | None = None
    counterexample: Example | None = None
    exact: tuple[str, Scalar] | None = field(default=None, compare=False)
    """The field and the one value that it asks for, when it asks for one."""


@dataclass(frozen=True)
class AllOf:
    """All parts hold; none: true."""

    parts: tuple[ItemCondition, ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """One part holds; none: false."""

    parts: tuple[ItemCondition, ...]


ItemCondition: TypeAlias = Test | AllOf | AnyOf
ALWAYS: Final = AllOf()


def all_of(parts: Iterable[ItemCondition]) -> ItemCondition:
    """A conjunction without needless layers."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, AllOf) else (part,))]
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def any_of(parts: Iterable[ItemCondition]) -> ItemCondition:
    """A disjunction without needless layers; what always holds makes all of it hold."""
    parts = tuple(parts)
    if ALWAYS in parts:
        return ALWAYS
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, AnyOf) else (part,))]
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def denied(condition: ItemCondition) -> ItemCondition:
    """The condition that holds when this one does not, by De Morgan."""
    if isinstance(condition, Test):
        return Test(condition.denied, condition.text, condition.counterexample, condition.example)
    parts = [denied(part) for part in condition.parts]
    return any_of(parts) if isinstance(condition, AllOf) else all_of(parts)


def item_text(condition: ItemCondition, *, inside: bool = False) -> str:
    """The condition as it stands behind `where`; `inside` another one it gets brackets when it needs them."""
    if isinstance(condition, Test):
        return condition.text
    if not condition.parts:
        raise ValueError("a condition without parts has no text")
    joined = f" {'and' if isinstance(condition, AllOf) else 'or'} ".join(
        item_text(part, inside=True) for part in condition.parts
    )
    return f"({joined})" if inside else joined


# --- sets of items and conditions on a scope ---


@dataclass(frozen=True)
class Items:
    """The items of one selector, narrowed by a condition.

    `is_closed` keeps the condition inside the selector also in calls, so that no other item is in a group for it.
    """

    entity: str = "span"
    name: str | None = None
    condition: ItemCondition = field(default=ALWAYS)
    is_closed: bool = False

    @property
    def text(self) -> str:
        """`span("name", a, b)`: a conjunction becomes arguments."""
        return _selector_text(self.entity, self.name, self.condition)

    @property
    def narrowed(self) -> str:
        """`span("name") where a and b`, for inside a call."""
        if self.condition == ALWAYS or self.is_closed:
            return self.text
        return f"{_selector_text(self.entity, self.name, ALWAYS)} where {item_text(self.condition)}"


def _selector_text(entity: str, name: str | None, condition: ItemCondition) -> str:
    arguments = [text_literal(name)] if name is not None else []
    if condition != ALWAYS:
        parts = condition.parts if isinstance(condition, AllOf) else (condition,)
        arguments += [item_text(part) for part in parts]
    return f"{entity}({', '.join(arguments)})"


@dataclass(frozen=True)
class AnyItem:
    """`any(items)`; denied, `none(items)`."""

    items: Items
    is_there: bool = True


@dataclass(frozen=True)
class CountOf:
    """`count(items) op number`."""

    items: Items
    op: str
    number: Decimal


@dataclass(frozen=True)
class Said:
    """A condition on a scope as text, with items that make it true or false when somebody knows them.

    `is_joined` when the text is itself an `and` or `or`.
    """

    text: str
    makes_true: tuple[Items, ...] | None = None
    makes_false: tuple[Items, ...] | None = None
    is_joined: bool = False


@dataclass(frozen=True)
class Joined:
    """`and` or `or` of conditions on a scope."""

    word: Literal["and", "or"]
    parts: tuple[ScopeCondition, ...]


@dataclass(frozen=True)
class Denied:
    """`not (...)` of a condition on a scope."""

    part: ScopeCondition


ScopeCondition: TypeAlias = AnyItem | CountOf | Said | Joined | Denied


def scope_text(condition: ScopeCondition, *, inside: bool = False) -> str:
    """The condition as it stands behind `when:` or `always:`."""
    if isinstance(condition, AnyItem):
        return f"{'any' if condition.is_there else 'none'}({condition.items.narrowed})"
    if isinstance(condition, CountOf):
        return f"count({condition.items.narrowed}) {condition.op} {condition.number:f}"
    if isinstance(condition, Said):
        return f"({condition.text})" if inside and condition.is_joined else condition.text
    if isinstance(condition, Denied):
        return f"not ({scope_text(condition.part)})"
    joined = f" {condition.word} ".join(scope_text(part, inside=True) for part in condition.parts)
    return f"({joined})" if inside else joined


def deny(condition: ScopeCondition) -> ScopeCondition:
    """What holds in a scope when this does not."""
    if isinstance(condition, AnyItem):
        return AnyItem(condition.items, not condition.is_there)
    return condition.part if isinstance(condition, Denied) else Denied(condition)
