"""`hindcast roi`: what an estimate of return comes to, what it rests on, and how far it may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dagster_project.cli.options import ProjectOption
from dagster_project.cli.roi_report import sections
from dagster_project.cli.sections import (
    ForceOption,
    Format,
    FormatOption,
    OutOption,
    as_markdown,
    deliver,
    require_place,
)
from dagster_project.replay import formats
from dagster_project.settings import find_project
from dagster_project.statistics import roi as estimates
from dagster_project.statistics.roi import FoundEffects, RoiPlan
from dagster_project.statistics.roi.effects import wanted_effects
from dagster_project.warehouse import generations
from dagster_project.wording import did_you_mean

TABLES = {
    "summary": estimates.roi_summary,
    "lines": estimates.roi_lines,
    "inputs": estimates.roi_inputs,
    "draws": estimates.roi_draws,
    "histogram": estimates.roi_histogram,
    "tornado": estimates.roi_tornado,
}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast roi --config data/roi.yml\n\n"
        "hindcast roi --config roi.yml --estimate whitepaper --format markdown --out roi.md\n\n"
        "Exit codes: 0 it was computed, whatever it is worth; 2 the file or an option is wrong."
    )(roi)


def roi(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="File of estimates; the project's data/roi.yml when not given.", show_default=False
        ),
    ] = None,
    estimate: Annotated[
        str | None, typer.Option("--estimate", help="Only the estimate with this id.", show_default=False)
    ] = None,
    format_: FormatOption = Format.TEXT,
    out: OutOption = None,
    force: ForceOption = False,
    draws: Annotated[
        int | None, typer.Option("--draws", min=100, max=1_000_000, help="Instead of the file's.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Instead of the file's.", show_default=False)
    ] = None,
    project_dir: ProjectOption = None,
) -> None:
    """Compute estimates of return: cash flow, net present value with its spread, tornado, every assumption.

    CSV has the lines, a row a line and year; JSON has all tables as the warehouse has them.
    """
    file = find_project(project_dir).roi_file if config is None else config
    require_place(out, force=force)
    given = {name: value for name, value in (("draws", draws), ("seed", seed)) if value is not None}
    plans = [plan.model_copy(update=given) for plan in _chosen(file, estimate)]
    effects = _effects(plans, project_dir)
    tables: dict[str, list[dict[str, Any]]] = {name: make(plans, effects).to_pylist() for name, make in TABLES.items()}
    if format_ is Format.JSON:
        deliver(formats.rows_as_json([tables]), out)
    elif format_ is Format.CSV:
        deliver(formats.rows_as_csv(tables["lines"]), out)
    else:
        answer = [section for plan in plans for section in sections(plan.id, tables)]
        deliver(as_markdown(answer) if format_ is Format.MARKDOWN else answer, out)


def _chosen(file: Path, estimate: str | None) -> Sequence[RoiPlan]:
    plans = estimates.load_roi_plans(file).estimates
    if estimate is None:
        if not plans:
            raise typer.BadParameter(f"{file} has no estimate", param_hint="--config")
        return plans
    chosen = [plan for plan in plans if plan.id == estimate]
    if not chosen:
        hint = did_you_mean(estimate, (plan.id for plan in plans))
        unknown = f"{file} has no estimate {estimate!r}"
        raise typer.BadParameter(f"{unknown}; {hint}" if hint else unknown, param_hint="--estimate")
    return chosen


def _effects(plans: Sequence[RoiPlan], project_dir: Path | None) -> FoundEffects:
    """What the project's current generation has of the comparisons that the estimates name."""
    if not wanted_effects(plans):
        return {}
    # Outside a project this is an error: an effect that nobody can look up must not be taken for none.
    generation = generations.latest(find_project(project_dir).generations_dir)
    if generation is None:
        return {}
    with generations.open_generation(generation) as connection:
        return estimates.read_effects(connection, plans)
