"""What was recorded, as Python objects: items of every kind, how the spans of a trace stand, what is lost.

Independent of the engine: written from docs/rules.md. Times are nanoseconds after one midnight.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

NS = 1_000_000_000


@dataclass(eq=False)
class Span:
    entity: ClassVar = "span"
    trace: int
    id: int
    parent: int | None
    name: str
    service: str | None
    version: str | None
    kind: str
    status: str
    start: int
    duration: int
    attributes: dict[str, Any]
    dropped: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    resource: dict[str, Any] = field(default_factory=dict)
    scope_name: str | None = None
    scope_version: str | None = None

    @property
    def end(self) -> int:
        return self.start + self.duration

    @property
    def node(self) -> tuple[int, int, str]:
        return self.trace, self.id, self.kind


@dataclass(eq=False)
class Log:
    entity: ClassVar = "log"
    trace: int | None
    id: int | None
    service: str | None
    severity: int
    body: str | None
    start: int
    attributes: dict[str, Any]
    resource: dict[str, Any] = field(default_factory=dict)
    scope_name: str | None = None

    @property
    def end(self) -> int:
        return self.start


@dataclass(eq=False)
class Event:
    """An event of a span; it carries the span's trace, id and service."""

    entity: ClassVar = "event"
    span: Span
    name: str
    start: int
    attributes: dict[str, Any]

    trace = property(lambda self: self.span.trace)
    id = property(lambda self: self.span.id)
    service = property(lambda self: self.span.service)
    end = property(lambda self: self.start)


@dataclass(eq=False)
class Link:
    entity: ClassVar = "link"
    span: Span
    linked_trace: int | None
    attributes: dict[str, Any]

    trace = property(lambda self: self.span.trace)
    id = property(lambda self: self.span.id)
    service = property(lambda self: self.span.service)
    start = property(lambda self: self.span.start)
    end = property(lambda self: self.span.end)


@dataclass(eq=False)
class Metric:
    entity: ClassVar = "metric"
    name: str
    service: str | None
    value: float | None
    unit: str | None
    start: int
    attributes: dict[str, Any]
    trace: ClassVar = None

    @property
    def end(self) -> int:
        return self.start


@dataclass(eq=False)
class Deploy:
    entity: ClassVar = "deploy"
    service: str | None
    version: str | None
    previous_version: str | None
    environment: str | None
    status: str | None
    commit: str | None
    is_rollback: bool
    start: int
    trace: ClassVar = None
    attributes: ClassVar[dict[str, Any]] = {}

    @property
    def end(self) -> int:
        return self.start


@dataclass(eq=False)
class Ticket:
    entity: ClassVar = "ticket"
    id: str
    system: str
    title: str | None
    severity: str | None
    service: str | None
    team: str | None
    category: str | None
    start: int
    resolved: int | None
    trace: ClassVar = None
    attributes: ClassVar[dict[str, Any]] = {}

    @property
    def end(self) -> int | None:
        return self.resolved


Item = Span | Log | Event | Link | Metric | Deploy | Ticket
TOP = ["server", "consumer", "internal", "unspecified", "client", "producer"]


@dataclass
class World:
    """Everything that was recorded, and what is seen to be lost of it."""

    spans: list[Span] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    deploys: list[Deploy] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)

    def of(self, entity: str) -> list[Any]:
        """All items of one kind."""
        return getattr(self, f"{entity}s")  # type: ignore[no-any-return]

    def scoped(self) -> Iterator[Any]:
        """What belongs to scopes: it carries a trace id, or could."""
        yield from self.spans
        yield from self.logs
        yield from self.events
        yield from self.links

    @cached_property
    def by_trace(self) -> dict[int, list[Span]]:
        """The spans of each trace."""
        found: dict[int, list[Span]] = defaultdict(list)
        for span in self.spans:
            found[span.trace].append(span)
        return dict(found)

    @cached_property
    def shapes(self) -> dict[int, Shape]:
        """How the spans of each trace stand to each other."""
        return {trace: Shape(spans) for trace, spans in self.by_trace.items()}

    def complete(self, trace: int | None) -> bool:
        """Whether nothing of a trace is seen to be lost."""
        shape = self.shapes.get(trace)  # type: ignore[arg-type]
        return shape is not None and shape.complete

    def loss(self, trace: int) -> str:
        """What shows that a trace is not whole; the first that applies."""
        shape = self.shapes.get(trace)
        if shape is None:
            return "no span of the trace was received"
        if not shape.roots:
            return "the root span is missing"
        if len(shape.roots) > 1:
            return "the trace has several roots"
        return "a parent span is missing" if shape.orphans else "the sender dropped data, or parents form a cycle"


class Shape:
    """The tree of one trace: a node is a (span id, kind), for a client and a server may share an id."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start, span.id, span.kind))
        place = {span: number for number, span in enumerate(self.spans)}
        named: dict[int, list[Span]] = defaultdict(list)
        for span in self.spans:
            named[span.id].append(span)

        def preferred(found: list[Span]) -> Span | None:
            return min(found, key=lambda one: (TOP.index(one.kind), place[one]), default=None)

        self.parent: dict[Span, Span | None] = {}
        for span in self.spans:
            caller = None
            if span.kind in {"server", "consumer"}:
                caller = preferred([one for one in named[span.id] if one.kind in {"client", "producer"}])
            meant = named.get(span.parent, []) if span.parent is not None else []
            self.parent[span] = caller or preferred(meant)
        self.roots = [span for span in self.spans if span.parent is None and self.parent[span] is None]
        self.orphans = [span for span in self.spans if span.parent is not None and self.parent[span] is None]
        self.cuts: set[Span] = set()
        self._cut(place)
        self.children: dict[Span, list[Span]] = defaultdict(list)
        for span in self.spans:
            above = self.parent[span]
            if above is not None:
                self.children[above].append(span)

    def _cut(self, place: dict[Span, int]) -> None:
        """Part each cycle at its earliest node."""
        done: set[Span] = set()
        for span in self.spans:
            way: list[Span] = []
            here: Span | None = span
            while here is not None and here not in done:
                done.add(here)
                way.append(here)
                here = self.parent[here]
            if here in way:
                self.cuts.add(min(way[way.index(here) :], key=lambda one: place[one]))
        for span in self.cuts:
            self.parent[span] = None

    @property
    def complete(self) -> bool:
        """One root, no parent missing, nothing dropped."""
        dropped = any(span.dropped or span.dropped_events or span.dropped_links for span in self.spans)
        return len(self.roots) == 1 and not self.orphans and not self.cuts and not dropped

    def ancestors(self, span: Span) -> list[Span]:
        """From the parent up to the top."""
        found = []
        above = self.parent[span]
        while above is not None:
            found.append(above)
            above = self.parent[above]
        return found

    def descendants(self, span: Span) -> list[Span]:
        """All below a span."""
        found, stack = [], list(self.children[span])
        while stack:
            below = stack.pop()
            found.append(below)
            stack.extend(self.children[below])
        return found

    def severed(self, span: Span) -> bool:
        """Whether the span has a parent that is not known."""
        return span in self.cuts or (span.parent is not None and self.parent[span] is None)
