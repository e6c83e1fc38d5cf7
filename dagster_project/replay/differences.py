"""What a change of a rule would add and remove over what was received: the verdicts of two rules, scope by scope."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dagster_project.replay.query import ReplayFailed, source_of
from dagster_project.replay.tables import Row, row, rows
from dagster_project.replay.window import Window
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql import to_sql, verdicts_query

MOST_EXAMPLES = 5
MOST_DAYS = 400
_OLD, _NEW = "hindcast_old_verdicts", "hindcast_new_verdicts"


@dataclass(frozen=True)
class Side:
    """Violations that only one of the two rules has.

    `verdicts` counts them by what the other rule says of the same scope; `examples` are the earliest.
    """

    violations: int
    verdicts: tuple[Row, ...]
    examples: tuple[Row, ...]


@dataclass(frozen=True)
class Difference:
    """Two rules over one window. `by_day` has `day`, `added`, `removed` of days on which there is a difference."""

    is_same_meaning: bool
    old_violations: int
    new_violations: int
    kept: int
    added: Side
    removed: Side
    by_day: tuple[Row, ...]

    @property
    def is_empty(self) -> bool:
        """Whether neither adds nor removes anything."""
        return not self.added.violations and not self.removed.violations


def difference(connection: duckdb.DuckDBPyConnection, old: Rule, new: Rule, window: Window) -> Difference:
    """Replay both rules.

    A violation is in both when its scope is: the same trace; for groups the same key over times that overlap; for a
    trace and a group a trace in common.

    Raises
    ------
    ReplayFailed
        When the engine gives up on one of them.
    """
    try:
        for table, rule in ((_OLD, old), (_NEW, new)):
            query = to_sql(verdicts_query(rule, source_of(connection, window)), pretty=False)
            connection.execute(f"create or replace temp table {table} as {query}")
        same = _same_scope(old, new)
        added, removed = _only(connection, _NEW, _OLD, same), _only(connection, _OLD, _NEW, same)
        counts = row(
            connection,
            f"""
            select
                (select count(*) from {_OLD} where verdict = 'violated') as old,
                (select count(*) from {_NEW} where verdict = 'violated') as new
            """,  # noqa: S608
        )
        return Difference(
            is_same_meaning=old.meaning_hash == new.meaning_hash,
            old_violations=counts["old"],
            new_violations=counts["new"],
            kept=counts["new"] - added.violations,
            added=added,
            removed=removed,
            by_day=tuple(_by_day(connection, same)),
        )
    except duckdb.Error as error:
        raise ReplayFailed(f"{old.path} and {new.path} could not be compared: {error}") from error
    finally:
        for table in (_OLD, _NEW):
            connection.execute(f"drop table if exists {table}")


def _same_scope(old: Rule, new: Rule) -> str:
    """The condition that `here` and `there` are of one scope."""
    if old.scope_kind != new.scope_kind:
        return "list_has_any(here.trace_ids, there.trace_ids)"
    if old.scope_kind == "trace":
        return "here.scope_key = there.scope_key"
    overlap = "here.first_span_at <= there.last_span_at and there.first_span_at <= here.last_span_at"
    return f"here.scope_key = there.scope_key and {overlap}"


def _only(connection: duckdb.DuckDBPyConnection, here: str, there: str, same: str) -> Side:
    """The violations of one rule that the other does not have."""
    alone = f"""
        select
            here.first_span_at, here.violation_id,
            case when here.scope_kind = 'trace' then replace(here.scope_key, '-', '') else here.scope_key end
                as scope_key,
            coalesce(max(there.verdict) filter (there.verdict <> 'violated'), 'not applicable') as other_verdict
        from {here} as here left join {there} as there on {same}
        where here.verdict = 'violated'
        group by all
        having count(*) filter (there.verdict = 'violated') = 0
    """  # noqa: S608
    verdicts = rows(
        connection,
        f"select other_verdict as verdict, count(*) as violations from ({alone}) group by all order by 2 desc, 1",  # noqa: S608
    )
    examples = rows(
        connection,
        f"select * from ({alone}) order by first_span_at, scope_key limit {MOST_EXAMPLES}",  # noqa: S608
    )
    return Side(sum(one["violations"] for one in verdicts), tuple(verdicts), tuple(examples))


def _by_day(connection: duckdb.DuckDBPyConnection, same: str) -> list[Row]:
    def alone(here: str, there: str) -> str:
        return f"""
            select here.started_on as day from {here} as here
            where here.verdict = 'violated' and not exists (
                select 1 from {there} as there where there.verdict = 'violated' and {same}
            )
        """  # noqa: S608

    return rows(
        connection,
        f"""
        select day, sum(added)::bigint as added, sum(removed)::bigint as removed from (
            select day, 1 as added, 0 as removed from ({alone(_NEW, _OLD)})
            union all select day, 0, 1 from ({alone(_OLD, _NEW)})
        ) group by day order by day limit {MOST_DAYS}
        """,  # noqa: S608
    )
