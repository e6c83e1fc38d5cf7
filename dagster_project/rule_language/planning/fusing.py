"""The fused plan: which rules of a pack can be judged over tables that are read once for all, and whether that pays.

Pure reckoning over what was measured; `replay.fused` measures, and makes the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.attributes import entities_of
from dagster_project.rule_language.meaning.model import SCOPED, Judgement, Scope, parts
from dagster_project.rule_language.planning.estimates import Statistics
from dagster_project.rule_language.planning.planner import Plan, plan
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
# What is shared is held in memory: about so many spans fit in one gibibyte, beside what judging takes.
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
    """

    spans: int
    traces: int
    window_spans: int
    since: Statistics
    reach: Statistics
    reach_ns: int

    def rows(self, rule: Rule) -> float:
        """About how many spans of its sets a rule reads, as far back as it looks."""
        return self._of(_relevant(plan(rule.judgement, self.since)), _relevant(plan(rule.judgement, self.reach)), rule)

    def all_rows(self, rule: Rule) -> float:
        """About how many spans there are from where a rule begins to look."""
        return self._of(self.since.rows("span"), self.reach.rows("span"), rule)

    def _of(self, since: float, reach: float, rule: Rule) -> float:
        """Between two counts, as if spans were spread evenly over the time between."""
        share = plan(rule.judgement).back_ns / self.reach_ns if self.reach_ns else 0.0
        return since + share * (reach - since)


@dataclass(frozen=True)
class Share:
    """The rules that are judged over one set of shared tables, or would have been.

    Attributes
    ----------
    spans
        About how many spans the tables hold.
    cost, saved
        CPU seconds that making them takes, and that reading them spares, as estimated.
    """

    reading: Reading
    rules: tuple[Rule, ...]
    spans: int
    cost: float
    saved: float

    @property
    def pays(self) -> bool:
        """Whether the tables are made."""
        return self.spans <= MOST_SHARED and self.cost < self.saved


@dataclass(frozen=True)
class Choice:
    """How the rules of a pack are asked.

    Attributes
    ----------
    shares
        What was considered; a rule is in one of them at most.
    beyond
        Rules that look beyond what can be shared.
    """

    shares: tuple[Share, ...] = ()
    beyond: tuple[Rule, ...] = ()
    made: tuple[Share, ...] = field(default=())

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


def choose(rules: Sequence[Rule], measured: Measured) -> Choice:
    """Which rules are judged over shared tables: those for whom making these is estimated to take less."""
    by_reading: dict[Reading | None, list[Rule]] = {}
    for rule in rules:
        by_reading.setdefault(reading(rule.judgement), []).append(rule)
    shares = []
    for kind, estimate in (("window", _window), ("overlap", _overlap), ("items", _items)):
        if of_kind := by_reading.get(kind):  # type: ignore[call-overload]
            shares.append(estimate(of_kind, measured))
    return Choice(tuple(shares), tuple(by_reading.get(None, ())), tuple(one for one in shares if one.pays))


def shared_by_all(rules: Iterable[Rule]) -> Choice:
    """The choice that shares whatever can be shared, whether it pays or not."""
    kinds: dict[Reading | None, list[Rule]] = {}
    for rule in rules:
        kinds.setdefault(reading(rule.judgement), []).append(rule)
    shares = tuple(Share(kind, tuple(of_kind), 0, 0, 0) for kind, of_kind in kinds.items() if kind is not None)
    return Choice(shares, tuple(kinds.get(None, ())), shares)


def _window(rules: list[Rule], measured: Measured) -> Share:
    """Alone, every rule reads its names from the window's start on, and goes past all traces."""
    spans = measured.window_spans
    after = max(0, measured.since.rows("span") - spans)
    share_after = after / max(1, spans + after)
    saved = sum(
        PASSED * measured.traces + READ * share_after * _relevant(plan(rule.judgement, measured.since))
        for rule in rules
    )
    cost = COPIED * spans + READ * (spans + after)
    return Share("window", tuple(rules), spans, cost / 1e9, saved / 1e9)


def _overlap(rules: list[Rule], measured: Measured) -> Share:
    """Alone, every rule reads the keys of all spans."""
    spans = max(map(measured.all_rows, rules))
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
    cost = COPIED * kept + sum(READ * measured.all_rows(rule) for rule in chosen)
    return Share("items", tuple(chosen), round(kept), cost / 1e9, saved / 1e9)


def _relevant(made: Plan) -> float:
    return made.rows(frozenset(number for number in made.relevant if made.sets[number].entity == "span"))


def _looks_at_the_trace(node: object) -> bool:
    """Whether a part of the model reads other spans of the item's trace, or its place among them."""
    if isinstance(node, model.Related):
        return True
    return isinstance(node, model.Field) and (node.of != "item" or node.key in {"depth", "children", "is_root"})


def _nodes(node: object) -> Iterator[object]:
    yield node
    for part in parts(node):
        yield from _nodes(part)
