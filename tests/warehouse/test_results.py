import duckdb
import pyarrow as pa
import pytest

from dagster_project.warehouse import results
from dagster_project.warehouse.results import replace_table

TEXT = "what it's worth"


def rows(values):
    return pa.table(
        {"a": pa.array(values, pa.int64())},
        schema=pa.schema([pa.field("a", pa.int64(), metadata={"description": TEXT})]),
    )


def test_the_table_holds_exactly_the_rows_and_says_what_its_columns_mean():
    connection = duckdb.connect()
    assert replace_table(connection, "marts.mart_x", rows([1, 2])) == 2
    assert replace_table(connection, "marts.mart_x", rows([3])) == 1
    assert connection.execute("from marts.mart_x").fetchall() == [(3,)]
    comments = connection.execute("select comment from duckdb_columns() where table_name = 'mart_x'").fetchall()
    assert comments == [(TEXT,)]


def test_a_failure_leaves_the_old_table(monkeypatch):
    connection = duckdb.connect()
    replace_table(connection, "marts.mart_x", rows([1]))
    monkeypatch.setattr(results, "_comment", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace_table(connection, "marts.mart_x", rows([2]))
    assert connection.execute("from marts.mart_x").fetchall() == [(1,)]
