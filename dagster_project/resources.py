"""Dagster resources: the project, and the warehouse with its writer's lock. Thin; the rooms do the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb

from dagster_project.settings import Project
from dagster_project.warehouse import lock
from dagster_project.warehouse.connection import connect, migrate

# Longer than a step of another run takes: a night queues behind a `hindcast load` rather than fail.
WAIT_SECONDS = 600.0


class Warehouse(dg.ConfigurableResource[duckdb.DuckDBPyConnection]):
    """The project's warehouse. `dagster-duckdb`'s resource cannot open read-only and clashes with dbt's connection."""

    project_root: str

    @property
    def project(self) -> Project:
        """The project that the warehouse belongs to."""
        return Project(Path(self.project_root))

    @contextmanager
    def writer(self, purpose: str, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, under the lock, with the schema up to date."""
        with (
            lock.hold(self.project.lock_file, purpose, WAIT_SECONDS),
            connect(self.project.warehouse_file, memory_limit=memory_limit) as connection,
        ):
            migrate(connection)
            yield connection

    @contextmanager
    def reader(self, purpose: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that only reads; it too waits its turn, for DuckDB lets nobody read beside a writer."""
        with (
            lock.hold(self.project.lock_file, purpose, wait_seconds),
            connect(self.project.warehouse_file, read_only=True) as connection,
        ):
            yield connection
