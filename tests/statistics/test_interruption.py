import math

import numpy as np
import pytest

from dagster_project.statistics.interruption import (
    PeriodMeans,
    interrupted_series,
    period_means,
    placebo_test,
    regression_to_mean,
)
from dagster_project.statistics.not_possible import NotPossible

CUT_OVER = np.datetime64("2026-03-02T00:00", "us")


def days(numbers):
    return CUT_OVER + np.round(np.asarray(numbers) * 86_400e6).astype("timedelta64[us]")


def series(means, before):
    numbers = np.arange(len(means)) - before
    return PeriodMeans(numbers, np.asarray(means, dtype=np.float64), np.full(len(means), 9))


def incidents(generator, *, before=365, after=120, shift=0.0, drift=0.0, a_day=4, spread=1.3):
    at = np.sort(generator.uniform(-before, after, (before + after) * a_day))
    return spread * generator.standard_normal(at.size) + shift * (at >= 0) + drift * at / 365, days(at)


def test_periods_are_counted_from_the_cut_over_and_ragged_ones_left_out():
    at = days([-15, -13, -8, -7, -1, 0, 6.9, 7, 20])
    means = period_means(np.arange(9.0), at, CUT_OVER, 7)
    assert (means.numbers.tolist(), means.means.tolist()) == ([-2, -1, 0, 1], [1.5, 3.5, 5.5, 7])
    assert means.counts.tolist() == [2, 2, 2, 1]
    assert (means.before, means.after) == (2, 2)
    bounded = period_means(np.arange(9.0), at, CUT_OVER, 7, starts_at=days(-21), ends_at=days(21))
    assert (bounded.before, bounded.after) == (3, 3)
    assert period_means(np.empty(0), at[:0], CUT_OVER, 7).before == 0


def test_segmented_regression_finds_level_and_trends():
    time = np.arange(-20, 16)
    noise = 1e-3 * np.random.default_rng(1).standard_normal(time.size)
    result = interrupted_series(series(3 + 0.02 * time + (time >= 0) * (-0.5 + 0.03 * time) + noise, 20))
    assert result.level == pytest.approx(math.exp(-0.5), rel=3e-3)
    assert result.level_low < math.exp(-0.5) < result.level_high
    assert (result.trend_before, result.trend_after) == pytest.approx((math.exp(0.02), math.exp(0.05)), rel=1e-3)
    assert (result.periods_before, result.periods_after, result.lags) == (20, 16, 3)


def test_errors_are_newey_and_wests_by_hand():
    generator = np.random.default_rng(2)
    noise = generator.standard_normal(40)
    noise = noise + np.roll(noise, 1)
    given = series(noise, 20)
    result = interrupted_series(given)
    time = given.numbers.astype(float)
    x = np.column_stack([np.ones(40), time, time >= 0, (time >= 0) * time])
    bread = np.linalg.inv(x.T @ x)
    u = (given.means - x @ (bread @ x.T @ given.means))[:, None] * x
    meat = u.T @ u
    for lag in range(1, result.lags + 1):
        cross = u[lag:].T @ u[:-lag]
        meat += (1 - lag / (result.lags + 1)) * (cross + cross.T)
    error = math.sqrt((bread @ meat @ bread)[2, 2] * 40 / 36)
    assert math.log(result.level_high / result.level) == pytest.approx(2.028094 * error, rel=1e-5)  # t(36)


@pytest.mark.parametrize(("before", "after"), [(7, 20), (20, 7), (0, 0)])
def test_fewer_than_eight_periods_a_side_is_no_its(before, after):
    result = interrupted_series(series(np.arange(before + after), before))
    assert isinstance(result, NotPossible)
    assert result.code == "NO_ITS"
    assert result.reason.startswith(f"{before} periods before and {after} after")


def test_means_that_do_not_vary_are_no_its():
    assert interrupted_series(series(np.ones(20), 10)).code == "NO_ITS"
    assert regression_to_mean(series(np.ones(20), 10)).code == "all_equal"


def test_a_real_change_outranks_its_placebos_and_a_drift_does_not():
    changed = placebo_test(*incidents(np.random.default_rng(3), shift=-0.7), CUT_OVER)
    assert (changed.rank, changed.p_value, len(changed.placebos)) == (1, 1 / 13, 12)
    assert changed.ratio == pytest.approx(math.exp(-0.7), rel=0.15)
    assert all(placebo.cut_over_at < CUT_OVER for placebo in changed.placebos)
    drifting = placebo_test(*incidents(np.random.default_rng(4), drift=-2.5), CUT_OVER)
    assert drifting.ratio < 0.65
    assert drifting.rank > 2


def test_placebos_rank_every_place_alike_when_nothing_happened():
    ranks = [placebo_test(*incidents(np.random.default_rng(seed), a_day=1), CUT_OVER).rank for seed in range(400)]
    # Neighbouring placebos share incidents, so ranks lean to the ends; the first is still rare.
    assert np.mean(np.array(ranks) == 1) < 0.2
    assert np.mean(ranks) == pytest.approx(7, abs=1)


def test_placebo_windows_lie_in_the_baseline():
    logs, at = incidents(np.random.default_rng(5), before=100, after=300)
    test = placebo_test(logs, at, CUT_OVER)
    assert test.window_days == pytest.approx(25, abs=0.5)
    earliest, latest = test.placebos[0].cut_over_at, test.placebos[-1].cut_over_at
    assert (CUT_OVER - latest) / np.timedelta64(1, "D") == pytest.approx(25, abs=0.5)
    assert (CUT_OVER - earliest) / np.timedelta64(1, "D") == pytest.approx(75, abs=0.5)
    middle = test.placebos[5]
    place = (at - middle.cut_over_at) / np.timedelta64(1, "D")
    before, after = (-test.window_days <= place) & (place < 0), (place >= 0) & (place < test.window_days)
    assert (middle.before, middle.after) == (before.sum(), after.sum())
    assert middle.ratio == pytest.approx(math.exp(logs[after].mean() - logs[before].mean()))


@pytest.mark.parametrize("shift", [-1_000, 1_000])
def test_a_cut_over_outside_the_data_has_no_placebos(shift):
    logs, at = incidents(np.random.default_rng(6))
    assert placebo_test(logs, at, CUT_OVER + np.timedelta64(shift, "D")).code == "no_placebo"
    assert placebo_test(logs[:0], at[:0], CUT_OVER).code == "no_placebo"
    assert placebo_test(logs[::100], at[::100], CUT_OVER).code == "no_placebo"


def test_a_cut_over_after_the_worst_week_is_seen():
    generator = np.random.default_rng(7)
    quiet = np.append(generator.normal(3, 0.2, 20), generator.normal(3, 0.2, 10))
    assert not regression_to_mean(series(quiet, 20)).is_extreme
    worst = quiet.copy()
    worst[19] = 5
    found = regression_to_mean(series(worst, 20))
    assert found.is_extreme
    assert found.z > 5
    assert (found.last, found.periods) == (pytest.approx(math.exp(5)), 20)
    assert regression_to_mean(series(quiet, 7)).code == "too_few_periods"


def test_chance_alone_is_called_extreme_once_in_twenty():
    generator = np.random.default_rng(8)
    calls = np.mean([regression_to_mean(series(generator.normal(0, 1, 10), 9)).is_extreme for _ in range(3_000)])
    assert calls == pytest.approx(0.0455, abs=3 * math.sqrt(0.0455 / 3_000))
