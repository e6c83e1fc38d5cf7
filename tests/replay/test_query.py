"""One rule over a connection: verdicts, window, certificate, determinism."""

from datetime import datetime, timedelta

import duckdb
import pytest

from dagster_project.replay import scratch
from dagster_project.replay.explanation import explain
from dagster_project.replay.query import NothingToReplay, replay
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_inline

MIDNIGHT = datetime(2024, 1, 1)

CHARGES = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans: [%s]
    logs: [%s]
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""


def warehouse(spans, logs=""):
    """An in-memory warehouse with the spans and logs of one test."""
    catalogue = load_catalogue({"rules/x/x.yml": CHARGES % (spans, logs)})
    connection = scratch.connect()
    scratch.fill(connection, catalogue.rules[0].examples[0])
    return connection


def charge(trace, at, order, intent, attempt=1, more=""):
    attributes = f"{{order_id: {order}, payment_intent_id: {intent}, attempt: {attempt}, amount: 0.1}}"
    return f"{{name: payment.charge, trace: {trace}, at: {at}, attributes: {attributes}{more}}}"


PAYMENT = """
group_by: order_id
gap: 24h
let:
  charge: span("payment.charge")
when: any(charge where attempt > 1)
always: distinct(charge.payment_intent_id) == 1
report: {first: first(charge.payment_intent_id), exposed: sum(charge.amount), charges: count(charge)}
"""


def at(hours):
    return MIDNIGHT + timedelta(hours=hours)


def answer(connection, text, window=None):
    return replay(connection, read_inline(text), window)


def test_a_violation_is_told_with_witness_report_and_times():
    connection = warehouse(
        ", ".join(
            [
                charge("a", "0", "o-1", "pi_1"),
                charge("b", "10m", "o-1", "pi_1", 2),
                charge("c", "20m", "o-1", "pi_2", 3),
                charge("d", "0", "o-2", "pi_9", 2),
            ]
        )
    )
    found = answer(connection, PAYMENT)
    assert (found.certificate.violated, found.certificate.satisfied, found.certificate.inconclusive) == (1, 1, 0)
    (row,) = found.violations.to_pylist()
    assert row["scope_key"] == '"o-1"'
    assert row["reported"] == '{"first":"pi_1","exposed":0.3,"charges":3,"nulls_skipped":{"exposed":0}}'
    assert [span["span_id"] for span in row["witness"]] == [f"{1:016x}", f"{3:016x}"]
    assert (found.first_violation_at, found.last_violation_at) == (at(0), at(1 / 3))
    assert "exhaustive scan: every violation of what was received" in found.confidence


def test_sessions_end_after_the_gap_and_not_at_midnight():
    spans = [
        charge("a", "23h59m", "o-1", "pi_1"),
        charge("b", "24h1m", "o-1", "pi_2", 2),
        charge("c", "48h1m", "o-1", "pi_2", 2),
        charge("d", "72h1m1s", "o-1", "pi_3", 2),
    ]
    found = answer(warehouse(", ".join(spans)), PAYMENT)
    assert found.certificate.violated == 1
    assert found.violations.to_pylist()[0]["reported"].endswith('"charges":3,"nulls_skipped":{"exposed":0}}')
    assert found.certificate.satisfied == 1


@pytest.mark.parametrize(
    ("start", "end", "violated"),
    [(None, None, 1), (0, 1, 1), (0, 0.01, 1), (0.01, None, 0), (None, 0, 0), (1, 60, 0)],
)
def test_a_group_belongs_to_the_window_of_its_first_span(start, end, violated):
    connection = warehouse(
        ", ".join(
            [
                charge("a", "0", "o-1", "pi_1"),
                charge("b", "20h", "o-1", "pi_2", 2),
                charge("c", "40h", "o-1", "pi_3", 3),
            ]
        )
    )
    window = Window(None if start is None else at(start), None if end is None else at(end))
    assert answer(connection, PAYMENT, window).certificate.violated == violated


@pytest.mark.parametrize(("start", "end", "violated"), [(None, None, 2), (0, 1, 1), (1, 3, 1), (1.5, None, 0)])
def test_a_trace_belongs_to_the_window_of_its_first_span(start, end, violated):
    connection = warehouse(
        "{name: a, trace: t1}, {name: b, trace: t1, at: 2h},{name: a, trace: t2, at: 1h}, {name: b, trace: t2, at: 90m}"
    )
    window = Window(None if start is None else at(start), None if end is None else at(end))
    assert answer(connection, 'when: any(span("a")) never: any(span("b"))', window).certificate.violated == violated


def test_selective_and_exhaustive_questions_agree():
    spans = ", ".join(charge(f"t{n}", f"{n}m", f"o-{n % 7}", f"pi_{n % 3}", n % 4) for n in range(40))
    anchored = answer(warehouse(spans), PAYMENT)
    everything = answer(
        warehouse(spans),
        PAYMENT.replace("when: any(charge where attempt > 1)\n", "").replace(
            "always: distinct(charge.payment_intent_id) == 1",
            "never: any(charge where attempt > 1) and not distinct(charge.payment_intent_id) == 1",
        ),
    )
    assert anchored.violations.column("scope_key") == everything.violations.column("scope_key")
    assert anchored.certificate.violated > 0


def test_the_certificate_counts_what_it_names():
    connection = warehouse(
        ", ".join(
            [
                charge("a", "0", "o-1", "pi_1", 2),
                charge("b", "1m", "null", "pi_1", 2),
                charge("c", "2m", "o-3", "pi_1", 2, ", parent: gone"),
            ]
        ),
        "{body: x, trace: a}",
    )
    certificate = answer(connection, PAYMENT).certificate
    assert (certificate.spans_scanned, certificate.logs_scanned) == (3, 1)
    assert (certificate.traces_scanned, certificate.traces_complete, certificate.traces_incomplete) == (3, 2, 1)
    assert certificate.null_keys == 1
    assert (certificate.satisfied, certificate.inconclusive) == (1, 1)
    assert certificate.inconclusive_reasons == {"a trace of the group is incomplete": 1}
    assert certificate.unsettled == 2
    assert certificate.records_quarantined is None
    assert certificate.window_available == (at(0), at(0) + timedelta(minutes=2, milliseconds=1))
    connection.execute(
        "create schema audit; create table audit.quarantine (load_id bigint); insert into audit.quarantine values (1)"
    )
    found = answer(connection, PAYMENT)
    assert found.certificate.records_quarantined == 1
    assert found.confidence.startswith("lower bound")
    assert "1 scope cannot be judged" in found.confidence
    assert "1 record could not be read" in found.confidence


def test_not_applicable_is_the_rest_of_the_traces():
    certificate = answer(
        warehouse("{name: a, trace: t1}, {name: b, trace: t2}, {name: b, trace: t3}"),
        'when: any(span("a")) never: any(span("b"))',
    ).certificate
    assert (certificate.satisfied, certificate.not_applicable) == (1, 2)


def test_a_lost_trace_touches_the_groups_of_its_keys_only():
    spans = ", ".join(
        [
            charge("a", "0", "o-1", "pi_1", 2),
            charge("b", "0", "o-2", "pi_1", 2),
            "{name: checkout, trace: c, at: 1m, parent: gone, attributes: {order_id: o-2}}",
            "{name: checkout, trace: d, at: 1m, parent: gone, attributes: {order_id: o-3}}",
            "{name: checkout, trace: e, at: 30h, parent: gone, attributes: {order_id: o-1}}",
        ]
    )
    found = answer(warehouse(spans), PAYMENT)
    assert [row["scope_key"] for row in found.inconclusive.to_pylist()] == ['"o-2"', '"o-3"', '"o-1"']
    assert found.certificate.satisfied == 1


def test_violation_ids_are_stable_and_distinct():
    spans = ", ".join(
        [
            charge("a", "0", "o-1", "pi_1"),
            charge("b", "1m", "o-1", "pi_2", 2),
            charge("c", "0", "o-2", "pi_1"),
            charge("d", "1m", "o-2", "pi_2", 2),
        ]
    )
    first, second = (answer(warehouse(spans), PAYMENT).violations.column("violation_id").to_pylist() for _ in range(2))
    assert first == second
    assert len(set(first)) == 2


def test_nothing_is_left_on_the_connection():
    connection = warehouse("{name: a}")
    before = connection.execute("select count(*) from duckdb_tables()").fetchone()
    answer(connection, "always: any(span())")
    assert connection.execute("select count(*) from duckdb_tables()").fetchone() == before


def test_promoted_columns_are_used_where_they_are():
    connection = warehouse(", ".join([charge("a", "0", "o-1", "pi_1"), charge("b", "10m", "o-1", "pi_2", 2)]))
    plain = explain(connection, read_inline(PAYMENT))
    assert '"attributes"' in plain
    before = answer(connection, PAYMENT).violations.drop_columns([])
    for name, path, type_ in [
        ("attempt__number", "attempt", "double"),
        ("order_id__any", "order_id", "varchar"),
        ("payment_intent_id__any", "payment_intent_id", "varchar"),
        ("amount__number", "amount", "double"),
    ]:
        connection.execute(f"alter table staging.stg_spans add column attr__{name} {type_}")
        connection.execute(
            f"update staging.stg_spans set attr__{name} = cast(json_extract(attributes, '/{path}') as {type_})"
        )
    promoted = explain(connection, read_inline(PAYMENT)).split(";")[0]
    assert '"attr__attempt__number"' in promoted
    assert '"attributes"' not in promoted
    assert answer(connection, PAYMENT).violations == before


def test_a_connection_without_tables_is_refused():
    with pytest.raises(NothingToReplay, match=r"staging\.stg_spans, .* is missing"):
        answer(duckdb.connect(), "always: any(span())")


def test_log_records_of_a_trace_count_and_their_witness_is_their_span():
    connection = warehouse(
        "{name: a, id: s1}, {name: b, id: s2}",
        "{body: boom, severity: error, span: s2, at: 1s}, {body: boom, severity: error, at: 2s}",
    )
    found = answer(
        connection,
        "never: count(log(severity >= error)) > 1"
        " report: {text: first(log(severity >= error).body), at: first(log().start)}",
    )
    (row,) = found.violations.to_pylist()
    assert [span["span_id"] for span in row["witness"]] == [f"{2:016x}", None]
    assert row["reported"] == '{"text":"boom","at":"2024-01-01 00:00:01"}'


def test_sums_do_not_depend_on_the_order_of_rows():
    amounts = [0.1, 0.2, 0.3, 1e15, -1e15, 0.7]
    results = set()
    for shift in range(len(amounts)):
        turned = amounts[shift:] + amounts[:shift]
        spans = ", ".join(f"{{name: a, trace: t, attributes: {{v: {amount}}}}}" for amount in turned)
        found = answer(warehouse(spans), "detect: any(span()) report: {s: sum(span().v)}")
        results.add(found.violations.to_pylist()[0]["reported"])
    assert results == {'{"s":1.3,"nulls_skipped":{"s":0}}'}


def test_a_window_that_holds_nothing_is_no_clean_bill():
    connection = warehouse(charge("a", "0s", "o", "p"))
    empty = answer(connection, 'never: any(span("x"))', Window(at(1000), at(1001)))
    assert empty.confidence.startswith("says nothing")
    assert "exhaustive" in answer(connection, 'never: any(span("x"))').confidence
