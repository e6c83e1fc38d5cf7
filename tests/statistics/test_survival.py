import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from dagster_project.statistics.survival import (
    Lifetimes,
    kaplan_meier,
    quantile,
    restricted_mean,
    restricted_mean_difference,
    thinned,
)

SECONDS = st.integers(min_value=1, max_value=40).map(float)
LIFETIMES = st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=40).map(
    lambda rows: Lifetimes(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
)


def censored_quantile(ended, open_ages, share):
    """By scipy's curve; where that is flat at 1 - share, the middle of the flat piece, as R's survfit has it."""
    values = np.concatenate([ended, open_ages])
    curve = stats.ecdf(stats.CensoredData.right_censored(values, np.arange(values.size) >= len(ended))).sf
    reached = np.flatnonzero(curve.probabilities <= 1 - share + 1e-12)
    below = np.flatnonzero(curve.probabilities < 1 - share - 1e-12)
    if reached.size == 0:
        return None
    return float(curve.quantiles[[reached[0], below[0] if below.size else reached[0]]].mean())


def test_curve_of_leukaemia_remissions(six_mp):
    # Freireich et al. 1963; Stata's `sts list`, R's survfit(conf.type = "log-log").
    curve = kaplan_meier(six_mp)
    assert curve.times.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert np.round(curve.survival, 4).tolist() == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    assert (round(curve.low[0], 4), round(curve.high[0], 4)) == (0.6197, 0.9516)
    assert (round(curve.low[-1], 4), round(curve.high[-1], 4)) == (0.1881, 0.6801)


def test_median_with_brookmeyer_and_crowleys_interval(six_mp, placebo):
    median = quantile(kaplan_meier(six_mp), 0.5)
    assert (median.value, median.low, median.high) == (23, 13, None)
    median = quantile(kaplan_meier(placebo), 0.5)
    assert (median.value, median.low, median.high) == (8, 4, 11)


def test_restricted_mean_of_leukaemia_remissions(six_mp, placebo):
    # R: print(survfit(...), rmean = 35): 23.29, standard error 2.83; of the placebo arm all ended: 182 weeks over 21.
    mean = restricted_mean(six_mp, 35)
    assert (round(mean.mean, 2), round(math.sqrt(mean.variance), 2)) == (23.29, 2.83)
    assert restricted_mean(placebo, 35).mean == pytest.approx(182 / 21)


def test_variance_of_a_restricted_mean_without_open_incidents_is_that_of_a_mean(placebo):
    shortened = np.minimum(placebo.times, 12)
    mean = restricted_mean(placebo, 12)
    assert mean.mean == pytest.approx(shortened.mean())
    assert mean.variance == pytest.approx(shortened.var() / shortened.size)


@settings(deadline=None)
@given(LIFETIMES)
def test_curve_is_that_of_statsmodels(lifetimes):
    curve = kaplan_meier(lifetimes)
    theirs = SurvfuncRight(lifetimes.times, lifetimes.is_ended.astype(int))
    assert curve.times.tolist() == theirs.surv_times.tolist()
    assert curve.survival == pytest.approx(theirs.surv_prob, abs=1e-12)
    assert np.all(np.isfinite(np.concatenate([curve.low, curve.high])))
    assert np.all((curve.low <= curve.survival + 1e-12) & (curve.survival <= curve.high + 1e-12))
    if curve.times.size and curve.survival[0] > 0:
        error = theirs.surv_prob_se[0] / (curve.survival[0] * abs(math.log(curve.survival[0])))
        assert curve.low[0] == pytest.approx(curve.survival[0] ** math.exp(1.959964 * error), rel=1e-6)


@settings(deadline=None)
@given(LIFETIMES, st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_quantiles_are_those_of_scipys_curve(lifetimes, share):
    expected = (
        censored_quantile(lifetimes.times[lifetimes.is_ended], lifetimes.times[~lifetimes.is_ended], share)
        if lifetimes.ended_count
        else None
    )
    found = quantile(kaplan_meier(lifetimes), share).value
    assert found == (None if expected is None else pytest.approx(expected))


@settings(deadline=None)
@given(LIFETIMES, SECONDS)
def test_one_more_open_incident_never_shortens_the_median(lifetimes, age):
    before = quantile(kaplan_meier(lifetimes), 0.5).value
    more = Lifetimes(np.append(lifetimes.times, age), np.append(lifetimes.is_ended, False))
    after = quantile(kaplan_meier(more), 0.5).value
    assert after is None or (before is not None and after >= before)


@settings(deadline=None)
@given(LIFETIMES, LIFETIMES, st.integers(min_value=2, max_value=50))
def test_restricted_means_scale_with_time_and_invert_with_the_arms(baseline, candidate, tau):
    there = restricted_mean_difference(baseline, candidate, tau)
    back = restricted_mean_difference(candidate, baseline, tau)
    scaled = restricted_mean_difference(
        Lifetimes(60 * baseline.times, baseline.is_ended), Lifetimes(60 * candidate.times, candidate.is_ended), 60 * tau
    )
    if there is None:
        assert back is None
        assert scaled is None
        return
    assert (1 / back.ratio, 1 / back.ratio_high) == pytest.approx((there.ratio, there.ratio_low))
    assert (scaled.ratio, scaled.difference) == pytest.approx((there.ratio, 60 * there.difference))
    assert all(math.isfinite(value) for value in vars(there).values())


def test_open_incidents_no_longer_shorten_the_restricted_mean():
    generator = np.random.default_rng(5)
    lengths, ages = np.exp(generator.normal(0, 1.3, 20_000)), generator.uniform(0, 30, 20_000)
    ended = lengths <= ages
    watched = Lifetimes(np.minimum(lengths, ages), ended)
    truth = np.minimum(lengths, 20).mean()
    assert np.minimum(lengths[ended], 20).mean() < 0.9 * truth
    found = restricted_mean(watched, 20)
    assert abs(found.mean - truth) < 3 * math.sqrt(found.variance)


@pytest.mark.parametrize("tau", [36, 0, -1])
def test_no_restricted_mean_beyond_what_is_known(six_mp, tau):
    assert restricted_mean(six_mp, tau) is None
    assert restricted_mean_difference(six_mp, six_mp, tau) is None


def test_arms_of_nothing_and_arms_that_never_ended_define_no_number():
    nobody, forever = Lifetimes.of(np.empty(0), np.empty(0)), Lifetimes.of(np.empty(0), np.array([5.0, 6.0]))
    for arm in (nobody, forever):
        curve = kaplan_meier(arm)
        assert curve.times.size == 0
        assert vars(quantile(curve, 0.5)) == {"value": None, "low": None, "high": None}
        assert restricted_mean(arm, 4) is None


def test_equal_durations_carry_no_interval():
    same = Lifetimes.of(np.full(4, 7.0), np.empty(0))
    assert quantile(kaplan_meier(same), 0.5).value == 7
    assert restricted_mean(same, 10).variance == 0
    assert restricted_mean_difference(same, same, 10) is None


def test_ages_of_nothing_are_left_out_and_impossible_times_refused():
    assert Lifetimes.of(np.array([1.0]), np.array([0.0, -3.0, 2.0])).count == 2
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite and positive"):
            Lifetimes(np.array([1.0, bad]), np.array([True, True]))
    with pytest.raises(ValueError, match="a flag an incident"):
        Lifetimes(np.ones(2), np.ones(3, dtype=bool))


def test_a_thinned_curve_keeps_both_ends_and_its_shape():
    curve = kaplan_meier(Lifetimes.of(np.random.default_rng(1).lognormal(0, 2, 5_000), np.empty(0)))
    few = thinned(curve, 100)
    assert 90 <= few.times.size <= 100
    assert (few.times[0], few.times[-1]) == (curve.times[0], curve.times[-1])
    assert np.abs(np.diff(few.survival)).max() < 0.02
    assert thinned(few, 100) is few
