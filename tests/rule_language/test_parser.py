import time
from decimal import Decimal

import pytest

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.text import syntax as tree
from dagster_project.rule_language.text.parser import parse, parse_duration

NAME = tree.Name


def number(value):
    return tree.Value(Decimal(value), "number")


def baseline(same_hour, at_least):
    past = tree.Baseline(7 * 86_400 * 10**9, same_hour, at_least)
    return tree.Compare(">", tree.Call("count", NAME("a"), None, None), past)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 1", tree.Compare("==", NAME("a"), number(1))),
        ("a = 1", tree.Compare("==", NAME("a"), number(1))),
        ("-2.5 < a", tree.Compare("<", number("-2.5"), NAME("a"))),
        ("a - -1 > 0", tree.Compare(">", tree.Arithmetic("-", NAME("a"), number(-1)), number(0))),
        (
            "a * 2 + b > 0",
            tree.Compare(">", tree.Arithmetic("+", tree.Arithmetic("*", NAME("a"), number(2)), NAME("b")), number(0)),
        ),
        ("not a or b and c", tree.Or((tree.Not(NAME("a")), tree.And((NAME("b"), NAME("c")))))),
        ("(a or b) and c", tree.And((tree.Or((NAME("a"), NAME("b"))), NAME("c")))),
        ("a or b or c", tree.Or((NAME("a"), NAME("b"), NAME("c")))),
        ("a not in [1]", tree.Not(tree.In(NAME("a"), tree.ValueList((number(1),))))),
        ('a == "x\\"y\\n\\u00e9"', tree.Compare("==", NAME("a"), tree.Value('x"y\né', "text"))),
        ('a matches r"\\d+"', tree.Matches(NAME("a"), tree.Value("\\d+", "text"))),
        ("a > 1h30m", tree.Compare(">", NAME("a"), tree.Value(5400 * 10**9, "duration"))),
        ("a > 64KiB", tree.Compare(">", NAME("a"), number(65536))),
        ("missing(a)", tree.Presence(False, NAME("a"))),
        ("notify == 1", tree.Compare("==", NAME("notify"), number(1))),
        ("order and nullable or trueish", tree.Or((tree.And((NAME("order"), NAME("nullable"))), NAME("trueish")))),
        ("count == 2", tree.Compare("==", NAME("count"), number(2))),
        ('s."http.route"', tree.Path("s", "http.route")),
        ("count(s.x)", tree.Call("count", NAME("s"), "x", None)),
        ("any(span())", tree.Call("any", tree.Selector("span", None, ()), None, None)),
        ("any(s where a)", tree.Call("any", NAME("s"), None, NAME("a"))),
        (
            "all(log(severity >= error) where a == true)",
            tree.Call(
                "all",
                tree.Selector("log", None, (tree.Compare(">=", NAME("severity"), NAME("error")),)),
                None,
                tree.Compare("==", NAME("a"), tree.Value(True, "boolean")),
            ),
        ),
    ],
)
def test_text_becomes_a_tree(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("", 0, "empty", ""),
        ("any(x", 5, "did not expect the end", "missing"),
        ("any(x) any(y)", 7, "did not expect `any`", "operator is missing"),
        ("a andd b", 2, "did not expect `andd`", "operator is missing"),
        ("a && b", 2, "did not expect `&`", "`and`"),
        ("cuont(x) > 1", 0, "`cuont` is no function", "`count`"),
        ("spam(x)", 0, "`spam` is no function", "`span`"),
        ("a == 'b'", 5, "double quotes", ""),
        ('a == "b', 5, "does not end", ""),
        ("a > 5xs", 4, "`5xs` is no number", "ms"),
        ('a == "\\d"', 6, "no escape", 'r"'),
        ("a > 1e400", 4, "too large", ""),
        ("a > 0.3ns", 4, "whole number of nanoseconds", ""),
        ("a > 1000000d", 4, "292 years", ""),
        ("any(x where a >> b)", 15, "did not expect `>`", "any(a >> b)"),
        ("any(x where a ~ b)", 14, "did not expect `~`", "structure stands between sets"),
        ("any(x where near(y))", 12, "`near` is no function", ""),
        ("any(a near b)", 12, "did not expect `)`", ""),
        ("any(a == b)", 6, "no `==` between sets", "a condition stands after `where`"),
        ("a before count(b)", 9, "a set is expected on each side of an order", "let"),
        ("a.middle before b", 0, "a set is expected on each side of an order", "a.end before b.start"),
        ("a before b within 0.3ns", 18, "whole number of nanoseconds", ""),
        ("count(x) > 3 per minute", 17, "`minute` is no duration", ""),
        ("count(x) by service > baseline(7d, at least 1.5)", 44, "`at least` takes a whole number", ""),
        ("p96(s.duration) > 1s", 0, "`p96` is no function", "`p9"),
        ("metrics(x)", 0, "`metrics` is no function", "`metric`"),
        ("not " * 60 + "a", None, "nested deeper than 50", "let"),
        ("(a + " * 60 + "a" + ")" * 60 + " > 1", None, "nested deeper than 50", "let"),
    ],
)
def test_mistakes_say_where_and_what(text, offset, message, hint):
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert message in raised.value.message
    assert hint in raised.value.hint
    if offset is not None:
        assert raised.value.start == offset


SET = tree.Name("a"), tree.Name("b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any(a > b)", tree.Structured(">", False, *SET)),
        ("any(a !>> b)", tree.Structured(">>", True, *SET)),
        ("any(a ~ b)", tree.Structured("~", False, *SET)),
        ("any(a unless b)", tree.Unless(*SET)),
        ("any(a near b within 5s)", tree.Joined("near", *SET, 5 * 10**9, None)),
        ("any(a after b within 1m on anything)", tree.Joined("after", *SET, 60 * 10**9, ())),
        ('any(a near b within 1m on trace, "k.x")', tree.Joined("near", *SET, 60 * 10**9, ("trace", "k.x"))),
        ("any(a > b > a)", tree.Structured(">", False, tree.Structured(">", False, *SET), NAME("a"))),
        ("any(a > (b > a))", tree.Structured(">", False, NAME("a"), tree.Structured(">", False, *SET[::-1]))),
        ("any(a < (b where c))", tree.Structured("<", False, NAME("a"), tree.Filtered(NAME("b"), NAME("c")))),
    ],
)
def test_sets(text, expected):
    made = parse(text)
    assert isinstance(made, tree.Call)
    assert made.items == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a before b", tree.Ordered("before", NAME("a"), "start", NAME("b"), "start", None)),
        ("a.end before b within 5s", tree.Ordered("before", NAME("a"), "end", NAME("b"), "start", 5 * 10**9)),
        ("a followed by b.end", tree.Ordered("followed by", NAME("a"), "start", NAME("b"), "end", None)),
        ("all(q: x)", tree.Call("all", NAME("q"), None, NAME("x"))),
        ("all(q in a > b: x)", tree.Call("all", tree.Structured(">", False, *SET), None, NAME("x"), "q")),
        ("max(a.b) by c, d > 1", tree.Compare(">", tree.Call("max", NAME("a"), "b", None, by=("c", "d")), number(1))),
        ("count(a) > 1 per 1s", tree.Compare(">", tree.Call("count", NAME("a"), None, None), number(1), 10**9)),
        ("count(a) > baseline(7d)", baseline(False, None)),
        ("count(a) > baseline(7d, same hour)", baseline(True, None)),
        ("count(a) > baseline(7d, at least 5)", baseline(False, 5)),
        ("count(a) > baseline(7d, same hour, at least 5)", baseline(True, 5)),
    ],
)
def test_scope_conditions(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("word", ["after", "near", "by", "on", "per", "before", "within", "unless", "baseline", "min"])
def test_words_of_the_language_may_be_attributes(word):
    assert parse(f"any(a where {word} > 1)").condition == tree.Compare(">", NAME(word), number(1))


def test_brackets_without_nesting_are_no_depth():
    assert parse("(" * 200 + "a" + ")" * 200) == NAME("a")


def test_a_thousand_operands_are_no_depth():
    tree_ = parse(" and ".join(["a"] * 1000))
    assert isinstance(tree_, tree.And)
    assert len(tree_.operands) == 1000


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("24h", 86_400 * 10**9), ("500ms", 5 * 10**8), ("1.5s", 15 * 10**8), ("1us", 1000)]
)
def test_durations(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "24", "h", "24 h", "-1h", "1h 30m", "1x"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_a_mistake_behind_a_long_word_is_explained_in_linear_time():
    started = time.perf_counter()
    with pytest.raises(ExpressionError):
        parse("a" * 60_000 + " a")
    with pytest.raises(ExpressionError, match="is no function"):
        parse("any(x) and a" + "a" * 60_000 + "(1)")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("text", "start", "message", "hint"),
    [
        ('span("a") followed by span("b") within 5', "condition", "`5` is no duration", "after `within`: 5s"),
        ('span("a") followed by span("b") within 5min', "condition", "`5min` is no duration", ": 5m"),
        ('span("a") followed by span("b") within 5sec', "condition", "`5sec` is no duration", ": 5s"),
        ('span("a") followed by span("b") within a', "condition", "`a` is no duration", ": 1s"),
        ("count(x) > 5 per minute", "condition", "`minute` is no duration", "a duration stands after `per`: 1m"),
        ("count(x) > 5 per day", "condition", "`day` is no duration", ": 1d"),
        ("count(x) per minute > 5", "condition", "did not expect `per`", "count(x) > 5 per 1m"),
        ("span(status = error).name", "report", "did not expect `span`", "write first(...), count(...)"),
    ],
)
def test_durations_and_reports_are_explained(text, start, message, hint):
    with pytest.raises(ExpressionError) as raised:
        parse(text, start=start)
    assert message in raised.value.message
    assert hint in raised.value.hint
