"""Opening the warehouse and bringing its schema up to date. Who may write is `lock.py`'s business."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

MIGRATIONS = Path(__file__).parent / "migrations"


class WarehouseTooNew(RuntimeError):
    """The warehouse was written by a newer Hindcast."""


class WarehouseTooOld(RuntimeError):
    """The warehouse lacks what a reader asks for; whoever writes to it next adds it."""


@contextmanager
def connect(
    path: Path | str, *, read_only: bool = False, memory_limit: str | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in UTC that is closed at the end of the block.

    A writer holds `lock.hold` around this. Fetch results inside the block: a cursor dies with its connection.

    Parameters
    ----------
    memory_limit
        As DuckDB writes sizes ("1GiB"); DuckDB's own default, most of the machine, when None.
    """
    if not read_only:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(path), read_only=read_only)
    try:
        connection.execute("set timezone = 'UTC'")
        if memory_limit is not None:
            connection.execute("set memory_limit = ?", [memory_limit])
        yield connection
    finally:
        connection.close()


def is_current(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the warehouse has every migration of this installation; asks only."""
    rows = connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'audit' and table_name = 'migrations'"
    ).fetchall()
    if not rows:
        return False
    done = {version for (version,) in connection.execute("select version from audit.migrations").fetchall()}
    return {int(file.name.split("_")[0]) for file in MIGRATIONS.glob("*.sql")} <= done


def migrate(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Apply what is missing of `migrations/NNNN_*.sql`, each in a transaction of its own.

    Returns
    -------
    list of int
        The versions applied now; empty when the warehouse was up to date.

    Raises
    ------
    WarehouseTooNew
        When the warehouse knows a version that this installation does not.
    """
    connection.execute("create schema if not exists audit")
    connection.execute(
        "create table if not exists audit.migrations (version integer primary key, applied_at timestamp)"
    )
    done = {version for (version,) in connection.execute("select version from audit.migrations").fetchall()}
    known = {int(re.match(r"\d+", file.name)[0]): file for file in sorted(MIGRATIONS.glob("*.sql"))}  # type: ignore[index]
    if unknown := done - known.keys():
        raise WarehouseTooNew(
            f"the warehouse has schema version {max(unknown)}, this installation knows up to {max(known)}:"
            " upgrade Hindcast"
        )
    missing = sorted(known.keys() - done)
    for version in missing:
        connection.execute("begin")
        connection.execute(known[version].read_text())
        connection.execute("insert into audit.migrations values (?, now()::timestamp)", [version])
        connection.execute("commit")
    return missing
