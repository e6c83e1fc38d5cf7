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


@pytest.mark.parametrize("span", [
    "{name: charge, at: 36500d, duration: 36500d}", "{name: charge, at: -36500d}",
    "{name: charge, at: 1d, repeat: {times: 2, every: 36499d}}",
])  # fmt: skip
def test_the_furthest_times_are_judged(span):
    assert not rule_tests.failures(rule_tests.run(Catalogue((read(span),))))
