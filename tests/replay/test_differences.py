from datetime import date

import pytest

from dagster_project.replay import differences, scratch
from dagster_project.replay.differences import difference
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_inline

DATA = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans:
      - {name: pay, trace: t1, attributes: {k: 1, n: 1}}
      - {name: pay, trace: t2, at: 10m, attributes: {k: 1, n: 2}}
      - {name: pay, trace: t3, at: 30h, attributes: {k: 2, n: 3}}
      - {name: look, trace: t4, at: 31h, attributes: {k: 3}}
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    yield made
    made.close()


def between(connection, old, new, window=None):
    return difference(connection, read_inline(old), read_inline(new), window or Window())


def test_what_a_change_adds_and_removes_is_told_with_the_other_verdict(connection):
    made = between(
        connection, 'never: any(span("pay") where n < 3)', 'when: any(span("pay")) never: any(span() where n > 1)'
    )
    assert (made.old_violations, made.new_violations, made.kept) == (2, 2, 1)
    assert made.added.violations == made.removed.violations == 1
    assert made.added.verdicts == ({"verdict": "satisfied", "violations": 1},)
    assert made.added.examples[0]["scope_key"] == scratch.trace_uuid("t3").hex
    assert made.removed.examples[0]["scope_key"] == scratch.trace_uuid("t1").hex
    assert made.by_day == (
        {"day": date(2024, 1, 1), "added": 0, "removed": 1}, {"day": date(2024, 1, 2), "added": 1, "removed": 0},
    )  # fmt: skip
    assert not made.is_same_meaning


def test_a_scope_that_the_other_rule_does_not_apply_to_is_said_to_be_one(connection):
    made = between(connection, 'when: any(span("look")) never: any(span("x"))', 'never: any(span("pay"))')
    assert made.added.verdicts == ({"verdict": "not applicable", "violations": 3},)


def test_another_title_means_the_same_and_changes_nothing(connection):
    made = between(connection, 'title: a never: any(span("pay"))', 'title: b never: any(span("pay"))')
    assert made.is_same_meaning
    assert made.is_empty
    assert made.kept == 3


def test_groups_are_the_same_where_their_times_overlap(connection):
    rule = 'group_by: k gap: {} never: any(span("pay"))'
    made = between(connection, rule.format("1h"), rule.format("1m"))
    assert (made.old_violations, made.new_violations) == (2, 3)
    assert made.is_empty, "the two parts of a group that is split lie in it"


def test_a_trace_and_a_group_are_compared_by_their_traces(connection):
    made = between(connection, 'never: any(span("pay"))', 'group_by: k gap: 1h never: any(span("pay") where n > 2)')
    assert (made.added.violations, made.removed.violations) == (0, 2)


def test_the_window_holds_for_both(connection):
    from datetime import datetime

    made = between(connection, 'never: any(span("x"))', 'never: any(span("pay"))', Window(datetime(2024, 1, 2)))
    assert made.added.violations == 1


def test_nothing_is_left_on_the_connection(connection):
    between(connection, 'never: any(span("x"))', 'never: any(span("pay"))')
    assert connection.execute("select count(*) from duckdb_tables() where temporary").fetchall() == [(0,)]


def test_keys_of_other_attributes_are_other_things(connection):
    made = between(
        connection, 'group_by: k gap: 1h never: any(span("pay"))', 'group_by: n gap: 1h never: any(span("pay"))'
    )
    # k = 1 has t1 and t2, k = 2 has t3; n = 1, 2, 3 are t1, t2, t3: every scope has a trace in common with one.
    assert (made.old_violations, made.new_violations) == (2, 3)
    assert made.is_empty
    made = between(
        connection, 'group_by: k gap: 1h never: any(span("pay") where n = 3)',
        'group_by: n gap: 1h never: any(span("pay") where n = 2)',
    )  # fmt: skip
    assert (made.added.violations, made.removed.violations) == (1, 1), "the key 2 of both is not one thing"


def test_what_is_satisfied_is_counted_though_no_violation_differs(connection):
    made = between(connection, 'never: any(span("x"))', 'when: any(span("look")) never: any(span("x"))')
    assert made.is_empty
    assert not made.is_same_meaning
    assert (made.old_satisfied, made.new_satisfied) == (4, 1)


def test_days_beyond_the_bound_are_counted(connection, monkeypatch):
    monkeypatch.setattr(differences, "MOST_DAYS", 1)
    made = between(connection, 'never: any(span("x"))', 'never: any(span("pay"))')
    assert (len(made.by_day), made.days) == (1, 2)


def test_no_join_of_two_rules_is_a_nested_loop(connection):
    columns = "violation_id text, verdict text, scope_key text, first_span_at timestamp, last_span_at timestamp"
    connection.execute(f"create or replace temp table plan_of ({columns}, trace_ids uuid[])")
    try:
        for matched in differences._MATCHED.values():
            query = "explain " + matched.format(here="plan_of", there="plan_of")
            plan = connection.execute(query).fetchall()[0][1].lower().replace("_", " ")
            assert "hash join" in plan
            assert "nested loop" not in plan
    finally:
        connection.execute("drop table plan_of")
