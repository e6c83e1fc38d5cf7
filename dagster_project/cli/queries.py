"""`hindcast query`: one rule over what is published, now; a rule of the catalogue or one typed in line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dagster_project import rule_language
from dagster_project.cli.options import GenerationOption, ProjectOption
from dagster_project.cli.rules import rule_named
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.replay import formats
from dagster_project.replay.query import Replay, replay
from dagster_project.replay.window import parse_window
from dagster_project.rule_language import Rule
from dagster_project.settings import Project, find_project
from dagster_project.transformation import prepare
from dagster_project.warehouse import generations
from dagster_project.warehouse.generations import Generation


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog='[bold]Examples:[/] hindcast query --rule payment-idempotency --start "90 days ago"\n\n'
        "hindcast query -e 'when: any(span(status = error))  always: none(log(severity >= fatal))'\n\n"
        "hindcast query --rule no-unhandled-exception --format csv --export scope.csv"
    )(query)


def query(
    rule_id: Annotated[
        str | None, typer.Option("--rule", help="Id of a rule of the project.", show_default=False)
    ] = None,
    expression: Annotated[
        str | None, typer.Option("-e", "--expression", help="A rule typed in line, as YAML.", show_default=False)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Scopes that begin from here on: '90 days ago', a date, a time.", show_default=False),
    ] = None,
    end: Annotated[str | None, typer.Option(help="Scopes that begin before: 'now', …", show_default=False)] = None,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(formats.FORMATS)}.")] = "table",
    export: Annotated[Path | None, typer.Option(help="Write to this file.", show_default=False)] = None,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Replay one rule over the published telemetry. Exit code 1 when it is violated. Never waits for a writer."""
    project = find_project(project_dir)
    rule = _rule(project, rule_id, expression)
    window = parse_window(start, end, datetime.now(UTC))
    found = generations.find(project.generations_dir, generation)
    with generations.open_generation(found) as connection, stderr.status(f"replaying {rule.id}"):
        answer = replay(connection, rule, window)
    _write(answer, found, format_, export)
    raise typer.Exit(1 if answer.certificate.violated else 0)


def _rule(project: Project, rule_id: str | None, expression: str | None) -> Rule:
    if (rule_id is None) == (expression is None):
        raise typer.BadParameter("name a rule with --rule, or type one with -e; one of the two")
    if expression is not None:
        return rule_language.read_inline(expression)
    catalogue = rule_language.load_catalogue(prepare.rule_texts(project))
    return rule_named(catalogue, str(rule_id))


def _write(answer: Replay, generation: Generation, format_: str, export: Path | None) -> None:
    if export is not None:
        formats.export(answer, format_ if format_ != "table" else export.suffix.lstrip(".") or "csv", export)
        stderr.print(f"{answer.certificate.violated:,} violations in {export}", highlight=False, soft_wrap=True)
    elif format_ == "table":
        stdout.print(formats.as_table(answer, stdout.width))
    else:
        # Not through rich: a pipe gets the text as it is.
        typer.echo(formats.render(answer, format_), nl=False)
    stderr.print(
        f"generation {generation.id}, as of {generation.as_of:%Y-%m-%d %H:%M} UTC", style="dim", highlight=False
    )
