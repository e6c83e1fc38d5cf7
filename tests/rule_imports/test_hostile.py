"""Texts that were not written in good faith: nothing gets through as a key, nothing recurses or crashes."""

import json
import string
import time
from decimal import Decimal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.rule_imports.imported import DIALECTS, MAX_BYTES, Decisions, Draft, TestTrace
from dagster_project.rule_imports.importing import STAND_INS, import_rules, recognise
from dagster_project.rule_imports.rule_text import rule_text
from dagster_project.rule_language import read_rule
from dagster_project.rule_language.text.parser import parse
from dagster_project.rule_language.text.syntax import Call, Compare, Matches
from dagster_project.rule_language.text.yaml_text import YamlText
from dagster_project.rule_language.writing.expression_text import literal

DECIDED = Decisions(owner="x", severity="low", group_by=("k",), gap_ns=10**9, polarity="detect", within_ns=10**9)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 30_000,
        "{" * 30_000,
        "not " * 15_000 + "a",
        "{ " + "!" * 30_000 + "span.a }",
        "{ span.a = " + "(" * 20_000 + "1" + ")" * 20_000 + " }",
        "any where " + "not " * 15_000 + "a == 1",
        "when { " + "not (" * 5_000 + "a" + ")" * 5_000 + " } always { b }",
        "[" * 20_000,
        "a: " * 20_000,
        "\x00" * 100,
        "&a [*a, *a]",
        "title: &x [1]\ndetection:\n  s: *x\nlogsource:\n  a: b\n",
        "---\n" * 30_000,
        '"' * 50_001,
        "/*" * 30_000,
        '"""' * 10_001,
        "`" * 30_001,
        "sequence by k with maxspan=1m " + "[any where true] " * 2_000,
        "{ " + " || ".join(["span.a = 1"] * 3_000) + " }",
        "",
        "\ufeff",
        "title: t\nlogsource: {a: b}\ndetection: {s: {a: " + "1" * 5_000 + "}, condition: s}\n",
        '[rule]\nlanguage = "eql"\nrisk_score = ' + "1" * 5_000 + '\nquery = "any where true"\n',
        "any where a == 1e99999999999",
        "sequence by k with maxspan=1m [any where true] with runs=1e999999999 [any where true]",
        "{ span.a = 1e999999999 }",
        "{ } | count() > 1e999999999",
    ],
    ids=range(27),
)
def test_hostile_texts_are_refused_in_good_time(dialect, text):
    started = time.perf_counter()
    found = import_rules(text, "evil.txt", DECIDED, dialect)
    assert found
    assert all(one.refused or one.draft for one in found)
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_that_is_none_becomes_no_attribute(number):
    text = f"title: t\nlogsource: {{a: b}}\ndetection: {{s: {{a: {number}}}, condition: s}}\n"
    (one,) = import_rules(text, "x.yml", DECIDED, "sigma")
    assert one.draft is None
    assert "too large a number" in one.refused[0].text
    with pytest.raises(ValueError, match="Infinity"):
        literal(Decimal("Infinity"))


def test_a_file_that_is_too_large_is_refused_unread():
    (one,) = import_rules("a" * (MAX_BYTES + 1), "big.txt", DECIDED)
    assert "at most" in one.refused[0].text


NASTY = [
    "x\nseverity: critical\nalways: any(span())",
    "x: y",
    "x # y",
    "'; drop",
    '" or any(span()) or "',
    "}\nwhen: any(span())",
    "- a",
    "!!python/object/apply:os.system [id]",
    "*alias",
    "null",
    "1e3",
    "yes",
    "2024-01-01",
    "\u2028x: y",
    "tab\there",
    "\x07bell",
    "multi\nline: text\n  x",
    "trailing \nspace",
    "{{ jinja }}",
]


@pytest.mark.parametrize("text", NASTY)
def test_texts_from_outside_stay_texts(text):
    test = TestTrace(text, "violated", ({"name": text, "attributes": {text: text}},))
    draft = Draft(id="x", title=text, line=1, expressions={"detect": "any(span())"}, description=text, controls=(text,))
    written = rule_text(draft, DECIDED, (test, STAND_INS[1]))
    root = YamlText("x.yml", written).root()
    assert set(root.value) == {
        "id", "title", "description", "severity", "status", "owner", "controls", "detect", "tests"
    }  # fmt: skip
    assert root.value["title"][1].value == text
    assert root.value["severity"][1].value == "low"
    read = yaml.safe_load(written)
    assert read["tests"][0]["spans"][0]["attributes"] == {text: text}
    assert read["controls"] == [text]


@pytest.mark.parametrize("text", NASTY)
def test_values_in_conditions_cannot_leave_their_string(text):
    quoted = json.dumps(text, ensure_ascii=True)
    for dialect, query in (
        ("traceql", f"{{ span.a = {json.dumps(text, ensure_ascii=False)} }}"),
        ("sigma", f"title: t\nlogsource: {{p: q}}\ndetection: {{s: {{a|cased: {quoted}}}, condition: s}}\n"),
    ):
        for one in import_rules(query, "x.txt", DECIDED, dialect):
            if one.draft is not None:
                rule = read_rule(f"{one.draft.id}.yml", rule_text(one.draft, DECIDED, STAND_INS))
                assert rule.severity == "low"
                assert set(one.draft.expressions) == {"detect"}
                tree = parse(one.draft.expressions["detect"])
                assert isinstance(tree, Call)
                assert isinstance(tree.condition, (Compare, Matches))


WORDS = """true { } ( ) [ ] ! && || | >> ~ = =~ != span.a resource.b .c nil 5 3ms count() avg(duration) by( select( :
status error sequence by with maxspan=1m until any where true a in like not and or when always never trace.has(a)
trace.count(a) .where( unique detection: correlation: - '"""
PIECES = [*WORDS.split(), '"x"', "`y`", "\n", " ", ": "]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(DIALECTS))
def test_no_text_crashes_a_reader(pieces, dialect):
    text = " ".join(pieces)
    for one in import_rules(text, "fuzz.txt", DECIDED, dialect):
        assert (one.draft is None) == bool(one.refused)
    recognise(text)


@settings(max_examples=100, deadline=None)
@given(st.text(string.printable, max_size=80), st.sampled_from(DIALECTS))
def test_no_characters_crash_a_reader(text, dialect):
    assert import_rules(text, "fuzz.txt", DECIDED, dialect)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("when { a } always { b }", "betrace"),
        ("// why\ntrace.has(a) and not trace.has(b)", "betrace"),
        ("title: t\nlogsource: {product: p}\ndetection: {s: {a: 1}, condition: s}\n", "sigma"),
        ("title: t\ncorrelation:\n  type: temporal\n", "sigma"),
        ("sequence by k [any where true] [any where true]", "eql"),
        ('process where a == "x"', "eql"),
        ('[rule]\nlanguage = "eql"\nquery = "any where true"\n', "eql"),
        ("// find\n{ status = error } | count() > 2", "traceql"),
        ("avg(duration) > 2ms", "traceql"),
        ("SELECT 1", None),
        ("", None),
    ],
)
def test_a_dialect_is_recognised(text, dialect):
    assert recognise(text) == dialect
