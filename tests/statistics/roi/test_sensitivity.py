import numpy as np
import pytest

from dagster_project.statistics.roi.draws import worth
from dagster_project.statistics.roi.effects import FoundEffect
from dagster_project.statistics.roi.lines import Basis
from dagster_project.statistics.roi.sensitivity import break_even_incidents, break_even_share, tornado

ANNUITY = sum(1.1**-year for year in (1, 2, 3))
COSTS = 5_000 + 10_000 * ANNUITY


def net(plan, effects, drawn=None):
    costs, benefits = worth(plan, Basis.ALL_LINES, effects, drawn)
    return benefits - costs


def test_swings_by_hand_and_sorted(estimate, number):
    plan = estimate(
        incidents_per_year=number(20, "incidents/year", low=10, high=40),
        labour={
            "hours_before": number(10, "hours", low=9, high=11), "hours_after": number(4, "hours"),
            "hourly_cost": number(100),
        },
    )  # fmt: skip
    incidents, hours = tornado(plan, Basis.ALL_LINES, {})
    assert (incidents.driver.id, hours.driver.id) == ("incidents_per_year", "labour.hours_before")
    assert incidents.at_low == pytest.approx(10 * 6 * 100 * ANNUITY - COSTS)
    assert incidents.at_high == pytest.approx(40 * 6 * 100 * ANNUITY - COSTS)
    assert hours.width == pytest.approx(20 * 2 * 100 * ANNUITY)
    assert incidents.break_even == pytest.approx(COSTS / (600 * ANNUITY))
    assert hours.break_even == pytest.approx(4 + COSTS / (2_000 * ANNUITY))


def test_break_even_incidents_by_hand(estimate):
    assert break_even_incidents(estimate(), Basis.ALL_LINES, {}) == pytest.approx(COSTS / (600 * ANNUITY))


def test_what_is_free_breaks_even_at_nothing(estimate, number):
    free = estimate(costs=[{"id": "licence", "label": "Licence", "timing": "yearly", "amount": number(0)}])
    assert f"{break_even_incidents(free, Basis.ALL_LINES, {})}" == "0.0"
    assert break_even_share(free, Basis.ALL_LINES, {}) == 0


def test_no_break_even_where_there_is_none(estimate, number):
    hours = {"hours_before": number(4, "hours"), "hours_after": number(10, "hours"), "hourly_cost": number(100)}
    worse = estimate(labour=hours)
    assert break_even_incidents(worse, Basis.ALL_LINES, {}) is None
    assert break_even_share(worse, Basis.ALL_LINES, {}) is None
    nothing = estimate(labour=hours | {"hours_before": number(10, "hours")})
    assert break_even_incidents(nothing, Basis.ALL_LINES, {}) is None
    assert break_even_share(nothing, Basis.ALL_LINES, {}) is None


def test_the_break_even_share_is_a_zero_of_the_estimate(estimate, every_line, number):
    plan = estimate(**every_line)
    share = break_even_share(plan, Basis.ALL_LINES, {})
    assert 0 < share < 1
    scaled = {
        "labour.hours_after": np.array(10 - share * 6),
        "avoided_downtime.minutes_saved": np.array(30 * share),
        "avoided_incidents.share_avoided": np.array(0.25 * share),
        "audit_hours.hours_saved": np.array(40 * share),
    }
    assert net(plan, {}, scaled) == pytest.approx(0, abs=1e-6 * COSTS)


def test_the_break_even_of_an_effect_is_a_zero_of_the_estimate(estimate, number):
    after = number(10, "hours", effect={"comparison": "a-change"})
    plan = estimate(labour={"hours_before": number(10, "hours"), "hours_after": after, "hourly_cost": number(100)})
    effects = {"effect.a-change.duration": FoundEffect(0.6, "IMPROVED", 0.5, 0.8)}
    (swing,) = tornado(plan, Basis.ALL_LINES, effects)
    assert swing.break_even == pytest.approx(1 - COSTS / (20 * 10 * 100 * ANNUITY))
    assert net(plan, effects, {swing.driver.id: np.array(swing.break_even)}) == pytest.approx(0, abs=1e-6)
    assert (swing.driver.low, swing.driver.high) == (0.5, 0.8)


def test_a_driver_that_does_not_matter_on_a_basis_is_not_shown(estimate, every_line, number):
    audits = every_line["audit_hours"] | {"hours_saved": number(40, "hours", low=0, high=80)}
    plan = estimate(audit_hours=audits)
    assert [one.driver.id for one in tornado(plan, Basis.ALL_LINES, {})] == ["audit_hours.hours_saved"]
    assert tornado(plan, Basis.LABOUR_ONLY, {}) == []
