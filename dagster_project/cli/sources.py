"""`hindcast sources list | check`: what is declared, and what a load would read of it. Loads nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import duckdb
import typer
from rich.table import Table
from rich.text import Text

from dagster_project.cli.opened import opened
from dagster_project.cli.options import ProjectOption
from dagster_project.cli.terminal import listing, stderr, stdout
from dagster_project.extraction.outcome import ExtractionFailed
from dagster_project.extraction.prometheus_requests import Connection, Limits
from dagster_project.settings import Project, find_project
from dagster_project.sources import declaration
from dagster_project.sources.declaration import Declaration, Source
from dagster_project.sources.inspection import Inspection, asked, inspect, repository_problem
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.wording import did_you_mean

sources = typer.Typer(help="See what is declared, and what would be read.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    sources.command("list", epilog="[bold]Example:[/] hindcast sources list")(list_)
    sources.command(
        epilog="[bold]Examples:[/] hindcast sources check\n\n"
        "hindcast sources check payments-metrics --connect    asks the server, too"
    )(check)
    app.add_typer(sources, name="sources")


def list_(project_dir: ProjectOption = None) -> None:
    """Show the declared sources."""
    table = listing("source", "format", "from", "kept", "description")
    for source in declaration.read(find_project(project_dir).sources_file).sources:
        kept = f"{source.retention_days} days" if source.retention_days else "all"
        cells = (source.name, source.decoder.name, _origin(source), kept, source.description)
        table.add_row(*map(Text, cells))
    stdout.print(table)


def check(
    name: Annotated[str | None, typer.Argument(help="Of this source alone.", show_default=False)] = None,
    connect_: Annotated[bool, typer.Option("--connect", help="Ask other systems whether they answer.")] = False,
    project_dir: ProjectOption = None,
) -> None:
    """Look at the files of each source as a load would, and load nothing. Exit code 2 when a source is wrong."""
    project = find_project(project_dir)
    declared = declaration.read(project.sources_file)
    problems = 0
    with _ledger(project) as connection:
        for source in _chosen(declared, name):
            found = inspect(project, declared, source, connection)
            found.problems += _problems_of_origin(project, source, is_asked=connect_)
            _show(project, found)
            problems += len(found.problems)
    if problems:
        stderr.print(f"{problems} problems", style="bold red")
        raise typer.Exit(2)
    declaration.declared_files(project)  # what only all sources together can get wrong: a file that two claim
    stdout.print("the sources are well", style="green")


@contextmanager
def _ledger(project: Project) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, or an empty one while there is none: looking must not make it."""
    if project.warehouse_file.exists():
        with opened(project, "check sources") as connection:
            yield connection
        return
    with connect(":memory:") as connection:
        migrate(connection)
        yield connection


def _chosen(declared: Declaration, name: str | None) -> list[Source]:
    chosen = [source for source in declared.sources if name in (None, source.name)]
    if not chosen:
        hint = did_you_mean(str(name), (source.name for source in declared.sources))
        raise typer.BadParameter(f"there is no source `{name}`; {hint or '`hindcast sources list` shows all'}")
    return chosen


def _origin(source: Source) -> str:
    if source.prometheus is not None:
        return str(source.prometheus.url)
    return source.git.repository if source.git is not None else str(source.path)


def _problems_of_origin(project: Project, source: Source, *, is_asked: bool) -> Iterator[str]:
    if problem := repository_problem(source, project):
        yield problem
    if source.prometheus is None:
        return
    if (token := source.prometheus.token_env) and not os.environ.get(token):
        yield f"the environment variable {token} is not set; it holds the server's token"
    elif is_asked:
        try:
            with Connection(source.name, source.prometheus, Limits()) as server, stderr.status(f"asking {source.name}"):
                server.now()
        except ExtractionFailed as error:
            yield str(error)


def _show(project: Project, found: Inspection) -> None:
    source = found.source
    stdout.print(Text(source.name, style="bold"), Text(f"{source.decoder.name} from {_origin(source)}"))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(found):
        table.add_row(f"  {name}", Text(value))
    for sentence in asked(source, project):
        table.add_row("  asks", Text(sentence))
    stdout.print(table, highlight=False)
    for remark in found.remarks:
        stderr.print(f"  remark: {remark}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    for problem in found.problems:
        stderr.print(f"  problem: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    packed = f", packed: {_counted(found.packed)}" if found.packed else ""
    yield "files", f"{found.files:,}, {found.bytes / 2**20:,.1f} MiB{packed}"
    if found.newest_at:
        yield "newest", f"{found.newest_at:%Y-%m-%d %H:%M}"
    if found.states:
        yield "of them", _counted(found.states)
    if found.recognised:
        yield "looks like", found.recognised
    if found.options:
        yield "read with", found.options
    if found.first_at and found.first_at_there:
        there = f" ({found.first_at_there:%Y-%m-%d %H:%M:%S} {found.source.time_zone})"
        shown = there if found.source.time_zone != "UTC" else ""
        yield "first record", f"{found.first_at:%Y-%m-%d %H:%M:%S} UTC{shown}"
    if found.days:
        first, last, count = found.days
        yield "loaded days", f"{count:,}, from {first} to {last}"
    for name in ("retention_days", "sampling_ratio", "tenant"):
        if (value := getattr(found.source, name)) is not None:
            yield name, str(value)
    if found.source.personal_data:
        yield "personal data", ", ".join(found.source.personal_data)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counter.items()))
