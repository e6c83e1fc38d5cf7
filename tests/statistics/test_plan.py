from pathlib import Path

import pytest

from dagster_project.policy.document import DocumentError, parse_document
from dagster_project.statistics.plan import ComparisonPlans, load_plans

REPO = Path(__file__).parents[2]


def parse(text):
    return parse_document(text, ComparisonPlans, Path("comparisons.yml"))


def test_the_shipped_plans_are_valid_and_have_distinct_hashes():
    plans = load_plans(REPO / "data/comparisons.yml").comparisons
    assert len({plan.sha256 for plan in plans}) == len(plans) >= 5


def test_the_hash_follows_every_threshold_and_no_formatting(plan):
    assert plan().sha256 == plan().sha256
    assert plan(alpha=0.05).sha256 == plan().sha256
    assert plan(alpha=0.01).sha256 != plan().sha256
    assert plan(caveats=["one"]).sha256 != plan().sha256


def test_times_are_utc(plan):
    assert str(plan(starts_at="2026-01-01T02:00:00+02:00").starts_at) == "2026-01-01 00:00:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "comparisons:\n  - id: abc\n    question: q\n    baseline: {label: a}\n",
            ":2: comparisons.0.candidate: Field required",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n"
            "    baseline: {label: a, side: before}\n    candidate: {label: b}\n",
            "there is no `cut_over_at`",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n    cut_over_at: 2026-01-01T00:00:00Z\n"
            "    baseline: {label: a}\n    candidate: {label: b}\n",
            "no arm has `side: before`",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n    alpha: 5\n"
            "    baseline: {label: a}\n    candidate: {label: b}\n",
            ":4: comparisons.0.alpha: Input should be less than 0.5 (found 5)",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n    where: {colour: [red]}\n"
            "    baseline: {label: a}\n    candidate: {label: b}\n",
            ":4: comparisons.0.where.colour: Extra inputs are not permitted",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n    exclusions: [{where: {}, reason: no}]\n"
            "    baseline: {label: a}\n    candidate: {label: b}\n",
            "would leave out everything",
        ),
        (
            "comparisons:\n  - id: abc\n    question: q\n    starts_at: 2026-01-01\n"
            "    baseline: {label: a}\n    candidate: {label: b}\n",
            ":4: comparisons.0.starts_at",
        ),
    ],
)
def test_mistakes_name_line_and_cure(text, expected):
    with pytest.raises(DocumentError, match=r"comparisons\.yml:") as caught:
        parse(text)
    assert expected in str(caught.value)


def test_an_id_twice_is_refused():
    one = "  - {id: abc, question: q, baseline: {label: a}, candidate: {label: b}}\n"
    with pytest.raises(DocumentError, match="given twice"):
        parse("comparisons:\n" + one + one)
