"""Publishing: after a good night the tables that readers need become an immutable generation of Parquet files.

Readers open a generation, never the warehouse, so they wait for no writer. A generation is named after what is in it:
publishing the same state twice makes nothing new. Tables with a day column are one file a day, and a day that did not
change is a hard link to the file of the generation before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
from duckdb import ColumnExpression, ConstantExpression
from sqlglot import exp

CURRENT = "current"
KEPT_GENERATIONS = 2
PUBLISHED_SCHEMAS = ("staging", "intermediate", "violations", "marts")
# Of the ledgers only what tells what the rows were made from: when a replay ran changes no answer.
PUBLISHED_LEDGERS = ("audit.loads", "audit.quarantine")
# Large tables, and the column by whose days their files are cut.
DAY_COLUMNS = {
    "staging.stg_spans": "started_on",
    "staging.stg_logs": "occurred_on",
    "staging.stg_metric_points": "observed_on",
}

NO_DAY = "no_day"


class MartsNotWhole(RuntimeError):
    """A replay failed or was killed half-way; what stands in the warehouse must not be published."""


class GenerationNotFound(FileNotFoundError):
    """Nothing was published yet, or not under that name."""


@dataclass(frozen=True)
class Part:
    """One Parquet file of a generation: a table, or one day of it."""

    table: str
    file: str
    rows: int
    content_hash: str


@dataclass(frozen=True)
class Generation:
    """A published state of the warehouse. `as_of` is when the newest of its loads had landed, UTC."""

    id: str
    as_of: datetime | None
    published_at: datetime
    path: Path
    parts: tuple[Part, ...]


def publish(connection: duckdb.DuckDBPyConnection, folder: Path, keep: Container[str] = ()) -> Generation:
    """Write what the warehouse holds now as a generation, and make it the current one.

    The newest generations stay, those in `keep`, and those that a reader has open; the others are removed.

    Parameters
    ----------
    connection
        On the warehouse; the caller holds the writer's lock, so that nothing changes in between.
    folder
        Where generations live; a generation appears in it by a rename, `current` moves by another.
    keep
        Ids that somebody still has to compare with.

    Raises
    ------
    MartsNotWhole
        Says to run the night again.
    """
    if connection.execute("select 1 from audit.replay_in_progress").fetchall():
        raise MartsNotWhole("the last replay failed or was killed half-way: run `hindcast nightly` again")
    parts = [part for table in _tables(connection) for part in _describe(connection, table)]
    identity = hashlib.sha256(json.dumps([asdict(part) for part in parts]).encode()).hexdigest()[:12]
    target = folder / identity
    if not target.exists():
        _write(connection, parts, target, as_of=_as_of(connection), before=_current(folder))
    _point_current_at(folder, identity)
    _forget_old(folder, keep)
    return read_manifest(target)


def latest(folder: Path) -> Generation | None:
    """The current generation, or None when nothing was published."""
    current = _current(folder)
    return read_manifest(current) if current else None


def find(folder: Path, generation_id: str | None = None) -> Generation:
    """The generation of that id (a unique beginning is enough), or the current one.

    Raises
    ------
    GenerationNotFound
        Names what is there.
    """
    if generation_id is None:
        if found := latest(folder):
            return found
        raise GenerationNotFound(
            f"nothing is published in {folder} yet: run `hindcast nightly` (or `hindcast demo`) first"
        )
    known = sorted(path.name for path in _kept(folder))
    matching = [name for name in known if name.startswith(generation_id)]
    if len(matching) != 1:
        raise GenerationNotFound(
            f"no single generation begins with {generation_id!r}; kept are: {', '.join(known) or 'none'}"
        )
    return read_manifest(folder / matching[0])


@contextlib.contextmanager
def open_generation(generation: Generation) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory connection on which the generation's tables stand under their names of the warehouse."""
    connection = duckdb.connect()
    opened = os.open(generation.path / "manifest.json", os.O_RDONLY)
    try:
        # While it is held, publishing does not remove these files: views read them when they are asked.
        fcntl.flock(opened, fcntl.LOCK_SH)
        connection.execute("set timezone = 'UTC'")
        for table in dict.fromkeys(part.table for part in generation.parts):
            files = [str(generation.path / part.file) for part in generation.parts if part.table == table]
            schema, _, name = table.rpartition(".")
            connection.execute(f"create schema if not exists {exp.to_identifier(schema, quoted=True).sql('duckdb')}")
            connection.execute("set schema = " + exp.Literal.string(schema).sql("duckdb"))
            connection.read_parquet(files).create_view(name)
        connection.execute("set schema = 'main'")
        yield connection
    finally:
        connection.close()
        os.close(opened)


def read_manifest(path: Path) -> Generation:
    """The generation in folder `path`."""
    manifest = json.loads((path / "manifest.json").read_text())
    return Generation(
        id=manifest["id"],
        as_of=datetime.fromisoformat(manifest["as_of"]) if manifest["as_of"] else None,
        published_at=datetime.fromisoformat(manifest["published_at"]),
        path=path.resolve(),
        parts=tuple(Part(**part) for part in manifest["parts"]),
    )


def table_hashes(connection: duckdb.DuckDBPyConnection, tables: list[str]) -> dict[str, str]:
    """A hash of the rows of each table, whatever their order: equal hashes, equal multisets of rows."""
    return {table: _content(connection.table(table))[1] for table in tables}


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_catalog = current_database()"
        " and (list_contains($schemas, table_schema) or list_contains($ledgers, table_schema || '.' || table_name))"
        " order by 1",
        {"schemas": list(PUBLISHED_SCHEMAS), "ledgers": list(PUBLISHED_LEDGERS)},
    ).fetchall()
    return [name for (name,) in rows]


def _describe(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Part]:
    day_column = DAY_COLUMNS.get(table)
    if day_column is None:
        yield Part(table, f"{table}.parquet", *_content(connection.table(table)))
        return
    days = connection.table(table).select(ColumnExpression(day_column)).distinct().order(day_column).fetchall()
    if not days:  # readers look for the table all the same
        yield Part(table, f"{table}/{NO_DAY}.parquet", *_content(connection.table(table)))
    for (day,) in days:
        yield Part(table, f"{table}/{day.isoformat()}.parquet", *_content(_one_day(connection, table, day)))


def _one_day(connection: duckdb.DuckDBPyConnection, table: str, day: date) -> duckdb.DuckDBPyRelation:
    return connection.table(table).filter(ColumnExpression(DAY_COLUMNS[table]) == ConstantExpression(day))


def _content(rows: duckdb.DuckDBPyRelation) -> tuple[int, str]:
    """The number of rows, and a hash of them that their order does not change."""
    # Two independent order-free sums: xor alone would not see a row that is there twice.
    sums = rows.set_alias("t").aggregate("count(*), bit_xor(hash(t)), sum(hash(t)::hugeint % 1000000007)")
    (count, *hashes) = sums.fetchall()[0]
    shape = [*zip(rows.columns, map(str, rows.types), strict=True)]
    return count, hashlib.sha256(repr((shape, count, hashes)).encode()).hexdigest()[:16]


def _write(
    connection: duckdb.DuckDBPyConnection,
    parts: list[Part],
    target: Path,
    *,
    as_of: datetime | None,
    before: Path | None,
) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    known = (
        {(part.file, part.content_hash): before / part.file for part in read_manifest(before).parts} if before else {}
    )
    for part in parts:
        file = aside / part.file
        file.parent.mkdir(parents=True, exist_ok=True)
        old = known.get((part.file, part.content_hash))
        if old is not None and old.is_file():
            os.link(old, file)
        else:
            _copy(connection, part, file)
    manifest = {
        "id": target.name,
        "as_of": as_of.isoformat() if as_of else None,
        "published_at": datetime.now(UTC).isoformat(),
        "parts": [asdict(part) for part in parts],
    }
    (aside / "manifest.json").write_text(json.dumps(manifest, indent=1))
    aside.rename(target)


def _copy(connection: duckdb.DuckDBPyConnection, part: Part, file: Path) -> None:
    if part.table in DAY_COLUMNS and file.stem != NO_DAY:
        rows = _one_day(connection, part.table, date.fromisoformat(file.stem))
    else:
        rows = connection.table(part.table)
    rows.write_parquet(str(file), compression="zstd")


def _as_of(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    ((finished_at,),) = connection.execute("select max(finished_at) from audit.loads").fetchall()
    return finished_at.replace(tzinfo=UTC) if finished_at else None


def _current(folder: Path) -> Path | None:
    link = folder / CURRENT
    return link.resolve() if (link / "manifest.json").is_file() else None


def _point_current_at(folder: Path, identity: str) -> None:
    aside = folder / f".{CURRENT}.{os.getpid()}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(identity, target_is_directory=True)
    aside.replace(folder / CURRENT)


def _kept(folder: Path) -> list[Path]:
    found = (manifest.parent for manifest in folder.glob("*/manifest.json"))
    return [path for path in found if not path.is_symlink() and not path.name.startswith(".")]


def _forget_old(folder: Path, keep: Container[str]) -> None:
    current = _current(folder)
    by_age = sorted(_kept(folder), key=lambda path: (path.resolve() == current, read_manifest(path).published_at))
    for path in by_age[:-KEPT_GENERATIONS]:
        if path.name not in keep and not _is_open(path):
            # By a rename first: a removal that is killed must not leave half a generation under a good name.
            path.rename(path.with_name(f".{path.name}.{os.getpid()}.partial"))
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _is_open(path: Path) -> bool:
    manifest = os.open(path / "manifest.json", os.O_RDONLY)
    try:
        fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(manifest)
    return False
