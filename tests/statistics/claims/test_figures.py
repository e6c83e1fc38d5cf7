import pytest

from dagster_project.statistics.claims.figures import conversion, seconds_in


@pytest.mark.parametrize(
    ("unit", "wanted", "factor"),
    [
        ("hours", "minutes", 60), ("hour", "hours", 1), ("hours/incident", "minutes/incident", 60),
        ("ms", "seconds", 0.001), ("Weeks", "day", 7), ("hours", "hours/incident", 1), ("USD", "EUR", 1),
        ("incidents/year", "incident/years", 1), ("month", "months", 1), ("%", "percentage points", 1),
    ],
)  # fmt: skip
def test_times_are_converted_and_the_rest_is_left(unit, wanted, factor):
    assert conversion(unit, wanted) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("month", "days"), ("years", "months"), ("USD/month", "USD/year"), ("USD", "USD/year"), ("users", "minutes"),
        ("hours", "incidents"), ("hours/day", "hours/week"), ("minutes/year", "hours/month"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(unit, wanted):
    with pytest.raises(ValueError, match="cannot be converted into"):
        conversion(unit, wanted)
    with pytest.raises(ValueError, match="cannot be converted into"):
        conversion(wanted, unit)


def test_a_month_has_no_seconds_of_its_own():
    assert (seconds_in("month"), seconds_in("year"), seconds_in(" Hour ")) == (None, None, 3_600)
