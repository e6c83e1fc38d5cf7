"""Staging of spans: repeats, days staged again, and attributes that become columns."""

from datetime import date, timedelta

import pytest

DAYS = {"replay_from": "2024-01-01", "replay_until": "2024-01-03"}
# What knows of a first day, or is kept by day.
BY_DAY = ("-s", "staging", "intermediate", "+mart_certificates", "+mart_violation_correlation")
ATTEMPT = [
    {"column": "attr__attempt__number", "path": "attempt", "type": "number"},
    {"column": "attr__attempt__text", "path": "attempt", "type": "text"},
    {"column": "attr__attempt__any", "path": "attempt", "type": "any"},
    {"column": "attr__it_s_quote_d__boolean", "path": 'it\'s."quote"/~d', "type": "boolean"},
]


def test_a_span_stays_once_and_its_repeats_are_counted(shared_project, warehouse):
    warehouse.insert_spans(
        [
            {"span": 1, "load_id": 2, "name": "later load, other content"},
            {"span": 1, "name": "first"},
            {"span": 1, "name": "first"},
            {"span": 1, "kind": 3, "name": "client of the same id"},
            {"span": 2, "at": "2024-01-01 23:59:59.999999999"},
        ]
    )
    shared_project.run(warehouse, "run", "-s", "stg_spans", "stg_span_repeats")
    assert warehouse.rows("select span_id, span_name from staging.stg_spans order by all") == [
        (1, "client of the same id"), (1, "first"), (2, "buy"),
    ]  # fmt: skip
    assert warehouse.rows("select load_id, record, kept_record, is_identical from staging.stg_span_repeats") == [
        (1, 3, 2, True), (2, 1, 2, False),
    ]  # fmt: skip
    # DuckDB's own cast rounds the last half microsecond into the next day.
    assert warehouse.rows("select distinct started_on::varchar from staging.stg_spans") == [("2024-01-01",)]


def test_late_days_staged_again_one_by_one_equal_a_full_rebuild(shared_project, make_warehouse, differences):
    early = [
        {"trace": 1, "span": 1, "at": "2024-01-01 23:59:59", "seconds": 5},
        {"trace": 2, "span": 1, "parent": 9, "at": "2024-01-02 10:00:00"},
        {"trace": 3, "span": 1, "at": "2024-01-04 10:00:00"},
    ]
    late = [
        {"load_id": 2, "trace": 1, "span": 2, "parent": 1, "at": "2024-01-02 00:00:01"},
        {"load_id": 2, "trace": 1, "span": 1, "at": "2024-01-02 00:00:02", "name": "same id, another day"},
        {"load_id": 2, "trace": 2, "span": 9, "at": "2024-01-01 09:59:59"},
        {"load_id": 2, "trace": 2, "span": 1, "parent": 9, "at": "2024-01-02 10:00:00"},
    ]
    updated, rebuilt = make_warehouse("updated"), make_warehouse("rebuilt")
    updated.insert_spans(early)
    _insert_log(updated, 1, "2024-01-02 12:00:00")
    shared_project.run(updated)
    before = updated.rows("select count(*) from staging.stg_spans")
    updated.insert_spans(late)
    _insert_log(updated, 3, "2024-01-02 12:00:01")
    shared_project.run(updated, replay_from="2024-01-01", replay_until="2024-01-02")
    shared_project.run(updated, replay_from="2024-01-02", replay_until="2024-01-03")
    rebuilt.insert_spans(early)
    rebuilt.insert_spans(late)
    _insert_log(rebuilt, 1, "2024-01-02 12:00:00")
    _insert_log(rebuilt, 3, "2024-01-02 12:00:01")
    shared_project.run(rebuilt)
    assert differences(updated, rebuilt) == set()
    assert before == [(3,)]
    assert updated.rows("select count(*) from staging.stg_spans") == [(5,)]
    assert updated.rows("select log_count from intermediate.int_traces order by trace_id") == [(1,), (0,), (1,)]


def test_a_day_outside_the_window_is_left_as_it_is(shared_project, warehouse):
    warehouse.insert_spans([{"trace": 1}, {"trace": 2, "at": "2024-01-05 10:00:00"}])
    shared_project.run(warehouse, "run", "-s", "stg_span_repeats", "stg_spans")
    warehouse.insert_spans([{"trace": 3}, {"trace": 4, "at": "2024-01-05 10:00:00"}])
    shared_project.run(warehouse, "run", "-s", "stg_span_repeats", "stg_spans", **DAYS)
    assert warehouse.rows("select right(trace_id::varchar, 1) from staging.stg_spans order by 1") == [
        ("1",),
        ("2",),
        ("3",),
    ]


def test_what_lies_before_the_first_day_is_staged_by_no_run(shared_project, make_warehouse, differences):
    """A wrong clock's span, log and point; and a span that came again with a right clock, which then counts."""
    by_day, whole, unbounded = make_warehouse("by_day"), make_warehouse("whole"), make_warehouse("unbounded")
    for each in (by_day, whole, unbounded):
        each.insert_spans(
            [
                {"trace": 1, "at": "1970-01-01 00:00:00"},
                {"trace": 1, "span": 2, "parent": 1, "at": "2024-01-01 10:00:00"},
                {"trace": 2, "at": "1999-12-31 10:00:00", "name": "wrong clock"},
                {"trace": 2, "load_id": 2, "at": "2024-01-02 10:00:00", "name": "right clock"},
                {"trace": 3, "at": "2023-12-31 23:59:59.999999999"},
            ]
        )
        _insert_log(each, 1, "1970-01-01 12:00:00")
        _insert_log(each, 2, "2024-01-02 12:00:00")
        each.write(
            "insert into raw.metric_points by name select 1 as load_id, 1 as line, 1 as record, 'cpu' as metric_name,"
            " '{}' as labels, timestamp '1970-01-01' as observed_at, 1 as value"
        )
    for day in ("2024-01-01", "2024-01-02", "1970-01-01"):
        after = str(date.fromisoformat(day) + timedelta(days=1))
        shared_project.run(by_day, "run", *BY_DAY, first_day="2024-01-01", replay_from=day, replay_until=after)
    shared_project.run(whole, "run", *BY_DAY, "--full-refresh", first_day="2024-01-01")
    shared_project.run(unbounded, "run", "-s", "+stg_spans")
    assert differences(by_day, whole) == set()
    staged = "select right(trace_id::varchar, 1), span_id, span_name from staging.stg_spans order by all"
    assert whole.rows(staged) == [("1", 2, "buy"), ("2", 1, "right clock")]
    assert whole.rows("select count(*) from staging.stg_logs") == [(1,)]
    assert whole.rows("select count(*) from staging.stg_metric_points") == [(0,)]
    assert len(unbounded.rows(staged)) == 4


def test_a_window_that_is_no_date_never_reaches_sql(shared_project, warehouse):
    with pytest.raises(AssertionError, match="give a date such as"):
        shared_project.run(warehouse, "run", "-s", "stg_spans", replay_from="2024-01-01' or true --")


def test_attributes_that_rules_name_are_filled_in_for_days_already_staged(own_project, make_warehouse, differences):
    spans = [
        {"span": number, "attributes": attributes}
        for number, attributes in enumerate(
            ['{"attempt": 2}', '{"attempt": "2"}', '{"attempt": null}', '{"it\'s.\\"quote\\"/~d": true}', None], start=1
        )
    ]
    grown, whole = make_warehouse("grown"), make_warehouse("whole")
    for each in (grown, whole):
        each.insert_spans(spans)
    other = {"column": "attr__gone__text", "path": "gone", "type": "text"}
    own_project.generate(promoted=[other], groups=["verdicts__trace"])
    own_project.run(grown, "run", "-s", "stg_span_repeats", "stg_spans")
    own_project.generate(promoted=ATTEMPT, groups=["verdicts__trace"])
    # The window holds no span: what was staged must be filled in without being staged again.
    own_project.run(grown, "run", "-s", "stg_spans", replay_from="2024-02-01", replay_until="2024-02-02")
    own_project.run(whole, "run", "-s", "stg_span_repeats", "stg_spans")
    assert differences(grown, whole, schemas=("staging",)) == set()
    names = ", ".join(attr["column"] for attr in ATTEMPT)
    assert grown.rows(f"select {names} from staging.stg_spans order by span_id") == [
        (2.0, None, "2", None), (None, "2", '"2"', None), (None, None, None, None), (None, None, None, True),
        (None, None, None, None),
    ]  # fmt: skip


def _insert_log(warehouse, trace, at):
    warehouse.write(
        "insert into raw.logs by name select 1 as load_id, ? as line, 1 as record, ?::timestamp_ns as occurred_at,"
        " ('00000000-0000-0000-0000-' || lpad(?::varchar, 12, '0'))::uuid as trace_id, 'shop' as service_name,"
        " 17 as severity_number, 0 as dropped_attributes_count",
        [trace, at, trace],
    )
