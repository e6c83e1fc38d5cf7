"""What an estimate of return on investment assumes: the model of `data/roi.yml`. The arithmetic is `lines.py`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date as Date  # noqa: N812 - a field is called date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from dagster_project.policy.document import StrictModel, read_document
from dagster_project.statistics.roi import units

LARGEST = 1e15
"""No amount, count or hour of a company is larger; products of a handful of such numbers are still finite."""


class Confidence(StrEnum):
    """How an input is known. The last two are not support: pages mark them in red."""

    MEASURED = "measured"
    PUBLISHED = "published"
    ESTIMATED = "estimated"
    CLAIMED = "claimed"
    UNSUPPORTED = "unsupported"


class Effect(StrictModel):
    """A ratio between the arms of a comparison that an input takes its effect from: candidate over baseline.

    What is left after (`hours_after`, `cost_after`) is what was before times the ratio; what is saved or avoided is the
    value times (1 - ratio). Two inputs that name the same comparison and measure are drawn together, for there is one
    effect.
    """

    comparison: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$", description="Id in `data/comparisons.yml`.")
    measure: Literal["duration", "frequency"] = "duration"

    @property
    def id(self) -> str:
        """Name of the effect among the drivers of an estimate."""
        return f"effect.{self.comparison}.{self.measure}"


class Input(StrictModel):
    """One number and where it comes from."""

    value: float = Field(ge=0, le=LARGEST, description="With an effect: what the effect acts on.")
    unit: str = Field(
        min_length=1, max_length=60, description='"USD/year", "hours/incident", "share", ...; none is converted.'
    )
    source: str = Field(min_length=1)
    date: Date | None = Field(description="Day the figure is of; null when its source gives none.")
    confidence: Confidence
    low: float | None = Field(default=None, ge=0, le=LARGEST, description="Lower end of what is plausible.")
    high: float | None = Field(default=None, ge=0, le=LARGEST)
    effect: Effect | None = None

    @model_validator(mode="after")
    def _range_holds_the_value(self) -> Input:
        low, high = self.ends
        if not low <= self.value <= high:
            raise ValueError(f"the value {self.value:g} lies outside its range {low:g} to {high:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The range; an end that is not given is the value."""
        return (
            self.value if self.low is None else self.low,
            self.value if self.high is None else self.high,
        )

    @property
    def has_range(self) -> bool:
        low, high = self.ends
        return low < high

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
    """Downtime valued by the minute: lost gross profit, not revenue, and what standing still costs besides.

    Recovery labour is hands that restore a service; hours of investigation are the labour line's.
    """

    method: Literal["per_minute"]
    minutes_saved: Input
    gross_profit_per_minute: Input
    idle_cost_per_minute: Input | None = None
    recovery_labour_per_minute: Input | None = None
    credits_per_minute: Input | None = None


class DowntimePerUser(StrictModel):
    """The formula that many guides print: affected users x minutes x revenue per user and minute.

    It is revenue, and says so on its line, unless `gross_margin` makes gross profit of it.
    """

    method: Literal["affected_users"]
    affected_users: Input
    minutes_saved: Input
    revenue_per_user_minute: Input
    gross_margin: Input | None = None
    idle_cost_per_minute: Input | None = None
    recovery_labour_per_minute: Input | None = None
    credits_per_minute: Input | None = None


class DowntimePerIncident(StrictModel):
    """Downtime valued by the incident, as sources that do not count minutes give it."""

    method: Literal["per_incident"]
    cost_before: Input
    cost_after: Input
    includes_labour: bool = Field(description="True takes the labour line's hours out, so that none counts twice.")


Downtime = Annotated[DowntimePerMinute | DowntimePerUser | DowntimePerIncident, Field(discriminator="method")]


class AvoidedIncidents(StrictModel):
    """Incidents that no longer happen. They save their whole cost here and therefore no hours elsewhere."""

    share_avoided: Input
    cost_per_incident: Input


class AuditHours(StrictModel):
    """Hours of collecting evidence saved."""

    audits_per_year: Input
    hours_saved: Input
    hourly_cost: Input


class StatedReturn(StrictModel):
    """The return that a source states of itself, and the yearly sums that it divided, where it shows them."""

    ratio: Input
    yearly_benefits: Input | None = None
    yearly_costs: Input | None = None


MONEY = re.compile(r"(amount|hourly_cost|\w+_per_minute|\w+_per_user_minute|cost_\w+|yearly_\w+)$")
SHARES = re.compile(r"(share_avoided|gross_margin)$")
EFFECTS = re.compile(r"(hours_after|minutes_saved|cost_after|share_avoided|hours_saved)$")


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
    avoided_downtime: Downtime | None = None
    avoided_incidents: AvoidedIncidents | None = None
    audit_hours: AuditHours | None = None
    transfers: tuple[Amount, ...] = Field(default=(), description="Money that changes hands: listed, never credited.")
    stated_return: StatedReturn | None = None
    draws: int = Field(default=10_000, ge=100, le=1_000_000)
    seed: int = Field(default=20_260_101, ge=0, le=2**63 - 1)
    caveats: tuple[str, ...] = ()

    def inputs(self) -> Iterator[tuple[str, Input]]:
        """Every input under its dotted name, in the order of the file's model."""
        yield from _inputs("", self)

    @property
    def sha256(self) -> str:
        """Hash of everything the plan says, defaults included: of sorted, compact JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="after")
    def _one_currency(self) -> RoiPlan:
        for name, each in self.inputs():
            found = re.match(r"[A-Z]{3}\b", each.unit)
            if found and found[0] != self.currency:
                raise ValueError(
                    f"{name} is in {found[0]}, the estimate in {self.currency}: convert it and say the rate"
                )
            if MONEY.search(name) and not found:
                raise ValueError(f"{name} is money: begin its unit with {self.currency} (found {each.unit!r})")
        return self

    @model_validator(mode="after")
    def _units_are_those_of_the_arithmetic(self) -> RoiPlan:
        paid_once = {f"{group}.{each.id}.amount" for group, each in self._amounts() if each.timing == "one_time"}
        for name, each in self.inputs():
            if problem := units.problem_of(name, each.unit, self.currency, is_once=name in paid_once):
                raise ValueError(problem)
        return self

    def _amounts(self) -> Iterator[tuple[str, Amount]]:
        yield from (("costs", each) for each in self.costs)
        yield from (("transfers", each) for each in self.transfers)

    @model_validator(mode="after")
    def _shares_are_shares(self) -> RoiPlan:
        for name, each in self.inputs():
            if SHARES.search(name) and each.ends[1] > 1:
                raise ValueError(f"{name}: {each.ends[1]:g} is more than all: give a share between 0 and 1")
        return self

    @model_validator(mode="after")
    def _effects_act_on_what_changes(self) -> RoiPlan:
        inputs = dict(self.inputs())
        for name, each in inputs.items():
            if each.effect is not None and not EFFECTS.search(name):
                raise ValueError(
                    f"{name} takes no effect: hours_after, minutes_saved, cost_after, share_avoided and hours_saved do"
                )
            before = inputs.get(before_of(name) or "")
            if each.effect is not None and before is not None and (each.has_range or each.value != before.value):
                raise ValueError(
                    f"{name} is {before_of(name)} times its effect: give it the same value ({before.value:g}), no range"
                )
        return self

    @model_validator(mode="after")
    def _line_ids_once(self) -> RoiPlan:
        ids = [each.id for each in (*self.costs, *self.transfers)]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"line ids given twice: {repeated}")
        return self


def before_of(name: str) -> str | None:
    """The input that one of what is left after stands against; None for any other."""
    return f"{name.removesuffix('_after')}_before" if name.endswith("_after") else None


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
