"""Writes the verdicts of one rule into a temporary table: which steps that takes depends on what there is to read.

Few traces are judged by one query. Of many, what losses touch is looked up first, then where to start is chosen by
counting, and scopes that are plainly satisfied are only counted (`screening_sql`). Every step is a table of its own, so
that the engine knows how large it is when it plans the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from dagster_project.replay.temporary import TemporaryTables
from dagster_project.replay.window import LATEST, before
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import after, candidates_query, lost_query, to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source
from dagster_project.rule_language.sql.screening import INCOMPLETE, SCREENED, SUSPECTS, Kind, ScreeningSql

# Parts of relations that several steps read, or that are small.
_KEPT = re.compile(r"broken|r\d+(_\w+)?")
RESULT = "hindcast_replayed"
# From so many traces on it pays to look before; below, every statement costs more than it spares.
MANY_TRACES = 100_000
# So many scopes are listed and looked at closely without a second thought.
FEW_SCOPES = 200_000
# Starting from what `when` needs reads it twice, and seeks its scopes among all items: that has to spare most of them.
WORTH_ANCHORING = 4


@dataclass(frozen=True)
class Screened:
    """The scopes that were only counted.

    Attributes
    ----------
    kind
        How the others were found; None when all are in the result.
    satisfied, unsettled
        How many are satisfied, and how many of these end after what is settled. Not those in the result.
    of_all_traces
        Whether every trace is judged, so that those are satisfied that are in the window and not in the result.
    """

    kind: Kind | None = None
    satisfied: int = 0
    unsettled: int = 0
    of_all_traces: bool = False


@contextmanager
def judged(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    source: Source,
    settled_until: datetime | None,
    *,
    many_traces: int = MANY_TRACES,
    few_scopes: int = FEW_SCOPES,
) -> Iterator[Screened]:
    """Fill `RESULT` for the length of the block.

    Parameters
    ----------
    settled_until
        Satisfied scopes that end later are counted apart.
    many_traces, few_scopes
        From when on it is looked before.
    """
    steps = _Steps(connection, rule, replace(source, satisfied_in_full=False), TemporaryTables(connection))
    try:
        found = steps.looked(settled_until, few_scopes) if steps.has_many(many_traces) else Screened()
        # A temporary table lives in memory even when the connection only reads.
        steps.temporary.make(RESULT, verdicts_query(rule, steps.source))
        yield found
    finally:
        steps.temporary.drop()


@dataclass
class _Steps:
    """The temporary tables of one replay, and the source as it stands after them."""

    connection: duckdb.DuckDBPyConnection
    rule: Rule
    source: Source
    temporary: TemporaryTables

    def has_many(self, many_traces: int) -> bool:
        """Whether there are many traces to read; incomplete ones alone, as rules over items share them, do not say."""
        own = to_sql(self.source.table("traces", None), pretty=False)
        ((traces,),) = self.connection.execute(f"select count(*) from {own}").fetchall()  # noqa: S608
        if traces >= many_traces:
            return True
        whole = f"exists (select 1 from {own} where is_complete)"  # noqa: S608
        query = f"select count(*) from intermediate.int_traces where not {whole}"  # noqa: S608
        ((all_traces,),) = self.connection.execute(query).fetchall()
        return bool(all_traces >= many_traces)

    def looked(self, settled_until: datetime | None, few_scopes: int) -> Screened:
        """Make the tables before the verdicts."""
        screening = ScreeningSql(self.rule, self.source, settled_until)
        made, kind = screening.scan.made, screening.kind()
        if made.can_lose:
            self._look_for_losses(grouped=screening.scan.grouped and not screening.scan.key_sql.lifted)
        if not screening.scan.key_sql.lifted:
            self._relate(screening, with_roots=kind == "flagged")
        counted = screening.anchor_rows()
        if counted is not None:
            (counts,) = self.connection.execute(to_sql(counted, pretty=False)).fetchall()
            anchor, late, relevant = (count or 0 for count in counts)  # the engine counts what holds of none as null
            self.source = replace(self.source, anchored=WORTH_ANCHORING * anchor <= relevant)
            kind = ScreeningSql(self.rule, self.source, settled_until).kind()
            if kind == "mark join" and WORTH_ANCHORING * late > relevant:
                kind = "counted"
            if relevant <= few_scopes:
                kind = None
        screening = ScreeningSql(self.rule, self.source, settled_until)
        if screening.scan.made.needs_candidates:
            self.temporary.make("candidates", candidates_query(self.rule, self._with_incomplete()))
            self.source = replace(self.source, given=self.source.given | {"candidates"})
            if self._rows("candidates") <= few_scopes:
                kind = None
        if kind is None:
            return Screened()
        return self._screened(ScreeningSql(self.rule, self.source, settled_until), kind)

    def _relate(self, screening: ScreeningSql, *, with_roots: bool) -> None:
        """What items are related to, once for all steps; roots only where all of them are read anyhow."""
        parts = screening.scan.related()
        kept = {name for name, _query in parts if _KEPT.fullmatch(name) or (with_roots and name == "roots")}
        for name, query in parts:
            if name in kept:
                before = [part for part in parts if part[0] not in kept]
                self.temporary.make(name, after(before, query))
                self.source = replace(self.source, given=self.source.given | {name})

    def _screened(self, screening: ScreeningSql, kind: Kind) -> Screened:
        satisfied = unsettled = 0
        if kind == "counted":
            self.temporary.make(SCREENED, screening.counted())
            # The engine sums over no scopes to null.
            ((satisfied, unsettled),) = self.connection.execute(
                f'select coalesce(satisfied, 0), coalesce(unsettled, 0) from "{SCREENED}"'  # noqa: S608
            ).fetchall()
        self.temporary.make(SUSPECTS, screening.suspects(kind))
        if kind == "mark join" and (rest := screening.satisfied()) is not None:
            ((satisfied,),) = self.connection.execute(to_sql(rest, pretty=False)).fetchall()
        self.source = screening.narrowed()
        return Screened(kind, satisfied, unsettled, screening.of_all_traces)

    def _look_for_losses(self, *, grouped: bool) -> None:
        """Incomplete traces that reach into the window: what was lost touches scopes not further than a gap from it."""
        columns = "trace_id, is_complete, started_at, ended_at"
        since = before(self.source.start, self.rule.judgement.gap_ns)
        self.temporary.names.append(INCOMPLETE)
        traces = to_sql(self.source.table("traces", None), pretty=False)
        self.connection.execute(
            f"create or replace temp table {INCOMPLETE} as"  # noqa: S608
            f" select {columns} from {traces}"
            " where not is_complete and ($since::timestamp is null or ended_at >= $since::timestamp)",
            {"since": since},
        )
        if grouped:
            ((first,),) = self.connection.execute(f"select min(started_at)::timestamp from {INCOMPLETE}").fetchall()  # noqa: S608
            self.temporary.make(
                "lost", lost_query(self.rule, replace(self._with_incomplete(), lost_since=first or LATEST))
            )
            self.source = replace(self.source, given=self.source.given | {"lost"})

    def _with_incomplete(self) -> Source:
        """Where losses alone are sought, the table that has no whole traces; what an item's own trace is, all say."""
        return replace(self.source, incomplete=INCOMPLETE)

    def _rows(self, name: str) -> int:
        return int(self.connection.execute(f'select count(*) from "{name}"').fetchall()[0][0])  # noqa: S608
