import shutil

import pytest

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import connection as opening
from dagster_project.warehouse.connection import WarehouseTooNew, connect, migrate
from dagster_project.warehouse.landing import InputFile, land


def test_migrations_are_applied_once(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        assert migrate(connection) == [1, 2, 3, 4, 5]
        assert migrate(connection) == []
        assert connection.table("raw.spans").columns[:3] == ["load_id", "line", "record"]


def test_a_warehouse_of_a_newer_version_is_refused(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        connection.execute("insert into audit.migrations values (9999, now()::timestamp)")
        with pytest.raises(WarehouseTooNew, match="9999"):
            migrate(connection)


OLD = """
    insert into audit.loads select n, 's', format, 'p' || n, 'h' || n, 'loaded', null, 1, 1, 1, 1, 0, [],
        [date '2024-01-01'], null, now()::timestamp, now()::timestamp, '0.1'
    from (select unnest(['otlp_traces', 'otlp_logs', 'prometheus', 'incidents', 'pagerduty', 'servicenow', 'deploys'])
        as format, unnest(range(1, 8)) as n);
    insert into audit.quarantine values (1, 2, null, 'not_json', 'd', 'r');
    insert into raw.spans (load_id, line, record, trace_id, span_id, span_name, kind, started_at, ended_at,
        status_code, dropped_attributes_count, dropped_events_count, dropped_links_count)
    values (1, 1, 1, '11111111-1111-1111-1111-111111111111', 1, 'a', 1, '2024-01-01', '2024-01-01', 0, 0, 0, 0);
    insert into raw.logs (load_id, line, record, occurred_at, severity_number, dropped_attributes_count)
    values (2, 1, 1, '2024-01-01', 9, 0);
    insert into raw.metric_points values (3, 1, 1, 'cpu', null, '{}', '2024-01-01 00:00:00.123456', 1.5);
    insert into raw.incidents values (4, 1, 1, 'INC-1', '{}');
    insert into raw.tickets values (5, 1, 1, 'pagerduty', 'P1', '{}');
    insert into raw.deploys values (7, 1, 1, '{}');
    insert into audit.replays values (1, '2024-01-01', '2024-01-01', 7, 'm', '0.1', now()::timestamp);
"""


def test_an_old_warehouse_keeps_its_rows_and_takes_new_ones(tmp_path, monkeypatch):
    old, current = tmp_path / "old", opening.MIGRATIONS
    old.mkdir()
    shutil.copy(next(current.glob("0001_*.sql")), old)
    with connect(tmp_path / "w.duckdb") as connection:
        monkeypatch.setattr(opening, "MIGRATIONS", old)
        assert migrate(connection) == [1]
        connection.execute(OLD)
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() where schema_name in ('raw', 'audit')"
        ).fetchall()
        before = {name: connection.table(name).aggregate("count(*)").fetchall() for (name,) in tables}
    with connect(tmp_path / "w.duckdb") as connection:
        monkeypatch.setattr(opening, "MIGRATIONS", current)
        assert migrate(connection)[0] == 2
        before.pop("audit.migrations")
        assert {name: connection.table(name).aggregate("count(*)").fetchall() for name in before} == before
        assert connection.execute("select target, rows_expired from audit.loads order by load_id").fetchall() == [
            ("raw.spans", 0), ("raw.logs", 0), ("raw.metric_points", 0), ("raw.incidents", 0), ("raw.tickets", 0),
            ("raw.tickets", 0), ("raw.deploys", 0),
        ]  # fmt: skip
        assert connection.execute("select epoch_ns(observed_at) from raw.metric_points").fetchall() == [
            (1704067200123456000,)
        ]
        assert connection.execute("select system from raw.deploys").fetchall() == [("deploys",)]
        (tmp_path / "i.json").write_text('[{"incident_id": "INC-2", "created_at": "2024-01-02T00:00:00Z"}]')
        (outcome,) = land(connection, [InputFile(tmp_path / "i.json", FORMATS["incidents"])]).files
        assert (outcome.load_id, outcome.records_landed) == (8, 1)
