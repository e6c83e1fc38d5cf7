import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagster_project.statistics import permutation
from dagster_project.statistics.effects import welch
from dagster_project.statistics.permutation import Arrangements, permutation_test

SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
LOGS = st.lists(st.floats(min_value=0, max_value=12), min_size=4, max_size=7, unique=True).map(np.array)


def test_permutation_is_exact_when_small_and_equals_brute_force():
    baseline, candidate = np.array([1.0, 2.0, 4.0, 4.5]), np.array([3.0, 6.0, 7.5])
    pooled = np.concatenate([baseline, candidate])

    def t_of(picked):
        rest = [i for i in range(7) if i not in picked]
        return abs(stats.ttest_ind(pooled[list(picked)], pooled[rest], equal_var=False).statistic)

    every = [t_of(picked) for picked in itertools.combinations(range(7), 3)]
    result = permutation_test(baseline, candidate)
    assert result.is_exact
    assert result.arrangements == math.comb(7, 3)
    assert result.p_value == pytest.approx(np.mean(np.array(every) >= t_of((4, 5, 6)) - 1e-9))


def test_drawn_permutations_agree_with_all_of_them():
    exact = permutation_test(SLEEP_1, SLEEP_2)
    strata = np.full(10, "P1")
    alone = np.array(["P9"])  # a second stratum that moves nothing forces drawing
    drawn = permutation_test(
        np.append(SLEEP_1, 1.0), SLEEP_2, np.append(strata, alone), strata, resamples=9_999, seed=1
    )
    assert exact.is_exact
    assert not drawn.is_exact
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.02)


def test_drawn_permutations_are_the_same_twice_and_never_zero():
    generator = np.random.default_rng(2)
    first, second = generator.normal(0, 1, 300), generator.normal(3, 1, 300)
    one, two = (permutation_test(first, second, seed=7) for _ in range(2))
    assert one == two
    assert one.p_value == 1 / 10_000


def test_permuting_within_strata_ignores_a_difference_between_them():
    generator = np.random.default_rng(4)
    low, high = generator.normal(0, 1, 200), generator.normal(5, 1, 200)
    baseline = np.concatenate([low[:150], high[:50]])
    candidate = np.concatenate([low[150:], high[50:]])
    labels = [np.repeat(["P3", "P1"], counts) for counts in ((150, 50), (50, 150))]
    assert permutation_test(baseline, candidate, seed=1).p_value < 0.001
    assert permutation_test(baseline, candidate, *labels, seed=1).p_value > 0.05


@pytest.fixture
def always_counted(monkeypatch):
    monkeypatch.setattr(permutation, "SHUFFLED_AT_MOST", 0)


def skewed(seed, n, m):
    """Two arms with a long tail, whose difference is at the edge of being seen."""
    generator = np.random.default_rng(seed)
    return generator.gumbel(0, 1.3, n), generator.gumbel(0.09, 1.3, m)


@pytest.mark.parametrize("rounded", [False, True])
def test_counting_by_bins_draws_from_the_distribution_of_a_shuffle(always_counted, monkeypatch, rounded):
    first, second = skewed(1, 2_600, 1_400)
    if rounded:
        first, second = first.round(1), second.round(1)
    counted = permutation_test(first, second, seed=1)
    monkeypatch.setattr(permutation, "SHUFFLED_AT_MOST", 10_000)
    shuffled = permutation_test(first, second, seed=2)
    assert (counted.method, shuffled.method) == (Arrangements.BINNED, Arrangements.DRAWN)
    assert 0.01 < shuffled.p_value < 0.5
    error = math.sqrt(2 * shuffled.p_value * (1 - shuffled.p_value) / 9_999)
    assert counted.p_value == pytest.approx(shuffled.p_value, abs=4 * error)


def test_counting_by_distinct_values_is_exact(always_counted):
    # Five values repeated: every bin holds one value, so nothing is left to the normal limit.
    first, second = np.repeat([0.0, 1.0, 2.0, 3.0, 9.0], [9, 5, 3, 2, 1]), np.repeat([0.0, 1.0, 9.0], [4, 4, 4])
    drawn = permutation_test(first, second, resamples=99_999, seed=1)
    pooled, exact = np.concatenate([first, second]), 0.0
    values, counts = np.unique(pooled, return_counts=True)
    threshold = abs(stats.ttest_ind(second, first, equal_var=False).statistic) - 1e-9
    for chosen in itertools.product(*(range(count + 1) for count in counts)):
        if sum(chosen) != second.size:
            continue
        one, other = np.repeat(values, chosen), np.repeat(values, counts - chosen)
        if abs(stats.ttest_ind(one, other, equal_var=False).statistic) >= threshold:
            ways = math.prod(math.comb(int(n), k) for n, k in zip(counts, chosen, strict=True))
            exact += ways / math.comb(pooled.size, second.size)
    assert drawn.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 99_999))


def test_counting_by_few_bins_within_strata_keeps_its_level(always_counted, monkeypatch):
    monkeypatch.setattr(permutation, "BINS", 24)
    monkeypatch.setattr(permutation, "ALONE", 4)
    generator = np.random.default_rng(3)
    sizes, hits, runs = (("P1", 30, 90), ("P3", 300, 60)), 0, 400
    for run in range(runs):
        first, second = (
            np.concatenate([generator.normal(3 * (name == "P1"), 1.3, sizes_of[side]) for name, *sizes_of in sizes])
            for side in (0, 1)
        )
        labels = [np.repeat([name for name, *_ in sizes], [each[side] for each in sizes]) for side in (1, 2)]
        hits += permutation_test(first, second, *labels, resamples=499, seed=run).p_value <= 0.05
    assert hits / runs == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / runs))


def test_a_hundred_thousand_incidents_agree_with_the_normal_limit():
    first, second = skewed(4, 60_000, 50_000)
    second = second - second.mean() + first.mean() + 2.0 * welch(first, second).standard_error
    test = permutation_test(first, second, seed=5)
    assert test.method is Arrangements.BINNED
    assert test.p_value == pytest.approx(welch(first, second).p_value, abs=4 * math.sqrt(0.0455 / 9_999))


@settings(deadline=None)
@given(LOGS, LOGS)
def test_swapping_arms_changes_no_exact_p_value(baseline, candidate):
    there, back = permutation_test(baseline, candidate), permutation_test(candidate, baseline)
    assert there.is_exact
    assert there.p_value == pytest.approx(back.p_value)


def test_equal_arms_show_nothing():
    assert permutation_test(np.full(6, 2.0), np.full(6, 2.0)).p_value == 1
