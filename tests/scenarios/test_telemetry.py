"""Generated telemetry: its stated shape, its columns, and that what is planted is what rules find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from dagster_project.replay.query import replay
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.meaning.attributes import promoted_column
from dagster_project.scenarios import telemetry
from dagster_project.scenarios.tables import PROMOTED
from dagster_project.scenarios.telemetry import Shape

MODELS = Path(__file__).parents[2] / "dbt" / "models"
SMALL = Shape(traces=40_000, days=10, violations=40, incomplete=60)
RULES = {
    "truth.missing_reservations": """
        let: {place: span("order.place"), reserve: span("stock.reserve")}
        when: any(place)
        always: any(reserve)
    """,
    "truth.early_refunds": """
        let: {approval: span("approval.granted"), refund: span("refund.issue")}
        when: any(refund)
        always: approval before refund
    """,
    "truth.writes_below_caches": """
        never: any(span("cache.refresh") >> span("db.write"))
    """,
    "truth.foreign_tenants": """
        let:
          all_spans: span()
        always: all(s in all_spans: s.tenant_id == root.tenant_id)
    """,
    "truth.double_charges": """
        let: {charge: span("payment.charge")}
        group_by: order_id
        gap: 24h
        when: any(charge where attempt > 1)
        always: distinct(charge.payment_intent_id) == 1
    """,
    "truth.refused_logins": """
        group_by: customer_id
        gap: 2h
        detect: count(span("auth.login") where result == "refused") >= 3
    """,
}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    made = duckdb.connect()
    made.execute("set timezone = 'UTC'")
    telemetry.generate(made, SMALL)
    yield made
    made.close()


def one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]


def test_it_has_five_spans_a_trace_over_thirty_services_and_the_days(connection):
    lost = one(connection, "select count(*) from truth.incomplete_traces where loss = 'root'")
    assert one(connection, "select count(*) from staging.stg_spans") == 5 * SMALL.traces - lost
    assert one(connection, "select count(*) from intermediate.int_traces") == SMALL.traces
    assert one(connection, "select count(distinct service_name) from staging.stg_spans") == 30
    days = one(connection, "select count(distinct started_on) from staging.stg_spans")
    assert days in {SMALL.days, SMALL.days + 1}
    assert one(connection, "select count(*) filter (max_depth >= 20) from intermediate.int_traces") == 200
    assert one(connection, "select count(*) filter (duration_ns > 2e12) from intermediate.int_traces") == 200
    order_traces = "select count(distinct trace_id) as n from staging.stg_spans group by attr__order_id__any"
    assert one(connection, f"select median(n) from ({order_traces})") == 4


def test_names_follow_zipf(connection):
    counts = connection.execute(
        "select count(*) from staging.stg_spans where span_name like 'operation.%' group by span_name order by 1 desc"
    ).fetchall()
    # Of a law of exponent 1, the first is a little more than twice as frequent as the second, and so on.
    assert 0.75 < counts[0][0] / (2 * counts[1][0]) < 1.25
    assert 0.6 < counts[0][0] / (10 * counts[9][0]) < 1.6
    assert len(counts) > 250


def test_rows_are_laid_out_as_in_a_warehouse(connection):
    out_of_order = """
        select count(*) from (
            select
                {'a': started_on, 'b': service_name, 'c': span_name, 'd': started_at} as place,
                lag(place) over (order by rowid) as before
            from staging.stg_spans
        ) where before > place
    """
    assert one(connection, out_of_order) == 0


def test_the_same_shape_is_the_same_rows(connection):
    again = duckdb.connect()
    telemetry.generate(again, SMALL)
    query = "select bit_xor(hash(s)) from staging.stg_spans as s"
    assert one(again, query) == one(connection, query)


@pytest.mark.parametrize(
    ("folder", "model"),
    [
        *(("staging", name) for name in ("stg_spans", "stg_logs", "stg_span_events", "stg_span_links")),
        *(("staging", name) for name in ("stg_metric_points", "stg_deploys")),
        *(("intermediate", name) for name in ("int_traces", "int_trace_shape", "int_incidents")),
    ],
)
def test_tables_have_the_columns_of_the_models(connection, folder, model):
    document = yaml.safe_load((MODELS / folder / f"{model}.yml").read_text())
    (described,) = [each for each in document["models"] if each["name"] == model]
    wanted = {each["name"]: each["data_type"].lower() for each in described["columns"]}
    found = dict(
        connection.execute(
            "select column_name, lower(data_type) from duckdb_columns() where schema_name = ? and table_name = ?",
            [folder, model],
        ).fetchall()
    )
    assert {name: type_ for name, type_ in found.items() if not name.startswith("attr__")} == wanted


def test_promoted_columns_are_named_as_the_language_names_them_and_hold_what_the_json_says(connection):
    for column in PROMOTED:
        _attr, path, type_ = column.split("__")
        assert promoted_column(path, type_) == column
        as_text = f"attributes->>'/{path}'"
        value = {"any": f"json_extract(attributes, '/{path}')::varchar", "number": f"({as_text})::double"}
        differing = f'"{column}" is distinct from {value.get(type_, as_text)} and {as_text} is not null'
        assert one(connection, f"select count(*) from staging.stg_spans where {differing}") == 0
        assert one(connection, f'select count("{column}") from staging.stg_spans') > 0


@pytest.mark.parametrize("truth", RULES)
def test_rules_find_exactly_what_is_planted(connection, truth):
    answer = replay(connection, read_inline(RULES[truth]))
    rows = connection.execute(f"from {truth}").fetchall()
    planted = sorted(str(row[0]).replace("-", "") for row in rows)
    assert len(planted) > 20
    assert sorted(key.replace("-", "") for key in answer.violations["scope_key"].to_pylist()) == planted
    if len(rows[0]) > 1:
        assert (answer.first_violation_at, answer.last_violation_at) == (
            min(row[1] for row in rows),
            max(row[2] for row in rows),
        )


def test_incomplete_traces_are_those_that_lost_something(connection):
    query = """
        select count(*) from intermediate.int_traces as t
        full join truth.incomplete_traces as l using (trace_id)
        where t.is_complete = (l.loss is not null)
    """
    assert one(connection, query) == 0
    assert one(connection, "select count(distinct loss) from truth.incomplete_traces") == 2


def test_places_in_the_tree_are_those_of_the_parents(connection):
    wrong = """
        select count(*)
        from staging.stg_spans as span
        inner join intermediate.int_trace_shape as shape using (trace_id, span_id, kind)
        left join staging.stg_spans as parent
            on span.trace_id = parent.trace_id and span.parent_span_id = parent.span_id
        left join intermediate.int_trace_shape as above
            on parent.trace_id = above.trace_id and parent.span_id = above.span_id and parent.kind = above.kind
        where
            shape.is_orphan <> (span.parent_span_id is not null and parent.span_id is null)
            or shape.depth <> coalesce(above.depth + 1, 0)
            or not coalesce(
                above.nested_left < shape.nested_left and above.nested_right > shape.nested_right, shape.depth = 0
            )
            or 2 * shape.subtree_size <> shape.nested_right - shape.nested_left + 1
    """
    assert one(connection, wrong) == 0


def test_a_shape_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"at least 1,000 traces"):
        Shape(traces=10)
