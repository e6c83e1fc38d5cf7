import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.statistics.multiplicity import benjamini_hochberg, holm

FIVE = {f"slice {place}": place / 100 for place in range(1, 6)}
P_VALUES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(min_value=0, max_value=1), min_size=1, max_size=3)


def test_holm_of_five_small_p_values():
    # R: p.adjust(c(.01, .02, .03, .04, .05), "holm")
    tests = holm(FIVE)
    assert [round(test.adjusted_p_value, 10) for test in tests] == [0.05, 0.08, 0.09, 0.09, 0.09]
    assert [test.is_rejected for test in tests] == [True, False, False, False, False]


def test_benjamini_and_hochberg_of_five_small_p_values():
    # R: p.adjust(c(.01, .02, .03, .04, .05), "BH")
    tests = benjamini_hochberg(FIVE)
    assert [round(test.adjusted_p_value, 10) for test in tests] == [0.05] * 5
    assert all(test.is_rejected for test in tests)
    assert not any(test.is_rejected for test in benjamini_hochberg(FIVE, q=0.049))


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(bad):
    with pytest.raises(ValueError, match="p value of late"):
        benjamini_hochberg({"early": 0.1, "late": bad})


def test_nothing_asked_is_nothing_adjusted():
    assert holm({}) == benjamini_hochberg({}) == ()


@settings(max_examples=25, deadline=None)
@given(P_VALUES)
def test_adjusting_never_makes_a_p_value_smaller_and_keeps_names(p_values):
    for tests in (holm(p_values), benjamini_hochberg(p_values)):
        assert [test.name for test in tests] == list(p_values)
        assert all(test.p_value <= test.adjusted_p_value <= 1 for test in tests)
