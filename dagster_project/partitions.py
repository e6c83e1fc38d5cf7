"""Event days as Dagster partitions, from the day that the project's sources declare."""

from __future__ import annotations

from datetime import date

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG


def event_days(first_day: date) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day on which something happened, from `first_day`."""
    return dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)


def range_tags(first_day: date, last_day: date) -> dict[str, str]:
    """The tags of a run that takes in all event days from `first_day` to `last_day`, both included."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: first_day.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: last_day.isoformat(),
    }
