from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.claims import checks
from dagster_project.statistics.claims.arithmetic import FormulaInvalid, evaluate, parse, spelled
from dagster_project.statistics.claims.checks import Event, Part
from dagster_project.statistics.claims.finding import Stated, Verdict, say


def at(clock):
    return datetime.fromisoformat(f"2024-01-18T{clock}").replace(tzinfo=UTC)


def test_a_weighted_mean_of_subgroups():
    parts = [Part("a", 645, 8), Part("b", 552, 5), Part("c", 930, 3), Part("d", 848, 5)]
    found = checks.subtotals(Stated(738, 1), parts, is_mean=True)
    assert found.verdict is Verdict.INCONSISTENT
    assert found.value == pytest.approx(14_950 / 21)
    assert found.formula == "(8 x 645 + 5 x 552 + 3 x 930 + 5 x 848) / 21"
    assert checks.subtotals(Stated(712, 0.5), parts, is_mean=True).verdict is Verdict.OK


def test_a_sum_of_subgroups_and_a_mean_of_none():
    assert checks.subtotals(Stated(3, 0), [Part("a", 1), Part("b", 2)], is_mean=False).verdict is Verdict.OK
    nothing = checks.subtotals(Stated(3, 0), [Part("a", 1, 0)], is_mean=True)
    assert (nothing.verdict, nothing.value) == (Verdict.IMPOSSIBLE, None)


@pytest.mark.parametrize(
    ("formula", "value", "text"),
    [
        ("a * (b - c) * 10", 780, "1 x (80 - 2) x 10"),
        ("a - (b - c)", -77, "1 - (80 - 2)"),
        ("b / (a * c)", 40, "80 / (1 x 2)"),
        ("-a + b", 79, "-1 + 80"),
        ("-(a + b)", -81, "-(1 + 80)"),
        ("-(a - b)", 79, "-(1 - 80)"),
        ("b * -(a - c)", 80, "80 x -(1 - 2)"),
        ("--a", 1, "-(-1)"),
    ],
)
def test_formulas_are_computed_and_spelled(formula, value, text):
    inputs = {"a": 1, "b": 80, "c": 2}
    assert evaluate(parse(formula), inputs) == value
    assert spelled(parse(formula), inputs) == text
    assert checks.computed(Stated(value, 0), formula, inputs).verdict is Verdict.OK
    assert checks.computed(Stated(value + 1, 0.5), formula, inputs).verdict is Verdict.WRONG


formulas = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda made: f"({' '.join(made)})"),
        inner.map(lambda operand: f"(-{operand})"),
    ),
    max_leaves=6,
)


@given(formulas)
def test_what_is_printed_is_what_is_computed(formula):
    inputs = {"a": 1, "b": -80, "c": 2}
    printed = spelled(parse(formula), inputs).replace(" x ", " * ").replace(",", "")
    assert evaluate(parse(printed), {}) == evaluate(parse(formula), inputs)


@pytest.mark.parametrize(
    "formula",
    ["__import__('os')", "a.b", "a[0]", "a ** 99", "f(a)", "a if a else a", "'x' * 9", "True + 1", "a +", "(" * 400,
     "-" * 60 + "a", "1" * 301, "a // 2", "lambda: 1", "1j"],
)  # fmt: skip
def test_nothing_but_arithmetic_is_a_formula(formula):
    with pytest.raises(FormulaInvalid):
        parse(formula)


def test_a_division_by_zero_is_named():
    found = checks.computed(Stated(1, 0), "a / b", {"a": 1, "b": 0})
    assert (found.verdict, found.value) == (Verdict.IMPOSSIBLE, None)
    assert checks.computed(Stated(1, 0), "a * a * a", {"a": 1e200}).verdict is Verdict.IMPOSSIBLE
    with pytest.raises(FormulaInvalid, match="not given"):
        checks.computed(Stated(1, 0), "a / c", {"a": 1})


@pytest.mark.parametrize(
    ("stated", "tolerance", "before", "after", "verdict", "why"),
    [
        (-86.9, 0.05, 94, 12.3, Verdict.OK, "is the stated percentage"),
        (15_562, 0.5, 8, 1_245, Verdict.WRONG, "share of the base"),
        (15, 0.5, 78, 93, Verdict.MISLABELLED, "percentage points"),
        (91.3, 0.05, 0, 91.3, Verdict.MISLABELLED, "percentage points"),
        (50, 0.5, 0, 91.3, Verdict.IMPOSSIBLE, "no percentage of 0"),
        (20, 0.5, 80, 100, Verdict.MISLABELLED, "percentage points"),
        (-100, 0.5, 200, 100, Verdict.MISLABELLED, "percentage points"),
        (25, 0.5, 90, 120, Verdict.WRONG, "takes the result as its base"),
        (3, 0.5, 10, 90, Verdict.WRONG, "The change is 800 %"),
        # A base below 0, such as a loss: what rises from it rises.
        (50, 0.5, -100, -50, Verdict.OK, "is the stated percentage"),
        (-50, 0.5, -100, -150, Verdict.OK, "is the stated percentage"),
        (150, 0.5, -100, 50, Verdict.OK, "is the stated percentage"),
        (-50, 0.5, -100, -50, Verdict.WRONG, "divides by the base with its sign"),
        (25, 0.5, -80, -60, Verdict.OK, "is the stated percentage"),
        (20, 0.5, -100, -80, Verdict.OK, "is the stated percentage"),
        (33.3, 0.1, -80, -60, Verdict.WRONG, "takes the result as its base"),
    ],
)
def test_percentages_and_their_bases(stated, tolerance, before, after, verdict, why):
    found = checks.percentage_change(Stated(stated, tolerance), before, after)
    assert found.verdict is verdict
    assert why in found.reason


def test_a_base_below_nothing_is_divided_by_as_a_size():
    found = checks.percentage_change(Stated(50, 0.5), -100, -50)
    assert (found.value, found.formula) == (50, "(-50 - -100) / |-100| x 100")


def test_a_ratio_called_a_return():
    found = checks.ratio_or_return(Stated(52, 0.5), 3_117_000, 60_000)
    assert (found.verdict, found.value) == (Verdict.MISLABELLED, 50.95)
    assert checks.ratio_or_return(Stated(51, 0.5), 3_117_000, 60_000).verdict is Verdict.OK
    assert checks.ratio_or_return(Stated(40, 0.5), 3_117_000, 60_000).verdict is Verdict.WRONG
    assert checks.ratio_or_return(Stated(40, 0.5), 3_117_000, 0).verdict is Verdict.IMPOSSIBLE


def test_a_yearly_cost_that_holds_what_is_paid_once():
    found = checks.recurring_cost(Stated(60_000, 0), [48_000], [12_000])
    assert (found.verdict, found.value) == (Verdict.MISLABELLED, 48_000)
    assert checks.recurring_cost(Stated(48_000, 0), [48_000], [12_000]).verdict is Verdict.OK
    assert checks.recurring_cost(Stated(50_000, 0), [48_000], [12_000]).verdict is Verdict.WRONG


def test_a_service_level_allows_minutes():
    found = checks.service_level(60, 99.9, 30)
    assert (found.verdict, found.unit) == (Verdict.INCONSISTENT, "minutes")
    assert found.value == pytest.approx(43.2)
    assert checks.service_level(43.2, 99.9, 30).verdict is Verdict.OK


def test_rates_against_counts():
    before, after = (156, 365), (23, 30)
    found = checks.rate_against_count(Stated(23, 0.5), before, after, is_percentage=False)
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert round(found.value) == 79
    as_count = checks.rate_against_count(Stated(-85, 0.5), before, after, is_percentage=True)
    assert as_count.verdict is Verdict.MISLABELLED
    assert checks.rate_against_count(Stated(79, 0.5), before, after, is_percentage=True).verdict is Verdict.OK
    assert checks.rate_against_count(Stated(9, 0.5), (0, 30), after, is_percentage=True).verdict is Verdict.IMPOSSIBLE


def test_timelines_are_in_order_and_as_long_as_stated():
    story = [Event("alert", at("09:15:00")), Event("fixed", at("09:17:20"))]
    assert checks.timeline(Stated(140, 0.5), story).verdict is Verdict.OK
    assert "2m20s apart, not 11m30s" in checks.timeline(Stated(690, 0.5), story).reason
    backwards = checks.timeline(None, story[::-1])
    assert (backwards.verdict, backwards.value) == (Verdict.INCONSISTENT, -140)


def test_clocks_agreement_and_what_is_missing():
    assert checks.clocks("Time to resolve", "time to resolve").verdict is Verdict.OK
    assert checks.clocks("time to resolve", "time to detect").verdict is Verdict.NOT_COMPARABLE
    assert checks.agreement(Stated(5, 0.5), [5, 5.4]).verdict is Verdict.OK
    assert checks.agreement(Stated(5, 0.5), [5, 6]).value == 6
    assert checks.unsupported("its inputs").verdict is Verdict.UNSUPPORTED


numbers = st.floats(-1e15, 1e15)


@given(numbers, numbers, numbers)
def test_no_finding_holds_a_number_that_no_page_may_show(stated, one, other):
    claim = Stated(stated, 0.5)
    findings = (
        checks.percentage_change(claim, one, other),
        checks.ratio_or_return(claim, one, other),
        checks.recurring_cost(claim, [one], [other]),
        checks.rate_against_count(claim, (one, other), (other, one), is_percentage=True),
        checks.subtotals(claim, [Part("a", one, abs(other))], is_mean=True),
        checks.computed(claim, "a / b", {"a": one, "b": other}),
    )
    for found in findings:
        assert "nan" not in f"{found.value} {found.formula}".lower()
        assert "inf" not in f"{found.value} {found.formula}".lower()


def test_numbers_for_people():
    assert [say(number) for number in (3_117_000, 711.90476, 0.0, -2.5, 1e-7)] == [
        "3,117,000", "711.9048", "0", "-2.5", "1e-07",
    ]  # fmt: skip
