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
