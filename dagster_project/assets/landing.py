"""Landing as assets: what other systems were asked for, then one a raw table. The formats know their tables."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from dagster_project.extraction.outcome import ExtractionFailed
from dagster_project.extraction.run import extract
from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.sources.declaration import declared_files
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import landing
from dagster_project.warehouse.landing import FileOutcome, LandingSummary
from dagster_project.warehouse.retention import Kept, expire

DESCRIPTIONS = {
    "raw.spans": "Spans of traces as they were sent, typed, with file, line and record of origin.",
    "raw.logs": "Log records as they were sent, with file, line and record of origin.",
    "raw.metric_points": "Points of metric series as they were sent.",
    "raw.incidents": "Incidents of the incident system, as the JSON objects that were sent.",
    "raw.metric_histograms": "Histogram points of OpenTelemetry metrics, with their buckets.",
    "raw.tickets": "Updates of tickets and alerts (PagerDuty, Jira, ServiceNow, ...), as the objects that were sent.",
    "raw.deploys": "Deployments, as the objects that were sent.",
    "raw.changes": "Commits, tags, feature flags and configuration changes, as the objects that were sent.",
}


WRITTEN_BESIDE = {
    "audit.loads": "The load ledger: each file with its SHA-256, bytes, records read, landed and refused.",
    "audit.quarantine": "What was refused: file, line, record, reason, and the first 4 KiB of it.",
    "audit.suppressions": "What people said of violations, as it holds on the day of the replay.",
    "audit.verdict_history": "Verdicts that appeared, and what verdicts were before they changed; it only grows.",
    "audit.rules_taken_out": "Rules that hit a limit of the engine and are left out of their plan group.",
}


class FileNotLanded(RuntimeError):
    """A file could not be read, or all of it was refused; the others of the run have landed."""


EXTRACTED = dg.AssetKey(["landing", "extracted"])
ANSWERED = dg.AssetCheckSpec(
    "every_system_answered", asset=EXTRACTED, description="Every declared system could be asked for what is new."
)


def build(project: Project) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """What other systems were asked for, one asset a raw table that a format lands in, and what is written beside."""
    landed = [_landing(project, table) for table in dict.fromkeys(decoder.table for decoder in FORMATS.values())]
    raw_tables = [asset.key for asset in landed]
    also = {target.table: DESCRIPTIONS[target.table] for decoder in FORMATS.values() for target in decoder.also}
    beside = [
        dg.AssetSpec(table.split("."), deps=raw_tables, group_name="landing", kinds={"duckdb"}, description=description)
        for table, description in (also | WRITTEN_BESIDE).items()
        if dg.AssetKey(table.split(".")) not in raw_tables
    ]
    return [_extracted(project), *landed, *beside, _expirations(project, after=raw_tables)]


def _expirations(project: Project, *, after: list[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["audit", "expirations"],
        deps=after,
        group_name="landing",
        kinds={"duckdb"},
        description="What sources keep no longer: removed from raw tables and staging, and how much of it when.",
    )
    def expirations(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        sources = declaration.read(project.sources_file).sources
        kept = [Kept(source.name, source.retention_days) for source in sources if source.retention_days]
        if not kept:
            return dg.MaterializeResult(metadata={"rows removed": 0})
        with warehouse.writer("retention", landing.MEMORY_LIMIT) as connection:
            expired = expire(connection, kept, FORMATS)
        return dg.MaterializeResult(metadata={"rows removed": sum(each.rows for each in expired)})

    return expirations


def _extracted(project: Project) -> dg.AssetsDefinition:
    @dg.asset(
        key=EXTRACTED,
        group_name="landing",
        kinds={"file"},
        check_specs=[ANSWERED],
        description="Files with what other systems (Prometheus servers, git repositories) were asked for.",
    )
    # Dagster knows no parameter of the result of an asset that has checks.
    def extracted() -> dg.MaterializeResult:  # type: ignore[type-arg]
        outcomes = extract(project)
        failed = [str(outcome) for outcome in outcomes if isinstance(outcome, ExtractionFailed)]
        answered = [outcome for outcome in outcomes if not isinstance(outcome, ExtractionFailed)]
        # A system that is silent tonight must not keep from landing what is there.
        check = _warning(ANSWERED, failed)
        return dg.MaterializeResult(
            check_results=[check], metadata={"new files": sum(len(outcome.written) for outcome in answered)}
        )

    return extracted


def _warning(spec: dg.AssetCheckSpec, broken: list[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not broken,
        check_name=spec.name,
        asset_key=spec.asset_key,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"broken": "; ".join(broken) or "none"},
    )


def _landing(project: Project, table: str) -> dg.AssetsDefinition:
    key = dg.AssetKey(table.split("."))
    as_before = dg.AssetCheckSpec(
        "no_file_was_rewritten", asset=key, description="No file has other content than when it was loaded."
    )

    # One that failed tonight fails the step; the next nights only warn of it.
    as_whole = dg.AssetCheckSpec(
        "no_file_failed_before", asset=key, description="No file is left that failed when it was read before."
    )

    @dg.asset(
        key=key,
        deps=[EXTRACTED],
        group_name="landing",
        kinds={"duckdb"},
        check_specs=[as_before, as_whole],
        description=DESCRIPTIONS[table],
    )
    def landed(warehouse: Warehouse) -> dg.MaterializeResult:  # type: ignore[type-arg]  # as above
        files = [file for file in declared_files(project) if file.format.table == table]
        with warehouse.writer(f"load {table}", landing.MEMORY_LIMIT) as connection:
            summary = landing.land(connection, files, quarantine_dir=project.quarantine_dir)
            ((rows,),) = connection.table(table).aggregate("count(*)").fetchall()
            columns = zip(connection.table(table).columns, connection.table(table).types, strict=True)
        failed = summary.with_status("failed")
        if new := [outcome for outcome in failed if outcome.failed_before is None]:
            raise FileNotLanded(_told(new))
        return dg.MaterializeResult(
            check_results=[
                _warning(as_before, _rewritten(summary)),
                _warning(as_whole, [_told([one]) for one in failed]),
            ],
            metadata={
                "dagster/row_count": rows,
                "dagster/column_schema": dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in columns]),
                "files": len(files),
                "files unchanged": len(summary.with_status("unchanged", "duplicate")),
                "records landed": summary.records_landed,
                "records refused": summary.records_rejected,
            },
        )

    return landed


def _told(outcomes: Iterable[FileOutcome]) -> str:
    return "; ".join(f"{outcome.path}: {outcome.message}" for outcome in outcomes)


def _rewritten(summary: LandingSummary) -> list[str]:
    return [
        f"{outcome.path} had other content when load {outcome.changed_from} read it; both are kept"
        for outcome in summary.files
        if outcome.changed_from is not None
    ]
