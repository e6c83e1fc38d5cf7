"""Which rules and windows a question is about: rules of the project by id or domain, all of them, or one typed in line.

A file that is broken stops only those who ask for its rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import duckdb
import typer

from dagster_project import rule_language
from dagster_project.cli.terminal import stderr
from dagster_project.replay.incident_windows import incident_ids, incident_window
from dagster_project.replay.window import Window, WindowError, parse_range
from dagster_project.rule_language import Rule, RuleError, RuleErrors
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.settings import Project
from dagster_project.transformation.prepare import rule_text
from dagster_project.wording import counted, did_you_mean, visible

# `when:` and the like; or a mapping in braces.
_BEGINS = re.compile(r"\s*(?:[a-z_]+\s*:|\{)")


@dataclass(frozen=True)
class Loaded:
    """The rules of a project that could be read, and the mistakes of the others by their file."""

    rules: tuple[Rule, ...]
    broken: dict[str, tuple[RuleError, ...]]

    def named(self, rule_id: str) -> Rule:
        """The rule of that id.

        Raises
        ------
        RuleErrors
            When its file is broken, or two files have the id.
        typer.BadParameter
            When there is none; names the nearest.
        """
        for path, errors in self.broken.items():
            if PurePosixPath(path).stem == rule_id:
                raise RuleErrors(errors)
        found = [rule for rule in self.rules if rule.id == rule_id]
        if len(found) > 1:
            raise RuleErrors([RuleError(found[1].path, 1, 1, f"the id `{rule_id}` is taken by {found[0].path}")])
        if found:
            return found[0]
        hint = did_you_mean(rule_id, (rule.id for rule in self.rules))
        raise typer.BadParameter(f"there is no rule `{rule_id}`; {hint or '`hindcast rules list` shows all'}")

    def of_domain(self, domain: str) -> list[Rule]:
        """The rules of a domain that are judged.

        Raises
        ------
        typer.BadParameter
            When it has no file; names the nearest.
        """
        found = [rule for rule in self.rules if rule.domain == domain and rule.status != "retired"]
        if not found and not self.broken_of([domain]):
            hint = did_you_mean(domain, (rule.domain for rule in self.rules))
            raise typer.BadParameter(
                f"no rule is of the domain `{domain}`; {hint or '`hindcast rules list` shows all'}"
            )
        return found

    def broken_of(self, domains: Sequence[str]) -> dict[str, tuple[RuleError, ...]]:
        """The files of these domains that could not be read."""
        return {path: errors for path, errors in self.broken.items() if PurePosixPath(path).parent.name in domains}


@dataclass(frozen=True)
class Chosen:
    """The rules to judge, and of files that were asked for and cannot be judged the reasons, by path."""

    rules: tuple[Rule, ...]
    unread: dict[str, str]


def load(project: Project) -> Loaded:
    """Read every rule of a project by itself."""
    rules: list[Rule] = []
    broken: dict[str, tuple[RuleError, ...]] = {}
    for file in sorted(project.rules_dir.rglob("*.yml")):
        path = file.relative_to(project.root).as_posix()
        try:
            rules.append(rule_language.read_rule(path, rule_text(file, path)))
        except RuleErrors as error:
            broken[path] = error.errors
    return Loaded(tuple(rules), broken)


def chosen(
    project: Project, rule_ids: Sequence[str], domains: Sequence[str], is_all: bool, expression: str | None
) -> Chosen:
    """What is asked for, each rule once, in the order in which they were named; says how many other files are broken.

    Raises
    ------
    typer.BadParameter
        When nothing or two kinds of things are named.
    RuleErrors
        When a rule that is asked for by its id is broken, or all files that are asked for.
    """
    if expression is not None:
        if rule_ids or domains or is_all:
            raise typer.BadParameter("a rule that is typed with -e is asked alone")
        return Chosen((typed(expression),), {})
    if not (rule_ids or domains or is_all):
        raise typer.BadParameter("name a rule with --rule, a --domain or --all, or type a rule with -e")
    loaded = load(project)
    found = [loaded.named(rule_id) for rule_id in rule_ids]
    found += [rule for domain in domains for rule in loaded.of_domain(domain)]
    found += [rule for rule in loaded.rules if is_all and rule.status != "retired"]
    broken = loaded.broken if is_all else loaded.broken_of(domains)
    _warn(len(loaded.broken) - len(broken))
    mistakes = {**broken, **_taken(found)}
    rules = {rule.path: rule for rule in found if rule.path not in mistakes}
    if mistakes and not rules:
        raise RuleErrors(error for errors in mistakes.values() for error in errors)
    return Chosen(tuple(rules.values()), {path: _reason(errors) for path, errors in mistakes.items()})


def typed(expression: str) -> Rule:
    """A rule typed in line; its mistakes are shown where they were typed.

    Raises
    ------
    RuleErrors
        With everything that is wrong with it.
    """
    try:
        return rule_language.read_inline(expression)
    except RuleErrors as errors:
        if _BEGINS.match(expression) is None:
            said = (
                "a condition alone is no rule",
                f"write `detect: {visible(expression, 80)}`, or `when: ... always: ...`",
            )
            raise RuleErrors([RuleError(errors.errors[0].path, 1, 1, *said, source=expression)]) from None
        raise RuleErrors(_as_typed(error, expression) for error in errors.errors) from None


def windows(connection: duckdb.DuckDBPyConnection, texts: Iterable[str], now: datetime) -> list[tuple[str, Window]]:
    """Other windows to compare with: `120 days ago..90 days ago`, or an incident.

    Raises
    ------
    WindowError
        When one is neither; names the nearest incident.
    """
    found = []
    for text in texts:
        if ".." in text:
            found.append((text, parse_range(text, now)))
            continue
        window = incident_window(connection, text)
        if window is None:
            hint = did_you_mean(text, incident_ids(connection))
            raise WindowError(
                f"`{text}` is no incident with a window, and no window such as `120 days ago..90 days ago`"
                + (f"; {hint}" if hint else "")
            )
        found.append((text, window))
    return found


def seconds(text: str) -> float | None:
    """What `--timeout` gives a rule; None: all it takes, asked for with 0.

    Raises
    ------
    typer.BadParameter
        When it is no duration.
    """
    if text.strip() == "0":
        return None
    try:
        return parse_duration(text.strip()) / 1e9 or None
    except ValueError as error:
        raise typer.BadParameter(f"--timeout: {error}; 0 is no limit") from None


def _taken(rules: Iterable[Rule]) -> dict[str, tuple[RuleError, ...]]:
    """The mistake of each file whose id another one has: an answer is told, and exported, under its id."""
    files: dict[str, dict[str, None]] = {}
    for rule in rules:
        files.setdefault(rule.id, {})[rule.path] = None
    return {
        path: (RuleError(path, 1, 1, f"the id `{rule_id}` is taken by {other}"),)
        for rule_id, paths in files.items()
        for path in paths
        for other in [one for one in paths if one != path][:1]
    }


def _reason(errors: Sequence[RuleError]) -> str:
    more = f" and {counted(len(errors) - 1, 'mistake')} more" if len(errors) > 1 else ""
    return f"line {errors[0].line}, column {errors[0].column}: {errors[0].message}{more}"


def _warn(broken: int) -> None:
    if broken:
        stderr.print(
            f"{counted(broken, 'rule file is', 'rule files are')} broken and not asked for: `hindcast rules check`",
            style="yellow", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _as_typed(error: RuleError, text: str) -> RuleError:
    """The mistake at its place in what was typed: it is read with one key a line, which nobody typed."""
    shown = error.source.strip()
    if not shown or text.count(shown) != 1:
        return error
    start = text.index(shown)
    place = start + max(0, error.column - 1 - (len(error.source) - len(error.source.lstrip())))
    begin = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[begin : end if end >= 0 else len(text)]
    return RuleError(error.path, text.count("\n", 0, place) + 1, place - begin + 1, error.message, error.hint, line)
