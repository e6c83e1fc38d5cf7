"""Targets of a policy: response times, service levels, KPIs and their control charts, deliveries. Measures nothing.

Every target says what kind of source it has and which one: targets disagree, and a report names the one that it used.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from dagster_project.policy.document import StrictModel
from dagster_project.policy.vocabulary import ClockName, Level

TargetMinutes = Annotated[int, Field(strict=True, ge=1, le=366 * 24 * 60)]
Days = Annotated[int, Field(strict=True, ge=1, le=366)]
Share = Annotated[float, Field(ge=0, le=1)]
Severities = Annotated[tuple[Level, ...], Field(min_length=1)]


class Basis(StrEnum):
    """What kind of source a target has."""

    AGREEMENT = "agreement"
    OWN_MEASUREMENT = "own_measurement"
    PUBLISHED = "published"
    CONVENTION = "convention"
    ESTIMATE = "estimate"


class Statistic(StrEnum):
    """How durations of a period become one number. Only the median counts open incidents."""

    MEDIAN = "median"
    MEAN = "mean"
    GEOMETRIC_MEAN = "geometric_mean"


class Alike(StrEnum):
    """What two incidents have in common when one repeats the other."""

    SERVICE = "service_name"
    CATEGORY = "category"
    TEAM = "team"
    SEVERITY = "severity"


class Documented(StrEnum):
    """What an incident's record can be asked for."""

    SEVERITY = "severity"
    SERVICE = "service_name"
    TEAM = "team"
    CATEGORY = "category"
    RESOLUTION_METHOD = "resolution_method"
    STARTED = "started_at"
    DETECTED = "detected_at"
    ACKNOWLEDGED = "acknowledged_at"
    MITIGATED = "mitigated_at"
    RESOLVED = "resolved_at"
    CLOSED = "closed_at"


class Sourced(StrictModel):
    """Base of every target."""

    basis: Basis
    source: str = Field(min_length=1, max_length=200, description="Who says so; shown beside the target.")


class ResponseTargets(Sourced):
    """How long each clock may take, by severity."""

    required_share: Share = Field(description="Share of incidents that has to be in time.")
    minutes: dict[Level, dict[ClockName, TargetMinutes]]


class ServiceLevel(Sourced):
    """What is promised of a service."""

    availability_percent: float = Field(gt=0, le=100)


class ServiceLevels(StrictModel):
    """What is promised of all services, and in which windows it is counted."""

    window_days: Days
    counted_severities: Severities = Field(description="Incidents that count as downtime.")
    default: ServiceLevel
    services: dict[str, ServiceLevel] = Field(default_factory=dict, description="Services promised something else.")


class DurationKpi(Sourced):
    """Time to resolve or acknowledge."""

    target: TargetMinutes
    statistic: Statistic
    severities: Severities


class RepeatKpi(Sourced):
    """Share of incidents that repeat an earlier one."""

    target: Share
    within_days: Days
    same: tuple[Alike, ...] = Field(min_length=1)


class DocumentationKpi(Sourced):
    """Share of ended incidents whose record is complete."""

    target: Share
    fields: tuple[Documented, ...] = Field(min_length=1)


class ScoreKpi(Sourced):
    """Mean of the satisfaction that sources give."""

    target: float


class Control(StrictModel):
    """Control charts: how many periods set the limits, and below how many there are none."""

    baseline_periods: int = Field(strict=True, ge=2, le=120)
    minimum_periods: int = Field(strict=True, ge=2, le=120)

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if self.minimum_periods > self.baseline_periods:
            raise ValueError(
                f"minimum_periods {self.minimum_periods} is more than baseline_periods {self.baseline_periods}:"
                " no chart would ever have limits"
            )
        return self


class Kpis(StrictModel):
    """KPIs by week or month, each with its target."""

    period: Literal["week", "month"]
    control: Control
    mttr: DurationKpi
    mtta: DurationKpi
    repeat_incidents: RepeatKpi
    documentation_complete: DocumentationKpi
    satisfaction: ScoreKpi


class Delivery(StrictModel):
    """How deploys and rollbacks are counted."""

    bulk_rollback_services: int = Field(strict=True, ge=2, description="So many services in a day are one cause.")


class Targets(StrictModel):
    """The sections of a policy that set targets; the dbt project has its own values for those that are missing."""

    response_targets: ResponseTargets | None = None
    service_levels: ServiceLevels | None = None
    kpis: Kpis | None = None
    delivery: Delivery | None = None

    @field_validator("service_levels")
    @classmethod
    def _names_are_names(cls, levels: ServiceLevels | None) -> ServiceLevels | None:
        if levels and any(not name.strip() for name in levels.services):
            raise ValueError("a service without a name: write the one that its incidents have")
        return levels
