"""`hindcast compare`: is one arm of incidents really better? A plan is stored, then judged on what is published."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.text import Text

from dagster_project.cli.options import GenerationOption, ProjectOption
from dagster_project.cli.sections import ForceOption, OutOption, deliver, require_place
from dagster_project.cli.terminal import listing, stderr, stdout
from dagster_project.settings import Project, find_project
from dagster_project.statistics import marts, report
from dagster_project.statistics.arms import data_span, known_values, read_arm
from dagster_project.statistics.as_of import stand_at
from dagster_project.statistics.marts import Judged
from dagster_project.statistics.plan import ComparisonPlan, ComparisonPlans, load_plans
from dagster_project.warehouse import generations
from dagster_project.warehouse.generations import Generation
from dagster_project.wording import did_you_mean, revealed, utc

MEMORY_LIMIT = "3GB"
FORMATS_OF_TIME = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
EXIT_CODES = "Exit codes: 0 judged, whatever the verdict; 2 plan, option or data was refused; 130 interrupted."


class Format(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast compare --plan plan.yml --dry-run\n\n"
        "hindcast compare --plan plan.yml\n\n"
        "hindcast compare --plan data/comparisons.yml --id servicenow-p3-halves --format markdown --out halves.md\n\n"
        + EXIT_CODES
    )(compare)


def compare(
    plan: Annotated[Path, typer.Option(help="File of one plan, of a list of plans, or as data/comparisons.yml.")],
    comparison_id: Annotated[
        str | None, typer.Option("--id", help="Only this comparison of the file.", show_default=False)
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=FORMATS_OF_TIME,
            help="Incidents as they stood then, UTC: later ends are unknown.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.TEXT,
    out: OutOption = None,
    force: ForceOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how many incidents each arm has, no durations; store nothing.")
    ] = False,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Compare two arms of incidents by a plan that is stored, with its hash and time, before any result is computed."""
    project = find_project(project_dir)
    plans = load_plans(plan)
    wanted = _wanted(plan, plans, comparison_id)
    require_place(out, force=force)
    published = generations.find(project.generations_dir, generation)
    with generations.open_generation(published) as connection:
        _prepare(connection, published, as_of)
        _warn_of_unknown_values(connection, wanted)
        if dry_run:
            _show_sizes(connection, wanted)
        else:
            judged = _judged(connection, wanted, project, published)
            only = None if comparison_id is None else [comparison_id]
            deliver(_rendered(judged, published, format_, only), out)
    as_of_text = f", as of {utc(published.as_of)}" if published.as_of else ""
    stderr.print(f"generation {published.id}{as_of_text}", style="dim", highlight=False, soft_wrap=True)


def _wanted(file: Path, plans: ComparisonPlans, comparison_id: str | None) -> tuple[ComparisonPlan, ...]:
    if not plans.comparisons:
        raise typer.BadParameter(f"{file} holds no comparison", param_hint="--plan")
    if comparison_id is None:
        return plans.comparisons
    chosen = plans.chosen(comparison_id)
    if not chosen:
        hint = did_you_mean(comparison_id, (each.id for each in plans.comparisons))
        unknown = f"{file} has no comparison `{comparison_id}`"
        raise typer.BadParameter(f"{unknown}; {hint}" if hint else unknown, param_hint="--id")
    return chosen


def _prepare(connection: duckdb.DuckDBPyConnection, published: Generation, as_of: datetime | None) -> None:
    if not any(part.table == "marts.fct_incidents" for part in published.parts):
        raise generations.GenerationNotFound(
            f"generation {published.id} has no incidents: load incidents or tickets, then run `hindcast nightly`"
        )
    connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
    if as_of is not None:
        stand_at(connection, as_of.replace(tzinfo=None))


def _warn_of_unknown_values(connection: duckdb.DuckDBPyConnection, plans: tuple[ComparisonPlan, ...]) -> None:
    """Tell of filters that no incident meets: most often a value is spelled in another way."""
    for plan in plans:
        for where in (plan.where, plan.baseline.where, plan.candidate.where):
            for field, values in where.given().items():
                known = known_values(connection, field)
                if not set(known).intersection(values):
                    hint = did_you_mean(values[0], known)
                    said = f"{plan.id}: no incident has {field} {', '.join(values)}"
                    stderr.print(
                        revealed(f"{said}; {hint}" if hint else said), style="yellow", markup=False, soft_wrap=True
                    )


def _show_sizes(connection: duckdb.DuckDBPyConnection, plans: tuple[ComparisonPlan, ...]) -> None:
    table = listing("comparison", "arm", "incidents", "left out by plan", "days")
    for plan in plans:
        span = data_span(connection, plan)
        for each in (plan.baseline, plan.candidate):
            arm = None if span is None else read_arm(connection, plan, each, span)
            sizes = ("0", "0", "0") if arm is None else (f"{arm.count:,}", f"{arm.excluded:,}", f"{arm.days:,.1f}")
            table.add_row(Text(plan.id), Text(revealed(each.label)), *sizes)
    stdout.print(table)
    stderr.print("nothing was stored, no duration was read out", style="dim", highlight=False)


def _judged(
    connection: duckdb.DuckDBPyConnection, plans: tuple[ComparisonPlan, ...], project: Project, published: Generation
) -> Judged:
    with stderr.status("storing the plans") as status:
        return marts.judge(
            connection,
            plans,
            marts.Registry(project.state_file, published.id),
            progress=lambda name: status.update(f"comparing {name}"),
        )


def _rendered(judged: Judged, published: Generation, format_: Format, only: list[str] | None) -> str:
    if format_ is Format.JSON:
        return report.as_json(judged, published.id, only)
    return report.as_markdown(judged, only) if format_ is Format.MARKDOWN else revealed(report.as_text(judged, only))
