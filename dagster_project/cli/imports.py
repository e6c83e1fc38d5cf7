"""`hindcast rules import`: rules of other tools as rules of ours, with what was assumed and what was refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.markup import escape

from dagster_project.cli.terminal import stderr
from dagster_project.replay import rule_tests
from dagster_project.rule_imports.imported import DIALECTS, MAX_BYTES, Decisions, Dialect, Draft, Note, TestTrace
from dagster_project.rule_imports.importing import STAND_INS, import_rules, safe_file_name
from dagster_project.rule_imports.rule_text import TESTS_TO_WRITE, rule_text
from dagster_project.rule_language import Catalogue, read_rule
from dagster_project.rule_language.rule_file import SEVERITIES
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.wording import visible

_NOT_PROVEN = "no test could be made for the verdict `{verdict}`; write one before the rule is used"
_CONTRADICTED = (
    "the trace that the source prints as violating it does not violate the rule as it is written (it is {found}); "
    "look whether the source means the opposite"
)


def register(rules: typer.Typer) -> None:
    """Add the command of this module to those of `rules`."""
    example = "[bold]Example:[/] hindcast rules import checkout.traceql --write rules/checkout --owner checkout"
    rules.command("import", epilog=example)(import_)


def import_(
    file: Annotated[Path, typer.Argument(help="File of another tool's rules.", show_default=False)],
    dialect: Annotated[
        str | None,
        typer.Option("--from", help=f"{', '.join(DIALECTS)}; recognised when not given.", show_default=False),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", help="Folder to write a file for each rule into; printed when not given.", show_default=False
        ),
    ] = None,
    owner: Annotated[str, typer.Option(help="The team that acts on a violation.", show_default=False)] = "",
    severity: Annotated[str, typer.Option(help=f"One of {', '.join(SEVERITIES)}.", show_default=False)] = "",
    group_by: Annotated[
        list[str] | None,
        typer.Option("--group-by", help="Key of the groups, where the file says none.", show_default=False),
    ] = None,
    gap: Annotated[str, typer.Option(help="Longest pause inside a group, such as 24h.", show_default=False)] = "",
    within: Annotated[
        str, typer.Option(help="How near events are, where the file does not say, such as 1h.", show_default=False)
    ] = "",
    polarity: Annotated[
        str,
        typer.Option(
            help="What a BeTrace condition without when says: assert (must hold) or detect (is bad).",
            show_default=False,
        ),
    ] = "",
    entity: Annotated[str, typer.Option(help="What a record of Sigma and EQL is here: log or span.")] = "log",
    sessions: Annotated[
        bool, typer.Option("--sessions", help="Take a time span that must hold many records as a pause between them.")
    ] = False,
) -> None:
    """Write rules of BeTrace, Sigma, TraceQL or EQL as rules of ours. Exit code 1 when one could not be written."""
    decisions = _decisions(owner, severity, group_by or [], gap, within, polarity, entity, sessions)
    if dialect is not None and dialect not in DIALECTS:
        raise typer.BadParameter(f"`{dialect}` is none of {', '.join(DIALECTS)}", param_hint="--from")
    found = import_rules(_text(file), file.name, decisions, cast("Dialect | None", dialect))
    is_whole = True
    for imported in found:
        is_whole &= not imported.refused
        _say(file, imported.refused, "refused", "red")
        if imported.draft is not None:
            is_whole &= _write(file, imported.draft, decisions, write)
    if not is_whole:
        raise typer.Exit(1)


def proven(draft: Draft, decisions: Decisions) -> tuple[tuple[TestTrace, ...], tuple[Note, ...]]:
    """The test traces of a draft that hold when they are run, and what is to be said of those that do not.

    One trace of each verdict is kept, and the one that the source printed.
    """
    # A rule file needs a test of each verdict to be read, so both are there whatever the draft has.
    shown = [replace(test, name=f"{at}: {test.name}") for at, test in enumerate(draft.tests)]
    text = rule_text(draft, decisions, (*shown, *STAND_INS))
    rule = read_rule(f"rules/imported/{draft.id}.yml", text)
    outcomes = rule_tests.run(Catalogue((replace(rule, examples=rule.examples[: len(shown)]),)))
    kept: list[TestTrace] = []
    notes: list[Note] = []
    for test, outcome in zip(draft.tests, outcomes, strict=True):
        if test.printed and not outcome.passed:
            notes.append(Note(draft.line, _CONTRADICTED.format(found=outcome.found)))
        elif outcome.passed and (test.printed or not _has(kept, test.verdict)):
            kept.append(test)
    lacking = [verdict for verdict in ("violated", "satisfied") if not _has(kept, verdict)]
    notes += [Note(draft.line, _NOT_PROVEN.format(verdict=verdict)) for verdict in lacking]
    return tuple(kept), tuple(notes)


def _has(tests: list[TestTrace], verdict: str) -> bool:
    return any(test.verdict == verdict for test in tests)


def _write(file: Path, draft: Draft, decisions: Decisions, folder: Path | None) -> bool:
    """Whether a rule that can be used was written; a file that is there already is left alone, for it may be edited."""
    tests, notes = proven(draft, decisions)
    text = rule_text(draft, decisions, tests)
    if tests and notes:
        text = f"{text}{TESTS_TO_WRITE}\n"
    _say(file, draft.assumed, "assumed", "cyan")
    _say(file, notes, "look", "yellow")
    # Without a test of each verdict it is no rule file yet.
    is_tested = not any(note.text.startswith(_NOT_PROVEN.partition("{")[0]) for note in notes)
    if folder is None:
        typer.echo(f"---\n{text}", nl=False)
        return is_tested
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / safe_file_name(draft)
    try:
        with target.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        note = Note(draft.line, f"{target} is there already; move it away or import elsewhere")
        _say(file, (note,), "not written", "red")
        return False
    stderr.print(f"{escape(str(target))} written", style="green", highlight=False)
    if not is_tested:
        missing = Note(draft.line, f"{target} lacks tests: `hindcast rules check` refuses it as it is")
        _say(file, (missing,), "unfinished", "red")
    return is_tested


def _say(file: Path, notes: tuple[Note, ...], word: str, style: str) -> None:
    for note in notes:
        stderr.print(
            f"{escape(str(file))}:{note.line}: [{style}]{word}[/] {escape(visible(note.text, 2_000))}",
            highlight=False,
            soft_wrap=True,
        )


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_BYTES:
        raise typer.BadParameter(f"{file} has {file.stat().st_size} bytes; a file to import has at most {MAX_BYTES}")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is no UTF-8 at byte {error.start}") from None


def _decisions(
    owner: str, severity: str, group_by: list[str], gap: str, within: str, polarity: str, entity: str, sessions: bool
) -> Decisions:
    for given, known, name in (
        (severity, ("", *SEVERITIES), "--severity"),
        (polarity, ("", "assert", "detect"), "--polarity"),
        (entity, ("log", "span"), "--entity"),
    ):
        if given not in known:
            raise typer.BadParameter(f"`{given}` is none of {', '.join(filter(None, known))}", param_hint=name)
    if bool(group_by) != bool(gap):
        raise typer.BadParameter("--group-by and --gap come together")
    return Decisions(
        owner=owner,
        severity=severity,
        group_by=tuple(group_by),
        gap_ns=_duration(gap, "--gap"),
        within_ns=_duration(within, "--within"),
        polarity=cast("Literal['assert', 'detect', '']", polarity),
        entity=cast("Literal['log', 'span']", entity),
        sessions=sessions,
    )


def _duration(text: str, option: str) -> int:
    try:
        return parse_duration(text) if text else 0
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
