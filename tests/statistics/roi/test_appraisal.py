import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.roi.appraisal import (
    appraise,
    internal_rate_of_return,
    payback_months,
    present_value,
    return_on_investment,
)


def test_a_published_table():
    # A published three-year TEI table: PVB 7,168,371 and PVC 1,672,201 give NPV 5,496,170 and ROI 329 %.
    result = appraise([1_672_201], [7_168_371], 0.10)
    assert result.net_present_value == 5_496_170
    assert f"{result.roi:.0%}" == "329%"
    assert return_on_investment(1_672_201, 7_168_371) == result.roi


def test_the_first_column_is_not_discounted():
    assert present_value([100, 110, 121, 133.1], 0.10) == pytest.approx(400)


def test_draws_are_discounted_as_the_point_is():
    one = np.array([-100.0, 60.0, 70.0])
    both = present_value(np.column_stack([one, 2 * one]), 0.07)
    assert both == pytest.approx([-100 + 60 / 1.07 + 70 / 1.07**2] * np.array([1, 2]))


def test_a_benefit_cost_ratio_is_not_a_return():
    # One vendor's figures: 3.117 million over 60 thousand are called an ROI of 52.
    result = appraise([60_000], [3_117_000], 0)
    assert result.benefit_cost_ratio == pytest.approx(51.95)
    assert result.roi == pytest.approx(50.95)


def test_swapping_costs_and_benefits_inverts_the_ratio():
    one, other = appraise([5, 20], [1, 90], 0.1), appraise([1, 90], [5, 20], 0.1)
    assert one.benefit_cost_ratio == pytest.approx(1 / other.benefit_cost_ratio)
    assert one.net_present_value == -other.net_present_value


def test_irr_by_hand():
    assert internal_rate_of_return([-100, 60, 60]) == pytest.approx(0.130662, abs=1e-6)
    # The example of numpy-financial's manual.
    assert internal_rate_of_return([-100, 39, 59, 55, 20]) == pytest.approx(0.28095, abs=1e-5)
    assert internal_rate_of_return([100, 100]) is None
    assert internal_rate_of_return([-100, 230, -132]) is None  # two rates solve it


@pytest.mark.parametrize(
    ("flows", "months"),
    [
        ([-100, 60, 60], 12 + 12 * 40 / 60),
        ([0, 10], 0),
        ([0, 0], 0),
        ([-100, 10, 10], None),
        ([0, -50, -50], None),  # nothing is paid before the first year, and still it does not come back
        ([0, -50, 100], 12 + 12 * 50 / 100),
    ],
)
def test_payback_by_hand(flows, months):
    assert payback_months(flows) == (None if months is None else pytest.approx(months))


@given(st.lists(st.floats(min_value=0, max_value=1e7), min_size=2, max_size=6), st.floats(min_value=0, max_value=1e6))
def test_irr_is_a_zero_and_nothing_is_nan(benefits, cost):
    result = appraise([cost, *[0.0] * (len(benefits) - 1)], benefits, 0.1)
    assert all(value is None or math.isfinite(value) for value in vars(result).values())
    if result.irr is not None and 0 < result.irr < 100:
        flows = [benefits[0] - cost, *benefits[1:]]
        assert present_value(flows, result.irr) == pytest.approx(0, abs=1e-3 * max(1, cost))
