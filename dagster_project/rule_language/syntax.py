"""The syntax tree of expressions: what was written, nothing resolved.

Frozen dataclasses that compare without their positions. No meaning is given here; `model` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["number", "text", "boolean", "null", "duration"]
CompareOp: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Entity: TypeAlias = Literal["span", "log"]
Function: TypeAlias = Literal["any", "all", "none", "count", "distinct", "first", "sum"]


@dataclass(frozen=True, slots=True)
class At:
    """Character offsets of a node in the text of its expression."""

    start: int
    end: int


NOWHERE = At(0, 0)


@dataclass(frozen=True, slots=True)
class Value:
    """A literal. Durations are nanoseconds (int), sizes are bytes and numbers (Decimal)."""

    value: str | Decimal | int | bool | None
    unit: Unit
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ValueList:
    """`[a, b]`, the right side of `in`."""

    items: tuple[Expression, ...]
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word: a binding, an intrinsic, an attribute, or a value of an enumeration."""

    word: str
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """`base.field`: a field of a binding's items, or `resource."x"`, `scope.name`, `attribute."x"`."""

    base: str
    field_name: str
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`not operand`."""

    operand: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands."""

    operands: tuple[Expression, ...]
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands."""

    operands: tuple[Expression, ...]
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; a single `=` is read as `==`."""

    op: CompareOp
    left: Expression
    right: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """`subject matches "re2"`: the pattern is found somewhere in the text."""

    subject: Expression
    pattern: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class In:
    """`subject in [..]`."""

    subject: Expression
    values: ValueList
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left op right` with op one of + - * /."""

    op: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """`exists(field)` or `missing(field)`."""

    present: bool
    subject: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Selector:
    """`span("glob", conditions...)` or `log(conditions...)`."""

    entity: Entity
    name: str | None
    conditions: tuple[Expression, ...]
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Filtered:
    """`items where condition`."""

    items: Selector | Name
    condition: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`any(items)`, `distinct(items.field where ..)` and the like."""

    function: Function
    items: Selector | Name
    field_name: str | None
    condition: Expression | None
    at: At = field(default=NOWHERE, compare=False)


Expression: TypeAlias = (
    Value
    | ValueList
    | Name
    | Path
    | Not
    | And
    | Or
    | Compare
    | Matches
    | In
    | Arithmetic
    | Presence
    | Selector
    | Filtered
    | Call
)
