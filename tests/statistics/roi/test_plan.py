import math
from pathlib import Path

import pytest

from dagster_project.policy.document import DocumentError
from dagster_project.statistics.plan import load_plans
from dagster_project.statistics.roi.effects import wanted_effects
from dagster_project.statistics.roi.plan import load_roi_plans

REPO = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"incidents_per_year": {"value": -1}}, "greater than or equal to 0"),
        ({"incidents_per_year": {"value": math.nan}}, "finite"),
        ({"incidents_per_year": {"value": 1e300}}, "less than or equal to"),
        ({"incidents_per_year": {"value": 5, "low": 6}}, "outside its range"),
        ({"incidents_per_year": {"value": 5, "high": 4}}, "outside its range"),
        ({"incidents_per_year": {"unit": "EUR/year"}}, "is in EUR, the estimate in USD"),
        ({"labour.hourly_cost": {"unit": "$/hour"}}, "is money: begin its unit with USD"),
        ({"incidents_per_year": {"effect": {"comparison": "a-change"}}}, "takes no effect"),
        ({"costs": []}, "at least 1 item"),
    ],
)
def test_impossible_assumptions_are_refused(estimate, number, change, message):
    given = {
        "incidents_per_year": number(20, "incidents/year"),
        "labour": {"hours_before": number(10, "hours"), "hours_after": number(4, "hours"), "hourly_cost": number(100)},
    }
    for name, values in change.items():
        if isinstance(values, list):
            given[name] = values
        elif "." in name:
            group, field = name.split(".")
            given[group] = given[group] | {field: given[group][field] | values}
        else:
            given[name] = given[name] | values
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at
        estimate(**given)
    assert message in str(caught.value)


def with_unit(name, unit, estimate, number, every_line):
    """An estimate in which one input has this unit."""
    given = {
        "incidents_per_year": number(20, "incidents/year"),
        "costs": [
            {"id": "licence", "label": "x", "timing": "yearly", "amount": number(1)},
            {"id": "setup", "label": "x", "timing": "one_time", "amount": number(1)},
        ],
        "labour": {"hours_before": number(10, "hours"), "hours_after": number(4, "hours"), "hourly_cost": number(100)},
        "stated_return": {"ratio": number(5, "times"), "yearly_costs": number(1)},
        **every_line,
    }
    *groups, field = name.split(".")
    place = given
    for group in groups:
        place = place[int(group)] if isinstance(place, list) else place[group]
    place[field] |= {"unit": unit}
    return estimate(**given)


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("costs.0.amount", "USD/month", "costs.licence.amount is computed in USD/year"),
        ("costs.0.amount", "USD per quarter", "costs.licence.amount is computed in USD/year"),
        ("costs.1.amount", "USD/year", "costs.setup.amount is computed in USD:"),
        ("labour.hourly_cost", "USD/day", "labour.hourly_cost is computed in USD/hour"),
        ("labour.hours_before", "minutes/incident", "labour.hours_before is computed in hours"),
        ("labour.hours_after", "hours/year", "labour.hours_after is computed in hours"),
        ("incidents_per_year", "incidents/month", "incidents_per_year is computed in incidents/year"),
        ("avoided_downtime.minutes_saved", "hours", "avoided_downtime.minutes_saved is computed in minutes"),
        ("avoided_downtime.gross_profit_per_minute", "USD/hour", "is computed in USD/minute"),
        ("avoided_incidents.cost_per_incident", "USD/year", "is computed in USD/incident"),
        ("audit_hours.audits_per_year", "audits/month", "is computed in audits/year"),
        ("audit_hours.hours_saved", "days", "audit_hours.hours_saved is computed in hours"),
        ("stated_return.yearly_costs", "USD/month", "stated_return.yearly_costs is computed in USD/year"),
    ],
)
def test_nothing_is_computed_in_another_unit_than_it_is_given_in(estimate, number, every_line, name, unit, expected):
    with pytest.raises(ValueError, match="convert it") as caught:
        with_unit(name, unit, estimate, number, every_line)
    assert expected in str(caught.value)
    assert f"(found {unit!r})" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("costs.0.amount", "USD / year"),
        ("costs.0.amount", "USD per annum"),
        ("labour.hourly_cost", "USD/h"),
        ("labour.hourly_cost", "USD an hour"),
        ("labour.hours_before", "hour"),
        ("labour.hours_before", "hours/incident"),
        ("incidents_per_year", "incidents"),
        ("avoided_downtime.minutes_saved", "minutes per incident"),
        ("avoided_downtime.gross_profit_per_minute", "USD/min"),
        ("audit_hours.hours_saved", "hours/audit"),
    ],
)
def test_what_says_the_same_is_the_same_unit(estimate, number, every_line, name, unit):
    assert with_unit(name, unit, estimate, number, every_line)


@pytest.mark.parametrize("unit", ["USD", "USD/user/minute", "USD per user and minute", "USD/user-minute"])
def test_revenue_of_a_user_and_minute(estimate, number, unit):
    downtime = {
        "method": "affected_users", "affected_users": number(5, "users"), "minutes_saved": number(1, "minutes"),
        "revenue_per_user_minute": number(1, unit),
    }  # fmt: skip
    assert estimate(avoided_downtime=downtime)
    with pytest.raises(ValueError, match="USD/user/minute"):
        estimate(avoided_downtime=downtime | {"revenue_per_user_minute": number(1, "USD/user/hour")})


@pytest.mark.parametrize("high", [2, 1.5])
def test_more_than_all_incidents_cannot_be_avoided(estimate, number, high):
    avoided = {"share_avoided": number(0.5, "share", high=high), "cost_per_incident": number(1)}
    with pytest.raises(ValueError, match="more than all"):
        estimate(avoided_incidents=avoided)


def test_line_ids_are_given_once(estimate, number):
    twice = {"id": "setup", "label": "x", "timing": "yearly", "amount": number(1)}
    with pytest.raises(ValueError, match="given twice"):
        estimate(transfers=[twice])


def test_a_mistake_in_the_file_names_its_line(tmp_path):
    file = tmp_path / "roi.yml"
    file.write_text((REPO / "data/roi.yml").read_text().replace("{value: 80,", "{value: eighty,"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "eighty" in text)
    with pytest.raises(DocumentError, match=rf"roi\.yml:{line}: .*labour\.hours_before\.value.*found 'eighty'"):
        load_roi_plans(file)


def test_the_shipped_estimates_name_comparisons_that_the_project_makes():
    known = {plan.id for plan in load_plans(REPO / "data/comparisons.yml").comparisons}
    effects = wanted_effects(load_roi_plans(REPO / "data/roi.yml").estimates)
    assert effects
    assert {effect.comparison for effect in effects.values()} <= known
