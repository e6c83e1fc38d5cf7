import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.effects import (
    clustered_log_difference,
    mann_whitney,
    ratio_of,
    welch,
)

SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
LOGS = st.lists(st.floats(min_value=0, max_value=12), min_size=5, max_size=12, unique=True).map(np.array)


def test_welch_agrees_with_r_on_sleep():
    # R: t.test(extra ~ group, data = sleep)
    test = welch(SLEEP_2, SLEEP_1)
    assert round(test.statistic, 4) == -1.8608
    assert round(test.degrees_of_freedom, 3) == 17.776
    assert round(test.p_value, 5) == 0.07939
    assert (round(test.low, 7), round(test.high, 7)) == (-3.3654832, 0.2054832)


@given(LOGS, LOGS, st.floats(min_value=-5, max_value=5))
def test_scaling_time_leaves_the_ratio(baseline, candidate, log_scale):
    before, after = ratio_of(welch(baseline, candidate)), ratio_of(welch(baseline + log_scale, candidate + log_scale))
    assert (after.ratio, after.low, after.high) == pytest.approx((before.ratio, before.low, before.high), rel=1e-6)


@given(LOGS, LOGS)
def test_swapping_arms_inverts_the_ratio(baseline, candidate):
    there, back = ratio_of(welch(baseline, candidate)), ratio_of(welch(candidate, baseline))
    assert (1 / back.ratio, 1 / back.high, 1 / back.low) == pytest.approx(
        (there.ratio, there.low, there.high), rel=1e-6
    )


def test_welch_needs_variation():
    with pytest.raises(ValueError, match="some variation"):
        welch(np.ones(5), np.ones(5))


@given(LOGS, LOGS)
def test_cliffs_delta_counts_pairs(baseline, candidate):
    pairs = np.sign(candidate[:, None] - baseline[None, :])
    result = mann_whitney(baseline, candidate)
    assert result.cliffs_delta == pytest.approx(pairs.mean(), abs=1e-9)
    assert 0 <= result.p_value <= 1


def test_incidents_of_one_bad_day_count_as_one_experience():
    generator = np.random.default_rng(3)
    days = np.datetime64("2026-01-01") + np.repeat(np.arange(12), 25)
    shared = np.repeat(generator.normal(0, 1, 12), 25)
    first, second = shared + generator.normal(0, 0.2, 300), shared[::-1] + 0.3 + generator.normal(0, 0.2, 300)
    independent = welch(first, second)
    _, low, high = clustered_log_difference(first, second, days, days)
    assert high - low > 3 * (independent.high - independent.low)
    assert clustered_log_difference(first[:60], second, days[:60], days) is None
