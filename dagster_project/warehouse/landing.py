"""Landing files in `raw.*`: one transaction a file, ledger row last, the same bytes never twice.

How bytes become rows is a `Decoder`'s business (`sources/`); who may write is the caller's (`lock.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import Protocol, Self

import duckdb
import pyarrow as pa

from dagster_project.warehouse import ledger, quarantine
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.quarantine import Refusal

# What DuckDB may hold while it lands. Batches need tens of megabytes; without a limit its cache grows with the file.
MEMORY_LIMIT = "1GiB"


class FileChanged(OSError):
    """A file was written to while it was read."""


def _no_raw(_line: int, _record: int) -> str | None:
    return None


class Lines(Protocol):
    """The lines that a batch was decoded from: what quarantine keeps of those that are refused whole."""

    def offset_of(self, line: int) -> int | None:
        """Where a line begins in the decoded file, counted from 0."""
        ...

    def line(self, line: int) -> bytes | None:
        """The bytes of a line, without its newline."""
        ...


@dataclass(frozen=True)
class Target:
    """A table that records land in.

    Parameters
    ----------
    table
        With its schema.
    happened_at
        A SQL expression over it: when a record happened, in UTC, for the ledger's event days.
    """

    table: str
    happened_at: str


@dataclass(frozen=True)
class Batch:
    """Decoded records that are ready for SQL.

    Parameters
    ----------
    records
        How many records `select` yields.
    tables
        Arrow tables by the names under which `select` reads them.
    select
        A query that yields the columns of the target table without `load_id`, and `reason`, `detail`: a record whose
        `reason` is not null is refused.
    refusals
        What was refused before SQL could see it.
    unknown_fields
        Names that were read over.
    raw_of
        The text of a record that `select` refused, by line and record.
    target
        The table that `select` is for, when it is not the format's first.
    lines
        Where the batch came from, when that was lines.
    """

    records: int = 0
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    select: str = ""
    refusals: Sequence[Refusal] = ()
    unknown_fields: frozenset[str] = frozenset()
    raw_of: Callable[[int, int], str | None] = _no_raw
    target: str = ""
    lines: Lines | None = None


class Decoding(Protocol):
    """One file being decoded. Iterating gives batches in file order; the counters are current meanwhile."""

    @property
    def bytes_done(self) -> int: ...
    @property
    def decoded_bytes(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


class Decoder(Protocol):
    """A file format: its name in the ledger, the table it lands in, when its records happened."""

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def happened_at(self) -> str:
        """A SQL expression over `table`."""
        ...

    def open(self, path: Path) -> Decoding: ...


@dataclass(frozen=True)
class InputFile:
    """A file to land. `recorded_as` is the path in the ledger, relative to the project where it lies inside it."""

    path: Path
    format: Decoder
    source: str = "command line"
    recorded_as: str = ""

    @property
    def ledger_path(self) -> str:
        return self.recorded_as or str(self.path.resolve())


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. `status` 'unchanged': these bytes at this path were loaded before, nothing was written.

    `load_id` is None when no row of the ledger was written now: unchanged, or failed in a way that the next run may
    overcome (unreadable, changed while it was read).
    """

    path: str
    format: str
    status: str
    load_id: int | None = None
    file_bytes: int = 0
    decoded_bytes: int = 0
    records_read: int = 0
    records_landed: int = 0
    records_rejected: int = 0
    unknown_fields: tuple[str, ...] = ()
    event_days: tuple[date, ...] = ()
    message: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class LandingSummary:
    """What became of all files, in the order in which they were given."""

    files: tuple[FileOutcome, ...] = ()

    def with_status(self, *statuses: str) -> tuple[FileOutcome, ...]:
        return tuple(outcome for outcome in self.files if outcome.status in statuses)

    @property
    def records_read(self) -> int:
        return sum(outcome.records_read for outcome in self.files)

    @property
    def records_landed(self) -> int:
        return sum(outcome.records_landed for outcome in self.files)

    @property
    def records_rejected(self) -> int:
        return sum(outcome.records_rejected for outcome in self.files)

    @property
    def event_days(self) -> tuple[date, ...]:
        return tuple(sorted({day for outcome in self.files for day in outcome.event_days}))

    @property
    def has_failed(self) -> bool:
        return any(outcome.status == "failed" for outcome in self.files)


class Progress(Protocol):
    """Called some times a second while a file lands, and once at its end with `bytes_done == bytes_total`."""

    def __call__(self, file: InputFile, bytes_done: int, bytes_total: int, rows: int) -> None: ...


def land(
    connection: duckdb.DuckDBPyConnection, files: Iterable[InputFile], progress: Progress | None = None
) -> LandingSummary:
    """Land files in the warehouse; the caller holds the writer's lock and has migrated the schema.

    Every file is one transaction: its rows, its quarantine rows, its ledger row last. A process that is killed leaves
    whole files only, and running again gives the same tables. Bytes that were landed before are not landed again:
    at the same path nothing is written, under another name one ledger row with status 'duplicate'.

    Parameters
    ----------
    connection
        A writing connection to the warehouse, outside of a transaction.
    files
        What to land; `load_id`s are given in this order.
    progress
        See `Progress`.

    Returns
    -------
    LandingSummary
        One outcome a file. A file that could not be read has the status 'failed' and does not stop the others.
    """
    code_version = _code_version()
    return LandingSummary(tuple(_outcome(connection, file, progress, code_version) for file in files))


def _outcome(
    connection: duckdb.DuckDBPyConnection, file: InputFile, progress: Progress | None, code_version: str
) -> FileOutcome:
    started_at = _now()
    try:
        with _transaction(connection):
            load = _land_file(connection, file, progress, started_at, code_version)
    except Exception as error:
        # Not in the ledger: a full disk or a file that is still being written is worth another try.
        message = f"{file.ledger_path}: {type(error).__name__}: {error}"
        return FileOutcome(file.ledger_path, file.format.name, "failed", message=message)
    if load is None:
        return FileOutcome(file.ledger_path, file.format.name, "unchanged", file_bytes=file.path.stat().st_size)
    return FileOutcome(
        path=load.path,
        format=load.format,
        status=load.status,
        load_id=load.load_id,
        file_bytes=load.file_bytes,
        decoded_bytes=load.decoded_bytes,
        records_read=load.records_read,
        records_landed=load.records_landed,
        records_rejected=load.records_rejected,
        unknown_fields=tuple(load.unknown_fields),
        event_days=tuple(load.event_days),
        message=load.message,
        seconds=(load.finished_at - load.started_at).total_seconds(),
    )


def _land_file(
    connection: duckdb.DuckDBPyConnection,
    file: InputFile,
    progress: Progress | None,
    started_at: datetime,
    code_version: str,
) -> ledger.Load | None:
    """Land one file within a transaction; None when its bytes are known at its path."""
    before = _fingerprint(file.path)
    sha256 = sha256_of(file.path)
    known = ledger.find(connection, sha256, file.ledger_path, file.format.name)
    if known is not None and known.is_same_path:
        return None
    load_id = ledger.next_load_id(connection)
    # Every empty file has the same bytes: it is empty, not a copy of another one.
    is_duplicate = known is not None and known.status != "empty"
    tally = _Tally() if is_duplicate else _land_rows(connection, file, load_id, progress, before.size)
    if _fingerprint(file.path) != before:
        raise FileChanged(f"{file.path} was written to while it was read; load it again when its writer is done")
    if progress is not None:
        progress(file, before.size, before.size, tally.landed)
    load = ledger.Load(
        load_id=load_id,
        source=file.source,
        format=file.format.name,
        path=file.ledger_path,
        sha256=sha256,
        status="duplicate" if is_duplicate else tally.status,
        duplicate_of=known.load_id if known is not None and is_duplicate else None,
        file_bytes=before.size,
        decoded_bytes=tally.decoded_bytes,
        records_read=tally.landed + tally.rejected,
        records_landed=tally.landed,
        records_rejected=tally.rejected,
        unknown_fields=sorted(tally.unknown_fields),
        event_days=_event_days(connection, file.format, load_id) if tally.landed else [],
        message=None if is_duplicate else tally.message,
        started_at=started_at,
        finished_at=_now(),
        code_version=code_version,
    )
    ledger.write(connection, load)
    return load


@dataclass
class _Tally:
    landed: int = 0
    rejected: int = 0
    decoded_bytes: int = 0
    unknown_fields: set[str] = field(default_factory=set)
    first_refusal: Refusal | None = None

    @property
    def status(self) -> ledger.Status:
        if self.landed:
            return "loaded"
        return "failed" if self.rejected else "empty"

    @property
    def message(self) -> str | None:
        if self.landed or self.first_refusal is None:
            return None
        first = self.first_refusal
        return f"everything was refused ({self.rejected}); first: line {first.line}, {first.reason}: {first.detail}"


def _land_rows(
    connection: duckdb.DuckDBPyConnection, file: InputFile, load_id: int, progress: Progress | None, total: int
) -> _Tally:
    tally = _Tally()
    decoding = file.format.open(file.path)
    with ahead(decoding) as batches, _Slots(connection) as slots:
        for batch in batches:
            landed, refusals = _land_batch(connection, slots, file.format.table, load_id, batch)
            tally.landed += landed
            tally.rejected += len(refusals)
            tally.unknown_fields |= batch.unknown_fields
            tally.first_refusal = tally.first_refusal or next(iter(refusals), None)
            if progress is not None:
                progress(file, min(decoding.bytes_done, total), total, tally.landed)
    tally.decoded_bytes = decoding.decoded_bytes
    return tally


_INSERT = Template(
    "insert into $table by name select ?::bigint as load_id, * exclude (reason, detail) "
    "from ($select) where reason is null"
)
_REFUSED = Template("select line, record, reason, detail from ($select) where reason is not null order by line, record")


def _land_batch(
    connection: duckdb.DuckDBPyConnection, slots: _Slots, table: str, load_id: int, batch: Batch
) -> tuple[int, Sequence[Refusal]]:
    landed = 0
    refused: list[Refusal] = []
    if batch.records:
        with slots.filled(batch.tables):
            # Table and query are the format's own text, never a value from a file.
            insert = _INSERT.substitute(table=table, select=batch.select)
            landed = int(connection.execute(insert, [load_id]).fetchall()[0][0])
            if landed < batch.records:
                rows = connection.execute(_REFUSED.substitute(select=batch.select)).fetchall()
                refused = [
                    Refusal(line, record, reason, detail, batch.raw_of(line, record))
                    for line, record, reason, detail in rows
                ]
        if landed + len(refused) != batch.records:
            raise ValueError(f"{table}: {batch.records} records were decoded, {landed} landed, {len(refused)} refused")
    refusals = [*batch.refusals, *refused]
    quarantine.write(connection, load_id, refusals)
    return landed, refusals


class _Slot:
    """An Arrow table that a query reads under a name, and that can be exchanged for the next one."""

    def __init__(self) -> None:
        self.table: pa.Table | None = None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self.table is None:
            raise ValueError("the slot is empty")
        return self.table.__arrow_c_stream__(requested_schema)


class _Slots:
    """The names under which a file's batches are read, each registered once.

    A name that is registered anew for every batch keeps every batch in memory until the transaction ends: it must be
    able to come back on a rollback.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._slots: dict[str, tuple[_Slot, pa.Schema]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._slots:
            self._connection.unregister(name)

    @contextmanager
    def filled(self, tables: Mapping[str, pa.Table]) -> Iterator[None]:
        for name, table in tables.items():
            slot, schema = self._slots.get(name, (_Slot(), None))
            slot.table = table
            if schema != table.schema:
                self._connection.register(name, slot)
                self._slots[name] = (slot, table.schema)
        try:
            yield
        finally:
            for name in tables:
                self._slots[name][0].table = None


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("begin")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


_EVENT_DAYS = Template(
    "select distinct cast($happened_at as date) as day from $table where load_id = ? and day is not null order by day"
)


def _event_days(connection: duckdb.DuckDBPyConnection, decoder: Decoder, load_id: int) -> list[date]:
    query = _EVENT_DAYS.substitute(table=decoder.table, happened_at=decoder.happened_at)
    return [day for (day,) in connection.execute(query, [load_id]).fetchall()]


@dataclass(frozen=True)
class _Fingerprint:
    inode: int
    size: int
    modified_ns: int


def _fingerprint(path: Path) -> _Fingerprint:
    found = path.stat()
    return _Fingerprint(found.st_ino, found.st_size, found.st_mtime_ns)


def sha256_of(path: Path) -> str:
    """The hash by which the ledger knows the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _code_version() -> str:
    try:
        return version("hindcast")
    except PackageNotFoundError:
        return "unknown"
