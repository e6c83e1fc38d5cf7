"""The temporary tables of a replay: made one after another, and gone at its end.

What is in them, who makes them knows.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import duckdb
from sqlglot import exp

from dagster_project.rule_language.sql.query import to_sql


@dataclass
class TemporaryTables:
    """The tables made over a connection, by name, in the order of their making."""

    connection: duckdb.DuckDBPyConnection
    names: list[str] = field(default_factory=list)

    def make(self, name: str, query: exp.Expression) -> None:
        """Write what a query gives; the name is noted before, since an interrupted statement may leave a table."""
        self.names.append(name)
        self.connection.execute(f'create or replace temp table "{name}" as {to_sql(query, pretty=False)}')

    def drop(self, first: int = 0) -> None:
        """Drop them, from the `first` on."""
        # What was interrupted may have left the connection where nothing can be dropped; it is closed then.
        for name in self.names[first:]:
            with contextlib.suppress(duckdb.Error):
                self.connection.execute(f'drop table if exists "{name}"')
        del self.names[first:]
