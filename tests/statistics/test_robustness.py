import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.robustness import hedges_g, intention_to_treat, without_largest
from dagster_project.statistics.survival import Lifetimes

LOGS = st.lists(st.floats(min_value=0, max_value=12), min_size=1, max_size=12).map(np.array)
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_hedges_g_of_sleep():
    # R: effsize::cohen.d(hedges.correction = TRUE) gives 0.797; d is t sqrt(2 / 10), the exact factor 0.9577 for 18.
    d = 1.8608 * math.sqrt(2 / 10)
    difference = hedges_g(SLEEP_1, SLEEP_2)
    assert difference.g == pytest.approx(0.9577 * d, abs=2e-4)
    assert round(difference.g, 3) == 0.797
    error = math.sqrt(20 / 100 + difference.g**2 / 40)
    assert difference.high - difference.g == pytest.approx(1.959964 * error)


def test_hedges_g_is_without_bias_and_covers():
    generator = np.random.default_rng(1)
    runs = [hedges_g(generator.normal(0, 1, 23), generator.normal(0.5, 1, 8)) for _ in range(2_000)]
    values = np.array([run.g for run in runs])
    assert values.mean() == pytest.approx(0.5, abs=3 * values.std() / math.sqrt(values.size))
    covered = np.mean([run.low <= 0.5 <= run.high for run in runs])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2_000))


@settings(deadline=None)
@given(LOGS, LOGS, st.floats(-5, 5))
def test_hedges_g_knows_no_unit_and_turns_with_the_arms(baseline, candidate, log_scale):
    there, back = hedges_g(baseline, candidate), hedges_g(candidate, baseline)
    if isinstance(there, NotPossible):
        assert isinstance(back, NotPossible)
        return
    assert (-back.g, -back.high) == pytest.approx((there.g, there.low))
    if np.ptp(baseline) + np.ptp(candidate) > 1e-3:  # else a shift rounds the spread away
        assert hedges_g(baseline + log_scale, candidate + log_scale).g == pytest.approx(there.g, rel=1e-6, abs=1e-9)


def test_one_incident_that_made_the_difference_is_found_out():
    first = np.log(np.arange(1.0, 21.0))
    second = np.append(first[:-1], math.log(1e9))
    with_it = stats.ttest_ind(second, first, equal_var=False)
    assert with_it.statistic > 0.8
    without = without_largest(first, second)
    assert without.ratio == pytest.approx(1)
    assert without.low < 1 < without.high


def test_intention_to_treat_counts_those_that_never_ended():
    first = Lifetimes.of(np.arange(1.0, 31.0), np.empty(0))
    second = Lifetimes.of(np.arange(1.0, 16.0), np.full(15, 60.0))
    assert intention_to_treat(first, second).ratio > 2


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [([], [], "too_few"), ([1.0], [1.0, 2.0], "too_few"), ([1.0] * 4, [1.0] * 4, "all_equal")],
)
def test_arms_that_carry_no_number_are_named(first, second, code):
    arms = np.array(first), np.array(second)
    assert hedges_g(*arms).code == code
    assert without_largest(*arms).code == code
