import pytest

from dagster_project.rule_language import RuleErrors, load_catalogue, read_inline, read_rule

PATH = "rules/shop/sample.yml"
GOOD = """\
id: sample
title: Sample
severity: low
owner: shop
let:
  charge: span("charge")
when: any(charge)
always: all(charge where amount > 0)
tests:
  - {name: bad, verdict: violated, spans: [{name: charge, attributes: {amount: 0}}]}
  - {name: good, verdict: satisfied, spans: [{name: charge, attributes: {amount: 1}}]}
"""


def errors(text, path=PATH):
    with pytest.raises(RuleErrors) as raised:
        read_rule(path, text)
    return raised.value.errors


def test_a_rule_is_read():
    rule = read_rule(PATH, GOOD)
    assert (rule.id, rule.domain, rule.status, rule.scope_kind) == ("sample", "shop", "active", "trace")
    assert dict(rule.expressions) == {
        "let": 'charge: span("charge")',
        "when": "any(charge)",
        "always": "all(charge where amount > 0)",
    }
    assert [example.verdict for example in rule.examples] == ["violated", "satisfied"]


@pytest.mark.parametrize(
    ("replace", "by", "line", "pointed_at", "message", "hint"),
    [
        ("severity: low", "severity: lowest", 3, "lowest", "`lowest` is no severity", "`low`"),
        ("severity: low", "status: shadowy\nseverity: low", 3, "shadowy", "`shadowy` is no status", "`shadow`"),
        ("title: Sample\n", "", 1, "id", "`title` is missing", ""),
        ("owner: shop\n", "", 1, "id", "`owner` is missing", ""),
        ("owner: shop", "ownre: shop", 4, "ownre", "a rule has no field `ownre`", "`owner`"),
        ("id: sample", "id: other", 1, "other", "not the name of its file", "other.yml"),
        ("id: sample", "id: Sample_1", 1, "Sample_1", "`Sample_1` is no id", ""),
        ("any(charge)", "any(chrage)", 7, "chrage", "no binding is called `chrage`", "`charge`"),
        ("any(charge)", "any(charge) andd any(charge)", 7, "andd", "did not expect `andd`", ""),
        ("amount > 0", "duraton > 5s", 8, "duraton", "compares an attribute with a duration", "`duration`"),
        ("amount > 0", "foo > 5ms", 8, "foo", "compares an attribute with a duration", ": foo * 1ms > 5ms"),
        ("amount > 0", "90s <= foo", 8, "90s", "compares a duration with an attribute", ": 90s <= foo * 1ms"),
        ("amount > 0", "duration > 5", 8, "duration", "compares a duration with a number", "500ms"),
        ("amount > 0", "amount == null", 8, "null", "null compares with nothing", "missing"),
        ("amount > 0", "status == eror", 8, "eror", "`eror` is no status", "`error`"),
        ("amount > 0", 'http.route == "x"', 8, "http.route", "nothing is called `http`", '"http.route"'),
        ("amount > 0", "severity > info", 8, "severity", "`severity` is a field of logs", "attribute.severity"),
        ("amount > 0", 'amount matches "(?=x)"', 8, '"(?=x)"', "invalid perl operator", "RE2"),
        ("amount > 0", 'amount matches "(x"', 8, '"(x"', "no pattern of RE2", ""),
        ("amount > 0", 'name > "a"', 8, "name", "does not order text", ""),
        ("amount > 0", "parent.depth == 1", 8, "parent.depth", "is not read of a parent", "structure"),
        ("amount > 0", "charge == amount", 8, "charge", "`charge` is a set, not a value", "charge.field"),
        ("amount > 0", "refund.amount == amount", 8, "refund.amount", "nothing is called `refund`", "refund.amount"),
        ("amount > 0", 'scope.nam == "x"', 8, "scope.nam", "a span has no `scope.nam`", "scope.name"),
        ("when: any(charge)", "when: any(charge > log())", 7, "log", "this is a set of logs", "near"),
        ("when: any(charge)", "when: any(charge unless log())", 7, "charge", "so nothing", ""),
        ("when: any(charge)", "when: any(deploy())", 7, "deploy", "a deploy belongs to no trace", "after"),
        (
            "when: any(charge)",
            "when: any(charge near ticket(x == 1) within 1h)",
            7,
            "x",
            "a ticket has no `x`",
            "title",
        ),
        ("when: any(charge)", "when: any(charge near deploy() within 1h on trace)", 7, "charge", "no trace", "service"),
        ("when: any(charge)", "when: any(charge near deploy() within 1h on k)", 7, "charge", "no attribute `k`", ""),
        ("when: any(charge)", "when: any(event(duration > 1s))", 7, "duration", "a field of spans", "attribute."),
        ("when: any(charge)", "when: any(link(resource.x == 1))", 7, "resource.x", "no resource", ""),
        ("when: any(charge)", "when: max(charge.duration) > 5", 7, "max", "a duration with a number", "500ms"),
        ("when: any(charge)", "when: sum(charge.start) > 5", 7, "sum", "`start` is a time", ""),
        ("when: any(charge)", "when: max(charge.end) > 5s", 7, "max", "a time with a duration", ""),
        ("when: any(charge)", "when: max(charge.end) * 2 > 5s", 7, "max", "no `*` between a time", ""),
        ("when: any(charge)", "when: avg(charge.name) > 5", 7, "avg", "`name` is a text", ""),
        ("when: any(charge)", "when: count(charge) < 5 per 1m", 7, "count", "`per` stands after", "some stretch"),
        ("when: any(charge)", "when: count(charge) > count(charge) per 1m", 7, "count", "`per` stands after", ""),
        ("when: any(charge)", "when: count(charge) > 2 per 0s", 7, "count", "no length", ""),
        ("when: any(charge)", "when: count(charge) > baseline(7d)", 7, "count", "a baseline needs `by`", "by service"),
        ("when: any(charge)", "when: 3 > baseline(7d)", 7, "baseline", "exactly one quantity", ""),
        (
            "when: any(charge)",
            "when: count(charge) by a > 1 and count(charge) by b > 1",
            7,
            "count",
            "this one by b",
            "share",
        ),
        ("when: any(charge)", "when: count(charge) by duration > 1", 7, "count", "cannot group", ""),
        ("when: any(charge)", "gap: 1h\nwhen: count(charge) by a > 1", 7, "1h", "`gap` beside `by`", ""),
        ("when: any(charge)", "group_by: [trace.a, b]\ngap: 1h", 7, "[", "together", "trace.a, trace.b"),
        ("when: any(charge)", "group_by: name\ngap: 1h\nwhen: any(log())", 7, "name", "cannot group logs", ""),
        ("when: any(charge)", "skew: 10", 7, "10", "`10` is no duration", ""),
        ("when: any(charge)", "when: charge", 7, "charge", "a condition on the whole scope", "any"),
        ("when: any(charge)", "when: count(charge)", 7, "count", "is a number, not a condition", "> 1"),
        ("when: any(charge)", "when: all(charge)", 7, "all", "`all` needs a `where`", ""),
        ("when: any(charge)", "when: distinct(charge) > 1", 7, "distinct", "needs a field", "distinct(charge.field)"),
        ("when: any(charge)", "when: any(charge.amount)", 7, "any", "takes items, not a field", ""),
        ("when: any(charge)", "when: 1 < 2", 7, "1", "compares two numbers", ""),
        ("when: any(charge)", "when: count(charge) * count(charge) > 1", 7, "count", "needs a plain number", ""),
        ("when: any(charge)", "when: count(charge) / 0 > 1", 7, "count", "by zero", ""),
        ("when: any(charge)", "when: true", 7, "true", "`when` is an expression", ""),
        ("when: any(charge)", "detect: any(charge)", 8, "all", "`always` beside `detect`", ""),
        ("always: all(charge where amount > 0)\n", "", 1, "id", "the rule says nothing", ""),
        ("when: any(charge)", "group_by: order", 7, "order", "come together", ""),
        ("when: any(charge)", "gap: 1h", 7, "1h", "come together", ""),
        ("when: any(charge)", "group_by: order\ngap: soon", 8, "soon", "`soon` is no duration", ""),
        ("when: any(charge)", "group_by: duration\ngap: 1h", 7, "duration", "cannot group", ""),
        ('span("charge")', 'span("charge")\n  other: span("x")', 7, "other", "nothing uses the binding `other`", ""),
        ('span("charge")', 'span("charge", amount >)', 6, ")", "did not expect `)`", ""),
        ('span("charge")', 'log("charge")', 6, "log", "a log has no name", ""),
        ("charge: span", "root: span", 6, "root", "`root` cannot name a binding", ""),
        ("verdict: satisfied", "verdict: violated", 10, "-", "no test has the verdict `satisfied`", ""),
        ("verdict: violated", "verdict: bad", 10, "bad", "`bad` is no verdict", ""),
        (
            "{name: charge, attributes: {amount: 1}}",
            "{name: charge, amount: 1}",
            11,
            "amount",
            "a span has no field `amount`",
            "attributes",
        ),
        (
            "{name: charge, attributes: {amount: 1}}",
            "{name: charge, at: soon}",
            11,
            "soon",
            "`soon` is no duration",
            "",
        ),
        ("{name: charge, attributes: {amount: 1}}", "{service: x}", 11, "{", "the span has no `name`", ""),
    ],
)
def test_a_mistake_is_named_with_line_and_column(replace, by, line, pointed_at, message, hint):
    assert replace in GOOD
    found = errors(GOOD.replace(replace, by))
    matching = [error for error in found if message in error.message]
    assert matching, found
    assert matching[0].line == line
    assert matching[0].source[matching[0].column - 1 :].startswith(pointed_at)
    assert hint in matching[0].hint
    assert matching[0].source == GOOD.replace(replace, by).splitlines()[line - 1]


def test_missing_tests():
    text = GOOD[: GOOD.index("tests:")]
    (error,) = errors(text)
    assert "`tests` is missing" in error.message


def test_all_mistakes_are_listed_and_shown_with_a_caret():
    found = errors(GOOD.replace("severity: low", "severity: x").replace("any(charge)", "any(y)"))
    assert [error.line for error in found] == [3, 6, 7] or [error.line for error in found] == [3, 7]
    shown = str(found[-1])
    assert shown.startswith("rules/shop/sample.yml:7:11: no binding is called `y`")
    assert "    when: any(y)\n              ^" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("- a", "a rule is a mapping"),
        ("id: a\nid: b", "`id` is here a second time; the first is in line 1"),
        ("id: &a b\ntitle: *a", "anchors and aliases"),
        ("a: &a [x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]", "anchors and aliases"),
        ("id: !!python/object/apply:os.system [ls]", "tags such as"),
        ("id: a\n---\nid: b", "one file holds one rule"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than 50"),
        ("a: {b: c", "no YAML"),
        ('when: any(x where a == "b: c")', "no YAML"),
        ("1: a", "is no text"),
        ("id: \x00", "no YAML"),
    ],
)
def test_hostile_or_broken_yaml_is_refused(text, message):
    assert any(message in error.message for error in errors(text))


def test_a_file_that_is_too_long_is_refused():
    assert "at most 65536" in errors("# " + "x" * 70_000)[0].message


def test_a_bomb_is_refused_before_it_is_built():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 100))
    assert "anchors and aliases" in errors(bomb)[0].message


@pytest.mark.parametrize(
    ("block", "line", "column"),
    [
        ("when: |\n  any(charge)\n  and any(oops)", 9, 11),
        ("when: >-\n  any(charge)\n  and any(oops)", 9, 11),
        ("when: any(charge)\n  and any(oops)", 8, 11),
        ("when: 'any(charge) and any(oops)'", 7, 28),
        ('when: "any(charge where a == \\"b\\") and any(oops)"', 7, 45),
    ],
)
def test_positions_survive_every_way_of_writing_a_text(block, line, column):
    (error,) = errors(GOOD.replace("when: any(charge)", block))
    assert "no binding is called `oops`" in error.message
    assert (error.line, error.column) == (line, column)


def test_yaml_has_no_surprises():
    rule = read_rule(PATH, GOOD.replace("amount: 0", "amount: 0, flag: yes, day: 2024-01-01, clock: 12:30"))
    assert rule.examples[0].spans[0].attributes == '{"amount":0,"flag":"yes","day":"2024-01-01","clock":"12:30"}'


def test_catalogue_lists_errors_of_all_files_and_double_ids():
    with pytest.raises(RuleErrors) as raised:
        load_catalogue({PATH: "id: x", "rules/a/sample.yml": GOOD, "rules/b/sample.yml": GOOD})
    paths = {error.path for error in raised.value.errors}
    assert paths == {PATH, "rules/b/sample.yml"}
    assert "is taken by rules/a/sample.yml" in str(raised.value)


def test_too_many_rules_are_refused():
    texts = {f"rules/x/r{number}.yml": GOOD.replace("id: sample", f"id: r{number}") for number in range(1001)}
    with pytest.raises(RuleErrors, match="the limit is 1000"):
        load_catalogue(texts)


def test_in_line_rules_stand_on_one_line():
    rule = read_inline('let: {c: span("x")} when: any(c where a == "b: #c") always: count(c) == 1')
    assert dict(rule.expressions) == {
        "let": 'c: span("x")',
        "when": 'any(c where a == "b: #c")',
        "always": "count(c) == 1",
    }
    assert (
        rule.meaning_hash
        == read_inline('when: any(span("x") where a == "b: #c")\nalways: count(span("x")) == 1').meaning_hash
    )


def test_in_line_mistakes_are_reported():
    with pytest.raises(RuleErrors, match=r"a set of spans or logs is expected|no binding|did not expect"):
        read_inline("detect: any(severty > 1)")
