import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagster_project.statistics.downtime import downtime_effect
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import encode
from dagster_project.statistics.survival import Lifetimes, restricted_mean

NOBODY = np.empty(0)
SIX = np.array(["a", "b", "c", "d", "e", "f"])
ROWS = st.lists(
    st.tuples(st.integers(1, 20).map(float), st.booleans(), st.sampled_from(SIX.tolist())), min_size=5, max_size=40
)


def arm(rows):
    times, ended, services = (np.array(column) for column in zip(*rows, strict=True))
    return Lifetimes(times, ended), services


def test_downtime_by_hand():
    first, second = Lifetimes.of(np.array([10.0, 20, 30]), NOBODY), Lifetimes.of(np.array([10.0, 100]), NOBODY)
    services = encode(np.array(["a", "b", "b"]), np.array(["a", "c"]))
    effect = downtime_effect(first, second, services, 60, 30, 25)
    assert vars(effect.baseline) == {
        "seconds_per_30_days": pytest.approx(55 / 2),
        "incidents_per_30_days": 1.5,
        "restricted_mean_seconds": pytest.approx(55 / 3),
    }
    assert effect.candidate.seconds_per_30_days == pytest.approx(35)
    assert (effect.difference, effect.ratio) == pytest.approx((7.5, 35 / 27.5))
    assert (effect.difference_low, effect.ratio_low, effect.resamples, effect.is_small) == (None, None, 0, True)
    assert effect.why_no_interval == "an arm knows 2 services of the 5 to draw among"


@settings(deadline=None)
@given(ROWS, ROWS, st.integers(2, 15))
def test_sums_by_service_add_up_to_the_curves_area(baseline, candidate, tau):
    (first, first_services), (second, second_services) = arm(baseline), arm(candidate)
    services = encode(first_services, second_services)
    effect = downtime_effect(first, second, services, 30, 30, tau, resamples=199)
    if isinstance(effect, NotPossible):
        assert restricted_mean(first, tau) is None or restricted_mean(second, tau) is None
        return
    # Weighted seconds of all incidents, those whose length is unknown left out, against the area under the curve.
    alone = encode(np.full(first.count, "x"), np.full(second.count, "x"))
    totals = _totals_of_one_service(first, second, alone, tau)
    assert totals == pytest.approx((effect.baseline.seconds_per_30_days, effect.candidate.seconds_per_30_days))
    known = [value for value in vars(effect).values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in known)


def _totals_of_one_service(first, second, services, tau):
    from dagster_project.statistics.downtime import _totals

    return tuple(
        float(_totals(each, codes, 1, tau)[0])
        for each, codes in ((first, services.baseline), (second, services.candidate))
    )


def test_bootstrap_by_service_agrees_with_drawing_services_one_by_one():
    generator = np.random.default_rng(1)
    names = np.array([f"service {number}" for number in range(12)])
    faults = generator.gamma(1, 30, 12).round().astype(int) + 1
    labels = np.repeat(names, faults)
    first = Lifetimes.of(generator.lognormal(4, 1, labels.size), NOBODY)
    second = Lifetimes.of(generator.lognormal(3.8, 1, labels.size), NOBODY)
    effect = downtime_effect(first, second, encode(labels, labels), 90, 90, 1_000, resamples=9_999, seed=3)
    differences = []
    for _ in range(2_000):
        drawn = generator.integers(0, 12, 12)
        sums = [
            sum(np.minimum(each.times[labels == names[place]], 1_000).sum() for place in drawn)
            for each in (first, second)
        ]
        differences.append((sums[1] - sums[0]) / 3)
    low, high = np.quantile(differences, [0.025, 0.975])
    # Twelve services: the ends are widened by what Student's t has more than the normal.
    wider = stats.t.ppf(0.975, 11) * math.sqrt(12 / 11) / 1.959964
    width = (effect.difference_high - effect.difference_low) / (high - low)
    assert width == pytest.approx(wider, rel=0.1)
    assert effect.difference_high + effect.difference_low == pytest.approx(high + low, abs=0.1 * (high - low))
    assert effect.ratio_low < effect.ratio < effect.ratio_high
    assert not effect.is_small


def test_an_interval_over_six_unequal_services_covers_nine_times_in_ten():
    generator = np.random.default_rng(6)
    covered = runs = 0
    for run in range(400):
        faults, slowness = generator.gamma(1, 20, 6), 0.5 * generator.standard_normal(6)
        labels = [np.repeat(SIX, generator.poisson(faults)) for _ in range(2)]
        pair = [
            Lifetimes.of(np.exp(slowness[np.searchsorted(SIX, each)] + generator.normal(8, 1.2, each.size)), NOBODY)
            for each in labels
        ]
        effect = downtime_effect(*pair, encode(*labels), 90, 90, 5e5, resamples=999, seed=run)
        if isinstance(effect, NotPossible) or effect.ratio_low is None:
            continue
        covered, runs = covered + (effect.ratio_low <= 1 <= effect.ratio_high), runs + 1
    # The plain percentiles cover 80 %.
    assert covered / runs == pytest.approx(0.91, abs=3 * math.sqrt(0.91 * 0.09 / runs))


def test_services_of_one_arm_only_are_drawn_among_themselves():
    seconds = np.array([5.0, 6, 7, 8, 9, 10])
    labels = SIX, np.char.add(SIX, "2")
    pair = Lifetimes.of(seconds, NOBODY), Lifetimes.of(2 * seconds, NOBODY)
    effect = downtime_effect(*pair, encode(*labels), 30, 30, 100)
    assert 1.2 < effect.ratio_low < 2 < effect.ratio_high < 3.2


def test_interval_is_the_same_twice_and_inverts_with_the_arms():
    generator = np.random.default_rng(2)
    labels = generator.choice(SIX, 80), generator.choice(SIX, 90)
    pair = [Lifetimes.of(generator.lognormal(3, 1, each.size), np.full(3, 50.0)) for each in labels]
    labels = [np.append(each, ["a", "b", "c"]) for each in labels]
    one, two = (downtime_effect(*pair, encode(*labels), 30, 60, 40, seed=4) for _ in range(2))
    assert one == two
    back = downtime_effect(pair[1], pair[0], encode(labels[1], labels[0]), 60, 30, 40, seed=4)
    assert (back.ratio, back.ratio_low) == pytest.approx((1 / one.ratio, 1 / one.ratio_high), rel=1e-3)


def test_no_downtime_beyond_what_is_known():
    pair = Lifetimes.of(np.array([1.0]), np.array([2.0])), Lifetimes.of(np.array([1.0]), NOBODY)
    services = encode(np.array(["a", "a"]), np.array(["a"]))
    assert downtime_effect(*pair, services, 30, 30, 5).code == "unknown_before_tau"
    with pytest.raises(ValueError, match="positive horizon"):
        downtime_effect(*pair, services, 30, 0, 5)
