"""What is going to be compared, said before anybody looks: the model of `data/comparisons.yml` and its hash.

The comparison itself is `significance.py`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, field_validator, model_validator

from dagster_project.policy.document import StrictModel, read_document
from dagster_project.policy.policy import ClockName


def _as_utc(value: datetime) -> datetime:
    """UTC without a zone: how the warehouse keeps every time."""
    return value.astimezone(UTC).replace(tzinfo=None)


UtcTime = Annotated[AwareDatetime, AfterValidator(_as_utc)]
Wanted = Annotated[tuple[str, ...], Field(min_length=1)]


class Side(StrEnum):
    """Which part of the period an arm takes."""

    BEFORE = "before"
    AFTER = "after"
    WHOLE = "whole"


class Filter(StrictModel):
    """Incidents whose column is one of the listed values; several columns must all fit."""

    system: Wanted | None = None
    severity: Wanted | None = None
    service: Wanted | None = None
    team: Wanted | None = None
    category: Wanted | None = None
    method: Wanted | None = None

    def given(self) -> dict[str, tuple[str, ...]]:
        """The columns that the filter speaks of."""
        return {name: value for name, value in self if value is not None}


class Exclusion(StrictModel):
    """Incidents left out of both arms, and why; the reason is printed with the result."""

    where: Filter
    reason: str = Field(min_length=1)

    @field_validator("where")
    @classmethod
    def _not_everything(cls, where: Filter) -> Filter:
        if not where.given():
            raise ValueError("an exclusion without a column would leave out everything: name one")
        return where


class ArmPlan(StrictModel):
    """One side of a comparison."""

    label: str = Field(min_length=1, max_length=60)
    where: Filter = Filter()
    side: Side = Side.WHOLE
    clock: ClockName | None = Field(default=None, description="Only when it differs from the plan's.")


class ComparisonPlan(StrictModel):
    """A comparison of two arms. Changing any of it changes its hash.

    Thresholds have the defaults of the protocol; a plan that needs others says so where a reader sees it.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")
    question: str = Field(min_length=1)
    clock: ClockName = ClockName.RESOLVE
    where: Filter = Filter()
    starts_at: UtcTime | None = None
    ends_at: UtcTime | None = Field(default=None, description="Exclusive.")
    cut_over_at: UtcTime | None = None
    baseline: ArmPlan
    candidate: ArmPlan
    exclusions: tuple[Exclusion, ...] = ()
    caveats: tuple[str, ...] = Field(default=(), description="What the analyst knows and the data does not show.")
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    smallest_effect: float = Field(default=0.1, gt=0, lt=1, description="Smallest cut worth having, 0.1 for 10 %.")
    clock_resolution_seconds: float | None = Field(
        default=None, gt=0, description="Step of the clock; a duration of zero then counts as half a step."
    )
    max_missing_share: float = Field(default=0.05, ge=0, lt=1)
    max_open_share: float = Field(default=0.2, ge=0, lt=1)
    min_mix_overlap: float = Field(default=0.5, ge=0, le=1)
    permutations: int = Field(default=9_999, ge=999, le=99_999)
    seed: int = Field(default=20_260_101, ge=0)

    @model_validator(mode="after")
    def _sides_fit(self) -> ComparisonPlan:
        sides = {self.baseline.side, self.candidate.side}
        if self.cut_over_at is None and sides != {Side.WHOLE}:
            raise ValueError("an arm is `before` or `after`, but there is no `cut_over_at`: give the time")
        if self.cut_over_at is not None and sides == {Side.WHOLE}:
            raise ValueError("there is a `cut_over_at`, but no arm has `side: before` or `side: after`")
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("`starts_at` is not before `ends_at`")
        return self

    @property
    def sha256(self) -> str:
        """Hash of everything the plan says, defaults included: of sorted, compact JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class ComparisonPlans(StrictModel):
    """All of `data/comparisons.yml`."""

    comparisons: tuple[ComparisonPlan, ...] = ()

    @field_validator("comparisons")
    @classmethod
    def _ids_once(cls, comparisons: tuple[ComparisonPlan, ...]) -> tuple[ComparisonPlan, ...]:
        ids = [each.id for each in comparisons]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"comparison ids given twice: {repeated}")
        return comparisons


def load_plans(path: Path) -> ComparisonPlans:
    """The comparisons of a project.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return read_document(path, ComparisonPlans)
