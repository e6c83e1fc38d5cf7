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
    target: str
    tenant: str | None = None
    reading: str | None = None
    sampling_ratio: float | None = None
    replaces: int | None = None


@dataclass(frozen=True)
class Known:
    """What became of some bytes when they were met at some path last."""

    load_id: int
    path: str
    format: str
    reading: str | None
    status: Status
    tenant: str | None
    sampling_ratio: float | None
    message: str | None


@dataclass(frozen=True)
class Previous:
    """A load that read a path before, and whose rows are still there."""

    load_id: int
    sha256: str
    file_bytes: int
    status: Status


_KNOWN = ", ".join(field.name for field in fields(Known))


def find(connection: duckdb.DuckDBPyConnection, sha256: str, path: str) -> Known | None:
    """What became of the bytes with this hash when they were met at this path last; None when they never were."""
    rows = connection.execute(
        f"select {_KNOWN} from audit.loads where sha256 = ? and path = ? order by load_id desc limit 1",  # noqa: S608
        [sha256, path],
    ).fetchall()
    return Known(*rows[0]) if rows else None


def elsewhere(connection: duckdb.DuckDBPyConnection, sha256: str, path: str, target: str) -> list[Known]:
    """The loads at other paths whose rows in this table are of the bytes with this hash; oldest first."""
    rows = connection.execute(
        f"select {_KNOWN} from audit.loads where sha256 = ? and path <> ? and target = ?"  # noqa: S608
        " and status = 'loaded' and superseded_by is null order by load_id",
        [sha256, path, target],
    ).fetchall()
    return [Known(*row) for row in rows]


def at_path(connection: duckdb.DuckDBPyConnection, path: str) -> list[Previous]:
    """The loads at this path, as whatever format, that nothing has superseded and that are no copies; oldest first."""
    rows = connection.execute(
        """
        select load_id, sha256, file_bytes, status from audit.loads
        where path = ? and status <> 'duplicate' and superseded_by is null
        order by load_id
        """,
        [path],
    ).fetchall()
    return [Previous(*row) for row in rows]


def supersede(connection: duckdb.DuckDBPyConnection, load_id: int, by: int) -> None:
    """Note that the rows of one load gave way to another's. Its event days stay: they are to be replayed without it."""
    connection.execute("update audit.loads set superseded_by = ? where load_id = ?", [by, load_id])


def was_copied(connection: duckdb.DuckDBPyConnection, load_id: int) -> bool:
    """Whether the bytes of a load were met at another path later."""
    return bool(
        connection.execute(
            "select 1 from audit.loads as l join audit.loads as later using (sha256)"
            " where l.load_id = ? and later.load_id > l.load_id and later.path <> l.path limit 1",
            [load_id],
        ).fetchall()
    )


def describe(
    connection: duckdb.DuckDBPyConnection, path: str, tenant: str | None, sampling_ratio: float | None
) -> None:
    """Note what a source says of a path now, where it said something else when it was loaded."""
    connection.execute(
        "update audit.loads set tenant = $tenant, sampling_ratio = $ratio where path = $path and superseded_by is null"
        " and (tenant is distinct from $tenant or sampling_ratio is distinct from $ratio)",
        {"path": path, "tenant": tenant, "ratio": sampling_ratio},
    )


def raw_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables that files land in, with their schema."""
    return [
        f"raw.{name}"
        for (name,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'raw' order by 1"
        ).fetchall()
    ]


def loads_unlike_their_rows(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """The loads of which `raw.*` has more or fewer rows than the ledger says; none in a warehouse that is well."""
    # The names are the catalogue's own.
    rows = " union all ".join(f"select load_id from {table}" for table in raw_tables(connection))  # noqa: S608
    found = connection.execute(
        f"""
        with counted as (select load_id, count(*) as rows from ({rows}) group by load_id),
        expected as (
            select
                load_id,
                case when superseded_by is null then records_landed - coalesce(rows_expired, 0) else 0 end as rows
            from audit.loads
        )
        select load_id from expected full join counted using (load_id)
        where coalesce(expected.rows, -1) <> coalesce(counted.rows, 0) order by load_id
        """  # noqa: S608
    ).fetchall()
    return [load_id for (load_id,) in found]


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
