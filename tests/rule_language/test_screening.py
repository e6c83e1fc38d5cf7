"""A replay over many traces only counts what is plainly satisfied: everything else must be as if it had been listed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from random import Random

import engine
import pytest
from recorded import NS
from worlds import rule, world
from written import rule_text

from dagster_project.replay import scratch
from dagster_project.replay.judging import RESULT, judged
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.scan_sql import Source

SETTLED = datetime(2024, 2, 1, 0, 30)
WORLDS, RULES = 8, 25


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def answer(connection, parsed, source, *, many_traces):
    """Rows that are not satisfied, how many scopes are, and how many of these are not settled."""
    with judged(connection, parsed, source, SETTLED, many_traces=many_traces, few_scopes=0) as screened:
        listed = connection.execute(f"select * from {RESULT} where verdict <> 'satisfied' order by all").fetchall()
        satisfied, unsettled = connection.execute(
            f"select count(*), count(*) filter (last_span_at > ?) from {RESULT} where verdict = 'satisfied'", [SETTLED]
        ).fetchall()[0]
        if screened.of_all_traces:
            return screened.kind, [str(row) for row in listed], None, None
        counted = (satisfied + screened.satisfied, unsettled + screened.unsettled)
    return screened.kind, [str(row) for row in listed], *counted


def assert_same(connection, text, source):
    parsed = read_inline(text)
    _, *plain = answer(connection, parsed, source, many_traces=10**9)
    kind, *looked = answer(connection, parsed, source, many_traces=0)
    if looked[1] is None:
        assert looked[0] == plain[0], text
    else:
        assert looked == plain, text
    assert not connection.execute("select count(*) from duckdb_tables() where temporary").fetchall()[0][0]
    return kind


def test_screened_scopes_are_those_that_would_be_satisfied(connection):
    random = Random(4)
    kinds: Counter[str | None] = Counter()
    for _world in range(WORLDS):
        recorded = world(random, traces=16)
        engine.load(connection, recorded)
        starts = sorted({span.start // 1000 * 1000 for span in recorded.spans})
        for _rule in range(RULES):
            edges = sorted(random.choice([0, 3600 * NS, *starts]) for _edge in range(2))
            start, end = (engine._moment(edge) for edge in edges)
            source = Source(columns=engine.NO_COLUMNS)
            if random.random() < 0.5:
                source = Source(columns=engine.NO_COLUMNS, start=start, end=end)
            kinds[assert_same(connection, rule_text(rule(random)), source)] += 1
    assert kinds["counted"] > 10
