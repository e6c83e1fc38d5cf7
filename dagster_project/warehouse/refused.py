"""Looking at what landing refused: counted, one by one, and as the bytes that were sent. Refuses nothing itself.

What is written to the quarantine, and when, is `quarantine.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb


@dataclass(frozen=True)
class Which:
    """Which refusals are meant; what is None asks for nothing.

    Parameters
    ----------
    source, file_format, reason, path
        As the ledger has them.
    load
        Of this load alone.
    since_load
        Of loads after this one.
    """

    source: str | None = None
    file_format: str | None = None
    reason: str | None = None
    path: str | None = None
    load: int | None = None
    since_load: int | None = None


@dataclass(frozen=True)
class Refused:
    """One refusal with all that is known of it and of its file."""

    load_id: int
    source: str
    format: str
    path: str
    sha256: str
    line: int
    record: int | None
    reason: str
    detail: str | None
    byte_offset: int | None
    raw_bytes: int | None
    raw_file: str | None
    raw: str | None


@dataclass(frozen=True)
class RefusedFile:
    """A file of which something was refused, and how its newest load read it."""

    load_id: int
    source: str
    format: str
    path: str
    sha256: str
    reading: str | None
    tenant: str | None
    sampling_ratio: float | None
    records_landed: int
    records_rejected: int


_WHICH = """
    ($source is null or l.source = $source) and ($file_format is null or l.format = $file_format)
    and ($reason is null or q.reason = $reason) and ($path is null or l.path = $path)
    and ($load is null or q.load_id = $load) and ($since_load is null or q.load_id > $since_load)
"""


def counted(connection: duckdb.DuckDBPyConnection, which: Which, limit: int) -> list[dict[str, Any]]:
    """How much was refused by load and reason, the newest load first."""
    query = f"""
        select
            q.load_id, l.source, l.format, l.path, q.reason, count(*) as records, min(q.line) as first_line,
            arg_min(q.detail, (q.line, coalesce(q.record, 0))) as first_detail
        from audit.quarantine as q join audit.loads as l using (load_id)
        where {_WHICH}
        group by all order by q.load_id desc, records desc, q.reason limit $limit
    """  # noqa: S608  the conditions are this module's own
    return _rows(connection, query, {**vars(which), "limit": limit})


def singly(connection: duckdb.DuckDBPyConnection, which: Which, limit: int) -> list[dict[str, Any]]:
    """The refusals one by one, in the order of loads and lines."""
    query = f"""
        select
            q.load_id, l.source, l.format, l.path, q.line, q.record, q.reason, q.detail,
            q.byte_offset, q.raw_bytes, q.raw_file, q.raw
        from audit.quarantine as q join audit.loads as l using (load_id)
        where {_WHICH}
        order by q.load_id, q.line, q.record nulls first, q.reason limit $limit
    """  # noqa: S608
    return _rows(connection, query, {**vars(which), "limit": limit})


def of_line(
    connection: duckdb.DuckDBPyConnection, load_id: int, line: int | None, record: int | None, limit: int
) -> list[Refused]:
    """All that is known of the refusals of a load, of one of its lines, of one record there."""
    rows = connection.execute(
        """
        select
            q.load_id, l.source, l.format, l.path, l.sha256, q.line, q.record, q.reason, q.detail,
            q.byte_offset, q.raw_bytes, q.raw_file, q.raw
        from audit.quarantine as q join audit.loads as l using (load_id)
        where q.load_id = $load and ($line is null or q.line = $line) and ($record is null or q.record = $record)
        order by q.line, q.record nulls first, q.reason limit $limit
        """,
        {"load": load_id, "line": line, "record": record, "limit": limit},
    ).fetchall()
    return [Refused(*row) for row in rows]


def files(connection: duckdb.DuckDBPyConnection, which: Which) -> list[RefusedFile]:
    """The files of which something was refused, with their newest load, in the order of the loads."""
    query = f"""
        select
            l.load_id, l.source, l.format, l.path, l.sha256, l.reading, l.tenant, l.sampling_ratio,
            l.records_landed, l.records_rejected
        from audit.loads as l
        where l.superseded_by is null
            and exists (select 1 from audit.quarantine as q where q.load_id = l.load_id and {_WHICH})
        qualify row_number() over (partition by l.path order by l.load_id desc) = 1
        order by l.load_id
    """  # noqa: S608
    return [RefusedFile(*row) for row in connection.execute(query, vars(which)).fetchall()]


def kept_bytes(refused: Refused, folder: Path) -> bytes | None:
    """The whole of what was refused, when table or folder have it."""
    if refused.raw_file is not None:
        kept = folder / refused.raw_file
        return kept.read_bytes() if kept.is_file() else None
    if refused.raw is None or refused.raw_bytes is None:
        return None
    said = refused.raw.encode()
    # A replaced byte can keep the length of a line that was no text; such a line would be in the folder.
    return said if len(said) == refused.raw_bytes and "\ufffd" not in refused.raw else None


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    result = connection.execute(query, parameters)
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
