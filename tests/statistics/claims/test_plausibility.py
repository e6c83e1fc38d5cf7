import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dagster_project.statistics.claims.finding import Verdict
from dagster_project.statistics.claims.plausibility import grim, t_test


@pytest.mark.parametrize(
    ("value", "decimals", "smallest", "largest", "verdict"),
    [
        (93, 0, 20, 23, Verdict.IMPOSSIBLE),
        (91.3, 1, 23, 23, Verdict.OK),
        (4, 0, 21, 23, Verdict.OK),
        (95, 0, 20, 20, Verdict.OK),
        (101, 0, 20, 20, Verdict.IMPOSSIBLE),
    ],
)
def test_percentages_of_few_cases(value, decimals, smallest, largest, verdict):
    assert grim(value, decimals, smallest, largest, is_percentage=True).verdict is verdict


def test_the_papers_example_of_a_mean():
    # Brown and Heathers (2017): a mean of 5.19 of 28 whole numbers cannot be; 5.18 can (145 / 28).
    assert grim(5.19, 2, 28, 28, is_percentage=False).verdict is Verdict.IMPOSSIBLE
    assert grim(5.18, 2, 28, 28, is_percentage=False).verdict is Verdict.OK


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 3))
def test_a_true_share_is_never_impossible(n, k, decimals):
    printed = round(float(Fraction(min(k, n), n) * 100), decimals)
    assert grim(printed, decimals, n, n, is_percentage=True).verdict is Verdict.OK


def test_the_implied_deviation_gives_the_t_back():
    found = t_test(18.47, (94, 12.3), (156, 23))
    assert found.verdict is Verdict.INCONSISTENT
    assert found.value == pytest.approx(19.80, abs=0.01)
    again = stats.ttest_ind_from_stats(94, found.value, 156, 12.3, found.value, 23, equal_var=True)
    assert again.statistic == pytest.approx(18.47)


def test_a_deviation_below_what_its_extremes_need_is_impossible():
    assert t_test(18.47, (94, 12.3), (156, 23), extremes=(35, 240)).verdict is Verdict.INCONSISTENT
    assert t_test(40, (94, 12.3), (156, 23), extremes=(35, 240)).verdict is Verdict.IMPOSSIBLE


@given(st.lists(st.floats(1, 1e4), min_size=3, max_size=30))
def test_data_that_exist_are_never_called_impossible(values):
    arm = np.array(values)
    deviation, mean = arm.std(ddof=1), arm.mean()
    if deviation < 1e-6 * mean:
        return
    t = (mean / 2) / (deviation * math.sqrt(2 / arm.size))
    found = t_test(t * (1 - 1e-9), (mean, mean / 2), (arm.size, arm.size), extremes=(arm.min(), arm.max()))
    assert found.verdict is not Verdict.IMPOSSIBLE


@pytest.mark.parametrize(("t", "means", "counts"), [(0, (1, 2), (5, 5)), (2, (1, 2), (1, 5)), (2, (0, 0), (5, 5))])
def test_what_implies_nothing_is_named(t, means, counts):
    found = t_test(t, means, counts)
    assert (found.verdict, found.value) == (Verdict.IMPOSSIBLE, None)
