"""The names that a policy and the models share: clocks, severities, systems, meanings of a status. No settings."""

from __future__ import annotations

from enum import StrEnum


class ClockName(StrEnum):
    """The five clocks of an incident. Each begins with it; where each ends, `mart_incident_clocks` says."""

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
    JIRA = "jira"
    SERVICENOW = "servicenow"
    ALERTMANAGER = "alertmanager"
    CLOUDWATCH = "cloudwatch"


class Meaning(StrEnum):
    """What a status of a ticket means."""

    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
