"""Looking a statement's reference up: the rows behind it, by bound values and quoted names."""

from __future__ import annotations

import duckdb
from sqlglot import exp

from dagster_project.facts import Reference


def resolve(connection: duckdb.DuckDBPyConnection, reference: Reference) -> int:
    """The number of rows that carry the statement; 0 when the reference leads nowhere.

    Values are compared as text, the way `Reference.key` holds them. A relation or column that does not exist raises
    DuckDB's error, for then the reference itself is wrong.
    """
    columns = [exp.column(exp.to_identifier(column, quoted=True)) for column, _ in reference.key]
    query = (
        exp.select(exp.Count(this=exp.Star()))
        .from_(exp.to_table(reference.relation, dialect="duckdb"))
        .where(*(exp.EQ(this=exp.cast(column, "varchar"), expression=exp.Placeholder()) for column in columns))
    )
    values = [value for _, value in reference.key]
    ((found,),) = connection.execute(query.sql("duckdb", identify=True), values).fetchall()
    return int(found)
