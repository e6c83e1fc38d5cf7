"""The records that a test of a rule consists of, as they are read: spans, logs and what stands beside them.

How they are written is `rule_examples`' business, which tables they fill `replay.scratch`'s.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExampleEvent:
    """An event of a span of a test."""

    name: str
    at_ns: int
    attributes: str


@dataclass(frozen=True, slots=True)
class ExampleLink:
    """A link of a span of a test to another span, which need not be in the test."""

    trace: str
    span: str
    attributes: str


@dataclass(frozen=True, slots=True)
class ExampleSpan:
    """A span of a test. Times are nanoseconds after the test's own zero; attributes are JSON texts."""

    name: str
    service: str | None
    version: str | None
    kind: str
    status: str
    trace: str
    id: str
    parent: str | None
    at_ns: int
    duration_ns: int
    attributes: str
    resource: str
    dropped: int
    scope: str | None = None
    scope_version: str | None = None
    events: tuple[ExampleEvent, ...] = ()
    links: tuple[ExampleLink, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleLog:
    """A log record of a test."""

    body: str | None
    service: str | None
    severity: str
    trace: str
    span: str | None
    at_ns: int
    attributes: str
    resource: str
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class ExampleMetric:
    """A measured point of a test; its attributes are the labels of the series."""

    name: str
    service: str | None
    value: float
    unit: str | None
    at_ns: int
    attributes: str


@dataclass(frozen=True, slots=True)
class ExampleDeploy:
    """A deploy of a test."""

    service: str | None
    version: str | None
    previous_version: str | None
    environment: str | None
    status: str | None
    commit: str | None
    is_rollback: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class ExampleTicket:
    """An incident ticket of a test; open when `resolved_ns` is None."""

    id: str
    system: str
    title: str | None
    severity: str | None
    service: str | None
    team: str | None
    category: str | None
    at_ns: int
    resolved_ns: int | None


@dataclass(frozen=True, slots=True)
class Example:
    """One test of a rule: what it says of these records, in the scopes that begin at `from_ns` or later, if given."""

    name: str
    verdict: str
    spans: tuple[ExampleSpan, ...]
    logs: tuple[ExampleLog, ...]
    line: int
    column: int
    metrics: tuple[ExampleMetric, ...] = ()
    deploys: tuple[ExampleDeploy, ...] = ()
    tickets: tuple[ExampleTicket, ...] = ()
    from_ns: int | None = None
