"""Soundness under loss: what is decided on a damaged recording is what the whole recording says."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "rule_language"))

from worlds import load, rule_text, rules, worlds

from dagster_project.replay import scratch
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.scan_sql import Source
from dagster_project.rule_language.sql import to_sql, verdicts_query

NOTHING_PROMOTED = Source(columns={"span": frozenset(), "log": frozenset()})


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def whole(spans):
    """The same spans as complete traces: the first is the root, every parent exists, nothing was dropped."""
    return [
        replace(span, parent=None if span.id == 1 else min(span.parent or 1, span.id - 1), dropped=0) for span in spans
    ]


def judged(connection, rule, spans, logs):
    load(connection, spans, logs)
    scratch.derive(connection)
    sql = to_sql(verdicts_query(read_inline(rule_text(rule)), NOTHING_PROMOTED), pretty=False)
    verdicts = dict(connection.execute(f"select trace_ids[1], verdict from ({sql})").fetchall())
    complete = dict(connection.execute("select trace_id, is_complete from intermediate.int_traces").fetchall())
    return verdicts, complete


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(
    world=worlds(),
    rule=rules(),
    lost=st.sets(st.integers(0, 19), min_size=1, max_size=4),
    stripped=st.sets(st.integers(0, 19), max_size=2),
)
def test_a_verdict_that_stands_under_loss_is_the_true_one(connection, world, rule, lost, stripped):
    rule = replace(rule, group_by=(), gap=0)
    spans, logs = whole(world[0]), world[1]
    note(rule_text(rule))
    truth, _complete = judged(connection, rule, spans, logs)
    # Some spans never arrive; of others the sender dropped attribute `a`.
    kept = [
        replace(span, attributes={key: value for key, value in span.attributes.items() if key != "a"}, dropped=1)
        if number in stripped
        else span
        for number, span in enumerate(spans)
        if number not in lost
    ]
    seen, complete = judged(connection, rule, kept, logs)
    for trace, is_complete in complete.items():
        if not is_complete and seen.get(trace) != "inconclusive":
            assert seen.get(trace) == truth.get(trace)
