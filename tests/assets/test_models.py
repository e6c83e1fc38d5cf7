import json
from datetime import date

from dagster_project.assets.models import dbt_arguments
from dagster_project.transformation.replay_window import ReplayWindow

DAY = date(2024, 2, 29)
POLICY = {"incident_lead_minutes": 5}


def due(*, full_refresh):
    return ReplayWindow(date(2024, 1, 1), DAY, due_days=3, full_refresh=full_refresh, through_load_id=7)


def variables(arguments):
    return json.loads(arguments[arguments.index("--vars") + 1])


def test_a_replay_takes_in_the_days_that_were_asked_and_the_policy():
    arguments = dbt_arguments(due(full_refresh=False), DAY, DAY, POLICY)
    assert variables(arguments) == {**POLICY, "replay_from": "2024-02-29", "replay_until": "2024-03-01"}
    assert "--full-refresh" not in arguments


def test_changed_models_build_every_day_from_scratch_whatever_was_asked():
    arguments = dbt_arguments(due(full_refresh=True), DAY, DAY, POLICY)
    assert variables(arguments) == {**POLICY, "replay_from": "2024-01-01", "replay_until": "2024-03-01"}
    assert "--full-refresh" in arguments


def test_unit_tests_of_models_are_not_the_night_s_business():
    arguments = dbt_arguments(None, DAY, DAY, {})
    assert arguments[:3] == ["build", "--exclude-resource-type", "unit_test"]
