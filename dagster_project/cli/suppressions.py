"""`hindcast suppress` and `hindcast suppressions`: who answers for which violations, why, and until when."""

from __future__ import annotations

import contextlib
import json
import uuid
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from dagster_project import rule_language
from dagster_project.cli.options import ProjectOption
from dagster_project.cli.terminal import listing, stderr, stdout
from dagster_project.settings import Project, find_project
from dagster_project.transformation import prepare
from dagster_project.warehouse import generations, suppressions
from dagster_project.wording import did_you_mean, revealed, visible

group = typer.Typer(help="Violations that somebody answers for until a day.", no_args_is_help=True)
# Fewer digits of a hash are met by chance among a few thousand violations.
LEAST_DIGITS = 6


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="[bold]Examples:[/] hindcast suppress 3fa81c22 --owner ana --reason refunded --until 2024-03-31"
        "\n\nhindcast suppress payment-idempotency:A-17 --owner ana --reason 'test account' --until 2024-12-31"
    )(suppress)
    group.command("list", epilog="[bold]Example:[/] hindcast suppressions list")(list_)
    group.command(epilog="[bold]Example:[/] hindcast suppressions remove 3")(remove)
    app.add_typer(group, name="suppressions")


def suppress(
    target: Annotated[
        str, typer.Argument(help="A violation id (its beginning is enough), a rule, or RULE:KEY.", metavar="TARGET")
    ],
    owner: Annotated[str, typer.Option(help="Who answers for it.")],
    reason: Annotated[str, typer.Option(help="Why it is no news.")],
    until: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day on which it holds; then it counts again.")
    ],
    project_dir: ProjectOption = None,
) -> None:
    """Suppress violations from the next night on: they stay counted, apart, and alert nobody."""
    project = find_project(project_dir)
    if until.date() < datetime.now(UTC).date():
        raise typer.BadParameter(f"{until.date()} is past: it would suppress nothing", param_hint="--until")
    for name, said in (("--owner", owner), ("--reason", reason)):
        if not said.strip():
            raise typer.BadParameter("it says nothing", param_hint=name)
    found = suppressions.add(
        project.state_file, **_target(project, target), owner=owner.strip(), reason=reason.strip(), until=until.date()
    )
    stdout.print(
        f"suppression {found.suppression_id}: {found.target} until {found.until}", highlight=False, soft_wrap=True
    )


def list_(project_dir: ProjectOption = None) -> None:
    """Every suppression that nobody removed; expired ones say so."""
    found = suppressions.suppressions(find_project(project_dir).state_file)
    if not found:
        stdout.print("nothing is suppressed")
        return
    today = datetime.now(UTC).date()
    table = listing("id", "target", "owner", "until", "reason")
    for one in found:
        until = str(one.until) if one.is_in_force(today) else f"{one.until} (expired)"
        table.add_row(
            str(one.suppression_id), *map(Text, (revealed(one.target), visible(one.owner), until, visible(one.reason)))
        )
    stdout.print(table)


def remove(
    suppression_id: Annotated[int, typer.Argument(help="As `hindcast suppressions list` shows it.")],
    project_dir: ProjectOption = None,
) -> None:
    """End a suppression: what it suppressed counts again from the next night on."""
    if not suppressions.remove(find_project(project_dir).state_file, suppression_id):
        stderr.print(f"there is no suppression {suppression_id}", highlight=False)
        raise typer.Exit(2)
    stdout.print(f"suppression {suppression_id} removed", highlight=False)


def _target(project: Project, target: str) -> dict[str, str]:
    """What the words of the command line mean: a violation, a rule, or a scope of it."""
    known = {rule.id for rule in rule_language.load_catalogue(prepare.rule_texts(project)).rules}
    if target in known:
        return {"rule_id": target}
    rule_id, colon, key = target.partition(":")
    if colon and rule_id in known:
        return {"rule_id": rule_id, "scope_key": _scope_key(project, rule_id, key)}
    wanted = target.lower()
    if len(wanted) < LEAST_DIGITS or not set(wanted) <= set("0123456789abcdef"):
        raise typer.BadParameter(
            f"`{target}` is no violation id of {LEAST_DIGITS} digits or more, and no rule;"
            f" {did_you_mean(rule_id, known)}"
        )
    found = _asked(
        project, "select violation_id from violations.fct_violations where starts_with(violation_id, ?)", [wanted]
    )
    if len(found) != 1:
        raise typer.BadParameter(f"{len(found) or 'no'} violations begin with `{target}`: give the id of one")
    return {"violation_id": found[0]}


def _scope_key(project: Project, rule_id: str, key: str) -> str:
    """The key as verdicts write it: groups have JSON text, traces an id with hyphens."""
    written = [key, json.dumps(key, ensure_ascii=False)]
    with contextlib.suppress(ValueError):
        written.append(str(uuid.UUID(key)))
    found = _asked(
        project,
        "select distinct scope_key from violations.fct_violations where rule_id = ? and list_contains(?, scope_key)",
        [rule_id, written],
    )
    if not found:
        raise typer.BadParameter(f"no violation of {rule_id} has the key `{key}`; `hindcast query` lists them")
    if key in found:
        return key  # as it is written: `42` is the number, `"42"` the text
    if len(found) > 1:
        several = " and ".join(f"`{one}`" for one in sorted(found))
        raise typer.BadParameter(f"violations of {rule_id} have the keys {several}: give one of them as it stands here")
    return found[0]


def _asked(project: Project, query: str, parameters: list[object]) -> list[str]:
    with generations.open_generation(generations.find(project.generations_dir)) as connection:
        return [str(value) for (value,) in connection.execute(query, parameters).fetchall()]
