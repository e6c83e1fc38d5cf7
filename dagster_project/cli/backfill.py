"""`hindcast backfill`: loading and replaying a range of past event days, step by step."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from dagster_project.cli.loading import land_shown, show_summary
from dagster_project.cli.opened import opened
from dagster_project.cli.options import MemoryLimitOption, ProjectOption
from dagster_project.cli.terminal import night_progress, stderr, stdout
from dagster_project.settings import Project, find_project
from dagster_project.sources import declaration
from dagster_project.warehouse import landing
from dagster_project.wording import did_you_mean

_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast backfill --start 2024-01-01 --end 2024-03-31 --dry-run\n\n"
        "hindcast backfill --start 2024-01-01 --end 2024-03-31 --step-days 14"
    )(backfill)


def backfill(
    start: Annotated[datetime, typer.Option(formats=_DAY, help="The first event day.", show_default=False)],
    end: Annotated[datetime, typer.Option(formats=_DAY, help="The last event day.", show_default=False)],
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Load files of this source alone.", show_default=False)
    ] = None,
    step_days: Annotated[int, typer.Option(min=1, help="How many days a step replays.")] = 7,
    memory_limit: MemoryLimitOption = landing.MEMORY_LIMIT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it takes; load and replay nothing.")] = False,
    project_dir: ProjectOption = None,
) -> None:
    """Load the declared files and replay past event days. Killed at any moment, run again it goes on where it was."""
    from dagster_project.nightly import backfill as backfilling  # noqa: PLC0415 -- Dagster takes seconds to import

    project = find_project(project_dir)
    _check_sources(project, source or [])
    with opened(project, "backfill", memory_limit) as connection:
        try:
            plan = backfilling.plan_backfill(project, connection, start.date(), end.date(), source or ())
        except backfilling.RangeInvalid as error:
            raise typer.BadParameter(str(error)) from None
        for line in plan.lines():
            stdout.print(line, highlight=False, soft_wrap=True)
        if dry_run:
            stdout.print("nothing was changed")
            return
        summary = land_shown(connection, plan.new_files, project.quarantine_dir)
    if plan.new_files:
        show_summary(summary)
    with night_progress("backfill") as listener:
        failed = backfilling.replay_in_steps(
            project, plan, listener, lambda said: stdout.print(said, highlight=False), step_days
        )
    for step in failed:
        stderr.print(f"failed: {step.step}: {step.message}", style="red", markup=False, highlight=False)
    if failed or summary.has_failed:
        stderr.print("run it again: what was finished is not done again")
        raise typer.Exit(2)
    stdout.print("backfilled", style="green")


def _check_sources(project: Project, names: list[str]) -> None:
    known = [source.name for source in declaration.read(project.sources_file).sources]
    if unknown := [name for name in names if name not in known]:
        hint = did_you_mean(unknown[0], known) or "`hindcast sources list` shows all"
        raise typer.BadParameter(f"there is no source `{unknown[0]}`; {hint}")
