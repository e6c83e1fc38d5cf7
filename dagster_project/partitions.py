"""Event days as Dagster partitions, from the day that the project's sources declare."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG


def event_days(first_day: date) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day on which something happened, from `first_day`."""
    return dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)


# Of a longer range Dagster notes only the last day: it plans an event for each asset and each day, data or none, which
# over years takes longer than the replay itself.
DAYS_NOTED = 7
FIRST_DAY_TAG = "hindcast/first_day"


def range_tags(first_day: date, last_day: date) -> dict[str, str]:
    """The tags of a run that takes in all event days from `first_day` to `last_day`, both included."""
    noted_from = first_day if (last_day - first_day).days < DAYS_NOTED else last_day
    return {
        ASSET_PARTITION_RANGE_START_TAG: noted_from.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: last_day.isoformat(),
        FIRST_DAY_TAG: first_day.isoformat(),
    }


def days_of(keys: dg.PartitionKeyRange, tags: Mapping[str, str]) -> tuple[date, date]:
    """The first and the last event day of a run with `range_tags`, or of one that somebody asked Dagster for."""
    return date.fromisoformat(tags.get(FIRST_DAY_TAG, keys.start)), date.fromisoformat(keys.end)
