"""Files of telemetry → an in-memory warehouse with the staged tables that rules are judged over.

Landing and dbt's models do the work, as in a night, so that a gate and a replay say the same of the same files. Which
rules are judged over it is not known here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from dagster_project.sources.decoding.reading import head
from dagster_project.sources.recognition import LeftOut, recognise_all
from dagster_project.transformation.dbt_sql import shipped_sql
from dagster_project.warehouse import landing
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import FileOutcome, InputFile
from dagster_project.warehouse.quarantine import Reason

_ALWAYS: Final = ("stg_spans", "stg_logs", "stg_span_events", "stg_span_links", "int_trace_shape", "int_traces")
_BROKEN_OFF: Final = tuple(
    reason.value
    for reason in (
        Reason.TRUNCATED_GZIP, Reason.CORRUPT_GZIP, Reason.CORRUPT_ZSTD, Reason.CORRUPT_ZIP, Reason.CORRUPT_PARQUET,
        Reason.MESSAGE_TRUNCATED,
    )
)  # fmt: skip
REFUSALS_SHOWN: Final = 3
EMPTY: Final = "it is empty"


class UnreadableInput(ValueError):
    """Files of which nothing can be read; the message names each with the reason."""


@dataclass(frozen=True)
class ReadFile:
    """What was read of one file; `refusals` are the first ones, as text."""

    path: str
    format: str
    records_landed: int
    records_refused: int
    unknown_fields: tuple[str, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class Telemetry:
    """What there is to judge. `repeats` are span records that were sent more than once and count once.

    `left_out` are the files of folders that were not read.
    """

    files: tuple[ReadFile, ...]
    left_out: tuple[LeftOut, ...]
    spans: int
    logs: int
    traces: int
    traces_complete: int
    repeats: int

    @property
    def records_refused(self) -> int:
        return sum(file.records_refused for file in self.files)


@contextmanager
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse in memory, gone at the end of the block; what memory cannot hold goes to a scratch folder."""
    with tempfile.TemporaryDirectory(prefix="hindcast-gate-") as scratch, connect(":memory:") as connection:
        connection.execute("set temp_directory = ?", [scratch])
        migrate(connection)
        yield connection


@dataclass(frozen=True)
class Landed:
    """What of the paths that were named is in `raw.*`, and which files of folders are not."""

    files: tuple[ReadFile, ...]
    left_out: tuple[LeftOut, ...]


def land(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Landed:
    """Land files, and those of folders, in `raw.*`; what each is, its content says.

    Raises
    ------
    UnreadableInput
        A file is of no known format, nothing of it could be read, its bytes end in the middle, or a folder has no file
        of a known format. The other files of a folder that has one are passed by.
    FileNotFoundError
        A path does not exist.
    """
    problems: list[str] = []
    files: dict[Path, InputFile] = {}
    left_out: dict[Path, LeftOut] = {}
    # Each path by itself: one that gives nothing is a mistake, whatever the others give.
    for path in paths:
        found = recognise_all([path])
        if path.is_dir():
            left_out |= {left.path.resolve(): left for left in found.left_out}
            problems += [] if found.files else [f"{path}: there is no file of a known format in it"]
        else:
            # A run that sent nothing leaves an empty file: there is nothing to judge, and nothing is wrong with it.
            empty = [LeftOut(left.path, EMPTY) for left in found.left_out if _is_empty(left.path)]
            left_out |= {left.path.resolve(): left for left in empty}
            problems += [f"{left.path}: {left.reason}" for left in found.left_out if not _is_empty(left.path)]
        files |= {file.path.resolve(): file for file in found.files}
    summary = landing.land(connection, tuple(files.values()))
    problems += [f"{outcome.path}: {outcome.message}" for outcome in summary.with_status("failed")]
    problems += _broken_off(connection)
    if problems:
        raise UnreadableInput("\n".join(problems))
    return Landed(tuple(_read_file(connection, outcome) for outcome in summary.files), tuple(left_out.values()))


def stage(connection: duckdb.DuckDBPyConnection, landed: Landed) -> Telemetry:
    """Make the tables of spans and logs from what has landed: each record once, typed, with the shape of its trace."""
    connection.execute("create schema staging; create schema intermediate")
    _make(connection, _ALWAYS)
    ((spans, logs, traces, complete, repeats),) = connection.execute("""
        select
            (select count(*) from staging.stg_spans), (select count(*) from staging.stg_logs), count(*),
            count(*) filter (is_complete), (select count(*) from staging.stg_span_repeats)
        from intermediate.int_traces
    """).fetchall()
    return Telemetry(landed.files, landed.left_out, spans, logs, traces, complete, repeats)


def stage_beside(connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> None:
    """Make those of these tables that are not there yet and that a model makes: metrics, deploys, tickets.

    They take a dozen models, and few rules look at them.
    """
    _make(connection, sorted(tables))


def _make(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> None:
    there = {name for (name,) in connection.execute("select table_name from information_schema.tables").fetchall()}
    if not (missing := [table for table in tables if table not in there]):
        return
    models = shipped_sql()
    for model, query in models.in_order(tuple(table for table in missing if models.has(table))).items():
        if model not in there:
            connection.execute(f"create table {models.table(model)} as {query}")


def _is_empty(path: Path) -> bool:
    try:
        return not head(path).strip()
    except OSError:
        return False


def _broken_off(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Files whose bytes are damaged: what stood behind the damage is unknown, and nothing is vouched for."""
    rows = connection.execute(
        "select loads.path, any_value(reason) from audit.quarantine inner join audit.loads using (load_id)"
        " where list_contains(?, reason) group by loads.path order by loads.path",
        [list(_BROKEN_OFF)],
    ).fetchall()
    return [f"{path}: the file ends in the middle or is damaged ({reason}): write it whole" for path, reason in rows]


def _read_file(connection: duckdb.DuckDBPyConnection, outcome: FileOutcome) -> ReadFile:
    refusals: tuple[str, ...] = ()
    if outcome.records_rejected:
        rows = connection.execute(
            "select line, record, reason, detail from audit.quarantine where load_id = ? order by all limit ?",
            [outcome.load_id, REFUSALS_SHOWN],
        ).fetchall()
        refusals = tuple(
            f"line {line}{'' if record is None else f', record {record}'}: {reason}: {detail}"
            for line, record, reason, detail in rows
        )
    return ReadFile(
        outcome.path, outcome.format, outcome.records_landed, outcome.records_rejected, outcome.unknown_fields, refusals
    )
