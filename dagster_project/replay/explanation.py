"""How rules are run over a connection: which plan and why, about how much is read, the SQL, and the engine's plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from dagster_project.replay.fused import chosen_for
from dagster_project.replay.judging import MANY_TRACES
from dagster_project.replay.query import source_of
from dagster_project.replay.table_statistics import measure
from dagster_project.replay.totals import WindowTotals
from dagster_project.replay.window import Window
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.estimates import Statistics
from dagster_project.rule_language.planning.fusing import MOST_SHARED, Choice, Reading
from dagster_project.rule_language.planning.planner import Plan, plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source
from dagster_project.rule_language.sql.screening import ScreeningSql

_LONGEST = 100


def explain(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window | None = None) -> str:
    """The choice of plan with its estimates, the SQL, and the engine's plan, as text."""
    source = source_of(connection, window or Window())
    statistics = measure(connection)
    made = plan(rule.judgement, statistics)
    sql = to_sql(verdicts_query(rule, source))
    rows = connection.execute(f"explain {sql}").fetchall()
    said = [*_chosen(rule, made, statistics), _screening(connection, rule, replace(source, statistics=statistics))]
    return "\n".join([*said, "", f"{sql};", "", rows[0][1] if rows else ""])


def explain_pack(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], window: Window | None = None) -> str:
    """How several rules are asked together over a window: which of them share what is read, and why, as text."""
    totals = WindowTotals(connection, window or Window())
    chosen = chosen_for(connection, rules, source_of(connection, totals.window), totals)
    said = [f"{len(rules):,} rules over {totals.scanned['spans']:,} spans of the window"]
    for share in chosen.shares:
        plan_ = "fused" if share in chosen.made else "each alone"
        said.append(
            f"plan: {plan_}: {len(share.rules):,} rules that read {_SHARED[share.reading]}: about {share.spans:,} spans"
            f" read once take {share.cost:.1f} s and spare {share.saved:.1f} s"
        )
        said.append(f"  {', '.join(rule.id for rule in share.rules)}")
    if totals.scanned["spans"] > MOST_SHARED:
        said.append(f"nothing is shared: more than {MOST_SHARED:,} spans are not held in memory")
    if rest := _asked_alone(chosen, rules):
        said.append(f"plan: each alone: {', '.join(rest)}")
    return "\n".join([*said, "`hindcast rules explain` of one rule shows how it is judged alone"])


def _asked_alone(chosen: Choice, rules: Sequence[Rule]) -> list[str]:
    """Rules that no share was considered for, or that one left out."""
    considered = {rule.meaning_hash for share in chosen.shares for rule in share.rules}
    return [rule.id for rule in rules if rule.meaning_hash not in considered]


_SHARED: dict[Reading, str] = {
    "window": "traces that begin in the window",
    "overlap": "whole traces that last until a gap before the window, or longer",
    "items": "spans of their sets as far back as they look, and incomplete traces",
}


def _chosen(rule: Rule, made: Plan, statistics: Statistics) -> list[str]:
    """The plan in words, and a line a set with the number of its items that is expected."""
    relevant = made.rows(frozenset(made.relevant))
    said = [f"{rule.id}: judges by {_scope(rule)}"]
    if made.needs_candidates and made.anchor is not None:
        said.append(
            f"plan: anchored: begins at the scopes of about {made.rows(made.anchor):,.0f} items that `when` needs (*),"
            f" instead of reading about {relevant:,.0f}"
        )
    elif made.anchor is not None:
        said.append(
            f"plan: one pass over about {relevant:,.0f} items: the {made.rows(made.anchor):,.0f} that `when` needs (*)"
            " spare too little to be looked up first"
        )
    else:
        said.append(
            f"plan: one pass over about {relevant:,.0f} items: no item is needed for `when`, so every scope is read"
        )
    received = ", ".join(
        f"{statistics.rows(entity):,.0f} {entity}s" for entity in made.entities if entity in statistics.groups
    )
    said.append(f"received: {received or 'nothing that is counted'}")
    for number, items in enumerate(made.sets):
        mark = "*" if made.anchor and number in made.anchor else " "
        said.append(
            f" {mark} about {made.rows(frozenset([number])):>12,.0f}  {items.entity}: {_short(items.condition)}"
        )
    return said


def _screening(connection: duckdb.DuckDBPyConnection, rule: Rule, source: Source) -> str:
    """How a replay finds the scopes that it has to look at closely."""
    ((traces,),) = connection.execute("select count(*) from intermediate.int_traces").fetchall()
    if traces < MANY_TRACES:
        return f"screening: none: {traces:,} traces are few, so every scope is judged by the query below"
    kind = ScreeningSql(rule, source).kind()
    return f"screening: {_SCREENINGS[kind]}"


_SCREENINGS: dict[str | None, str] = {
    None: "none: every scope that `when` allows is judged by the query below",
    "counted": "one pass over the counters of every scope, unless `when` leaves few; what is plainly satisfied is only"
    " counted, the others are judged by the query below",
    "flagged": "only traces with an item that can be bad are judged by the query below; the rest of all is satisfied",
    "mark join": "a mark join (`not in`) of all traces, or of those with what `when` needs, with those that have the"
    " item: only traces without it are judged by the query below; the rest is satisfied",
}


def _scope(rule: Rule) -> str:
    keys = ", ".join(rule.judgement.group_by)
    return f"{rule.scope_kind} of {keys}" if keys else rule.scope_kind


def _short(condition: Any) -> str:
    text = _text(condition)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(node: Any) -> str:
    """A condition about as its writer wrote it; only for people."""
    written = _WRITTEN.get(type(node))
    return type(node).__name__.lower() if written is None else written(node)


_WRITTEN: dict[type, Callable[[Any], str]] = {
    model.Field: lambda node: node.key if node.of == "item" else f"{node.of}.{node.key}",
    model.Constant: lambda node: str(node.value),
    model.Comparison: lambda node: f"{_text(node.left)} {node.op} {_text(node.right)}",
    model.Calculation: lambda node: f"{_text(node.left)} {node.op} {_text(node.right)}",
    model.GlobMatched: lambda node: f'{_text(node.term)} like "{node.glob}"',
    model.PatternFound: lambda node: f'{_text(node.term)} matches "{node.pattern}"',
    model.Membership: lambda node: f"{_text(node.term)} in [{', '.join(map(_text, node.values))}]",
    model.Presence: lambda node: f"{'exists' if node.present else 'missing'}({_text(node.field)})",
    model.Truth: lambda node: _text(node.term),
    model.Negation: lambda node: f"not ({_text(node.operand)})",
    model.Conjunction: lambda node: " and ".join(map(_text, node.operands)) or "any",
    model.Disjunction: lambda node: " or ".join(map(_text, node.operands)),
}
