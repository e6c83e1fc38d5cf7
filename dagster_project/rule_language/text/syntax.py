"""The syntax tree of expressions: what was written, nothing resolved.

Frozen dataclasses that compare without their positions. No meaning is given here; `model` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["number", "text", "boolean", "null", "duration"]
CompareOp: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Entity: TypeAlias = Literal["span", "log", "event", "link", "metric", "deploy", "ticket"]
Function: TypeAlias = Literal[
    "any", "all", "none", "count", "distinct", "first", "sum", "avg", "min", "max", "p50", "p90", "p95", "p99"
]
StructureOp: TypeAlias = Literal[">", ">>", "<", "<<", "~"]
Edge: TypeAlias = Literal["start", "end"]


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
    """`left op right [per 1m]`; a single `=` is read as `==`. `per_ns` is the length of the sliding stretch."""

    op: CompareOp
    left: Expression
    right: Expression
    per_ns: int | None = None
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

    items: Set
    condition: Expression
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Structured:
    """`left > right` and the like: the items of `right` that stand (or, negated, do not stand) so to some of `left`."""

    op: StructureOp
    negated: bool
    left: Set
    right: Set
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Unless:
    """`left unless right`: the items of `left` that are not in `right`."""

    left: Set
    right: Set
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """`left near right within 5s on key`, `left after right within 5s`: the items of `left` with such a one of `right`.

    `on` is None where it is left out, and empty for `anything`.
    """

    direction: Literal["near", "after"]
    left: Set
    right: Set
    within_ns: int
    on: tuple[str, ...] | None
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`any(items)`, `distinct(items.field where ..)`, `all(x in items: ..)`, `count(items) by keys` and the like."""

    function: Function
    items: Set
    field_name: str | None
    condition: Expression | None
    variable: str | None = None
    by: tuple[str, ...] = ()
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Baseline:
    """`baseline(7d, same hour, at least 30)`: the quantity beside it, over the time before."""

    back_ns: int
    same_hour: bool
    at_least: int | None
    at: At = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Ordered:
    """`first before second [within 5s]`, `first followed by second [within 5s]`, by start or by end."""

    kind: Literal["before", "followed by"]
    first: Set
    first_edge: Edge
    second: Set
    second_edge: Edge
    within_ns: int | None
    at: At = field(default=NOWHERE, compare=False)


Set: TypeAlias = Selector | Name | Filtered | Structured | Unless | Joined

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
    | Structured
    | Unless
    | Joined
    | Call
    | Baseline
    | Ordered
)
