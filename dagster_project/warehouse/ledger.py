"""The load ledger, `audit.loads`: one row a file that was read, and what is already known of a file's bytes.

Reading files and landing rows is `landing.py`'s business.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from datetime import date, datetime
from typing import Literal

import duckdb

Status = Literal["loaded", "empty", "duplicate", "failed"]


@dataclass(frozen=True)
class Load:
    """One row of `audit.loads`; the fields are its columns, in their order. Times are UTC without a zone."""

    load_id: int
    source: str
    format: str
    path: str
    sha256: str
    status: Status
    duplicate_of: int | None
    file_bytes: int
    decoded_bytes: int
    records_read: int
    records_landed: int
    records_rejected: int
    unknown_fields: list[str]
    event_days: list[date]
    message: str | None
    started_at: datetime
    finished_at: datetime
    code_version: str


@dataclass(frozen=True)
class Known:
    """What the ledger knows of some bytes: the load that first read them, and whether it read them at this path."""

    load_id: int
    status: Status
    is_same_path: bool


def find(connection: duckdb.DuckDBPyConnection, sha256: str, path: str, file_format: str) -> Known | None:
    """What is known of the bytes with this hash, read as this format, or None when they are new."""
    rows = connection.execute(
        """
        select min_by(load_id, load_id) filter (where status <> 'duplicate') as first_load_id,
               min_by(status, load_id) filter (where status <> 'duplicate') as first_status,
               bool_or(path = $path) as is_same_path
        from audit.loads where sha256 = $sha256 and format = $format
        """,
        {"sha256": sha256, "path": path, "format": file_format},
    ).fetchall()
    load_id, status, is_same_path = rows[0]
    return None if load_id is None else Known(load_id, status, is_same_path)


def next_load_id(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the next load: the caller holds the writer's lock, so the highest one plus one is free."""
    rows = connection.execute("select coalesce(max(load_id), 0) + 1 from audit.loads").fetchall()
    return int(rows[0][0])


def write(connection: duckdb.DuckDBPyConnection, load: Load) -> None:
    """Append one row, within the caller's transaction and as its last statement."""
    connection.execute(_INSERT, list(astuple(load)))


_INSERT = "insert into audit.loads ({}) values ({})".format(  # noqa: S608  the names are this class's own
    ", ".join(field.name for field in fields(Load)), ", ".join("?" for _ in fields(Load))
)
