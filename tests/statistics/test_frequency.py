import math

import numpy as np
import pytest
from scipy import stats

from dagster_project.statistics.frequency import (
    DispersionTest,
    dispersion,
    dispersion_test,
    quasi_poisson_ratio,
    rate_ratio,
    thin_days,
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
    assert test.degrees == 6


@pytest.mark.parametrize(("first", "second"), [(3, 11), (4, 14), (30, 15), (2, 9), (0, 5)])
def test_the_exact_interval_and_its_p_value_always_say_the_same(first, second):
    at = rate_ratio(first, 30, second, 30).p_value
    assert 0 < at < 1
    for confidence, excludes in ((1 - at * 1.001, True), (1 - at * 0.999, False)):
        rate = rate_ratio(first, 30, second, 30, confidence=confidence)
        assert (rate.low > 1 or (rate.high is not None and rate.high < 1)) is excludes


def test_the_quasi_poisson_ratio_is_that_of_the_frequencies_with_poissons_error_times_the_dispersion():
    spread = DispersionTest(ratio=4.0, p_value=0.0, degrees=10)
    effect = quasi_poisson_ratio((100, 50), (60, 60), spread)
    assert effect.ratio == pytest.approx(0.5)
    error = 2 * math.sqrt(1 / 100 + 1 / 60)
    assert math.log(effect.high / 0.5) == pytest.approx(2.228139 * error, rel=1e-6)  # t(10)
    assert math.log(0.5 / effect.low) == pytest.approx(2.228139 * error, rel=1e-6)
    narrower = quasi_poisson_ratio((100, 50), (60, 60), DispersionTest(ratio=0.2, p_value=1.0, degrees=10))
    assert math.log(narrower.high / 0.5) == pytest.approx(2.228139 * error / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (np.linspace(0, 99, 60), None),
        (
            np.append(np.linspace(0, 30, 60), 99.0),
            "95% of its incidents lie in the first 29 of 100 days: give `ends_at`",
        ),
        (
            np.append(0.0, np.linspace(70, 99, 60)),
            "95% of its incidents lie in the last 29 of 100 days: give `starts_at`",
        ),
        (np.append(np.linspace(0, 30, 18), 99.0), None),
    ],
)
def test_days_that_hardly_hold_an_incident_are_told(days, said):
    started_at = MONDAY + (days * 86_400).astype("timedelta64[s]")
    assert thin_days(started_at, MONDAY, 100.0) == said
    assert thin_days(started_at, None, 100.0) is None


@pytest.mark.parametrize("weeks", [4, 8, 26])
@pytest.mark.parametrize("burst", [0.0, 0.3, 1.0])
def test_bursts_do_not_cry_wolf_however_few_the_weeks(weeks, burst):
    generator = np.random.default_rng(weeks)
    runs, found, poisson = 600, 0, 0
    for _ in range(runs):
        scale = generator.gamma(1 / burst, burst, (2, weeks)) if burst else np.ones((2, weeks))
        first, second = generator.poisson(8 * scale)
        days = 7.0 * weeks
        counts = (int(first.sum()), days), (int(second.sum()), days)
        if min(counts[0][0], counts[1][0]) == 0:
            continue
        found += quasi_poisson_ratio(*counts, dispersion_test(first, second)).p_value < 0.05
        poisson += rate_ratio(*counts[0], *counts[1]).p_value < 0.05
    assert found / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert burst < 1 or poisson / runs > 0.3


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [([3, 4, 5], [3, 4, 5, 6], "too_few_weeks"), ([0, 0, 0, 0], [0, 0, 0, 0], "no_incidents")],
)
def test_counts_without_a_dispersion_are_named(first, second, code):
    result = dispersion_test(np.array(first), np.array(second))
    assert isinstance(result, NotPossible)
    assert result.code == code


def test_no_incident_or_no_time_gives_no_ratio():
    spread = DispersionTest(ratio=1.0, p_value=0.5, degrees=6)
    assert quasi_poisson_ratio((0, 30), (9, 30), spread).code == "no_incidents"
    with pytest.raises(ValueError, match="positive time"):
        quasi_poisson_ratio((9, 0), (9, 30), spread)
