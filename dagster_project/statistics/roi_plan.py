"""What an estimate of return on investment assumes: the model of `data/roi.yml`. The arithmetic is `roi.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date as Date  # noqa: N812 - a field is called date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from dagster_project.policy.document import StrictModel, read_document


class Confidence(StrEnum):
    """How an input is known. The last two are not support: pages mark them in red."""

    MEASURED = "measured"
    PUBLISHED = "published"
    ESTIMATED = "estimated"
    CLAIMED = "claimed"
    UNSUPPORTED = "unsupported"


class Input(StrictModel):
    """One number and where it comes from."""

    value: float = Field(ge=0)
    unit: str = Field(min_length=1, description='"USD/year", "hours/incident", "share", ...')
    source: str = Field(min_length=1)
    date: Date | None = Field(description="Day the figure is of; null when its source gives none.")
    confidence: Confidence
    low: float | None = Field(default=None, ge=0, description="Lower end of what is plausible.")
    high: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _range_holds_the_value(self) -> Input:
        if not (self.low or 0) <= self.value <= (self.high if self.high is not None else self.value):
            raise ValueError(f"the value {self.value:g} lies outside its range {self.low} to {self.high}")
        return self

    @property
    def is_supported(self) -> bool:
        return self.confidence not in (Confidence.CLAIMED, Confidence.UNSUPPORTED)


Timing = Literal["one_time", "yearly"]
LineId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")]


class Amount(StrictModel):
    """Money paid once, before the first year, or in every year."""

    id: LineId
    label: str = Field(min_length=1)
    timing: Timing
    amount: Input


class Labour(StrictModel):
    """Hours of investigation saved on incidents that still happen."""

    hours_before: Input
    hours_after: Input
    hourly_cost: Input


class DowntimePerMinute(StrictModel):
    """Downtime valued by the minute: lost gross profit, not revenue, and what standing still costs besides."""

    method: Literal["per_minute"]
    minutes_saved: Input
    gross_profit_per_minute: Input
    idle_cost_per_minute: Input | None = None
    recovery_labour_per_minute: Input | None = None
    credits_per_minute: Input | None = None


class DowntimePerIncident(StrictModel):
    """Downtime valued by the incident, as sources that do not count minutes give it."""

    method: Literal["per_incident"]
    cost_before: Input
    cost_after: Input
    includes_labour: bool = Field(description="True takes the labour line's hours out, so that none counts twice.")


class AvoidedIncidents(StrictModel):
    """Incidents that no longer happen. They save their whole cost here and therefore no hours elsewhere."""

    share_avoided: Input
    cost_per_incident: Input

    @field_validator("share_avoided")
    @classmethod
    def _at_most_all(cls, share: Input) -> Input:
        if share.value > 1:
            raise ValueError(f"{share.value:g} is more than all incidents: give a share between 0 and 1")
        return share


class AuditHours(StrictModel):
    """Hours of collecting evidence saved."""

    audits_per_year: Input
    hours_saved: Input
    hourly_cost: Input


class RoiPlan(StrictModel):
    """One estimate."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")
    title: str = Field(min_length=1)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    years: int = Field(default=3, ge=1, le=10)
    discount_rate: float = Field(default=0.10, ge=0, lt=1)
    incidents_per_year: Input
    costs: tuple[Amount, ...] = Field(min_length=1)
    labour: Labour
    avoided_downtime: Annotated[DowntimePerMinute | DowntimePerIncident, Field(discriminator="method")] | None = None
    avoided_incidents: AvoidedIncidents | None = None
    audit_hours: AuditHours | None = None
    transfers: tuple[Amount, ...] = Field(default=(), description="Money that changes hands: listed, never credited.")
    stated_ratio: Input | None = Field(default=None, description="The return that the source itself states.")
    caveats: tuple[str, ...] = ()

    def inputs(self) -> Iterator[tuple[str, Input]]:
        """Every input under its dotted name, in the order of the file's model."""
        yield from _inputs("", self)

    @model_validator(mode="after")
    def _one_currency(self) -> RoiPlan:
        for name, each in self.inputs():
            found = re.match(r"[A-Z]{3}\b", each.unit)
            if found and found[0] != self.currency:
                raise ValueError(
                    f"{name} is in {found[0]}, the estimate in {self.currency}: convert it and say the rate"
                )
        return self

    @model_validator(mode="after")
    def _line_ids_once(self) -> RoiPlan:
        ids = [each.id for each in (*self.costs, *self.transfers)]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"line ids given twice: {repeated}")
        return self


def _inputs(prefix: str, node: object) -> Iterator[tuple[str, Input]]:
    if isinstance(node, Input):
        yield prefix, node
    elif isinstance(node, Amount):
        yield f"{prefix}.amount", node.amount
    elif isinstance(node, tuple):
        for each in node:
            if isinstance(each, Amount):
                yield from _inputs(f"{prefix}.{each.id}", each)
    elif isinstance(node, BaseModel):
        for name, value in node:
            yield from _inputs(f"{prefix}.{name}".lstrip("."), value)


class RoiPlans(StrictModel):
    """All of `data/roi.yml`."""

    estimates: tuple[RoiPlan, ...] = ()

    @field_validator("estimates")
    @classmethod
    def _ids_once(cls, estimates: tuple[RoiPlan, ...]) -> tuple[RoiPlan, ...]:
        ids = [each.id for each in estimates]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"estimate ids given twice: {repeated}")
        return estimates


def load_roi_plans(path: Path) -> RoiPlans:
    """The estimates of a project.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return read_document(path, RoiPlans)
