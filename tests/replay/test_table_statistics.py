"""Statistics of generated tables, and how near their estimates are to what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dagster_project.replay import table_statistics
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.planning.estimates import Statistics, estimate_rows
from dagster_project.rule_language.planning.planner import plan
from dagster_project.scenarios import telemetry
from dagster_project.scenarios.telemetry import Shape


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    made = duckdb.connect()
    telemetry.generate(made, Shape(traces=80_000, days=10))
    yield made
    made.close()


@pytest.fixture(scope="module")
def statistics(connection: duckdb.DuckDBPyConnection) -> Statistics:
    return table_statistics.measure(connection)


@pytest.mark.parametrize(
    ("selector", "condition"),
    [
        ('span("payment.charge")', "span_name = 'payment.charge'"),
        ('span("payment.charge") where attempt > 1', "span_name = 'payment.charge' and attr__attempt__number > 1"),
        ('span("auth.login") where result == "refused"', "attr__result__text = 'refused'"),
        ('span(service = "stock", status = error)', "service_name = 'stock' and status_code = 'error'"),
        ("span() where exists(order_id)", "attr__order_id__any is not null"),
        ("span(is_root)", "parent_span_id is null"),
        ('span("payment.charge", duration > 1m)', "span_name = 'payment.charge' and duration_ns > 60e9"),
        ('span("payment.charge") where amount < 125', "attr__amount__number < 125"),
    ],
)
def test_estimates_are_near_the_truth(connection, statistics, selector, condition):
    there = connection.execute(f"select count(*) from staging.stg_spans where {condition}").fetchall()[0][0]
    wanted = plan(read_inline(f"let:\n  x: {selector}\ndetect: any(x)").judgement).sets[0]
    assert there > 0
    assert there / 2 - 20 < estimate_rows(wanted, statistics) < 2 * there + 20


def test_counts_by_name_are_exact(connection, statistics):
    assert statistics.rows("span") == connection.execute("select count(*) from staging.stg_spans").fetchall()[0][0]
    assert statistics.rows("log") == 0
    assert "event" not in statistics.groups


def test_they_are_kept_and_measured_again_when_damaged(connection, statistics, tmp_path: Path):
    assert table_statistics.from_json(table_statistics.to_json(statistics)) == statistics
    file = tmp_path / "statistics" / "generation.json"
    first = table_statistics.kept(connection, file)
    assert first == statistics, "a table that is smaller than the sample is looked at whole"
    with duckdb.connect() as empty:
        assert table_statistics.kept(empty, file) == first, "what is kept is not measured again"
    for damaged in (b"", b"[]", b'{"form": 0, "groups": {}}', file.read_bytes()[:-20]):
        assert table_statistics.from_json(damaged) is None
        file.write_bytes(damaged)
        assert table_statistics.kept(connection, file) == first


def test_a_large_table_is_sampled(connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_statistics, "SAMPLED_ROWS", 100_000)
    # As in a published generation, where tables are views over Parquet files.
    connection.execute("create schema other; create table other.rows as from staging.stg_spans")
    connection.execute(
        "alter table staging.stg_spans rename to whole; create view staging.stg_spans as from other.rows"
    )
    try:
        measured = table_statistics.measure(connection)
    finally:
        connection.execute("drop view staging.stg_spans; alter table staging.whole rename to stg_spans")
        connection.execute("drop schema other cascade")
    (charges,) = [group for group in measured.groups["span"] if group.name == "payment.charge"]
    assert charges.rows == 80_000
    assert 0 < charges.values["kind"].sampled < 60_000
    assert charges.values["attr__order_id__any"].filled == 1
    assert charges.values["attr__order_id__any"].distinct > 1_000


def test_an_empty_database_has_no_statistics():
    with duckdb.connect() as empty:
        assert table_statistics.measure(empty) == Statistics({})
