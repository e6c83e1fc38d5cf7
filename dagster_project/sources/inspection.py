"""What a declared source would read, looked at before anything is loaded: its files, their beginning, their days.

Loads nothing and asks no other system. The warehouse is only asked what it knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.sources.declaration import Declaration, Source, SourcesInvalid
from dagster_project.sources.decoding.reading import GZIP_MAGIC, ZIP_MAGIC, ZSTD_MAGIC
from dagster_project.sources.format import Format
from dagster_project.sources.recognition import recognise
from dagster_project.warehouse import landing
from dagster_project.warehouse.batches import Batch, Target
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, Plan

PACKED = {GZIP_MAGIC: "gzip", ZSTD_MAGIC: "zstd", ZIP_MAGIC: "zip"}
BATCHES_TRIED = 2  # that hold something, of the first file: a few megabytes say whether it is read as it was meant


@dataclass
class Inspection:
    """One source as it stands. `problems` keep it from being loaded as meant; `remarks` are worth a look.

    Parameters
    ----------
    files, bytes, newest_at
        What it would read now.
    packed
        How many files are compressed, by how.
    states
        How many files are new, loaded, grown, changed, copies.
    first_at
        When the first record of the first file happened, in UTC, read as declared.
    days
        First and last event day of what is loaded, and how many days there are.
    """

    source: Source
    files: int = 0
    bytes: int = 0
    newest_at: datetime | None = None
    packed: Counter[str] = field(default_factory=Counter)
    recognised: str | None = None
    states: Counter[str] = field(default_factory=Counter)
    first_at: datetime | None = None
    days: tuple[date, date, int] | None = None
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def first_at_there(self) -> datetime | None:
        """The first record's time in the time zone of the source."""
        return self.first_at.astimezone(ZoneInfo(self.source.time_zone)) if self.first_at else None

    @property
    def options(self) -> str | None:
        """What the source says of reading its files, as the ledger keeps it."""
        return self.source.decoder.reading


def inspect(
    project: Project, declared: Declaration, source: Source, connection: duckdb.DuckDBPyConnection
) -> Inspection:
    """Look at one source.

    Parameters
    ----------
    connection
        On the warehouse, or on an empty one when nothing was loaded yet.
    """
    found = Inspection(source)
    found.days = _days(connection, source.name)
    try:
        paths = declaration.source_paths(project, declared, source)
    except SourcesInvalid as error:
        found.problems.append(str(error).partition(f"source {source.name}: ")[2] or str(error))
        return found
    files = [declaration.input_file(project, source, path) for path in paths]
    for file in files:
        _add(found, file, connection)
    if files:
        first = next((file for file in files if landing.size_of(file.path)), files[0])
        _look_into(found, first)
    elif not source.is_extracted:
        found.remarks.append(f"no file matches {source.path} now; it is optional")
    return found


def _add(found: Inspection, file: InputFile, connection: duckdb.DuckDBPyConnection) -> None:
    try:
        with file.path.open("rb") as opened:
            magic = opened.read(4)
        known = file.path.stat()
        found.states[_state(landing.plan_of(connection, file))] += 1
    except OSError as error:
        found.problems.append(f"{file.path} cannot be read: {error.strerror}")
        return
    found.files += 1
    found.bytes += known.st_size
    changed_at = datetime.fromtimestamp(known.st_mtime).astimezone()
    found.newest_at = max(found.newest_at or changed_at, changed_at)
    for start, name in PACKED.items():
        if magic.startswith(start):
            found.packed[name] += 1


def _state(plan: Plan | None) -> str:
    if plan is None:
        return "loaded"
    if plan.failed_before is not None:
        return "failed before"
    if plan.duplicate_of is not None:
        return "copy of a loaded one"
    if plan.is_grown:
        return "grown"
    if plan.replaces:
        return "to be read in another way"
    return "changed" if plan.changed_from is not None else "new"


def _look_into(found: Inspection, file: InputFile) -> None:
    """Decode the beginning of a file as it is declared, in a warehouse that is thrown away."""
    looks_like = recognise(file.path)
    found.recognised = looks_like.name if looks_like else None
    if looks_like is not None and looks_like.name != found.source.decoder.name:
        found.remarks.append(
            f"{file.path} looks like {looks_like.name}, and is declared as {found.source.decoder.name}"
        )
    decoder = found.source.decoder
    beginning = replace(
        decoder, batches=lambda stream, options: _first_that_hold_something(decoder.batches(stream, options))
    )
    with connect(":memory:", memory_limit=landing.MEMORY_LIMIT) as trial:
        migrate(trial)
        (outcome,) = landing.land(trial, [replace(file, format=beginning)]).files
        found.first_at = _first_at(trial, beginning)
    if outcome.status == "failed" and outcome.load_id is None:
        found.problems.append(str(outcome.message))  # nothing of the file was read: its format is not what is wrong
    elif outcome.status == "failed":
        found.problems.append(f"{outcome.message}; see whether `format` and its options are right")
    elif outcome.records_rejected:
        found.remarks.append(
            f"of the first {outcome.records_read:,} records of {file.path}, {outcome.records_rejected:,} are refused"
        )
    if outcome.status == "empty" and landing.size_of(file.path):
        found.remarks.append(f"the beginning of {file.path} holds no record")


def _first_that_hold_something(batches: Iterator[Batch]) -> Iterator[Batch]:
    """A batch may only say which names were read over, or that no line was refused."""
    tried = 0
    for batch in batches:
        yield batch
        tried += bool(batch.records or batch.refusals)
        if tried == BATCHES_TRIED:
            return


def _first_at(connection: duckdb.DuckDBPyConnection, decoder: Format) -> datetime | None:
    targets = decoder.targets
    if decoder.local_at is not None:
        here = f"timezone('{decoder.options.time_zone}', {decoder.local_at})"  # the declaration has judged the zone
        targets = (Target(decoder.table, f"coalesce({here}, {decoder.happened_at})"),)
    for target in targets:
        # Table and expression are the format's own text.
        rows = connection.execute(
            f"select epoch_us(({target.happened_at})::timestamptz) from {target.table} order by line, record limit 1"  # noqa: S608
        ).fetchall()
        if rows and rows[0][0] is not None:
            with suppress(OverflowError, OSError, ValueError):
                return datetime.fromtimestamp(rows[0][0] / 1e6, ZoneInfo("UTC"))
    return None


def _days(connection: duckdb.DuckDBPyConnection, source: str) -> tuple[date, date, int] | None:
    ((first, last, count),) = connection.execute(
        "select min(day), max(day), count(distinct day) from"
        " (select unnest(event_days) as day from audit.loads where source = ? and superseded_by is null)",
        [source],
    ).fetchall()
    return (first, last, count) if count else None


def asked(source: Source, project: Project) -> Iterator[str]:
    """What another system would be asked for, in sentences; nothing for a source of files."""
    if source.prometheus is not None:
        server = source.prometheus
        until = f"until {server.until.isoformat()}" if server.until else "and goes on with every run"
        yield f"asks {server.url} for {len(server.queries)} range queries from {server.start.isoformat()} {until}"
        yield f"a point every {server.step_seconds} s, {server.chunk_seconds / 3600:g} hours a file"
        for name, expression in server.queries.items():
            yield f"{name}: {expression}"
        if server.token_env:
            yield f"its token is in the environment variable {server.token_env}"
    if source.git is not None:
        place = (project.root / source.git.repository).resolve()
        since = f" since {source.git.since}" if source.git.since else ""
        yield f"reads the history of {source.git.ref or 'all branches'} of {place}{since}"


def repository_problem(source: Source, project: Project) -> str | None:
    """Why the repository of a source cannot be read, as far as its folder tells."""
    if source.git is None:
        return None
    place = (project.root / source.git.repository).resolve()
    is_one = any((Path(place) / name).exists() for name in (".git", "HEAD"))
    return None if is_one else f"{place} is no git repository; mend `repository`"
