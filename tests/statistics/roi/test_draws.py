import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dagster_project.statistics.roi.draws import drivers_of, histogram, simulate, triangular
from dagster_project.statistics.roi.effects import FoundEffect, refused
from dagster_project.statistics.roi.lines import Basis
from dagster_project.statistics.roi.marts import roi_draws, roi_histogram


@pytest.fixture
def ranged(estimate, number):
    """20 incidents a year, 10 to 40; hours that are left by a comparison's effect."""
    after = number(10, "hours", effect={"comparison": "a-change"})
    return estimate(
        incidents_per_year=number(20, "incidents/year", low=10, high=40),
        labour={"hours_before": number(10, "hours"), "hours_after": after, "hourly_cost": number(100)},
    )


EFFECTS = {"effect.a-change.duration": FoundEffect(0.8, "IMPROVED", 0.8 / 1.25, 0.8 * 1.25)}


def test_the_triangular_inverse_is_scipys():
    uniforms = np.linspace(0, 1, 101)
    theirs = stats.triang.ppf(uniforms, (3 - 1) / (7 - 1), loc=1, scale=6)
    assert triangular(uniforms, 1, 3, 7) == pytest.approx(theirs)
    assert triangular(uniforms, 1, 1, 7) == pytest.approx(stats.triang.ppf(uniforms, 0, loc=1, scale=6))


def test_an_effect_is_drawn_from_its_interval(ranged):
    driver = next(one for one in drivers_of(ranged, Basis.ALL_LINES, EFFECTS) if one.found)
    drawn = driver.draw(200_000, 1)
    low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
    assert (low, middle, high) == pytest.approx((0.64, 0.8, 1.0), rel=0.01)
    assert stats.kstest(np.log(drawn), "norm", args=(math.log(0.8), driver.found.log_deviation)).pvalue > 0.001


def test_draws_are_the_same_digits_twice_and_another_seed_is_another(ranged):
    one, same = (simulate(ranged, Basis.ALL_LINES, EFFECTS).net_present_values for _ in range(2))
    assert one.tobytes() == same.tobytes()
    other = simulate(ranged.model_copy(update={"seed": 2}), Basis.ALL_LINES, EFFECTS).net_present_values
    assert not np.array_equal(one, other)


def test_a_range_elsewhere_changes_no_other_draw(ranged, estimate, number):
    incidents = [one for one in drivers_of(ranged, Basis.ALL_LINES, EFFECTS) if one.id == "incidents_per_year"]
    alone = estimate(incidents_per_year=number(20, "incidents/year", low=10, high=40))
    same = drivers_of(alone, Basis.ALL_LINES, {})
    assert incidents[0].draw(50, 7).tobytes() == same[0].draw(50, 7).tobytes()


def test_the_distribution_is_that_of_the_formula(ranged):
    drawn = simulate(ranged, Basis.ALL_LINES, EFFECTS).net_present_values
    by_id = {one.id: one.draw(ranged.draws, ranged.seed) for one in drivers_of(ranged, Basis.ALL_LINES, EFFECTS)}
    annuity = sum(1.1**-year for year in (1, 2, 3))
    hours = 10 * (1 - by_id["effect.a-change.duration"])
    expected = by_id["incidents_per_year"] * hours * 100 * annuity - 5_000 - 10_000 * annuity
    assert drawn == pytest.approx(expected)


def test_the_summary_is_of_those_draws(ranged):
    drawn = simulate(ranged, Basis.ALL_LINES, EFFECTS).net_present_values
    row = roi_draws([ranged], EFFECTS).to_pylist()[0]
    assert [row["npv_p05"], row["npv_p50"], row["npv_p95"]] == pytest.approx(np.quantile(drawn, [0.05, 0.5, 0.95]))
    assert 0 < row["probability_npv_negative"] == (drawn < 0).mean() == row["probability_roi_negative"]
    bins = [one for one in roi_histogram([ranged], EFFECTS).to_pylist() if one["basis"] == "all_lines"]
    assert sum(one["draw_count"] for one in bins) == 10_000
    assert all(one["npv_to"] == after["npv_from"] for one, after in itertools.pairwise(bins))
    assert (bins[0]["npv_from"], bins[-1]["npv_to"]) == (drawn.min(), drawn.max())


def test_an_inconclusive_effect_may_be_a_loss_and_a_refused_one_is_nothing(ranged):
    open_ = {"effect.a-change.duration": FoundEffect(1.0, "INCONCLUSIVE", 0.5, 2.0)}
    losses = roi_draws([ranged], open_).to_pylist()[0]["probability_npv_negative"]
    assert 0.9 < losses < 1  # even a cut of half does not pay these costs, one of two thirds does
    refusal = {"effect.a-change.duration": refused("NOT_COMPARABLE", "why")}
    row = roi_draws([ranged], refusal).to_pylist()[0]
    assert row["npv_p95"] == row["npv_p05"] == pytest.approx(-5_000 - 10_000 * sum(1.1**-year for year in (1, 2, 3)))


def test_nothing_drawn_has_no_chance_of_a_loss_not_one_of_zero(estimate):
    row = roi_draws([estimate()]).to_pylist()[0]
    assert (row["drawn_count"], row["probability_npv_negative"], row["probability_roi_negative"]) == (0, None, None)
    assert "says nothing of its uncertainty" in row["sentence"]
    assert len(roi_histogram([estimate()]).to_pylist()) == 2  # one bin on each basis


def test_a_histogram_of_equal_values_is_one_bin():
    assert [one.count for one in histogram(np.full(7, 3.0))] == [7]
