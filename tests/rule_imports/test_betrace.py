"""BeTrace in both dialects, judged; and the whitepaper's payment rule beside ours."""

from pathlib import Path

import pytest
import yaml

from dagster_project.rule_imports.imported import Decisions
from dagster_project.rule_imports.importing import STAND_INS, import_rules
from dagster_project.rule_imports.rule_text import rule_text
from dagster_project.rule_language import read_rule
from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.writing.betrace import looks_like_betrace, translate
from tests.rule_imports.conftest import refusal, translated
from tests.rule_imports.published_rules import WHITEPAPER

ROOT = Path(__file__).parents[2]
DAY = 24 * 3_600 * 10**9
GOOD, BAD, NONE = "satisfied", "violated", "not applicable"


def span(name, **attributes):
    return {"name": name, **({"attributes": attributes} if attributes else {})}


VERDICTS = [
    ("when { a } always { b }", [span("a")], BAD),
    ("when { a } always { b }", [span("a"), span("b")], GOOD),
    ("when { a } always { b }", [span("b")], NONE),
    ("when { a } never { b }", [span("a"), span("b")], BAD),
    ("when { a } never { b } always { c }", [span("a"), span("c")], GOOD),
    ("when { a } always { c } never { b }", [span("a")], BAD),
    ("when { a.b.where(x > 1).where(y == USD) } never { c }", [span("a.b", x=2, y="USD"), span("c")], BAD),
    ("when { a.where(x > 1).where(y == USD) } never { c }", [span("a", x=2), span("a", y="USD"), span("c")], NONE),
    ("when { a.where(x != 1) } never { a }", [span("a")], BAD),  # != is true of a missing attribute
    ("when { a.where(not ok_so) } never { a }", [span("a")], BAD),
    ("when { a.where(not ok_so) } never { a }", [span("a", ok_so=True)], NONE),
    ("when { a.where(x > 1) } never { a }", [span("a")], NONE),
    ('when { a.where(x in [p, "q r"]) } never { a }', [span("a", x="q r")], BAD),
    ("when { a.where(x not in [p]) } never { a }", [span("a")], BAD),
    ('when { a.where("x.y" == true) } never { a }', [span("a", **{"x.y": True})], BAD),
    ("when { a.where(x.y == true) } never { a }", [span("a", **{"x.y": True})], BAD),
    ('when { a.where(x contains "a.c") } never { a }', [span("a", x="-a.c-")], BAD),
    ('when { a.where(x contains "a.c") } never { a }', [span("a", x="abc")], NONE),
    ('when { a.where(x matches "^b+$") } never { a }', [span("a", x="bb")], BAD),
    ("when { a.where(status >= 500) } never { a }", [span("a", status=500)], BAD),
    ("when { count(a) > 1 } never { a }", [span("a"), span("a")], BAD),
    ("when { count(a) != count(b) } never { a or b }", [span("a"), span("b")], NONE),
    ("when { count(a) != count(b) } never { a or b }", [span("a"), span("a"), span("b")], BAD),
    ("when { a and (b or not c) } never { a }", [span("a"), span("c")], NONE),
    ("when { a and (b or not c) } never { a }", [span("a")], BAD),
    ("when { a or b and c } never { d }", [span("a"), span("d")], BAD),  # and binds more closely
]


@pytest.mark.parametrize(("text", "spans", "verdict"), VERDICTS)
def test_a_rule_says_what_betrace_says(judge, text, spans, verdict):
    assert judge(text, "betrace", spans) == verdict


def test_the_payment_rule_of_the_whitepaper_means_what_ours_means():
    ours = ROOT / "rules" / "payments" / "payment-idempotency.yml"
    rule = read_rule("rules/payments/payment-idempotency.yml", ours.read_text(encoding="utf-8"))
    decisions = Decisions(owner="payments", severity="critical", polarity="assert", group_by=("order_id",), gap_ns=DAY)
    draft = translated(WHITEPAPER, "betrace", decisions)
    imported = read_rule(f"{draft.id}.yml", rule_text(draft, decisions, STAND_INS))
    # What a rule reports is a part of its meaning, and the whitepaper's has none.
    bare = yaml.safe_load(ours.read_text(encoding="utf-8"))
    del bare["report"]
    without_report = read_rule("rules/payments/payment-idempotency.yml", yaml.safe_dump(bare))
    assert imported.meaning_hash == without_report.meaning_hash
    assert (imported.judgement.when, imported.judgement.bad) == (rule.judgement.when, rule.judgement.bad)


def test_the_payment_rule_below_assert_in_a_file_means_the_same():
    text = f"group_by: order_id\ngap: 24h\nassert: |\n  {WHITEPAPER.replace(chr(10), chr(10) + '  ')}"
    fields = "id: x\ntitle: x\nseverity: low\nowner: x\n"
    tests = "tests:\n" + "".join(
        f"  - {{name: {verdict}, verdict: {verdict}, spans: [{{name: x}}]}}\n" for verdict in ("violated", "satisfied")
    )
    below = read_rule("rules/x/x.yml", f"{fields}{text.rstrip()}\n{tests}")
    ours = read_rule(
        "rules/payments/payment-idempotency.yml",
        (ROOT / "rules" / "payments" / "payment-idempotency.yml").read_text(encoding="utf-8"),
    )
    assert (below.judgement.when, below.judgement.bad) == (ours.judgement.when, ours.judgement.bad)


PAYMENT = Decisions(owner="x", severity="low", polarity="assert", group_by=("order_id",), gap_ns=DAY)


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ({"attempt": 2, "payment_intent_id": "pi-2"}, BAD),
        ({"attempt": 2, "payment_intent_id": "pi-1"}, GOOD),
        ({"attempt": 1, "payment_intent_id": "pi-2"}, NONE),
        ({"attempt": 2}, GOOD),  # a missing intent is not a different one
    ],
)
def test_the_payment_rule_judges_across_traces(judge, second, verdict):
    first = {"attempt": 1, "payment_intent_id": "pi-1"}
    spans = [
        {"name": "payment.charge", "trace": trace, "at": at, "attributes": {"order_id": 7, **more}}
        for trace, at, more in (("a", "0s", first), ("b", "30s", second))
    ]
    assert judge(WHITEPAPER, "betrace", spans, decisions=PAYMENT) == verdict


def test_leading_has_becomes_when_and_the_rest_what_must_hold_or_is_bad():
    text = "trace.has(a) and trace.has(b) and not trace.has(c) and trace.has(d)"
    asserted, detected = translate(text, "assert"), translate(text, "detect")
    assert asserted.when == detected.when == 'any(span("a")) and any(span("b"))'
    assert asserted.always == detected.never == 'none(span("c")) and any(span("d"))'
    assert translate("trace.has(a) and trace.has(b)", "detect").never == 'any(span("a")) and any(span("b"))'
    assert translate("trace.has(a) or trace.has(b)", "assert").always == 'any(span("a")) or any(span("b"))'


@pytest.mark.parametrize(
    ("text", "start", "reason"),
    [
        ("trace.has(a)", 0, "nothing says which"),
        ("trace.has(a).where(b == unique)", 19, "`unique` says something only as"),
        ("trace.count(a).where(b == unique) == trace.count(c)", 37, "compared with numbers only"),
        ("trace.count(a).where(b == unique).where(c == unique) == 1", 0, "two `unique`"),
        ("trace.count(a).where(status == unique) == 1", 0, "field of spans"),
        ("trace.has(a).where(b > c)", 23, 'compares with the text "c"'),
        ('trace.has(a).where(b < "c")', 23, "no order"),
        ("trace.has(a) and", 16, "did not expect the end"),
        ("trace.has(a) && trace.has(b)", 13, "did not expect `&`"),
        ("a.b > 5", 0, "its evaluator does not read"),
        ("trace.has(a).where(b in c)", 24, "wants a list"),
        ("", 0, "empty"),
        ("(" * 60 + "trace.has(a)" + ")" * 60, None, None),
        ("not " * 2000 + "trace.has(a)", None, "nested deeper"),
    ],
)
def test_what_has_no_stated_meaning_is_refused_at_its_place(text, start, reason):
    if reason is None:  # brackets leave no trace in the tree, so they are no depth
        assert translate(f"{text} or trace.has(b)", "assert").always
        return
    with pytest.raises(ExpressionError) as caught:
        translate(text, "assert")
    assert reason in caught.value.message
    assert start is None or caught.value.start == start


def test_a_text_is_known_by_its_words_outside_strings():
    assert looks_like_betrace("trace.has(a)")
    assert looks_like_betrace("// c\nnot trace . count (a) > 2")
    assert not looks_like_betrace('any(span("trace.has(x)"))')
    assert not looks_like_betrace("any(span()) // trace.has(x)")
    assert not looks_like_betrace("mytrace.has(x)")


def test_one_bad_rule_leaves_the_others():
    found = import_rules("when { a }\nwhen { b } always { c }\nwhen { d( } never { e }", "r.txt", Decisions())
    assert [(one.line, one.draft is not None) for one in found] == [(1, False), (2, True), (3, False)]
    assert "--polarity detect" in found[0].refused[0].text


def test_a_when_that_is_bad_by_itself_is_decided_by_a_person(judge):
    decided = Decisions(owner="x", severity="low", polarity="detect")
    assert judge("when { a }", "betrace", [span("a")], decisions=decided) == BAD
    assert judge("when { a }", "betrace", [span("b")], decisions=decided) == GOOD


def test_an_expression_alone_needs_its_polarity():
    assert "--polarity" in refusal("trace.has(a) and trace.count(b) > 1", "betrace").text


def test_every_document_of_a_file_is_read():
    rule = "rules:\n- id: {0}\n  name: {0}\n  severity: high\n  condition: when {{ a }} never {{ b }}\n"
    found = import_rules(f"{rule.format('one')}---\n{rule.format('two')}", "x.yaml", Decisions(), "betrace")
    assert [(one.name, one.line, one.draft is not None) for one in found] == [("one", 5, True), ("two", 11, True)]
