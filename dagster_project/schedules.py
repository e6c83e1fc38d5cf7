"""When jobs run by themselves."""

from __future__ import annotations

from typing import TypeAlias

import dagster as dg

Schedule: TypeAlias = dg.ScheduleDefinition | dg.UnresolvedPartitionedAssetScheduleDefinition

# Two hours after midnight UTC: late exporters have flushed the day, and Europe is not at work yet.
HOUR_OF_NIGHT = 2


def build_schedules(nightly: dg.UnresolvedAssetJobDefinition) -> list[Schedule]:
    """The nightly schedule; it replays the day that has just ended."""
    schedule = dg.build_schedule_from_partitioned_job(
        nightly,
        hour_of_day=HOUR_OF_NIGHT,
        minute_of_hour=0,
        name="every_night",
        description="Lands what arrived, replays the day that has just ended, rebuilds the marts and the site.",
    )
    return [schedule]
