"""Which event days the next replay must judge again, and the ledger row that says they were.

A day is due when records of it landed since it was last replayed; every day is due, from scratch, when the dbt models
changed. Changed rules need no day here: the generated models judge a rule over all history when its meaning is new to
them. The ledger row is written last: a replay that was killed is due again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import duckdb

# Only telemetry is replayed by day; incidents, tickets and deploys are few and their marts are built whole.
TELEMETRY = ["raw.spans", "raw.logs", "raw.metric_points", "raw.metric_histograms"]


@dataclass(frozen=True)
class ReplayWindow:
    """Event days `first_day` to `last_day`, both included."""

    first_day: date
    last_day: date
    due_days: int  # how many days in it have records that were not replayed; 0 when nothing is due
    full_refresh: bool  # the models changed: build every table from scratch
    through_load_id: int  # the newest load that the window takes in
    built_from: str  # the models and the first day that tables are built from

    def is_within(self, first_day: date, last_day: date) -> bool:
        """Whether a replay of `first_day` to `last_day` leaves nothing of the window due."""
        return first_day <= self.first_day and self.last_day <= last_day


def dbt_vars(first_day: date, last_day: date, *, bound: date) -> dict[str, str]:
    """The variables of the dbt models for event days `first_day` to `last_day`, both included.

    `bound` is the first event day that the project's sources declare: nothing before it counts, whatever is asked.
    """
    return {
        "replay_from": str(first_day),
        "replay_until": str(last_day + timedelta(days=1)),
        "first_day": str(bound),
    }


# A day that lies over a day after its load is a wrong clock; a day before the first one belongs to no partition. Their
# records have landed and are counted, and are replayed neither now nor by a full refresh. The days of a load that was
# replayed and has given way since are due without its rows, whatever its successor brought: other days, no telemetry.
# So are the days of which retention took the records that staging kept, when other loads have them, too.
_DUE = """
    with days as (
        select unnest(event_days) as day, coalesce(superseded_by, load_id) as load_id, finished_at,
            superseded_by is not null as is_gone
        from audit.loads
        where list_contains($telemetry, target)
            and (superseded_by is null or load_id <= $through and superseded_by > $through)
        union all
        select unnest(days_to_replay), null, finished_at, true
        from audit.expirations
        where finished_at > coalesce((select max(finished_at) from audit.replays), '-infinity')
    ),
    replayed as (select * from days where day >= $first_day and day <= finished_at::date + 1)
    select
        (select coalesce(max(day) filter (where not is_gone), max(day)) from replayed),
        coalesce((select max(load_id) from days), $through), min(day), max(day), count(distinct day)
    from replayed
    where load_id is null or load_id > $through
"""


def due(connection: duckdb.DuckDBPyConnection, models_fingerprint: str, first_day: date) -> ReplayWindow | None:
    """The smallest window that holds all days which are due.

    When none is, the window is the newest day alone, so that a night always replays something and shows that nothing
    changes. None when no telemetry has landed at all.

    Parameters
    ----------
    connection
        On the warehouse; reading is enough.
    models_fingerprint
        Of the dbt project as it is now (`prepare.models_fingerprint`).
    first_day
        The first event day that the project's sources declare.
    """
    through, seen = _last_replay(connection)
    built_from = f"{models_fingerprint} from {first_day}"
    full_refresh = seen != built_from
    rows = connection.execute(
        _DUE, {"telemetry": TELEMETRY, "through": 0 if full_refresh else through, "first_day": first_day}
    ).fetchall()
    ((newest, load_id, first, last, days),) = rows
    if newest is None:
        return None
    return ReplayWindow(first or newest, last or newest, days, full_refresh, load_id, built_from)


def days_left(connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date) -> set[date]:
    """The event days in a range that loads had which were replayed and have given way since."""
    through, _ = _last_replay(connection)
    rows = connection.execute(
        "select distinct day from (select unnest(event_days) as day from audit.loads"
        " where list_contains($telemetry, target) and load_id <= $through and superseded_by > $through)"
        " where day between $first_day and $last_day",
        {"telemetry": TELEMETRY, "through": through, "first_day": first_day, "last_day": last_day},
    ).fetchall()
    return {day for (day,) in rows}


def days_outside(connection: duckdb.DuckDBPyConnection, first_day: date) -> tuple[int, int, int]:
    """How many event days no replay takes in: those before `first_day`, those to come, and of how many files."""
    ((before, to_come, files),) = connection.execute(
        "select count(distinct day) filter (where day < $first_day),"
        " count(distinct day) filter (where day > finished_at::date + 1),"
        " count(distinct load_id) filter (where day < $first_day or day > finished_at::date + 1)"
        " from (select unnest(event_days) as day, load_id, finished_at from audit.loads"
        " where list_contains($telemetry, target) and superseded_by is null)",
        {"first_day": first_day, "telemetry": TELEMETRY},
    ).fetchall()
    return int(before), int(to_come), int(files)


def begin(connection: duckdb.DuckDBPyConnection) -> None:
    """Note that the marts are being rebuilt: until `record`, they are not whole."""
    connection.execute("delete from audit.replay_in_progress")
    connection.execute("insert into audit.replay_in_progress values (now()::timestamp)")


def finish(connection: duckdb.DuckDBPyConnection) -> None:
    """Note that the marts are whole, and that all which hung on records that are gone was judged without them."""
    connection.execute("delete from audit.replay_in_progress")
    connection.execute("delete from audit.vanished_traces")


def record(connection: duckdb.DuckDBPyConnection, window: ReplayWindow, code_version: str) -> None:
    """Note that the window was replayed with every load up to its `through_load_id`."""
    connection.execute(
        "insert into audit.replays"
        " select (select coalesce(max(replay_id), 0) + 1 from audit.replays), ?, ?, ?, ?, ?, now()::timestamp",
        [window.first_day, window.last_day, window.through_load_id, window.built_from, code_version],
    )


def _last_replay(connection: duckdb.DuckDBPyConnection) -> tuple[int, str | None]:
    rows = connection.execute(
        "select through_load_id, built_from from audit.replays order by replay_id desc limit 1"
    ).fetchall()
    return rows[0] if rows else (0, None)
