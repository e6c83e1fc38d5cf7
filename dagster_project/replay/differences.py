"""What a change of a rule would add and remove over what was received: the verdicts of two rules, scope by scope."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dagster_project.replay.query import ReplayFailed, source_of
from dagster_project.replay.tables import Row, row, rows
from dagster_project.replay.window import Window
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import to_sql, verdicts_query

MOST_EXAMPLES = 5
MOST_DAYS = 400
_OLD, _NEW = "hindcast_old_verdicts", "hindcast_new_verdicts"
_ADDED, _REMOVED = "hindcast_added_violations", "hindcast_removed_violations"


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
    """Two rules over one window.

    Attributes
    ----------
    by_day
        `day`, `added`, `removed` of the first of the `days` on which there is a difference.
    """

    is_same_meaning: bool
    old_violations: int
    new_violations: int
    old_satisfied: int
    new_satisfied: int
    kept: int
    added: Side
    removed: Side
    by_day: tuple[Row, ...]
    days: int

    @property
    def is_empty(self) -> bool:
        """Whether neither adds nor removes anything."""
        return not self.added.violations and not self.removed.violations


def difference(connection: duckdb.DuckDBPyConnection, old: Rule, new: Rule, window: Window) -> Difference:
    """Replay both rules.

    A violation is in both when its scope is: the same trace; for groups by the same attributes the same key over times
    that overlap; for any other two a trace in common, for the order 42 is not the customer 42.

    Raises
    ------
    ReplayFailed
        When the engine gives up on one of them.
    """
    try:
        for table, rule in ((_OLD, old), (_NEW, new)):
            query = to_sql(verdicts_query(rule, source_of(connection, window)), pretty=False)
            connection.execute(f"create or replace temp table {table} as {query}")
        matched = _MATCHED[_likeness(old, new)]
        added = _only(connection, _ADDED, _NEW, _OLD, matched)
        removed = _only(connection, _REMOVED, _OLD, _NEW, matched)
        counts = row(
            connection,
            f"""
            select * from (
                select count(*) filter (verdict = 'violated') as old_violations,
                    count(*) filter (verdict = 'satisfied') as old_satisfied from {_OLD}
            ), (
                select count(*) filter (verdict = 'violated') as new_violations,
                    count(*) filter (verdict = 'satisfied') as new_satisfied from {_NEW}
            )
            """,  # noqa: S608
        )
        days, by_day = _by_day(connection)
        return Difference(
            is_same_meaning=old.meaning_hash == new.meaning_hash,
            **counts,
            kept=counts["new_violations"] - added.violations,
            added=added,
            removed=removed,
            by_day=tuple(by_day),
            days=days,
        )
    except duckdb.Error as error:
        raise ReplayFailed(f"{old.path} and {new.path} could not be compared: {error}") from error
    finally:
        for table in (_OLD, _NEW, _ADDED, _REMOVED):
            connection.execute(f"drop table if exists {table}")


# The verdicts of the other rule on the scope of each violation, joined by equality: millions are no nested loop.
_MATCHED = {
    "trace": """
        select here.violation_id, there.verdict
        from {here} as here inner join {there} as there on here.scope_key = there.scope_key
        where here.verdict = 'violated'
    """,
    "key": """
        select here.violation_id, there.verdict
        from {here} as here inner join {there} as there on here.scope_key = there.scope_key
            and here.first_span_at <= there.last_span_at and there.first_span_at <= here.last_span_at
        where here.verdict = 'violated'
    """,
    "traces in common": """
        select here.violation_id, there.verdict
        from (select violation_id, unnest(trace_ids) as trace_id from {here} where verdict = 'violated') as here
        inner join (select distinct verdict, unnest(trace_ids) as trace_id from {there}) as there
            on here.trace_id = there.trace_id
    """,
}


def _likeness(old: Rule, new: Rule) -> str:
    """By what their scopes are one."""
    if old.scope_kind != new.scope_kind or old.judgement.group_by != new.judgement.group_by:
        return "traces in common"
    return "trace" if old.scope_kind == "trace" else "key"


def _only(connection: duckdb.DuckDBPyConnection, alone: str, here: str, there: str, matched: str) -> Side:
    """The violations of one rule that the other does not have, which are laid out in the table `alone`."""
    connection.execute(f"""
        create or replace temp table {alone} as
        select
            here.first_span_at, here.started_on, here.violation_id,
            case when here.scope_kind = 'trace' then replace(here.scope_key, '-', '') else here.scope_key end
                as scope_key,
            coalesce(other.verdict, 'not applicable') as other_verdict
        from {here} as here left join (
            select
                violation_id, bool_or(verdict = 'violated') as is_kept,
                max(verdict) filter (verdict <> 'violated') as verdict
            from ({matched.format(here=here, there=there)}) group by violation_id
        ) as other on here.violation_id = other.violation_id
        where here.verdict = 'violated' and not coalesce(other.is_kept, false)
    """)  # noqa: S608
    verdicts = rows(
        connection,
        f"select other_verdict as verdict, count(*) as violations from {alone} group by all order by 2 desc, 1",  # noqa: S608
    )
    examples = rows(
        connection,
        f"""
        select first_span_at, violation_id, scope_key, other_verdict
        from {alone} order by first_span_at, scope_key limit {MOST_EXAMPLES}
        """,  # noqa: S608
    )
    return Side(sum(one["violations"] for one in verdicts), tuple(verdicts), tuple(examples))


def _by_day(connection: duckdb.DuckDBPyConnection) -> tuple[int, list[Row]]:
    """How many days have a difference, and the first of them."""
    found = rows(
        connection,
        f"""
        select day, sum(added)::bigint as added, sum(removed)::bigint as removed, count(*) over () as days from (
            select started_on as day, 1 as added, 0 as removed from {_ADDED}
            union all select started_on, 0, 1 from {_REMOVED}
        ) group by day order by day limit {MOST_DAYS}
        """,  # noqa: S608
    )
    days = found[0]["days"] if found else 0
    return days, [{name: value for name, value in one.items() if name != "days"} for one in found]
