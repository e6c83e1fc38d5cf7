import pytest

from dagster_project.rule_language import read_inline
from dagster_project.rule_language.planning.estimates import Group, Statistics
from dagster_project.rule_language.planning.planner import plan

RARE, WIDE = 'any(span("rare", a > 1))', "any(span())"


def anchored_sets(when, rest="always: count(span()) > 2"):
    made = plan(read_inline(f"when: {when} {rest}").judgement)
    return None if made.anchor is None else {len(made.sets[number].condition.operands) for number in made.anchor}


@pytest.mark.parametrize(
    ("when", "conditions_of_anchor"),
    [
        (RARE, {2}),
        (f"{WIDE} and {RARE}", {2}),
        (f"{RARE} or {WIDE}", {2, 0}),
        (f"{RARE} or none(span())", None),
        ('none(span("x"))', None),
        ('not none(span("x"))', {1}),
        ('all(span("x") where a > 1)', None),
        ('not all(span("x") where a > 1)', {1}),
        ('count(span("x")) >= 1', {1}),
        ('count(span("x")) >= 0', None),
        ('count(span("x")) < 3', None),
        ('not count(span("x")) < 3', {1}),
        ('2 < distinct(span("x").a)', {1}),
        ('count(span("x")) == 0', None),
        ('count(span("x")) - count(span()) > 0', {1, 0}),
        ('sum(span("x").a) > 0', {1}),
        ('sum(span("x").a) >= 0', None),
        ('max(span("x").a) > 0', None),  # over nothing it is unknown, not false
        ('max(span("x").a) + count(span()) > 0', None),
        ('count(span("x")) > 3 per 1m', {1}),
        ('span("x") before span("y", a > 1)', None),
        ('not span("x") before span("y", a > 1)', {2}),
        ('not span("x") followed by span("y", a > 1)', {1}),
    ],
)
def test_the_anchor_is_what_the_rule_cannot_apply_without(when, conditions_of_anchor):
    assert anchored_sets(when) == conditions_of_anchor


def test_candidates_are_looked_for_only_when_they_spare_reading():
    assert plan(read_inline(f"when: {RARE} always: count(span()) > 2").judgement).needs_candidates
    assert not plan(read_inline(f"when: {RARE} never: {RARE}").judgement).needs_candidates
    assert not plan(read_inline(f"when: all(span() where a) never: {RARE}").judgement).needs_candidates


def test_groups_are_formed_by_selectors_not_by_where():
    made = plan(
        read_inline('group_by: o gap: 1h when: any(span("x") where a > 1) never: any(span("x") where b > 1)').judgement
    )
    assert [len(made.sets[number].condition.operands) for number in made.relevant] == [1]


@pytest.mark.parametrize(("left", "right", "anchor"), [(10, 5_000, "left"), (5_000, 10, "right")])
def test_the_anchor_is_the_side_that_is_rarer_in_the_data(left, right, anchor):
    statistics = Statistics(
        {"span": (Group("s", "left", left), Group("s", "right", right), Group("s", "other", 90_000))}
    )
    judgement = read_inline('when: any(span("left")) and any(span("right")) always: any(span("other"))').judgement
    made = plan(judgement, statistics)
    assert made.anchor == {made.set_of(made.judgement.when.operands[("left", "right").index(anchor)].items)}
    assert made.needs_candidates


def test_an_anchor_that_is_nearly_everything_is_not_looked_for_twice():
    statistics = Statistics({"span": (Group("s", "a", 90_000), Group("s", "b", 10))})
    judgement = read_inline('when: any(span("a")) always: any(span("b"))').judgement
    assert plan(judgement).needs_candidates
    assert not plan(judgement, statistics).needs_candidates


@pytest.mark.parametrize(
    ("rule", "back"),
    [
        ("detect: max(span().duration) by service > baseline(90m)", 2 * 3600),
        ("detect: max(span().duration) by service > 5s", 0),
        ("group_by: k gap: 5m detect: any(span())", 300),
        ("detect: any(span())", 0),
    ],
)
def test_items_are_read_as_far_back_as_they_matter(rule, back):
    assert plan(read_inline(rule).judgement).back_ns == back * 10**9


@pytest.mark.parametrize(
    ("condition", "can_lose"),
    [
        ("any(span())", True),
        ("any(event())", True),
        ("any(log())", False),
        ("any(log(root.service == service))", True),
        ("any(log() near span() within 1s)", True),
        ("any(log() near span() within 1s on service)", False),
        ("any(log() near deploy() within 1s)", False),
    ],
)
def test_what_a_trace_may_have_lost_is_known_of_each_rule(condition, can_lose):
    assert plan(read_inline(f"detect: {condition}").judgement).can_lose is can_lose
