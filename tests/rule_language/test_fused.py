"""Generated rules asked together over one window: the oracle's verdicts, and the certificates of each rule alone."""

from __future__ import annotations

import dataclasses
import os
from random import Random

import duckdb
import engine
import pytest
from oracle_scopes import Judge
from recorded import NS, Log, Span, World
from worlds import rule, world
from written import rule_text

from dagster_project.replay import scratch
from dagster_project.replay.fused import _Making, chosen_for, fused
from dagster_project.replay.judging import Screened, _Steps, judged
from dagster_project.replay.query import ReplayFailed, replay, together
from dagster_project.replay.totals import WindowTotals
from dagster_project.replay.window import Window
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.planning.fusing import Choice, shared_by_all
from dagster_project.rule_language.sql.scan import Scan

PACKS = int(os.environ.get("HINDCAST_FUSED_PACKS", "3"))
RULES, TRACES = 10, 12


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def drawn(random):
    """A world, rules, and a window whose edges are starts of spans, so that what begins at one tells if it is in."""
    recorded = world(random, TRACES)
    starts = sorted({span.start // 1000 * 1000 for span in recorded.spans})
    first, last = sorted(random.choice([0, 3600 * NS, *starts]) for _edge in range(2))
    window = random.choice([(first, last), (first, last), (first, None), (None, last), (None, None)])
    return recorded, [rule(random) for _rule in range(RULES)], (None, None) if first == last else window


def moments(window):
    return Window(*(None if one is None else engine._moment(one) for one in window))


def disagreements(connection, random):
    """The rules of a pack of which verdicts over shared tables are not the oracle's; how many were shared."""
    recorded, rules, window = drawn(random)
    engine.load(connection, recorded)
    asked = [read_inline(rule_text(one)) for one in rules]
    choice = shared_by_all(asked)
    found = []
    with fused(connection, asked, moments(window), engine.source_of(window), choice=choice) as shared:
        assert set(shared.tables) == {share.reading for share in choice.made}
        for one in rules:
            differs = engine.replay_disagreement(connection, one, Judge(one, recorded), window, shared)
            found += [f"{rule_text(one)}\n{window}\n{differs}"] if differs else []
    return found, sum(len(share.rules) for share in choice.made)


def test_packs_agree_with_the_oracle(connection):
    random = Random(20240202)
    shared = 0
    for _pack in range(PACKS):
        found, of_pack = disagreements(connection, random)
        assert not found, found[0]
        shared += of_pack
    assert shared > PACKS * RULES / 3


def test_answers_and_certificates_are_those_of_the_rule_alone(connection):
    random = Random(20240203)
    for _pack in range(PACKS):
        recorded, rules, window = drawn(random)
        engine.load(connection, recorded)
        asked = [read_inline(rule_text(one)) for one in rules]
        alone = [replay(connection, one, moments(window)) for one in asked]
        choice = shared_by_all(asked)
        with fused(connection, asked, moments(window), engine.source_of(window), choice=choice) as shared:
            assert set(shared.tables) == {share.reading for share in choice.made}
            together = [replay(connection, one, moments(window), shared=shared) for one in asked]
        for one, its_own, of_pack in zip(asked, alone, together, strict=True):
            assert of_pack.violations.equals(its_own.violations), (one, window)
            assert of_pack.inconclusive.equals(its_own.inconclusive), (one, window)
            certificates = [dataclasses.replace(each.certificate, seconds=0) for each in (of_pack, its_own)]
            assert certificates[0] == certificates[1], (one, window)


_of_traces = _Making._of_traces
_traces_of_window = _Making._traces_of_window


def _after_its_start(self, share):
    inside = _traces_of_window(self, share)
    return inside if self.source.start is None else inside.where(f"started_at > timestamp '{self.source.start}'")


def _nothing_lost(self, share):
    return self._traces_since(share).where("false", copy=False)


def _not_before(_moment, _back_ns):
    return _moment


def _only_the_first(rule, source):
    scan = Scan(rule, source)
    return scan.item_sql.condition(scan.made.sets[min(scan.made.relevant)].condition, "span")


def _logs_only_beside_spans(self, share, name, traces):
    found = _of_traces(self, share, name, traces)
    return found.this if name == "logs" and share.reading == "window" else found


FAULTS = {
    "no logs of traces without spans": ("_Making._of_traces", _logs_only_beside_spans),
    "no trace that begins with the window": ("_Making._traces_of_window", _after_its_start),
    "no incomplete traces beside groups": ("_Making._incomplete_since", _nothing_lost),
    "nothing before the window": ("before", _not_before),
    "only the first set of a rule": ("_sought", _only_the_first),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_what_is_shared_is_found(connection, monkeypatch, fault):
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(f"dagster_project.replay.fused.{name}", wrong)
    random = Random(1)
    assert any(disagreements(connection, random)[0] for _pack in range(40)), fault


def temporary_tables(connection):
    return {name for (name,) in connection.execute("select table_name from duckdb_tables() where temporary").fetchall()}


def no_memory(*_given):
    raise duckdb.OutOfMemoryException("Out of Memory Error: no more")


SMALL_PACK = ('never: any(span("a"))', 'when: any(span("a")) always: any(span("b"))')


@pytest.mark.parametrize("step", ["fused.chosen_for", "totals.received"])
def test_without_memory_to_choose_each_rule_is_judged_alone(connection, monkeypatch, step):
    engine.load(connection, world(Random(5), TRACES))
    asked = [read_inline(text) for text in SMALL_PACK]
    alone = [replay(connection, one) for one in asked]
    with monkeypatch.context() as patched:
        patched.setattr(f"dagster_project.replay.{step}", no_memory)
        with together(connection, asked) as shared:
            assert shared.choice == Choice()
            assert not shared.tables
            if step == "totals.received":
                with pytest.raises(ReplayFailed, match="needs more memory"):
                    replay(connection, asked[0], shared=shared)
                return
            of_pack = [replay(connection, one, shared=shared) for one in asked]
    assert all(one.violations.equals(other.violations) for one, other in zip(alone, of_pack, strict=True))


def test_a_share_that_memory_ends_leaves_nothing_behind(connection, monkeypatch):
    engine.load(connection, world(Random(5), TRACES))
    asked = [read_inline(text) for text in SMALL_PACK]
    monkeypatch.setattr(_Making, "_of_traces", no_memory)
    there = temporary_tables(connection)
    with fused(connection, asked, Window(), engine.source_of((None, None)), choice=shared_by_all(asked)) as shared:
        assert not shared.tables
        assert temporary_tables(connection) == there
        assert replay(connection, asked[0], shared=shared).certificate.violated >= 0


def test_a_defect_in_what_is_shared_is_not_hidden(connection, monkeypatch):
    def broken(*_given):
        raise duckdb.BinderException("no such column")

    asked = [read_inline(text) for text in SMALL_PACK]
    monkeypatch.setattr(_Making, "_of_traces", broken)
    made = fused(connection, asked, Window(), engine.source_of((None, None)), choice=shared_by_all(asked))
    with pytest.raises(duckdb.BinderException), made:
        pass
    monkeypatch.setattr("dagster_project.replay.fused.chosen_for", broken)
    with pytest.raises(ReplayFailed, match="no such column"), together(connection, asked):
        pass


DAY = 24 * 3600 * NS
MONTH = 20


def a_month():
    """Each day 50 traces of 6 spans that last six minutes; one in two hundred lacks the parent of its root."""
    spans, logs = [], []
    for number in range(MONTH * 50):
        at = number * DAY // 50
        for place in range(6):
            parent = place or (999 if number % 200 == 0 else None)
            name = {0: "pay", 1: "refund"}.get(number % 5, "step3") if place == 3 else f"step{place}"
            spans.append(
                Span(
                    number,
                    place + 1,
                    parent,
                    name,
                    "shop",
                    "1",
                    "internal",
                    "ok",
                    at + place * 60 * NS,
                    60 * NS,
                    {"k": 1},
                )
            )
        logs += [Log(number, None, "shop", 9, "paid", at, {})] * 2
        logs.append(Log(None, None, "shop", 9, "nobody's", at, {}))
    # Of traces without spans: one of old days, one that lasts into the window.
    logs += [Log(number, None, "shop", 9, "alone", day * DAY, {}) for number, day in ((2000, 1), (2001, 1), (2001, 15))]
    return World(spans=spans, logs=logs)


@pytest.fixture
def month(connection):
    engine.load(connection, a_month())
    return connection


THE_LAST_DAYS = (15 * DAY, None)


@pytest.mark.parametrize(
    ("text", "kind", "near"),
    [
        ('never: any(span("{}"))', "window", 0.01),
        ('never: any(span("{}") near log() within 1s on trace)', "window", 0.01),
        ('group_by: k gap: 1d never: any(span("{}"))', "items", 0.15),
        ('group_by: k gap: 1d never: any(span("{}") > span("step4"))', "overlap", 0.05),
        ('group_by: k gap: 2h never: any(span("{}") > span("step4"))', "overlap", 0.05),
    ],
)
def test_what_is_estimated_to_be_held_is_held(month, text, kind, near):
    asked = [read_inline(text.format(name)) for name in ("pay", "refund")]
    source, window = engine.source_of(THE_LAST_DAYS), moments(THE_LAST_DAYS)
    chosen = chosen_for(month, asked, source, WindowTotals(month, window))
    (share,) = chosen.shares
    assert share.reading == kind
    with fused(month, asked, window, source, choice=Choice(chosen.shares, chosen.shares)) as shared:
        tables = shared.tables[kind]
        spans = engine._number(month, f'select count(*) from "{tables["spans"]}"')
        assert share.spans == pytest.approx(spans, rel=near)
        if "logs" in tables and kind == "window":
            logs = engine._number(month, f'select count(*) from "{tables["logs"]}"')
            assert logs == 5 * 50 * 2 + 2
            assert share.logs == pytest.approx(logs, rel=0.01)


@pytest.mark.parametrize(
    ("text", "is_looked"),
    [('never: any(span("pay"))', False), ('group_by: k gap: 1d never: any(span("pay"))', True)],
)
def test_few_shared_traces_are_judged_by_one_query(month, monkeypatch, text, is_looked):
    asked = [read_inline(text)]
    source, window = engine.source_of(THE_LAST_DAYS), moments(THE_LAST_DAYS)
    looked = []
    monkeypatch.setattr(_Steps, "looked", lambda *_given: looked.append(True) or Screened())
    with fused(month, asked, window, source, choice=shared_by_all(asked)) as shared:
        with judged(month, asked[0], shared.source_of(asked[0], source), None, many_traces=MONTH * 50):
            assert bool(looked) == is_looked
        with judged(month, asked[0], source, None, many_traces=MONTH * 50):
            assert len(looked) == 1 + is_looked
