"""Landing files in `raw.*`: one transaction a file, ledger row last, the same bytes never twice.

How bytes become rows is a `Decoder`'s business (`sources/`); who may write is the caller's (`lock.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import Protocol

import duckdb

from dagster_project.warehouse import ledger, personal_data, quarantine
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Decoder, Lines
from dagster_project.warehouse.inserting import Slots, insert
from dagster_project.warehouse.quarantine import Reason, Refusal

# What DuckDB may hold while it lands. Batches need tens of megabytes; without a limit its cache grows with the file.
MEMORY_LIMIT = "1GiB"

HASHED_AT_ONCE = 1 << 20

# What the ledger calls the source of files that none declares.
COMMAND_LINE = "command line"

# More is a file of another format, or a damaged one: what could be read of it is chance.
MAX_REFUSED_SHARE = 0.5
# Of a file with fewer refusals than this, a share says nothing.
REFUSALS_THAT_COUNT = 20


class FileChanged(OSError):
    """A file was written to while it was read."""


@dataclass(frozen=True)
class InputFile:
    """A file to land, and what its source says of it.

    Parameters
    ----------
    recorded_as
        The path in the ledger, relative to the project where it lies inside it.
    tenant
        Whose data it is.
    sampling_ratio
        The share of telemetry that its sender kept; None when not said.
    max_refused_share
        When more of its records than this are refused, nothing of it lands.
    personal_data
        Names whose values are replaced by a keyed hash; see `personal_data.py`.
    """

    path: Path
    format: Decoder
    source: str = COMMAND_LINE
    recorded_as: str = ""
    tenant: str | None = None
    sampling_ratio: float | None = None
    max_refused_share: float = MAX_REFUSED_SHARE
    personal_data: tuple[str, ...] = ()

    @property
    def reading(self) -> str | None:
        """How it is read beyond its format, for the ledger: what makes a load the same again."""
        return personal_data.reading(self.personal_data, self.format.reading)

    @property
    def ledger_path(self) -> str:
        return self.recorded_as or str(self.path.resolve())


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. `status` 'unchanged': these bytes at this path were loaded before, nothing was written.

    `load_id` is None when no row of the ledger was written now: unchanged, or failed in a way that the next run may
    overcome (unreadable, changed while it was read). `replaces` is the load whose rows this one took the place of: the
    file has grown, or is read in another way. `changed_from` is the load that read other bytes at the same path; both
    are kept. `failed_before` is the load that failed on these bytes; they were not read again.
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
    replaces: int | None = None
    changed_from: int | None = None
    failed_before: int | None = None


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
    connection: duckdb.DuckDBPyConnection,
    files: Iterable[InputFile],
    progress: Progress | None = None,
    *,
    quarantine_dir: Path | None = None,
    again: bool = False,
) -> LandingSummary:
    """Land files in the warehouse; the caller holds the writer's lock and has migrated the schema.

    Every file is one transaction: its rows, its quarantine rows, its ledger row last. A process that is killed leaves
    whole files only, and running again gives the same tables. Bytes that were landed before are not landed again:
    at the same path nothing is written, under another name one ledger row with status 'duplicate'. A file that has
    grown since, or that its source now reads in another way, replaces what it or its copy landed before.

    Parameters
    ----------
    connection
        A writing connection to the warehouse, outside of a transaction.
    files
        What to land; `load_id`s are given in this order.
    progress
        See `Progress`.
    quarantine_dir
        Where refused lines are kept whole when the quarantine table cannot; None keeps none.
    again
        Read files once more whose bytes are known; their rows replace the earlier ones.

    Returns
    -------
    LandingSummary
        One outcome a file. A file that could not be read has the status 'failed' and does not stop the others.
    """
    run = _Run(connection, progress, quarantine_dir, again, _code_version())
    outcomes = [_outcome(run, file) for file in files]
    return LandingSummary(tuple(_unless_rotated(run, outcome) for outcome in outcomes))


def _unless_rotated(run: _Run, outcome: FileOutcome) -> FileOutcome:
    """Bytes that are met at another path now were moved, not rewritten."""
    if outcome.changed_from is None or not ledger.was_copied(run.connection, outcome.changed_from):
        return outcome
    return replace(outcome, changed_from=None)


@dataclass(frozen=True)
class _Run:
    connection: duckdb.DuckDBPyConnection
    progress: Progress | None
    quarantine_dir: Path | None
    again: bool
    code_version: str


def _outcome(run: _Run, file: InputFile) -> FileOutcome:
    try:
        with _transaction(run.connection):
            return _land_file(run, file, _now())
    except Exception as error:
        # Not in the ledger: a full disk or a file that is still being written is worth another try.
        message = f"{type(error).__name__}{_said(error, file)}"
        return FileOutcome(file.ledger_path, file.format.name, "failed", message=message)


def _said(error: Exception, file: InputFile) -> str:
    """What an error says of itself, unless it may quote a value that the source hides."""
    of_ours = OSError | personal_data.PersonalDataKeyMissing | personal_data.PersonalDataNotHidden
    if file.personal_data and not isinstance(error, of_ours):
        return f"; its text is {personal_data.WITHHELD}"
    return f": {error}"


def _outcome_of(load: ledger.Load, changed_from: int | None) -> FileOutcome:
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
        replaces=load.replaces,
        changed_from=changed_from,
    )


def _not_read(run: _Run, file: InputFile, plan: Plan | None, size: int) -> FileOutcome:
    """What is told of a file whose bytes are known; what its source says of them besides is noted."""
    if file.source != COMMAND_LINE:
        ledger.describe(run.connection, file.ledger_path, file.tenant, file.sampling_ratio)
    if plan is None or plan.failed_before is None:
        return FileOutcome(file.ledger_path, file.format.name, "unchanged", file_bytes=size)
    before = plan.failed_before
    return FileOutcome(
        file.ledger_path, file.format.name, "failed", file_bytes=size, failed_before=before.load_id,
        message=f"failed when load {before.load_id} read it: {before.message or 'nothing of it landed'}; "
        "mend it, then hindcast quarantine retry",
    )  # fmt: skip


def _land_file(run: _Run, file: InputFile, started_at: datetime) -> FileOutcome:
    """Land one file within a transaction, unless its bytes are known at its path."""
    before = _fingerprint(file.path)
    sha256 = sha256_of(file.path)
    plan = _plan(run.connection, file, sha256, before.size, again=run.again)
    if plan is None or plan.failed_before is not None:
        return _not_read(run, file, plan, before.size)
    load_id = ledger.next_load_id(run.connection)
    folder = quarantine.Folder(run.quarantine_dir, sha256)
    tally = _Tally() if plan.duplicate_of is not None else _land_rows(run, file, load_id, folder, before.size)
    if _fingerprint(file.path) != before:
        raise FileChanged(f"{file.path} was written to while it was read; load it again when its writer is done")
    # Rows that were good stay when nothing is there to take their place.
    replaced = plan.replaces if tally.landed else plan.failed_among_replaced
    _make_way(run.connection, replaced, load_id)
    if run.progress is not None:
        run.progress(file, before.size, before.size, tally.landed)
    days = _event_days(run.connection, file.format, load_id) if tally.landed else set()
    kept = plan.kept(replaced)
    load = ledger.Load(
        load_id=load_id,
        source=file.source,
        format=file.format.name,
        path=file.ledger_path,
        sha256=sha256,
        status="duplicate" if plan.duplicate_of is not None else tally.status,
        duplicate_of=plan.duplicate_of,
        file_bytes=before.size,
        decoded_bytes=tally.decoded_bytes,
        records_read=tally.landed + tally.rejected,
        records_landed=tally.landed,
        records_rejected=tally.rejected,
        unknown_fields=sorted(tally.unknown_fields),
        event_days=sorted(days),
        message=_message(tally, plan, kept),
        started_at=started_at,
        finished_at=_now(),
        code_version=run.code_version,
        target=file.format.table,
        tenant=file.tenant,
        reading=file.reading,
        sampling_ratio=file.sampling_ratio,
        replaces=max(replaced, default=None),
    )
    ledger.write(run.connection, load)
    return _outcome_of(load, plan.changed_from)


@dataclass(frozen=True)
class Plan:
    """What a file's bytes are to the warehouse: a copy, the successor of earlier loads, other content, or new.

    Parameters
    ----------
    duplicate_of
        The load that read these bytes under another name, in the same way.
    replaces
        The loads at its path that were of these bytes or of their beginning, and `copies`; oldest first.
    copies
        The loads that read these bytes under another name in another way: bytes are not to count twice.
    failed_among_replaced
        Those of them that landed nothing.
    changed_from
        The newest load of other bytes at its path.
    is_grown
        Whether it holds more bytes than a load that it replaces.
    failed_before
        The load that failed on these bytes, and would fail again: landing reads them only when asked.
    """

    duplicate_of: int | None = None
    replaces: tuple[int, ...] = ()
    copies: tuple[ledger.Known, ...] = ()
    failed_among_replaced: tuple[int, ...] = ()
    changed_from: int | None = None
    is_grown: bool = False
    failed_before: ledger.Known | None = None

    def kept(self, replaced: Sequence[int]) -> tuple[int, ...]:
        """The loads that should have been replaced, were they not among those that were."""
        return tuple(load_id for load_id in self.replaces if load_id not in replaced)


def _message(tally: _Tally, plan: Plan, kept: Sequence[int]) -> str | None:
    if kept:
        return f"{tally.message or 'no record was found'}; what load {kept[-1]} landed of these bytes before stays"
    if plan.copies:
        copy = plan.copies[-1]
        return f"load {copy.load_id} read the same bytes at {copy.path} in another way: its rows gave way to these"
    return tally.message


def plan_of(connection: duckdb.DuckDBPyConnection, file: InputFile, *, again: bool = False) -> Plan | None:
    """What landing a file would do; None when its bytes are known at its path, read as they would be now."""
    return _plan(connection, file, sha256_of(file.path), file.path.stat().st_size, again=again)


def _plan(
    connection: duckdb.DuckDBPyConnection, file: InputFile, sha256: str, size: int, *, again: bool
) -> Plan | None:
    path = file.ledger_path
    known = ledger.find(connection, sha256, path)
    if known is not None and _is_read_alike(known, file) and not again:
        if known.status != "failed":
            return None
        refused = quarantine.share_refused(connection, known.load_id)
        if refused is None or refused > file.max_refused_share:
            return Plan(failed_before=known)
    here = ledger.at_path(connection, path)
    copies = ledger.elsewhere(connection, sha256, path, file.format.table)
    alike = [copy for copy in copies if _is_read_alike(copy, file)]
    if alike and not any(earlier.sha256 == sha256 for earlier in here):
        return Plan(duplicate_of=alike[-1].load_id)
    # What an empty file held is the beginning of anything: only bytes say that a file has grown.
    shorter = sorted({earlier.file_bytes for earlier in here if 0 < earlier.file_bytes < size})
    beginnings = {sha256, *hashes_of_beginnings(file.path, shorter)}
    replaced = [earlier for earlier in here if earlier.sha256 in beginnings or earlier.file_bytes == 0]
    others = [earlier.load_id for earlier in here if earlier not in replaced and earlier.status != "failed"]
    return Plan(
        replaces=tuple(sorted([earlier.load_id for earlier in replaced] + [copy.load_id for copy in copies])),
        copies=tuple(copies),
        failed_among_replaced=tuple(earlier.load_id for earlier in replaced if earlier.status != "loaded"),
        changed_from=max(others, default=None) if not any(e.status == "loaded" for e in replaced) else None,
        is_grown=any(earlier.file_bytes < size for earlier in replaced),
    )


def _is_read_alike(known: ledger.Known, file: InputFile) -> bool:
    return (known.format, known.reading) == (file.format.name, file.reading)


def _make_way(connection: duckdb.DuckDBPyConnection, replaced: Sequence[int], load_id: int) -> None:
    """Remove what earlier loads landed."""
    for earlier in replaced:
        # An earlier load may have been of another format: all tables are asked.
        _remove_rows(connection, ledger.raw_tables(connection), earlier)
        connection.execute("delete from audit.quarantine where load_id = ?", [earlier])
        ledger.supersede(connection, earlier, load_id)


_REMOVE = Template("delete from $table where load_id = ?")


def _remove_rows(connection: duckdb.DuckDBPyConnection, tables: Iterable[str], load_id: int) -> None:
    for table in tables:
        connection.execute(_REMOVE.substitute(table=table), [load_id])


@dataclass
class _Tally:
    landed: int = 0
    rejected: int = 0
    decoded_bytes: int = 0
    unknown_fields: set[str] = field(default_factory=set)
    first_refusal: Refusal | None = None

    def refused_more_than(self, share: float) -> bool:
        return self.rejected >= REFUSALS_THAT_COUNT and self.rejected > share * (self.landed + self.rejected)

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
        if first.reason == Reason.MOSTLY_REFUSED:
            return first.detail
        return f"everything was refused ({self.rejected}); first: line {first.line}, {first.reason}: {first.detail}"


def _land_rows(run: _Run, file: InputFile, load_id: int, folder: quarantine.Folder, total: int) -> _Tally:
    tally = _Tally()
    hiding = _hiding(run.connection, file)
    decoding = file.format.open(file.path)
    with ahead(decoding) as batches, Slots(run.connection) as slots:
        for batch in batches:
            table = batch.target or file.format.table
            landed, refused = insert(run.connection, slots, table, load_id, batch, hiding)
            refusals = [
                _placed(refusal, batch.lines, folder if hiding is None else None)
                for refusal in (*batch.refusals, *refused)
            ]
            quarantine.write(run.connection, load_id, refusals)
            tally.landed += landed
            tally.rejected += len(refusals)
            tally.unknown_fields |= batch.unknown_fields
            tally.first_refusal = tally.first_refusal or next(iter(refusals), None)
            if run.progress is not None:
                run.progress(file, min(decoding.bytes_done, total), total, tally.landed)
    tally.decoded_bytes = decoding.decoded_bytes
    if tally.landed and tally.refused_more_than(file.max_refused_share):
        _withdraw(run.connection, file, load_id, tally)
    return tally


def _withdraw(connection: duckdb.DuckDBPyConnection, file: InputFile, load_id: int, tally: _Tally) -> None:
    """Take back what landed of a file that was mostly refused."""
    _remove_rows(connection, [target.table for target in file.format.targets], load_id)
    # The one row of the quarantine that stands for all of them.
    detail = (
        f"{tally.rejected} of {tally.rejected + tally.landed} records were refused, more than the share of "
        f"{file.max_refused_share:g} that its source allows: the other {tally.landed} were not loaded"
    )
    first = tally.first_refusal or Refusal(1, None, Reason.MOSTLY_REFUSED, detail, None)
    tally.first_refusal = replace(first, record=None, reason=Reason.MOSTLY_REFUSED, detail=detail)
    quarantine.write(connection, load_id, [tally.first_refusal])
    tally.landed, tally.rejected = 0, tally.rejected + tally.landed


def _hiding(connection: duckdb.DuckDBPyConnection, file: InputFile) -> personal_data.PersonalData | None:
    if not file.personal_data:
        return None
    return personal_data.PersonalData(connection, file.personal_data, personal_data.checked_key(), file.format.filled)


def _placed(refusal: Refusal, lines: Lines | None, folder: quarantine.Folder | None) -> Refusal:
    """The refusal with where its line is; a line that was refused whole is kept in the folder if need be.

    Without a folder nothing of its text is kept: nobody knows where in it a person is named.
    """
    content = None if lines is None else lines.line(refusal.line)
    if folder is None:
        refusal = replace(refusal, detail=personal_data.WITHHELD, raw=personal_data.WITHHELD)
    if lines is None or content is None:
        return refusal
    kept_in = folder.keep(refusal.line, content) if folder is not None and refusal.record is None else None
    return replace(refusal, offset=lines.offset_of(refusal.line), line_bytes=len(content), kept_in=kept_in)


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


def _event_days(connection: duckdb.DuckDBPyConnection, decoder: Decoder, load_id: int) -> set[date]:
    days: set[date] = set()
    for target in decoder.targets:
        query = _EVENT_DAYS.substitute(table=target.table, happened_at=target.happened_at)
        days |= {day for (day,) in connection.execute(query, [load_id]).fetchall()}
    return days


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


def size_of(path: Path) -> int:
    """How many bytes there are to read; none of a file that has vanished."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def hashes_of_beginnings(path: Path, lengths: Sequence[int]) -> list[str]:
    """The hashes of the first bytes of a file, one for each of these ascending lengths, in one pass."""
    digest, done, found = hashlib.sha256(), 0, []
    with path.open("rb") as file:
        for length in lengths:
            while done < length and (chunk := file.read(min(length - done, HASHED_AT_ONCE))):
                digest.update(chunk)
                done += len(chunk)
            found.append(digest.hexdigest())
    return found


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _code_version() -> str:
    try:
        return version("hindcast")
    except PackageNotFoundError:
        return "unknown"
