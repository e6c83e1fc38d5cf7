"""Removing what a source keeps no longer: rows of `raw.*` and of the staging tables that are kept by day, load by load.

Verdicts and marts stay. Who may write is the caller's business; how the file gets smaller is `compaction.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from string import Template
from typing import Protocol

import duckdb

from dagster_project.warehouse.batches import Target


class Lands(Protocol):
    """A file format, as far as it says when a row happened."""

    @property
    def targets(self) -> Sequence[Target]: ...


@dataclass(frozen=True)
class Kept:
    """How many event days a source keeps, counted back from its newest one."""

    source: str
    days: int


@dataclass(frozen=True)
class Expired:
    """What a source has outlived: the rows of one table, of days before `before_day`."""

    source: str
    target: str
    before_day: date
    rows: int


def expire(
    connection: duckdb.DuckDBPyConnection,
    kept: Sequence[Kept],
    formats: Mapping[str, Lands],
    *,
    as_of: date | None = None,
    dry_run: bool = False,
) -> list[Expired]:
    """Remove the rows that lie further back than their source keeps them.

    Every load is one transaction: its rows, the days and the count in the ledger, what `audit.expirations` says. What
    is killed is run again. Files stay known: one that is still there is not loaded again. Of a record that two loads
    have staging keeps one: where that goes, the other one's day is to be replayed.

    Parameters
    ----------
    connection
        A writing connection to a migrated warehouse; with `dry_run`, reading is enough.
    kept
        The sources that do not keep all.
    formats
        By the names of the ledger. Loads of a format that is not among them are left alone.
    as_of
        The newest day to count back from; None takes the newest event day of each source, never the clock's. A day
        that lies over a day after its load is a wrong clock and does not count.
    dry_run
        Only count.

    Returns
    -------
    list of Expired
        What was removed, or would be; nothing of tables that keep all of theirs.
    """
    found: dict[tuple[str, str, date], int] = {}
    for each in kept:
        newest = as_of or _newest_day(connection, each.source, formats)
        if newest is None:
            continue
        before_day = newest - timedelta(days=each.days - 1)
        for load_id, name in _loads(connection, each.source, before_day):
            if name not in formats:
                continue
            targets = formats[name].targets
            for table, rows in _expire_load(connection, each.source, load_id, targets, before_day, dry_run).items():
                key = (each.source, table, before_day)
                found[key] = found.get(key, 0) + rows
        if not dry_run:
            _forget_traces(connection, before_day)
    if any(found.values()) and not dry_run:
        # What lacked a key and is gone is in no trace that a night touches: the next one counts over all that is left.
        connection.execute("delete from audit.judged_rules where model = 'rule_unkeyed_items'")
    return [Expired(source, table, day, rows) for (source, table, day), rows in found.items() if rows]


_NEWEST = Template(
    "select max(day) from (select load_id, cast($happened_at as date) as day from $table)"
    " join audit.loads using (load_id) where source = ? and day <= cast(finished_at as date) + 1"
)


def _newest_day(connection: duckdb.DuckDBPyConnection, source: str, formats: Mapping[str, Lands]) -> date | None:
    """The newest day that a row of the source happened on.

    Not the ledger's: its event days are those to be replayed, and name days of which a corrected reading left nothing.
    """
    named = connection.execute(
        "select distinct format from audit.loads where source = ? and superseded_by is null order by 1", [source]
    ).fetchall()
    targets = dict.fromkeys(target for (name,) in named if name in formats for target in formats[name].targets)
    newest = [
        # Table and expression are the format's own text.
        connection.execute(_NEWEST.substitute(table=target.table, happened_at=target.happened_at), [source]).fetchall()[
            0
        ][0]
        for target in targets
    ]
    return max((day for day in newest if day is not None), default=None)


def _loads(connection: duckdb.DuckDBPyConnection, source: str, before_day: date) -> list[tuple[int, str]]:
    return connection.execute(
        "select load_id, format from audit.loads where source = ? and superseded_by is null"
        " and list_min(event_days) < ? order by load_id",
        [source, before_day],
    ).fetchall()


_COUNT = Template("select count(*) from $table where load_id = ? and ($day) < ?")
_DELETE = Template("delete from $table where load_id = ? and ($day) < ?")
_DELETE_STAGED = Template(
    # What the load took the place of may still be staged, when nothing was replayed since.
    """
    delete from $table where ($day) < $$before and load_id in (
        select earlier.load_id from audit.loads as earlier join audit.loads as this using (source)
        where this.load_id = $$load_id and (earlier.load_id = $$load_id or earlier.superseded_by is not null)
    )
    """
)


def _expire_load(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    load_id: int,
    targets: Sequence[Target],
    before_day: date,
    dry_run: bool,
) -> dict[str, int]:
    """How many rows of a load went, by table."""
    statement = _COUNT if dry_run else _DELETE
    removed: dict[str, int] = {}
    connection.execute("begin")
    try:
        for target in targets:
            # Table and expression are the format's own text, the staging tables the catalogue's.
            query = statement.substitute(table=target.table, day=f"cast({target.happened_at} as date)")
            removed[target.table] = int(connection.execute(query, [load_id, before_day]).fetchall()[0][0])
        if not dry_run:
            for table, day in _staged(connection):
                connection.execute(
                    _DELETE_STAGED.substitute(table=table, day=day), {"load_id": load_id, "before": before_day}
                )
            connection.execute(
                "update audit.loads set rows_expired = coalesce(rows_expired, 0) + ?,"
                " event_days = list_filter(event_days, lambda day: day >= ?) where load_id = ?",
                [sum(removed.values()), before_day, load_id],
            )
            days = _days_of_others(connection, load_id, targets)
            for table, rows in removed.items():
                if rows:
                    connection.execute(
                        "insert into audit.expirations by name select ? as source, ? as target, ? as before_day,"
                        " ? as rows_removed, now()::timestamp as finished_at, ?::date[] as days_to_replay",
                        [source, table, before_day, rows, days],
                    )
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return removed


_OF_OTHERS = Template(
    """
    select distinct repeat.$day from $repeats as repeat join audit.loads as of using (load_id)
    where repeat.kept_load_id = $$load_id and repeat.load_id <> $$load_id and of.superseded_by is null
        and not exists (
            from ($left) as still where still.line = repeat.kept_line and still.record = repeat.kept_record
        )
    order by 1
    """
)


def _days_of_others(connection: duckdb.DuckDBPyConnection, load_id: int, targets: Sequence[Target]) -> list[date]:
    """The days on which other loads have records that staging left out because it kept those of this load."""
    repeats = connection.execute(
        """
        select schema_name || '.' || table_name, any_value(column_name) filter (where data_type = 'DATE')
        from duckdb_columns() where schema_name = 'staging'
        group by schema_name, table_name having count(*) filter (where column_name = 'kept_load_id') = 1
        order by 1
        """
    ).fetchall()
    # The names are the formats' and the catalogue's own.
    left = " union all ".join(
        f"select line, record from {target.table} where load_id = $load_id"  # noqa: S608
        for target in targets
    )
    return sorted(
        {
            day
            for table, column in repeats
            for (day,) in connection.execute(
                _OF_OTHERS.substitute(repeats=table, day=column, left=left), {"load_id": load_id}
            ).fetchall()
        }
    )


def _staged(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The staging tables that say which load a row is from and on which day it happened: table and day column."""
    return connection.execute(
        """
        select schema_name || '.' || table_name, any_value(column_name) filter (where data_type = 'DATE')
        from duckdb_columns()
        where schema_name in ('staging', 'intermediate') and (column_name = 'load_id' or column_name in
            ('started_on', 'occurred_on', 'observed_on'))
        group by schema_name, table_name having count(*) = 2 and count(*) filter (where column_name = 'load_id') = 1
        order by 1
        """
    ).fetchall()


def _forget_traces(connection: duckdb.DuckDBPyConnection, before_day: date) -> None:
    """Remove what was derived from traces of which no span is left."""
    tables = connection.execute(
        """
        select schema_name || '.' || table_name from duckdb_columns()
        where schema_name in ('staging', 'intermediate')
        group by schema_name, table_name
        having count(*) filter (where column_name in ('trace_id', 'started_on')) = 2
            and count(*) filter (where column_name = 'load_id') = 0
        order by 1
        """
    ).fetchall()
    if not connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'staging' and table_name = 'stg_spans'"
    ).fetchall():
        return
    for (table,) in tables:
        connection.execute(
            f"delete from {table} where started_on < ? and not exists ("  # noqa: S608
            f" from staging.stg_spans as span where span.trace_id = {table}.trace_id)",
            [before_day],
        )
