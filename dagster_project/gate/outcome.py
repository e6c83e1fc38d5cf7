"""What a gate says in the end: which findings stop the pipeline, which are known, and the exit code.

How it is written down is the business of the `as_…` modules.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Literal

from dagster_project.gate.baseline import Accepted, Baseline
from dagster_project.gate.findings import Finding, Judged
from dagster_project.gate.telemetry import Telemetry
from dagster_project.rule_language import Rule
from dagster_project.rule_language.rule_file import SEVERITIES

FailOn = Literal["violated", "inconclusive"]
# new: stops the pipeline; known: accepted by the baseline; shown: of a shadow rule, of too low a severity, or
# inconclusive where that is allowed.
State = Literal["new", "known", "shown"]


class ExitCode(IntEnum):
    """What a pipeline reads. Anything but 0 stops it."""

    NOTHING_NEW = 0
    VIOLATED = 1
    BROKEN = 2  # a rule, an input, the baseline or the command line: the gate cannot vouch for anything
    NOTHING_TO_JUDGE = 3


@dataclass(frozen=True)
class Policy:
    """What stops a pipeline.

    Parameters
    ----------
    severity
        Rules of lower severity are shown and stop nothing.
    """

    fail_on: FailOn = "violated"
    severity: str = SEVERITIES[-1]
    allow_empty: bool = False

    def counts(self, rule: Rule) -> bool:
        """Whether a rule may stop the pipeline at all."""
        return rule.status != "shadow" and SEVERITIES.index(rule.severity) <= SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class Reviewed:
    """A finding with what the policy and the baseline say of it. `entry` also holds an acceptance that expired."""

    finding: Finding
    state: State
    entry: Accepted | None = None

    @property
    def remark(self) -> str:
        """Why it is known, or why it is not any more; empty when there is nothing to say."""
        if self.entry is None or self.state == "shown":
            return ""
        said = f"{self.entry.reason} ({self.entry.owner})"
        if self.state == "known":
            until = f" until {self.entry.expires}" if self.entry.expires else ""
            return f"accepted{until}: {said}"
        if self.entry.at_most is not None and self.finding.scopes > self.entry.at_most:
            return f"accepted for at most {self.entry.at_most}, found {self.finding.scopes}: {said}"
        return f"its acceptance expired on {self.entry.expires}: {said}"


@dataclass(frozen=True)
class Outcome:
    """Everything that a gate found."""

    telemetry: Telemetry
    judged: tuple[Judged, ...]
    reviewed: tuple[Reviewed, ...]
    stale: tuple[Accepted, ...]
    policy: Policy

    def of(self, rule: Rule) -> tuple[Reviewed, ...]:
        """The findings of one rule."""
        return tuple(one for one in self.reviewed if one.finding.rule is rule)

    @property
    def states(self) -> Counter[str]:
        """How many findings are new, known, shown."""
        return Counter(one.state for one in self.reviewed)

    @property
    def broken(self) -> tuple[Judged, ...]:
        return tuple(one for one in self.judged if one.error)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing that any rule could have been violated by."""
        return not self.telemetry.spans and not any(one.applied for one in self.judged)

    @property
    def exit_code(self) -> ExitCode:
        if self.broken:
            return ExitCode.BROKEN
        if self.states["new"]:
            return ExitCode.VIOLATED
        if self.is_empty and not self.policy.allow_empty:
            return ExitCode.NOTHING_TO_JUDGE
        return ExitCode.NOTHING_NEW


def review(
    telemetry: Telemetry, judged: tuple[Judged, ...], baseline: Baseline, policy: Policy, today: date
) -> Outcome:
    """Hold what was found against what is accepted."""
    reviewed = tuple(_reviewed(finding, baseline, policy, today) for one in judged for finding in one.findings)
    return Outcome(telemetry, judged, reviewed, baseline.stale(judged), policy)


def to_accept(outcome: Outcome) -> tuple[Finding, ...]:
    """What an update of the baseline accepts: all that would stop the pipeline, and what is accepted already."""
    return tuple(one.finding for one in outcome.reviewed if one.state in ("new", "known"))


def _reviewed(finding: Finding, baseline: Baseline, policy: Policy, today: date) -> Reviewed:
    entry = baseline.entry(finding)
    if not policy.counts(finding.rule) or (finding.verdict == "inconclusive" and policy.fail_on != "inconclusive"):
        return Reviewed(finding, "shown", entry)
    return Reviewed(finding, "known" if entry is not None and entry.covers(finding, today) else "new", entry)
