"""`hindcast load`: land files now, with a progress bar, without replaying anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from dagster_project.cli.opened import opened
from dagster_project.cli.options import MemoryLimitOption, ProjectOption
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.extraction.outcome import ExtractionFailed
from dagster_project.extraction.run import extract
from dagster_project.settings import Project, find_project
from dagster_project.sources import declaration
from dagster_project.sources.declaration import SourcesInvalid, declared_files
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.recognition import LeftOut, recognise_all, recorded_as
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import landing
from dagster_project.warehouse.landing import FileOutcome, InputFile, LandingSummary
from dagster_project.wording import did_you_mean


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast load            the declared sources\n\n"
        "hindcast load --source checkout-logs    one of them\n\n"
        "hindcast load /var/otel/2024-05-01 incidents.json    these files and folders\n\n"
        "hindcast load app.log --format syslog --time-zone Europe/Berlin --year 2024\n\n"
        "hindcast load --dry-run /var/otel    say what would be read"
    )(load)


def load(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders; what each file is, its content says. None: the declared sources."),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Load this declared source alone.", show_default=False)
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Read the paths as this format, whatever they look like.", show_default=False),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of times that name none, such as Europe/Berlin.", show_default=False)
    ] = None,
    year: Annotated[int | None, typer.Option(help="Year of times that name none.", show_default=False)] = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Service of records that name none.", show_default=False)
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="NAME=THEIRS: Hindcast's name of a field, and the file's.", show_default=False),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read files again though they are known; their rows are replaced.")
    ] = False,
    memory_limit: MemoryLimitOption = landing.MEMORY_LIMIT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be loaded; load nothing.")] = False,
    fetch: Annotated[
        bool, typer.Option("--extract/--no-extract", help="Ask declared systems for what is new first.")
    ] = True,
    project_dir: ProjectOption = None,
) -> None:
    """Load files into the warehouse. The same bytes twice change nothing; what is refused goes to quarantine."""
    project = find_project(project_dir)
    said = _said(format_, time_zone, year, service, field or [])
    if said.is_anything and not paths:
        raise typer.BadParameter("--format and how to read it are for PATHS; sources say theirs in data/sources.yml")
    if paths and source:
        raise typer.BadParameter("name PATHS or --source, not both")
    is_silent = False
    if paths:
        files = _of_paths(project, paths, said)
    else:
        is_silent = fetch and not dry_run and _extract(project, source)
        files = _of_sources(project, source)
    if dry_run:
        for file in files:
            stdout.print(f"{file.format.name:12} {file.path}", markup=False, highlight=False, soft_wrap=True)
        return
    with opened(project, "load", memory_limit) as connection:
        summary = land_shown(connection, files, project.quarantine_dir, again=again)
    show_summary(summary)
    if summary.has_failed or is_silent:
        raise typer.Exit(2)


@dataclass(frozen=True)
class _Said:
    """How paths are to be read, as far as the command line says it."""

    format: Format | None
    options: ReadOptions

    @property
    def is_anything(self) -> bool:
        return self.format is not None or self.options != ReadOptions()

    def applied(self, decoder: Format) -> Format:
        unheeded = [name for name in vars(self.options) if _is_said(self.options, name) and name not in decoder.uses]
        if unheeded:
            heeded = ", ".join(sorted(decoder.uses)) or "none"
            raise typer.BadParameter(f"{', '.join(unheeded)}: not heeded by {decoder.name}, which heeds {heeded}")
        return decoder.with_options(self.options)


def _is_said(options: ReadOptions, name: str) -> bool:
    return bool(getattr(options, name) != getattr(ReadOptions(), name))


def _said(
    format_: str | None, time_zone: str | None, year: int | None, service: str | None, fields: list[str]
) -> _Said:
    if format_ is not None and format_ not in FORMATS:
        hint = did_you_mean(format_, FORMATS) or f"known are {', '.join(FORMATS)}"
        raise typer.BadParameter(f"`{format_}` is no format; {hint}")
    if time_zone is not None:
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise typer.BadParameter(
                f"`{time_zone}` is no time zone of the IANA database; one is Europe/Berlin"
            ) from None
    pairs = [field.partition("=") for field in fields]
    if bad := [name + mark + theirs for name, mark, theirs in pairs if not (name and mark and theirs)]:
        raise typer.BadParameter(f"`{bad[0]}` is not NAME=THEIRS, such as body=message")
    options = ReadOptions(time_zone or "UTC", year, service, {name: theirs for name, _, theirs in pairs})
    return _Said(FORMATS[format_] if format_ else None, options)


def _of_paths(project: Project, paths: list[Path], said: _Said) -> tuple[InputFile, ...]:
    """The files at and below paths: read as said, else as the source that declares them says, else as they look."""
    found = recognise_all(paths, project_root=project.root)
    by_path: dict[Path, InputFile] = {file.path: file for file in found.files}
    left_out: list[LeftOut] = []
    declared = {} if said.is_anything else _declared(project)
    for each in found.left_out:
        recorded = recorded_as(each.path, project.root)
        if recorded in declared:
            by_path[each.path] = declared[recorded]
        elif said.format is not None:
            by_path[each.path] = InputFile(each.path, said.format, recorded_as=recorded)
        else:
            left_out.append(each)
    for each in left_out:
        stderr.print(f"left out: {each.path}: {each.reason}", style="dim", markup=False, soft_wrap=True)
    files = [declared.get(by_path[path].ledger_path, by_path[path]) for path in sorted(by_path)]
    if said.is_anything:
        files = [replace(file, format=said.applied(said.format or FORMATS[file.format.name])) for file in files]
    if not files:
        stderr.print("nothing to load: no file of a known format; --format NAME reads it as one", style="bold red")
        raise typer.Exit(2)
    return tuple(files)


def _declared(project: Project) -> dict[str, InputFile]:
    try:
        return {file.ledger_path: file for file in declared_files(project)}
    except SourcesInvalid:
        return {}  # paths can be loaded while the declaration is still being written


def _of_sources(project: Project, names: list[str] | None) -> tuple[InputFile, ...]:
    if not names:
        return tuple(declared_files(project))
    declared = declaration.read(project.sources_file)
    known = {source.name: source for source in declared.sources}
    if unknown := [name for name in names if name not in known]:
        hint = did_you_mean(unknown[0], known) or "`hindcast sources list` shows all"
        raise typer.BadParameter(f"there is no source `{unknown[0]}`; {hint}")
    return tuple(
        declaration.input_file(project, known[name], path)
        for name in names
        for path in declaration.source_paths(project, declared, known[name])
    )


def _extract(project: Project, names: list[str] | None) -> bool:
    """Ask the declared systems for what is new; whether one of them could not be asked."""
    with stderr.status("asking") as status:

        def progress(source: str, done: int, to_do: int | None) -> None:
            status.update(f"asking {source}: {done:,}" + (f" of {to_do:,}" if to_do is not None else ""))

        outcomes = extract(project, only=names, progress=progress)
    for outcome in outcomes:
        if isinstance(outcome, ExtractionFailed):
            stderr.print(f"not asked: {outcome}", style="red", markup=False, highlight=False, soft_wrap=True)
        elif outcome.written or outcome.message:
            said = f"{outcome.source}: {len(outcome.written):,} new files"
            stderr.print(f"{said}{f'; {outcome.message}' if outcome.message else ''}", markup=False, highlight=False)
    return any(isinstance(outcome, ExtractionFailed) for outcome in outcomes)


def land_shown(
    connection: duckdb.DuckDBPyConnection, files: Sequence[InputFile], quarantine_dir: Path, *, again: bool = False
) -> LandingSummary:
    """Land files and show how far it is: bytes, their speed, the time left, records."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[rows]:,} records"),
    )  # fmt: skip
    total = sum(landing.size_of(file.path) for file in files)
    done_before: dict[Path, int] = {}
    rows_of: dict[Path, int] = {}
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("loading", total=total, rows=0)

        def advance(file: InputFile, bytes_done: int, bytes_total: int, rows: int) -> None:  # noqa: ARG001
            done_before[file.path], rows_of[file.path] = bytes_done, rows
            progress.update(
                task, description=file.path.name, completed=sum(done_before.values()), rows=sum(rows_of.values())
            )

        return landing.land(connection, files, advance, quarantine_dir=quarantine_dir, again=again)


def show_summary(summary: LandingSummary) -> None:
    """What became of the files, by format, and what each of them has to say."""
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
    if outcome.replaces is not None:
        yield f"took the place of load {outcome.replaces}: it has grown, or is read in another way now"
    if outcome.changed_from is not None:
        yield f"holds other bytes than load {outcome.changed_from} read here; both are kept"
    if outcome.message:
        yield outcome.message
    if outcome.records_rejected:
        yield f"{outcome.records_rejected:,} records refused: hindcast quarantine list --load {outcome.load_id}"
    if outcome.unknown_fields:
        yield f"read over unknown fields {', '.join(outcome.unknown_fields)}"
