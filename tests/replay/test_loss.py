"""Soundness under loss: what is decided on a damaged recording is what the whole recording says."""

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "rule_language"))

import engine
from oracle import LOSSABLE
from recorded import World
from worlds import Drawn, nodes, world
from written import rule_text

from dagster_project.replay import scratch
from dagster_project.rule_language.text import syntax as tree


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def with_spans(recorded, spans_of):
    """The same world with other spans for its own, or without some; events and links go with their spans."""
    events = [replace(one, span=spans_of[one.span]) for one in recorded.events if one.span in spans_of]
    links = [replace(one, span=spans_of[one.span]) for one in recorded.links if one.span in spans_of]
    return replace(recorded, spans=list(spans_of.values()), events=events, links=links)


def whole(recorded):
    """The same spans as complete traces: each has one root, every parent exists, nothing was dropped.

    Of a client and a server that share an id one is left: the loss of the client's side leaves no mark.
    """
    made = {}
    first = {}
    for span in {(span.trace, span.id): span for span in recorded.spans}.values():
        root = first.setdefault(span.trace, span.id)
        ids = sorted({one.id for one in recorded.spans if one.trace == span.trace and one.id < span.id})
        parent = (
            None
            if span.id == root or not ids
            else max(one for one in ids if one <= (span.parent or 0) or one == ids[0])
        )
        made[span] = replace(span, parent=parent, dropped=0, dropped_events=0, dropped_links=0)
    return with_spans(recorded, made)


def damaged(recorded, random):
    """Some spans never arrive; of others the sender dropped attribute `a`."""
    made = {}
    for span in recorded.spans:
        if random.random() < 0.25:
            continue
        stripped = random.random() < 0.15
        kept = {key: value for key, value in span.attributes.items() if key != "a"} if stripped else span.attributes
        made[span] = replace(span, attributes=kept, dropped=int(stripped))
    return with_spans(recorded, made)


def looks_for_losses(drawn, rule):
    """Whether the rule is over traces, and reads nothing whose loss elsewhere is not looked for."""
    parts = [rule.when, rule.bad, *(node for _name, node in rule.let)]
    for node in [one for part in parts if part is not None for one in nodes(part)]:
        elsewhere = isinstance(node, tree.Joined) and node.on is not None and "trace" not in node.on
        if elsewhere and drawn.entity_of(node.right) in LOSSABLE:
            return False
    return not rule.by


def judged(connection, rules, recorded: World):
    """The verdicts of each rule by trace, and which traces are complete."""
    engine.load(connection, recorded)
    found = [engine.judged_by_sql(connection, rule, engine.compiled(rule)) for rule in rules]
    complete = connection.execute("select trace_id, is_complete from intermediate.int_traces").fetchall()
    verdicts = [{one.traces[0]: one.verdict for one in several} for several in found]
    return verdicts, {trace.int >> 64: is_complete for trace, is_complete in complete}


def test_a_verdict_that_stands_under_loss_is_the_true_one(connection):
    random, decided = Random(1), 0
    while decided < 100:
        truly = whole(world(random, traces=20))
        drawn = [Drawn(random) for _rule in range(15)]
        rules = [(one, replace(one.rule(), group_by=(), gap=0)) for one in drawn]
        asked = [rule for one, rule in rules if looks_for_losses(one, rule)]
        truths, _complete = judged(connection, asked, truly)
        seen, complete = judged(connection, asked, damaged(truly, random))
        broken = [trace for trace, is_complete in complete.items() if not is_complete]
        for rule, truth, found in zip(asked, truths, seen, strict=True):
            for trace in broken:
                if found.get(trace) != "inconclusive":
                    decided += 1
                    assert found.get(trace) == truth.get(trace), f"{trace}\n{rule_text(rule)}"
