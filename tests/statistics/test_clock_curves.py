import duckdb
import numpy as np
import pytest

from dagster_project.statistics.clock_curves import CLOCK_CURVES_SCHEMA, clock_curves
from dagster_project.statistics.survival import Lifetimes, kaplan_meier


@pytest.fixture
def warehouse():
    """Six P1 incidents resolved after 1, 1, 2, 3, 4 and 5 minutes, one that has run for 10; P2 too few."""
    with duckdb.connect() as made:
        made.execute("create schema marts")
        made.execute("create table marts.fct_incidents (system varchar, incident_id varchar, severity varchar)")
        made.execute(
            "create table marts.mart_incident_clocks"
            " (system varchar, incident_id varchar, clock varchar, seconds bigint, open_seconds bigint)"
        )
        ended = [(60, None), (60, None), (120, None), (180, None), (240, None), (300, None), (None, 600)]
        for severity, times in {"P1": ended, "P2": [(60, None)] * 4}.items():
            for place, (seconds, running) in enumerate(times):
                name = f"{severity}-{place}"
                made.execute("insert into marts.fct_incidents values ('desk', ?, ?)", [name, severity])
                made.execute(
                    "insert into marts.mart_incident_clocks values ('desk', ?, 'resolve', ?, ?)",
                    [name, seconds, running],
                )
        yield made


def test_curves_are_those_of_kaplan_and_meier_with_open_incidents(warehouse):
    rows = clock_curves(warehouse).to_pylist()
    times = np.array([60.0, 60, 120, 180, 240, 300, 600])
    curve = kaplan_meier(Lifetimes(times, np.arange(7) < 6))
    assert [row["minutes"] * 60 for row in rows] == curve.times.tolist()
    assert [row["survival"] for row in rows] == pytest.approx([5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])
    assert [row["at_risk"] for row in rows] == [7, 5, 4, 3, 2]


def test_fewer_than_five_ended_incidents_have_no_curve(warehouse):
    assert {row["severity"] for row in clock_curves(warehouse).to_pylist()} == {"P1"}


def test_a_clock_that_ended_at_once_is_counted(warehouse):
    warehouse.execute("update marts.mart_incident_clocks set seconds = 0 where incident_id = 'P1-0'")
    first = clock_curves(warehouse).to_pylist()[0]
    assert (first["minutes"] * 60, first["ended"]) == (pytest.approx(1), 1)


def test_an_open_incident_never_lowers_a_curve(warehouse):
    before = {row["minutes"]: row["survival"] for row in clock_curves(warehouse).to_pylist()}
    warehouse.execute("insert into marts.fct_incidents values ('desk', 'another', 'P1')")
    warehouse.execute("insert into marts.mart_incident_clocks values ('desk', 'another', 'resolve', null, 3000)")
    after = {row["minutes"]: row["survival"] for row in clock_curves(warehouse).to_pylist()}
    assert all(after[minutes] >= before[minutes] for minutes in before)


def test_ids_are_those_of_one_row_and_columns_those_of_the_schema(warehouse):
    table = clock_curves(warehouse)
    assert table.schema.equals(CLOCK_CURVES_SCHEMA)
    assert len(set(table["point_id"].to_pylist())) == table.num_rows
    warehouse.execute("delete from marts.mart_incident_clocks")
    assert clock_curves(warehouse).num_rows == 0
