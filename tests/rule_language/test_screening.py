"""A replay over many traces only counts what is plainly satisfied: everything else must be as if it had been listed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from random import Random

import engine
import pytest
from recorded import NS, World
from test_oracle import tree_of
from worlds import rule, world
from written import rule_text

from dagster_project.replay import judging, scratch
from dagster_project.replay.judging import RESULT, judged
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.sql.scan import Source
from dagster_project.rule_language.sql.screening import ScreeningSql

SETTLED = datetime(2024, 2, 1, 0, 30)
WORLDS, RULES = 6, 20


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
    assert kinds["counted"] > 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('when: any(span("a"))\nalways: any(span("b"))', "counted"),
        ('when: any(span("a"))\nalways: span("b") before span("a")', "counted"),
        ("group_by: k\ngap: 1h\nalways: distinct(span().v) == 1", "counted"),
        ('never: any(span("a") >> span("b"))', "counted"),
        ("always: all(span() where duration < 1s)", "flagged"),
        ('always: any(span("b"))', "mark join"),
        # A trace may be known from its logs alone; a rate and a baseline need a closer look at every scope.
        ("always: any(log())", None),
        ("group_by: k\ngap: 1h\ndetect: count(span()) > 3 per 1m", None),
        ('when: none(span("a"))\nalways: any(span("b"))', None),
    ],
)
def test_how_suspects_are_found(text, kind):
    assert ScreeningSql(read_inline(text), Source(columns=engine.NO_COLUMNS)).kind() == kind


def test_traces_that_lack_an_item_are_found_by_their_absence(connection, monkeypatch):
    """Where starting from what `when` needs spares little, it is not grouped: whatever the window and the losses."""
    random = Random(11)
    kinds: Counter[str | None] = Counter()
    for number in range(2 * WORLDS):
        # The same number says how much may be unsettled.
        monkeypatch.setattr(judging, "WORTH_ANCHORING", 10**6 if number % 2 else 1.3)
        recorded = world(random, traces=24)
        engine.load(connection, recorded)
        names = sorted({span.name for span in recorded.spans})
        starts = sorted({span.start // 1000 * 1000 for span in recorded.spans})
        for needed, absent in ((random.choice(names), random.choice(names)) for _rule in range(4)):
            text = f'when: any(span("{needed}"))\nalways: any(span("{absent}"))'
            kinds[assert_same(connection, text, Source(columns=engine.NO_COLUMNS))] += 1
            start, end = (engine._moment(edge) for edge in sorted(random.choices([0, *starts], k=2)))
            kinds[assert_same(connection, text, Source(columns=engine.NO_COLUMNS, start=start, end=end))] += 1
    assert kinds["mark join"] > 10
    assert kinds["counted"] > 10  # what is not settled is most of it


def test_where_to_start_follows_what_was_counted(connection, monkeypatch):
    """The same rule over inverted data starts elsewhere."""
    monkeypatch.setattr(judging, "WORTH_ANCHORING", 2)
    parsed = read_inline('when: any(span("pay"))\nalways: any(span("get"))')
    found = []
    for rare, common in (("pay", "get"), ("get", "pay")):
        spans = [span(trace, common) for trace in range(1, 9)] + [span(9, rare)]
        engine.load(connection, World(spans=spans))
        with judged(connection, parsed, Source(columns=engine.NO_COLUMNS), None, many_traces=0, few_scopes=0):
            names = connection.execute("select table_name from duckdb_tables() where temporary").fetchall()
            found.append(("candidates",) in names)
    assert found == [True, False]


def span(trace, name):
    made = tree_of([None])[0]
    return replace(made, trace=trace, name=name)
