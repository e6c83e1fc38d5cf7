"""The typed model of a rule: every name resolved, every value with a type and a unit.

Bindings are inlined, so the model says what a rule means and nothing of how it was written. `resolve` builds it,
`meaning` hashes it, `planner` and `sql` compile it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

from dagster_project.rule_language.text.syntax import CompareOp, Edge, Entity


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
Holder: TypeAlias = Literal["item", "root", "parent"]

SCOPED: frozenset[Entity] = frozenset({"span", "log", "event", "link"})
"""What carries a trace id and so belongs to scopes; the others stand beside them in time."""

LOSSABLE: frozenset[Entity] = frozenset({"span", "event", "link"})
"""What a trace shows the loss of."""

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
        "scope.name": Type.TEXT,
        "scope.version": Type.TEXT,
    },
    "log": {
        "service": Type.TEXT,
        "severity": Type.SEVERITY,
        "body": Type.TEXT,
        "start": Type.TIME,
        "end": Type.TIME,
        "scope.name": Type.TEXT,
    },
    "event": {"name": Type.TEXT, "service": Type.TEXT, "start": Type.TIME, "end": Type.TIME},
    "link": {"service": Type.TEXT, "start": Type.TIME, "end": Type.TIME, "linked_trace_id": Type.TEXT},
    "metric": {
        "name": Type.TEXT,
        "service": Type.TEXT,
        "value": Type.NUMBER,
        "unit": Type.TEXT,
        "start": Type.TIME,
        "end": Type.TIME,
    },
    "deploy": {
        "service": Type.TEXT,
        "version": Type.TEXT,
        "previous_version": Type.TEXT,
        "environment": Type.TEXT,
        "status": Type.TEXT,
        "commit": Type.TEXT,
        "is_rollback": Type.BOOLEAN,
        "start": Type.TIME,
        "end": Type.TIME,
    },
    "ticket": {
        "id": Type.TEXT,
        "system": Type.TEXT,
        "title": Type.TEXT,
        "severity": Type.TEXT,
        "service": Type.TEXT,
        "team": Type.TEXT,
        "category": Type.TEXT,
        "start": Type.TIME,
        "end": Type.TIME,
    },
}
"""Fields that every item of a kind has. Deploys and tickets have no attributes beside them."""

NOT_OF_OTHERS = frozenset({"is_root", "depth", "children"})
"""Fields of spans that are not read of the root or of a parent."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the item that is looked at, or of the root span of its trace, or of its parent span.

    `entity` is that of the item; a field of the root or the parent is one of spans.
    """

    entity: Entity
    origin: Origin
    key: str
    type: Type
    of: Holder = "item"


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
    """The spans, log records, events or links of a scope for which the condition is true.

    `selector` is the part of it that `span(...)` or `log(...)` says, without any `where` or relation: it forms groups.
    """

    entity: Entity
    selector: Condition
    condition: Condition


Kinship: TypeAlias = Literal["child", "descendant", "parent", "ancestor", "sibling"]


@dataclass(frozen=True, slots=True)
class Related:
    """Of a span: it is a child (descendant, parent, ...) of some span of `other`, in the same trace.

    Unknown where what was lost may have been that span.
    """

    kinship: Kinship
    other: Items


@dataclass(frozen=True, slots=True)
class Nearby:
    """Of an item: there is one of `other`, not itself, with the same `on`, that starts at most `within_ns` away.

    `after`: and not later than the item. `on` holds `trace`, `service` or names of attributes; empty: anything.
    """

    direction: Literal["near", "after"]
    other: Items
    within_ns: int
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """Of an item: it is in `items`. False where that is unknown because a value was never there; unknown by loss."""

    items: Items


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


AggregateFunction: TypeAlias = Literal["sum", "avg", "min", "max", "p50", "p90", "p95", "p99"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A sum, mean, extreme or quantile (nearest rank) of a field; items without one are skipped.

    A sum over nothing is 0, everything else over nothing is null.
    """

    function: AggregateFunction
    items: Items
    field: Field


@dataclass(frozen=True, slots=True)
class Rate:
    """The most items that any stretch of `per_ns`, both ends included, holds."""

    items: Items
    per_ns: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What `of` was in the time before: over the pooled items of the hours that begin up to `back_ns` earlier.

    Null with fewer than `at_least` of them. Hours that overlap an incident are left out.
    """

    of: Count | Distinct | Aggregate
    back_ns: int
    same_hour: bool
    at_least: int


@dataclass(frozen=True, slots=True)
class Number:
    """A number beside counts; nanoseconds beside durations."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Linear:
    """Sum or difference of two quantities, or a quantity times (or divided by) a number."""

    op: Literal["+", "-", "*", "/"]
    left: Quantity
    right: Quantity


Measured: TypeAlias = Count | Distinct | Aggregate | Rate | Baseline
Quantity: TypeAlias = Measured | Number | Linear


@dataclass(frozen=True, slots=True)
class QuantityComparison:
    """Of counts, sums, quantiles, ... of a scope. Unknown when a side is null."""

    op: CompareOp
    left: Quantity
    right: Quantity


@dataclass(frozen=True, slots=True)
class Ordered:
    """Every item of `every` has one of the other set on its right side in time, at most `within_ns` away.

    Items of the same service compare exactly; of different ones up to `skew_ns` apart, ancestry tells, or nothing does.
    """

    first: Items
    first_edge: Edge
    second: Items
    second_edge: Edge
    every: Literal["first", "second"]
    within_ns: int | None
    skew_ns: int

    @property
    def quantified(self) -> Items:
        """The set of which every item needs a partner."""
        return self.first if self.every == "first" else self.second

    @property
    def partners(self) -> Items:
        """The set among which partners are looked for."""
        return self.second if self.every == "first" else self.first


Condition: TypeAlias = (
    Comparison
    | Membership
    | PatternFound
    | GlobMatched
    | Presence
    | Truth
    | Related
    | Nearby
    | Member
    | Negation
    | Conjunction
    | Disjunction
    | Some
    | Every
    | QuantityComparison
    | Ordered
)

ALWAYS_TRUE = Conjunction(())


ReportFunction: TypeAlias = Literal["first", "count", "distinct"] | AggregateFunction


@dataclass(frozen=True, slots=True)
class Reported:
    """One value of `report`. `field` is None for a count."""

    name: str
    function: ReportFunction
    items: Items
    field: Field | None


class Scope(StrEnum):
    """What is judged as one: see docs/rules.md, Scopes."""

    TRACE = "trace"
    GROUP = "group"  # spans of one key, at most a gap apart
    LIFTED = "lifted"  # whole traces that carry one key, at most a gap apart
    HOUR = "hour"  # spans of one key in one hour of UTC


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says: a violation is `when` and `bad`. `absent` says that there is no `when`.

    `group_by` is empty for rules over traces (and may be for hours); `gap_ns` is 0 but for groups and lifted groups.
    """

    when: Condition
    bad: Condition
    clause: Literal["always", "never", "always or never", "detect"]
    group_by: tuple[str, ...]
    gap_ns: int
    report: tuple[Reported, ...]
    scope: Scope = Scope.TRACE


def parts(node: object) -> tuple[object, ...]:
    """What a node of the model, or a tuple of them, is made of; nothing for a word, a number or a type."""
    if isinstance(node, tuple):
        return node
    return tuple([getattr(node, name) for name in field_names(type(node)) or ()])


_FIELD_NAMES: dict[type, tuple[str, ...] | None] = {}


def field_names(kind: type) -> tuple[str, ...] | None:
    """The names of the fields of a kind of node; None for what is no node. Asked of every part of every rule."""
    if kind not in _FIELD_NAMES:
        _FIELD_NAMES[kind] = tuple(one.name for one in fields(kind)) if is_dataclass(kind) else None
    return _FIELD_NAMES[kind]
