"""Landing as assets: one a raw table. The formats say which files are for which table."""

from __future__ import annotations

import dagster as dg

from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.sources.declaration import declared_files
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import landing

DESCRIPTIONS = {
    "raw.spans": "Spans of traces as they were sent, typed, with file, line and record of origin.",
    "raw.logs": "Log records as they were sent, with file, line and record of origin.",
    "raw.metric_points": "Points of metric series as they were sent.",
    "raw.incidents": "Incidents of the incident system, as the JSON objects that were sent.",
    "raw.tickets": "Updates of tickets (PagerDuty, ServiceNow), as the objects that were sent.",
    "raw.deploys": "Deployments, as the objects that were sent.",
}


class FileNotLanded(RuntimeError):
    """A file could not be read, or all of it was refused; the others of the run have landed."""


def build(project: Project) -> list[dg.AssetsDefinition]:
    """One asset a raw table that a format lands in."""
    tables = dict.fromkeys(decoder.table for decoder in FORMATS.values())
    return [_landing(project, table) for table in tables]


def _landing(project: Project, table: str) -> dg.AssetsDefinition:
    @dg.asset(key=table.split("."), group_name="landing", kinds={"duckdb"}, description=DESCRIPTIONS[table])
    def landed(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        files = [file for file in declared_files(project) if file.format.table == table]
        with warehouse.writer(f"load {table}", landing.MEMORY_LIMIT) as connection:
            summary = landing.land(connection, files)
            ((rows,),) = connection.table(table).aggregate("count(*)").fetchall()
            columns = zip(connection.table(table).columns, connection.table(table).types, strict=True)
        if failed := summary.with_status("failed"):
            raise FileNotLanded("; ".join(f"{outcome.path}: {outcome.message}" for outcome in failed))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows,
                "dagster/column_schema": dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in columns]),
                "files": len(files),
                "files unchanged": len(summary.with_status("unchanged", "duplicate")),
                "records landed": summary.records_landed,
                "records refused": summary.records_rejected,
            }
        )

    return landed
