"""The windows in which the telemetry of incidents is looked at, for a replay over one. No verdict is read here."""

from __future__ import annotations

import duckdb

from dagster_project.replay.tables import row, rows, tables_of
from dagster_project.replay.window import Window


def incident_window(connection: duckdb.DuckDBPyConnection, incident_id: str) -> Window | None:
    """The window in which an incident's telemetry is looked at; None when no incident of that id has one.

    With the policy's lead before it began; without it from the ticket alone, when it has an end.
    """
    tables = tables_of(connection)
    if tables.has("intermediate.int_incident_windows", "incident_id", "window_from", "window_until"):
        query = """
            select min(window_from) as "from", max(window_until) as until
            from intermediate.int_incident_windows where incident_id = $id
        """
        found = row(connection, query, {"id": incident_id})
        if found["from"] is not None:
            return Window(found["from"], found["until"])
    if tables.has("intermediate.int_incidents", "incident_id", "started_at", "resolved_at"):
        query = """
            select min(started_at) as "from", max(resolved_at) as until
            from intermediate.int_incidents where incident_id = $id
        """
        found = row(connection, query, {"id": incident_id})
        if found["from"] is not None and found["until"] is not None and found["from"] < found["until"]:
            return Window(found["from"], found["until"])
    return None


def incident_ids(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The ids of incidents that have a window."""
    if not tables_of(connection).has("intermediate.int_incident_windows", "incident_id"):
        return []
    query = "select distinct incident_id from intermediate.int_incident_windows order by 1"
    return [str(one["incident_id"]) for one in rows(connection, query)]
