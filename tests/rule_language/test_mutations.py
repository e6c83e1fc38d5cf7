"""Twenty and more faults planted in the compiler, one at a time: the comparison with the oracle must find each.

A mutation replaces one piece of a module's source; the modules of the compiler are then imported anew. One whose piece
is no longer there fails: choose another.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import duckdb
import engine
import pytest
from oracle_scopes import Judge, Rule
from recorded import NS
from worlds import world

from dagster_project.replay import scratch
from dagster_project.rule_language.text.parser import parse

PACKAGE = "dagster_project.rule_language"
WORLDS = 12  # of many traces, in one of which a fault must show


@dataclass(frozen=True)
class Mutation:
    """`rule` is one that reads what is faulty: the fields of a rule, as text."""

    name: str
    module: str
    old: str
    new: str
    rule: dict[str, Any]


def over_traces(detect: str, **more: Any) -> dict[str, Any]:
    return {"detect": detect, **more}


def over_groups(detect: str, key: str = "service", gap: int = 60 * NS) -> dict[str, Any]:
    return {"detect": detect, "group_by": (key,), "gap": gap}


MUTATIONS = [
    Mutation(
        "gap: a pause of just one gap parts",
        "sql.grouping",
        "later = exp.GT(",
        "later = exp.GTE(",
        over_groups("count(span()) > 1", gap=NS // 1000),
    ),
    Mutation(
        "loss: a trace of any key touches a group",
        "sql.listing",
        "same(inner, outer, *self.scan.keys), ",
        "",
        over_groups("count(span()) > 3", key="a"),
    ),
    Mutation(
        "sibling of itself",
        "sql.kinship",
        'exp.GT(this=column("others", "g")',
        'exp.GTE(this=column("others", "g")',
        over_traces("any(span() ~ span())"),
    ),
    Mutation(
        "near itself",
        "sql.nearby",
        "exp.GT(this=partners, expression=own)",
        "exp.GTE(this=partners, expression=own)",
        over_traces("any(span() near span() within 1ms)"),
    ),
    Mutation(
        "near: the end of the distance left out",
        "sql.nearby",
        '("v", exp.GT, since)',
        '("v", exp.GTE, since)',
        over_traces("count(span() after log() within 1s on anything) > 1"),
    ),
    Mutation(
        "near: a dropped key",
        "sql.nearby",
        'if key != "anything"]',
        'if key not in {"anything", "service"}]',
        over_traces("any(span() near log() within 60s on trace, service)"),
    ),
    Mutation(
        "descendant of itself",
        "sql.kinship",
        "exp.GT(this=column(one, _ASKED)",
        "exp.GTE(this=column(one, _ASKED)",
        over_traces('any(span("pay*") >> span("pay*"))'),
    ),
    Mutation(
        "ancestor of itself",
        "sql.kinship",
        "inside = exp.GT(",
        "inside = exp.GTE(",
        over_traces('any(span("pay*") << span("pay*"))'),
    ),
    Mutation(
        "an orphan's parent is no loss",
        "sql.kinship",
        'one_of([found, column("hangs_loose", _ASKED)])',
        "found",
        over_traces("all(span() where a > 1) or any(span() !> span())"),
    ),
    Mutation(
        "a parent of another trace",
        "sql.kinship",
        'same(parent, child, "trace_id")',
        "exp.true()",
        over_traces('any(span("pay") > span("get"))'),
    ),
    Mutation(
        "loss ignored",
        "sql.scope",
        "return [column(LOST, self.table)] if",
        "return [] and [column(LOST, self.table)] if",
        over_traces('any(span("pay"))'),
    ),
    Mutation(
        "quantile: another rank",
        "sql.aggregates",
        '"quantile_disc", value',
        '"quantile_cont", value',
        over_traces("p50(span().duration) > 4ms"),
    ),
    Mutation(
        "average over all items",
        "sql.aggregates",
        "exp.Nullif(this=number_of(value, matches)",
        "exp.Nullif(this=filtered(exp.Count(this=exp.Star()), matches.copy())",
        over_traces("avg(span().a) > 1"),
    ),
    Mutation(
        "order: a lost skew",
        "sql.order",
        "skew = integer(self.order.skew_ns)\n",
        "skew = integer(0)\n",
        over_traces("s followed by t", let={"s": 'span("pay*")', "t": 'span("get")'}),
    ),
    Mutation(
        "order: at the same time is before",
        "sql.order",
        "is_true(of(exp.LT, own, at))",
        "is_true(of(exp.LTE, own, at))",
        over_traces("s before t", let={"s": 'span("pay*")', "t": "log()"}),
    ),
    Mutation(
        "order: ancestry the wrong way round",
        "sql.ancestry",
        "before, after = partner_above, needy_above",
        "before, after = needy_above, partner_above",
        over_traces("s before t", let={"s": "span(is_root)", "t": "span(not is_root)"}),
    ),
    Mutation(
        "rate: the end of the stretch left out",
        "sql.rate",
        "at, 0, min(self.rate.per_ns, FAR_NS)",
        "at, 0, min(self.rate.per_ns, FAR_NS) - 1",
        over_traces("count(span()) > 2 per 10ms"),
    ),
    Mutation(
        "baseline: the hour itself",
        "sql.baseline",
        "hour, -self._hours, -1)",
        "hour, -self._hours, 0)",
        over_traces("count(span()) by service > baseline(24h, at least 1)", by=("service",)),
    ),
    Mutation(
        "baseline: every hour is the same",
        "sql.baseline",
        "if self.baseline.same_hour:\n            partition",
        "if False:\n            partition",
        over_traces("count(span()) by service > baseline(168h, same hour, at least 1)", by=("service",)),
    ),
    Mutation(
        "baseline: one record fewer is enough",
        "sql.baseline",
        "integer(self.baseline.at_least)",
        "integer(self.baseline.at_least - 1)",
        over_traces("count(span()) by service > baseline(24h, at least 3)", by=("service",)),
    ),
    Mutation(
        "ranges that touch do not meet",
        "sql.scope",
        "Possible(of(exp.LTE, left.low, right.high), of(exp.GT, left.high",
        "Possible(of(exp.LT, left.low, right.high), of(exp.GT, left.high",
        over_traces("count(span()) <= 2"),
    ),
    Mutation(
        "a lost null check",
        "sql.scan",
        'may_be_kept = call("coalesce", kept, ',
        'may_be_kept = call("coalesce", kept, exp.true(), ',
        over_traces("all(span() where a > 0)"),
    ),
    Mutation(
        "a severity is one number",
        "sql.item",
        "in (first, first + 3))",
        "in (first, first))",
        over_traces("any(log(severity == error))"),
    ),
    Mutation(
        "witness: one item fewer",
        "sql.witness",
        "max(0, floor(bound) + 1)",
        "max(0, floor(bound))",
        over_traces("count(span()) > 2"),
    ),
    Mutation(
        "witness: not the earliest",
        "sql.details",
        'filtered(exp.Min(this=item_row(ITEM)), column(f"x{number}"',
        'filtered(exp.Max(this=item_row(ITEM)), column(f"x{number}"',
        {"always": "all(span() where a > 1)"},
    ),
    Mutation(
        "lifted: a key of another trace",
        "sql.keys",
        'same(f"{CARRIER}0", f"{CARRIER}{number}", "trace_id")',
        "exp.true()",
        {"detect": "count(span()) > 3", "group_by": ("trace.a", "trace.b"), "gap": 60 * NS},
    ),
    Mutation(
        "window: its end is in it",
        "sql.listing",
        "exp.LT(this=at.copy(), expression=timestamp(self.scan.source.end))",
        "exp.LTE(this=at.copy(), expression=timestamp(self.scan.source.end))",
        over_traces("any(span())"),
    ),
]


class _Mutating(SourceFileLoader):
    """Loads a module with one piece of it replaced."""

    def __init__(self, name: str, path: str, mutation: Mutation) -> None:
        super().__init__(name, path)
        self.mutation = mutation

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text(encoding="utf-8")
        found = source.count(self.mutation.old)
        assert found, f"{self.mutation.name}: {self.mutation.module} no longer says `{self.mutation.old}`"
        return compile(source.replace(self.mutation.old, self.mutation.new), self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, mutation: Mutation, path: str) -> None:
        self.mutation, self.path = mutation, path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != f"{PACKAGE}.{self.mutation.module}":
            return None
        return spec_from_loader(fullname, _Mutating(fullname, self.path, self.mutation))


@contextmanager
def mutated(mutation: Mutation) -> Iterator[ModuleType]:
    """The way into the engine, through a compiler with one fault."""
    spec = find_spec(f"{PACKAGE}.{mutation.module}")
    assert spec is not None
    assert spec.origin is not None
    finder = _Finder(mutation, spec.origin)
    compiler = re.compile(rf"{re.escape(PACKAGE)}\.(sql|planning)\.\w+|engine")
    saved = {name: module for name, module in sys.modules.items() if compiler.fullmatch(name)}
    for name in saved:
        del sys.modules[name]
        if name != "engine":
            package, _, leaf = name.rpartition(".")
            delattr(sys.modules[package], leaf)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("engine")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if compiler.fullmatch(name)]:
            del sys.modules[name]
        sys.modules.update(saved)
        for name, module in saved.items():
            if name != "engine":
                package, _, leaf = name.rpartition(".")
                setattr(sys.modules[package], leaf, module)


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


@pytest.fixture(scope="module")
def recorded():
    """Worlds of many traces, the same for each fault."""
    random = Random(1)
    return [world(random, traces=25) for _world in range(WORLDS)]


def built(fields: dict[str, Any]) -> Rule:
    """A rule of texts."""
    let = tuple((name, parse(text, "definition")) for name, text in fields.get("let", {}).items())
    said = {name: parse(fields[name]) for name in ("when", "always", "detect") if name in fields}
    kept = {name: fields[name] for name in ("group_by", "gap", "by") if name in fields}
    return Rule(let=let, **said, **kept)


def is_found(way: Any, connection: Any, one: Rule, recorded: Any) -> bool:
    """Whether engine and oracle differ; a fault that cannot even be run is found, too."""
    first = min(span.start for span in recorded.spans)
    starts = sorted({span.start // 1000 * 1000 for span in recorded.spans if span.parent is None})
    for window in ((None, None), (first // 1000 * 1000, starts[len(starts) // 2])):
        try:
            if way.disagreement(connection, one, Judge(one, recorded), window=window) is not None:
                return True
        except duckdb.Error:
            return True
    return False


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_a_planted_fault_is_found(connection, recorded, mutation):
    one = built(mutation.rule)
    with mutated(mutation) as faulty:
        for its_world in recorded:
            engine.load(connection, its_world)
            if is_found(faulty, connection, one, its_world):
                break
        else:
            pytest.fail(f"not found in {len(recorded)} worlds")
    assert not is_found(engine, connection, one, its_world), "found without the fault"
