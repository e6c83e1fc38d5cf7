"""The model of `data/policy.yml`, and the variables that the dbt models take from it.

Clocks are named here because comparisons choose one; what each measures, `fct_incidents` says.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from dagster_project.policy.document import StrictModel, read_document

# Whole numbers, because they become SQL intervals. A month is as far as a window can reach and still be one incident's.
Minutes = Annotated[int, Field(strict=True, ge=0, le=31 * 24 * 60)]
Hours = Annotated[int, Field(strict=True, ge=1, le=31 * 24)]

DbtVar = int | list[str] | dict[str, list[str]]


class ClockName(StrEnum):
    """The five clocks of an incident. Each ends at a column of `fct_incidents` and begins at its `started_at`."""

    DETECT = "detect"
    ACKNOWLEDGE = "acknowledge"
    MITIGATE = "mitigate"
    RESOLVE = "resolve"
    CLOSE = "close"


class Level(StrEnum):
    """Severities as the models know them, the worst first."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"


class System(StrEnum):
    """Where incidents come from: `system` of `fct_incidents`."""

    INCIDENTS = "incidents"
    PAGERDUTY = "pagerduty"
    SERVICENOW = "servicenow"


class Severity(StrictModel):
    """One severity and the words for it."""

    title: str = Field(min_length=1, description="For readers of the file.")
    aliases: tuple[Annotated[str, Field(min_length=1)], ...] = Field(description="How ticket systems spell it.")


class IncidentWindow(StrictModel):
    """How far around an incident its telemetry is looked at."""

    lead_minutes: Minutes = Field(description="Before the start: a cause precedes the ticket.")
    open_incident_hours: Hours = Field(description="After the start, while an incident is not resolved.")
    deploy_lookback_hours: Hours = Field(description="Before the start, for deploys.")


class Policy(StrictModel):
    """All of `data/policy.yml`."""

    severities: dict[Level, Severity]
    incident_window: IncidentWindow
    telemetry_systems: tuple[System, ...] = Field(min_length=1)

    @field_validator("severities")
    @classmethod
    def _aliases_once(cls, severities: dict[Level, Severity]) -> dict[Level, Severity]:
        seen: dict[str, Level] = {}
        for level, severity in severities.items():
            for alias in severity.aliases:
                if (other := seen.setdefault(_folded(alias), level)) != level:
                    raise ValueError(f"{alias!r} names both {other} and {level}: give it to one")
        return severities


def load_policy(path: Path) -> Policy:
    """The policy of a project.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return read_document(path, Policy)


def dbt_vars(policy: Policy) -> dict[str, DbtVar]:
    """The policy as variables of the dbt project, whose own values for these are defaults.

    Returns
    -------
    dict
        `severity_aliases` (level to lower-case spellings), `incident_lead_minutes`, `open_incident_hours`,
        `deploy_lookback_hours` and `telemetry_systems`; all of it is JSON.
    """
    window = policy.incident_window
    return {
        "severity_aliases": {
            str(level): [_folded(alias) for alias in severity.aliases] for level, severity in policy.severities.items()
        },
        "incident_lead_minutes": window.lead_minutes,
        "open_incident_hours": window.open_incident_hours,
        "deploy_lookback_hours": window.deploy_lookback_hours,
        "telemetry_systems": [str(system) for system in policy.telemetry_systems],
    }


def _folded(spelling: str) -> str:
    """As the models compare spellings: trimmed, in lower case."""
    return spelling.strip().lower()
