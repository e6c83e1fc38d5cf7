"""What Dagster serves: its groups, jobs, schedule and checks, seen as a whole so that a loss is noticed."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build_defs
from dagster_project.quality.suites import SUITES
from dagster_project.settings import Project
from dagster_project.transformation import prepare

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def served():
    project = Project(REPOSITORY)
    prepare.prepare(project)
    return build_defs(project)


def test_every_group_of_the_way_of_the_data_is_there(served):
    groups = {key.to_user_string(): spec.group_name for spec in served.resolve_all_asset_specs() for key in [spec.key]}
    assert set(groups.values()) == {
        "landing", "staging", "intermediate", "violations", "marts", "statistics", "papers", "publication",
    }  # fmt: skip
    assert groups["raw/spans"] == "landing"
    assert groups["violations/fct_violations"] == "violations"
    assert groups["published/site"] == "publication"


def test_every_asset_says_what_it_is(served):
    silent = [spec.key.to_user_string() for spec in served.resolve_all_asset_specs() if not spec.description]
    assert silent == []


def test_great_expectations_and_dbt_tests_are_checks(served):
    checks = [key for graph in [served.resolve_asset_graph()] for key in graph.asset_check_keys]
    by_great_expectations = {key.asset_key.to_user_string() for key in checks if key.name == "great_expectations"}
    assert by_great_expectations == {table.replace(".", "/") for table in SUITES}
    assert len(checks) > 100


def test_the_schedule_asks_for_the_day_that_has_ended(served):
    (schedule,) = [served.resolve_schedule_def("every_night")]
    two_o_clock = datetime(2024, 5, 2, 2, 0, tzinfo=UTC)
    repository = served.get_repository_def()
    with dg.build_schedule_context(scheduled_execution_time=two_o_clock, repository_def=repository) as context:
        request = schedule.evaluate_tick(context).run_requests[0]
    assert request.partition_key == "2024-05-01"


def test_the_jobs_run_in_one_process(served):
    for name in ("land", "replay", "nightly"):
        assert served.resolve_job_def(name).executor_def == dg.in_process_executor


def test_a_sensor_watches_for_late_records(served):
    assert served.resolve_sensor_def("late_records").job_name == "replay"
