"""Tables that Python infers (statistics, evidence) into the warehouse, whole and in one transaction."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from sqlglot import exp


def replace_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> int:
    """Make `name` ("schema.table") hold exactly `rows`; readers see the old table or the new one, never half.

    Field metadata `description` becomes the column's comment. Returns the number of rows.
    """
    schema, _, _ = name.rpartition(".")
    target = exp.to_table(name, dialect="duckdb").sql("duckdb", identify=True)
    connection.register("new_rows", rows)
    connection.execute("begin")
    try:
        connection.execute(f"create schema if not exists {exp.to_identifier(schema, quoted=True).sql('duckdb')}")
        connection.execute("create or replace table " + target + " as from new_rows")
        for field in rows.schema:
            _comment(connection, target, field)
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
    finally:
        connection.unregister("new_rows")
    return int(rows.num_rows)


def _comment(connection: duckdb.DuckDBPyConnection, target: str, field: pa.Field) -> None:
    description = (field.metadata or {}).get(b"description", b"").decode()
    if description:
        column = exp.to_identifier(field.name, quoted=True).sql("duckdb")
        text = exp.Literal.string(description).sql("duckdb")
        connection.execute(f"comment on column {target}.{column} is {text}")
