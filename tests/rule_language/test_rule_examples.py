"""Limits of test traces: said with their place before they cost memory or a crash."""

import time

import pytest

from dagster_project.replay import rule_tests
from dagster_project.rule_language import Catalogue, RuleErrors, read_rule

RULE = """\
id: sample
title: Sample
severity: low
owner: shop
never: any(span("charge"))
tests:
  - name: bad
    verdict: violated
    spans:
{spans}
  - {{name: good, verdict: satisfied, spans: [{{name: pay}}]}}
"""


def read(*spans):
    return read_rule("rules/shop/sample.yml", RULE.format(spans="\n".join(f"      - {span}" for span in spans)))


def test_a_small_file_cannot_ask_for_millions_of_spans():
    started = time.perf_counter()
    with pytest.raises(RuleErrors, match="more than 10,000 spans") as raised:
        read(*["{name: charge, repeat: {times: 9000}}"] * 300)
    assert raised.value.errors[0].line == 11
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(("span", "said"), [
    ("{name: charge, at: 100000d}", "further than 36,500 days"),
    ("{name: charge, at: -100000d}", "further than 36,500 days"),
    ("{name: charge, duration: 100000d}", "further than 36,500 days"),
    ("{name: charge, events: [{name: x, at: 100000d}]}", "further than 36,500 days"),
    ("{name: charge, repeat: {times: 1000, every: 1000d}}", "the last of them"),
])  # fmt: skip
def test_a_time_that_no_warehouse_holds_is_refused(span, said):
    with pytest.raises(RuleErrors, match=said):
        read(span)


FEW = """\
id: sample
title: Sample
severity: low
owner: shop
{says}
tests:
  - {{name: bad, verdict: violated, {bad}}}
  - {{name: good, verdict: satisfied, {good}}}
"""


@pytest.mark.parametrize(("says", "bad", "good"), [
    (
        "never: count(log(severity >= error)) > 2",
        "logs: [{severity: error, repeat: {times: 3, every: 1s}}]",
        "logs: [{severity: error, repeat: {times: 3, every: 1s, traces: new}}]",
    ),
    (
        'never: count(event("retry")) > 3 per 1s',
        "spans: [{name: a, events: [{name: retry, repeat: {times: 4, every: 300ms}}]}]",
        "spans: [{name: a, events: [{name: retry, repeat: {times: 4, every: 400ms}}]}]",
    ),
    (  # the events of a span that repeats go along
        'never: count(event("retry")) > 2 per 1s',
        "spans: [{name: a, events: [{name: retry}], repeat: {times: 3, every: 400ms}}]",
        "spans: [{name: a, events: [{name: retry}], repeat: {times: 3, every: 600ms}}]",
    ),
    (
        'never: any(span("a") near metric("m", value > 2) within 1s)',
        "spans: [{name: a, at: 10s}], metrics: [{name: m, value: 3, repeat: {times: 2, every: 9s}}]",
        "spans: [{name: a, at: 10s}], metrics: [{name: m, value: 3, repeat: {times: 2, every: 8s}}]",
    ),
])  # fmt: skip
def test_logs_events_and_metrics_repeat_as_spans_do(says, bad, good):
    rule = read_rule("rules/shop/sample.yml", FEW.format(says=says, bad=bad, good=good))
    assert not rule_tests.failures(rule_tests.run(Catalogue((rule,))))


@pytest.mark.parametrize(("records", "said"), [
    ("logs: [{repeat: {times: 9000}}, {repeat: {times: 9000}}]", "more than 10,000 log records"),
    ("spans: [{name: a}], metrics: [{name: m, value: 1, repeat: {times: 10001}}]", "from 1 to 10,000"),
    ("spans: [{name: a, events: [{name: e, repeat: {times: 9000}}], repeat: {times: 9000}}]", "10,000 span events"),
    ("spans: [{name: a, events: [{name: e, repeat: {times: 2, traces: new}}]}]", "a repeat has no field `traces`"),
    ("spans: [{name: a, at: -36500d, events: [{name: e, at: 36500d}], repeat: {times: 2, every: 1d}}]",
     "the last of them is further"),
    ("logs: [{at: 36500d, repeat: {times: 2, every: 1d}}]", "the last of them is further"),
])  # fmt: skip
def test_what_repeats_has_the_limits_of_spans(records, said):
    with pytest.raises(RuleErrors, match=said):
        read_rule(
            "rules/shop/sample.yml", FEW.format(says="never: any(span())", bad=records, good="spans: [{name: a}]")
        )


@pytest.mark.parametrize("span", [
    "{name: charge, at: 36500d, duration: 36500d}", "{name: charge, at: -36500d}",
    "{name: charge, at: 1d, repeat: {times: 2, every: 36499d}}",
])  # fmt: skip
def test_the_furthest_times_are_judged(span):
    assert not rule_tests.failures(rule_tests.run(Catalogue((read(span),))))
