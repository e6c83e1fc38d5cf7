import pytest

from dagster_project.warehouse.connection import WarehouseTooNew, connect, migrate


def test_migrations_are_applied_once(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        assert migrate(connection) == [1]
        assert migrate(connection) == []
        assert connection.table("raw.spans").columns[:3] == ["load_id", "line", "record"]


def test_a_warehouse_of_a_newer_version_is_refused(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        connection.execute("insert into audit.migrations values (9999, now()::timestamp)")
        with pytest.raises(WarehouseTooNew, match="9999"):
            migrate(connection)
