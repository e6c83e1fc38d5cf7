"""Sensors: late records queue the event days that they touch."""

from __future__ import annotations

import dagster as dg

from dagster_project.partitions import range_tags
from dagster_project.resources import Warehouse
from dagster_project.sources import declaration
from dagster_project.transformation import prepare, replay_window
from dagster_project.warehouse import lock

UNFINISHED = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)


def build_sensors(replay: dg.UnresolvedAssetJobDefinition) -> list[dg.SensorDefinition]:
    """The sensor that asks for a replay of the days whose records landed after they were replayed."""

    @dg.sensor(
        name="late_records",
        job=replay,
        minimum_interval_seconds=600,
        description="Asks for a replay of event days whose records landed since they were last replayed.",
    )
    def late_records(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
        project = warehouse.project
        if context.instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
            return dg.SkipReason("a run is under way; what is due is asked for after it")
        if not project.warehouse_file.exists():
            return dg.SkipReason("nothing has been loaded yet")
        try:
            with warehouse.reader("look for late records", wait_seconds=0.0) as connection:
                first_day = declaration.read(project.sources_file).first_day
                due = replay_window.due(connection, prepare.models_fingerprint(project), first_day)
        except lock.WarehouseLocked as error:
            return dg.SkipReason(str(error))
        if due is None or not due.due_days:
            return dg.SkipReason("every event day was replayed after its last record landed")
        # No run key: a replay that failed is asked for again.
        return dg.SensorResult([dg.RunRequest(tags=range_tags(due.first_day, due.last_day))])

    return [late_records]
