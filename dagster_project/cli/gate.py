"""`hindcast gate`: rules over files of telemetry, for pipelines, which wait for it: imports no more than it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from dagster_project.gate import as_github, as_json, as_junit, as_sarif, as_text
from dagster_project.gate.baseline import ACCEPTED_FOR, BaselineInvalid
from dagster_project.gate.outcome import ExitCode, FailOn, Outcome, Policy
from dagster_project.gate.run import Request, run
from dagster_project.gate.selection import UnknownRules
from dagster_project.gate.telemetry import UnreadableInput
from dagster_project.rule_language import RuleErrors
from dagster_project.rule_language.rule_file import Severity
from dagster_project.settings import ProjectNotFound

EXAMPLES = (
    "[bold]Examples:[/] hindcast gate --traces staging.otlp.jsonl\n\n"
    "hindcast gate --traces out/traces.pb.gz --logs out/logs.jsonl --rules payments --rules security\n\n"
    "hindcast gate --traces staging.otlp.jsonl --rules rules/payments/payment-idempotency.yml --format junit"
    " --output gate.xml\n\n"
    "hindcast gate --traces staging.otlp.jsonl --baseline gate-baseline.json --update-baseline\n\n"
    "[bold]Exit codes:[/] 0 nothing new; 1 a rule is violated and the baseline does not accept it; 2 a rule, an input,"
    " the baseline or the command line is broken, so that nothing is vouched for; 3 there was no span to judge"
    " (0 with --allow-empty); 130 interrupted."
)
MENDABLE = (
    BaselineInvalid, duckdb.IOException, OSError, ProjectNotFound, RuleErrors, UnicodeDecodeError,
    UnknownRules, UnreadableInput,
)  # fmt: skip


class ReportFormat(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    JSON = "json"


RENDERERS: dict[ReportFormat, Callable[[Outcome], str]] = {
    ReportFormat.TEXT: as_text.render,
    ReportFormat.JUNIT: as_junit.render,
    ReportFormat.SARIF: as_sarif.render,
    ReportFormat.GITHUB: as_github.render,
    ReportFormat.JSON: as_json.render,
}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=EXAMPLES)(gate)


def gate(
    traces: Annotated[
        list[Path],
        typer.Option("--traces", help="File or folder of traces, of any format that `load` reads; repeatable."),
    ],
    logs: Annotated[
        list[Path] | None,
        typer.Option("--logs", help="File or folder of log records; repeatable.", show_default=False),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            help="Domain, id, file or folder of rules; repeatable. None: all of the project's, or the shipped ones.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[ReportFormat, typer.Option("--format", help="How to write the answer.")] = ReportFormat.TEXT,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write the answer here, and its text to the log.", show_default=False),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="File of accepted violations.", show_default=False)
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline", help=f"Accept what is violated now, for {ACCEPTED_FOR.days} days; writes --baseline."
        ),
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="`inconclusive`: what cannot be judged stops the pipeline, too.")
    ] = "violated",
    severity: Annotated[
        Severity, typer.Option("--severity", help="Rules below it are shown and stop nothing.")
    ] = "low",
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Nothing to judge is well: exit code 0 instead of 3.")
    ] = False,
    project_dir: Annotated[
        Path | None,
        typer.Option("--project", envvar="HINDCAST_PROJECT", help="Project whose rules are meant.", show_default=False),
    ] = None,
) -> None:
    """Judge rules over files of telemetry, without a warehouse: for pipelines. Keeps nothing but what is asked for."""
    _complain(output, baseline, update_baseline=update_baseline)
    request = Request(
        paths=(*traces, *(logs or ())),
        rules=rules or (),
        policy=Policy(fail_on, severity, allow_empty),
        today=datetime.now(UTC).date(),
        project_dir=project_dir,
        baseline_file=baseline,
        update_baseline=update_baseline,
    )
    raise typer.Exit(_answered(request, format_, output))


def _complain(output: Path | None, baseline: Path | None, *, update_baseline: bool) -> None:
    """Refuse options that do not go together before anything is read."""
    if update_baseline and baseline is None:
        raise typer.BadParameter("--update-baseline needs --baseline FILE to write")
    if output is not None and not output.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder {output.parent} does not exist: make it, or name another place")


def _answered(request: Request, format_: ReportFormat, output: Path | None) -> ExitCode:
    try:
        outcome = run(request)
        _write(outcome, format_, output)
    except MENDABLE as error:
        typer.echo(f"{error}", err=True)
        return ExitCode.BROKEN
    return outcome.exit_code


def _write(outcome: Outcome, format_: ReportFormat, output: Path | None) -> None:
    answer = RENDERERS[format_](outcome).encode("utf-8", "replace")
    if output is None:
        sys.stdout.buffer.write(answer)
        sys.stdout.flush()
        return
    output.write_bytes(answer)
    typer.echo(as_text.render(outcome).encode("utf-8", "replace"), nl=False)
