"""`hindcast query`: rules over what is published, now; rules of the catalogue or one typed in line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import duckdb
import typer
from rich.status import Status

from dagster_project.cli import INTERRUPTED, TIMED_OUT, asked, exports
from dagster_project.cli.options import (
    DEFAULT_TIMEOUT,
    GenerationOption,
    ProjectOption,
    QueryMemoryOption,
    TimeoutOption,
)
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.replay import formats, occurrence, running
from dagster_project.replay.fused import Shared
from dagster_project.replay.query import Replay, ReplayFailed, compared, replay, together
from dagster_project.replay.totals import received
from dagster_project.replay.window import Window, parse_window
from dagster_project.rule_language import Rule
from dagster_project.settings import Project, find_project
from dagster_project.warehouse import generations
from dagster_project.warehouse.generations import Generation
from dagster_project.wording import counted, percent, utc

T = TypeVar("T")
MOST_PAGES = 200
EXIT_CODES = (
    "Exit codes: 0 no violation; 1 violations; 2 a rule, an option or a replay failed; 124 stopped by --timeout; "
    "130 interrupted."
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog='[bold]Examples:[/] hindcast query --rule payment-idempotency --start "90 days ago"\n\n'
        "hindcast query -e 'when: any(span(status = error))  always: none(log(severity >= fatal))'\n\n"
        'hindcast query --rule payment-idempotency --start "30 days ago" --compare-with "120 days ago..90 days ago"\n\n'
        "hindcast query --rule no-unhandled-exception --format html --export scope/\n\n"
        "How a rule is run, and what several share: hindcast rules explain ID [ID …]\n\n" + EXIT_CODES
    )(query)


@dataclass(frozen=True)
class _Which:
    """The rules that are asked for."""

    rule_ids: tuple[str, ...]
    domains: tuple[str, ...]
    is_all: bool
    expression: str | None


@dataclass(frozen=True)
class _Options:
    """The options of the command."""

    which: _Which
    window: tuple[str | None, str | None]
    compare_with: tuple[str, ...]
    format: str
    export: Path | None
    pages: int
    timeout_seconds: float | None
    memory_limit: str | None
    generation: str | None
    project_dir: Path | None

    def file_format(self, export: Path, is_pack: bool) -> str:
        """The format of what is written to `export`: tables are for terminals, spreadsheets read CSV."""
        return "csv" if self.format == "table" and (is_pack or not export.suffix) else self.format


@dataclass(frozen=True)
class _Question:
    """What is asked of each rule, and over what."""

    options: _Options
    project: Project
    generation: Generation
    connection: duckdb.DuckDBPyConnection
    window: Window
    comparisons: list[tuple[str, Window]]

    def exporter(self, format_: str) -> exports.Exporter:
        """What writes answers to files of this format."""
        return exports.Exporter(format_, self.options.pages, self.project, self.connection, self.generation)


def query(
    rule_ids: Annotated[
        list[str] | None,
        typer.Option("--rule", help="Id of a rule of the project; may be repeated.", show_default=False),
    ] = None,
    expression: Annotated[
        str | None, typer.Option("-e", "--expression", help="A rule typed in line, as YAML.", show_default=False)
    ] = None,
    domains: Annotated[
        list[str] | None, typer.Option("--domain", help="All rules of a folder of rules/.", show_default=False)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All rules of the project.")] = False,
    start: Annotated[
        str | None,
        typer.Option(help="Scopes that begin from here on: '90 days ago', a date, a time.", show_default=False),
    ] = None,
    end: Annotated[str | None, typer.Option(help="Scopes that begin before: 'now', …", show_default=False)] = None,
    compare_with: Annotated[
        list[str] | None,
        typer.Option(
            help="Replay it over another window, too: '120 days ago..90 days ago', or the id of an incident.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(formats.FORMATS)}.")] = "table",
    export: Annotated[
        Path | None,
        typer.Option(help="Write to this file; a folder for html and for several rules.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Pages of single violations that html has at most.")] = MOST_PAGES,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    memory_limit: QueryMemoryOption = None,
    generation: GenerationOption = None,
    project_dir: ProjectOption = None,
) -> None:
    """Replay rules over the published telemetry. Exit code 1 when one is violated. Never waits for a writer."""
    try:
        code = _asked(
            _Options(
                which=_Which(tuple(rule_ids or ()), tuple(domains or ()), all_, expression),
                window=(start, end),
                compare_with=tuple(compare_with or ()),
                format=_format(format_, export),
                export=export,
                pages=limit,
                timeout_seconds=asked.seconds(timeout),
                memory_limit=memory_limit,
                generation=generation,
                project_dir=project_dir,
            )
        )
    except KeyboardInterrupt:
        stderr.print("interrupted: nothing was written", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


def _asked(options: _Options) -> int:
    now = datetime.now(UTC)
    window = parse_window(*options.window, now)
    project = find_project(options.project_dir)
    which = options.which
    chosen = asked.chosen(project, which.rule_ids, which.domains, which.is_all, which.expression)
    rules = chosen.rules
    is_pack = len(rules) > 1 or bool(which.domains) or which.is_all
    if options.export is not None:
        exports.require_places(options.export, options.file_format(options.export, is_pack), rules if is_pack else None)
    generation = generations.find(project.generations_dir, options.generation)
    with generations.open_generation(generation) as connection, running.limited(connection, options.memory_limit):
        others = asked.windows(connection, options.compare_with, now)
        question = _Question(options, project, generation, connection, window, others)
        code = _pack(question, chosen) if is_pack else _one(question, rules[0])
    as_of = f", as of {utc(generation.as_of)}" if generation.as_of else ""
    stderr.print(f"generation {generation.id}{as_of}", style="dim", highlight=False, soft_wrap=True)
    return code


def _format(format_: str, export: Path | None) -> str:
    formats.require_known(format_)
    if export is None and format_ in {"html", "parquet"}:
        formats.refuse_without_file(format_)
    return formats.format_of(export) if format_ == "table" and export is not None and export.suffix else format_


def _one(question: _Question, rule: Rule) -> int:
    """One rule: its answer, as it was asked for."""
    try:
        is_investigated = question.options.format in {"table", "json", "html"}
        answer, complaints = _answered(question, rule, with_investigation=is_investigated)
        for complaint in complaints:
            stderr.print(f"{rule.id}: {complaint}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        if question.options.export is not None:
            export = question.options.export
            exporter = question.exporter(question.options.file_format(export, is_pack=False))
            _write(question, exporter, partial(exporter.write, answer, export))
            stderr.print(
                f"{counted(answer.certificate.violated, 'violation')} in {question.options.export}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
        elif question.options.format == "table":
            stdout.print(formats.as_table(answer, stdout.width, is_all_found=not complaints))
        else:
            # Not through rich: a pipe gets the text as it is.
            typer.echo(formats.render(answer, question.options.format), nl=False)
    except running.TimedOut as stopped:
        _complain(_stopped(question, rule, stopped))
        return TIMED_OUT
    return 1 if answer.certificate.violated else 0


def _pack(question: _Question, chosen: asked.Chosen) -> int:
    """Several rules: a line each, and a file each in the folder that was named. One that fails stops itself."""
    options = question.options
    if options.export is None:
        if options.format != "table":
            raise formats.FormatNotSupported("several rules are exported to a folder: name it with `--export DIR`")
        found = _judged(question, chosen, None, None)
    else:
        exporter = question.exporter(options.file_format(options.export, is_pack=True))
        with exports.folder_aside(options.export, exporter.format) as folder:
            found = _judged(question, chosen, exporter, folder)
            exporter.summarise(folder, found, question.window)
    stdout.print(formats.pack_table(found.answers, [(one.name, one.why) for one in found.failures], found.notes))
    if options.export is not None:
        stderr.print(f"{counted(len(found.answers), 'answer')} in {options.export}", highlight=False, soft_wrap=True)
    if found.failures:
        return 2
    return 1 if any(answer.certificate.violated for answer in found.answers) else 0


def _judged(
    question: _Question, chosen: asked.Chosen, exporter: exports.Exporter | None, folder: Path | None
) -> exports.Pack:
    """What came of each rule; its answer is written to the folder as soon as it is there."""
    rules = chosen.rules
    answers: list[Replay] = []
    failures = [exports.Failed(path, why, is_stopped=False) for path, why in chosen.unread.items()]
    notes: dict[str, list[str]] = {}
    is_investigated = exporter is not None and exporter.format in {"json", "html"}
    with _together(question, rules) as shared:
        for rule in rules:
            try:
                answer, complaints = _answered(question, rule, with_investigation=is_investigated, shared=shared)
                if exporter is not None and folder is not None:
                    _write(question, exporter, partial(exporter.write_of_several, answer, folder))
            except running.TimedOut as stopped:
                failures.append(exports.Failed(rule, _stopped(question, rule, stopped), is_stopped=True))
            except ReplayFailed as failed:
                failures.append(exports.Failed(rule, str(failed), is_stopped=False))
            else:
                answers.append(answer)
                notes[rule.id] = complaints
    return exports.Pack(answers, failures, notes)


@contextmanager
def _together(question: _Question, rules: Sequence[Rule]) -> Iterator[Shared | None]:
    """What the rules share; None when reading it takes longer than any of them may."""
    with ExitStack() as stack:
        shared = None
        try:
            shared = _watched(
                question,
                "reading what the rules share",
                lambda: stack.enter_context(together(question.connection, rules, question.window)),
            )
        except running.TimedOut as stopped:
            stderr.print(
                f"what the rules share was not read in {stopped.seconds:.3g} s (--timeout): each is judged alone",
                style="yellow", highlight=False, soft_wrap=True,
            )  # fmt: skip
        yield shared


def _answered(
    question: _Question, rule: Rule, *, with_investigation: bool, shared: Shared | None = None
) -> tuple[Replay, list[str]]:
    """The answer, with its comparisons, and a sentence for each thing that the rule names and nobody sent."""

    def work() -> tuple[Replay, list[str]]:
        is_shown = question.options.format == "table" and question.options.export is None
        answer = replay(
            question.connection,
            rule,
            question.window,
            with_investigation=with_investigation,
            most_rows=formats.SHOWN_ROWS if is_shown else None,
            shared=shared,
        )
        answer = compared(question.connection, answer, question.comparisons)
        spans = answer.certificate.spans_scanned
        return answer, occurrence.complaints(question.connection, rule, question.window, spans)

    return _watched(question, f"replaying {rule.id}", work)


def _watched(question: _Question, doing: str, work: Callable[[], T]) -> T:
    with stderr.status(doing) as status:
        return running.run(
            question.connection,
            work,
            timeout_seconds=question.options.timeout_seconds,
            listener=_telling(status, doing),
        )


def _write(question: _Question, exporter: exports.Exporter, work: Callable[[], None]) -> None:
    if exporter.format == "html":
        _watched(question, "writing pages", work)  # it asks the engine for every page
    else:
        work()


def _telling(status: Status, doing: str) -> running.Listener:
    def listener(seconds: float, share: float | None) -> None:
        read = "" if share is None else f", {percent(share)} of this step"
        status.update(f"{doing}: {seconds:.0f} s{read}")

    return listener


def _stopped(question: _Question, rule: Rule, stopped: running.TimedOut) -> str:
    """What is known of a rule that was stopped: how far the engine had come, and in how much."""
    there = received(question.connection, question.window)
    come = "" if stopped.share is None else f" at about {percent(stopped.share)} of its current step,"
    return (
        f"{rule.id}: stopped after {stopped.seconds:.3g} s (--timeout),{come} over {there['spans']:,} spans and"
        f" {there['logs']:,} log records of {there['traces']:,} traces on"
        f" {counted(there['days'], 'day')}; nothing of it is judged. "
        "Narrow the window with --start and --end, or give it more time (--timeout 1h; 0: all it takes)"
    )


def _complain(sentence: str) -> None:
    stderr.print(sentence, style="bold red", highlight=False, markup=False, soft_wrap=True)
