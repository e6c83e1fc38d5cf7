"""Which traces the generated verdicts judge again: touched ones, and all of them for a rule that is new."""

import pytest

from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt_models import generate

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


def judged(warehouse):
    return warehouse.rows(
        "select rule_id, right(trace_ids[1]::varchar, 1), verdict from violations.verdicts__trace order by all"
    )


def test_a_rule_that_never_applied_is_not_judged_over_all_history_again(project, warehouse):
    both = project(SLOW, RARE)
    warehouse.insert_spans([{"trace": 1, "at": "2024-01-01 10:00:00"}])
    replay(both, warehouse, NEW_YEAR)
    before = warehouse.rows("from audit.judged_rules order by all")
    assert [rule for rule, _ in before] == ["no-slow-buy", "refund-is-logged"]

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
    warehouse.write("drop table audit.judged_rules")
    replay(both, warehouse, TWELFTH_NIGHT)
    assert judged(warehouse) == [("no-slow-buy", "1", "satisfied")]
