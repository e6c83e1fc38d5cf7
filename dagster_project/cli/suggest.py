"""`hindcast rules suggest`: rules that tell an incident's traces from those before it. A person accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.options import GenerationOption, ProjectOption
from dagster_project.cli.terminal import stderr
from dagster_project.replay import running
from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_suggestions.arms import IncidentNotFound, TooFewTraces
from dagster_project.rule_suggestions.rule_text import expressions
from dagster_project.rule_suggestions.suggest import Proposal, Suggestions, suggest
from dagster_project.settings import find_project
from dagster_project.warehouse import generations
from dagster_project.wording import counted, visible

NOTHING_SEPARATES = 1


class ProposalFormat(StrEnum):
    """How proposals are shown."""

    TEXT = "text"
    YAML = "yaml"


def register(rules: typer.Typer) -> None:
    """Add the command of this module to the group of commands about rules."""
    rules.command(
        "suggest",
        epilog="[bold]Examples:[/] hindcast rules suggest --incident INC-2023-01-29-015\n\n"
        "hindcast rules suggest --incident INC-2023-01-29-015 --before 7d --write rules/suggested\n\n"
        "[bold]Exit codes:[/] 0 something is proposed; 1 nothing separates the incident's traces from those before it;"
        " 2 there is no such incident, or too few traces.",
    )(propose)


def propose(
    incident: Annotated[str, typer.Option("--incident", help="Id of an incident with telemetry around it.")],
    before: Annotated[str, typer.Option("--before", help="How far before the incident to look: 24h, 7d.")] = "24h",
    format_: Annotated[
        ProposalFormat, typer.Option("--format", help="yaml: the rule files, one after another.")
    ] = ProposalFormat.TEXT,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the rule files into this folder.", show_default=False)
    ] = None,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Propose rules that tell the traces of an incident from those before it, with how well they do on others.

    Spans that are missing, new, failing, repeated or in another order, values of attributes and log records are tried.
    Proposals have status shadow and tests cut from real traces. Nothing is written without --write: a person accepts.
    """
    found = generations.find(find_project(project_dir).generations_dir, generation)
    try:
        with (
            generations.open_generation(found) as connection,
            running.limited(connection),
            stderr.status("comparing traces"),
        ):
            answer = running.run(connection, lambda: suggest(connection, incident, _duration(before)))
    except (IncidentNotFound, TooFewTraces) as error:
        stderr.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if format_ is ProposalFormat.YAML:
        typer.echo("---\n".join(proposal.text for proposal in answer.proposals), nl=False)
        typer.echo(_summary(answer), err=True)
    else:
        typer.echo("\n".join(_lines(answer)))
    if write is not None:
        _write(answer, write)
    raise typer.Exit(0 if answer.proposals else NOTHING_SEPARATES)


def _duration(text: str) -> timedelta:
    try:
        return timedelta(microseconds=parse_duration(text) // 1000)
    except (ExpressionError, ValueError, OverflowError):
        raise typer.BadParameter(f"`{text}` is no duration; write one such as 24h or 7d") from None


def _summary(answer: Suggestions) -> str:
    arms = answer.arms
    during, before = arms.sizes["train"]
    said = (
        f"{arms.incident.id} ({visible(arms.incident.title)}): {counted(during, 'trace')} during and {before:,} of"
        f" {arms.before_said} were compared. {answer.tried:,} conditions were tried; {answer.separating:,} differ by"
        f" more than chance explains (Fisher's exact test, Benjamini-Hochberg at 5 %); {answer.tested:,} were run as"
        f" rules over {' and '.join(arms.said(part) for part in arms.sizes if part != 'train')}."
    )
    if answer.proposals:
        return f"{said} {counted(len(answer.proposals), 'rule')} proposed."
    why = (
        "none of the conditions tried differs by more than chance explains"
        if not answer.separating
        else "what differed did not hold on traces that were kept aside"
    )
    return f"{said} NOTHING SEPARATES them: {why}. No rule is proposed."


def _lines(answer: Suggestions) -> Iterator[str]:
    yield _summary(answer)
    for number, proposal in enumerate(answer.proposals, start=1):
        yield ""
        yield f"{number}. {visible(proposal.title)}"
        for clause, text in expressions(proposal.candidate).items():
            yield f"     {clause}: {visible(text)}"
        for part, figures in proposal.figures.items():
            if part != "train":
                mark = "holds" if part in proposal.holds_on else "does not hold"
                yield f"   {mark} on {answer.arms.said(part)}: {figures.said()}"
        yield f"   {proposal.rule_id}.yml"
    if answer.proposals:
        yield ""
        yield "Nothing is accepted yet: --write DIR writes the files, with status shadow, to be read and edited."


def _write(answer: Suggestions, folder: Path) -> None:
    """Write the files; none when one of them is there, for somebody may have edited it."""
    files: dict[Path, Proposal] = {folder / f"{one.rule_id}.yml": one for one in answer.proposals}
    if there := [file for file in files if file.exists()]:
        raise typer.BadParameter(f"{there[0]} is there already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for file, proposal in files.items():
        file.write_text(proposal.text, encoding="utf-8")
        stderr.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
