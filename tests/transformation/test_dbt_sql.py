"""The SQL of dbt's models without dbt: all of it renders, and shapes traces as the warehouse of rule tests does."""

import json
import random

import duckdb
import pytest

from dagster_project.gate import telemetry
from dagster_project.replay import scratch
from dagster_project.transformation.dbt_sql import DbtSql
from dagster_project.warehouse.connection import migrate
from tests.gate.conftest import span

SHAPE = """
    select trace_id::varchar, span_id, kind, depth, is_root, is_orphan, is_cycle_cut, child_count
    from intermediate.int_trace_shape order by all
"""
TRACES = """
    select trace_id::varchar, span_count, log_count, root_count, orphan_count, is_complete
    from intermediate.int_traces order by all
"""


def test_what_a_gate_may_stage_renders_and_runs_over_nothing():
    models = DbtSql()
    wanted = (
        "stg_span_events",
        "stg_span_links",
        "stg_logs",
        "int_traces",
        "stg_metric_points",
        "stg_deploys",
        "int_incidents",
    )
    with duckdb.connect() as connection:
        migrate(connection)
        connection.execute("create schema staging; create schema intermediate")
        for model, query in models.in_order(wanted).items():
            connection.execute(f"create table {models.table(model)} as {query}")
            assert connection.execute(f"select count(*) from {models.table(model)}").fetchall() == [(0,)]


def test_every_model_comes_after_what_it_reads():
    models = DbtSql()
    done = set()
    for model in models.in_order(("int_traces",)):
        assert set(models.render(model)[1]) <= done
        done.add(model)
    assert {"stg_spans", "int_trace_shape"} < done


def random_spans(seed):
    """Traces with chains, orphans, several roots, cycles, Zipkin's shared ids and records sent again."""
    chance = random.Random(seed)
    for trace in range(1, 40):
        size = chance.randint(1, 9)
        for number in range(1, size + 1):
            parent = chance.choice([None, *range(1, size + 1), 99]) if number > 1 else chance.choice([None, None, 2])
            kind = chance.choice([1, 2, 3, 4, 5])
            sent = span(f"op {number}", trace, number, parent, at_ms=chance.randint(0, 20), kind=kind)
            yield sent
            if chance.random() < 0.2:
                yield sent
            if kind == 3 and chance.random() < 0.5:
                yield span(f"op {number}", trace, number, parent, at_ms=chance.randint(0, 20), kind=2)


@pytest.mark.parametrize("seed", range(6))
def test_shapes_are_those_of_the_warehouse_of_rule_tests(seed, tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in random_spans(seed)))
    with telemetry.warehouse() as connection:
        telemetry.stage(connection, telemetry.land(connection, [path]))
        staged = connection.sql("select * from staging.stg_spans").to_arrow_table()
        shape, traces = connection.execute(SHAPE).fetchall(), connection.execute(TRACES).fetchall()
    other = scratch.connect()
    other.register("given", staged)
    columns = {name for (name,) in other.execute(
        "select column_name from information_schema.columns where table_name = 'stg_spans' and table_schema = 'staging'"
    ).fetchall()}  # fmt: skip
    shared = ", ".join(name for name in staged.column_names if name in columns)
    other.execute(f"insert into staging.stg_spans by name select {shared} from given")
    scratch.derive(other)
    assert [row for row in shape if row[6]], "no cycle was made: the test shows less than it should"
    # Where a cycle is cut differs: the dbt model cuts at one node, the walk lists every node that no root reaches.
    cyclic = {row[0] for row in shape if row[6]}
    left = [row for row in shape if row[0] not in cyclic]
    assert left == [row for row in other.execute(SHAPE).fetchall() if row[0] not in cyclic]
    assert traces == other.execute(TRACES).fetchall()
    assert all(not row[5] for row in traces if row[0] in cyclic)
