"""`hindcast rules check | test | list | explain`: working on rules. No warehouse is opened but for `explain`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from dagster_project import rule_language
from dagster_project.cli import asked, imports, rule_changes, suggest
from dagster_project.cli.options import GenerationOption, ProjectOption
from dagster_project.cli.terminal import listing, stderr, stdout
from dagster_project.replay import rule_tests
from dagster_project.replay.explanation import explain as explained
from dagster_project.replay.explanation import explain_pack
from dagster_project.replay.window import parse_window
from dagster_project.rule_language import Catalogue, RuleError, RuleErrors
from dagster_project.rule_language.near_fields import near_fields
from dagster_project.settings import Project, find_project
from dagster_project.transformation import prepare
from dagster_project.warehouse import generations
from dagster_project.wording import counted, did_you_mean, visible

rules = typer.Typer(help="Check, test and explain rules.", no_args_is_help=True)
FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Ids, files and folders of rules; none: all of the project.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    rules.command(epilog="[bold]Example:[/] hindcast rules check rules/payments/payment-idempotency.yml")(check)
    rules.command("test", epilog="[bold]Example:[/] hindcast rules test")(run_tests)
    rules.command("list", epilog="[bold]Example:[/] hindcast rules list")(list_)
    rules.command(epilog="[bold]Example:[/] hindcast rules explain payment-idempotency")(explain)
    imports.register(rules)
    suggest.register(rules)
    rule_changes.register(rules)
    app.add_typer(rules, name="rules")


def check(files: FilesArgument = None, project_dir: ProjectOption = None) -> None:
    """Read rules and run their tests; every mistake is shown as file:line:column. Exit code 2 when there is one."""
    texts = _texts(project_dir, files)
    try:
        catalogue = rule_language.load_catalogue(texts)
    except RuleErrors as errors:
        # The tests of the others run all the same: who mends a mistake sees at once what is left.
        broken = {error.path for error in errors.errors}
        sound = rule_language.load_catalogue({k: v for k, v in texts.items() if k not in broken})
        _warn_of_near_fields(sound, texts)
        failed = _failures(sound)
        raise RuleErrors([*errors.errors, *failed]) from None
    _warn_of_near_fields(catalogue, texts)
    if failed := _failures(catalogue):
        raise RuleErrors(failed)
    stdout.print(f"{counted(len(catalogue.rules), 'rule is well', 'rules are well')}", style="green")


def run_tests(files: FilesArgument = None, project_dir: ProjectOption = None) -> None:
    """Run the test traces that rules carry, and show each outcome."""
    catalogue = rule_language.load_catalogue(_texts(project_dir, files))
    outcomes = rule_tests.run(catalogue)
    for outcome in outcomes:
        mark, style = ("passed", "green") if outcome.passed else ("FAILED", "bold red")
        stdout.print(f"[{style}]{mark}[/]  {escape(f'{outcome.rule_id}: {outcome.test}')}", highlight=False)
    failed = rule_tests.failures(outcomes)
    stdout.print(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed", highlight=False)
    if failed:
        raise RuleErrors(failed)


def list_(project_dir: ProjectOption = None) -> None:
    """Show the rules of the project."""
    table = listing("rule", "severity", "status", "scope", "title")
    for rule in rule_language.load_catalogue(_texts(project_dir, None)):
        table.add_row(rule.id, rule.severity, rule.status, rule.scope_kind, Text(visible(rule.title)))
    stdout.print(table)


def explain(
    rule_ids: Annotated[
        list[str], typer.Argument(help="Ids of rules of the project; of several: how they share.", show_default=False)
    ],
    start: Annotated[str | None, typer.Option(help="As of `hindcast query`.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option(help="As of `hindcast query`.", show_default=False)] = None,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Show how rules are run over the published telemetry: plan, estimates, SQL, and the engine's plan."""
    project = find_project(project_dir)
    window = parse_window(start, end, datetime.now(UTC))
    loaded = asked.load(project)
    chosen = [loaded.named(rule_id) for rule_id in rule_ids]
    with generations.open_generation(generations.find(project.generations_dir, generation)) as connection:
        if len(chosen) > 1:
            typer.echo(explain_pack(connection, chosen, window))
        else:
            typer.echo(explained(connection, chosen[0], window))


def _texts(project_dir: Path | None, named: list[Path] | None) -> dict[str, str]:
    """The rules of the project, or those that are named; files need no project, ids do.

    Raises
    ------
    FileNotFoundError
        When there is no such file and no such rule; names the nearest.
    """
    if not named:
        return prepare.rule_texts(find_project(project_dir))
    texts: dict[str, str] = {}
    for one in named:
        if one.is_dir():
            texts |= {str(file): prepare.rule_text(file, str(file)) for file in sorted(one.rglob("*.yml"))}
        elif one.exists():
            texts[str(one)] = prepare.rule_text(one, str(one))
        elif one.suffix or len(one.parts) > 1:
            hint = did_you_mean(one.name, (file.name for file in one.parent.glob("*.yml")))
            raise FileNotFoundError(f"{one}: no such file{f'; {hint}' if hint else ''}")
        else:
            texts |= _texts_of_id(find_project(project_dir), str(one))
    return texts


def _texts_of_id(project: Project, rule_id: str) -> dict[str, str]:
    """The text of a rule of the project, found by its file: a broken one has no id, and is to be told of."""
    files = {file: file.relative_to(project.root).as_posix() for file in sorted(project.rules_dir.rglob("*.yml"))}
    found = {path: prepare.rule_text(file, path) for file, path in files.items() if file.stem == rule_id}
    if not found:
        hint = did_you_mean(rule_id, (file.stem for file in files))
        raise FileNotFoundError(
            f"there is no rule `{rule_id}`, and no such file; {hint or '`hindcast rules list` shows all'}"
        )
    return found


def _warn_of_near_fields(catalogue: Catalogue, texts: dict[str, str]) -> None:
    """A line for each attribute that may be a field misspelt, at its first place in the file."""
    for rule in catalogue.rules:
        for near in near_fields(rule):
            lines = texts[rule.path].splitlines()
            line = next((number for number, text in enumerate(lines, 1) if near.key in text), 1)
            stderr.print(
                f"{rule.path}:{line}: warning: {near.sentence}",
                style="yellow", highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip


def _failures(catalogue: Catalogue) -> list[RuleError]:
    with stderr.status("running the rules' tests"):
        return list(rule_tests.failures(rule_tests.run(catalogue)))
