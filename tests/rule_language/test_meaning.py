import pytest

from dagster_project.rule_language import read_inline

BASE = 'let: {c: span("charge")} when: any(c where a > 1) always: distinct(c.b) == 1 report: {x: sum(c.amount)}'


def meaning(text):
    return read_inline(text).meaning_hash


@pytest.mark.parametrize(
    "same",
    [
        BASE.replace("c:", "charge:").replace("(c ", "(charge ").replace("(c.", "(charge."),
        BASE.replace("a > 1", "( a  >  1.0 )"),
        BASE.replace("a > 1", 'attribute."a" > 1e0'),
        BASE.replace('let: {c: span("charge")} ', "")
        .replace("(c ", '(span("charge") ')
        .replace("(c.", '(span(name = "charge").'),
        "title: Another owner: x severity: low " + BASE,
    ],
)
def test_ways_of_writing_do_not_change_the_meaning(same):
    assert meaning(same) == meaning(BASE)


@pytest.mark.parametrize(
    "other",
    [
        BASE.replace("a > 1", "a >= 1"),
        BASE.replace("a > 1", '"a" == "1"'),
        BASE.replace("charge", "charges"),
        BASE.replace("always", "never"),
        BASE.replace("== 1", "== 2"),
        BASE.replace("sum", "first"),
        BASE + " group_by: o gap: 1h",
        BASE + " group_by: o gap: 2h",
        BASE + " group_by: p gap: 1h",
    ],
)
def test_what_a_rule_says_changes_its_meaning(other):
    assert meaning(other) != meaning(BASE)


def test_the_hash_is_pinned():
    # A change here re-judges every rule of every warehouse: raise MEANING_VERSION on purpose, not by accident.
    assert meaning(BASE) == "13c5788841f19e4d2f2cbded99f36240"
