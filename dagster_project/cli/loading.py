"""`hindcast load`: land files now, with a progress bar, without replaying anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from dagster_project.cli.options import ProjectOption
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.settings import find_project
from dagster_project.sources.declaration import declared_files
from dagster_project.sources.recognition import LeftOut, recognise_all
from dagster_project.warehouse import landing, lock
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import FileOutcome, InputFile, LandingSummary


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast load            the declared sources\n\n"
        "hindcast load /var/otel/2024-05-01 incidents.json    these files and folders\n\n"
        "hindcast load --dry-run /var/otel    say what would be read"
    )(load)


def load(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders; what each file is, its content says. None: the declared sources."),
    ] = None,
    project_dir: ProjectOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be loaded; load nothing.")] = False,
) -> None:
    """Load files into the warehouse. The same bytes twice change nothing; what is refused goes to quarantine."""
    project = find_project(project_dir)
    left_out: tuple[LeftOut, ...] = ()
    if paths:
        found = recognise_all(paths, project_root=project.root)
        files, left_out = found.files, found.left_out
    else:
        files = tuple(declared_files(project))
    for each in left_out:
        stderr.print(f"left out: {each.path}: {each.reason}", style="dim", markup=False, soft_wrap=True)
    if paths and not files:
        stderr.print("nothing to load: no file of a known format", style="bold red")
        raise typer.Exit(2)
    if dry_run:
        for file in files:
            stdout.print(f"{file.format.name:12} {file.path}", markup=False, highlight=False, soft_wrap=True)
        return
    with (
        lock.hold(project.lock_file, "load"),
        connect(project.warehouse_file, memory_limit=landing.MEMORY_LIMIT) as connection,
    ):
        migrate(connection)
        summary = _land(connection, files)
    _show(summary)
    if summary.has_failed:
        raise typer.Exit(2)


def _land(connection: duckdb.DuckDBPyConnection, files: tuple[InputFile, ...]) -> LandingSummary:
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[rows]:,} records"),
    )  # fmt: skip
    total = sum(file.path.stat().st_size for file in files)
    done_before: dict[Path, int] = {}
    rows_of: dict[Path, int] = {}
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("loading", total=total, rows=0)

        def advance(file: InputFile, bytes_done: int, bytes_total: int, rows: int) -> None:  # noqa: ARG001
            done_before[file.path], rows_of[file.path] = bytes_done, rows
            progress.update(
                task, description=file.path.name, completed=sum(done_before.values()), rows=sum(rows_of.values())
            )

        return landing.land(connection, files, advance)


def _show(summary: LandingSummary) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("format")
    for heading in ("files", "of them new", "records read", "landed", "refused", "records/s"):
        table.add_column(heading, justify="right")
    for name in sorted({outcome.format for outcome in summary.files}):
        of_format = [outcome for outcome in summary.files if outcome.format == name]
        seconds, read = (
            sum(outcome.seconds for outcome in of_format),
            sum(outcome.records_read for outcome in of_format),
        )
        table.add_row(
            name,
            f"{len(of_format):,}",
            f"{sum(outcome.status == 'loaded' for outcome in of_format):,}",
            f"{read:,}",
            f"{sum(outcome.records_landed for outcome in of_format):,}",
            f"{sum(outcome.records_rejected for outcome in of_format):,}",
            f"{read / seconds:,.0f}" if seconds > 0.2 else "",  # shorter, it is start-up that is measured
        )
    stdout.print(table)
    for outcome in summary.files:
        for line in _remarks(outcome):
            stderr.print(f"{outcome.path}: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _remarks(outcome: FileOutcome) -> Iterator[str]:
    if outcome.status in ("duplicate", "empty"):
        yield outcome.status
    if outcome.message:
        yield outcome.message
    elif outcome.records_rejected:
        yield f"{outcome.records_rejected:,} records refused; `hindcast doctor` has the reasons"
    if outcome.unknown_fields:
        yield f"read over unknown fields {', '.join(outcome.unknown_fields)}"
