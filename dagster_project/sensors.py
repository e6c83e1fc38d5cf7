"""Sensors: late records queue the event days that they touch."""

from __future__ import annotations

import dagster as dg

from dagster_project.partitions import range_tags
from dagster_project.resources import Warehouse
from dagster_project.transformation import prepare, replay_window


def build_sensors(replay: dg.UnresolvedAssetJobDefinition) -> list[dg.SensorDefinition]:
    """The sensor that asks for a replay of the days whose records landed after they were replayed."""

    @dg.sensor(
        name="late_records",
        job=replay,
        minimum_interval_seconds=600,
        description="Asks for a replay of event days whose records landed since they were last replayed.",
    )
    def late_records(warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
        project = warehouse.project
        if not project.warehouse_file.exists():
            return dg.SkipReason("nothing has been loaded yet")
        with warehouse.reader("look for late records") as connection:
            window = replay_window.due(connection, prepare.models_fingerprint(project))
        if window is None or not window.due_days:
            return dg.SkipReason("every event day was replayed after its last record landed")
        request = dg.RunRequest(
            run_key=f"{window.first_day}..{window.last_day}..{window.through_load_id}",
            tags=range_tags(window.first_day, window.last_day),
        )
        return dg.SensorResult([request], cursor=str(window.through_load_id))

    return [late_records]
