import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from dagster_project.statistics import power
from dagster_project.statistics.power import minimal_detectable_log_ratio, resampled_risks


def test_a_medium_effect_is_seen_with_63_77_an_arm():
    # R: power.t.test(delta = .5, power = .8) gives n = 63.77
    n = 63.77
    assert minimal_detectable_log_ratio(n, n, 2 * math.sqrt(2 / n)) == pytest.approx(0.5 * 2, rel=1e-4)


# Davidovič, Incident Metrics in SRE (2021), Table 1: incidents in all and in 2019, mean and standard deviation of the
# time to resolve in minutes. The incidents themselves were not published: a log-normal sample of that count, mean and
# deviation stands in for them. The published shares follow with half of the year's incidents an arm where every
# incident is 10 % shorter, and with the year's incidents an arm where nothing changed.
COMPANIES = {
    "A": (779, 173, 146, 316, 0.38, 0.19),
    "B": (348, 103, 151, 301, 0.40, 0.23),
    "C": (2_157, 609, 271, 413, 0.20, 0.10),
}


def log_normal_sample(count, mean, deviation):
    z = stats.norm.ppf((np.arange(count) + 0.5) / count)

    def excess(sigma):
        values = np.exp(sigma * z)
        return values.std() / values.mean() - deviation / mean

    values = np.exp(optimize.brentq(excess, 0.1, 5) * z)
    return values * mean / values.mean()


@pytest.mark.parametrize(("count", "in_a_year", "mean", "deviation", "worse", "by_chance"), COMPANIES.values())
def test_davidovics_shares_within_three_points(count, in_a_year, mean, deviation, worse, by_chance):
    durations = log_normal_sample(count, mean, deviation)
    assert (durations.mean(), durations.std()) == pytest.approx((mean, deviation), rel=1e-6)
    halves = resampled_risks(durations, in_a_year // 2, in_a_year - in_a_year // 2, 30, gain=0.1)
    assert halves.wrong_sign == pytest.approx(worse, abs=0.03)
    years = resampled_risks(durations, in_a_year, in_a_year, 30)
    assert years.as_large_by_chance == pytest.approx(by_chance, abs=0.03)


def test_large_arms_are_drawn_from_the_same_distribution_by_bins(monkeypatch):
    durations = np.random.default_rng(1).lognormal(3, 1.3, 4_000)
    singly = resampled_risks(durations, 3_000, 2_000, 1.2, gain=0.03, seed=1)
    monkeypatch.setattr(power, "DRAWN_AT_MOST", 0)
    binned = resampled_risks(durations, 3_000, 2_000, 1.2, gain=0.03, seed=2)
    assert binned != singly
    for name in ("wrong_sign", "as_large_by_chance"):
        share = getattr(singly, name)
        assert 0.05 < share < 0.5
        assert getattr(binned, name) == pytest.approx(share, abs=4 * math.sqrt(2 * share * (1 - share) / 9_999))


def test_a_worsening_is_weighed_on_its_own_side():
    durations = np.random.default_rng(2).lognormal(3, 1, 500)
    better, worse = (resampled_risks(durations, 50, 50, observed, seed=3) for observed in (5.0, -5.0))
    assert better.as_large_by_chance == pytest.approx(worse.as_large_by_chance, abs=0.02)
    assert resampled_risks(durations, 50, 50, 1e6).as_large_by_chance == 0


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=30), st.integers(min_value=1, max_value=30), st.floats(0.01, 100))
def test_scaling_time_changes_no_risk(n, m, unit):
    durations = np.random.default_rng(n).lognormal(0, 1, 40)
    one = resampled_risks(durations, n, m, 0.3, resamples=99)
    other = resampled_risks(unit * durations, n, m, 0.3 * unit, resamples=99)
    assert one.wrong_sign == pytest.approx(other.wrong_sign, abs=0.011)  # rounding may turn one draw that ties
    assert one.as_large_by_chance == pytest.approx(other.as_large_by_chance, abs=0.011)


def test_draws_are_the_same_twice():
    durations = np.random.default_rng(4).lognormal(3, 1, 9_000)
    assert resampled_risks(durations, 9_000, 40, 2.0, seed=5) == resampled_risks(durations, 9_000, 40, 2.0, seed=5)


def test_equal_durations_never_mislead():
    risks = resampled_risks(np.full(5, 60.0), 5, 5, 1.0)
    assert (risks.wrong_sign, risks.as_large_by_chance) == (0, 0)


@pytest.mark.parametrize(("durations", "n", "m"), [([], 4, 4), ([1.0], 0, 4), ([1.0], 4, 0)])
def test_nothing_to_draw_is_refused(durations, n, m):
    with pytest.raises(ValueError, match="resampling needs"):
        resampled_risks(np.array(durations), n, m, 1.0)
