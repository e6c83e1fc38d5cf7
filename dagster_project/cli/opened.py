"""The warehouse, opened for a command: under the writer's lock, with its schema brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from dagster_project.settings import Project
from dagster_project.warehouse import lock
from dagster_project.warehouse.connection import connect, migrate


@contextmanager
def opened(project: Project, purpose: str, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that may write; the first one makes the warehouse.

    Raises
    ------
    lock.WarehouseLocked
        Names who holds the lock.
    """
    with (
        lock.hold(project.lock_file, purpose),
        connect(project.warehouse_file, memory_limit=memory_limit) as connection,
    ):
        migrate(connection)
        yield connection
