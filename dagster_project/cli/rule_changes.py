"""`hindcast rules diff | new`: what a change of a rule would change, and a file to begin a rule with."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dagster_project.cli import TIMED_OUT, asked
from dagster_project.cli.options import DEFAULT_TIMEOUT, GenerationOption, ProjectOption, TimeoutOption
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.replay import rule_tests, running
from dagster_project.replay.differences import Difference, Side, difference
from dagster_project.replay.formats import FormatNotSupported
from dagster_project.replay.formats.answers import plain
from dagster_project.replay.window import parse_window
from dagster_project.rule_language import Catalogue, Rule, RuleError, RuleErrors, read_rule
from dagster_project.rule_language.rule_file import SEVERITIES
from dagster_project.settings import Project, find_project
from dagster_project.transformation.prepare import rule_text
from dagster_project.warehouse import generations
from dagster_project.wording import counted, did_you_mean, revealed

_ID = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)/([a-z0-9]+(?:-[a-z0-9]+)*)")
_WRITTEN_ID = re.compile(r"^id:[ \t]*[\"']?([a-z0-9-]+)", re.MULTILINE)
_SCAFFOLD = """\
id: {id}
title: {title}
description: |-
  Why it matters, and what whoever is on call does about a violation.

  What it found over telemetry that you know, and what it cannot see.
severity: {severity}
# Judged, and nobody is alerted. When its violations are what it means: active.
status: shadow
owner: {owner}
let:
  work: span("my.operation")
when: any(work)
always: none(work where status = error)
report: {{service: first(work.service), failures: count(work where status = error)}}
tests:
  - name: the work fails
    verdict: violated
    spans:
      - {{name: GET /work, kind: server}}
      - {{name: my.operation, status: error}}
  - name: the work is done
    verdict: satisfied
    spans:
      - {{name: GET /work, kind: server}}
      - {{name: my.operation, status: ok}}
  - name: nothing of the kind happens
    verdict: not applicable
    spans:
      - {{name: GET /other, kind: server}}
"""


def register(rules: typer.Typer) -> None:
    """Add the commands of this module to `hindcast rules`."""
    rules.command(epilog="[bold]Example:[/] hindcast rules diff payment-idempotency /tmp/payment-idempotency.yml")(diff)
    rules.command(
        epilog='[bold]Example:[/] hindcast rules new payments/refund-is-approved --title "A refund is approved"'
    )(new)


def diff(
    old: Annotated[str, typer.Argument(help="A rule file, or the id of a rule of the project.", show_default=False)],
    new: Annotated[str, typer.Argument(help="The other one.", show_default=False)],
    start: Annotated[str | None, typer.Option(help="Scopes that begin from here on.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option(help="Scopes that begin before.", show_default=False)] = None,
    format_: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Show which violations a change adds and removes over the published telemetry. Exit code 1 when it does either."""
    if format_ not in {"table", "json"}:
        raise FormatNotSupported(f"`{format_}` is no format; write one of: table, json")
    limit = asked.seconds(timeout)
    window = parse_window(start, end, datetime.now(UTC))
    project = find_project(project_dir)
    rules = [_rule(project, one) for one in (old, new)]
    found = generations.find(project.generations_dir, generation)
    with (
        generations.open_generation(found) as connection,
        running.limited(connection),
        stderr.status(f"replaying {old} and {new}"),
    ):
        try:
            made = running.run(
                connection, lambda: difference(connection, rules[0], rules[1], window), timeout_seconds=limit
            )
        except running.TimedOut as stopped:
            stderr.print(
                f"stopped after {stopped.seconds:.3g} s (--timeout); nothing is compared. Narrow the window with"
                " --start and --end, or give it more time",
                style="bold red", highlight=False, soft_wrap=True,
            )  # fmt: skip
            raise typer.Exit(TIMED_OUT) from None
    if format_ == "json":
        typer.echo(json.dumps(_as_json(made), indent=2, ensure_ascii=False))
    else:
        _show(made)
    stderr.print(f"generation {found.id}", style="dim", highlight=False)
    raise typer.Exit(0 if made.is_empty else 1)


def new(
    name: Annotated[str, typer.Argument(help="Domain and id: payments/refund-is-approved.", show_default=False)],
    title: Annotated[str, typer.Option(help="One line that an engineer on call understands.", show_default=False)],
    severity: Annotated[str, typer.Option(help=f"One of {', '.join(SEVERITIES)}.")] = "medium",
    owner: Annotated[
        str | None,
        typer.Option(help="The team that acts on a violation; the domain when not given.", show_default=False),
    ] = None,
    project_dir: ProjectOption = None,
) -> None:
    """Write a rule to begin with: it has every part, passes its tests, and alerts nobody."""
    project = find_project(project_dir)
    matched = _ID.fullmatch(name)
    if matched is None:
        raise typer.BadParameter(
            f"`{name}` is no domain and id: write lower-case words, as in payments/refund-is-approved"
        )
    if severity not in SEVERITIES:
        raise typer.BadParameter(f"`{severity}` is no severity; {did_you_mean(severity, SEVERITIES)}")
    domain, rule_id = matched.groups()
    taken = list(project.rules_dir.rglob(f"{rule_id}.yml"))
    if taken:
        raise typer.BadParameter(f"there is a rule `{rule_id}` already: {taken[0].relative_to(project.root)}")
    text = _SCAFFOLD.format(
        id=rule_id, title=json.dumps(title, ensure_ascii=False), severity=severity,
        owner=json.dumps(owner or domain, ensure_ascii=False),
    )  # fmt: skip
    if (project.rules_dir / "rule.schema.json").is_file():
        text = "# yaml-language-server: $schema=../rule.schema.json\n" + text
    path = project.rules_dir / domain / f"{rule_id}.yml"
    _require_well(path.relative_to(project.root).as_posix(), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    stdout.print(
        f"{path}: write its conditions and tests, then: hindcast rules check {path}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _require_well(path: str, text: str) -> None:
    """What a title or owner can break is told before anything is written."""
    failed = rule_tests.failures(rule_tests.run(Catalogue((read_rule(path, text),))))
    if failed:
        raise RuleErrors(failed)


def _rule(project: Project, named: str) -> Rule:
    """A file when there is one of that name, else a rule of the project."""
    file = Path(named)
    if not file.is_file():
        if file.suffix in {".yml", ".yaml"} or "/" in named:
            raise FileNotFoundError(f"{named}: no such file")
        return asked.load(project).named(named)
    text = rule_text(file, named)
    # An older text of a rule may stand in a file of any name.
    written = _WRITTEN_ID.search(text)
    path = file.with_name(f"{written[1]}.yml") if written else file
    try:
        return read_rule(path.as_posix(), text)
    except RuleErrors as errors:
        raise RuleErrors(
            RuleError(named, one.line, one.column, one.message, one.hint, one.source) for one in errors.errors
        ) from None


def _as_json(made: Difference) -> dict[str, Any]:
    told: dict[str, Any] = plain(made)
    told["by_day"] = [{**one, "day": str(one["day"])} for one in made.by_day]
    return told


def _show(made: Difference) -> None:
    if made.is_same_meaning:
        stdout.print("The two mean the same: nothing is judged otherwise", style="green")
    else:
        stdout.print("The meaning differs" + ("; no violation does, here" if made.is_empty else ""), style="yellow")
    stdout.print(
        f"{made.old_violations:,} violations before, {made.new_violations:,} after: {made.added.violations:,} added,"
        f" {made.removed.violations:,} removed, {made.kept:,} kept",
        highlight=False, style="bold",
    )  # fmt: skip
    stdout.print(f"{made.old_satisfied:,} satisfied before, {made.new_satisfied:,} after", highlight=False)
    for what, side, other in (("added", made.added, "before"), ("removed", made.removed, "after")):
        if side.violations:
            stdout.print(_side(what, side, other))
    if made.by_day:
        table = Table("day", box=None, pad_edge=False)
        for heading in ("added", "removed"):
            table.add_column(heading, justify="right")
        for one in made.by_day:
            table.add_row(str(one["day"]), f"{one['added']:,}", f"{one['removed']:,}")
        if made.days > len(made.by_day):
            table.caption = f"and {counted(made.days - len(made.by_day), 'day')} more: narrow the window"
        stdout.print(table)


def _side(what: str, side: Side, other: str) -> Table:
    counts = ", ".join(f"{one['violations']:,} {one['verdict']} {other}" for one in side.verdicts)
    table = Table(title=f"\n{what}: {counts}", title_justify="left", box=None, pad_edge=False)
    for heading in ("first span", "scope"):
        table.add_column(heading, no_wrap=True)
    table.add_column(other)
    for one in side.examples:
        table.add_row(
            f"{one['first_span_at']:%Y-%m-%d %H:%M:%S}",
            Text(revealed(str(one["scope_key"]))),
            str(one["other_verdict"]),
        )
    left = side.violations - len(side.examples)
    if left > 0:
        table.caption = f"and {left:,} more"
    return table
