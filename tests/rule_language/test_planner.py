import pytest

from dagster_project.rule_language import read_inline
from dagster_project.rule_language.planner import plan

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
