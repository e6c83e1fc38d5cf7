import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from dagster_project.statistics.accelerated import accelerated_failure_time
from dagster_project.statistics.effects import welch
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import encode
from dagster_project.statistics.survival import Lifetimes

NOBODY = np.empty(0)
SECONDS = st.floats(min_value=0.1, max_value=1e5)
LIFETIMES = st.lists(st.tuples(SECONDS, st.booleans()), min_size=3, max_size=25).map(
    lambda rows: Lifetimes(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
)


def watched(generator, count, *, shift=0.0, levels=(0.0,), services=(0.0,), spread=1.0, until=np.inf):
    """Lifetimes with severity and service effects, open when they last longer than they were watched."""
    severity, service = generator.integers(0, len(levels), count), generator.integers(0, len(services), count)
    logs = shift + np.array(levels)[severity] + np.array(services)[service] + spread * generator.standard_normal(count)
    ages = generator.uniform(0, until, count) if np.isfinite(until) else np.full(count, np.inf)
    lengths = np.exp(logs)
    return Lifetimes(np.minimum(lengths, ages), lengths <= ages), severity, service


def test_without_open_incidents_it_is_least_squares():
    generator = np.random.default_rng(1)
    first, severity_1, service_1 = watched(generator, 150, levels=(0, 1, 2), services=(0, 0.5, -0.5))
    second, severity_2, service_2 = watched(generator, 70, shift=-0.4, levels=(0, 1, 2), services=(0, 0.5, -0.5))
    fit = accelerated_failure_time(first, second, encode(severity_1, severity_2), encode(service_1, service_2))
    severity, service = np.append(severity_1, severity_2), np.append(service_1, service_2)
    design = np.column_stack(
        [np.ones(220), np.arange(220) >= 150, severity == 1, severity == 2, service == 1, service == 2]
    )
    reference = sm.OLS(np.log(np.append(first.times, second.times)), design.astype(float)).fit()
    robust = sm.OLS(np.log(np.append(first.times, second.times)), design.astype(float)).fit(cov_type="HC1")
    assert fit.log_ratio == pytest.approx(reference.params[1], abs=1e-7)
    assert fit.standard_error == pytest.approx(max(reference.bse[1], robust.bse[1]), rel=1e-5)
    half = stats.t.ppf(0.975, 214) * fit.standard_error
    assert (math.log(fit.low), math.log(fit.high)) == pytest.approx((fit.log_ratio - half, fit.log_ratio + half))
    assert (fit.parameters, fit.incidents, fit.open_count, fit.overlap) == (6, 220, 0, 1)


def test_with_open_incidents_it_is_the_maximum_of_the_likelihood(six_mp, placebo):
    fit = accelerated_failure_time(placebo, six_mp)

    def loss(theta):
        total = 0.0
        for arm, is_candidate in ((placebo, 0), (six_mp, 1)):
            z = (np.log(arm.times) - theta[0] - theta[1] * is_candidate) / math.exp(theta[2])
            density = stats.norm.logpdf(z) - theta[2]
            total -= np.where(arm.is_ended, density, stats.norm.logsf(z)).sum()
        return total

    found = optimize.minimize(loss, [2, 1, 0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert fit.log_ratio == pytest.approx(found.x[1], abs=1e-5)
    assert fit.sigma == pytest.approx(math.exp(found.x[2]), abs=1e-5)
    h = 1e-4
    steps = h * np.eye(3)
    bend = [
        [(loss(found.x + a + b) - loss(found.x + a - b) - loss(found.x - a + b) + loss(found.x - a - b)) for b in steps]
        for a in steps
    ]
    information = math.sqrt(np.linalg.inv(np.array(bend) / (4 * h * h))[1, 1] * 30 / 28)
    assert information * 0.999 <= fit.standard_error < 1.1 * information


def test_open_incidents_and_factors_together_recover_the_truth():
    generator = np.random.default_rng(2)
    given_ = {"levels": (2.0, 0.0), "services": tuple(np.linspace(-1, 1, 8)), "until": 8.0}
    first, severity_1, service_1 = watched(generator, 6_000, **given_)
    second, severity_2, service_2 = watched(generator, 3_000, shift=-0.3, **given_)
    fit = accelerated_failure_time(first, second, encode(severity_1, severity_2), encode(service_1, service_2))
    assert fit.open_count > 2_000
    assert abs(fit.log_ratio + 0.3) < 3 * fit.standard_error
    assert fit.sigma == pytest.approx(1, abs=0.04)
    ended = welch(np.log(first.times[first.is_ended]), np.log(second.times[second.is_ended]))
    assert ended.difference > -0.25  # those that ended are alike, because long ones are still open


def test_a_changed_mix_of_severities_is_taken_out():
    generator = np.random.default_rng(3)
    labels = [np.repeat(["P1", "P4"], counts) for counts in ((300, 60), (60, 300))]
    pair = [
        Lifetimes.of(np.exp(np.where(each == "P1", 3.0, 0.0) + generator.standard_normal(360)), NOBODY)
        for each in labels
    ]
    assert accelerated_failure_time(*pair).ratio < 0.3
    fit = accelerated_failure_time(*pair, encode(*labels))
    assert abs(fit.log_ratio) < 3 * fit.standard_error


def test_coverage_at_156_against_23_with_an_eighth_open():
    generator = np.random.default_rng(4)
    runs, covered = 600, 0
    for _ in range(runs):
        first, *_ = watched(generator, 156, spread=1.3, until=15)
        second, *_ = watched(generator, 23, spread=1.3, until=15)
        fit = accelerated_failure_time(first, second)
        covered += fit.low <= 1 <= fit.high
    assert covered / runs == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / runs))


def test_arms_of_unequal_spread_keep_their_coverage():
    generator = np.random.default_rng(8)
    runs, covered = 600, 0
    for _ in range(runs):
        first, *_ = watched(generator, 156, spread=0.8, until=60)
        second, *_ = watched(generator, 23, spread=1.6, until=60)
        fit = accelerated_failure_time(first, second)
        covered += fit.low <= 1 <= fit.high
    assert covered / runs > 0.91  # one sigma alone covers about three quarters


def test_small_services_are_pooled_and_aliased_columns_dropped():
    generator = np.random.default_rng(5)
    first, *_ = watched(generator, 200)
    second, *_ = watched(generator, 200)
    services = np.where(np.arange(200) < 3, "rare", np.where(np.arange(200) % 2, "cart", "shop"))
    severities = np.where(services == "cart", "P1", "P2")  # what service says severity says as well, but for the rare
    fit = accelerated_failure_time(first, second, encode(severities, severities), encode(services, services))
    assert fit.pooled_services == 1
    assert fit.parameters == 4
    fit = accelerated_failure_time(
        first, second, encode(severities, severities), encode(services, services), smallest_service=3
    )
    assert (fit.pooled_services, fit.parameters) == (0, 4)


@settings(deadline=None)
@given(LIFETIMES, LIFETIMES, st.floats(min_value=0.01, max_value=100))
def test_ratios_invert_with_the_arms_and_know_no_unit(baseline, candidate, unit):
    there, back = accelerated_failure_time(baseline, candidate), accelerated_failure_time(candidate, baseline)
    if isinstance(there, NotPossible):
        assert isinstance(back, NotPossible)
        return
    assert all(math.isfinite(value) for value in vars(there).values())
    assert back.log_ratio == pytest.approx(-there.log_ratio, abs=1e-5)
    scaled = accelerated_failure_time(*(Lifetimes(unit * arm.times, arm.is_ended) for arm in (baseline, candidate)))
    assert (scaled.ratio, scaled.low) == pytest.approx((there.ratio, there.low), rel=1e-4)


@settings(deadline=None)
@given(LIFETIMES, LIFETIMES)
def test_an_older_open_incident_never_lowers_the_ratio(baseline, candidate):
    longer = Lifetimes(np.where(candidate.is_ended, candidate.times, 2 * candidate.times), candidate.is_ended)
    before, after = accelerated_failure_time(baseline, candidate), accelerated_failure_time(baseline, longer)
    if not isinstance(before, NotPossible) and not isinstance(after, NotPossible):
        assert after.log_ratio >= before.log_ratio - 1e-6


@pytest.mark.parametrize(
    ("baseline", "candidate", "code"),
    [
        (([], []), ([], []), "all_open"),
        (([1.0, 2.0, 3.0], []), ([], [4.0, 5.0]), "all_open"),
        (([1.0], []), ([2.0], []), "too_few"),
        (([5.0] * 4, []), ([5.0] * 4, []), "all_equal"),
        (([5.0] * 4, []), ([6.0] * 4, []), "all_equal"),
    ],
)
def test_arms_without_an_estimate_are_named(baseline, candidate, code):
    pair = [Lifetimes.of(np.array(ended), np.array(ages)) for ended, ages in (baseline, candidate)]
    assert accelerated_failure_time(*pair).code == code


def test_arms_of_other_severities_are_not_compared():
    pair = [Lifetimes.of(np.arange(1.0, 9.0), NOBODY) for _ in range(2)]
    severities = encode(np.full(8, "P1"), np.full(8, "P4"))
    assert accelerated_failure_time(*pair, severities).code == "no_overlap"


def test_open_incidents_of_a_kind_that_never_ended_are_left_out_and_counted():
    pair = [Lifetimes.of(np.arange(1.0, 9.0), np.full(2, 50.0)), Lifetimes.of(np.arange(2.0, 10.0), NOBODY)]
    labels = np.array(["P2"] * 8 + ["P1"] * 2), np.full(8, "P2")
    fit = accelerated_failure_time(*pair, encode(*labels))
    assert (fit.left_out, fit.open_count, fit.incidents) == (2, 0, 16)
