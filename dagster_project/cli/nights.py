"""`hindcast demo`, `nightly`, `prepare`, `report`, `ui`: a whole night, or a part of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from dagster_project.cli.options import GenerationOption, ProjectOption
from dagster_project.cli.terminal import night_progress, stderr, stdout
from dagster_project.facts import NightSummary
from dagster_project.settings import Project, find_project, shipped
from dagster_project.transformation import prepare as preparing

SAMPLES = Path("data/samples")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="[bold]Example:[/] hindcast demo")(demo)
    app.command(epilog="[bold]Example for cron:[/] 0 2 * * *  hindcast nightly --project /srv/hindcast")(nightly)
    app.command(epilog="[bold]Example:[/] hindcast prepare")(prepare)
    app.command(epilog="[bold]Example:[/] hindcast report --generation 3f2a")(report)
    app.command(epilog="[bold]Example:[/] hindcast ui --port 3000")(ui)


def demo() -> None:
    """Load the sample recording, replay the rules, build the site, and say where it is."""
    project = Project(shipped("data").parent)
    if not (project.root / SAMPLES).is_dir():
        stderr.print("The samples are in the checkout, not in the wheel: clone the repository and run `make demo`.")
        raise typer.Exit(2)
    summary = _run_night(project, "demo", land=True)
    _show(summary)
    if summary.failed_steps:
        raise typer.Exit(2)
    stdout.print(f"\nThe site: [bold]{project.site_dir / 'index.html'}[/]", soft_wrap=True, highlight=False)


def nightly(
    project_dir: ProjectOption = None,
    land: Annotated[bool, typer.Option(help="Look for new files in the declared sources first.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be loaded and replayed; do nothing.")
    ] = False,
) -> None:
    """Land what arrived, replay what is due, rebuild marts, papers and site, publish. No daemon needed."""
    project = find_project(project_dir)
    if dry_run:
        _dry_run(project)
        return
    summary = _run_night(project, "night", land=land)
    _show(summary)
    stdout.print(f"The morning page: {project.site_dir / 'morning.html'}", soft_wrap=True, highlight=False)
    raise typer.Exit(summary.exit_code)


def prepare(
    project_dir: ProjectOption = None,
    force: Annotated[bool, typer.Option("--force", help="Compile and parse again though nothing changed.")] = False,
) -> None:
    """Compile the rules into dbt models and parse the dbt project. Opens no warehouse."""
    done = preparing.prepare(find_project(project_dir), force=force)
    stdout.print(f"{done.rules} rules {'compiled' if done.changed else 'unchanged'}, fingerprint {done.fingerprint}")


def report(project_dir: ProjectOption = None, generation: GenerationOption = None) -> None:
    """Build the site again from a published generation."""
    from dagster_project.site.published import build_published  # noqa: PLC0415 -- plotly takes a second to import

    stdout.print(str(build_published(find_project(project_dir), generation)), soft_wrap=True, highlight=False)


def ui(
    project_dir: ProjectOption = None, port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000
) -> None:
    """Serve Dagster's pages of this project: the asset graph, runs, checks, schedules."""
    from dagster_project.nightly import run  # noqa: PLC0415 -- Dagster takes seconds to import

    project = find_project(project_dir)
    preparing.prepare(project)
    with run.instance(project):
        pass
    os.environ["HINDCAST_PROJECT"] = str(project.root)
    dagster = str(Path(sys.executable).with_name("dagster"))
    os.execv(dagster, [dagster, "dev", "-m", "dagster_project.definitions", "-p", str(port), "-h", "127.0.0.1"])  # noqa: S606


def _run_night(project: Project, title: str, *, land: bool) -> NightSummary:
    from dagster_project.nightly import run  # noqa: PLC0415 -- Dagster takes seconds to import

    with night_progress(title) as listener:
        return run.run_night(project, listener, land=land)


def _dry_run(project: Project) -> None:
    from dagster_project.nightly import plan  # noqa: PLC0415

    planned = plan.plan_night(project)
    for line in planned.lines():
        stdout.print(line, highlight=False, soft_wrap=True)


def _show(night: NightSummary) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    landed = sum(file.records_landed for file in night.loads)
    table.add_row("loaded", f"{landed:,} records from {len(night.loads)} files")
    refused = sum(reason.records for reason in night.refused)
    reasons = ", ".join(f"{reason.reason} {reason.records:,}" for reason in night.refused)
    table.add_row("refused", escape(f"{refused:,}" + (f" ({reasons})" if reasons else "")))
    told = [("new", night.new), ("ongoing", night.ongoing), ("gone", night.gone)]
    aside = [("suppressed", night.suppressed), ("in shadow", night.shadow)]
    for name, change in told + [one for one in aside if one[1].total]:
        rules = ", ".join(f"{rule} {count:,}" for rule, count in change.by_rule)
        table.add_row(f"violations {name}", escape(f"{change.total:,}" + (f" ({rules})" if rules else "")))
    table.add_row("generation", night.generation or "none: nothing was published")
    stdout.print(table)
    for step in night.warnings:
        stderr.print(f"warning: {step.step}: {step.message}", style="yellow", markup=False, highlight=False)
    for step in night.failed_steps:
        stderr.print(f"failed: {step.step}: {step.message}", style="red", markup=False, highlight=False)
