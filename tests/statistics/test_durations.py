import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.durations import (
    Tier,
    describe,
    geometric_mean,
    tier_of,
)

SECONDS = st.floats(min_value=1, max_value=1e7)


def test_summary_by_hand():
    summary = describe(np.array([1.0, 10.0, 100.0, 1000.0, 10_000.0]))
    assert summary.geometric_mean == pytest.approx(100)
    assert summary.median == 100
    assert summary.mean == pytest.approx(2222.2)
    assert summary.share_of_largest == pytest.approx(10_000 / 11_111)
    assert (summary.minimum, summary.maximum) == (1, 10_000)
    assert summary.coefficient_of_variation == pytest.approx(summary.standard_deviation / 2222.2)


def test_interval_of_the_geometric_mean_by_hand():
    # logs 0, 1, 2: mean 1, standard error 1/sqrt(3), t(2) = 4.302653
    low, centre, high = geometric_mean(np.exp([0.0, 1.0, 2.0]))
    assert math.log(centre) == pytest.approx(1)
    assert math.log(high) - 1 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 1 - math.log(low) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize(("n", "tier"), [(0, "dots"), (4, "dots"), (5, "indicative"), (19, "indicative"), (20, "full")])
def test_tiers(n, tier):
    assert tier_of(n) == Tier(tier)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_small_arm_is_dots_only(n):
    summary = describe(np.arange(1.0, n + 1))
    assert summary.n == n
    assert summary.geometric_mean is None
    assert summary.median is None


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_durations_are_refused(bad):
    with pytest.raises(ValueError, match="finite and positive"):
        describe(np.array([1.0, 2.0, 3.0, 4.0, bad]))


@given(st.lists(SECONDS, min_size=5, max_size=30))
def test_median_without_open_incidents_is_the_usual_one(values):
    assert describe(np.array(values)).median == pytest.approx(np.median(values))


@given(st.lists(SECONDS, min_size=5, max_size=30), st.lists(SECONDS, max_size=10), SECONDS)
def test_one_more_open_incident_never_shortens_the_median(ended, open_ages, another):
    before = describe(np.array(ended), np.array(open_ages)).median
    after = describe(np.array(ended), np.array([*open_ages, another])).median
    assert after is None or (before is not None and after >= before * (1 - 1e-9))


def test_no_median_while_most_are_open():
    assert describe(np.full(5, 5.0), np.full(9, 6.0)).median is None


def test_counting_open_incidents_removes_the_bias_of_the_ended_ones():
    generator = np.random.default_rng(5)
    lengths = np.exp(generator.normal(0, 1.3, 4_000))
    ages = generator.uniform(0, 8, 4_000)
    is_open = lengths > ages
    ended_only = float(np.log(lengths[~is_open]).mean())
    assert is_open.mean() > 0.15
    assert ended_only < -0.25
    assert describe(lengths[~is_open], ages[is_open]).median == pytest.approx(1, rel=0.1)
