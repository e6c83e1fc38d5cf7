"""The thirteen steps of a comparison in their order: what each found, in a sentence, and its estimates.

Nothing is computed here: `evidence.py` does; `verdict.py` judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dagster_project.statistics.durations import DurationSummary, Tier
from dagster_project.statistics.evidence import Effects, Primary
from dagster_project.statistics.frequency import RateEffect
from dagster_project.statistics.gates import Refusal
from dagster_project.statistics.history import History
from dagster_project.statistics.mix import MixSplit
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.plan import SliceColumn
from dagster_project.statistics.samples import Case
from dagster_project.statistics.survival import kaplan_meier
from dagster_project.statistics.verdict import Outcome, spoken
from dagster_project.wording import counted

NAMES = (
    "plan",
    "gates",
    "describe",
    "primary effect",
    "business measure",
    "frequency",
    "survival",
    "robustness",
    "mix",
    "cause",
    "multiplicity",
    "power",
    "verdict",
)


class Status(StrEnum):
    """What became of a step."""

    DONE = "done"
    NOT_POSSIBLE = "not_possible"
    SKIPPED_BY_TIER = "skipped_by_tier"


@dataclass(frozen=True)
class Estimate:
    """One number of a step; None with a note where it could not be had. Durations are in minutes."""

    name: str
    label: str
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int | None = None
    note: str | None = None
    is_duration_ratio: bool = False
    is_primary: bool = False


@dataclass(frozen=True)
class StepResult:
    """What one step found; its first estimate is its main one."""

    number: int
    status: Status
    finding: str
    estimates: tuple[Estimate, ...] = ()

    @property
    def name(self) -> str:
        return NAMES[self.number]

    @property
    def main(self) -> Estimate | None:
        return self.estimates[0] if self.estimates else None


@dataclass(frozen=True)
class Settled:
    """What is known once a comparison has been judged."""

    case: Case
    history: History
    summaries: tuple[DurationSummary, DurationSummary]
    rate: RateEffect | None
    refusal: Refusal | None
    effects: Effects | None
    mixes: dict[SliceColumn, MixSplit]
    primary: Primary | NotPossible
    holm_p: float | None
    family_size: int
    outcome: Outcome


def opening(settled: Settled) -> tuple[StepResult, StepResult, StepResult]:
    """Steps 0 to 2: the plan, the gates, what the arms are."""
    plan, history, case = settled.case.plan, settled.history, settled.case
    # When, mart_significance_plans says: a night that is run again gives the same steps at another time.
    stored = "not stored" if history.registered_at is None else "stored before any result"
    changed = "; changed after results of an earlier version existed" if history.is_changed_after_results else ""
    planned = (
        f"Plan {plan.sha256[:12]}, {stored}{changed}: {plan.estimand.value.replace('_', ' ')} on the "
        f"{plan.clock.value} clock, level {case.level:.3g} at look {history.look_number} of {plan.looks}, "
        f"smallest effect {plan.smallest_effect:.0%}, horizon {spoken(case.tau_seconds)}."
    )
    gates = f"Stopped: {settled.refusal.reason}." if settled.refusal else _passed(case)
    return (
        StepResult(0, Status.DONE, planned),
        StepResult(1, Status.DONE, gates),
        StepResult(2, Status.DONE, _described(settled), (*_moments(settled), *_within_targets(case))),
    )


def _passed(case: Case) -> str:
    arms = "; ".join(
        f"{arm.label}: {counted(arm.count, 'incident')}, {arm.open_count:,} open, {arm.missing_count:,} without a "
        f"time, {arm.excluded:,} left out by plan"
        for arm in (case.baseline.arm, case.candidate.arm)
    )
    return f"All gates passed ({arms})."


def _described(settled: Settled) -> str:
    if settled.case.tier is Tier.DOTS:
        sizes = " and ".join(str(summary.n) for summary in settled.summaries)
        return f"Arms of {sizes} incidents with a time on the clock: below 5 they are dots only."
    arms = (settled.case.baseline.arm, settled.case.candidate.arm)
    return (
        "; ".join(
            f"{arm.label}: median {spoken(summary.median)}, geometric mean {spoken(summary.geometric_mean)}, "
            f"mean {spoken(summary.mean)}, p90 {spoken(summary.p90)}, the longest is "
            f"{summary.share_of_largest or 0:.0%} of all time"
            for arm, summary in zip(arms, settled.summaries, strict=True)
        )
        + "".join(
            f"; {estimate.label} {estimate.value:.0%}"
            for estimate in _within_targets(settled.case)
            if estimate.value is not None
        )
        + "."
    )


def _moments(settled: Settled) -> Iterator[Estimate]:
    for side, summary in zip(("baseline", "candidate"), settled.summaries, strict=True):
        values = (summary.geometric_mean, summary.geometric_mean_low, summary.geometric_mean_high)
        value, low, high = (None if each is None else each / 60 for each in values)
        note = None if value is not None else "fewer than 5 incidents with a time on the clock"
        yield Estimate(
            f"{side}_geometric_mean", f"Geometric mean, {side}", "minutes", value, low, high, n=summary.n, note=note
        )


def _within_targets(case: Case) -> Iterator[Estimate]:
    """Share of incidents that ended within each target of the plan, open ones counted (Kaplan-Meier)."""
    for side, sample in (("baseline", case.baseline), ("candidate", case.candidate)):
        if not case.plan.targets or sample.tier is Tier.DOTS:
            continue
        curve = kaplan_meier(sample.lifetimes, confidence=case.confidence)
        for number, target in enumerate(case.plan.targets, start=1):
            place = int(np.searchsorted(curve.times, target.minutes * 60, side="right")) - 1
            heights = (curve.survival, curve.high, curve.low)
            share, low, high = (1 - float(height[place]) if place >= 0 else 0.0 for height in heights)
            yield Estimate(
                f"{side}_within_target_{number}",
                f"Within {spoken(target.minutes * 60)} ({target.source}), {side}",
                "share",
                share,
                low if place >= 0 else None,
                high if place >= 0 else None,
                n=sample.lifetimes.count,
            )


def closing(settled: Settled) -> StepResult:
    """Step 12: the verdict with the number that it stands on."""
    primary, n = settled.primary, settled.case.count
    finding = f"{settled.outcome.verdict.value}: {settled.outcome.reason.replace('_', ' ')}."
    if isinstance(primary, NotPossible):
        return StepResult(12, Status.DONE, finding)
    estimate = Estimate(
        "primary_ratio",
        f"Primary: {primary.method}",
        "ratio",
        primary.ratio,
        primary.low,
        primary.high,
        primary.p_value,
        n,
        is_primary=True,
    )
    return StepResult(12, Status.DONE, finding, (estimate,))


def status_of(*results: object) -> Status:
    """Done when any of the results is a number; skipped when all were skipped by tier."""
    refused = [each for each in results if isinstance(each, NotPossible)]
    if len(refused) < len(results):
        return Status.DONE
    if all(each.code == "skipped_by_tier" for each in refused):
        return Status.SKIPPED_BY_TIER
    return Status.NOT_POSSIBLE
