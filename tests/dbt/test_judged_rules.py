"""Which traces the generated verdicts judge again: touched ones, and all of them for a rule that is new."""

import time

import pytest
from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper

from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt.models import generate
from dagster_project.transformation import limits, locked_dbt

SLOW = """
id: no-slow-buy
title: Buying is not slow
severity: low
owner: shop
when: any(span("buy"))
always: none(span("buy") where duration > 10s)
tests:
  - {name: a, verdict: violated, spans: [{name: buy, duration: 11s}]}
  - {name: b, verdict: satisfied, spans: [{name: buy}]}
"""
RARE = """
id: refund-is-logged
title: A refund is logged
severity: low
owner: shop
when: any(span("refund"))
always: any(log())
tests:
  - {name: a, verdict: violated, spans: [{name: refund}]}
  - {name: b, verdict: satisfied, spans: [{name: refund}], logs: [{body: x}]}
"""
NEW_YEAR, TWELFTH_NIGHT = ("2024-01-01", "2024-01-02"), ("2024-01-06", "2024-01-07")
VERDICTS = "+verdicts__trace"


@pytest.fixture
def project(own_project):
    """The project with what is really generated from rules."""

    def write(*rules):
        texts = {f"rules/shop/{rule.split()[1]}.yml": rule for rule in rules}
        for name, text in generate(load_catalogue(texts)).items():
            (own_project.root / name).write_text(text)
        own_project.manifest = None
        return own_project

    return write


def replay(project, warehouse, window, *, select=VERDICTS):
    return project.run(warehouse, "run", "--select", select, replay_from=window[0], replay_until=window[1])


def judged(warehouse, table="verdicts__trace"):
    return warehouse.rows(
        f"select rule_id, right(trace_ids[1]::varchar, 1), verdict from violations.{table} order by all"
    )


def test_a_rule_that_never_applied_is_not_judged_over_all_history_again(project, warehouse):
    both = project(SLOW, RARE)
    warehouse.insert_spans([{"trace": 1, "at": "2024-01-01 10:00:00"}])
    replay(both, warehouse, NEW_YEAR)
    before = warehouse.rows("from audit.judged_rules order by all")
    assert [rule for _, rule, _ in before] == ["no-slow-buy", "refund-is-logged"]

    # A refund that is staged and not yet judged shows which traces the next run looks at.
    warehouse.insert_spans([{"trace": 2, "name": "refund", "at": "2024-01-01 11:00:00", "load_id": 2}])
    replay(both, warehouse, NEW_YEAR, select="+int_traces")
    warehouse.insert_spans([{"trace": 3, "at": "2024-01-06 11:00:00", "load_id": 3}])
    replay(both, warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied"), ("no-slow-buy", "3", "satisfied")]
    assert warehouse.rows("from audit.judged_rules order by all") == before


def test_a_new_rule_is_judged_over_all_history_and_a_gone_one_forgotten(project, warehouse):
    warehouse.insert_spans([{"trace": 1}, {"trace": 2, "span": 2, "name": "refund"}])
    replay(project(SLOW), warehouse, NEW_YEAR)
    replay(project(SLOW, RARE), warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied"), ("refund-is-logged", "2", "violated")]
    replay(project(RARE), warehouse, TWELFTH_NIGHT)
    assert warehouse.rows("select rule_id from audit.judged_rules") == [("refund-is-logged",)]
    replay(project(SLOW, RARE), warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied"), ("refund-is-logged", "2", "violated")]


def test_verdicts_of_an_older_version_are_judged_once_more_and_not_doubled(project, warehouse):
    both = project(SLOW, RARE)
    warehouse.insert_spans([{"trace": 1}])
    replay(both, warehouse, NEW_YEAR)
    warehouse.write("delete from audit.judged_rules")
    replay(both, warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied")]


PAID = """
id: paid-once
title: An order is paid once
severity: low
owner: shop
group_by: order
gap: 1h
when: any(span("pay"))
always: count(span("pay")) == 1
tests:
  - {name: a, verdict: violated, spans: [{name: pay, attributes: {order: 1}}, {name: pay, attributes: {order: 1}}]}
  - {name: b, verdict: satisfied, spans: [{name: pay, attributes: {order: 1}}]}
"""
CHANGES = "select change, verdict, superseded_by_verdict, cause, replay_id from audit.verdict_history order by rowid"


def pay(trace, order, at, **more):
    return {"trace": trace, "name": "pay", "at": at, "attributes": f'{{"order": {order}}}', "load_id": trace} | more


def test_groups_are_judged_where_a_key_was_touched_and_what_held_before_is_kept(project, warehouse):
    paid = project(PAID)
    everything = "+fct_violations"
    warehouse.insert_spans([pay(1, 7, "2024-01-01 10:00:00"), pay(2, 8, "2024-01-01 11:00:00")])
    replay(paid, warehouse, NEW_YEAR, select=everything)
    assert judged(warehouse, "fct_verdicts") == [("paid-once", "1", "satisfied"), ("paid-once", "2", "satisfied")]
    assert warehouse.rows(CHANGES) == []

    # Of order 9 a payment is staged and not yet judged; order 7 is paid again on another day, within the gap.
    warehouse.insert_spans([pay(3, 9, "2024-01-01 23:59:00"), pay(4, 7, "2024-01-01 10:59:00")])
    replay(paid, warehouse, NEW_YEAR, select="+int_traces")
    warehouse.insert_spans([pay(5, 7, "2024-01-02 12:00:00"), pay(6, 9, "2024-01-02 00:01:00")])
    replay(paid, warehouse, ("2024-01-02", "2024-01-03"), select=everything)
    assert judged(warehouse, "fct_verdicts") == [
        ("paid-once", "1", "violated"),
        ("paid-once", "2", "satisfied"),
        ("paid-once", "3", "violated"),
        ("paid-once", "5", "satisfied"),
    ]
    assert sorted(warehouse.rows(CHANGES)) == [
        ("appeared", "violated", None, None, 1),
        ("appeared", "violated", None, None, 1),
        ("superseded", "satisfied", "violated", "judged again", 1),
    ]

    # The load that brought the second payment of order 7 gives way to one without it: nothing of it is left to touch.
    warehouse.write("delete from raw.spans where load_id = 4")
    replay(paid, warehouse, NEW_YEAR, select=everything)
    assert warehouse.rows("select count(*) from audit.vanished_traces") == [(1,)]
    assert judged(warehouse, "fct_violations") == [("paid-once", "3", "violated")]
    assert ("superseded", "violated", "satisfied", "judged again", 1) in warehouse.rows(CHANGES)
    assert warehouse.rows("select count(*) from intermediate.int_traces") == [(5,)]

    # A new title judges nothing again, a new meaning everything, and a rule that is gone leaves its history.
    before = warehouse.rows("select count(*) from audit.verdict_history")
    replay(project(PAID.replace("An order", "Each order")), warehouse, TWELFTH_NIGHT, select=everything)
    assert warehouse.rows("select count(*) from audit.verdict_history") == before
    replay(project(PAID.replace("== 1", "<= 2")), warehouse, TWELFTH_NIGHT, select=everything)
    assert {row[2] for row in judged(warehouse, "fct_verdicts")} == {"satisfied"}
    assert warehouse.rows("select count(*) from audit.verdict_history where cause = 'rule changed'") == [(4,)]
    replay(project(SLOW), warehouse, TWELFTH_NIGHT, select=everything)
    assert warehouse.rows("select count(*) from information_schema.tables where table_name = 'verdicts__by_order'") == [
        (0,)
    ]
    assert warehouse.rows("select distinct model from audit.judged_rules") == [("verdicts__trace",)]
    assert warehouse.rows("select count(*) from audit.verdict_history where cause = 'rule changed'") == [(8,)]


def test_a_rule_that_is_taken_out_stays_as_it_was_and_is_judged_whole_when_it_is_back(project, warehouse):
    both = project(SLOW, RARE)
    warehouse.insert_spans([{"trace": 1}, {"trace": 2, "span": 2, "name": "refund"}])
    replay(both, warehouse, NEW_YEAR)
    warehouse.write(
        "insert into audit.rules_taken_out select rule_id, meaning_hash, 'memory', now()::timestamp"
        " from audit.judged_rules where rule_id = 'refund-is-logged'"
    )
    warehouse.insert_spans([{"trace": 3}, {"trace": 4, "span": 2, "name": "refund"}])
    replay(both, warehouse, NEW_YEAR)
    before = [
        ("no-slow-buy", "1", "satisfied"),
        ("no-slow-buy", "3", "satisfied"),
        ("refund-is-logged", "2", "violated"),
    ]
    assert judged(warehouse) == before
    warehouse.write("delete from audit.rules_taken_out")
    replay(both, warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [*before, ("refund-is-logged", "4", "violated")]


def test_a_rule_that_would_run_for_ever_is_interrupted_and_the_others_go_on_without_it(project, warehouse, monkeypatch):
    both = project(SLOW, RARE)
    model = both.root / "models/violations/generated/verdicts__trace.sql"
    # No rule of a test is slow enough: pairs of a thousand billion things are put beside one.
    endless = (
        "\nUNION ALL SELECT * FROM ({}) AS pairs WHERE (SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b"
    )
    text = model.read_text()
    nothing = text[text.index("SELECT\n  CAST(NULL AS TEXT)") : text.index("{%- if 'no-slow-buy")]
    begins = text.index("not in taken_out %}", text.index("if 'refund-is-logged:")) + len("not in taken_out %}")
    planted = endless.format(nothing.replace("FALSE", "TRUE")) + " WHERE a.range * b.range % 7 = 8) > 0"
    model.write_text(text[:begins] + planted + text[begins:])
    warehouse.insert_spans([{"trace": 1}, {"trace": 2, "span": 2, "name": "refund"}])
    # Puts the original back when the test is over.
    monkeypatch.setattr(DuckDBCursorWrapper, "execute", DuckDBCursorWrapper.execute)
    locked_dbt.limit_rules(1.0)
    began = time.monotonic()
    with pytest.raises(AssertionError) as failed:
        replay(both, warehouse, NEW_YEAR)
    assert time.monotonic() - began < 60
    assert limits.is_of_time(str(failed.value))
    locked_dbt.limit_rules(20.0)
    (rare,) = load_catalogue({"rules/shop/refund-is-logged.yml": RARE}).rules
    warehouse.write(
        "insert into audit.rules_taken_out values (?, ?, 'more than 1 s', now()::timestamp)",
        [rare.id, rare.meaning_hash],
    )
    replay(both, warehouse, NEW_YEAR)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied")]
