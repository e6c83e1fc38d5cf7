"""The answer of a gate as workflow commands of GitHub Actions: annotations at the rules' lines."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.gate.outcome import Outcome, Reviewed
from dagster_project.gate.selection import line_of
from dagster_project.gate.sentences import evidence, headline, is_failing, received, remarks, summary, title, why_broken
from dagster_project.rule_language import Rule

# GitHub shows ten annotations of a kind a step and drops the others without a word. Ours are its errors and warnings.
SHOWN_OF_A_KIND = 10


def render(outcome: Outcome) -> str:
    """One command a line."""
    return "".join(f"{line}\n" for line in _lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    errors = [
        _command("error", broken.rule, f"{broken.rule.id} could not be judged", why_broken(broken))
        for broken in outcome.broken
    ]
    errors += [
        _command("error", one.finding.rule, title(one.finding), _message(one))
        for one in outcome.reviewed
        if is_failing(one)
    ]
    warnings = [
        _command("warning", one.finding.rule, title(one.finding), _message(one))
        for one in outcome.reviewed
        if one.state == "shown"
    ]
    yield from _budgeted("error", errors)
    yield from _budgeted("warning", warnings)
    notes = "\n".join((summary(outcome), received(outcome), *remarks(outcome)))
    yield f"::notice title=hindcast gate::{_data(notes)}"


def _budgeted(kind: str, commands: list[str]) -> Iterator[str]:
    """What GitHub shows of a kind; where that is not all, the last one says how many more there are."""
    if len(commands) <= SHOWN_OF_A_KIND:
        yield from commands
        return
    yield from commands[: SHOWN_OF_A_KIND - 1]
    yield f"::{kind} title=hindcast gate::{len(commands) - SHOWN_OF_A_KIND + 1:,} more; --format json lists all"


def _message(one: Reviewed) -> str:
    parts = [headline(one), *(evidence(sample) for sample in one.finding.samples[:1]), one.remark]
    parts.append(f"fingerprint {one.finding.fingerprint}")
    return "\n".join(part for part in parts if part)


def _command(kind: str, rule: Rule, heading: str, message: str) -> str:
    place = f"file={_property(rule.path)},line={line_of(rule)},title={_property(heading)}"
    return f"::{kind} {place}::{_data(message)}"


def _data(text: str) -> str:
    """A message: what would end the line, or begin an escape, is escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A value before the message, where colons and commas part things."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
