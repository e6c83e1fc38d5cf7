"""What becomes of violations: suppressed, in shadow, new, resolved; certificates; the four questions, in two nights."""

import pytest

from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt.models import generate

RULE = """
id: {id}
title: {id}
severity: low
owner: shop
status: {status}
{says}
tests:
  - {{name: a, verdict: violated, {twice}}}
  - {{name: b, verdict: satisfied, spans: [{{name: pay, attributes: {{order: 1}}}}]}}
"""
PAID = 'group_by: order\ngap: 1h\nalways: count(span("pay")) == 1\nreport: {amount: sum(span("pay").amount)}'
TWICE = "spans: [{name: pay, attributes: {order: 1}}, {name: pay, attributes: {order: 1}}]"
RULES = {
    "paid-once": RULE.format(id="paid-once", status="active", says=PAID, twice=TWICE),
    "once-a-trace": RULE.format(
        id="once-a-trace", status="shadow", twice=TWICE, says='when: any(span("pay"))\nalways: count(span("pay")) == 1'
    ),
}
MARTS = (
    *("mart_certificates", "mart_violation_lifecycle", "mart_violation_scope", "mart_violation_hours"),
    *("mart_violation_onset", "mart_violation_blast_radius", "mart_violation_correlation"),
)
LOAD = (
    "insert into audit.loads select {id}, '{source}', 'otlp_traces', 'f{id}', 'h{id}', 'loaded', null, 1, 1, {read},"
    " {landed}, {refused}, [], [date '2024-01-01'], null, timestamp '{at}', timestamp '{at}', 'v', 'raw.spans', null,"
    " null, {ratio}, null, null, 0"
)


def pay(trace, order, at="10:00:00", day=1, span=1, **more):
    attributes = {"amount": 5} | ({"order": order} if order else {}) | more.pop("attributes", {})
    text = "{" + ", ".join(f'"{key}": {value}' for key, value in attributes.items()) + "}"
    return {"trace": trace, "span": span, "name": "pay", "at": f"2024-01-0{day} {at}", "attributes": text, **more}


@pytest.fixture
def project(own_project):
    for name, text in generate(
        load_catalogue({f"rules/shop/{name}.yml": text for name, text in RULES.items()})
    ).items():
        (own_project.root / name).write_text(text)
    own_project.manifest = None
    return own_project


def run(project, warehouse, **window):
    return project.run(warehouse, "run", "--select", *(f"+{mart}" for mart in MARTS), **window)


def test_violations_from_their_first_night_to_their_last(project, warehouse):
    warehouse.insert_spans(
        [
            pay(1, 7),
            pay(2, 7, "10:30:00"),  # the order is paid twice: suppressed
            pay(3, 8),
            pay(4, 8, "10:30:00", attributes={"sampling.probability": 0.25}),  # twice
            pay(5, 9, "11:00:00", state="vendor=1, ot=rv:1;th:c"),  # a quarter was kept
            pay(6, None, "11:00:00"),  # no order: a null key
            pay(7, None, "11:00:00", parent=99),  # its parent is missing
            pay(8, 6, "23:59:00"),
            pay(8, 6, "23:59:30", span=2, parent=1, service="bank"),  # twice in one trace
        ]
    )
    warehouse.write(LOAD.format(id=1, source="web", read=11, landed=9, refused=2, at="2024-01-02", ratio="0.5"))
    warehouse.write(LOAD.format(id=2, source="web", read=3, landed=3, refused=0, at="2024-01-04", ratio="null"))
    warehouse.write(
        "insert into audit.quarantine (load_id, line, record, reason)"
        " values (1, 1, 1, 'bad_json'), (1, 2, 1, 'bad_json')"
    )
    said = "timestamp '2024-01-01', {}"
    warehouse.write(
        "insert into audit.suppressions values"
        f" (1, 'paid-once', '7', null, 'ana', 'refunded', date '2024-02-01', {said.format('true')}),"
        f" (2, 'paid-once', '8', null, 'bo', 'expired', date '2023-12-31', {said.format('false')})"
    )
    run(project, warehouse)
    done = project.run(warehouse, "test", "--select", *MARTS, "--exclude", "relationships*")
    assert {"reported_numbers_are_added_and_texts_are_counted", "places_without_a_violation_are_named"} <= done

    lifecycle = "select rule_id, scope_key, lifecycle, is_alerting from marts.mart_violation_lifecycle order by all"
    in_trace = "00000000-0000-0000-0000-000000000008"
    assert warehouse.rows(lifecycle) == [
        ("once-a-trace", in_trace, "new", False),  # in shadow: judged, and no alarm
        ("paid-once", "6", "new", True),
        ("paid-once", "7", "suppressed", False),
        ("paid-once", "8", "new", True),
    ]
    assert warehouse.rows(
        "select scope_key, suppressed_by, suppression_reason, suppressed_until::varchar"
        " from violations.fct_violations where is_suppressed"
    ) == [("7", "ana", "refunded", "2024-02-01")]

    certificates = {
        row[0]: row[1:]
        for row in warehouse.rows(
            "select rule_id, spans_scanned, traces_incomplete, records_quarantined, late_records, null_keys, violated,"
            " suppressed, satisfied, not_applicable, unsettled, is_exhaustive, settled_until::varchar, days_scanned,"
            " sampling.declared, sampling.with_probability, sampling.lowest_probability, sampling.with_threshold,"
            " sampling.lowest_threshold_probability, engine, code_version <> ''"
            " from marts.mart_certificates"
        )
    }
    seen = (1, [{"source": "web", "lowest": 0.5}], 1, 0.25, 1, 0.25)
    assert certificates["paid-once"][:12] == (9, 1, 2, 3, 2, 3, 1, 1, 0, 1, True, "2024-01-01 22:59:30")
    assert certificates["paid-once"][12:18] == seen
    assert certificates["once-a-trace"][4:10] == (0, 1, 0, 6, 0, 1)
    assert certificates["once-a-trace"][18].startswith("duckdb ")
    assert warehouse.rows("select replay_id, rule_id, violated from audit.rule_replays order by all") == [
        (1, "once-a-trace", 1),
        (1, "paid-once", 3),
    ]

    assert warehouse.rows(
        "select violations, suppressed, scopes, traces, reported[1].total from marts.mart_violation_scope"
        " where rule_id = 'paid-once'"
    ) == [(3, 1, 3, 5, 30.0)]
    assert warehouse.rows(
        "select hour_at::varchar, violations, violations_so_far from marts.mart_violation_hours"
        " where rule_id = 'paid-once' order by 1"
    ) == [("2024-01-01 10:00:00", 2, 2), ("2024-01-01 23:00:00", 1, 3)]
    assert warehouse.rows(
        "select rule_id, value, violations, traces_received from marts.mart_violation_blast_radius"
        " where dimension = 'service' order by all"
    ) == [
        ("once-a-trace", "bank", 1, 1),
        ("once-a-trace", "shop", 1, 8),
        ("paid-once", "bank", 1, 1),
        ("paid-once", "shop", 3, 8),
    ]

    # The next night: order 9 is paid again, order 6 turns out to be two orders, a suppression has expired.
    warehouse.write(
        "insert into audit.replays values (1, '2024-01-01', '2024-01-01', 1, 'm', 'v', timestamp '2024-01-02')"
    )
    warehouse.insert_spans([pay(9, 9, "11:30:00", load_id=2)])
    warehouse.write(
        "update raw.spans set attributes = ? where trace_id = ? and span_id = 2", ['{"order": 5}', in_trace]
    )
    warehouse.write("update audit.suppressions set is_in_force = false")
    run(project, warehouse, replay_from="2024-01-01", replay_until="2024-01-02")
    assert warehouse.rows(lifecycle) == [
        ("once-a-trace", in_trace, "ongoing", False),
        ("paid-once", "6", "resolved", False),
        ("paid-once", "7", "ongoing", True),
        ("paid-once", "8", "ongoing", True),
        ("paid-once", "9", "new", True),
    ]
    assert warehouse.rows(
        "select since_replay_id, resolved_replay_id, resolved_because from marts.mart_violation_lifecycle"
        " where lifecycle in ('new', 'resolved') order by scope_key"
    ) == [(1, 2, "late data"), (2, None, None)]
