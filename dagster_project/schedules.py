"""When jobs run by themselves."""

from __future__ import annotations

import dagster as dg

# Two hours after midnight UTC: late exporters have flushed the day, and Europe is not at work yet.
EVERY_NIGHT = "0 2 * * *"


def build_schedules(
    nightly: dg.UnresolvedAssetJobDefinition, event_days: dg.TimeWindowPartitionsDefinition
) -> list[dg.ScheduleDefinition]:
    """The nightly schedule; it replays the day that has just ended."""

    @dg.schedule(
        job=nightly,
        cron_schedule=EVERY_NIGHT,
        execution_timezone="UTC",
        name="every_night",
        description="Lands what arrived, replays the day that has just ended, rebuilds the marts and the site.",
    )
    def every_night(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        ended = event_days.get_prev_partition_window(context.scheduled_execution_time)
        if ended is None:
            return dg.SkipReason("no event day has ended since the first one that the sources declare")
        day = ended.start.date().isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    return [every_night]
