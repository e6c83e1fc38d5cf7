"""The second reading of docs/rules.md, of whole scopes: which there are, what a rule says of each, and what shows it.

Conditions are sets of possible values, quantities are ranges. `oracle` knows what is true of one item.
"""

# ruff: noqa: PLR0911  # one return a kind of node

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from oracle import MISSING, OPERATORS, UNKNOWABLE, ItemJudge, Sent, as_number, plain  # type: ignore[import-not-found]
from recorded import NS, Span, World  # type: ignore[import-not-found]

from dagster_project.rule_language.text import syntax as tree

HOUR = 3600 * NS
MIDNIGHT = datetime(2024, 2, 1, tzinfo=UTC)  # that times are counted from
SKEW = 10_000_000
NOTHING, SKEWED, TOO_FEW = "nothing to aggregate", "order within clock skew", "too few records for a baseline"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
OPPOSITE: dict[str, Any] = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED: dict[str, Any] = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
NULL, ANYTHING = object(), object()  # a quantity that is not there; one of which nothing is known


@dataclass(frozen=True)
class Rule:
    """A rule as syntax trees; `let` is in order. Keys of lifted groups are written `trace.key`."""

    let: tuple[tuple[str, tree.Expression], ...] = ()
    when: tree.Expression | None = None
    always: tree.Expression | None = None
    never: tree.Expression | None = None
    detect: tree.Expression | None = None
    report: tuple[tuple[str, tree.Call], ...] = ()
    group_by: tuple[str, ...] = ()
    gap: int = 0
    skew: int = SKEW
    by: tuple[str, ...] = ()

    @property
    def bad(self) -> tree.Expression:
        if self.detect is not None:
            return self.detect
        parts: list[tree.Expression] = [tree.Not(self.always)] if self.always else []
        parts += [self.never] if self.never else []
        return parts[0] if len(parts) == 1 else tree.Or(tuple(parts))


@dataclass(frozen=True)
class Verdict:
    """`causes` are the reasons that may be given for an inconclusive one; they are no part of the comparison."""

    key: str
    traces: tuple[int, ...]
    verdict: str
    first: int
    last: int
    witness: tuple[tuple[int | None, int | None], ...]
    reported: str
    services: tuple[str, ...]
    causes: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass
class ScopeItems:
    """One scope: its items, whether something was lost of it, and where it lies."""

    key: tuple[str, ...]
    traces: tuple[int, ...]
    items: list[Any]
    lossy: bool
    first: int
    last: int
    belongs_at: int
    loss: str = ""
    hour: int | None = None
    causes: set[str] = field(default_factory=set)


class Judge(ItemJudge):
    """One rule over one world."""

    def __init__(self, rule: Rule, world: World) -> None:
        super().__init__(rule.let, world)
        self.rule = rule
        self.calls = list(self.terms())
        self.busy: Counter[tuple[str, str]] = Counter()  # operators that had items in a scope, by its verdict

    # Which sets the rule looks at.

    def terms(self) -> Iterator[tree.Call]:
        """Every set that a term of the rule looks at; the sides of an order as if they were counted."""
        stack: list[Any] = [self.rule.when, self.rule.bad, *(call for _name, call in self.rule.report)]
        while stack:
            node = stack.pop()
            if isinstance(node, tree.Call):
                yield node
            elif isinstance(node, tree.Ordered):
                yield from self.sides(node)
            else:
                stack.extend(parts(node))

    def sides(self, node: tree.Ordered) -> tuple[tree.Call, tree.Call]:
        """The two sets of an order; kept, so that what is known of them is known by their identity."""
        if not hasattr(self, "_sides"):
            self._sides: dict[int, tuple[tree.Call, tree.Call]] = {}
        made = (tree.Call("count", node.first, None, None), tree.Call("count", node.second, None, None))
        return self._sides.setdefault(id(node), made)

    def looked_at(self, item: Any) -> bool:
        return any(
            (self.members(call.items, item) if call.function == "all" else self.kept(call, item)) is True
            for call in self.calls
        )

    def sure_of(self, call: tree.Call, scope: ScopeItems) -> list[Any]:
        """The items of a term that are surely there, in order."""
        return ordered([item for item in scope.items if self.kept(call, item) is True])

    # Conditions on a scope: the set of values that they can have.

    def possible(self, node: Any, scope: ScopeItems) -> set[bool]:
        if isinstance(node, tree.Not):
            return {not value for value in self.possible(node.operand, scope)}
        if isinstance(node, (tree.And, tree.Or)):
            sides = [self.possible(operand, scope) for operand in node.operands]
            combine = all if isinstance(node, tree.And) else any
            return {combine(chosen) for chosen in itertools.product(*sides)}
        if isinstance(node, tree.Compare):
            return self.compared_quantities(node, scope)
        if isinstance(node, tree.Ordered):
            return self.in_order(node, scope)
        assert isinstance(node, tree.Call)
        loses = scope.lossy and self.lossable(node)
        if node.function == "all":
            if self.counterexamples(node, scope):
                return {False}
            return {True, False} if loses else {True}
        found = any(self.kept(node, item) is True for item in scope.items)
        result = {True} if found else {True, False} if loses else {False}
        return result if node.function == "any" else {not value for value in result}

    def counterexamples(self, node: tree.Call, scope: ScopeItems) -> list[Any]:
        """Items of the set that are surely not kept; what is unknown where something was lost is not sure."""
        return [
            item
            for item in scope.items
            if self.members(node.items, item) is True
            and ((kept := self.kept(node, item)) is False or (kept is None and not self.hides(node, item)))
        ]

    # Quantities: the least and the greatest value.

    def compared_quantities(self, node: tree.Compare, scope: ScopeItems) -> set[bool]:
        beside = next((call for side in (node.left, node.right) for call in calls_in(side)), None)
        sides = [self.quantity(side, scope, node.per_ns, beside) for side in (node.left, node.right)]
        if any(side is NULL or side is ANYTHING for side in sides):
            return {True, False}
        return outcomes(node.op, *sides)

    def quantity(self, node: Any, scope: ScopeItems, per: int | None, beside: tree.Call | None) -> Any:
        if isinstance(node, tree.Value):
            value = float(node.value) if node.unit == "number" else node.value  # type: ignore[arg-type]
            return value, value
        if isinstance(node, tree.Arithmetic):
            sides = [self.quantity(side, scope, per, beside) for side in (node.left, node.right)]
            for absent in (NULL, ANYTHING):
                if any(side is absent for side in sides):
                    return absent
            return calculated(node.op, *sides)
        if isinstance(node, tree.Baseline):
            assert beside is not None
            return self.baseline(node, beside, scope)
        items = self.sure_of(node, scope)
        loses = scope.lossy and self.lossable(node)
        if per is not None:
            most = densest(items, per)
            return most, math.inf if loses else most
        found = self.measured(node, items)
        if found is None:
            scope.causes.add(NOTHING)
            return ANYTHING if loses else NULL
        return self.widened(node, items, found) if loses else (found, found)

    def widened(self, node: tree.Call, items: list[Any], found: Any) -> Any:
        """What a quantity can be when further items may have been lost."""
        if node.function in {"count", "distinct"}:
            return found, math.inf
        if not self.values_of(node, items) and node.function != "sum":
            return ANYTHING
        is_duration = node.field_name == "duration"
        least = 0 if is_duration else -math.inf
        if node.function == "sum":
            return (found, math.inf) if is_duration else (-math.inf, math.inf)
        if node.function == "min":
            return least, found
        return (found, math.inf) if node.function == "max" else (least, math.inf)

    def measured(self, node: tree.Call, items: list[Any]) -> Any:
        """A count or an aggregate of sure items; None over nothing."""
        if node.function == "count":
            return len(items)
        if node.function == "distinct":
            return len(self.different(node, items))
        values = self.values_of(node, items)
        if node.function == "sum":
            return total(values)
        return aggregated(node.function, values) if values else None

    def values_of(self, node: tree.Call, items: list[Any]) -> list[Any]:
        """The numbers of a field: attributes as numbers, durations and times in whole nanoseconds."""
        found = [self.named(item, str(node.field_name)) for item in items]
        found = [as_number(one) if isinstance(one, Sent) else one for one in found]
        return [one for one in found if one is not MISSING and one is not UNKNOWABLE]

    def different(self, node: tree.Call, items: list[Any]) -> list[Any]:
        """Different values of a field, in order of their first item."""
        return list(dict.fromkeys(plain(value) for _item, value in self.in_turn(node, items)))

    def in_turn(self, node: tree.Call, items: list[Any]) -> list[tuple[Any, Any]]:
        """The items that have a field, in order, and their values; of items at one place the least value first."""
        found = [(item, self.named(item, str(node.field_name))) for item in items]
        found = [(item, value) for item, value in found if value is not MISSING and value is not UNKNOWABLE]
        return sorted(found, key=lambda one: (place_of(one[0]), plain(one[1])))

    def baseline(self, node: tree.Baseline, beside: tree.Call, scope: ScopeItems) -> Any:
        assert scope.hour is not None
        if not scope.items:
            return NULL  # of an hour that only a loss may have filled nothing is compared
        start = scope.hour * HOUR

        def counts(hour: int) -> bool:
            earlier = 0 < start - hour * HOUR <= node.back_ns
            return earlier and (not node.same_hour or (scope.hour - hour) % 24 == 0) and not self.troubled(hour, scope)

        pooled = [
            item
            for item in self.world.of(self.entity(beside))
            if counts(item.start // HOUR) and self.kept(beside, item) is True and self.keys_of(item) == scope.key
        ]
        if len(pooled) < (30 if node.at_least is None else node.at_least):
            scope.causes.add(TOO_FEW)
            return NULL
        value: Any = self.measured(beside, pooled)
        if beside.function == "count":
            logs = self.world.logs if self.entity(beside) == "log" else []
            hours = {one.start // HOUR for one in [*self.world.spans, *logs] if counts(one.start // HOUR)}
            value = len(pooled) / len(hours) if hours else None
        if value is None:
            scope.causes.add(NOTHING)
            return NULL
        return value, value

    def troubled(self, hour: int, scope: ScopeItems) -> bool:
        """Whether an incident of the same service, or one of the incident file of none, touches the hour; no alert."""
        service = scope.key[self.rule.by.index("service")] if "service" in self.rule.by else None
        return any(
            ticket.start < (hour + 1) * HOUR
            and (ticket.start + 24 * HOUR if ticket.resolved is None else ticket.resolved) >= hour * HOUR
            and (service is None or ticket.service is None or json.dumps(ticket.service) == service)
            and (
                ticket.system == "incidents"
                or (ticket.service is not None and ticket.system not in {"alertmanager", "cloudwatch"})
            )
            for ticket in self.world.tickets
        )

    # Order.

    def earlier(self, node: tree.Ordered, first: Any, second: Any) -> bool | None:
        """Whether one item is earlier than the other; None where their clocks leave it open."""
        before = first.end if node.first_edge == "end" else first.start
        after = second.end if node.second_edge == "end" else second.start
        apart, skew = after - before, self.rule.skew
        one_clock = first.service is not None and first.service == second.service
        order: bool | None = apart > 0
        if not one_clock and abs(apart) <= skew:
            order = None
            starts = node.first_edge == node.second_edge == "start"
            if starts and first.entity == second.entity == "span" and first.trace == second.trace:
                shape = self.world.shapes[first.trace]
                if first in shape.ancestors(second):
                    order = True
                elif second in shape.ancestors(first):
                    order = False
        near: bool | None = True
        if node.within_ns is not None:
            near = apart <= node.within_ns
            if not one_clock and abs(apart - node.within_ns) <= skew:
                near = None
        if order is False or near is False:
            return False
        return None if order is None or near is None else True

    def unpaired(self, node: tree.Ordered, scope: ScopeItems) -> tuple[list[Any], bool]:
        """The items that surely lack a partner, and whether some may lack one."""
        first, second = (self.sure_of(side, scope) for side in self.sides(node))
        without, open_ = [], False
        for item in second if node.kind == "before" else first:
            if node.kind == "before":
                found = [self.earlier(node, other, item) for other in first]
            else:
                found = [self.earlier(node, item, other) for other in second]
            if True in found:
                continue
            if None in found:
                open_ = True
            else:
                without.append(item)
        return without, open_

    def in_order(self, node: tree.Ordered, scope: ScopeItems) -> set[bool]:
        without, open_ = self.unpaired(node, scope)
        sides = self.sides(node)
        every, partners = (sides[1], sides[0]) if node.kind == "before" else sides
        if without:
            return {True, False} if scope.lossy and self.lossable(partners) else {False}
        if open_:
            scope.causes.add(SKEWED)
            return {True, False}
        return {True, False} if scope.lossy and self.lossable(every) else {True}

    # Witness.

    def witness(self, node: Any, wanted: bool, scope: ScopeItems) -> list[Any]:
        if isinstance(node, tree.Not):
            return self.witness(node.operand, not wanted, scope)
        if isinstance(node, (tree.And, tree.Or)):
            if isinstance(node, tree.And) is wanted:
                return [item for operand in node.operands for item in self.witness(operand, wanted, scope)]
            for operand in node.operands:
                if self.possible(operand, scope) == {wanted}:
                    return self.witness(operand, wanted, scope)
            return []
        if isinstance(node, tree.Ordered):
            return [] if wanted else ordered(self.unpaired(node, scope)[0])[:1]
        if isinstance(node, tree.Call):
            if node.function == "all":
                return [] if wanted else ordered(self.counterexamples(node, scope))[:1]
            return self.sure_of(node, scope)[:1] if (node.function == "any") is wanted else []
        assert isinstance(node, tree.Compare)
        return self.witness_of_quantities(node if wanted else replace(node, op=OPPOSITE[node.op]), scope)

    def witness_of_quantities(self, node: tree.Compare, scope: ScopeItems) -> list[Any]:
        calls = [call for side in (node.left, node.right) for call in calls_in(side)]
        op, one, other = node.op, node.left, node.right
        if isinstance(node.left, tree.Value):
            op, one, other = MIRRORED[op], node.right, node.left
        counted = isinstance(one, tree.Call) and one.function in {"count", "distinct"} and isinstance(other, tree.Value)
        if not counted:
            return [item for call in dict.fromkeys(calls) for item in self.sure_of(call, scope)[:1]]
        call, bound = calls[0], float(other.value)  # type: ignore[union-attr,arg-type]
        kept = self.sure_of(call, scope)
        needed = 0
        if not OPERATORS[op](0, bound):
            needed = {">": math.floor(bound) + 1, ">=": math.ceil(bound), "==": math.ceil(bound)}.get(op, 0)
        if node.per_ns is not None:
            return earliest_stretch(kept, needed, node.per_ns)
        if call.function == "distinct":
            return self.witness_of_values(call, kept, op, needed)
        if op == "!=":
            return kept[: math.floor(bound) + 1] if len(kept) > bound else []
        return kept[:needed]

    def witness_of_values(self, call: tree.Call, kept: list[Any], op: str, needed: int) -> list[Any]:
        firsts = [
            next(item for item in kept if plain(self.named(item, str(call.field_name))) == value)
            for value in self.different(call, kept)[:2]
        ]
        if op == "!=" or needed >= 2:
            return firsts if len(firsts) == 2 else []
        return firsts[:1] if needed == 1 else []

    # Scopes.

    def scopes(self) -> Iterable[ScopeItems]:
        if self.rule.by:
            return self.hours()
        return self.groups() if self.rule.group_by else self.traces()

    def traces(self) -> Iterator[ScopeItems]:
        of_trace: dict[int, list[Any]] = defaultdict(list)
        for item in self.world.scoped():
            if item.trace is not None and self.looked_at(item):
                of_trace[item.trace].append(item)
        for trace in sorted({*self.world.by_trace, *of_trace}):
            spans, items = self.world.by_trace.get(trace, []), of_trace[trace]
            starts = [item.start for item in items] or [span.start for span in spans]
            last = max((item.start for item in items), default=None)
            yield ScopeItems(
                key=(str(trace),),
                traces=(trace,),
                items=items,
                lossy=not self.world.complete(trace),
                first=min(starts),
                last=max(span.end for span in spans) if last is None else last,
                belongs_at=min((span.start for span in spans), default=min(starts)),
                loss=self.world.loss(trace),
            )

    def keys_of(self, item: Any) -> tuple[str, ...] | None:
        """The values of the group's keys as JSON texts."""
        values = [self.key_text(item, name) for name in self.rule.by or self.rule.group_by]
        return None if None in values else tuple(value for value in values if value is not None)

    def key_text(self, item: Any, name: str) -> str | None:
        value = self.named(item, name.removeprefix("trace."))
        if value is MISSING or value is UNKNOWABLE:
            return None
        return str(plain(value)) if isinstance(value, Sent) else json.dumps(value)

    def lifted(self) -> dict[int, list[tuple[str, ...]]]:
        """The groups that each trace belongs to: every combination of the values that its spans carry."""
        return {
            trace: sorted(
                itertools.product(
                    *(
                        {text for span in spans if (text := self.key_text(span, name)) is not None}
                        for name in self.rule.group_by
                    )
                )
            )
            for trace, spans in self.world.by_trace.items()
        }

    def keyed(self) -> dict[tuple[str, ...], list[Any]]:
        """The items that some selector matches, by key."""
        by_key: dict[tuple[str, ...], list[Any]] = defaultdict(list)
        lifts = any(key.startswith("trace.") for key in self.rule.group_by)
        of_trace = self.lifted() if lifts else {}
        for item in self.world.scoped():
            if any(self.selected(call.items, item) for call in self.calls):
                own = of_trace.get(item.trace, []) if lifts else [key] if (key := self.keys_of(item)) else []
                for one in own:
                    by_key[one].append(item)
        return by_key

    def lost(self) -> dict[tuple[tuple[str, ...], int], list[Span]]:
        """The keys that incomplete traces were seen with, and the spans of each such trace."""
        if not any(self.lossable(call) for call in self.calls):
            return {}
        if any(key.startswith("trace.") for key in self.rule.group_by):
            seen = [(key, trace) for trace, keys in self.lifted().items() for key in keys]
        else:
            seen = [(key, span.trace) for span in self.world.spans if (key := self.keys_of(span))]
        return {(key, trace): self.world.by_trace[trace] for key, trace in seen if not self.world.complete(trace)}

    def groups(self) -> Iterator[ScopeItems]:
        lost = self.lost()
        alone = dict(lost)
        for key, items in sorted(self.keyed().items()):
            for group in split(items, self.rule.gap):
                first, last = min(item.start for item in group), max(item.start for item in group)
                touching = [one for one in lost if one[0] == key and near(lost[one], first, last, self.rule.gap)]
                for one in touching:
                    alone.pop(one, None)
                traces = tuple(sorted({item.trace for item in group if item.trace is not None}))
                text = "a trace of the group is incomplete"
                yield ScopeItems(key, traces, group, bool(touching), first, last, first, text)
        for (key, trace), spans in alone.items():
            first, last = min(span.start for span in spans), max(span.end for span in spans)
            text = "a trace that carries the key is incomplete"
            yield ScopeItems(key, (trace,), [], True, first, last, first, text)

    def hours(self) -> Iterator[ScopeItems]:
        found: dict[tuple[tuple[str, ...], int], list[Any]] = defaultdict(list)
        for key, items in self.keyed().items():
            for item in items:
                found[key, item.start // HOUR].append(item)
        lost: dict[tuple[tuple[str, ...], int], set[int]] = defaultdict(set)
        for (key, trace), spans in self.lost().items():
            first, last = min(span.start for span in spans), max(span.end for span in spans)
            for hour in range(first // HOUR, last // HOUR + 1):
                lost[key, hour].add(trace)
        for key, hour in sorted({*found, *lost}):
            items, hidden = found.get((key, hour), []), sorted(lost.get((key, hour), set()))
            unseen = [] if items else [span for trace in hidden for span in self.world.by_trace[trace]]
            yield ScopeItems(
                key=key,
                traces=tuple(sorted({one.trace for one in items if one.trace is not None})) if items else tuple(hidden),
                items=items,
                lossy=(key, hour) in lost,
                first=min(one.start for one in items or unseen),
                last=max(one.start for one in items) if items else max(one.end for one in unseen),
                belongs_at=hour * HOUR,
                loss="a trace of the group is incomplete" if items else "a trace that carries the key is incomplete",
                hour=hour,
            )

    # Verdicts.

    def verdicts(self, start: int | None = None, end: int | None = None) -> list[Verdict]:
        """Of the scopes that belong to [start, end)."""
        found = []
        for scope in self.scopes():
            if (start is None or scope.belongs_at >= start) and (end is None or scope.belongs_at < end):
                verdict = self.judged(scope)
                self.note(scope, verdict.verdict if verdict else "not applicable")
                found += [verdict] if verdict else []
        return found

    def judged(self, scope: ScopeItems) -> Verdict | None:
        rule = self.rule
        when = self.possible(rule.when, scope) if rule.when else {True}
        if True not in when:
            return None
        can_be_bad = self.possible(rule.bad, scope)
        verdict = "inconclusive"
        if when == {True} and len(can_be_bad) == 1:
            verdict = "violated" if can_be_bad == {True} else "satisfied"
        witness: list[Any] = []
        if verdict == "violated":
            witness = self.witness(rule.bad, True, scope)
            if not witness and rule.when:
                witness = self.witness(rule.when, True, scope)
        spans = tuple(dict.fromkeys((item.trace, item.id) for item in ordered(witness)))
        services = () if verdict == "satisfied" else tuple(sorted({one.service for one in scope.items if one.service}))
        reported = "{}" if verdict == "satisfied" else self.reported(scope)
        causes = frozenset(scope.causes | ({scope.loss} if scope.lossy else set()))
        key = self.shown(scope)
        return Verdict(key, scope.traces, verdict, scope.first, scope.last, spans, reported, services, causes)

    def shown(self, scope: ScopeItems) -> str:
        if scope.hour is not None:
            began = MIDNIGHT + timedelta(hours=scope.hour)
            return f"[{','.join([*scope.key, json.dumps(began.strftime('%Y-%m-%dT%H:%M:%SZ'))])}]"
        return scope.key[0] if len(scope.key) == 1 else f"[{','.join(scope.key)}]"

    def reported(self, scope: ScopeItems) -> str:
        values: dict[str, Any] = {}
        skipped: dict[str, int] = {}
        for name, call in self.rule.report:
            kept = self.sure_of(call, scope)
            if call.function in {"count", "distinct"}:
                values[name] = self.measured(call, kept)
            elif call.function == "first":
                first = next((value for _item, value in self.in_turn(call, kept)), None)
                values[name] = first.value if isinstance(first, Sent) else first
            else:
                numbers = self.values_of(call, kept)
                values[name] = self.measured(call, kept) if numbers else None
                skipped[name] = len(kept) - len(numbers)
        if skipped:
            values["nulls_skipped"] = skipped
        return json.dumps(values, sort_keys=True)

    # What a pair of rule and world exercised.

    def note(self, scope: ScopeItems, verdict: str) -> None:
        """Count the operators that had something to do in a scope with this verdict."""
        if not scope.items:
            return
        self.busy["scope " + kind_of(self.rule), verdict] += 1
        given: dict[str, set[Any]] = defaultdict(set)
        for operator, value in self.seen:
            given[operator].add(value)
        for operator, values in given.items():
            if len(values) > 1:
                self.busy[operator, verdict] += 1
        for _name, call in self.rule.report:
            if any(self.kept(call, item) is True for item in scope.items):
                self.busy[f"report {call.function}", verdict] += 1
        stack: list[Any] = [self.rule.when, self.rule.bad]
        while stack:
            node = stack.pop()
            stack.extend(parts(node))
            for operator in self.exercised(node, scope):
                self.busy[operator, verdict] += 1

    def exercised(self, node: Any, scope: ScopeItems) -> Iterator[str]:
        """The operators of one condition that had something to do in a scope."""
        if isinstance(node, tree.Compare):
            for call in [one for side in (node.left, node.right) for one in calls_in(side)]:
                if any(self.kept(call, item) is True for item in scope.items):
                    yield "per" if node.per_ns is not None else call.function
                    yield f"of {self.entity(call)}s"
                    has_past = any(isinstance(one, tree.Baseline) for one in (*parts(node), *deep(node)))
                    if has_past and TOO_FEW not in scope.causes:
                        yield "baseline"
        elif isinstance(node, tree.Ordered):
            if all(any(self.kept(side, item) is True for item in scope.items) for side in self.sides(node)):
                yield node.kind
                if node.within_ns is not None:
                    yield f"{node.kind} within"
                if self.unpaired(node, scope)[1]:
                    yield "clock skew"
        elif isinstance(node, tree.Call) and any(self.members(node.items, item) is True for item in scope.items):
            yield node.function
            yield f"of {self.entity(node)}s"


def kind_of(rule: Rule) -> str:
    """Which scopes a rule judges."""
    if rule.by:
        return "hour"
    lifts = any(key.startswith("trace.") for key in rule.group_by)
    return "lifted" if lifts else "group" if rule.group_by else "trace"


def parts(node: Any) -> list[Any]:
    """What a condition on a scope is made of."""
    if isinstance(node, tree.Not):
        return [node.operand]
    if isinstance(node, (tree.And, tree.Or)):
        return list(node.operands)
    return [node.left, node.right] if isinstance(node, (tree.Compare, tree.Arithmetic)) else []


def deep(node: Any) -> Iterator[Any]:
    for part in parts(node):
        yield part
        yield from deep(part)


def calls_in(node: Any) -> list[tree.Call]:
    if isinstance(node, tree.Call):
        return [node]
    return calls_in(node.left) + calls_in(node.right) if isinstance(node, tree.Arithmetic) else []


def total(values: list[Any]) -> Any:
    """A sum that no order changes: whole nanoseconds, or decimals of nine places."""
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return float(sum(Decimal(str(value)) for value in values))


def aggregated(function: str, values: list[Any]) -> Any:
    """An average, an extreme, or a quantile by nearest rank."""
    if function == "avg":
        return float(total(values)) / len(values)
    if function in QUANTILES:
        return sorted(values)[math.ceil(QUANTILES[function] * len(values)) - 1]
    return min(values) if function == "min" else max(values)


def calculated(op: str, left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    """The range of a sum, a difference, or a product with a number."""
    if op == "+":
        return left[0] + right[0], left[1] + right[1]
    if op == "-":
        return left[0] - right[1], left[1] - right[0]
    corners = [one * other if op == "*" else one / other for one in left for other in right]
    return min(corners), max(corners)


def outcomes(op: str, left: tuple[Any, Any], right: tuple[Any, Any]) -> set[bool]:
    """What a comparison can give over two ranges of numbers: the corners tell, and whether the ranges meet."""
    if op in {"==", "!="}:
        meet_somewhere = max(left[0], right[0]) <= min(left[1], right[1])
        single = left[0] == left[1] == right[0] == right[1]
        equal = ({True} if meet_somewhere else set()) | (set() if single else {False})
        return equal if op == "==" else {not one for one in equal}
    return {OPERATORS[op](one, other) for one, other in itertools.product(left, right)}


def densest(items: list[Any], per: int) -> int:
    """The most items that a stretch holds, both its ends included."""
    return max((sum(0 <= other.start - item.start <= per for other in items) for item in items), default=0)


def earliest_stretch(items: list[Any], needed: int, per: int) -> list[Any]:
    """The first so many items of the earliest stretch that holds them."""
    for place in range(len(items) - needed + 1):
        if needed and items[place + needed - 1].start - items[place].start <= per:
            return items[place : place + needed]
    return []


def ordered(items: list[Any]) -> list[Any]:
    """By start, trace, span; what has no trace or span comes last."""
    return sorted(items, key=place_of)


def place_of(item: Any) -> Any:
    """What an item is ordered by."""
    return item.start, item.trace is None, item.trace or 0, item.id is None, item.id or 0


def split(items: list[Any], gap: int) -> list[list[Any]]:
    """Items at most one gap apart."""
    groups: list[list[Any]] = []
    for item in sorted(items, key=lambda one: one.start):
        if groups and item.start - groups[-1][-1].start <= gap:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def near(spans: list[Span], first: int, last: int, gap: int) -> bool:
    """Whether a trace is at most one gap away from a group."""
    starts, ends = min(span.start for span in spans), max(span.end for span in spans)
    return starts - gap <= last and ends + gap >= first
