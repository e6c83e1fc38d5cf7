"""Incidents as they stood at an earlier time: what had not begun is not there, what had not ended is open."""

from __future__ import annotations

from datetime import datetime

import duckdb

from dagster_project.policy.policy import ClockName
from dagster_project.statistics.arms import CLOCK_ENDS


def stand_at(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> None:
    """Replace `marts.fct_incidents` of an in-memory connection by what was known at `as_of`.

    The warehouse keeps the last state of an incident, so a value that changed since, such as its severity, is today's.

    Parameters
    ----------
    connection
        Of a published generation, where the mart is a view that nobody else sees.
    as_of
        UTC without a zone, inclusive.
    """
    columns = [f"case when {name} <= $as_of then {name} end as {name}" for name in CLOCK_ENDS.values()]
    columns += [
        f"case when {end} <= $as_of then time_to_{clock.value}_seconds end as time_to_{clock.value}_seconds"
        for clock, end in CLOCK_ENDS.items()
        if clock is not ClockName.CLOSE
    ]
    # Resolved later is open now; closed later without ever being resolved, too.
    columns.append("is_open or coalesce(resolved_at, closed_at) > $as_of as is_open")
    connection.execute(
        f"create table marts.incidents_as_of as select * replace ({', '.join(columns)})"  # noqa: S608
        " from marts.fct_incidents where started_at <= $as_of",
        {"as_of": as_of},
    )
    connection.execute("drop view marts.fct_incidents")
    connection.execute("create view marts.fct_incidents as select * from marts.incidents_as_of")
