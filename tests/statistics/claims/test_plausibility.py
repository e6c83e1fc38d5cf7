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
    assert t_test(90, (94, 12.3), (156, 23), extremes=(35, 240)).verdict is Verdict.IMPOSSIBLE


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_one_arm_alone_may_hold_all_of_the_deviation():
    # Sixteen values from 35 to 240, and an arm in which every value is the same.
    arm, still = np.array([35.0, 240.0, *[94.0] * 14]), np.full(60, 12.3)
    for is_pooled in (True, False):
        t = stats.ttest_ind(arm, still, equal_var=is_pooled).statistic
        found = t_test(t, (arm.mean(), 12.3), (16, 60), extremes=(35, 240))
        assert found.verdict is not Verdict.IMPOSSIBLE


arms = st.lists(st.integers(0, 300).map(float), min_size=2, max_size=30)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(arms, arms, st.booleans(), st.integers(0, 2), st.integers(0, 2))
def test_data_that_exist_are_never_called_impossible(one, other, is_pooled, t_digits, mean_digits):
    first, second = np.array(one), np.array(other)
    if first.std() + second.std() == 0:
        return
    t = stats.ttest_ind(first, second, equal_var=is_pooled).statistic
    extremes = (first.min(), first.max())
    exact = t_test(t, (first.mean(), second.mean()), (first.size, second.size), extremes=extremes)
    assert exact.verdict is not Verdict.IMPOSSIBLE
    printed = t_test(
        round(t, t_digits),
        (round(first.mean(), mean_digits), round(second.mean(), mean_digits)),
        (first.size, second.size),
        extremes=extremes,
        rounding=(0.5 * 10**-t_digits, 10**-mean_digits),
    )
    assert printed.verdict is not Verdict.IMPOSSIBLE


@pytest.mark.parametrize(
    ("t", "means", "counts", "rounding", "verdict", "why"),
    [
        (0, (12, 12), (20, 20), (0, 0), Verdict.OK, "may belong together"),
        (0, (0, 0), (5, 5), (0, 0), Verdict.OK, "may belong together"),
        (0, (1, 2), (5, 5), (0, 0), Verdict.IMPOSSIBLE, "A t of 0 is of equal means"),
        (0, (1, 2), (5, 5), (0.05, 0), Verdict.OK, "may belong together"),
        (2, (0, 0), (5, 5), (0.5, 0), Verdict.IMPOSSIBLE, "Equal means give a t of 0"),
        (2, (1, 1), (5, 5), (0.5, 1), Verdict.OK, "may belong together"),
        (2, (1, 2), (1, 1), (0, 0), Verdict.IMPOSSIBLE, "fewer than three cases"),
    ],
)
def test_what_implies_no_deviation_is_told_apart(t, means, counts, rounding, verdict, why):
    found = t_test(t, means, counts, rounding=rounding)
    assert (found.verdict, found.value) == (verdict, None)
    assert why in found.reason


def test_an_arm_of_one_case_has_a_t():
    # Student's t pools: the other arm alone gives the deviation.
    t = stats.ttest_ind([9.0], [1.0, 2.0, 6.0], equal_var=True).statistic
    assert t_test(t, (9, 3), (1, 3)).value == pytest.approx(np.std([1, 2, 6], ddof=1))
