import math

import numpy as np
import pytest
from scipy import stats

from dagster_project.statistics.frequency import (
    dispersion,
    dispersion_test,
    negative_binomial_ratio,
    rate_ratio,
    weekly_counts,
)
from dagster_project.statistics.not_possible import NotPossible

MONDAY = np.datetime64("2026-01-05", "us")


def test_rates_of_156_in_a_year_and_23_in_a_month():
    rate = rate_ratio(156, 365, 23, 30)
    assert rate.ratio == pytest.approx(1.794, abs=5e-4)  # incidents rose by 79 %
    # The exact interval by its definition: at its ends each tail of the conditional binomial holds 2.5 %.
    for bound, tail in (
        (rate.low, stats.binom.sf(22, 179, rate.low * 30 / (rate.low * 30 + 365))),
        (rate.high, stats.binom.cdf(23, 179, rate.high * 30 / (rate.high * 30 + 365))),
    ):
        assert tail == pytest.approx(0.025, abs=1e-6), bound


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 7), (7, 0)])
def test_rates_with_a_count_of_zero_are_never_nan(first, second):
    rate = rate_ratio(first, 30, second, 30)
    known = [value for value in (rate.ratio, rate.low, rate.high, rate.p_value) if value is not None]
    assert all(math.isfinite(value) for value in known)
    assert (rate.ratio is None) is (first == 0)


def test_a_rate_needs_time():
    with pytest.raises(ValueError, match="positive time"):
        rate_ratio(1, 0, 1, 30)


def test_dispersion_sees_bursts_and_not_weekends():
    workdays = [MONDAY + np.timedelta64(d, "D") for d in range(56) if d % 7 < 5 for _ in range(10)]
    assert dispersion(np.array(workdays)) < 0.1
    outage = [MONDAY + np.timedelta64(20, "D")] * 200
    assert dispersion(np.array([*workdays, *outage])) > 20
    assert dispersion(np.array(workdays[:50])) is None
    assert dispersion(np.empty(0, dtype="datetime64[us]")) is None


def test_weeks_without_incidents_count_and_ragged_ones_do_not():
    started = MONDAY + np.array([0, 1, 15, 36], dtype="timedelta64[D]")
    assert weekly_counts(started).tolist() == [2, 0, 1, 0, 0]
    assert weekly_counts(started, MONDAY - np.timedelta64(7, "D"), 54).tolist() == [0, 2, 0, 1, 0, 0, 1]
    assert weekly_counts(started[:0], MONDAY, 30).tolist() == [0, 0, 0, 0]
    assert weekly_counts(started[:0]).size == 0


def test_dispersion_test_by_hand():
    # Means 4 and 2; squared distances 8 and 4 over them: 2 + 2 on 3 + 3 degrees.
    test = dispersion_test(np.array([2, 6, 4, 4]), np.array([4, 2, 2, 0]))
    assert test.ratio == pytest.approx((8 / 4 + 8 / 2) / 6)
    assert test.p_value == pytest.approx(stats.chi2.sf(6, 6))
    assert not test.is_overdispersed


def test_negative_binomial_ratio_is_that_of_the_means_with_the_error_of_its_information():
    generator = np.random.default_rng(1)
    first, second = (generator.poisson(mean * generator.gamma(2, 0.5, 40)) for mean in (6, 9))
    effect = negative_binomial_ratio(first, second)
    assert effect.ratio == pytest.approx(second.mean() / first.mean(), rel=1e-4)
    # Lawless 1987: each arm adds (1 / mean + alpha) / weeks to the variance of the log ratio.
    variance = sum((1 / arm.mean() + effect.alpha) / arm.size for arm in (first, second))
    assert math.log(effect.high / effect.low) / (2 * 1.959964) == pytest.approx(math.sqrt(variance), rel=1e-2)


def test_bursts_cry_wolf_in_a_poisson_test_and_hardly_in_the_negative_binomial():
    generator = np.random.default_rng(2)
    runs, poisson, negative_binomial = 300, 0, 0
    for _ in range(runs):
        first, second = (generator.poisson(5 * generator.gamma(1, 1, 26)) for _ in range(2))
        poisson += rate_ratio(int(first.sum()), 182, int(second.sum()), 182).p_value < 0.05
        negative_binomial += negative_binomial_ratio(first, second).p_value < 0.05
    assert poisson / runs > 0.3
    assert negative_binomial / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ([3, 4, 5], [3, 4, 5, 6], "too_few_weeks"),
        ([0, 0, 0, 0], [0, 0, 0, 0], "no_incidents"),
        ([0, 0, 0, 0], [1, 9, 0, 30], "no_incidents"),
        ([3, 3, 3, 3], [3, 3, 3, 3], "no_overdispersion"),
    ],
)
def test_counts_without_a_negative_binomial_ratio_are_named(first, second, code):
    result = negative_binomial_ratio(np.array(first), np.array(second))
    assert isinstance(result, NotPossible)
    assert result.code == code
