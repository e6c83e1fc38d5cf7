"""The model of `data/policy.yml`: severities, clocks, targets, windows around an incident, page links.

Routing, update cadence and notification clocks join this file when something sends messages.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from string import Formatter
from typing import Annotated

from pydantic import Field, HttpUrl, field_validator, model_validator

from dagster_project.policy.document import StrictModel, read_document

Minutes = Annotated[float, Field(gt=0, le=366 * 24 * 60)]


class ClockName(StrEnum):
    """The five clocks of an incident. Each is measured by a column `time_to_<name>_seconds` of `fct_incidents`."""

    DETECT = "detect"
    ACKNOWLEDGE = "acknowledge"
    MITIGATE = "mitigate"
    RESOLVE = "resolve"
    CLOSE = "close"


class Clock(StrictModel):
    """Which two events a duration lies between; two numbers from different clocks must not be compared."""

    starts: str = Field(min_length=1, description="Event that starts the clock.")
    ends: str = Field(min_length=1, description="Event that stops it.")
    abbreviation: str = Field(pattern=r"^MTT[A-Z]$", description="Name of its mean, e.g. MTTR.")


class Target(StrictModel):
    """A target with the place it comes from, because places disagree."""

    minutes: Minutes
    source: str = Field(min_length=1, description="Document and figure that sets it.")
    disagreement: str | None = Field(default=None, description="What other sources say, when they say otherwise.")


class Severity(StrictModel):
    """One severity: what it means and how soon somebody must respond."""

    title: str = Field(min_length=1)
    aliases: tuple[str, ...] = Field(default=(), description="How ticket systems spell it.")
    response: Target | None = Field(description="Time to the first response; null: only in business hours.")
    response_in_words: str = Field(min_length=1)
    resolve: Target | None = Field(default=None, description="Target of the resolve clock, when one is set.")


class IncidentWindow(StrictModel):
    """How far around an incident its telemetry is read."""

    lead_minutes: Minutes = Field(description="Before the start: a cause precedes the ticket.")
    lag_minutes: Minutes = Field(description="After the end.")
    open_incident_minutes: Minutes = Field(description="Length read after the start while an incident is open.")

    @property
    def lead(self) -> timedelta:
        return timedelta(minutes=self.lead_minutes)

    @property
    def lag(self) -> timedelta:
        return timedelta(minutes=self.lag_minutes)


class Links(StrictModel):
    """Templates of links on pages; null leaves the link out. A name in braces is filled in per row."""

    trace_url: str | None = None
    incident_url: str | None = None
    commit_url: str | None = None

    @field_validator("trace_url", "incident_url", "commit_url")
    @classmethod
    def _known_placeholders(cls, template: str | None) -> str | None:
        if template is None:
            return None
        try:
            names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        except ValueError as error:
            raise ValueError(f"not a template: {error}") from None
        if unknown := names - {"trace_id", "span_id", "incident_id", "commit"}:
            raise ValueError(
                f"unknown placeholder {sorted(unknown)}: use {{trace_id}}, {{span_id}}, {{incident_id}} or {{commit}}"
            )
        HttpUrl(template.replace("{", "").replace("}", ""))
        return template


class ServiceLevel(StrictModel):
    """The availability promise that error budgets are counted against."""

    availability: float = Field(gt=0, lt=1, description="Share of time, 0.999 for 99.9 %.")
    window_days: int = Field(gt=0, le=366)
    source: str = Field(min_length=1)

    @property
    def error_budget_minutes(self) -> float:
        """Minutes of downtime that the promise leaves in one window."""
        return (1 - self.availability) * self.window_days * 24 * 60


class Policy(StrictModel):
    """All of `data/policy.yml`."""

    severities: dict[str, Severity] = Field(min_length=1)
    clocks: dict[ClockName, Clock] = Field(min_length=1)
    targets: dict[ClockName, Target] = Field(default_factory=dict)
    incident_window: IncidentWindow
    service_level: ServiceLevel
    links: Links = Links()

    @field_validator("severities")
    @classmethod
    def _names_and_aliases_once(cls, severities: dict[str, Severity]) -> dict[str, Severity]:
        seen: dict[str, str] = {}
        for name, severity in severities.items():
            for spelling in {name, *severity.aliases}:
                folded = spelling.casefold()
                if folded in seen and seen[folded] != name:
                    raise ValueError(f"{spelling!r} names both {seen[folded]} and {name}: give it to one")
                seen[folded] = name
        return severities

    @model_validator(mode="after")
    def _targets_have_clocks(self) -> Policy:
        if missing := sorted(name.value for name in self.targets.keys() - self.clocks.keys()):
            raise ValueError(f"targets for clocks that are not defined: {missing}: add them under `clocks`")
        return self

    def severity_named(self, spelling: str) -> str | None:
        """The severity that a ticket system spells `spelling`; None when no name or alias fits."""
        folded = spelling.strip().casefold()
        for name, severity in self.severities.items():
            if folded == name.casefold() or folded in {alias.casefold() for alias in severity.aliases}:
                return name
        return None


def load_policy(path: Path) -> Policy:
    """The policy of a project.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return read_document(path, Policy)
