"""The fused plan over a connection: what several rules read of one window is read once, into temporary tables.

Which rules that is for, `rule_language.planning.fusing` reckons; each of them is then judged as ever, by `query`. The
tables hold more than any of the rules reads and every rule asks for its own, so that its answer is what it is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import duckdb
from sqlglot import exp

from dagster_project.replay.tables import Tables, row, rows, tables_of
from dagster_project.replay.temporary import TemporaryTables
from dagster_project.replay.totals import WindowTotals
from dagster_project.replay.window import Window, before
from dagster_project.rule_language.planning.estimates import Group, Statistics
from dagster_project.rule_language.planning.fusing import (
    MOST_SHARED,
    Choice,
    Measured,
    Reading,
    Share,
    choose,
    looks_back_ns,
    reach_ns,
)
from dagster_project.rule_language.planning.planner import plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.entity import TABLES, schema_table
from dagster_project.rule_language.sql.nodes import (
    cast,
    column,
    in_query,
    not_null,
    of,
    one_of,
    same,
    select,
    table,
    text,
    timestamp,
    union_all,
)
from dagster_project.rule_language.sql.query import verdicts_query
from dagster_project.rule_language.sql.scan import Scan, Source

# Beside the columns that verdicts read, those by which the tables are cut and losses are found.
_ALWAYS = {
    "spans": {"trace_id", "started_at"},
    "traces": {"trace_id", "started_at", "ended_at", "is_complete", "started_on"},
    "logs": {"trace_id"},
}


@dataclass(frozen=True)
class Shared:
    """What the rules of a pack have in common over one window.

    Attributes
    ----------
    totals
        What all their certificates say alike.
    choice
        Which rules are judged over shared tables.
    tables
        The names of these by what they are read for, and by their names in `TABLES`.
    """

    totals: WindowTotals
    choice: Choice = field(default_factory=Choice)
    tables: Mapping[Reading, Mapping[str, str]] = field(default_factory=dict)

    def source_of(self, rule: Rule, source: Source) -> Source:
        """Where the rule is read from; the source itself when it is judged alone."""
        kind = self.choice.reading_of(rule)
        made = self.tables.get(kind) if kind else None
        if made is None:
            return source

        def table_of(name: str, alias: str | None) -> exp.Expression:
            return exp.table_(made[name], quoted=True, alias=alias) if name in made else schema_table(name, alias)

        return replace(source, table=table_of)


@contextmanager
def fused(
    connection: duckdb.DuckDBPyConnection,
    rules: Sequence[Rule],
    window: Window,
    source: Source,
    *,
    choice: Choice | None = None,
) -> Iterator[Shared]:
    """Make the tables that these rules share over a window, for the length of the block.

    Where memory does not suffice to choose, or for a share, its rules are judged alone, and say themselves what fails.

    Parameters
    ----------
    source
        The tables' columns and the window, as `query.source_of` says.
    choice
        Which rules share; None: by what is measured.
    """
    totals = WindowTotals(connection, window)
    if choice is None:
        try:
            choice = chosen_for(connection, rules, source, totals)
        except duckdb.OutOfMemoryException:
            choice = Choice()
    making = _Making(connection, source)
    try:
        tables: dict[Reading, Mapping[str, str]] = {}
        for share in choice.made:
            before_it = len(making.temporary.names)
            try:
                tables[share.reading] = making.tables_for(share)
            except duckdb.OutOfMemoryException:
                making.temporary.drop(before_it)
        yield Shared(totals, choice, tables)
    finally:
        making.temporary.drop()


def chosen_for(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], source: Source, totals: WindowTotals
) -> Choice:
    """The choice for a pack; where the window alone is too much to be shared nothing more is counted."""
    window_spans = int(totals.scanned["spans"])
    if len(rules) < 2 or window_spans > MOST_SHARED:
        return Choice()
    back_ns = looks_back_ns(rules)
    reach, since = (_counted(connection, moment) for moment in (before(source.start, back_ns), source.start))
    logs = int(totals.scanned["logs"])
    every = row(
        connection,
        "select (select count(*) from staging.stg_spans) as spans,"
        " (select count(*) from intermediate.int_traces) as traces",
    )
    return choose(rules, Measured(every["spans"], every["traces"], window_spans, since, reach, back_ns, logs))


def _counted(connection: duckdb.DuckDBPyConnection, since: datetime | None) -> Statistics:
    """Spans by service and name."""
    inside = "true" if since is None else "started_at >= $since::timestamp"
    query = f"select service_name, span_name, count(*) as n from staging.stg_spans where {inside} group by all"  # noqa: S608
    found = rows(connection, query, None if since is None else {"since": since})
    return Statistics({"span": tuple(Group(one["service_name"], one["span_name"], one["n"]) for one in found)})


@dataclass
class _Making:
    """The shared tables of one pack."""

    connection: duckdb.DuckDBPyConnection
    source: Source
    temporary: TemporaryTables = field(init=False)
    known: Tables = field(init=False)

    def __post_init__(self) -> None:
        self.temporary = TemporaryTables(self.connection)
        self.known = tables_of(self.connection)

    def tables_for(self, share: Share) -> Mapping[str, str]:
        """The tables that the rules of a share are judged over."""
        read = _read_by(share.rules, self.source)
        read.setdefault("traces", set())
        making: dict[Reading, Callable[[Share], exp.Expression]] = {
            "window": self._traces_of_window,
            "overlap": self._traces_since,
            "items": self._incomplete_since,
        }
        made = {"traces": self._make(share, "traces", making[share.reading](share), read)}
        if share.reading == "items":
            if "spans" not in read:
                return made
            return made | {"spans": self._make(share, "spans", self._items(share, made["traces"]), read)}
        for name in ("spans", "shapes", "events", "links", "logs"):
            if name in read and name in TABLES:
                made[name] = self._make(share, name, self._of_traces(share, name, made["traces"]), read)
        return made

    def _make(self, share: Share, name: str, query: exp.Expression, read: Mapping[str, set[str]]) -> str:
        """Write a table with the columns that are read; the query selects from the real one."""
        schema, plain = TABLES[name]
        there = self.known.columns[f"{schema}.{plain}"]
        wanted = sorted(there & (read[name] | _ALWAYS.get(name, set()))) or sorted(there)
        for part in query.find_all(exp.Select):
            if not part.expressions:
                part.set("expressions", [column(one, part.args["from_"].this.alias or None) for one in wanted])
        target = f"hindcast_{share.reading}_{name}"
        self.temporary.make(target, query)
        return target

    # Which traces.

    def _traces_of_window(self, _share: Share) -> exp.Select:
        return _all_of("traces", self._inside(column("started_at")))

    def _inside(self, moment: exp.Expression) -> list[exp.Expression]:
        """That a moment is in the window."""
        bounds = ((exp.GTE, self.source.start), (exp.LT, self.source.end))
        return [of(kind, moment.copy(), timestamp(bound)) for kind, bound in bounds if bound is not None]

    def _traces_since(self, share: Share) -> exp.Select:
        """Those that an item of the window, or a loss that touches it, can belong to."""
        since = before(self.source.start, reach_ns(share.rules))
        return _all_of("traces", [] if since is None else [of(exp.GTE, column("ended_at"), timestamp(since))])

    def _incomplete_since(self, share: Share) -> exp.Select:
        return self._traces_since(share).where(exp.Not(this=column("is_complete")), copy=False)

    # What is of them.

    def _of_traces(self, share: Share, name: str, traces: str) -> exp.Expression:
        """All rows of these traces; of logs also those of traces without any span that can be scopes of the window."""
        chosen = in_query(column("trace_id"), select(column("trace_id")).from_(table(traces), copy=False))
        if name == "logs" and share.reading == "window":
            # Such a trace begins with the first of its logs that the rule is about, which is in the window.
            at = self._inside(column("occurred_at"))
            seen = _all_of(name, [not_null(column("trace_id")), *at])
            seen.set("expressions", [column("trace_id")])
            alone = _all_of(name, [in_query(column("trace_id", "l"), seen)], "l")
            received = schema_table("traces", "p")
            alone.append("joins", exp.Join(this=received, kind="ANTI", on=same("l", "p", "trace_id")))
            return union_all([_all_of(name, [chosen]), alone])
        return _all_of(name, [chosen, *self._in_time(name, traces)])

    def _in_time(self, name: str, traces: str) -> list[exp.Expression]:
        """Bounds that the rows of these traces are within: no span ends before it starts, landing sees to that."""
        schema, plain = TABLES[name]
        bounds = row(
            self.connection,
            f'select min(started_at) as first_at, max(ended_at) as last_at from "{traces}"',  # noqa: S608
        )
        first, last = bounds["first_at"], bounds["last_at"]
        if first is None:
            return [exp.false()]
        if name == "spans":
            # Times are kept to the nanosecond, and come here to the microsecond.
            later = timestamp(last + timedelta(microseconds=1))
            return [exp.Between(this=column("started_at"), low=timestamp(first), high=later)]
        if not self.known.has(f"{schema}.{plain}", "started_on"):
            return []
        low, high = (cast(text(moment.date().isoformat()), "DATE") for moment in (first, last))
        return [exp.Between(this=column("started_on"), low=low, high=high)]

    def _items(self, share: Share, incomplete: str) -> exp.Expression:
        """The spans of the rules' sets, each as far back as its rule looks, and all of incomplete traces."""
        lost = in_query(column("trace_id", "s"), select(column("trace_id")).from_(table(incomplete), copy=False))
        sought = [
            (before(self.source.start, plan(rule.judgement).back_ns), _sought(rule, self.source))
            for rule in share.rules
        ]
        edges = [None, *sorted({since for since, _ in sought if since is not None})]
        parts = []
        for edge, until in zip(edges, [*edges[1:], None], strict=True):
            wanted = [condition for since, condition in sought if _is_reached(since, edge)]
            conditions = [one_of([*(one.copy() for one in wanted), lost.copy()])]
            if edge is not None:
                conditions.append(of(exp.GTE, column("started_at", "s"), timestamp(edge)))
            if until is not None:
                conditions.append(of(exp.LT, column("started_at", "s"), timestamp(until)))
            if edge is None and not wanted:
                conditions = [lost.copy(), *conditions[1:], *self._after_first(incomplete)]
            parts.append(_all_of("spans", conditions, "s"))
        return union_all(parts)

    def _after_first(self, traces: str) -> list[exp.Expression]:
        first = row(self.connection, f'select min(started_at) as at from "{traces}"')["at"]  # noqa: S608
        return [exp.false()] if first is None else [of(exp.GTE, column("started_at", "s"), timestamp(first))]


def _is_reached(since: datetime | None, edge: datetime | None) -> bool:
    """Whether a rule that looks back to `since` reads what starts at `edge` (None: long ago)."""
    return since is None or (edge is not None and since <= edge)


def _all_of(name: str, conditions: list[exp.Expression], alias: str | None = None) -> exp.Select:
    """Rows of a real table; its columns are named by who writes them."""
    return exp.Select().from_(schema_table(name, alias), copy=False).where(*conditions, copy=False)


def _sought(rule: Rule, source: Source) -> exp.Expression:
    """That a span is in a set of the rule."""
    scan = Scan(rule, source)
    sets = [scan.made.sets[number] for number in sorted(scan.made.relevant)]
    return one_of([scan.item_sql.condition(items.condition, "span") for items in sets if items.entity == "span"])


def _read_by(rules: Sequence[Rule], source: Source) -> dict[str, set[str]]:
    """The columns that may be read of each table by the verdicts of these rules, by the name in `TABLES`."""
    names = {place: name for name, place in TABLES.items()}
    read: dict[str, set[str]] = {}
    for rule in rules:
        query = verdicts_query(rule, source)
        columns = {one.name for one in query.find_all(exp.Column)}
        for one in query.find_all(exp.Table):
            if name := names.get((one.db, one.name)):
                read.setdefault(name, set()).update(columns)
    return read
