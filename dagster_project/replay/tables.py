"""What replays ask any connection: which tables and columns it has, the rows of a query, the part of spans to look at.

The connection may be a warehouse, a published generation of any age, or an in-memory set of test traces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from dagster_project.replay.window import Window

Row = dict[str, Any]
# Up to so many spans of a window are looked at whole; of more, so many of each of so many days.
WHOLE = 200_000
SAMPLED_DAYS = 16
SAMPLED_SPANS = 8_192


@dataclass(frozen=True)
class Tables:
    """The tables of a connection with their columns, by `schema.table`."""

    columns: dict[str, frozenset[str]]

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with all these columns."""
        return table in self.columns and self.columns[table].issuperset(columns)


def tables_of(connection: duckdb.DuckDBPyConnection) -> Tables:
    """The tables that replays may read."""
    found = connection.execute(
        "select table_schema || '.' || table_name, list(column_name) from information_schema.columns"
        " where table_schema in ('staging', 'intermediate', 'audit') group by all"
    ).fetchall()
    return Tables({table: frozenset(columns) for table, columns in found})


def rows(connection: duckdb.DuckDBPyConnection, query: str, values: Any = None) -> list[Row]:
    """The rows of a query by the names of its columns; fetched whole, for an open result blocks the connection."""
    cursor = connection.execute(query, values or None)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def row(connection: duckdb.DuckDBPyConnection, query: str, values: Any = None) -> Row:
    """The one row of a query."""
    return rows(connection, query, values)[0]


def bounds(window: Window) -> dict[str, Any]:
    """`$start` and `$end` of the queries of this room."""
    inside = window.recordable
    return {"start": inside.start, "end": inside.end}


def within(column: str) -> str:
    """The condition that a column of a query is in the window, for the values of `bounds`."""
    return (
        f"($start::timestamp is null or {column} >= $start::timestamp)"
        f" and ($end::timestamp is null or {column} < $end::timestamp)"
    )


@dataclass(frozen=True)
class Looked:
    """Spans to look at for what no table counts: all of the window, or some of several of its days.

    `query` selects them, for the values of `bounds`; `is_sample` says that they are not all.
    """

    query: str
    is_sample: bool


def looked_at(connection: duckdb.DuckDBPyConnection, window: Window, spans: int) -> Looked:
    """Spans of the window, at most about `WHOLE`: every day of it when they are few, else days spread over it."""
    columns = "span_name, service_name, trace_state, attributes, resource_attributes"
    if not tables_of(connection).has("staging.stg_spans", "trace_state"):
        columns = columns.replace("trace_state", "null::varchar as trace_state")
    inside = within("started_at")
    if spans <= WHOLE:
        return Looked(f"select {columns} from staging.stg_spans where {inside}", is_sample=False)  # noqa: S608
    days = connection.execute(
        f"select distinct started_on from intermediate.int_traces where {inside} order by 1",  # noqa: S608
        bounds(window),
    ).fetchall()
    step = max(1, len(days) // SAMPLED_DAYS)
    parts = [
        f"(select {columns} from staging.stg_spans where started_on = date '{day.isoformat()}' and {inside}"  # noqa: S608
        f" limit {SAMPLED_SPANS})"
        for (day,) in days[::step][:SAMPLED_DAYS]
    ]
    return Looked(" union all ".join(parts), is_sample=True)
