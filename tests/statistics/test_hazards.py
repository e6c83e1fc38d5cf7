import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from dagster_project.statistics.hazards import hazard_ratio, log_rank
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import encode
from dagster_project.statistics.survival import Lifetimes

SECONDS = st.integers(min_value=1, max_value=15).map(float)
ROWS = st.lists(
    st.tuples(SECONDS, st.booleans(), st.booleans(), st.sampled_from(["P1", "P2"])), min_size=8, max_size=60
)


@pytest.fixture(scope="module")
def rossi():
    return pd.read_csv(Path(__file__).parent / "data" / "rossi.csv")


def arms(rows):
    times, ended, is_candidate, labels = (np.array(column) for column in zip(*rows, strict=True))
    lifetimes = [Lifetimes(times[chosen], ended[chosen]) for chosen in (~is_candidate, is_candidate)]
    return (*lifetimes, encode(labels[~is_candidate], labels[is_candidate]))


def phreg(rows, *, stratified):
    times, ended, is_candidate, labels = (np.array(column) for column in zip(*rows, strict=True))
    strata = labels if stratified else None
    return PHReg(times, is_candidate.astype(float)[:, None], status=ended, strata=strata, ties="efron").fit(disp=0)


def test_log_rank_of_leukaemia_remissions(six_mp, placebo):
    # R: survdiff(Surv(time, status) ~ treat, data = gehan)
    test = log_rank(six_mp, placebo)
    assert round(test.statistic, 3) == 16.793
    assert round(test.p_value, 7) == 4.17e-5
    assert (test.observed, round(test.expected, 2)) == (21, 10.75)


def test_hazard_ratio_of_leukaemia_remissions(six_mp, placebo):
    # R: coxph(Surv(time, status) ~ treat, data = gehan), Efron's ties
    fit = hazard_ratio(six_mp, placebo)
    assert (round(fit.log_ratio, 5), round(fit.standard_error, 4), round(fit.ratio, 3)) == (1.57213, 0.4124, 4.817)
    assert fit.proportionality_p_value > 0.5


def test_the_reference_gives_rossis_published_coefficient(rossi):
    # Allison 1995 and lifelines: financial aid, all seven covariates, Efron's ties.
    covariates = rossi[["fin", "age", "race", "wexp", "mar", "paro", "prio"]]
    fit = PHReg(rossi["week"], covariates, status=rossi["arrest"], ties="efron").fit(disp=0)
    assert round(fit.params[0], 4) == -0.3794
    assert round(fit.bse[0], 3) == 0.191


@pytest.mark.parametrize("by", [None, "race", "prio"])
def test_hazard_ratio_on_rossi_is_the_references(rossi, by):
    labels = np.zeros(len(rossi)) if by is None else rossi[by].to_numpy()
    rows = list(zip(rossi["week"].astype(float), rossi["arrest"] == 1, rossi["fin"] == 1, labels, strict=True))
    fit, reference = hazard_ratio(*arms(rows)), phreg(rows, stratified=by is not None)
    assert (fit.log_ratio, fit.standard_error) == pytest.approx((reference.params[0], reference.bse[0]), abs=1e-6)
    assert fit.p_value == pytest.approx(reference.pvalues[0], abs=1e-6)
    if by is None:
        assert round(fit.log_ratio, 3) == -0.369  # R: coxph(Surv(week, arrest) ~ fin)


@settings(deadline=None)
@given(ROWS)
def test_log_rank_by_strata_is_that_of_statsmodels(rows):
    times, ended, is_candidate, labels = (np.array(column) for column in zip(*rows, strict=True))
    test = log_rank(*arms(rows))
    both_arms = all(np.unique(is_candidate[labels == label]).size == 2 for label in labels)
    if isinstance(test, NotPossible) or not both_arms:
        return  # statsmodels fails on a stratum of one arm
    statistic, p_value = survdiff(times, ended.astype(int), is_candidate, strata=labels)
    assert (test.statistic, test.p_value) == pytest.approx((statistic, p_value), rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(ROWS, st.floats(min_value=0.1, max_value=1e6))
def test_hazard_ratios_invert_with_the_arms_and_know_no_unit(rows, unit):
    baseline, candidate, strata = arms(rows)
    there = hazard_ratio(baseline, candidate, strata)
    back = hazard_ratio(candidate, baseline, encode(strata.candidate, strata.baseline))
    scaled = hazard_ratio(*(Lifetimes(unit * arm.times, arm.is_ended) for arm in (baseline, candidate)), strata)
    if isinstance(there, NotPossible):
        assert isinstance(back, NotPossible)
        return
    assert (1 / back.ratio, 1 / back.high, 1 / back.low) == pytest.approx(
        (there.ratio, there.low, there.high), rel=1e-6
    )
    assert vars(scaled) == pytest.approx(vars(there))
    assert all(value is None or math.isfinite(value) for value in vars(there).values())


def brute_force_score_test(rows, log_ratio):
    """Score of x g(t) beside x in Efron's partial likelihood, from numeric derivatives of the likelihood itself."""
    times, ended, x, _ = (np.array(column) for column in zip(*rows, strict=True))
    moments = np.unique(times[ended])
    g = {moment: (times[ended] < moment).mean() for moment in moments}

    def log_likelihood(first, second):
        total = 0.0
        for moment in moments:
            weights = np.exp((first + second * g[moment]) * x)
            gone = ended & (times == moment)
            total += (first + second * g[moment]) * x[gone].sum()
            for passed in range(gone.sum()):
                total -= math.log(weights[times >= moment].sum() - passed / gone.sum() * weights[gone].sum())
        return total

    h = 1e-4

    def derivative(i, j):
        a, b = np.eye(2)[i] * h, np.eye(2)[j] * h
        return sum(
            sign * log_likelihood(log_ratio + da[0], da[1])
            for sign, da in ((1, a + b), (-1, a - b), (-1, b - a), (1, -a - b))
        ) / (4 * h * h)  # fmt: skip

    score = (log_likelihood(log_ratio, h) - log_likelihood(log_ratio, -h)) / (2 * h)
    return -(score**2) / (derivative(1, 1) - derivative(0, 1) ** 2 / derivative(0, 0))


def test_proportionality_is_the_score_test_of_the_likelihood():
    generator = np.random.default_rng(3)
    rows = [
        (float(generator.integers(1, 12)), bool(generator.random() < 0.8), bool(place % 3 == 0), "P1")
        for place in range(60)
    ]
    fit = hazard_ratio(*arms(rows))
    assert fit.proportionality_statistic == pytest.approx(brute_force_score_test(rows, fit.log_ratio), rel=1e-3)


def test_proportionality_sees_crossing_hazards_and_keeps_its_level():
    generator = np.random.default_rng(4)
    crossing = hazard_ratio(
        Lifetimes.of(generator.weibull(0.5, 400), np.empty(0)), Lifetimes.of(generator.weibull(2, 400), np.empty(0))
    )
    assert crossing.proportionality_p_value < 1e-10
    p_values = [
        hazard_ratio(
            Lifetimes.of(generator.exponential(1, 60), np.empty(0)),
            Lifetimes.of(generator.exponential(2, 40), np.empty(0)),
        ).proportionality_p_value
        for _ in range(1_000)
    ]
    # Binomial error of 1,000 runs at 5 %: 0.7 points; three of them.
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.021)


def test_strata_remove_what_a_changed_mix_pretends():
    generator = np.random.default_rng(6)
    labels = [np.repeat(["P1", "P4"], counts) for counts in ((400, 100), (100, 400))]
    first, second = (generator.exponential(np.where(each == "P1", 10.0, 1.0)) for each in labels)
    pair = Lifetimes.of(first, np.empty(0)), Lifetimes.of(second, np.empty(0))
    assert log_rank(*pair).p_value < 1e-10
    assert log_rank(*pair, encode(*labels)).p_value > 0.01
    fit = hazard_ratio(*pair, encode(*labels))
    assert abs(fit.log_ratio) < 3 * fit.standard_error
    assert hazard_ratio(*pair).log_ratio > 10 * fit.standard_error


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [
        (([], []), ([], [])),
        (([1.0, 2.0], []), ([], [])),
        (([], [5.0]), ([], [5.0, 6.0])),
        (([1.0, 2.0], []), ([3.0, 4.0], [])),
        (([1.0, 2.0, 3.0, 4.0], []), ([], [5.0, 6.0])),
    ],
)
def test_arms_without_a_maximum_are_named(baseline, candidate):
    pair = [Lifetimes.of(np.array(ended), np.array(ages)) for ended, ages in (baseline, candidate)]
    assert hazard_ratio(*pair).code == "no_maximum"


def test_arms_that_were_never_open_together_have_no_log_rank():
    pair = [Lifetimes.of(np.array([1.0, 2.0]), np.empty(0)), Lifetimes.of(np.empty(0), np.empty(0))]
    assert log_rank(*pair).code == "never_open_together"


def test_when_all_end_at_one_time_nothing_is_told():
    same = Lifetimes.of(np.full(5, 3.0), np.empty(0))
    assert log_rank(same, same).code == "never_open_together"
    fit = hazard_ratio(same, same)
    assert fit.ratio == pytest.approx(1)
    assert fit.proportionality_p_value is None
