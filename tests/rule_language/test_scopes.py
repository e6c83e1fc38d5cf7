"""What is said of a whole scope: aggregates, rates, order, hours, baselines; their edges, losses and witnesses."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source

NAMED = {"one": 'span("a")', "other": 'span("b")'}
COLUMNS = ("scope_key", "verdict", "reason", "witness", "reported", "started_on")


def judged(rule, spans, logs="[]", tickets="[]", start=None, end=None):
    """The verdicts of a rule (its YAML fields) over the spans and logs of one test, as dictionaries."""
    text = f"""
id: x
title: x
severity: low
owner: x
{rule}
tests:
  - {{name: t, verdict: violated, spans: {spans}, logs: {logs}, tickets: {tickets}}}
  - {{name: u, verdict: satisfied, spans: [{{name: zzz}}]}}
"""
    (parsed,) = load_catalogue({"rules/x/x.yml": text})
    connection = scratch.connect()
    try:
        scratch.fill(connection, parsed.examples[0])
        source = Source(columns={"span": frozenset(), "log": frozenset()}, start=start, end=end)
        sql = to_sql(verdicts_query(parsed, source))
        rows = connection.execute(f"select {', '.join(COLUMNS)} from ({sql}) order by scope_key").fetchall()
    finally:
        connection.close()
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def verdict(condition, spans, logs="[]", clause="always", extra=""):
    """The verdict and the reason of one condition over one trace."""
    let = [f"{name}: {bound}" for name, bound in NAMED.items() if re.search(rf"\b{name}\b", condition)]
    bindings = f"let: {{{', '.join(let)}}}\n" if let else ""
    (only,) = judged(f"{bindings}{clause}: {json.dumps(condition)}\n{extra}", spans, logs)
    return only["verdict"], only["reason"]


def shown(row):
    return [one["span_id"] for one in row["witness"]]


def spans_at(*moments, name="a", **fields):
    """One span a moment: a root and its children."""
    return [{"name": name, "at": f"{at}", **fields} for at in moments]


def flow(spans):
    return json.dumps(spans)


TWENTY = flow([{"name": "a", "duration": f"{number}ms", "attributes": {"v": number}} for number in range(1, 21)])
ORPHAN = {"name": "y", "parent": "nowhere"}


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("p50(span().v)", 10),
        ("p90(span().v)", 18),
        ("p95(span().v)", 19),
        ("p99(span().v)", 20),
        ("avg(span().v)", 10.5),
        ("sum(span().v)", 210),
        ("min(span().v)", 1),
        ("max(span().v)", 20),
        ("p95(span().duration)", "19ms"),
        ("avg(span().duration)", "10500us"),
        ("sum(span().duration)", "210ms"),
        ("max(span().start) - min(span().start)", "19ms"),
        ("max(span().v where v < 7) - min(span().v)", 5),
        ("2 * p50(span().v) - 1", 19),
    ],
)
def test_aggregates_are_exact(quantity, value):
    assert verdict(f"{quantity} == {value}", TWENTY)[0] == "satisfied"
    assert verdict(f"{quantity} != {value}", TWENTY)[0] == "violated"
    assert verdict(f"{quantity} >= {value} and {quantity} <= {value}", TWENTY)[0] == "satisfied"


def test_integers_are_not_rounded_on_the_way():
    beyond_doubles = flow([{"name": "a", "duration": "9007199254740992ns"}, {"name": "b", "duration": "1ns"}])
    assert verdict("sum(span().duration) == 9007199254740993ns", beyond_doubles)[0] == "satisfied"
    assert verdict("sum(span().duration) > 9007199254740992ns", beyond_doubles)[0] == "satisfied"
    assert verdict("2 * sum(span().duration) == 18014398509481986ns", beyond_doubles)[0] == "satisfied"
    close = flow(spans_at("0s", "2ns"))
    assert verdict("max(span().start) - min(span().start) == 2ns", close)[0] == "satisfied"
    # With a broken factor doubles are used: times are then taken from the scope's first item.
    assert verdict("1.5 * (max(span().start) - min(span().start)) == 3ns", close)[0] == "satisfied"


def test_decimals_are_summed_exactly():
    tenths = flow([{"name": "a", "attributes": {"v": value}} for value in (0.1, 0.2, 0.3)])
    assert verdict("sum(span().v) == 0.6", tenths)[0] == "satisfied"


@pytest.mark.parametrize(
    ("condition", "over_nothing"),
    [
        ("count(span('q')) == 0", "satisfied"),
        ("distinct(span('q').v) == 0", "satisfied"),
        ("sum(span('q').v) == 0", "satisfied"),
        ("sum(span('q').duration) > 1s", "violated"),
        ("avg(span('q').v) == 0", "inconclusive"),
        ("min(span('q').v) == 0", "inconclusive"),
        ("max(span('q').duration) < 5s", "inconclusive"),
        ("p95(span('q').duration) < 5s", "inconclusive"),
        ("p95(span('a').missing) < 5", "inconclusive"),
        ("p95(span('q').duration) < 5s or any(span())", "satisfied"),
    ],
)
def test_over_nothing(condition, over_nothing):
    found, reason = verdict(condition.replace("'", '"'), "[{name: a}]")
    assert found == over_nothing
    assert (reason == "nothing to aggregate") is (over_nothing == "inconclusive")


@pytest.mark.parametrize(
    ("condition", "whole", "lossy"),
    [
        ("sum(span().duration) >= 2ms", "satisfied", "satisfied"),
        ("sum(span().duration) < 1s", "satisfied", "inconclusive"),
        ("sum(span().duration) < 2ms", "violated", "violated"),
        ("sum(span().v) > 1", "satisfied", "inconclusive"),
        ("max(span().v) > 1", "satisfied", "satisfied"),
        ("max(span().v) < 9", "satisfied", "inconclusive"),
        ("min(span().v) < 2", "satisfied", "satisfied"),
        ("min(span().v) > 0", "satisfied", "inconclusive"),
        ("min(span().duration) < 0ns", "violated", "violated"),
        ("avg(span().duration) >= 0ns", "satisfied", "satisfied"),
        ("avg(span().v) >= 0", "satisfied", "inconclusive"),
        ("p95(span().v) > 0", "satisfied", "inconclusive"),
        ("max(span().end) - min(span().start) > 1ms", "satisfied", "satisfied"),
        ("max(span().end) - min(span().start) < 1m", "satisfied", "inconclusive"),
        ("count(span()) > 1 per 1m", "satisfied", "satisfied"),
        ("count(span()) > 7 per 1m", "violated", "inconclusive"),
    ],
)
def test_a_loss_opens_the_interval(condition, whole, lossy):
    spans = [{"name": "a", "attributes": {"v": 1}}, {"name": "b", "attributes": {"v": 2}}]
    assert verdict(condition, flow(spans))[0] == whole
    found, reason = verdict(condition, flow([*spans, {**ORPHAN, "attributes": {"v": 1}}]))
    assert found == lossy
    assert (reason == "a parent span is missing") is (lossy == "inconclusive")


def test_aggregates_over_logs_are_untouched_by_the_loss_of_spans():
    logs = "[{body: x}, {body: y, at: 3s}]"
    spans = flow([{"name": "a"}, ORPHAN])
    assert verdict("max(log().start) - min(log().start) == 3s", spans, logs)[0] == "satisfied"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("count(span('a')) >= 3 per 20s", "violated"),  # both ends belong to the stretch
        ("count(span('a')) >= 3 per 19999999999ns", "satisfied"),
        ("count(span('a')) > 3 per 1h", "violated"),
        ("count(span('a')) > 4 per 1h", "satisfied"),
        ("count(span('a')) >= 4 per 30s", "satisfied"),
    ],
)
def test_rates_are_of_sliding_stretches(condition, expected):
    spans = flow(spans_at("0s", "1m", "1m10s", "1m20s"))
    assert verdict(condition.replace("'", '"'), spans, clause="never")[0] == expected


def test_the_witness_of_a_rate_is_the_start_of_the_earliest_full_stretch():
    spans = flow(spans_at("0s", "1m", "1m10s", "1m10s", "1m20s", "5m", "5m1s", "5m2s"))
    (row,) = judged('never: count(span("a")) > 2 per 15s', spans)
    assert shown(row) == [2, 3, 4]
    (row,) = judged('never: count(span("a")) >= 2 per 15s', spans)
    assert shown(row) == [2, 3]
    rule = 'never: count(span("a")) >= 2 per 15s and count(span("a")) > 3 per 15s'
    assert judged(rule, spans)[0]["verdict"] == "satisfied"


def ab(a_at, b_at, a="x", b="x", **more):
    root = {"name": "root", "id": "root", "at": "0s", "duration": "1h"}
    return flow(
        [
            root,
            {"name": "a", "id": "a", "at": a_at, "service": a, **more.get("a_more", {})},
            {"name": "b", "id": "b", "at": b_at, "service": b, **more.get("b_more", {})},
        ]
    )


BEFORE, FOLLOWED = 'span("a") before span("b")', 'span("a") followed by span("b")'
SKEW = "order within clock skew"


@pytest.mark.parametrize("condition", [BEFORE, FOLLOWED])
@pytest.mark.parametrize(
    ("a_at", "b_at", "b", "expected"),
    [
        ("1s", "1000000001ns", "x", "satisfied"),
        ("1s", "1s", "x", "violated"),
        ("1000000001ns", "1s", "x", "violated"),
        ("1s", "1010000001ns", "y", "satisfied"),
        ("1s", "1010ms", "y", "inconclusive"),
        ("1010ms", "1s", "y", "inconclusive"),
        ("1010000001ns", "1s", "y", "violated"),
    ],
)
def test_order_with_and_without_one_clock(condition, a_at, b_at, b, expected):
    found, reason = verdict(condition, ab(a_at, b_at, b=b))
    assert found == expected
    assert (reason == SKEW) is (expected == "inconclusive")


@pytest.mark.parametrize("condition", [f"{BEFORE} within 5s", f"{FOLLOWED} within 5s"])
@pytest.mark.parametrize(
    ("a_at", "b_at", "b", "expected"),
    [
        ("1s", "6s", "x", "satisfied"),
        ("1s", "6000000001ns", "x", "violated"),
        ("1s", "1s", "x", "violated"),
        ("1s", "5989999999ns", "y", "satisfied"),
        ("1s", "5990ms", "y", "inconclusive"),
        ("1s", "6010ms", "y", "inconclusive"),
        ("1s", "6010000001ns", "y", "violated"),
        ("1s", "1010ms", "y", "inconclusive"),
        ("1s", "1010000001ns", "y", "satisfied"),
        ("2s", "1s", "y", "violated"),
    ],
)
def test_the_bound_of_an_order_has_the_same_skew(condition, a_at, b_at, b, expected):
    assert verdict(condition, ab(a_at, b_at, b=b))[0] == expected


def test_the_skew_is_the_rules_own():
    spans = ab("1s", "1005ms", b="y")
    assert verdict(BEFORE, spans)[0] == "inconclusive"
    assert verdict(BEFORE, spans, extra="skew: 4ms")[0] == "satisfied"


@pytest.mark.parametrize(
    ("condition", "a_more", "b_more", "expected"),
    [
        (BEFORE, {}, {"parent": "a"}, "satisfied"),
        (BEFORE, {"parent": "b"}, {}, "violated"),
        (BEFORE, {}, {}, "inconclusive"),
        (FOLLOWED, {}, {"parent": "a"}, "satisfied"),
        (FOLLOWED, {"parent": "b"}, {}, "violated"),
        (f"{BEFORE} within 1s", {}, {"parent": "a"}, "satisfied"),
        (f"{BEFORE} within 1s", {"parent": "b"}, {}, "violated"),
        (f"{BEFORE} within 3ms", {}, {"parent": "a"}, "inconclusive"),
        ("one before other.end", {}, {"parent": "a"}, "inconclusive"),
    ],
)
def test_ancestry_tells_what_clocks_do_not(condition, a_more, b_more, expected):
    for a_at, b_at in (("1s", "1004ms"), ("1004ms", "1s")):
        spans = ab(a_at, b_at, b="y", a_more=a_more, b_more={**b_more, "duration": "0ms"})
        found = verdict(condition, spans)[0]
        assert found == expected, (a_at, b_at)


def test_ancestry_through_other_spans():
    spans = json.loads(ab("1s", "1001ms", b="y", b_more={"parent": "m"}))
    spans.append({"name": "m", "id": "m", "parent": "a", "at": "1s"})
    assert verdict(BEFORE, flow(spans))[0] == "satisfied"


@pytest.mark.parametrize(
    ("condition", "spans", "expected"),
    [
        (BEFORE, ["a"], "satisfied"),
        (BEFORE, ["b"], "violated"),
        (FOLLOWED, ["a"], "violated"),
        (FOLLOWED, ["b"], "satisfied"),
        (f"{FOLLOWED} within 1s", ["a"], "violated"),
        ('span("a") before span("a")', ["a", "a"], "violated"),
        ("one before one.end", ["a"], "satisfied"),
    ],
)
def test_order_over_nothing_and_over_itself(condition, spans, expected):
    assert verdict(condition, flow([{"name": "r"}, *({"name": one} for one in spans)]))[0] == expected


def test_edges_are_compared_as_they_are_named():
    spans = flow(
        [
            {"name": "a", "at": "0s", "duration": "2s"},
            {"name": "b", "at": "1s", "duration": "2s"},
        ]
    )
    assert verdict(BEFORE, spans)[0] == "satisfied"
    assert verdict("one.end before other", spans)[0] == "violated"
    assert verdict("one.end before other.end", spans)[0] == "satisfied"
    assert verdict("other followed by one.end", spans)[0] == "satisfied"


def test_logs_take_part_in_order():
    spans = flow([{"name": "a", "at": "0s"}])
    assert verdict('span("a") followed by log()', spans, "[{body: x, at: 5s}]")[0] == "satisfied"
    assert verdict('span("a") followed by log() within 4s', spans, "[{body: x, at: 5s}]")[0] == "violated"
    assert verdict('log() followed by span("a")', spans, "[{body: x, at: 1ms, service: y}]") == ("inconclusive", SKEW)


@pytest.mark.parametrize(
    ("condition", "names", "lossy"),
    [
        (BEFORE, ["a", "b"], "inconclusive"),  # a lost b may come before
        (BEFORE, ["b"], "inconclusive"),  # a lost a may come before it
        ('log() before span("b")', ["b"], "violated"),  # no log is lost
        ('span("a") before log()', ["a"], "satisfied"),  # what needs a partner is not lost
        ('log() before span("b")', ["a"], "inconclusive"),
    ],
)
def test_order_under_loss(condition, names, lossy):
    spans = [{"name": "r"}, *({"name": one} for one in names), ORPHAN]
    logs = "[{body: x, at: 1h}]"
    assert verdict(condition, flow(spans), logs)[0] == lossy


def test_the_witness_of_an_order_is_the_earliest_counterexample():
    spans = flow(
        [
            {"name": "b", "id": "s1", "at": "3s"},
            {"name": "a", "id": "s2", "at": "2s"},
            {"name": "b", "id": "s3", "at": "1s"},
            {"name": "b", "id": "s4", "at": "500ms"},
            {"name": "b", "id": "s5", "at": "500ms"},
        ]
    )
    assert shown(judged(f"always: {BEFORE}", spans)[0]) == [4]
    assert shown(judged(f"always: {BEFORE} within 500ms", spans)[0]) == [4]
    without = spans.replace('"a"', '"q"')
    assert shown(judged(f"always: {BEFORE}", without)[0]) == [4]
    assert shown(judged(f"always: {FOLLOWED} within 100ms", spans)[0]) == [2]


def test_a_wide_scope_makes_no_pairs_of_all():
    many = 300
    spans = [{"name": "r"}]
    spans += [{"name": "a", "at": f"{number}ms", "service": "x"} for number in range(many)]
    spans += [{"name": "b", "at": f"{number}ms", "service": "y"} for number in range(many)]
    assert verdict(BEFORE, flow(spans))[0] == "inconclusive"
    assert verdict(f"{BEFORE} within 100ms", flow(spans))[0] == "inconclusive"


NIGHT = datetime(2024, 1, 1, tzinfo=UTC)


def history(hours, last, service="s", name="a"):
    """Spans of so many a day at noon, and those of the last hour, each a trace of its own."""
    return [
        {
            "name": name,
            "service": service,
            "trace": f"{service}{day}-{place}",
            "at": f"{day * 24 + 12}h{place}s",
            "duration": f"{milliseconds}ms",
            "parent": None,
        }
        for day, (number, milliseconds) in enumerate([*hours, last])
        for place in range(number)
    ]


def last_hour(rule, spans, **more):
    rows = judged(f"detect: {json.dumps(rule)}", flow(spans), **more)
    return rows[-1]


@pytest.mark.parametrize(
    ("quantity", "last", "expected"),
    [
        ("p95(span().duration) by service > 2 * baseline(7d, same hour, at least 5)", (3, 21), "violated"),
        ("p95(span().duration) by service > 2 * baseline(7d, same hour, at least 5)", (3, 20), "satisfied"),
        ("max(span().duration) by service > 2 * baseline(7d, at least 5)", (3, 21), "violated"),
        ("avg(span().duration) by service > 2 * baseline(7d, at least 5)", (3, 21), "violated"),
        ("sum(span().duration) by service >= baseline(7d, at least 5)", (1, 60), "violated"),
        ("sum(span().duration) by service > baseline(7d, at least 5)", (1, 60), "satisfied"),
        ("count(span()) by service > 2 * baseline(7d, at least 5)", (7, 1), "violated"),
        ("count(span()) by service > 2 * baseline(7d, at least 5)", (4, 1), "satisfied"),
        ("distinct(span().duration) by service > baseline(7d, at least 5)", (4, 1), "satisfied"),
        ("count(span()) by service > 2", (3, 1), "violated"),
    ],
)
def test_an_hour_against_the_hours_before(quantity, last, expected):
    spans = history([(2, 10), (2, 10), (2, 10)], last)
    row = last_hour(quantity, spans)
    assert (row["verdict"], row["scope_key"]) == (expected, '["s","2024-01-04T12:00:00Z"]')
    assert row["started_on"] == (NIGHT + timedelta(days=3)).date()


def test_too_few_records_make_no_baseline():
    spans = history([(2, 10), (2, 10)], (3, 100))
    rule = "p95(span().duration) by service > baseline({})"
    found = last_hour(rule.format("7d, at least 5"), spans)
    assert (found["verdict"], found["reason"]) == ("inconclusive", "too few records for a baseline")
    assert last_hour(rule.format("7d, at least 4"), spans)["verdict"] == "violated"
    assert last_hour(rule.format("1d, at least 2"), spans)["verdict"] == "violated"
    assert last_hour(rule.format("1d, at least 3"), spans)["verdict"] == "inconclusive"
    assert last_hour(rule.format("23h, at least 1"), spans)["verdict"] == "inconclusive"
    assert last_hour(rule.format("7d"), spans)["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("service", "at", "ended", "expected"),
    [
        ("s", "12h30m", "13h", "violated"),  # the first day's noon is left out
        ("s", "11h", "11h59m59s", "satisfied"),
        ("s", "11h", "12h", "violated"),  # it still goes on as the hour begins
        ("s", "13h", "14h", "satisfied"),
        ("t", "12h30m", "13h", "satisfied"),
        (None, "12h30m", "13h", "violated"),
        ("s", "12h30m", None, "inconclusive"),  # nobody knows for how long: the day after it, and no more
        ("s", "11h59m", None, "violated"),
        ("s", "-13h", None, "satisfied"),
    ],
)
@pytest.mark.parametrize("function", ["p95", "max", "avg"])
def test_hours_of_incidents_are_left_out(service, at, ended, expected, function):
    spans = history([(4, 100), (4, 10)], (3, 50))
    tickets = [{"id": "i", "at": at, "service": service} | ({"resolved": ended} if ended else {})]
    rule = f"{function}(span().duration) by service > 1.4 * baseline(7d, at least 4)"
    rule = rule if function != "avg" else rule.replace("1.4", "0.91")
    assert last_hour(rule, spans, tickets=flow(tickets))["verdict"] == expected


def test_only_the_same_hour_when_so_asked():
    spans = history([(4, 10)], (3, 50))
    spans += [{**one, "at": "27h", "trace": f"o{place}", "duration": "60ms"} for place, one in enumerate(spans[:4])]
    rule = "p50(span().duration) by service > baseline(7d{}, at least 4)"
    rows = {(row["scope_key"], row["verdict"]) for row in judged(f"detect: {json.dumps(rule.format(''))}", flow(spans))}
    assert ('["s","2024-01-02T12:00:00Z"]', "violated") in rows  # the median of 10 10 10 10 60 60 60 60 is 10
    rule = "max(span().duration) by service > baseline(7d{}, at least 4)"
    rows = {row["scope_key"]: row["verdict"] for row in judged(f"detect: {json.dumps(rule.format(''))}", flow(spans))}
    assert rows['["s","2024-01-02T12:00:00Z"]'] == "satisfied"
    rule = rule.format(", same hour")
    rows = {row["scope_key"]: row["verdict"] for row in judged(f"detect: {json.dumps(rule)}", flow(spans))}
    assert rows['["s","2024-01-02T12:00:00Z"]'] == "violated"


def test_hours_of_other_keys_are_no_baseline():
    spans = history([(9, 10)], (1, 50)) + history([(9, 100)], (1, 50), service="t")
    rule = "p50(span().duration) by service > baseline(7d, at least 9)"
    rows = {row["scope_key"]: row["verdict"] for row in judged(f"detect: {json.dumps(rule)}", flow(spans))}
    assert rows['["s","2024-01-02T12:00:00Z"]'] == "violated"
    assert rows['["t","2024-01-02T12:00:00Z"]'] == "satisfied"


def test_the_window_bounds_the_hours_and_not_their_baseline():
    spans = history([(4, 10), (4, 10)], (3, 50))
    rule = 'detect: "p50(span().duration) by service > baseline(7d, at least 8)"'
    start = NIGHT.replace(tzinfo=None) + timedelta(days=2)
    (row,) = judged(rule, flow(spans), start=start)
    assert row["verdict"] == "violated"
    assert judged(rule, flow(spans), start=start + timedelta(hours=12, minutes=1)) == []
    rows = judged(rule, flow(spans), end=start)
    assert [row["verdict"] for row in rows] == ["inconclusive", "inconclusive"]


def test_an_incomplete_trace_touches_the_hours_it_lasts():
    spans = [*history([], (3, 10)), {"name": "q", "service": "s", "trace": "l", "parent": "gone", "at": "0s"}]
    spans[-1]["duration"] = "90m"
    rows = {
        row["scope_key"][-22:-2]: row for row in judged('detect: "count(span(\\"a\\")) by service > 2"', flow(spans))
    }
    assert rows["2024-01-01T12:00:00Z"]["verdict"] == "violated"
    touched = {hour for hour, row in rows.items() if row["verdict"] == "inconclusive"}
    assert touched == {"2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"}
    assert {rows[hour]["reason"] for hour in touched} == {"a trace that carries the key is incomplete"}


def test_reports_have_every_aggregate():
    names = ("sum", "avg", "min", "max", "p50", "p90", "p95", "p99")
    of_numbers = ", ".join(f"{name}: {name}(span().v)" for name in names)
    (row,) = judged(f"never: any(span())\nreport: {{{of_numbers}}}", TWENTY)
    found = json.loads(row["reported"])
    skipped = found.pop("nulls_skipped")
    assert found == {"sum": 210, "avg": 10.5, "min": 1, "max": 20, "p50": 10, "p90": 18, "p95": 19, "p99": 20}
    assert skipped == dict.fromkeys(names, 0)
    (row,) = judged('never: any(span())\nreport: {last: max(span().start), mean: avg(span("q").v)}', TWENTY)
    found = json.loads(row["reported"])
    assert found["last"].startswith("2024-01-01 00:00:00.019")
    assert found["mean"] is None


def test_quantities_against_each_other_show_the_earliest_of_each():
    spans = [{"name": name, "attributes": {"v": value}} for name, value in (("b", 1), ("a", 2), ("a", 3))]
    (row,) = judged('never: max(span("a").v) > avg(span("b").v)', flow(spans))
    assert shown(row) == [1, 2]


@pytest.mark.parametrize(
    "condition", ['p95(span("a").v) > 4', 'span("a") before span("b")', 'count(span("a")) > 1 per 1h']
)
def test_groups_take_every_construct(condition):
    spans = [
        {"name": name, "trace": f"t{place}", "at": f"{place}s", "attributes": {"k": key, "v": 5}}
        for place, (name, key) in enumerate([("a", 1), ("b", 1), ("a", 1), ("b", 2)])
    ]
    rows = judged(f"group_by: k\ngap: 1h\nalways: {json.dumps(condition)}", flow(spans))
    found = {row["scope_key"]: row["verdict"] for row in rows}
    assert found["1"] == "satisfied"
    # Only what selectors match forms groups.
    assert found.get("2") == ("violated" if "before" in condition else None)


@pytest.mark.parametrize("rule", ['always: any(span("a"))', "group_by: service\ngap: 1m\ndetect: count(span()) > 2"])
def test_who_only_counts_satisfied_scopes_gets_the_same_others(rule):
    spans = flow([{"name": "a", "trace": "t"}, {"name": "b", "trace": "u"}, {**ORPHAN, "trace": "v"}])
    text = f"id: x\ntitle: x\nseverity: low\nowner: x\n{rule}\n"
    text += f"tests:\n  - {{name: t, verdict: violated, spans: {spans}}}\n"
    text += "  - {name: u, verdict: satisfied, spans: [{name: a}]}\n"
    (parsed,) = load_catalogue({"rules/x/x.yml": text})
    connection = scratch.connect()
    scratch.fill(connection, parsed.examples[0])
    found = []
    for in_full in (True, False):
        source = Source(columns={"span": frozenset(), "log": frozenset()}, satisfied_in_full=in_full)
        found.append(connection.execute(to_sql(verdicts_query(parsed, source))).fetchall())
    connection.close()
    full, less = found
    others = [sorted(str(row) for row in rows if row[5] != "satisfied") for rows in found]
    assert others[0] == others[1] != []
    assert sorted(row[5] for row in full) == sorted(row[5] for row in less)
