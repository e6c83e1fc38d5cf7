"""`hindcast retention` and `hindcast compact`: removing what sources keep no longer, and giving its space back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from dagster_project.cli.opened import opened
from dagster_project.cli.options import MemoryLimitOption, ProjectOption
from dagster_project.cli.terminal import listing, stderr, stdout
from dagster_project.settings import find_project
from dagster_project.sources import declaration
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import compaction, landing, lock
from dagster_project.warehouse.retention import Expired, Kept, expire


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast retention --dry-run\n\n"
        "hindcast retention --as-of 2024-06-30 && hindcast compact"
    )(retention)
    app.command(epilog="[bold]Example:[/] hindcast compact --dry-run")(compact)


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Count back from this day; each source's newest event day when not given.",
            show_default=False,
        ),
    ] = None,
    project_dir: ProjectOption = None,
) -> None:
    """Remove the rows that lie further back than the `retention_days` of their source. Verdicts and marts stay."""
    project = find_project(project_dir)
    declared = declaration.read(project.sources_file).sources
    kept = [Kept(source.name, source.retention_days) for source in declared if source.retention_days]
    if not kept:
        stdout.print("every source keeps all: none declares retention_days in data/sources.yml")
        return
    with opened(project, "retention", landing.MEMORY_LIMIT) as connection:
        expired = expire(connection, kept, FORMATS, as_of=as_of.date() if as_of else None, dry_run=dry_run)
    _show(expired)
    if not expired:
        stdout.print("nothing is older than its source keeps it")
    elif dry_run:
        stdout.print("nothing was removed")
    else:
        stdout.print("their space is used again by later loads; `hindcast compact` gives it back to the disk")


def compact(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to gain; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write the file anew though there is little to gain.")] = False,
    memory_limit: MemoryLimitOption = landing.MEMORY_LIMIT,
    project_dir: ProjectOption = None,
) -> None:
    """Write the warehouse file anew, without the space of removed rows. Killed at any moment, the old one is whole."""
    file = find_project(project_dir).warehouse_file
    if not file.exists():
        stderr.print("nothing was loaded yet: there is no warehouse")
        raise typer.Exit(2)
    with lock.hold(find_project(project_dir).lock_file, "compact"):
        before = compaction.space(file)
        said = f"{before.file_bytes / 2**20:,.1f} MiB, of which {before.free_bytes / 2**20:,.1f} MiB are free"
        stdout.print(f"the warehouse has {said}", highlight=False)
        if not (before.is_worth_it or force):
            stdout.print("nothing to gain")
            return
        if dry_run:
            stdout.print("nothing was written")
            return
        with stderr.status("writing the warehouse anew"):
            after = compaction.compact(file, memory_limit)
    gained = before.file_bytes - after.file_bytes
    stdout.print(f"now {after.file_bytes / 2**20:,.1f} MiB: {gained / 2**20:,.1f} MiB less", highlight=False)


def _show(expired: list[Expired]) -> None:
    if not expired:
        return
    table = listing("source", "table", "before", "rows")
    for each in expired:
        table.add_row(each.source, each.target, str(each.before_day), f"{each.rows:,}")
    stdout.print(table, highlight=False)
