"""The payment rule over orders of which is known which were charged twice, and which were hit by losses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from dagster_project.replay.certificate import UNDETECTABLE_LOSS
from dagster_project.replay.query import Replay, replay
from dagster_project.rule_language import Rule, read_rule
from dagster_project.scenarios import double_charges
from dagster_project.scenarios.double_charges import DoubleCharges

RULE = Path(__file__).parents[2] / "rules" / "payments" / "payment-idempotency.yml"
SMALL = DoubleCharges(orders=20_000, violations=714, near_misses=500)
LOSSY = DoubleCharges(orders=20_000, violations=714, near_misses=500, detectable_losses=600, hidden_losses=90)


# What the whitepaper prints, as its import leaves it: the file adds whose charges belong together, and until when.
PRINTED = """id: charge-idempotent
title: A retried charge reuses its payment intent
severity: critical
owner: payments
group_by: order_id
gap: 24h
assert: |
  trace.has(payment.charge).where(attempt > 1)
  and trace.count(payment.charge).where(payment_intent_id == unique) == 1
tests:
  - name: retry makes a new intent
    verdict: violated
    spans:
      - {name: payment.charge, attributes: {order_id: o-1, attempt: 1, payment_intent_id: pi_1}}
      - {name: payment.charge, attributes: {order_id: o-1, attempt: 2, payment_intent_id: pi_2}}
  - name: retry reuses the intent
    verdict: satisfied
    spans:
      - {name: payment.charge, attributes: {order_id: o-1, attempt: 1, payment_intent_id: pi_1}}
      - {name: payment.charge, attributes: {order_id: o-1, attempt: 2, payment_intent_id: pi_1}}
"""


def payment_rule() -> Rule:
    return read_rule(str(RULE), RULE.read_text())


def printed_rule() -> Rule:
    return read_rule("charge-idempotent.yml", PRINTED)


both_forms = pytest.mark.parametrize("rule", [payment_rule, printed_rule], ids=["ours", "printed"])


def generated(scenario: DoubleCharges, file: str = ":memory:") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(file)
    connection.execute("set timezone = 'UTC'")
    double_charges.generate(connection, scenario)
    return connection


def differences(connection: duckdb.DuckDBPyConnection, answer: Replay) -> dict[str, int]:
    """How many rows stand only in the answer or only in the truth."""
    found = {}
    for table, rows in (("violations", answer.violations), ("inconclusive", answer.inconclusive)):
        connection.register("answered", rows)
        query = f"""
            select count(*)
            from truth.{table} as planted
            full join answered
                on planted.order_key = answered.scope_key
                and planted.first_at = answered.first_span_at
                and planted.last_at = answered.last_span_at
            where planted.order_key is null or answered.scope_key is null
        """
        found[table] = connection.execute(query).fetchall()[0][0]
        connection.unregister("answered")
    return found


def counted(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(f"select count(*) from {query}").fetchall()[0][0])


@both_forms
def test_the_payment_rule_finds_exactly_the_orders_that_were_charged_twice(rule: Callable[[], Rule]):
    connection = generated(SMALL)
    answer = replay(connection, rule())
    assert differences(connection, answer) == {"violations": 0, "inconclusive": 0}
    certificate = answer.certificate
    assert certificate.violated == answer.violations.num_rows == SMALL.violations
    assert certificate.satisfied == counted(connection, "truth.satisfied") == 3 * SMALL.near_misses
    assert certificate.inconclusive == 0
    first, last = connection.execute("select min(first_at), max(last_at) from truth.violations").fetchall()[0]
    assert (answer.first_violation_at, answer.last_violation_at) == (first, last)
    assert certificate.spans_scanned == counted(connection, "staging.stg_spans")
    assert certificate.traces_scanned == certificate.traces_complete == counted(connection, "intermediate.int_traces")
    assert certificate.traces_incomplete == certificate.null_keys == certificate.logs_scanned == 0
    assert certificate.meaning_hash == rule().meaning_hash
    assert answer.confidence == "exhaustive scan: every violation of what was received"


def test_every_way_of_charging_twice_and_every_near_miss_is_there():
    connection = generated(SMALL)
    stories = dict(connection.execute("select story, count(*) from truth.violations group by all").fetchall())
    assert set(stories) == {"retry", "midnight", "edge", "third", "one trace"}
    assert min(stories.values()) >= 142
    near = dict(connection.execute("select story, count(*) from truth.satisfied group by all").fetchall())
    assert near["outside"] == near["shared"] == near["same"] + near["same at midnight"] == SMALL.near_misses
    crossing = "truth.violations where story = 'midnight' and first_at::date <> last_at::date"
    assert counted(connection, crossing) == stories["midnight"]


@both_forms
def test_what_detectable_losses_could_change_is_inconclusive_and_nothing_else(rule: Callable[[], Rule]):
    connection = generated(LOSSY)
    answer = replay(connection, rule())
    assert differences(connection, answer) == {"violations": 0, "inconclusive": 0}
    assert answer.certificate.satisfied == counted(connection, "truth.satisfied")
    assert answer.certificate.inconclusive == counted(connection, "truth.inconclusive") > 400
    assert answer.certificate.traces_incomplete == counted(connection, "truth.losses")
    kinds = connection.execute("select loss, count(*) from truth.losses group by all order by all").fetchall()
    assert [kind for kind, number in kinds if number > 150] == ["dropped", "parent", "root"]
    struck = "truth.violations inner join truth.losses using (order_key)"
    assert counted(connection, struck) > 20, "a violation that lost something stays one"
    assert answer.confidence.startswith("lower bound")


def test_a_lost_leaf_is_named_as_what_cannot_be_known():
    connection = generated(DoubleCharges(orders=20_000, violations=50, near_misses=50, hidden_losses=300))
    answer = replay(connection, payment_rule())
    assert answer.certificate.violated == 50
    assert counted(connection, "truth.hidden_violations") == 300
    connection.register("answered", answer.violations)
    assert counted(connection, "truth.hidden_violations inner join answered on order_key = scope_key") == 0
    assert answer.certificate.traces_incomplete == 0, "nothing shows that a leaf is missing"
    assert answer.certificate.undetectable_loss_note == UNDETECTABLE_LOSS
    assert "of what was received" in answer.confidence


def test_the_shape_of_its_traces_is_that_of_their_spans():
    connection = generated(LOSSY)
    # Nested sets: each number once in its trace, and as many intervals around a node as it is deep.
    numbers = """(
        select trace_id, count(distinct number) as different, max(number) as highest, count(*) as numbers
        from (
            select trace_id, unnest([nested_left, nested_right]) as number from intermediate.int_trace_shape
        ) group by trace_id
    ) where different <> numbers or highest <> numbers"""
    assert counted(connection, numbers) == 0
    depths = """(
        select inner_node.depth, count(outer_node.depth) as around
        from intermediate.int_trace_shape as inner_node
        left join intermediate.int_trace_shape as outer_node
            on inner_node.trace_id = outer_node.trace_id
            and outer_node.nested_left < inner_node.nested_left and outer_node.nested_right > inner_node.nested_right
        group by inner_node.trace_id, inner_node.span_id, inner_node.depth
    ) where depth <> around"""
    assert counted(connection, depths) == 0
    orphans = """intermediate.int_trace_shape as shape inner join staging.stg_spans as child using (trace_id, span_id)
        left join staging.stg_spans as parent
            on child.trace_id = parent.trace_id and child.parent_span_id = parent.span_id
        where shape.is_orphan <> (child.parent_span_id is not null and parent.span_id is null)
            or shape.is_root <> (child.parent_span_id is null)"""
    assert counted(connection, orphans) == 0


def test_too_many_stories_are_refused():
    with pytest.raises(ValueError, match="too few to hide"):
        DoubleCharges(orders=100, violations=100)


@pytest.mark.skipif(
    "HINDCAST_FULL_SCENARIO" not in os.environ, reason="5 million orders take minutes; set HINDCAST_FULL_SCENARIO=1"
)
@pytest.mark.parametrize("losses", [(0, 0), (10_000, 1_000)])
def test_five_million_orders(tmp_path: Path, losses: tuple[int, int], capsys: pytest.CaptureFixture[str]):
    detectable, hidden = losses
    scenario = DoubleCharges(detectable_losses=detectable, hidden_losses=hidden)
    connection = generated(scenario, str(tmp_path / "orders.duckdb"))
    for rule in (payment_rule(), printed_rule()):
        began = time.perf_counter()
        answer = replay(connection, rule)
        seconds = time.perf_counter() - began
        with capsys.disabled():
            print(f"\n{rule.id}: {answer.certificate.spans_scanned:,} spans, losses {losses}: {seconds:.2f} s")  # noqa: T201
        assert differences(connection, answer) == {"violations": 0, "inconclusive": 0}
        assert answer.certificate.violated == 7_147
        assert answer.certificate.satisfied == counted(connection, "truth.satisfied")
