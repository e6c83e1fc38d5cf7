"""The typed model of a rule: every name resolved, every value with a type and a unit.

Bindings are inlined, so the model says what a rule means and nothing of how it was written. `resolve` builds it,
`meaning` hashes it, `planner` and `sql` compile it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

from dagster_project.rule_language.syntax import CompareOp, Entity


class Type(StrEnum):
    """Of a value of a span or a log record. `ANY` is an attribute as it was sent, compared by its JSON text."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DURATION = "duration"
    TIME = "time"
    STATUS = "status"
    KIND = "kind"
    SEVERITY = "severity"
    ANY = "any"


ORDERED = frozenset({Type.NUMBER, Type.DURATION, Type.TIME, Type.SEVERITY})

ENUMERATIONS: dict[Type, tuple[str, ...]] = {
    Type.STATUS: ("unset", "ok", "error"),
    Type.KIND: ("unspecified", "internal", "server", "client", "producer", "consumer"),
    Type.SEVERITY: ("trace", "debug", "info", "warn", "error", "fatal"),
}

Origin: TypeAlias = Literal["intrinsic", "attribute", "resource"]

INTRINSICS: dict[Entity, dict[str, Type]] = {
    "span": {
        "name": Type.TEXT,
        "service": Type.TEXT,
        "version": Type.TEXT,
        "kind": Type.KIND,
        "status": Type.STATUS,
        "duration": Type.DURATION,
        "start": Type.TIME,
        "end": Type.TIME,
        "is_root": Type.BOOLEAN,
        "depth": Type.NUMBER,
        "children": Type.NUMBER,
    },
    "log": {
        "service": Type.TEXT,
        "severity": Type.SEVERITY,
        "body": Type.TEXT,
        "start": Type.TIME,
        "end": Type.TIME,
    },
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the item that is looked at."""

    entity: Entity
    origin: Origin
    key: str
    type: Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. Durations are nanoseconds; severities are words, compared by their OpenTelemetry range."""

    value: str | Decimal | int | bool
    type: Type


@dataclass(frozen=True, slots=True)
class Calculation:
    """Arithmetic over numbers and durations; null when an operand is null or a divisor is zero."""

    op: Literal["+", "-", "*", "/"]
    left: Term
    right: Term
    type: Type


Term: TypeAlias = Field | Constant | Calculation


@dataclass(frozen=True, slots=True)
class Comparison:
    """Unknown when a side is null."""

    op: CompareOp
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Membership:
    """`term in (values)`; unknown when the term is null."""

    term: Term
    values: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class PatternFound:
    """The RE2 pattern is found somewhere in the text; unknown when the text is null."""

    term: Term
    pattern: str


@dataclass(frozen=True, slots=True)
class GlobMatched:
    """The whole text matches the glob (`*` any run, `?` one character)."""

    term: Term
    glob: str


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether the field has a value. Never unknown, unless attributes of the item were dropped."""

    field: Field
    present: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """A boolean field as a condition."""

    term: Field


@dataclass(frozen=True, slots=True)
class Negation:
    """Three-valued `not`, of a condition on an item or on a scope."""

    operand: Condition


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Three-valued `and`; of nothing, true."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Three-valued `or`; of nothing, false."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """The spans or log records of a scope for which the condition is true.

    `selector` is the part of it that `span(...)` or `log(...)` says, without any `where`: it forms groups.
    """

    entity: Entity
    selector: Condition
    condition: Condition


@dataclass(frozen=True, slots=True)
class Some:
    """`any(items)`: there is one. `none` is its negation."""

    items: Items


@dataclass(frozen=True, slots=True)
class Every:
    """`all(items where c)`: `kept`, which adds `c`, holds every one of `items`. True of no items."""

    items: Items
    kept: Items


@dataclass(frozen=True, slots=True)
class Count:
    """How many items."""

    items: Items


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values of a field; items without one are skipped."""

    items: Items
    field: Field


@dataclass(frozen=True, slots=True)
class Number:
    """A number beside counts."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Linear:
    """Sum or difference of two quantities, or a quantity times (or divided by) a number."""

    op: Literal["+", "-", "*", "/"]
    left: Quantity
    right: Quantity


Quantity: TypeAlias = Count | Distinct | Number | Linear


@dataclass(frozen=True, slots=True)
class QuantityComparison:
    """Of counts of a scope."""

    op: CompareOp
    left: Quantity
    right: Quantity


Condition: TypeAlias = (
    Comparison
    | Membership
    | PatternFound
    | GlobMatched
    | Presence
    | Truth
    | Negation
    | Conjunction
    | Disjunction
    | Some
    | Every
    | QuantityComparison
)

ALWAYS_TRUE = Conjunction(())


@dataclass(frozen=True, slots=True)
class Reported:
    """One value of `report`. `field` is None for a count."""

    name: str
    function: Literal["first", "sum", "count", "distinct"]
    items: Items
    field: Field | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says: a violation is `when` and `bad`. `absent` says that there is no `when`.

    `group_by` is empty for rules over traces; `gap_ns` is 0 then.
    """

    when: Condition
    bad: Condition
    clause: Literal["always", "never", "always or never", "detect"]
    group_by: tuple[str, ...]
    gap_ns: int
    report: tuple[Reported, ...]
