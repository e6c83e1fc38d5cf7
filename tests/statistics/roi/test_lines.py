import re

import numpy as np
import pytest

from dagster_project.statistics.roi.effects import FoundEffect
from dagster_project.statistics.roi.lines import Basis, lines_of, total


def yearly(plan, basis=Basis.ALL_LINES, effects=None):
    return {line.id: line.amounts[1] for line in lines_of(plan, basis, effects or {})}


def by_calculator(formula):
    """What a reader gets who types the printed formula into a calculator."""
    typed = formula.replace(",", "").replace(" x ", " * ")
    typed = re.sub(r"(?<!\()\b[A-Za-z]+(/[A-Za-z]+)?\b", "", typed)
    assert re.fullmatch(r"[\d\s.()*+-]+", typed), typed
    return eval(typed)  # noqa: S307 - digits and signs, as asserted


def test_the_four_lines_by_hand(estimate, every_line):
    lines = yearly(estimate(**every_line))
    assert lines["labour"] == 15 * 6 * 100  # the five prevented incidents save no hours
    assert lines["avoided_downtime"] == 15 * 30 * 25
    assert lines["avoided_incidents"] == 5 * 8_000
    assert lines["audit_hours"] == 2 * 40 * 90


def test_labour_alone_prevents_nothing(estimate, every_line):
    lines = yearly(estimate(**every_line), Basis.LABOUR_ONLY)
    assert lines["labour"] == 20 * 6 * 100
    assert lines.keys() == {"licence", "setup", "labour"}


@pytest.mark.parametrize(("includes_labour", "expected"), [(False, 20 * 3_000), (True, 20 * (3_000 - 6 * 100))])
def test_hours_inside_an_incidents_cost_do_not_count_twice(estimate, number, includes_labour, expected):
    downtime = {"method": "per_incident", "cost_before": number(4_000), "cost_after": number(1_000)}
    plan = estimate(avoided_downtime=downtime | {"includes_labour": includes_labour})
    assert yearly(plan)["avoided_downtime"] == expected


@pytest.mark.parametrize(
    ("margin", "expected", "is_revenue"), [(None, 20 * 12 * 250, True), (0.4, 20 * 12 * 100, False)]
)
def test_the_formula_of_affected_users_is_revenue_unless_a_margin_is_given(
    estimate, number, margin, expected, is_revenue
):
    downtime = {
        "method": "affected_users", "affected_users": number(500, "users"), "minutes_saved": number(12, "minutes"),
        "revenue_per_user_minute": number(0.5),
    } | ({} if margin is None else {"gross_margin": number(margin, "share")})  # fmt: skip
    plan = estimate(avoided_downtime=downtime)
    line = next(line for line in lines_of(plan, Basis.ALL_LINES, {}) if line.id == "avoided_downtime")
    assert line.amounts[1] == pytest.approx(expected)
    assert ("revenue, not profit" in line.label) is is_revenue


def test_a_reader_with_a_calculator_gets_every_line(estimate, every_line, number):
    downtimes = [
        every_line["avoided_downtime"],
        {"method": "per_incident", "cost_before": number(4_000), "cost_after": number(1_000), "includes_labour": True},
        {
            "method": "affected_users", "affected_users": number(1_500, "users"),
            "minutes_saved": number(12, "minutes"), "revenue_per_user_minute": number(0.5),
            "gross_margin": number(0.4, "share"), "credits_per_minute": number(7),
        },
    ]  # fmt: skip
    after = number(10, "hours", effect={"comparison": "a-change"})
    for downtime in downtimes:
        plan = estimate(**every_line | {"avoided_downtime": downtime}, labour={
            "hours_before": number(10, "hours"), "hours_after": after, "hourly_cost": number(100)})  # fmt: skip
        effects = {"effect.a-change.duration": FoundEffect(0.625, "IMPROVED", 0.5, 0.8)}
        for line in lines_of(plan, Basis.ALL_LINES, effects):
            if line.kind == "benefit":
                assert by_calculator(line.formula) == pytest.approx(line.amounts[1], rel=1e-12), line.formula


def test_an_effect_acts_on_the_value(estimate, every_line, number):
    effects = {
        "effect.a-change.duration": FoundEffect(0.6, "IMPROVED", 0.5, 0.8),
        "effect.a-change.frequency": FoundEffect(1.5, "IMPROVED", 1.2, 1.8),
    }
    saved = number(30, "minutes", effect={"comparison": "a-change"})
    share = number(1, "share", effect={"comparison": "a-change", "measure": "frequency"})
    plan = estimate(
        avoided_downtime=every_line["avoided_downtime"] | {"minutes_saved": saved},
        avoided_incidents={"share_avoided": share, "cost_per_incident": number(8_000)},
    )
    lines = yearly(plan, effects=effects)
    # Half as many incidents again happen: each costs its whole, and downtime is saved on every one of them.
    assert lines["avoided_incidents"] == pytest.approx(-10 * 8_000)
    assert lines["avoided_downtime"] == pytest.approx(30 * (30 * 0.4) * 25)


def test_no_incidents_bring_nothing_but_audits(estimate, every_line, number):
    lines = yearly(estimate(**every_line, incidents_per_year=number(0, "incidents/year")))
    assert [lines[name] for name in ("labour", "avoided_downtime", "avoided_incidents")] == [0, 0, 0]
    assert lines["audit_hours"] > 0


def test_drawn_lines_are_the_lines_at_drawn_values(estimate, every_line, number):
    plan = estimate(**every_line)
    drawn = {"incidents_per_year": np.array([0.0, 20.0, 40.0]), "costs.setup.amount": np.array([1.0, 5_000.0, 2.0])}
    point = lines_of(plan, Basis.ALL_LINES, {})
    for line, same in zip(lines_of(plan, Basis.ALL_LINES, {}, drawn), point, strict=True):
        assert np.broadcast_to(line.amounts.T, (3, 4))[1] == pytest.approx(same.amounts)
        assert line.formula == same.formula
    totals = total(lines_of(plan, Basis.ALL_LINES, {}, drawn), "benefit", 3)
    assert totals[1] - 2 * 40 * 90 == pytest.approx((9_000 + 11_250 + 40_000) * np.array([0, 1, 2]))


def test_total_of_nothing_is_zero():
    assert total([], "benefit", 3).tolist() == [0, 0, 0, 0]
