"""Sigma's correlations and selections, judged."""

import pytest

from dagster_project.rule_imports.imported import Decisions
from dagster_project.rule_imports.importing import import_rules
from tests.rule_imports.conftest import HOUR, refusal, translated

GOOD, BAD = "satisfied", "violated"
ALONE = Decisions(owner="x", severity="low", group_by=("k",), gap_ns=HOUR)
SESSIONS = Decisions(owner="x", severity="low", sessions=True)


def log(at="0s", body=None, **attributes):
    return {"at": at, "attributes": {"k": "one", **attributes}, **({"body": body} if body else {})}


def rule(detection):
    return f"title: t\nlogsource: {{product: p}}\ndetection:\n{detection}"


def selected(selection, condition="s"):
    return rule(f"  s: {selection}\n  condition: {condition}\n")


# A detection, the fields of a record, whether it matches.
MATCHES = [
    (selected("{a: x}"), {"a": "X"}, True),  # no case
    (selected("{a|cased: x}"), {"a": "X"}, False),
    (selected("{a: 5}"), {"a": 5}, True),
    (selected("{a: 5}"), {"a": "5"}, True),  # no types
    (selected("{a: true}"), {"a": True}, True),
    (selected("{a: [x, 'y*']}"), {"a": "yes"}, True),
    (selected("{a: x, b: y}"), {"a": "x"}, False),
    (selected("[{a: x}, {b: y}]"), {"b": "y"}, True),
    (selected("{a|contains: o.k}"), {"a": "-O.K-"}, True),
    (selected("{a|contains: o.k}"), {"a": "-ook-"}, False),
    (selected("{a|startswith: x}"), {"a": "xy"}, True),
    (selected("{a|endswith: x}"), {"a": "xy"}, False),
    (selected("{a|contains|all: [x, y]}"), {"a": "yx"}, True),
    (selected("{a|contains|all: [x, y]}"), {"a": "x"}, False),
    (selected("{a|re: '^x+$'}"), {"a": "xx"}, True),
    (selected("{a|re: '^x+$'}"), {"a": "XX"}, False),
    (selected("{a|re|i: '^x+$'}"), {"a": "XX"}, True),
    (selected("{a|cidr: 192.168.0.0/23}"), {"a": "192.168.1.9"}, True),
    (selected("{a|cidr: 192.168.0.0/23}"), {"a": "192.168.2.9"}, False),
    (selected("{a|gte: 5}"), {"a": 5}, True),
    (selected("{a|lt: 5}"), {"a": 5}, False),
    (selected("{a|exists: true}"), {"a": 1}, True),
    (selected("{a|exists: false}"), {}, True),
    (selected("{a: null}"), {}, True),
    (selected("{a: ''}"), {"a": ""}, True),
    (selected("{a|fieldref: b}"), {"a": "x", "b": "x"}, True),
    (selected(r"{a: 'x\*'}"), {"a": "x*"}, True),
    (selected(r"{a: 'x\*'}"), {"a": "xy"}, False),
    (selected("{a: x?}"), {"a": "xy"}, True),
    (selected("{a: x}", "not s"), {}, True),  # not of a missing field
    (selected("{a: x}", "not s"), {"a": "x"}, False),
    (rule("  s: {a: x}\n  f: {b: y}\n  condition: s and not f\n"), {"a": "x"}, True),
    (rule("  s: {a: x}\n  f: {b: y}\n  condition: s and not f\n"), {"a": "x", "b": "y"}, False),
    (rule("  s1: {a: x}\n  s2: {b: y}\n  condition: 1 of s*\n"), {"b": "y"}, True),
    (rule("  s1: {a: x}\n  s2: {b: y}\n  condition: all of them\n"), {"b": "y"}, False),
    (rule("  s1: {a: x}\n  s2: {b: y}\n  condition: (s1 or s2) and not (s1 and s2)\n"), {"b": "y"}, True),
]


@pytest.mark.parametrize(("text", "fields", "matches"), MATCHES)
def test_a_record_matches_as_in_sigma(judge, text, fields, matches):
    assert judge(text, "sigma", logs=[log(**fields)], decisions=ALONE) == (BAD if matches else GOOD)


def test_keywords_are_looked_for_in_the_body(judge):
    text = rule("  words: [out of memory, killed]\n  condition: words\n")
    assert judge(text, "sigma", logs=[log(body="Out of Memory: x")], decisions=ALONE) == BAD
    assert judge(text, "sigma", logs=[log(body="all is well")], decisions=ALONE) == GOOD


BASES = "".join(
    f"---\nname: {name}\nlogsource: {{product: p}}\ndetection: {{s: {{{name}: 1}}, condition: s}}\n" for name in "abc"
)


def correlation(kind, rules, more="", span="1m"):
    return f"title: t\ncorrelation: {{type: {kind}, rules: [{rules}], group-by: [k], timespan: {span}{more}}}\n{BASES}"


COUNT = correlation("event_count", "a", ", condition: {gte: 3}")
CORRELATIONS = [
    (COUNT, [log(a=1), log("30s", a=1), log("60s", a=1)], BAD),
    (COUNT, [log(a=1), log("31s", a=1), log("61s", a=1)], GOOD),  # any window, none holds three
    (COUNT, [log(a=1), log("1s", a=1), log("2s", a=1, k="two")], GOOD),
    (correlation("event_count", "a, b", ", condition: {gt: 2}"), [log(a=1), log("1s", b=1), log("2s", a=1)], BAD),
    (correlation("temporal", "a, b"), [log(b=1), log("60s", a=1)], BAD),
    (correlation("temporal", "a, b"), [log(b=1), log("61s", a=1)], GOOD),
    (correlation("temporal_ordered", "a, b"), [log(b=1), log("9s", a=1)], GOOD),
    (correlation("temporal_ordered", "a, b"), [log(a=1), log("9s", b=1)], BAD),
]


@pytest.mark.parametrize(("text", "logs", "verdict"), CORRELATIONS)
def test_a_correlation_is_found_as_sigma_means_it(judge, text, logs, verdict):
    assert judge(text, "sigma", logs=logs) == verdict


SESSION_RULES = [
    (correlation("value_count", "a", ", condition: {field: u, gte: 2}"), [log(a=1, u="x"), log("1s", a=1, u="y")], BAD),
    (
        correlation("value_count", "a", ", condition: {field: u, gte: 2}"),
        [log(a=1, u="x"), log("1s", a=1, u="x")],
        GOOD,
    ),
    (correlation("temporal", "a, b, c"), [log(c=1), log("1s", b=1), log("2s", a=1)], BAD),
    (correlation("temporal", "a, b, c"), [log(c=1), log("1s", b=1)], GOOD),
    (correlation("temporal_ordered", "a, b, c"), [log(a=1), log("1s", b=1), log("2s", c=1)], BAD),
    (correlation("temporal_ordered", "a, b, c"), [log(a=1), log("1s", c=1), log("2s", b=1)], GOOD),
]


@pytest.mark.parametrize(("text", "logs", "verdict"), SESSION_RULES)
def test_many_in_one_span_need_a_decision(judge, text, logs, verdict):
    assert "--sessions" in refusal(text, "sigma").text
    assert judge(text, "sigma", logs=logs, decisions=SESSIONS) == verdict
    assert any("--sessions" in note.text for note in translated(text, "sigma", SESSIONS).assumed)


def test_an_alias_of_one_field_is_that_field():
    same = ", aliases: {q: {a: who, b: who}}"
    text = correlation("temporal", "a, b", same).replace("group-by: [k]", "group-by: [q]")
    assert translated(text, "sigma").group_by == ("who",)
    other = text.replace("b: who", "b: whom")
    assert "different fields" in refusal(other, "sigma").text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (selected("{a: x}"), "--group-by"),
        (correlation("event_count", "a", ", condition: {lt: 3}"), "`gt` or `gte`"),
        (correlation("event_count", "a", ", condition: {gt: 1, lte: 3}"), "`gt` or `gte`"),
        (correlation("event_count", "z", ", condition: {gte: 3}"), "`z` is not in the file"),
        (correlation("value_sum", "a", ", condition: {field: u, gte: 3}"), "`value_sum` has no counterpart"),
        (correlation("temporal", "a, b", ", condition: a and b"), "no counterpart"),
        (correlation("temporal", "a, b", span="1w"), "timespan `1w`"),
        (correlation("temporal", "a, b").replace("group-by: [k], ", ""), "no group-by"),
        (correlation("event_count", "a", ", condition: {gte: 0}"), "always reached"),
        (correlation("temporal", "a, b").replace("[k]", "[trace.id]"), "`trace.id` as a key"),
        (correlation("event_count", "a", ", surprise: 1"), "`surprise`"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(text, reason):
    (first, *_) = import_rules(text, "r.yml", Decisions(owner="x"), "sigma")
    assert reason in first.refused[0].text


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        ("  s: {a|base64: x}\n  condition: s\n", "modifier `base64`"),
        ("  s: {a: x}\n  condition: s | count() > 3\n", "write a correlation"),
        ("  s: {a: x}\n  condition: t\n", "names `t`"),
        ("  s: {a: x}\n  condition: s and\n", "no condition of Sigma"),
        ("  s: {a: x}\n  timeframe: 5m\n  condition: s\n", "old aggregations"),
        ("  s: {a: []}\n  condition: s\n", "empty list"),
        ("  s: {a|all: [x, y]}\n  condition: s\n", "a list there"),
        ("  s: {a|cidr: 'fe80::/10'}\n  condition: s\n", "IPv6"),
        ("  s: {a|re: '(?=x)'}\n  condition: s\n", "look-around"),
        ("  s: {a|lt: x}\n  condition: s\n", "with a number"),
    ],
)
def test_a_detection_that_is_not_known_is_refused(detection, reason):
    assert reason in refusal(rule(detection), "sigma", ALONE).text


def test_the_log_source_is_said_to_be_left_out():
    said = [note.text for note in translated(COUNT, "sigma").assumed]
    assert any("`logsource` is not carried over: product p" in text for text in said)


def test_lines_are_those_of_the_file():
    bad = "---\nname: bad\ncorrelation: {type: nope, rules: [a], group-by: [k], timespan: 1m}\n"
    text = correlation("event_count", "a", ", condition: {gte: 2}") + bad
    found = import_rules(text, "r.yml", Decisions(owner="x"), "sigma")
    assert found[1].refused[0].line == text.split("\n").index("name: bad") + 2
