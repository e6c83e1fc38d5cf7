"""What comparisons of engine and oracle found, each once and small: both must say what is written here."""

from __future__ import annotations

import engine
import pytest
from oracle_scopes import Judge, Rule
from recorded import NS, Log, Span, World

from dagster_project.replay import scratch
from dagster_project.rule_language.parser import parse

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
