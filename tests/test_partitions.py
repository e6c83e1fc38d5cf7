"""A run says its days in tags; the days come back from them, however long the range is."""

from datetime import date, timedelta

import dagster as dg
import pytest

from dagster_project.partitions import DAYS_NOTED, days_of, range_tags

LAST = date(2024, 3, 1)


@pytest.mark.parametrize("days", [1, DAYS_NOTED, DAYS_NOTED + 1, 4000])
def test_the_days_of_a_run_are_those_that_were_asked_for(days):
    first = LAST - timedelta(days - 1)
    tags = range_tags(first, LAST)
    start, end = tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
    assert days_of(dg.PartitionKeyRange(start, end), tags) == (first, LAST)
    noted = (date.fromisoformat(end) - date.fromisoformat(start)).days + 1
    assert noted == (days if days <= DAYS_NOTED else 1)


def test_a_range_that_somebody_else_asked_for_is_its_own():
    assert days_of(dg.PartitionKeyRange("2024-02-01", "2024-03-01"), {}) == (date(2024, 2, 1), LAST)
