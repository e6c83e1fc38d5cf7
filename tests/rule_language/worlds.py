"""Generators of small recorded worlds and of rules. Both are drawn from a `random.Random`.

Hypothesis gives one whose choices it shrinks; a long run gives a seeded one, which is ten times as fast. What the
worlds and rules mean is not known here. `written` has the text of a rule, `engine` the way into DuckDB.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st
from oracle_scopes import Rule  # type: ignore[import-not-found]
from recorded import NS, Deploy, Event, Link, Log, Metric, Span, Ticket, World  # type: ignore[import-not-found]

from dagster_project.rule_language.text import syntax as tree

MS = 1_000_000
HOUR = 3600 * NS
NAMES = ["pay", "pay.retry", "get", "db.query"]
SERVICES = ["shop", "shop", "bank", "bank", None]
ATTRIBUTES = ["a", "b", "c.d"]
NUMBERS: list[Any] = [0, 1, 2, 3, 0.5, -1]
TEXTS = ["x", "y", "2", ""]
GAPS = [1 * NS, 60 * NS, 3600 * NS]
# Few different times, so that ties, exact gaps, bounds of skew, hours and midnights are common.
STARTS = [0, 0, 60 * NS, 61 * NS, HOUR, 2 * HOUR, 3 * HOUR + 1, 86_399 * NS, 86_400 * NS, 25 * HOUR, 24 * 7 * HOUR]
STEPS = [0, 0, 1, MS, 5 * MS, 10 * MS, 10 * MS + 1, 20 * MS, 500 * MS, NS, NS + 1, NS + 10 * MS, 60 * NS, HOUR]
HUGE: list[Any] = [2**53, 2**53 + 1, -(2**53) - 1, 2**63, 1e308, -1e308]
STRETCHES = [10 * MS, NS, 60 * NS, HOUR]


def world(random: Random, traces: int = 4) -> World:
    """Traces that are whole or damaged, with logs, events and links, and what stood beside them."""
    made = World()
    for trace in range(1, random.randint(max(1, traces - 3), traces) + 1):
        made.spans += _trace(random, trace)
    for span in made.spans:
        for _one in range(random.choice([0, 0, 0, 0, 1, 2])):
            name = random.choice(["retry", "exception"])
            made.events.append(Event(span, name, span.start + random.choice(STEPS), _attributes(random)))
        if random.random() < 0.12:
            made.links.append(Link(span, random.choice([1, 2, 77, None]), _attributes(random)))
    made.logs = [_log(random, made.spans) for _one in range(random.randint(0, 2 * traces))]
    for _one in range(random.choice([0, 1, 3])):
        made.metrics.append(_metric(random))
        made.deploys.append(_deploy(random))
    made.tickets = [_ticket(random, number) for number in range(random.choice([0, 0, 1, 2]))]
    return made


def _attributes(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ATTRIBUTES:
        kind = random.choice(["none", "number", "number", "number", "text", "other"])
        if kind == "number":
            found[key] = random.choice(NUMBERS)
        elif kind != "none":
            found[key] = random.choice(TEXTS if kind == "text" else [True, False, None])
    if random.random() < 0.1:
        found["h"] = random.choice(HUGE)
    return found


def _trace(random: Random, trace: int) -> list[Span]:
    start, whole = random.choice(STARTS), random.random() < 0.75
    spans: list[Span] = []
    for number in range(1, random.randint(1, 6) + 1):
        parent = None if number == 1 else random.choice(spans)
        spans.append(_span(random, trace, number, None if parent is None else parent.id, start))
        if parent is not None and random.random() < 0.8:
            spans[-1].start = parent.start + random.choice(STEPS)
        if spans[-1].kind == "client" and random.random() < 0.4:
            # As Zipkin has it: the server's side of a call has the caller's id.
            server = _span(random, trace, number, spans[-1].parent, start)
            server.kind, server.start = "server", spans[-1].start + random.choice(STEPS)
            spans.append(server)
    return spans if whole else _damaged(random, spans)


def _damaged(random: Random, spans: list[Span]) -> list[Span]:
    """What is seen to be lost: a span and so a parent, a root, attributes; or parents in a circle."""
    kind = random.choice(["orphan", "roots", "dropped", "events", "cycle", "lost", "lost"])
    one = random.choice(spans)
    if kind == "orphan":
        one.parent = 99
    elif kind == "roots":
        one.parent = None
    elif kind == "dropped":
        one.dropped, one.attributes = 1, {}
    elif kind == "events":
        one.dropped_events, one.dropped_links = random.choice([(1, 0), (0, 1)])
    elif kind == "cycle":
        one.parent = random.choice(spans).id
    elif len(spans) > 1:
        spans.remove(one)
    return spans


def _span(random: Random, trace: int, number: int, parent: int | None, start: int) -> Span:
    return Span(
        trace=trace,
        id=number,
        parent=parent,
        name=random.choice(NAMES),
        service=random.choice(SERVICES),
        version=random.choice(["1.0", None]),
        kind=random.choice(["internal", "internal", "server", "client", "producer"]),
        status=random.choice(["unset", "ok", "error"]),
        start=start + random.choice(STEPS),
        duration=random.choice([0, MS, 5 * MS, 500 * MS, NS]),
        attributes=_attributes(random),
        resource={"r": random.choice(["x", 2])} if random.random() < 0.3 else {},
        scope_name=random.choice(["lib", "app", None]),
        scope_version=random.choice(["1", None]),
    )


def _log(random: Random, spans: list[Span]) -> Log:
    span = random.choice(spans)
    trace, id_ = random.choice(
        [(span.trace, span.id), (span.trace, None), (span.trace, span.id), (77, 1), (None, None)]
    )
    return Log(
        trace=trace,
        id=id_,
        service=random.choice(SERVICES),
        severity=random.choice([0, 1, 9, 12, 13, 17, 20, 24]),
        body=random.choice(["timeout", "ok x1", "", None]),
        start=span.start + random.choice(STEPS),
        attributes=_attributes(random),
        scope_name=random.choice(["lib", None]),
    )


def _metric(random: Random) -> Metric:
    # Points are kept to the microsecond.
    return Metric(
        random.choice(["cpu", "cpu.idle"]), random.choice(SERVICES), random.choice([0.0, 0.5, 90.0, None]),
        random.choice(["%", None]), _moment(random), _attributes(random),
    )  # fmt: skip


def _moment(random: Random) -> int:
    return (random.choice(STARTS) + random.choice(STEPS)) // 1000 * 1000


def _deploy(random: Random) -> Deploy:
    return Deploy(
        random.choice(SERVICES), random.choice(["1.0", "2.0"]), random.choice(["1.0", None]),
        random.choice(["prod", None]), random.choice(["success", "failure", None]), random.choice(["abc", None]),
        random.random() < 0.3, _moment(random),
    )  # fmt: skip


def _ticket(random: Random, number: int) -> Ticket:
    start = _moment(random)
    resolved = random.choice([start, start + NS, start + HOUR, None])
    return Ticket(
        f"INC{number}", random.choice(["incidents", "incidents", "pagerduty", "alertmanager"]),
        random.choice(["down", None]), random.choice(["high", "low"]), random.choice(SERVICES),
        random.choice(["core", None]), random.choice(["network", None]), start, resolved,
    )  # fmt: skip


# Conditions on one item.


def number(value: Any) -> tree.Value:
    return tree.Value(Decimal(str(value)), "number")


def text(value: str) -> tree.Value:
    return tree.Value(value, "text")


def duration(value: int) -> tree.Value:
    return tree.Value(value, "duration")


class Drawn:
    """Draws one rule: its sets, then what it says of them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.let: dict[str, tree.Expression] = {}
        self.entities: dict[str, str] = {}
        self.by: tuple[str, ...] = ()

    def one_of(self, *makers: Any) -> Any:
        return self.random.choice(makers)()

    def pick(self, *values: Any) -> Any:
        return self.random.choice(values)

    def attribute(self, word: str | None = None) -> tree.Expression:
        key = self.random.choice(ATTRIBUTES)
        if word and self.random.random() < 0.5:
            return tree.Path(word, key)
        return tree.Name(key) if key.isidentifier() and self.random.random() < 0.7 else tree.Path("attribute", key)

    def term(self, depth: int = 2) -> tree.Expression:
        """A number of an item."""
        if depth == 0 or self.random.random() < 0.5:
            return self.attribute() if self.random.random() < 0.6 else number(self.pick(*NUMBERS))
        return tree.Arithmetic(self.pick("+", "-", "*", "/"), self.term(depth - 1), self.term(depth - 1))

    def comparison_of_terms(self) -> tree.Expression:
        left = self.term()
        if not has_field(left):
            left = tree.Arithmetic("+", self.attribute(), left)
        return tree.Compare(self.op(), left, self.term())

    def huge(self) -> tree.Expression:
        """Numbers that doubles cannot tell apart or hold."""
        over = tree.Arithmetic("*", tree.Name("h"), number(10))
        return self.pick(
            tree.Compare(self.op(), tree.Name("h"), number(self.pick(*HUGE[:4]))),
            tree.Compare(self.op(), tree.Arithmetic("/", number(1), over), number(0)),
            tree.Compare(self.op(), tree.Arithmetic("-", over, over), number(0)),
            tree.Compare("==", tree.Name("h"), tree.Path("attribute", "h")),
        )

    def op(self) -> Any:
        return self.pick("==", "!=", "<", "<=", ">", ">=")

    def same(self) -> Any:
        return self.pick("==", "!=")

    def shared_leaf(self, word: str | None) -> tree.Expression:
        """A condition on what has attributes."""
        field = self.attribute(word)
        return self.one_of(
            lambda: tree.Compare(self.op(), field, number(self.pick(*NUMBERS))),
            lambda: tree.Compare(self.op(), field, number(self.pick(*NUMBERS))),
            lambda: tree.Compare(self.same(), self.pick(field, text("c.d")), text(self.pick(*TEXTS))),
            lambda: tree.Compare(self.same(), field, tree.Value(self.pick(True, False), "boolean")),
            lambda: tree.Compare(self.op(), field, self.attribute()),
            lambda: tree.Presence(self.pick(True, False), field),
            lambda: tree.Presence(self.pick(True, False), tree.Name("service")),
            lambda: field,
            lambda: tree.Compare(self.same(), tree.Name("service"), text(self.pick("shop", "bank"))),
            lambda: tree.Compare(self.same(), field, tree.Name("service")),
            lambda: tree.In(field, tree.ValueList((number(1), number(2)))),
            lambda: tree.In(field, tree.ValueList((text("x"), text("2")))),
            lambda: tree.Matches(field, text(self.pick("x|y", "^$", "2"))),
            self.comparison_of_terms,
            self.huge,
        )  # type: ignore[no-any-return]

    def root_leaf(self) -> tree.Expression:
        return self.of_other("root")

    def of_other(self, base: str) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.same(), tree.Path(base, "status"), tree.Name(self.pick("ok", "error"))),
            lambda: tree.Compare(self.op(), tree.Path(base, "a"), number(self.pick(*NUMBERS))),
            lambda: tree.Compare(self.same(), tree.Name("a"), tree.Path(base, "a")),
            lambda: tree.Compare(self.same(), tree.Name("service"), tree.Path(base, "service")),
            lambda: tree.Presence(self.pick(True, False), tree.Path(base, "a")),
            lambda: tree.Compare(self.same(), tree.Path(base, "name"), text(self.pick(*NAMES))),
        )  # type: ignore[no-any-return]

    def leaf(self, entity: str, word: str | None) -> tree.Expression:
        """A condition on one item."""
        special = {
            "span": self.span_leaf, "log": self.log_leaf, "event": self.event_leaf, "link": self.link_leaf,
            "metric": self.metric_leaf, "deploy": self.deploy_leaf, "ticket": self.ticket_leaf,
        }[entity]  # fmt: skip
        if entity in {"deploy", "ticket"}:
            return special()
        if entity != "metric" and self.random.random() < 0.12:
            return self.root_leaf()
        return special() if self.random.random() < 0.4 else self.shared_leaf(word)

    def span_leaf(self) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.op(), tree.Name("duration"), duration(self.pick(0, MS, 400 * MS))),
            lambda: tree.Compare(self.same(), tree.Name("status"), tree.Name(self.pick("ok", "error"))),
            lambda: tree.Compare(self.same(), tree.Name("kind"), tree.Name(self.pick("server", "client"))),
            lambda: tree.Compare(self.op(), tree.Name(self.pick("depth", "children")), number(self.pick(0, 1, 2))),
            lambda: tree.Name("is_root"),
            lambda: tree.Compare(self.op(), tree.Name("start"), tree.Name("end")),
            lambda: tree.Compare(
                self.op(), tree.Arithmetic("-", tree.Name("end"), tree.Name("start")), duration(self.pick(0, MS, NS))
            ),
            lambda: tree.Compare(self.same(), tree.Name("version"), text("1.0")),
            lambda: tree.Matches(tree.Name("name"), text("^pay")),
            lambda: tree.Compare("==", tree.Path("scope", "name"), text("lib")),
            lambda: tree.Compare("==", tree.Path("resource", "r"), self.pick(text("x"), number(2))),
            lambda: self.of_other("parent"),
            lambda: self.of_other("parent"),
        )  # type: ignore[no-any-return]

    def log_leaf(self) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.op(), tree.Name("severity"), tree.Name(self.pick("info", "warn", "error"))),
            lambda: tree.Matches(tree.Name("body"), text(self.pick("time", "^$", "x1?"))),
            lambda: tree.Presence(self.pick(True, False), tree.Name(self.pick("body", "severity"))),
        )  # type: ignore[no-any-return]

    def event_leaf(self) -> tree.Expression:
        return tree.Compare(self.same(), tree.Name("name"), text(self.pick("retry", "exception")))

    def link_leaf(self) -> tree.Expression:
        linked = tree.Name("linked_trace_id")
        one = text("00000000-0000-0001-0000-000000000000")  # of the first trace
        return self.pick(tree.Presence(self.pick(True, False), linked), tree.Compare(self.same(), linked, one))

    def metric_leaf(self) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.op(), tree.Name("value"), number(self.pick(0, 0.5, 50))),
            lambda: tree.Compare("==", tree.Name("unit"), text("%")),
        )  # type: ignore[no-any-return]

    def deploy_leaf(self) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.same(), tree.Name("version"), text("2.0")),
            lambda: tree.Compare(self.same(), tree.Name("status"), text("failure")),
            lambda: tree.Name("is_rollback"),
            lambda: tree.Presence(self.pick(True, False), tree.Name("environment")),
        )  # type: ignore[no-any-return]

    def ticket_leaf(self) -> tree.Expression:
        return self.one_of(
            lambda: tree.Compare(self.same(), tree.Name("severity"), text("high")),
            lambda: tree.Compare(self.same(), tree.Name("system"), text("incidents")),
            lambda: tree.Presence(self.pick(True, False), tree.Name("team")),
        )  # type: ignore[no-any-return]

    def condition(self, entity: str, word: str | None = None, depth: int = 2) -> tree.Expression:
        if depth == 0 or self.random.random() < 0.55:
            return self.leaf(entity, word)
        kind = self.pick("not", "and", "or")
        if kind == "not":
            return tree.Not(self.condition(entity, word, depth - 1))
        operands = tuple(self.condition(entity, word, depth - 1) for _one in range(self.pick(2, 2, 3)))
        return tree.And(operands) if kind == "and" else tree.Or(operands)

    # Sets.

    def selector(self, entity: str) -> tree.Selector:
        names = {"span": ["pay", "pay*", "*", "?et", None], "event": ["retry", "ex*", None], "metric": ["cpu*", None]}
        name = self.random.choice(names.get(entity, [None]))
        conditions = (self.condition(entity, None, 1),) if self.random.random() < 0.45 else ()
        return tree.Selector(entity, name, conditions)  # type: ignore[arg-type]

    def entity_of(self, node: Any) -> str:
        if isinstance(node, tree.Name):
            return self.entities[node.word]
        if isinstance(node, tree.Structured):
            return "span"
        if isinstance(node, (tree.Unless, tree.Joined)):
            return self.entity_of(node.left)
        return node.entity if isinstance(node, tree.Selector) else self.entity_of(node.items)

    def named(self, entity: str) -> tree.Expression:
        """A set that has a name, or a new one that gets one."""
        known = [name for name, of in self.entities.items() if of == entity]
        if known and self.random.random() < 0.6:
            return tree.Name(self.random.choice(known))
        return self.bound(self.selector(entity))

    def bound(self, node: tree.Expression) -> tree.Name:
        name = f"s{len(self.let)}"
        self.entities[name] = self.entity_of(node)
        self.let[name] = node
        return tree.Name(name)

    def set(self, entity: str, depth: int = 1) -> Any:
        """Any set of one kind of item."""
        kind = self.pick("name", "name", "selector", "where", "relation", "relation", "relation")
        if depth < 0 or kind == "name":
            return self.named(entity)
        if kind == "selector":
            return self.selector(entity)
        if kind == "where":
            base = self.set(entity, depth - 1)
            return tree.Filtered(base, self.condition(entity, word_of(base), 1))
        return self.relation(entity, depth)

    def relation(self, entity: str, depth: int) -> Any:
        kinds = ["unless", "joined", "joined", "joined", *(["structured"] * 7 if entity == "span" else [])]
        kind = self.random.choice(kinds)
        own = self.set(entity, depth - 1)
        if kind == "unless":
            return tree.Unless(own, self.set(entity, depth - 1))
        if kind == "structured":
            return self.structured(own, depth)
        other = self.pick("span", "log", "event", "metric", "deploy", "ticket", entity)
        scoped = other in {"span", "log", "event", "link"}
        right = self.set(other, depth - 1) if scoped else self.pick(self.selector(other), self.named(other))
        keys: list[Any] = [None, None, (), ("service",)]
        keys += [("trace",), ("trace", "service")] if scoped else []
        keys += [("a",), ("a",), ("service", "b")] if other not in {"deploy", "ticket"} else []
        within = self.pick(0, MS, NS, 60 * NS, HOUR)
        return tree.Joined(self.pick("near", "after"), own, right, within, self.random.choice(keys))

    def structured(self, own: Any, depth: int) -> tree.Structured:
        op = self.pick(">", ">>", "<", "<<", "~")
        return tree.Structured(op, self.random.random() < 0.45, self.set("span", depth - 1), own)

    # Conditions on a scope.

    def scoped_entity(self) -> str:
        return self.pick("span", "span", "span", "span", "log", "event", "link")

    def call(self, function: str, entity: str | None = None) -> tree.Call:
        entity = entity or self.scoped_entity()
        is_plain = function in {"any", "all", "none"} and entity == "span"
        items = self.structured(self.set("span", 0), 1) if is_plain and self.random.random() < 0.4 else self.set(entity)
        condition = None
        variable = None
        if function == "all" or self.random.random() < 0.35:
            if function in {"any", "all", "none"} and self.random.random() < 0.25:
                variable = "q"
            condition = self.condition(entity, variable or word_of(items), 1)
        by = self.by if function not in {"any", "all", "none"} and self.random.random() < 0.5 else ()
        return tree.Call(function, items, None, condition, variable, by)  # type: ignore[arg-type]

    def call_of_field(self, function: str, field: str, entity: str) -> tree.Call:
        base = self.call("count", entity)
        if self.random.random() < 0.6:
            # Over few items there is nothing to aggregate, and nothing is decided.
            base = replace(base, items=tree.Selector(entity, None, ()), condition=None)  # type: ignore[arg-type]
        return replace(base, function=function, field_name=field, variable=None)

    def quantity(self) -> tree.Expression:
        """A count, or a number of values."""
        if self.random.random() < 0.7:
            return self.call("count")
        entity = self.scoped_entity()
        return self.call_of_field("distinct", self.pick("a", "b", "c.d", "service"), entity)

    def counted(self) -> tree.Expression:
        left = self.quantity()
        shape = self.pick("plain", "plain", "plain", "sum", "scaled")
        if shape == "sum":
            left = tree.Arithmetic(self.pick("+", "-"), left, self.quantity())
        elif shape == "scaled":
            left = tree.Arithmetic(self.pick("*", "/"), left, number(self.pick(2, -1, 0.5)))
        right: tree.Expression = number(self.pick(0, 1, 1, 2, 3, 1.5))
        if self.random.random() < 0.2:
            right = self.quantity()
        if isinstance(right, tree.Value) and self.random.random() < 0.3:
            left, right = right, left
        return tree.Compare(self.op(), left, right)

    def aggregate(self, kind: str) -> tree.Call:
        function = self.pick("sum", "avg", "min", "max", "p50", "p90", "p95", "p99")
        if kind == "duration":
            return self.call_of_field(function, "duration", "span")
        return self.call_of_field(function, self.pick("a", "a", "b", "c.d"), self.scoped_entity())

    def aggregated(self) -> tree.Expression:
        kind = self.pick("duration", "number", "number", "time")
        if kind == "time":
            entity = self.scoped_entity()
            left: tree.Expression = tree.Arithmetic(
                "-",
                self.call_of_field("max", self.pick("start", "end"), entity),
                self.call_of_field("min", self.pick("start", "end"), entity),
            )
            return tree.Compare(self.op(), left, duration(self.pick(0, MS, NS, HOUR)))
        left = self.aggregate(kind)
        if self.random.random() < 0.2:
            left = tree.Arithmetic(self.pick("+", "-"), left, self.aggregate(kind))
        elif self.random.random() < 0.2:
            left = tree.Arithmetic(self.pick("*", "/"), left, number(self.pick(2, -1, 0.5)))
        right: tree.Expression = number(self.pick(*NUMBERS)) if kind == "number" else duration(self.pick(0, MS, NS))
        if self.random.random() < 0.2:
            right = self.aggregate(kind)
        return tree.Compare(self.op(), left, right)

    def rate(self) -> tree.Expression:
        count = replace(self.call("count"), variable=None)
        if self.random.random() < 0.3:
            return tree.Compare(self.pick("<", "<="), number(self.pick(1, 2)), count, self.pick(*STRETCHES))
        return tree.Compare(self.pick(">", ">="), count, number(self.pick(0, 1, 1, 2, 1.5)), self.pick(*STRETCHES))

    def with_baseline(self) -> tree.Expression:
        kind = self.pick("count", "distinct", "duration", "number")
        quantity: Any
        if kind == "count":
            quantity = self.call("count")
        elif kind == "distinct":
            quantity = self.call_of_field("distinct", "a", self.scoped_entity())
        else:
            quantity = self.aggregate(kind)
        quantity = replace(quantity, by=self.by)
        least = self.pick(1, 1, 1, 2, 3, None)
        past: tree.Expression = tree.Baseline(self.pick(HOUR, 24 * HOUR, 168 * HOUR), self.random.random() < 0.3, least)
        if self.random.random() < 0.5:
            past = tree.Arithmetic("*", number(self.pick(2, 0.5)), past)
        return tree.Compare(self.op(), quantity, past)

    def order(self) -> tree.Expression:
        first, second = (self.named(self.scoped_entity()) for _side in range(2))
        within = self.pick(None, 5 * MS, NS, NS, 60 * NS)
        edges = [self.pick("start", "start", "end") for _side in range(2)]
        return tree.Ordered(self.pick("before", "followed by"), first, edges[0], second, edges[1], within)

    def scope_leaf(self) -> tree.Expression:
        makers: list[Any] = [
            lambda: self.call(self.pick("any", "all", "none")),
            lambda: self.call(self.pick("any", "all", "none")),
            self.counted,
            *[self.aggregated] * 4,
            self.rate,
            self.order,
        ]
        if self.by:
            makers += [self.with_baseline] * 8
        return self.one_of(*makers)  # type: ignore[no-any-return]

    def scope_condition(self, depth: int = 1) -> tree.Expression:
        if depth == 0 or self.random.random() < 0.65:
            return self.scope_leaf()
        kind = self.pick("not", "and", "or")
        if kind == "not":
            return tree.Not(self.scope_condition(depth - 1))
        operands = tuple(self.scope_condition(depth - 1) for _one in range(2))
        return tree.And(operands) if kind == "and" else tree.Or(operands)

    def reported(self) -> tree.Call:
        function = self.pick("first", "count", "distinct", "sum", "avg", "min", "max", "p50", "p95")
        entity = self.scoped_entity()
        if function == "count":
            return replace(self.call("count", entity), by=())
        if function in {"first", "distinct"}:
            field = self.pick("a", "b", "c.d", "service")
        else:
            field = self.pick("a", "b", "duration") if entity == "span" else self.pick("a", "b")
        return replace(self.call_of_field(function, field, entity), by=())

    def rule(self) -> Rule:
        kind = self.pick(*["trace"] * 5, "group", "lifted", "hour", "hour")
        group_by: tuple[str, ...] = ()
        if kind == "hour":
            self.by = self.pick(("service",), ("service",), ("a",), ("service", "a"))
        elif kind != "trace":
            group_by = self.pick(("a",), ("b",), ("service",), ("a", "service"), ("c.d",), ("a", "b"))
            prefix = "trace." if kind == "lifted" else ""
            group_by = tuple(prefix + key for key in group_by)
        parts: dict[str, Any] = {}
        if self.random.random() < 0.2:
            parts["detect"] = self.scope_condition()
        else:
            if self.random.random() < 0.75:
                parts["when"] = self.scope_condition()
            which = self.pick("always", "always", "never", "both")
            parts.update({one: self.scope_condition() for one in ("always", "never") if which in {one, "both"}})
        parts["report"] = tuple((f"r{number}", self.reported()) for number in range(self.pick(0, 0, 1, 2)))
        gap = (300 * 365 * 24 * HOUR if self.random.random() < 0.02 else self.pick(*GAPS)) if group_by else 0
        gap = min(gap, 2**63 - 1)
        made = Rule(**parts, group_by=group_by, gap=gap, skew=self.pick(10 * MS, 10 * MS, 0, NS), by=self.by)
        if self.by and not any(True for part in (made.when, made.bad) for _call in by_calls(part)):
            made = (
                replace(made, when=self.with_baseline())
                if made.detect is None
                else replace(made, detect=tree.And((made.detect, self.with_baseline())))
            )
        return replace(made, let=tuple((name, node) for name, node in self.let.items() if name in used(made, self.let)))


def word_of(node: Any) -> str | None:
    """What an item of a set is called in a condition on it."""
    if isinstance(node, tree.Name):
        return node.word
    if isinstance(node, tree.Filtered):
        return word_of(node.items)
    if isinstance(node, tree.Structured):
        return word_of(node.right)
    return word_of(node.left) if isinstance(node, (tree.Unless, tree.Joined)) else None


def has_field(node: Any) -> bool:
    if isinstance(node, tree.Arithmetic):
        return has_field(node.left) or has_field(node.right)
    return isinstance(node, (tree.Name, tree.Path))


def children(node: Any) -> list[Any]:
    """Every node right below one."""
    found: list[Any] = []
    for name in ("operand", "left", "right", "subject", "pattern", "values", "items", "condition", "first", "second"):
        child = getattr(node, name, None)
        found += list(child) if isinstance(child, tuple) else [child] if child is not None else []
    for name in ("operands", "conditions"):
        found += list(getattr(node, name, ()))
    return found


def nodes(node: Any) -> list[Any]:
    """A node and all below it."""
    found = [node]
    for child in found:
        found.extend(children(child))
    return found


def by_calls(node: Any) -> list[tree.Call]:
    return [one for one in nodes(node) if isinstance(one, tree.Call) and one.by] if node is not None else []


def used(rule: Rule, let: dict[str, tree.Expression]) -> set[str]:
    """The names that a rule says, and those that their sets say."""
    found: set[str] = set()
    stack: list[Any] = [rule.when, rule.always, rule.never, rule.detect, *(call for _name, call in rule.report)]
    while stack:
        for node in nodes(stack.pop()):
            if isinstance(node, tree.Name) and node.word in let and node.word not in found:
                found.add(node.word)
                stack.append(let[node.word])
    return found


def rule(random: Random) -> Rule:
    return Drawn(random).rule()


# For Hypothesis.


def worlds(traces: int = 4) -> st.SearchStrategy[World]:
    return st.randoms(use_true_random=False).map(lambda random: world(random, traces))


def rules() -> st.SearchStrategy[Rule]:
    return st.randoms(use_true_random=False).map(rule)
