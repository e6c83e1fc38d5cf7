"""Landing bytes in a warehouse of one test's own, and looking at what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import FileOutcome, InputFile, land


@dataclass(frozen=True)
class Landed:
    """What became of one file."""

    outcome: FileOutcome
    rows: list[dict[str, Any]]
    refusals: list[dict[str, Any]]

    @property
    def reasons(self) -> list[tuple[int, int | None, str]]:
        return [(row["line"], row["record"], row["reason"]) for row in self.refusals]


Lander = Callable[..., Landed]


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def land_bytes(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> Lander:
    """`land_bytes(format, content, name)`: what became of a file with this content."""

    def landed(format_name: str, content: bytes, name: str = "file") -> Landed:
        path = tmp_path / name
        path.write_bytes(content)
        decoder = FORMATS[format_name]
        (outcome,) = land(warehouse, [InputFile(path, decoder)]).files
        load_id = outcome.load_id if outcome.load_id is not None else -1
        rows = [
            row
            for target in decoder.targets
            for row in dicts(
                warehouse, f"select * from {target.table} where load_id = ? order by line, record", load_id
            )
        ]
        refusals = dicts(warehouse, "select * from audit.quarantine where load_id = ? order by line, record", load_id)
        assert outcome.records_read == outcome.records_landed + outcome.records_rejected
        assert (outcome.records_landed, outcome.records_rejected) == (len(rows), len(refusals))
        return Landed(outcome, rows, refusals)

    return landed


def dicts(connection: duckdb.DuckDBPyConnection, query: str, *parameters: object) -> list[dict[str, Any]]:
    result = connection.execute(query, list(parameters))
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
