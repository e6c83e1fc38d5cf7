import json
from datetime import date

from dagster_project.assets.models import dbt_arguments
from dagster_project.transformation.replay_window import ReplayWindow

DAY = date(2024, 2, 29)
VARIABLES = {"incident_lead_minutes": 5, "replay_from": "2024-02-29"}


def due(*, full_refresh):
    return ReplayWindow(DAY, DAY, due_days=1, full_refresh=full_refresh, through_load_id=7, built_from="models")


def test_dbt_is_handed_the_variables_as_they_are():
    arguments = dbt_arguments(due(full_refresh=False), VARIABLES)
    assert json.loads(arguments[arguments.index("--vars") + 1]) == VARIABLES
    assert "--full-refresh" not in arguments


def test_changed_models_and_an_empty_history_are_built_from_scratch():
    assert "--full-refresh" in dbt_arguments(due(full_refresh=True), VARIABLES)
    assert "--full-refresh" in dbt_arguments(None, VARIABLES)


def test_unit_tests_of_models_are_not_the_night_s_business():
    assert dbt_arguments(None, {})[:3] == ["build", "--exclude-resource-type", "unit_test"]
