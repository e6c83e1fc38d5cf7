"""What is going to be compared, said before anybody looks: the model of `data/comparisons.yml` and its hash.

The comparison itself is `significance.py`; when a plan was stored, `warehouse/plan_registry.py` knows.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, Field, field_validator, model_validator

from dagster_project.policy.document import StrictModel, read_document
from dagster_project.policy.policy import ClockName


def _as_utc(value: datetime) -> datetime:
    """UTC without a zone: how the warehouse keeps every time."""
    return value.astimezone(UTC).replace(tzinfo=None)


UtcTime = Annotated[AwareDatetime, AfterValidator(_as_utc)]
Wanted = Annotated[tuple[str, ...], Field(min_length=1)]

DEFAULT_TAU_MINUTES = 10_080.0
"""A week. A ticket that somebody forgot counts as a week and decides nothing, every rhythm of a working week lies
within it, and a month of data still shows most incidents for that long."""
FAMILY_AT_MOST = 3
"""Primary comparisons of one family: with more, none of them is primary."""


class Side(StrEnum):
    """Which part of the period an arm takes."""

    BEFORE = "before"
    AFTER = "after"
    WHOLE = "whole"


class Estimand(StrEnum):
    """What the verdict is about."""

    GEOMETRIC_MEAN_RATIO = "geometric_mean_ratio"
    RESTRICTED_MEAN = "restricted_mean"
    FREQUENCY = "frequency"


class SliceColumn(StrEnum):
    """Columns by which the exploratory table is cut."""

    SEVERITY = "severity"
    SERVICE = "service"
    TEAM = "team"
    CATEGORY = "category"


class Target(StrictModel):
    """A duration that incidents should not exceed, and who said so: sources disagree, so a report names its own."""

    minutes: float = Field(gt=0)
    source: str = Field(min_length=1)


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
    estimand: Estimand = Field(
        default=Estimand.GEOMETRIC_MEAN_RATIO, description="The number that the verdict stands on."
    )
    tau_minutes: float = Field(
        default=DEFAULT_TAU_MINUTES, gt=0, le=5_256_000, description="Horizon of restricted means: a week."
    )
    period_days: float = Field(default=7, gt=0, le=366, description="Length of a period of the interrupted series.")
    looks: int = Field(default=1, ge=1, le=100, description="How many times the data will be looked at.")
    family: str | None = Field(
        default=None, min_length=1, max_length=60, description="Primary family, of three comparisons at most."
    )
    slices: tuple[SliceColumn, ...] = Field(
        default=tuple(SliceColumn), description="Columns of the exploratory table; no verdict stands on it."
    )
    targets: tuple[Target, ...] = Field(default=(), max_length=5)
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
        if len(set(self.slices)) < len(self.slices):
            raise ValueError("`slices` names a column twice")
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("`starts_at` is not before `ends_at`")
        return self

    @property
    def canonical(self) -> str:
        """Everything the plan says, defaults included, as sorted, compact JSON."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """Hash of `canonical`."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def told_apart(self) -> frozenset[str]:
        """Columns by which the plan itself tells its arms apart: adjusting for them would adjust the effect away."""
        return frozenset(name for arm in (self.baseline, self.candidate) for name in arm.where.given())

    def level(self, look_number: int) -> float:
        """Level of the tests at a look, the first being 1: alpha is shared out over the looks (Bonferroni).

        Up to the planned number K each look gets alpha / K. Looks beyond it, which nobody announced, get
        alpha / (k (k + 1)), so that all of them together add no more than alpha / (K + 1).
        """
        if look_number <= self.looks:
            return self.alpha / self.looks
        return self.alpha / (look_number * (look_number + 1))


class ComparisonPlans(StrictModel):
    """All of `data/comparisons.yml`, or a file of one plan or of a list of plans."""

    comparisons: tuple[ComparisonPlan, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, content: Any) -> Any:
        if isinstance(content, list):
            return {"comparisons": content}
        if isinstance(content, dict) and "comparisons" not in content and ("id" in content or "baseline" in content):
            return {"comparisons": [content]}
        return content

    @field_validator("comparisons")
    @classmethod
    def _ids_once(cls, comparisons: tuple[ComparisonPlan, ...]) -> tuple[ComparisonPlan, ...]:
        ids = [each.id for each in comparisons]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"comparison ids given twice: {repeated}")
        return comparisons

    @model_validator(mode="after")
    def _families_fit(self) -> ComparisonPlans:
        for name in sorted({plan.family for plan in self.comparisons if plan.family is not None}):
            members = self.family(name)
            if len(members) > FAMILY_AT_MOST:
                raise ValueError(
                    f"the family {name!r} has {len(members)} comparisons, and {FAMILY_AT_MOST} are the most: with more "
                    "of them none is primary"
                )
            if len({(plan.alpha, plan.looks) for plan in members}) > 1:
                raise ValueError(f"the comparisons of the family {name!r} differ in `alpha` or `looks`")
        return self

    def family(self, name: str) -> tuple[ComparisonPlan, ...]:
        """The comparisons of a primary family."""
        return tuple(plan for plan in self.comparisons if plan.family == name)

    def chosen(self, comparison_id: str) -> tuple[ComparisonPlan, ...]:
        """One comparison with those of its family, which its p value is adjusted among; none when there is none."""
        return tuple(
            plan
            for wanted in self.comparisons
            if wanted.id == comparison_id
            for plan in (self.comparisons if wanted.family is not None else (wanted,))
            if plan.family == wanted.family
        )


def load_plans(path: Path) -> ComparisonPlans:
    """The comparisons of a project.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return read_document(path, ComparisonPlans)
