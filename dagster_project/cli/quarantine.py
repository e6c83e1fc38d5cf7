"""`hindcast quarantine list | show | retry`: what was refused, as it was sent, and reading it again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dagster_project.cli.loading import land_shown, show_summary
from dagster_project.cli.opened import opened
from dagster_project.cli.options import MemoryLimitOption, ProjectOption
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.replay import formats
from dagster_project.settings import Project, find_project
from dagster_project.sources.again import NotAgain, bytes_in_file, files_again
from dagster_project.sources.declaration import SourcesInvalid, declared_files
from dagster_project.sources.recognition import recorded_as
from dagster_project.warehouse import landing, refused
from dagster_project.warehouse.landing import InputFile
from dagster_project.warehouse.refused import Refused, RefusedFile, Which

quarantine = typer.Typer(help="See what was refused, and read it again.", no_args_is_help=True)
OUTPUTS = ("table", "csv", "json")
SHOWN_AT_ONCE = 100
_ONLY_EXPORTED = ("byte_offset", "raw_bytes", "raw_file")
_RAW_SHOWN = 120  # characters of the refused text in a table

LoadOption = Annotated[int | None, typer.Option("--load", help="Of this load alone.", show_default=False)]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Refused for this reason, such as not_json.", show_default=False)
]
PathOption = Annotated[Path | None, typer.Option("--path", help="Of this file.", show_default=False)]
SourceOption = Annotated[str | None, typer.Option("--source", help="Of this source.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    quarantine.command(
        "list",
        epilog="[bold]Examples:[/] hindcast quarantine list --since-load 120\n\n"
        "hindcast quarantine list --reason not_json --records --format csv > refused.csv",
    )(list_)
    quarantine.command(
        epilog="[bold]Examples:[/] hindcast quarantine show 12\n\n"
        "hindcast quarantine show 12:4031 --raw > line.json    the whole line, as it was sent"
    )(show)
    quarantine.command(
        epilog="[bold]Examples:[/] hindcast quarantine retry --all --dry-run\n\n"
        "hindcast quarantine retry --reason time_malformed    after time_zone was set in sources.yml"
    )(retry)
    app.add_typer(quarantine, name="quarantine")


def list_(
    source: SourceOption = None,
    file_format: Annotated[
        str | None, typer.Option("--file-format", help="Of files of this format.", show_default=False)
    ] = None,
    reason: ReasonOption = None,
    path: PathOption = None,
    load: LoadOption = None,
    since_load: Annotated[
        int | None, typer.Option("--since-load", help="Of loads after this one.", show_default=False)
    ] = None,
    records: Annotated[bool, typer.Option("--records", help="List single refusals instead of their counts.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = SHOWN_AT_ONCE,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(OUTPUTS)}.")] = "table",
    project_dir: ProjectOption = None,
) -> None:
    """Show what was refused, counted by load and reason. In CSV no cell can start a formula."""
    if format_ not in OUTPUTS:
        raise formats.FormatNotSupported(f"`{format_}` is no format; write one of: {', '.join(OUTPUTS)}")
    project = find_project(project_dir)
    which = Which(source, file_format, reason, _ledger_path(project, path), load, since_load)
    with opened(project, "list quarantine") as connection:
        # One more than is shown tells whether there are more.
        rows = (refused.singly if records else refused.counted)(connection, which, limit + 1)
    _write(rows[:limit], format_)
    if not rows:
        stderr.print("nothing of that is in quarantine")
    elif len(rows) > limit:
        stderr.print(f"only the first {limit:,} are shown; ask for more with --limit", style="yellow")


def show(
    which: Annotated[str, typer.Argument(metavar="LOAD[:LINE[:RECORD]]", help="As `list` names it.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes that were refused to stdout, whole, and nothing else.")
    ] = False,
    project_dir: ProjectOption = None,
) -> None:
    """Show refusals with all that is known of them: the text, where it stands, and where it is kept whole."""
    project = find_project(project_dir)
    load, line, record = _place(which)
    with opened(project, "show quarantine") as connection:
        found = refused.of_line(connection, load, line, record, SHOWN_AT_ONCE + 1)
    if not found:
        stderr.print(f"nothing of {which} is in quarantine; `hindcast quarantine list` shows what is", highlight=False)
        raise typer.Exit(2)
    if raw:
        _write_raw(project, found)
        return
    for each in found[:SHOWN_AT_ONCE]:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in asdict(each).items():
            table.add_row(name, Text("" if value is None else str(value)))
        stdout.print(table, "", highlight=False)
    if len(found) > SHOWN_AT_ONCE:
        stderr.print(f"only the first {SHOWN_AT_ONCE} are shown; name a line with {load}:LINE", style="yellow")


def retry(
    load: LoadOption = None,
    reason: ReasonOption = None,
    path: PathOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every file of which something was refused.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read again; read nothing.")] = False,
    memory_limit: MemoryLimitOption = landing.MEMORY_LIMIT,
    project_dir: ProjectOption = None,
) -> None:
    """Read files again of which something was refused, as their sources declare them now; their rows are replaced."""
    if not everything and load is None and reason is None and path is None:
        raise typer.BadParameter("say which: --load N, --reason R, --path P, or --all")
    project = find_project(project_dir)
    declared = _declared(project)
    which = Which(reason=reason, path=_ledger_path(project, path), load=load)
    with opened(project, "retry quarantine", memory_limit) as connection:
        chosen = list(files_again(project, refused.files(connection, which), declared))
        for _, skipped in chosen:
            if isinstance(skipped, NotAgain):
                stderr.print(
                    f"skipped: {skipped.path}: {skipped.reason}", markup=False, highlight=False, soft_wrap=True
                )
        again = [(before, file) for before, file in chosen if isinstance(file, InputFile)]
        if not again:
            stderr.print("nothing to read again")
            return
        if dry_run:
            for before, file in again:
                stdout.print(f"{_counts(before)}  {file.format.name}  {before.path}", highlight=False, soft_wrap=True)
            return
        summary = land_shown(connection, [file for _, file in again], project.quarantine_dir, again=True)
    for (before, _), after in zip(again, summary.files, strict=True):
        now = f"{after.records_landed:,} landed, {after.records_rejected:,} refused"
        stdout.print(f"{before.path}: {_counts(before)} -> {now}", markup=False, highlight=False, soft_wrap=True)
    show_summary(summary)
    if summary.has_failed:
        raise typer.Exit(2)


def _counts(file: RefusedFile) -> str:
    return f"{file.records_landed:,} landed, {file.records_rejected:,} refused"


def _declared(project: Project) -> dict[str, InputFile]:
    """The declared files by their ledger's path; none when the declaration is not to be used for want of a file."""
    try:
        return {file.ledger_path: file for file in declared_files(project)}
    except SourcesInvalid as error:
        stderr.print(f"{error}; files are read as they were", style="yellow", markup=False, soft_wrap=True)
        return {}


def _ledger_path(project: Project, path: Path | None) -> str | None:
    """A file as the ledger knows it, whether it was named from here or from the project's root."""
    if path is None:
        return None
    return recorded_as(path if path.exists() else project.root / path, project.root)


def _place(which: str) -> tuple[int, int | None, int | None]:
    try:
        load, *rest = [int(part) for part in which.split(":")]
        line, record = [*rest, None, None][:2]
    except ValueError:
        load, rest = -1, [0] * 3
    if len(rest) > 2 or load < 0:
        raise typer.BadParameter(f"`{which}` is not LOAD, LOAD:LINE or LOAD:LINE:RECORD, such as 12:4031")
    return load, line, record


def _write(rows: list[dict[str, Any]], format_: str) -> None:
    if format_ == "json":
        typer.echo(formats.rows_as_json(rows), nl=False)
    elif format_ == "csv":
        typer.echo(formats.rows_as_csv(rows), nl=False)
    elif rows:
        shown = [name for name in rows[0] if name not in _ONLY_EXPORTED]
        table = Table(*shown, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(Text("" if row[name] is None else str(row[name])[:_RAW_SHOWN]) for name in shown))
        stdout.print(table)


def _write_raw(project: Project, found: list[Refused]) -> None:
    """The bytes of the line that refusals are of: from table, folder, or the file itself."""
    if len({each.line for each in found}) > 1:
        raise typer.BadParameter("name one line: LOAD:LINE")
    first = found[0]
    content = refused.kept_bytes(first, project.quarantine_dir)
    if content is None:
        content = bytes_in_file(project, first)
    if content is None:
        stderr.print(
            f"{first.path}: not all of line {first.line} was kept, and the file is gone or has other bytes now; "
            "the beginning is what `show` shows",
            style="red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(2)
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
