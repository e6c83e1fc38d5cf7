"""What comparisons of engine and oracle found, each once and small: both must say what is written here."""

from __future__ import annotations

import engine
import pytest
from oracle_scopes import Judge, Rule
from recorded import NS, Log, Span, World
from sqlglot import exp
from written import rule_text

from dagster_project.replay import scratch
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.sql.entity import ALIASES
from dagster_project.rule_language.sql.nodes import column
from dagster_project.rule_language.sql.query import to_sql
from dagster_project.rule_language.sql.scan import Scan, Source
from dagster_project.rule_language.text.parser import parse

HOUR = 3600 * NS


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def a_span(trace=1, number=1, parent=None, start=0, **more):
    given = {"name": "get", "service": "shop", "version": None, "kind": "internal", "status": "ok", "duration": 1}
    return Span(trace=trace, id=number, parent=parent, start=start, **{**given, "attributes": {}, **more})


def verdicts(connection, world, one):
    """Key and verdict of each scope, on which both agree."""
    engine.load(connection, world)
    judge = Judge(one, world)
    assert engine.disagreement(connection, one, judge) is None
    assert engine.replay_disagreement(connection, one, judge) is None
    return {(verdict.key, verdict.verdict) for verdict in judge.verdicts()}


def test_a_trace_belongs_to_every_combination_of_several_lifted_keys(connection):
    world = World(
        spans=[
            a_span(attributes={"order": 7}),
            a_span(number=2, parent=1, start=1, attributes={"region": "eu"}),
            a_span(number=3, parent=1, start=2, attributes={"region": "us"}),
            a_span(trace=2, attributes={"order": 8}),
        ]
    )
    one = Rule(detect=parse("count(span()) == 3"), group_by=("trace.order", "trace.region"), gap=NS)
    assert verdicts(connection, world, one) == {('[7,"eu"]', "violated"), ('[7,"us"]', "violated")}


def test_an_hour_of_which_nothing_came_has_no_baseline(connection):
    """Logs are not lost, yet nothing is said of an hour that only a loss may have filled."""
    world = World(
        spans=[a_span(parent=99, attributes={"a": 1}, duration=2 * HOUR)],
        logs=[Log(None, None, "shop", 9, "", 1, {"a": 1})],
    )
    one = Rule(
        when=parse("count(log()) by a >= baseline(1h, at least 1)"),
        always=parse("any(span())"),
        by=("a",),
    )
    hours = {f'[1,"2024-02-01T{hour:02}:00:00Z"]' for hour in range(3)}
    assert verdicts(connection, world, one) == {(hour, "inconclusive") for hour in hours}


def damaged(*parents):
    """A trace whose spans have these parents, in order of their starts."""
    return World(spans=[a_span(number=place, parent=parent, start=place) for place, parent in enumerate(parents, 1)])


AGREED = {
    "a cycle is cut at its earliest node, whose parent is then not known": (
        damaged(3, 2),
        Rule(let=(("s0", parse("span()", "definition")),), never=parse("any(s0 !> span())")),
        {("1", "inconclusive")},
    ),
    "depth and children beside structure": (
        damaged(None, 1, 1),
        Rule(always=parse("any((span(depth <= 1) >> span(children == 0)) where depth == 1)")),
        {("1", "satisfied")},
    ),
    "a gap longer than what 64 bits of nanoseconds hold": (
        World(spans=[a_span(attributes={"a": 1}), a_span(trace=2, parent=99, start=HOUR, attributes={"a": 1})]),
        Rule(detect=parse("count(span()) == 3"), group_by=("a",), gap=2**63 - 1),
        {("1", "inconclusive")},
    ),
    "numbers that doubles cannot tell apart": (
        World(spans=[a_span(attributes={"h": 2**53 + 1}), a_span(trace=2, attributes={"h": 2**53})]),
        Rule(detect=parse("any(span(h <= 9007199254740992))")),
        {("1", "satisfied"), ("2", "violated")},
    ),
    "numbers below one under what is infinite": (
        World(spans=[a_span(attributes={"h": 1e308})]),
        Rule(detect=parse("any(span(2 + 1 / (h * 10) >= 2))")),
        {("1", "satisfied")},
    ),
    "a counterexample that what was dropped cannot mend": (
        World(spans=[a_span(attributes={"a": 3}, dropped=0), a_span(trace=2, dropped=1)]),
        Rule(always=parse("all(span() where a in [1, 2])")),
        {("1", "violated"), ("2", "inconclusive")},
    ),
    "a counterexample after a log, beside a loss": (
        World(
            spans=[a_span(start=NS, attributes={"c.d": 3}), a_span(number=2, parent=99, start=NS)],
            logs=[Log(1, 1, "shop", 9, "", 0, {})],
        ),
        Rule(
            let=(("s0", parse("span()", "definition")),),
            always=parse('all((s0 after log() within 2s) where attribute."c.d" in [1, 2])'),
        ),
        {("1", "violated")},
    ),
    "an orphan beside one root, whose field is the root's": (
        World(
            spans=[
                a_span(attributes={"a": 1}),
                a_span(number=2, parent=99, start=1, attributes={"a": 2}),
                a_span(trace=2, attributes={"a": 1}),
                a_span(trace=2, number=2, parent=99, start=1, attributes={"a": 1}),
            ]
        ),
        Rule(let=(("s0", parse("span()", "definition")),), always=parse("all(s0 where a == root.a)")),
        {("1", "violated"), ("2", "inconclusive")},
    ),
    "a rule that applies by the depth of a span, and depths are known of whole traces alone": (
        World(
            spans=[
                a_span(duration=9),
                a_span(number=2, parent=1, start=1, duration=9),
                a_span(number=3, parent=2, start=2, duration=5),
                a_span(trace=2, duration=9),
                a_span(trace=2, number=2, parent=1, start=1, duration=9),
                a_span(trace=2, number=3, parent=2, start=2, duration=1),
                *(a_span(trace=number) for number in range(3, 30)),  # so many that the few are sought first
            ]
        ),
        Rule(
            let=(("s0", parse("span(depth >= 2)", "definition")),),
            when=parse("any(s0)"),
            never=parse("sum(s0.duration) > 3ns"),
            report=(("first", parse("first(span().name)", "report")),),
        ),
        {("1", "violated"), ("2", "satisfied")},
    ),
}


@pytest.mark.parametrize(("world", "one", "expected"), AGREED.values(), ids=AGREED.keys())
def test_both_say(connection, world, one, expected):
    assert verdicts(connection, world, one) == expected


@pytest.mark.parametrize("keys", [("trace.order",), ("trace.order", "trace.region")], ids=["one key", "two keys"])
def test_what_arrives_without_a_key_touches_the_groups_of_its_trace(connection, keys):
    world = World(
        spans=[
            a_span(attributes={"order": 7, "region": "eu"}),
            a_span(number=2, parent=1, start=1),
            a_span(trace=2, attributes={"order": 8, "region": "eu"}),
        ]
    )
    engine.load(connection, world)
    one = Rule(detect=parse("count(span()) > 1"), group_by=keys, gap=NS)
    scan = Scan(read_inline(rule_text(one)), Source(columns=engine.NO_COLUMNS))
    arrived = exp.EQ(this=column("span_id", ALIASES["span"]), expression=exp.Literal.number(2))
    found = connection.execute(to_sql(scan.key_rows("span", arrived))).fetchall()
    assert found == [("7", '"eu"')[: len(keys)]]
