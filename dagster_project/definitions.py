"""What Dagster serves. It only puts the parts together: `hindcast prepare` compiles, the rooms work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource

from dagster_project.assets import build_assets
from dagster_project.checks import build_checks
from dagster_project.jobs import build_jobs
from dagster_project.loggers import progress_logger
from dagster_project.partitions import event_days
from dagster_project.resources import Warehouse
from dagster_project.schedules import build_schedules
from dagster_project.sensors import build_sensors
from dagster_project.settings import Project, find_project
from dagster_project.sources import declaration
from dagster_project.transformation import prepare


def build_defs(project: Project | None = None, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything of one project that Dagster can run.

    Parameters
    ----------
    project
        The nearest project when not given.
    resource_overrides
        Resources that take the place of the real ones, in tests.

    Raises
    ------
    prepare.NotPrepared
        When the rules or the dbt project changed since `hindcast prepare`.
    """
    project = project or find_project()
    days = event_days(declaration.read(project.sources_file).first_day)
    jobs = build_jobs()
    by_name = {job.name: job for job in jobs}
    os.environ.update(prepare.dbt_environment(project))
    resources = {
        "warehouse": Warehouse(project_root=str(project.root)),
        "dbt": DbtCliResource(
            project_dir=str(project.dbt_dir),
            profiles_dir=str(project.dbt_dir),
            dbt_executable=prepare.dbt_executable(),
        ),
    }
    return dg.Definitions(
        assets=build_assets(project, days),
        asset_checks=build_checks(),
        jobs=jobs,
        schedules=build_schedules(by_name["nightly"], days),
        sensors=build_sensors(by_name["replay"]),
        resources=resources | dict(resource_overrides or {}),
        loggers={"progress": progress_logger},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The entry point of `dagster dev`."""
    return build_defs()
