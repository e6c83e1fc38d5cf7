"""What of two arms enters the methods: usable durations, lifetimes with open incidents, labels as codes.

Arms are read in `arms.py`; the methods that take these arrays know nothing of plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dagster_project.statistics.arms import Arm, Flags, Floats, Labels
from dagster_project.statistics.durations import Tier, tier_of
from dagster_project.statistics.gates import is_usable, usable_durations
from dagster_project.statistics.plan import ComparisonPlan, SliceColumn
from dagster_project.statistics.strata import Strata, encode, one_stratum
from dagster_project.statistics.survival import Lifetimes


@dataclass(frozen=True)
class Sample:
    """One arm as arrays of its usable durations, in the order of the arm."""

    arm: Arm
    durations: Floats
    usable: Flags

    @classmethod
    def of(cls, plan: ComparisonPlan, arm: Arm) -> Sample:
        """The incidents that `gates.is_usable` lets pass."""
        return cls(arm, usable_durations(plan, arm), is_usable(plan, arm))

    @property
    def count(self) -> int:
        return int(self.durations.size)

    @property
    def tier(self) -> Tier:
        return tier_of(self.count)

    @cached_property
    def logs(self) -> Floats:
        return np.log(self.durations)

    @cached_property
    def started_at(self) -> npt.NDArray[np.datetime64]:
        return self.arm.started_at[self.usable]

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        """Day on which each began."""
        return self.started_at.astype("datetime64[D]")

    @cached_property
    def open_places(self) -> npt.NDArray[np.intp]:
        """Places in the arm of open incidents whose age says something."""
        return np.flatnonzero(self.arm.is_open & (self.arm.ages > 0))

    @cached_property
    def lifetimes(self) -> Lifetimes:
        """Ended incidents, then open ones with their age."""
        return Lifetimes.of(self.durations, self.arm.ages[self.open_places])

    @cached_property
    def lifetimes_started_at(self) -> npt.NDArray[np.datetime64]:
        """When each of `lifetimes` began."""
        return np.concatenate([self.started_at, self.arm.started_at[self.open_places]])

    @cached_property
    def planned_lifetimes(self) -> Lifetimes:
        """The same with the incidents that the plan left out; those that ended without a time stay out."""
        ended = self.arm.excluded_durations[self.arm.excluded_durations > 0]
        unended = self.arm.excluded_ages[self.arm.excluded_is_open]
        open_ages = np.concatenate([self.arm.ages[self.open_places], unended])
        return Lifetimes.of(np.concatenate([self.durations, ended]), open_ages)

    def labels(self, column: SliceColumn) -> Labels:
        """The column's value of every incident of the arm."""
        return {
            SliceColumn.SEVERITY: self.arm.severities,
            SliceColumn.SERVICE: self.arm.services,
            SliceColumn.TEAM: self.arm.teams,
            SliceColumn.CATEGORY: self.arm.categories,
        }[column]


@dataclass(frozen=True)
class Case:
    """Two samples, the plan, and the level at which this look is judged."""

    plan: ComparisonPlan
    baseline: Sample
    candidate: Sample
    level: float

    @property
    def confidence(self) -> float:
        return 1 - self.level

    @property
    def tier(self) -> Tier:
        """The smaller arm decides how much can be said."""
        tiers = {self.baseline.tier, self.candidate.tier}
        return next(tier for tier in (Tier.DOTS, Tier.INDICATIVE, Tier.FULL) if tier in tiers)

    @property
    def count(self) -> int:
        """Ended incidents of both arms."""
        return self.baseline.count + self.candidate.count

    @property
    def tau_seconds(self) -> float:
        return self.plan.tau_minutes * 60

    def differs_by(self, column: SliceColumn) -> bool:
        """Whether the plan itself tells its arms apart by the column."""
        return column.value in self.plan.told_apart

    def strata(self, column: SliceColumn) -> Strata:
        """The column of the ended incidents, with the values that occur among them."""
        codes = self._codes[column]
        baseline, candidate = codes.baseline[self.baseline.usable], codes.candidate[self.candidate.usable]
        occurs = np.bincount(np.concatenate([baseline, candidate]), minlength=codes.names.size) > 0
        places = np.cumsum(occurs) - 1
        return Strata(codes.names[occurs], places[baseline], places[candidate])

    def varies_in(self, column: SliceColumn) -> bool:
        """Whether the column tells ended incidents apart and the plan does not tell its arms apart by it."""
        return not self.differs_by(column) and self.strata(column).names.size > 1

    def lifetime_strata(self, column: SliceColumn) -> Strata:
        """The column of the ended and, after them, of the open incidents."""
        codes = self._codes[column]
        return Strata(
            codes.names,
            np.concatenate([codes.baseline[self.baseline.usable], codes.baseline[self.baseline.open_places]]),
            np.concatenate([codes.candidate[self.candidate.usable], codes.candidate[self.candidate.open_places]]),
        )

    def severity_strata(self) -> Strata:
        """Strata of lifetimes by severity; one for all where the plan tells its arms apart by severity."""
        if self.differs_by(SliceColumn.SEVERITY):
            return one_stratum(self.baseline.lifetimes.count, self.candidate.lifetimes.count)
        return self.lifetime_strata(SliceColumn.SEVERITY)

    @cached_property
    def _codes(self) -> dict[SliceColumn, Strata]:
        return {each: encode(self.baseline.labels(each), self.candidate.labels(each)) for each in SliceColumn}
