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
            When there is none; names the nearest.
        """
        found = [rule for rule in self.rules if rule.domain == domain and rule.status != "retired"]
        if not found:
            hint = did_you_mean(domain, (rule.domain for rule in self.rules))
            raise typer.BadParameter(
                f"no rule is of the domain `{domain}`; {hint or '`hindcast rules list` shows all'}"
            )
        return found


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
) -> tuple[Rule, ...]:
    """The rules that are asked for, each once, in the order in which they were named; warns of other files' mistakes.

    Raises
    ------
    typer.BadParameter
        When nothing or two kinds of things are named.
    RuleErrors
        When a rule that is asked for is broken.
    """
    if expression is not None:
        if rule_ids or domains or is_all:
            raise typer.BadParameter("a rule that is typed with -e is asked alone")
        return (typed(expression),)
    if not (rule_ids or domains or is_all):
        raise typer.BadParameter("name a rule with --rule, a --domain or --all, or type a rule with -e")
    loaded = load(project)
    found = [loaded.named(rule_id) for rule_id in rule_ids]
    found += [rule for domain in domains for rule in loaded.of_domain(domain)]
    found += [rule for rule in loaded.rules if is_all and rule.status != "retired"]
    _warn(loaded.broken)
    return tuple({rule.path: rule for rule in found}.values())


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


def _warn(broken: dict[str, tuple[RuleError, ...]]) -> None:
    for path, errors in broken.items():
        more = f" and {counted(len(errors) - 1, 'mistake')} more" if len(errors) > 1 else ""
        stderr.print(
            f"left out: {path}:{errors[0].line}:{errors[0].column}: {errors[0].message}{more}",
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
