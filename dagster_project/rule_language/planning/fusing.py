"""The fused plan: which rules of a pack can be judged over tables that are read once for all, and whether that pays.

Pure reckoning over what was measured; `replay.fused` measures, and makes the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.attributes import entities_of
from dagster_project.rule_language.meaning.model import SCOPED, Judgement, Scope, parts
from dagster_project.rule_language.planning.estimates import Statistics
from dagster_project.rule_language.planning.planner import HOUR_NS, Plan, plan
from dagster_project.rule_language.rule_file import Rule

Reading: TypeAlias = Literal["window", "overlap", "items"]
"""What of the tables holds all that a rule reads.

window: the traces that begin in the window, whole. overlap: the traces that last until a gap before the window or
longer, whole. items: the spans of the rule's sets from as far back as it looks, and those of incomplete traces.
"""

# CPU nanoseconds, measured over 100 million spans: to copy a span into a shared table, to read one past a condition,
# to read the key of one, and to go past a trace for what is incomplete.
COPIED: Final = 600
READ: Final = 15
KEYED: Final = 30
PASSED: Final = 8
# What is shared is held in memory: about so many spans and log records fit in one gibibyte, beside what judging takes.
MOST_SHARED: Final = 5_000_000


@dataclass(frozen=True)
class Measured:
    """What is counted of the tables before choosing.

    Attributes
    ----------
    spans, traces
        In all.
    window_spans
        Of the traces that begin in the window.
    since
        Spans by service and name that start in the window or later.
    reach, reach_ns
        The same from so long before the window on.
    window_logs
        Of the traces that begin in the window. Logs of traces without spans are not counted.
    """

    spans: int
    traces: int
    window_spans: int
    since: Statistics
    reach: Statistics
    reach_ns: int
    window_logs: int = 0

    def rows(self, rule: Rule) -> float:
        """About how many spans of its sets a rule reads, as far back as it looks."""
        since, reach = (_relevant(plan(rule.judgement, counted)) for counted in (self.since, self.reach))
        return self._of(since, reach, plan(rule.judgement).back_ns)

    def all_rows(self, back_ns: int) -> float:
        """About how many spans there are from so long before the window on."""
        return self._of(self.since.rows("span"), self.reach.rows("span"), back_ns)

    def _of(self, since: float, reach: float, back_ns: int) -> float:
        """Between two counts, as if spans were spread evenly over the time between."""
        share = back_ns / self.reach_ns if self.reach_ns else 0.0
        return since + share * (reach - since)


@dataclass(frozen=True)
class Share:
    """The rules that are judged over one set of shared tables, or would have been.

    Attributes
    ----------
    spans
        About how many spans the tables hold.
    logs
        About how many log records.
    cost, saved
        CPU seconds that making them takes, and that reading them spares, as estimated.
    """

    reading: Reading
    rules: tuple[Rule, ...]
    spans: int
    cost: float
    saved: float
    logs: int = 0

    @property
    def pays(self) -> bool:
        """Whether the tables are made."""
        return self.spans + self.logs <= MOST_SHARED and self.cost < self.saved


@dataclass(frozen=True)
class Choice:
    """How the rules of a pack are asked.

    Attributes
    ----------
    shares
        What was considered; a rule is in one of them at most.
    made
        Those whose tables are made.
    """

    shares: tuple[Share, ...] = ()
    made: tuple[Share, ...] = ()

    def reading_of(self, rule: Rule) -> Reading | None:
        """Over which shared tables a rule is judged; None: alone."""
        for share in self.made:
            if any(one.meaning_hash == rule.meaning_hash for one in share.rules):
                return share.reading
        return None


def reading(judgement: Judgement) -> Reading | None:
    """What of the tables holds all that a rule reads; None where it looks at other traces beside its own."""
    nodes = list(_nodes(judgement))
    nearby = [node for node in nodes if isinstance(node, model.Nearby)]
    if any("trace" not in node.on and node.other.entity in SCOPED for node in nearby):
        return None
    if judgement.scope is Scope.TRACE:
        return "window"
    entities = entities_of(judgement)
    of_trace = any("trace" in node.on for node in nearby) or any(map(_looks_at_the_trace, nodes))
    if of_trace or judgement.scope is Scope.LIFTED:
        return "overlap" if entities == {"span"} else None
    return "items" if entities <= {"span", "log"} else None


def reach_ns(rules: Iterable[Rule]) -> int:
    """How long before a window traces must have ended that no rule over whole or incomplete traces looks at.

    Twice what the rules look back: an item so long before the window can open a group that goes on into it, and what
    was lost touches that item from as far before it again. The hour beside is for scopes that begin with the hour.
    """
    return 2 * (_back_ns(rules) + HOUR_NS)


def looks_back_ns(rules: Iterable[Rule]) -> int:
    """How long before a window spans are to be counted for choosing among these rules."""
    kinds = [(rule, reading(rule.judgement)) for rule in rules]
    whole = [rule for rule, kind in kinds if kind == "overlap"]
    return max(_back_ns(rule for rule, kind in kinds if kind == "items"), reach_ns(whole) if whole else 0)


def _back_ns(rules: Iterable[Rule]) -> int:
    return max((plan(rule.judgement).back_ns for rule in rules), default=0)


def choose(rules: Sequence[Rule], measured: Measured) -> Choice:
    """Which rules are judged over shared tables: those for whom making these is estimated to take less."""
    by_reading: dict[Reading | None, list[Rule]] = {}
    for rule in rules:
        by_reading.setdefault(reading(rule.judgement), []).append(rule)
    shares = []
    for kind, estimate in (("window", _window), ("overlap", _overlap), ("items", _items)):
        if of_kind := by_reading.get(kind):  # type: ignore[call-overload]
            shares.append(estimate(of_kind, measured))
    return Choice(tuple(shares), tuple(one for one in shares if one.pays))


def shared_by_all(rules: Iterable[Rule]) -> Choice:
    """The choice that shares whatever can be shared, whether it pays or not."""
    kinds: dict[Reading | None, list[Rule]] = {}
    for rule in rules:
        kinds.setdefault(reading(rule.judgement), []).append(rule)
    shares = tuple(Share(kind, tuple(of_kind), 0, 0, 0) for kind, of_kind in kinds.items() if kind is not None)
    return Choice(shares, shares)


def _window(rules: list[Rule], measured: Measured) -> Share:
    """Alone, every rule reads its names from the window's start on, and goes past all traces."""
    spans = measured.window_spans
    logs = measured.window_logs if any("log" in _read(rule.judgement) for rule in rules) else 0
    after = max(0, measured.since.rows("span") - spans)
    share_after = after / max(1, spans + after)
    saved = sum(
        PASSED * measured.traces + READ * share_after * _relevant(plan(rule.judgement, measured.since))
        for rule in rules
    )
    cost = COPIED * (spans + logs) + READ * (spans + after)
    return Share("window", tuple(rules), spans, cost / 1e9, saved / 1e9, logs)


def _overlap(rules: list[Rule], measured: Measured) -> Share:
    """Alone, every rule reads the keys of all spans."""
    spans = measured.all_rows(reach_ns(rules))
    saved = len(rules) * KEYED * max(0, measured.spans - spans)
    return Share("overlap", tuple(rules), round(spans), COPIED * spans / 1e9, saved / 1e9)


def _items(rules: list[Rule], measured: Measured) -> Share:
    """Alone, every rule seeks the keys of incomplete traces among all spans; one that reads most spans is left out."""
    kept, saved, chosen = 0.0, 0.0, []
    for rule in sorted(rules, key=measured.rows):
        spared = KEYED * measured.spans if plan(rule.judgement).can_lose else 0
        rows = measured.rows(rule)
        if COPIED * rows < spared and kept + rows <= MOST_SHARED:
            kept, saved = kept + rows, saved + spared
            chosen.append(rule)
    cost = COPIED * kept + sum(READ * measured.all_rows(plan(rule.judgement).back_ns) for rule in chosen)
    return Share("items", tuple(chosen), round(kept), cost / 1e9, saved / 1e9)


def _relevant(made: Plan) -> float:
    return made.rows(frozenset(number for number in made.relevant if made.sets[number].entity == "span"))


def _read(judgement: Judgement) -> set[str]:
    """The kinds of item that a rule is about, or looks for near these."""
    return {node.entity for node in _nodes(judgement) if isinstance(node, model.Items)}


def _looks_at_the_trace(node: object) -> bool:
    """Whether a part of the model reads other spans of the item's trace, or its place among them."""
    if isinstance(node, model.Related):
        return True
    return isinstance(node, model.Field) and (node.of != "item" or node.key in {"depth", "children", "is_root"})


def _nodes(node: object) -> Iterator[object]:
    yield node
    for part in parts(node):
        yield from _nodes(part)
