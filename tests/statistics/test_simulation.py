"""The error rates for which the protocol was chosen, at 156 against 23 incidents with a log spread of 1.3."""

import math

import numpy as np
import pytest
from scipy import stats

from dagster_project.statistics.effects import welch
from dagster_project.statistics.permutation import permutation_test

RUNS, N_BASELINE, N_CANDIDATE, SPREAD = 8_000, 156, 23, 1.3


@pytest.fixture(scope="module")
def nothing_changed():
    generator = np.random.default_rng(20_260_101)
    return generator.normal(0, SPREAD, (RUNS, N_BASELINE)), generator.normal(0, SPREAD, (RUNS, N_CANDIDATE))


def test_welch_on_raw_minutes_cries_wolf_twice_too_often(nothing_changed):
    first, second = (np.exp(logs) for logs in nothing_changed)
    false_positives = (stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05).mean()
    assert false_positives == pytest.approx(0.11, abs=0.015)


def test_welch_on_logs_keeps_its_level_and_covers(nothing_changed):
    result = stats.ttest_ind(nothing_changed[1], nothing_changed[0], axis=1, equal_var=False)
    assert (result.pvalue < 0.05).mean() == pytest.approx(0.05, abs=0.008)
    interval = result.confidence_interval(0.95)
    assert ((interval.low <= 0) & (interval.high >= 0)).mean() == pytest.approx(0.95, abs=0.008)


def test_the_simulated_test_is_the_one_in_use(nothing_changed):
    first, second = nothing_changed[0][0], nothing_changed[1][0]
    assert welch(first, second).p_value == pytest.approx(stats.ttest_ind(second, first, equal_var=False).pvalue)


def test_studentised_permutation_keeps_its_level_with_unequal_spreads():
    generator = np.random.default_rng(1)
    hits = sum(
        permutation_test(generator.normal(0, 0.5, 60), generator.normal(0, 2, 15), resamples=999, seed=run).p_value
        <= 0.05
        for run in range(600)
    )
    assert hits / 600 < 0.085  # a permutation of plain mean differences is near 0.25 here


def test_means_of_ended_incidents_are_a_quarter_too_short():
    generator = np.random.default_rng(2)
    lengths = np.exp(generator.normal(np.log(1.05), SPREAD, 400_000))
    is_open = lengths > generator.uniform(0, 30, lengths.size)
    assert is_open.mean() == pytest.approx(0.08, abs=0.01)
    assert lengths[~is_open].mean() / lengths.mean() == pytest.approx(0.75, abs=0.05)


def test_bca_on_the_ratio_of_means_misses_more_often_than_it_says(nothing_changed):
    runs = 1_000
    arms = [np.exp(logs[:runs]) for logs in nothing_changed]
    generator = np.random.default_rng(3)

    def log_ratio(baseline, candidate, axis):
        return np.log(candidate.mean(axis=axis)) - np.log(baseline.mean(axis=axis))

    covered = 0
    for first, second in zip(*arms, strict=True):
        interval = stats.bootstrap(
            (first, second), log_ratio, n_resamples=999, vectorized=True, method="BCa", rng=generator
        ).confidence_interval
        covered += interval.low <= 0 <= interval.high
    # Binomial error of the runs: 1.1 points.
    assert covered / runs == pytest.approx(0.87, abs=3 * math.sqrt(0.87 * 0.13 / runs))


def test_twenty_peeks_cry_wolf_in_a_quarter_of_all_cases():
    # A look after every 20 incidents an arm; Armitage, McPherson and Rowe (1969) give 24.8 %.
    runs, looks, step = 4_000, 20, 20
    generator = np.random.default_rng(4)
    logs = generator.normal(0, SPREAD, (2, runs, looks * step))
    seen = step * np.arange(1, looks + 1)
    means = logs.cumsum(axis=2)[:, :, seen - 1] / seen
    variances = ((logs**2).cumsum(axis=2)[:, :, seen - 1] / seen - means**2) * seen / (seen - 1)
    statistic = (means[1] - means[0]) / np.sqrt(variances.sum(axis=0) / seen)
    is_rejected = 2 * stats.t.sf(np.abs(statistic), 2 * seen - 2) < 0.05
    assert is_rejected[:, -1].mean() == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / runs))
    assert is_rejected.any(axis=1).mean() == pytest.approx(0.25, abs=3 * math.sqrt(0.25 * 0.75 / runs))
    # Bonferroni over the looks, as a plan with several of them has it, keeps the level.
    assert (2 * stats.t.sf(np.abs(statistic), 2 * seen - 2) < 0.05 / looks).any(axis=1).mean() < 0.05
