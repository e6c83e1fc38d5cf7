"""The compiled SQL against a second reading of the document, on generated worlds and rules."""

from __future__ import annotations

import os
from random import Random

import engine
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from oracle_scopes import Judge
from recorded import NS, Log, Span, World
from worlds import rule, rules, world, worlds
from written import rule_text, written

from dagster_project.replay import scratch
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.text.parser import parse

# Each is one recorded world and three rules.
EXAMPLES = int(os.environ.get("HINDCAST_ORACLE_EXAMPLES", "60"))

# Shrinking an example of two languages takes minutes; ask for it when one is found.
PHASES = list(Phase) if os.environ.get("HINDCAST_ORACLE_SHRINK") else [Phase.explicit, Phase.reuse, Phase.generate]
slow = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES <= 60,
    phases=PHASES,
)


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def assert_agreed(connection, recorded, one, window=(None, None)):
    found = engine.disagreement(connection, one, Judge(one, recorded), window=window)
    assert found is None, f"{rule_text(one)}\nonly the engine: {found[0]}\nonly the oracle: {found[1]}"


@slow
@given(recorded=worlds(), several=st.lists(rules(), min_size=3, max_size=3))
def test_sql_agrees_with_the_oracle_on_verdict_and_witness(connection, recorded, several):
    engine.load(connection, recorded)
    for one in several:
        note(rule_text(one))
        assert_agreed(connection, recorded, one)


def test_many_traces_of_fixed_seeds_agree(connection):
    random = Random(20240201)
    for _world in range(4):
        recorded = world(random, traces=25)
        engine.load(connection, recorded)
        for _rule in range(25):
            assert_agreed(connection, recorded, rule(random))


def test_only_scopes_of_the_window_are_judged(connection):
    random = Random(7)
    for _world in range(4):
        recorded = world(random, traces=12)
        engine.load(connection, recorded)
        starts = sorted({span.start // 1000 * 1000 for span in recorded.spans})
        for _rule in range(8):
            # Edges at starts of spans, so that what begins at one of them tells whether it is in.
            window = tuple(sorted(random.choice([0, 3600 * NS, *starts]) for _edge in range(2)))
            assert_agreed(connection, recorded, rule(random), window)


def test_what_is_written_is_parsed_back(connection):
    random = Random(3)
    for _rule in range(300):
        one = rule(random)
        for _name, node in one.let:
            assert parse(written(node), "definition") == node
        for node in (one.when, one.always, one.never, one.detect):
            assert node is None or parse(written(node)) == node
        assert read_inline(rule_text(one))


def tree_of(parents, start=0):
    """A trace of spans by the positions of their parents."""
    return [
        Span(
            trace=1,
            id=number + 1,
            parent=None if parent is None else parent + 1,
            name=["pay", "get", "db.query"][number % 3],
            service=["shop", "bank"][number % 2],
            version=None,
            kind="internal",
            status="error" if number % 7 == 0 else "ok",
            start=start + number * 1_000_000,
            duration=1_000_000,
            attributes={"a": number % 4},
        )
        for number, parent in enumerate(parents)
    ]


LARGE = {
    "200 levels": [None, *range(199)],
    "5,000 children": [None, *([0] * 4_999)],
}


@pytest.mark.parametrize("parents", LARGE.values(), ids=LARGE.keys())
def test_deep_and_wide_traces_agree(connection, parents):
    recorded = World(spans=tree_of(parents))
    engine.load(connection, recorded)
    random = Random(11)
    judged = 0
    while judged < 3:
        one = rule(random)
        # The oracle compares each with each where it is asked for order or nearness: too slow for five thousand.
        if any(
            word in rule_text(one)
            for word in (" before ", " followed ", " near ", " after ", " per ", " ~ ", ">>", "<<")
        ):
            continue
        judged += 1
        assert_agreed(connection, recorded, one)


def test_a_trace_of_which_only_logs_came_agrees(connection):
    recorded = World(logs=[Log(5, 1, "shop", 17, "timeout", 3 * NS, {"a": 1}), Log(None, None, None, 9, "x", 0, {})])
    engine.load(connection, recorded)
    random = Random(5)
    for _rule in range(20):
        assert_agreed(connection, recorded, rule(random))


def test_the_shape_of_traces_is_that_of_the_oracle(connection):
    random = Random(9)
    for _world in range(6):
        recorded = world(random, traces=30)
        engine.load(connection, recorded)
        known = connection.execute(
            "select trace_id, span_id, kind, depth, is_root, is_orphan, is_cycle_cut, child_count"
            " from intermediate.int_trace_shape"
        ).fetchall()
        expected = [
            (
                engine.trace_uuid(trace), span.id, span.kind, len(shape.ancestors(span)), span in shape.roots,
                span in shape.orphans, span in shape.cuts, len(shape.children[span]),
            )
            for trace, shape in recorded.shapes.items()
            for span in shape.spans
        ]  # fmt: skip
        assert sorted(known) == sorted(expected)
        complete = connection.execute("select trace_id, is_complete from intermediate.int_traces").fetchall()
        assert dict(complete) == {engine.trace_uuid(trace): recorded.complete(trace) for trace in recorded.shapes}
