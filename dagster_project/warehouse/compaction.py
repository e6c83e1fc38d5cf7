"""Rewriting the warehouse file without the space of removed rows: a copy beside it, checked, then put in its place.

Until the rename the old file is whole and in use; what is killed leaves it as it was. The caller holds the writer's
lock.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.warehouse.connection import connect

# Less than this share of the file is not worth writing it anew.
WORTH_SHARE = 0.05


class CompactionFailed(RuntimeError):
    """The copy is not what the warehouse is; the warehouse was left as it was."""


@dataclass(frozen=True)
class Space:
    """How large the file is, and how much of it is known to be free."""

    file_bytes: int
    free_bytes: int

    @property
    def is_worth_it(self) -> bool:
        return self.free_bytes > WORTH_SHARE * self.file_bytes


def space(file: Path) -> Space:
    """What there is to gain. Rows that were removed from blocks that hold others come on top of it."""
    with connect(file) as connection:
        connection.execute("force checkpoint")
        ((block_size, free_blocks),) = connection.execute(
            "select block_size, free_blocks from pragma_database_size() where database_name = current_database()"
        ).fetchall()
    return Space(file.stat().st_size, int(block_size) * int(free_blocks))


def compact(file: Path, memory_limit: str | None = None) -> Space:
    """Write the warehouse anew, without the space of removed rows.

    Parameters
    ----------
    file
        The warehouse; nobody else has it open. A link to it stays a link, and whoever may read it may still do so.
    memory_limit
        What the copying may hold in memory.

    Returns
    -------
    Space
        Of the new file.

    Raises
    ------
    CompactionFailed
        The copy differs, or there is no room for it; nothing was changed.
    """
    file = file.resolve()
    copy = file.with_name(f"{file.name}.compacting")
    _remove(copy)
    _need_room(file)
    try:
        _write_copy(file, copy, memory_limit)
        # A log of the old file would be replayed into the new one.
        if (log := _log_of(file)).exists():
            raise CompactionFailed(f"{log} is there still: another program has the warehouse open; close it")
        shutil.copymode(file, copy)
        _sync(copy)
        copy.replace(file)
        _sync(file.parent)
    finally:
        _remove(copy)
    return space(file)


def _write_copy(file: Path, copy: Path, memory_limit: str | None) -> None:
    with connect(file) as connection:
        connection.execute("force checkpoint")
    with connect(":memory:", memory_limit=memory_limit) as connection:
        for path, name, option in ((file, "old", " (read_only)"), (copy, "new", "")):
            connection.execute(f"attach {_text(path)} as {name}{option}")
        connection.execute("copy from database old to new")
        connection.execute("force checkpoint new")
        before, after = _contents(connection, "old"), _contents(connection, "new")
    if unlike := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        raise CompactionFailed(f"the copy differs from the warehouse in {', '.join(unlike)}; nothing was changed")
    if _log_of(copy).exists():
        raise CompactionFailed(f"{copy} could not be finished; nothing was changed")


def _contents(connection: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, tuple[object, ...]]:
    """Tables, views, indexes and sequences: how each is defined, and a table's rows by their number and their hashes.

    Types and macros are not looked at; a warehouse has none.
    """
    found: dict[str, tuple[object, ...]] = {}
    for kind in ("tables", "views", "indexes", "sequences"):
        internal = "" if kind in ("indexes", "sequences") else " and not internal"
        name = {"tables": "table_name", "views": "view_name", "indexes": "index_name", "sequences": "sequence_name"}[
            kind
        ]
        rows = connection.execute(
            f"select schema_name, {name}, sql from duckdb_{kind}() where database_name = ?{internal}",  # noqa: S608
            [catalog],
        ).fetchall()
        for schema, each, sql in rows:
            found[f"{schema}.{each}"] = (kind, sql)
            if kind == "tables":
                place = f'"{catalog}"."{schema}"."{each}"'
                query = f"select count(*), sum(hash(t)::hugeint) from {place} as t"  # noqa: S608  names of the catalogue
                found[f"{schema}.{each}"] += tuple(connection.execute(query).fetchall()[0])
    return found


def _need_room(file: Path) -> None:
    free, needed = shutil.disk_usage(file.parent).free, file.stat().st_size
    if free < needed:
        raise CompactionFailed(
            f"the copy may need {needed / 2**20:,.0f} MiB and {free / 2**20:,.0f} MiB are free in {file.parent}; "
            "make room, nothing was changed"
        )


def _text(path: Path) -> str:
    """A path as a SQL text: ATTACH takes no bound value."""
    return "'" + str(path).replace("'", "''") + "'"


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _remove(copy: Path) -> None:
    for path in (copy, _log_of(copy)):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
