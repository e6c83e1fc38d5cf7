import math

import numpy as np
import pytest

from dagster_project.policy.policy import ClockName
from dagster_project.statistics.gates import first_refusal, mix_overlap
from dagster_project.statistics.significance import Verdict, compare

VARIED = np.geomspace(60, 6_000, 25)


def refusal(plan, first, second):
    """The gate's code; the comparison must agree with it and never hold an effect."""
    found = first_refusal(plan, first, second)
    result = compare(plan, first, second)
    if found is None:
        assert result.verdict is not Verdict.NOT_COMPARABLE
        return None
    assert result.verdict is Verdict.NOT_COMPARABLE
    assert result.effects is None
    assert result.reason == found.code
    assert result.sentence == f"Not comparable: {found.reason}."
    assert "nan" not in result.sentence.lower()
    return found.code


def test_two_varied_arms_pass(arm, plan):
    assert refusal(plan(), arm(VARIED), arm(VARIED, label="after")) is None


@pytest.mark.parametrize(("n", "code"), [(0, "empty_arm"), (1, "too_few"), (4, "too_few"), (5, None)])
def test_small_arms(arm, plan, n, code):
    assert refusal(plan(), arm(VARIED), arm(VARIED[:n], label="after")) == code


def test_one_equal_duration_alone_is_too_few_rather_than_equal(arm, plan):
    assert refusal(plan(), arm([120.0]), arm([120.0], label="after")) == "too_few"


def test_all_open(arm, plan):
    later = arm([], open_ages=np.full(30, 500.0), label="after")
    assert refusal(plan(), arm(VARIED), later) == "all_open"


def test_planned_lengths_at_one_priority_and_service(arm, plan):
    first, second = arm(np.full(19, 120.0)), arm(np.full(9, 120.0), label="after")
    assert refusal(plan(), first, second) == "all_equal"
    sentence = compare(plan(), first, second).sentence
    assert "all 19 incidents of before last exactly 120 s, at one priority (P2), at one service (shop)" in sentence


def test_negative_times(arm, plan):
    assert refusal(plan(), arm([*VARIED, -5.0]), arm(VARIED, label="after")) == "negative_times"


def test_missing_times_beyond_what_the_plan_allows(arm, plan):
    lacking = arm([*VARIED, math.nan, math.nan])
    assert refusal(plan(), lacking, arm(VARIED, label="after")) == "missing_times"
    assert refusal(plan(max_missing_share=0.1), lacking, arm(VARIED, label="after")) is None


def test_zeros_are_missing_unless_the_plan_states_the_clocks_step(arm, plan):
    zeros = arm([*VARIED, 0.0, 0.0, 0.0])
    assert refusal(plan(), zeros, arm(VARIED, label="after")) == "missing_times"
    assert refusal(plan(clock_resolution_seconds=60), zeros, arm(VARIED, label="after")) is None
    assert compare(plan(clock_resolution_seconds=60), zeros, arm(VARIED, label="after")).baseline_summary.minimum == 30


def test_different_clocks(arm, plan):
    assert refusal(plan(), arm(VARIED), arm(VARIED, label="after", clock=ClockName.MITIGATE)) == "different_clocks"


def test_different_sources_of_the_same_clock(arm, plan):
    other = arm(VARIED, label="after", sources=np.full(25, "desk.opened_at to desk.resolved_at"))
    assert refusal(plan(), arm(VARIED), other) == "different_sources"


def test_overlapping_arms(arm, plan):
    assert refusal(plan(), arm(VARIED), arm(VARIED)) == "overlapping_arms"


def test_an_incident_twice(arm, plan):
    ids = np.array([f"x{n // 2}" for n in range(25)])
    assert refusal(plan(), arm(VARIED, incident_ids=ids), arm(VARIED, label="after")) == "repeated_incidents"


def test_severities_without_overlap(arm, plan):
    assert refusal(plan(), arm(VARIED), arm(VARIED, label="after", severities="P4")) == "severities_differ"


def test_cut_over_outside_the_data(arm, plan):
    cut = plan(
        cut_over_at="2030-01-01T00:00:00Z",
        baseline={"label": "before", "side": "before"},
        candidate={"label": "after", "side": "after"},
    )
    assert refusal(cut, arm(VARIED), arm([], label="after", days=0.0)) == "cut_over_outside_data"


def test_mix_overlap():
    assert mix_overlap(np.array(["a", "a", "b", "b"]), np.array(["a", "b"])) == 1
    assert mix_overlap(np.array(["a", "a", "a", "b"]), np.array(["a", "b"])) == pytest.approx(0.75)
    assert mix_overlap(np.array(["a"]), np.array(["b"])) == 0
