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


LEDGERS = {
    "audit.loads": "The load ledger: each file with its SHA-256, bytes, records read, landed and refused.",
    "audit.quarantine": "What was refused: file, line, record, reason, and the first 4 KiB of it.",
}


class FileNotLanded(RuntimeError):
    """A file could not be read, or all of it was refused; the others of the run have landed."""


def build(project: Project) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """One asset a raw table that a format lands in, and the ledgers that all of them write."""
    landed = [_landing(project, table) for table in dict.fromkeys(decoder.table for decoder in FORMATS.values())]
    raw_tables = [asset.key for asset in landed]
    ledgers = [
        dg.AssetSpec(table.split("."), deps=raw_tables, group_name="landing", kinds={"duckdb"}, description=description)
        for table, description in LEDGERS.items()
    ]
    return [*landed, *ledgers]


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
