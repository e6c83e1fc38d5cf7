"""Which rules share what is read, by counts: few selective ones are asked alone, many over a part of all together."""

import dataclasses

import pytest

from dagster_project.rule_language import read_inline
from dagster_project.rule_language.planning.estimates import Group, Statistics
from dagster_project.rule_language.planning.fusing import MOST_SHARED, Measured, choose, reading

DAY = 86_400 * 10**9
OVER_TRACES = 'when: any(span("{}")) always: any(span("b"))'
OVER_ORDERS = 'group_by: order gap: 1d when: any(span("{}")) always: any(span("b"))'


def counted(**spans):
    return Statistics({"span": tuple(Group("shop", name, rows) for name, rows in spans.items())})


def measured(spans, window_spans, before=0, back_ns=DAY, of_name=0.01):
    """Telemetry of which a share of spans is of a name; `before` start so long before the window."""
    since = counted(pay=round(window_spans * of_name), other=round(window_spans * (1 - of_name)))
    reach = counted(pay=round((window_spans + before) * of_name), other=round((window_spans + before) * (1 - of_name)))
    return Measured(spans, spans // 5, window_spans, since, reach, back_ns)


def rules(text, number):
    return [read_inline(f"{text.format('pay')} report: {{r{n}: count(span())}}") for n in range(number)]


def made(pack, of):
    return [share.reading for share in choose(pack, of).made]


A_DAY = measured(spans=100_000_000, window_spans=1_100_000, before=1_100_000)
ALL = measured(spans=1_100_000, window_spans=1_100_000)


def test_many_rules_over_a_day_of_many_share_and_few_do_not():
    assert made(rules(OVER_TRACES, 35), A_DAY) == ["window"]
    assert made(rules(OVER_TRACES, 2), A_DAY) == []


def test_over_the_inverse_data_the_choice_is_the_inverse():
    assert made(rules(OVER_TRACES, 12), A_DAY) == ["window"]
    assert made(rules(OVER_TRACES, 12), ALL) == []


def test_a_window_too_large_to_be_held_is_not_shared():
    large = measured(spans=100 * MOST_SHARED, window_spans=MOST_SHARED + 1)
    assert made(rules(OVER_TRACES, 500), large) == []


def test_rules_over_groups_share_their_items_unless_these_are_most_of_all():
    assert made(rules(OVER_ORDERS, 5), A_DAY) == ["items"]
    assert made(rules(OVER_ORDERS, 5), ALL) == []


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ('never: any(span("a"))', "window"),
        ('never: any(span("a") near log() within 1s on trace)', "window"),
        ('never: any(span("a") near deploy() within 1h)', "window"),
        ('never: any(span("a") near span("b") within 1s on service)', None),
        ('group_by: k gap: 1h never: any(span("a"))', "items"),
        ('group_by: k gap: 1h never: any(log(body matches "x"))', "items"),
        ('group_by: k gap: 1h never: any(event("a"))', None),
        ('group_by: k gap: 1h never: any(span("a") > span("b"))', "overlap"),
        ('group_by: trace.k gap: 1h never: any(span("a"))', "overlap"),
        ('group_by: trace.k gap: 1h never: any(log(body matches "x"))', None),
        ('detect: count(span("a")) by service > 3', "items"),
    ],
)
def test_what_a_rule_shares(text, shared):
    assert reading(read_inline(text).judgement) == shared


def test_log_records_are_held_with_the_spans_where_a_rule_reads_them():
    logs = dataclasses.replace(A_DAY, window_logs=MOST_SHARED)
    assert made(rules(OVER_TRACES, 35), logs) == ["window"]
    assert made(rules('when: any(span("{}") near log() within 1s on trace) always: any(span("b"))', 35), logs) == []
