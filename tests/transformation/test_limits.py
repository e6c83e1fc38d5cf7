"""Rules that hit a limit by themselves are found among those of a plan group, and only they are left out."""

import pytest

from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue
from dagster_project.transformation import limits, time_limit
from dagster_project.warehouse.connection import migrate

RULE = """
id: {id}
title: T
severity: low
owner: shop
never: any(span("{name}"))
tests:
  - {{name: a, verdict: violated, spans: [{{name: "{name}"}}]}}
  - {{name: b, verdict: satisfied, spans: [{{name: other}}]}}
"""


@pytest.fixture
def catalogue():
    return load_catalogue({f"rules/shop/{name}.yml": RULE.format(id=name, name=name) for name in ("quick", "endless")})


@pytest.fixture
def warehouse():
    connection = scratch.connect()
    migrate(connection)
    # A table of which one rule alone meets a row that takes for ever.
    connection.execute("alter table staging.stg_spans rename to few_spans")
    connection.execute(
        "create view staging.stg_spans as from staging.few_spans union all by name"
        " select gen_random_uuid() as trace_id, 1::ubigint as span_id, 'endless' as span_name, 'internal' as kind,"
        " timestamp_ns '2024-01-01' as started_at, timestamp_ns '2024-01-01' as ended_at,"
        " date '2024-01-01' as started_on"
        " from range(1000000000)"
    )
    yield connection
    connection.close()


def test_the_rule_that_takes_too_long_is_taken_out_and_the_others_are_not(warehouse, catalogue):
    warehouse.execute("set memory_limit = '200MB'")
    warehouse.execute("set max_temp_directory_size = '0B'")
    found = limits.take_out(warehouse, catalogue, ["verdicts__trace", "stg_spans"], seconds=0.5)
    assert list(found) == ["endless"]
    assert "limit of the engine" in found["endless"]
    assert limits.taken_out(warehouse) == [("endless", found["endless"])]
    limits.begin(warehouse)
    assert limits.taken_out(warehouse) == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [("Out of Memory Error: could not allocate block", True), ("Binder Error: column x", False), ("None", False)],
)
def test_what_is_a_limit(message, expected):
    assert limits.is_a_limit(message) is expected


def test_time_is_a_limit_of_its_own():
    assert limits.is_of_time("INTERRUPT Error: Interrupted!")
    assert not limits.is_of_time("Out of Memory Error: could not allocate block")


@pytest.mark.parametrize(("given", "expected"), [("", 600.0), ("1.5", 1.5), (" 20 ", 20.0)])
def test_the_limit_comes_from_the_environment(monkeypatch, given, expected):
    monkeypatch.setenv(time_limit.VARIABLE, given)
    assert time_limit.seconds_a_rule() == expected


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "1e9", "ten minutes"])
def test_what_is_no_limit_is_refused(monkeypatch, given):
    monkeypatch.setenv(time_limit.VARIABLE, given)
    with pytest.raises(time_limit.InvalidLimit, match=time_limit.VARIABLE):
        time_limit.seconds_a_rule()


def test_the_rules_of_a_group_may_need_their_time_one_by_one(monkeypatch, catalogue):
    monkeypatch.setenv(time_limit.VARIABLE, "10")
    assert limits.seconds_a_group(catalogue) == 20.0
    with time_limit.of(1e12):
        assert time_limit.seconds_a_rule() == time_limit.MOST_SECONDS
    assert time_limit.seconds_a_rule() == 10.0
