"""EQL queries, judged: sequences, runs, missing events, letter case, wildcards and null."""

import re

import pytest

from dagster_project.rule_imports.imported import Decisions
from tests.rule_imports.conftest import HOUR, refusal, translated

GOOD, BAD, NONE = "satisfied", "violated", "not applicable"
GROUPED = Decisions(owner="x", severity="low", group_by=("k",), gap_ns=HOUR)


def log(at="0s", **attributes):
    return {"at": at, "attributes": {"k": "one", **attributes}}


# The condition of one event, its fields, whether it holds.
CONDITIONS = [
    ('a == "x"', {"a": "x"}, True),
    ('a == "x"', {"a": "X"}, False),
    ('a != "x"', {"a": "y"}, True),
    ('a != "x"', {}, False),  # null
    ('not a == "x"', {}, False),  # the denial of null is null
    ('not a == "x"', {"a": "y"}, True),
    ("a == null", {}, True),
    ("?a != null", {"a": 1}, True),
    ('a : "X*"', {"a": "xyz"}, True),
    ('a : ("p", "q?")', {"a": "QR"}, True),
    ('not a : ("p", "q")', {"a": "r"}, True),
    ('a : "x.z"', {"a": "xyz"}, False),  # a dot is no wildcard
    ('a like "X*"', {"a": "xyz"}, False),
    ('a like~ "X*"', {"a": "xyz"}, True),
    ('a regex "x[yz]+"', {"a": "xyz"}, True),
    ('a regex "y"', {"a": "xyz"}, False),  # the whole value
    ('a regex~ ("X.*", "q")', {"a": "xyz"}, True),
    ('a in ("x", "y")', {"a": "y"}, True),
    ('a in~ ("X")', {"a": "x"}, True),
    ('a not in ("x")', {"a": "y"}, True),
    ('a not in ("x")', {}, False),
    ("a >= 3 and b < 2", {"a": 3, "b": 1}, True),
    ("5 > a", {"a": 4}, True),
    ("a == -1", {"a": -1}, True),
    ("a == true", {"a": True}, True),
    ("a.b == c.d", {"a.b": 1, "c.d": 1}, True),
    ("`a b` == 1", {"a b": 1}, True),
    ('a == """c:\\x"""', {"a": "c:\\x"}, True),
    ('a == "c:\\\\x"', {"a": "c:\\x"}, True),
    ('stringContains(a, "y")', {"a": "xyz"}, True),
    ('startsWith~(a, "XY")', {"a": "xyz"}, True),
    ('endsWith(a, "yz")', {"a": "xyz"}, True),
    ('not endsWith(a, "yz")', {}, False),
    ('wildcard(a, "x*", "q")', {"a": "xyz"}, True),
    ('cidrMatch(a, "10.0.0.0/8")', {"a": "10.200.3.4"}, True),
    ('cidrMatch(a, "10.0.0.0/8")', {"a": "101.0.0.1"}, False),
    ('cidrMatch(a, "172.16.0.0/12")', {"a": "172.31.255.255"}, True),
    ('cidrMatch(a, "172.16.0.0/12")', {"a": "172.32.0.1"}, False),
    ('cidrMatch(a, "1.2.3.4/32", "5.6.7.0/24")', {"a": "5.6.7.8"}, True),
    ("true", {}, True),
]


@pytest.mark.parametrize(("condition", "fields", "holds"), CONDITIONS)
def test_a_condition_holds_as_it_does_in_eql(judge, condition, fields, holds):
    found = judge(f"any where {condition}", "eql", logs=[log(**fields)], decisions=GROUPED)
    assert found == (BAD if holds else GOOD)


TWO = "sequence by k with maxspan=1m [any where a == 1] [any where b == 1]"
RUNS = "sequence by k with maxspan=10s [any where a == 1] with runs=3"
SEQUENCES = [
    (TWO, [log(a=1), log("60s", b=1)], BAD),
    (TWO, [log(a=1), log("61s", b=1)], GOOD),
    (TWO, [log(b=1), log("1s", a=1)], GOOD),  # the other way round
    (TWO, [log(a=1), log("1s", b=1, k="two")], GOOD),  # another key
    (TWO, [log(a=1, b=1)], GOOD),  # one record is not two
    (TWO, [log(a=1), log("1s", c=1), log("2s", b=1)], BAD),  # others may stand between
    (RUNS, [log(a=1), log("5s", a=1), log("10s", a=1)], BAD),
    (RUNS, [log(a=1), log("6s", a=1), log("12s", a=1)], GOOD),
    (RUNS, [log(a=1), log("1s", a=1)], GOOD),
    ("sequence by k with maxspan=1m [any where a == 1] ![any where b == 1]", [log(a=1)], BAD),
    ("sequence by k with maxspan=1m [any where a == 1] ![any where b == 1]", [log(a=1), log("59s", b=1)], GOOD),
    ("sequence by k with maxspan=1m ![any where b == 1] [any where a == 1]", [log(a=1), log("1s", b=1)], BAD),
    ("sequence by k with maxspan=1m ![any where b == 1] [any where a == 1]", [log(b=1), log("1s", a=1)], GOOD),
    (
        "sequence by k with maxspan=1m [x where true] [y where true]",
        [log(**{"event.category": "x"}), log("1s", **{"event.category": "y"})],
        BAD,
    ),
]


@pytest.mark.parametrize(("text", "logs", "verdict"), SEQUENCES)
def test_a_sequence_is_found_as_eql_finds_it(judge, text, logs, verdict):
    assert judge(text, "eql", logs=logs) == verdict


def test_a_sample_of_two_needs_a_length_of_time(judge):
    text = "sample by k [any where a == 1] [any where b == 1]"
    assert "--within" in refusal(text, "eql").text
    decided = Decisions(owner="x", severity="low", within_ns=60 * 10**9)
    assert judge(text, "eql", logs=[log(b=1), log("30s", a=1)], decisions=decided) == BAD
    assert judge(text, "eql", logs=[log(b=1), log("90s", a=1)], decisions=decided) == GOOD


def test_a_chain_without_maxspan_goes_from_each_to_the_next(judge):
    text = "sequence by k [any where a == 1] [any where b == 1] [any where c == 1]"
    decided = Decisions(owner="x", severity="low", within_ns=60 * 10**9)
    assert judge(text, "eql", logs=[log(a=1), log("50s", b=1), log("100s", c=1)], decisions=decided) == BAD
    assert judge(text, "eql", logs=[log(a=1), log("50s", c=1), log("100s", b=1)], decisions=decided) == GOOD


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sequence by k with maxspan=1m [any where a == 1] [any where b == 1] [any where c == 1]", "3 events in a row"),
        ("sequence by k with maxspan=1m [any where a == 1] [any where b == 1] until [any where c == 1]", "`until`"),
        ("sequence by k [any where a == 1] [any where b == 1]", "no maxspan"),
        ("sequence with maxspan=1m [any where a == 1] [any where b == 1]", "there is no `by`"),
        ("sequence with maxspan=1m [any where a == 1] by x [any where b == 1] by y", "different names"),
        ("sequence by k with maxspan=1m [any where a == 1] with runs=5 [any where b == 1]", "6 events in a row"),
        ("any where a == 1", "--group-by"),
        ("sequence by trace.id with maxspan=1m [any where a == 1] [any where true]", "`trace.id` as a key"),
        ("sequence by service with maxspan=1m [any where a == 1] [any where true]", "`service` as a key"),
        ("sequence by k with maxspan=1m [any where length(a) > 3] [any where true]", "no counterpart|only fields"),
        ('sequence by k with maxspan=1m [any where a < "x"] [any where true]', "no order"),
        ('sequence by k with maxspan=1m [any where a == "x" and a == "y"] [any where true]', "a list there"),
        ('sequence by k with maxspan=1m [any where cidrMatch(a, "::1")] [any where true]', "IPv6"),
        ('sequence by k with maxspan=1m [any where a regex "x~y"] [any where true]', "Lucene"),
        ("sequence by k with maxspan=1m [any where a == 1] [any where true] | unique b", "`unique` has no counterpart"),
        ("sequence by k with maxspan=1m [any where a ==", "no EQL"),
        ("sequence by k with maxspan=1m [any where not true] [any where true]", "nothing can match"),
    ],
)
def test_what_cannot_be_said_exactly_is_refused(text, reason):
    assert re.search(reason, refusal(text, "eql").text)


def test_a_rule_in_toml_brings_its_name_and_severity():
    text = f"[rule]\nname = \"Two\"\nseverity = \"high\"\nlanguage = \"eql\"\nquery = '''\n{TWO}\n'''\n"
    draft = translated(text, "eql", Decisions(owner="x"))
    assert (draft.title, draft.severity, draft.line, draft.group_by) == ("Two", "high", 5, ("k",))


def test_runs_beside_other_steps_are_refused_by_their_name():
    note = refusal("sequence by k with maxspan=1m [any where a == 1] with runs=5 [any where b == 1]", "eql")
    assert "`with runs` beside other steps" in note.text


def test_a_choice_with_what_always_holds_always_holds():
    text = "sequence by k with maxspan=1m [any where true or a == 1] [any where b == 1]"
    assert translated(text, "eql").expressions["detect"] == "any(log(b == 1) after log() within 1m on k)"
