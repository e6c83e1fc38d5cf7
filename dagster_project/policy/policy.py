"""The model of `data/policy.yml`, and the variables that the dbt models take from it.

What targets a policy may set, `targets` says; the names that it shares with the models stand in `vocabulary`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from dagster_project.policy.document import StrictModel, read_document
from dagster_project.policy.targets import Targets
from dagster_project.policy.vocabulary import ClockName, Level, Meaning, System

__all__ = ["ClockName", "Level", "Meaning", "Policy", "System", "dbt_vars", "load_policy"]

# Whole numbers, because they become SQL intervals. A month is as far as a window can reach and still be one incident's.
Minutes = Annotated[int, Field(strict=True, ge=0, le=31 * 24 * 60)]
Hours = Annotated[int, Field(strict=True, ge=1, le=31 * 24)]

Spelling = Annotated[str, Field(min_length=1)]

DbtVar = int | list[str] | dict[str, Any]


class Severity(StrictModel):
    """One severity and the words for it."""

    title: str = Field(min_length=1, description="For readers of the file.")
    aliases: tuple[Spelling, ...] = Field(description="How ticket systems spell it.")


class IncidentWindow(StrictModel):
    """How far around an incident its telemetry is looked at."""

    lead_minutes: Minutes = Field(description="Before the start: a cause precedes the ticket.")
    open_incident_hours: Hours = Field(description="After the start, while an incident is not resolved.")
    deploy_lookback_hours: Hours = Field(description="Before the start, for deploys.")


class Policy(Targets):
    """All of `data/policy.yml`."""

    severities: dict[Level, Severity]
    incident_window: IncidentWindow
    telemetry_systems: tuple[System, ...] = Field(min_length=1)
    ticket_statuses: dict[Meaning, tuple[Spelling, ...]] | None = Field(
        default=None, description="None: as the dbt project has them."
    )
    trace_link: str | None = Field(
        default=None, description="Address of a trace in the tracing tool, with {trace_id}; None: pages have no link."
    )

    @field_validator("trace_link")
    @classmethod
    def _is_address(cls, link: str | None) -> str | None:
        if link is None:
            return None
        if re.fullmatch(r"https?://[^\s{}\"'<>\\]+\{trace_id\}[^\s{}\"'<>\\]*", link) is None:
            raise ValueError(
                f"{link!r} is no address of a trace: write one such as https://jaeger.example/trace/{{trace_id}}"
            )
        return link

    @field_validator("severities")
    @classmethod
    def _aliases_once(cls, severities: dict[Level, Severity]) -> dict[Level, Severity]:
        _check_once({level: severity.aliases for level, severity in severities.items()})
        return severities

    @field_validator("ticket_statuses")
    @classmethod
    def _statuses_once(
        cls, statuses: dict[Meaning, tuple[Spelling, ...]] | None
    ) -> dict[Meaning, tuple[Spelling, ...]] | None:
        _check_once(statuses or {})
        return statuses


def _check_once(spellings: Mapping[Any, Sequence[str]]) -> None:
    seen: dict[str, str] = {}
    for name, each in spellings.items():
        for spelling in each:
            if (other := seen.setdefault(_folded(spelling), name)) != name:
                raise ValueError(f"{spelling!r} names both {other} and {name}: give it to one")


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
        `deploy_lookback_hours`, `telemetry_systems` and, when the policy has them, `ticket_statuses` (meaning to
        lower-case spellings) and the sections of `Targets`; all of it is JSON.
    """
    window = policy.incident_window
    statuses: dict[str, DbtVar] = {}
    if policy.ticket_statuses is not None:
        statuses["ticket_statuses"] = {
            str(meaning): [_folded(each) for each in spellings] for meaning, spellings in policy.ticket_statuses.items()
        }
    targets = {
        name: section.model_dump(mode="json") for name in Targets.model_fields if (section := getattr(policy, name))
    }
    return {
        **statuses,
        **targets,
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
