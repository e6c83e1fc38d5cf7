"""Reasons for which two arms must not be compared at all, looked for before any test. First one found wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dagster_project.statistics.arms import NOT_RECORDED, Arm, Flags, Floats, Labels
from dagster_project.statistics.durations import FEW
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.wording import counted

SOURCES_IN_COMMON = 0.9
"""Share of times that must come from the same fields; a few taken from a second system do not spoil an arm."""


@dataclass(frozen=True)
class Refusal:
    """Why two arms are not comparable: a code for machines, a clause for people."""

    code: str
    reason: str


def first_refusal(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    """The first gate that closes, or None when the arms may be compared."""
    for gate in GATES:
        if refusal := gate(plan, baseline, candidate):
            return refusal
    return None


def is_usable(plan: ComparisonPlan, arm: Arm) -> Flags:
    """Incidents with a positive time on the clock, and those with zero where the plan states the clock's step."""
    is_positive: Flags = arm.durations > 0
    if plan.clock_resolution_seconds is not None:
        is_positive = arm.durations >= 0
    return is_positive  # a NaN is neither


def usable_durations(plan: ComparisonPlan, arm: Arm) -> Floats:
    """Their durations; zeros are half a step."""
    usable = arm.durations[is_usable(plan, arm)]
    return np.where(usable == 0, (plan.clock_resolution_seconds or 0.0) / 2, usable)


def mix_overlap(baseline: Labels, candidate: Labels) -> float:
    """Share of incidents that two mixes have in common: 1 when equal, 0 when disjoint (1 - total variation)."""
    names, places = np.unique(np.concatenate([baseline, candidate]), return_inverse=True)
    first = np.bincount(places[: baseline.size], minlength=names.size) / max(baseline.size, 1)
    second = np.bincount(places[baseline.size :], minlength=names.size) / max(candidate.size, 1)
    return float(np.minimum(first, second).sum())


def _different_clocks(_plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    if baseline.clock is not candidate.clock:
        return Refusal(
            "different_clocks",
            f"{baseline.label} is measured by the {baseline.clock.value} clock, "
            f"{candidate.label} by the {candidate.clock.value} clock",
        )
    first, second = baseline.sources[baseline.measured], candidate.sources[candidate.measured]
    if first.size and second.size and (shared := mix_overlap(first, second)) < SOURCES_IN_COMMON:
        return Refusal(
            "different_sources",
            f"{baseline.label} is timed from {_most_common(first)}, {candidate.label} from {_most_common(second)} "
            f"({shared:.0%} in common), and these events need not mean the same",
        )
    return None


def _most_common(labels: Labels) -> str:
    names, counts = np.unique(labels, return_counts=True)
    return str(names[counts.argmax()])


def _repeated_incidents(_plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    if both := np.intersect1d(baseline.incident_ids, candidate.incident_ids).size:
        return Refusal("overlapping_arms", f"{counted(both, 'incident')} stand in both arms")
    for arm in (baseline, candidate):
        if repeated := arm.count - np.unique(arm.incident_ids).size:
            return Refusal("repeated_incidents", f"{arm.label} holds {counted(repeated, 'incident')} twice")
    return None


def _empty(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    empty = [arm for arm in (baseline, candidate) if arm.count == 0]
    if not empty:
        return None
    if plan.cut_over_at is not None and len(empty) == 1:
        return Refusal(
            "cut_over_outside_data",
            f"{empty[0].label} is empty: the cut-over {plan.cut_over_at:%Y-%m-%d %H:%M} UTC lies outside the data",
        )
    names = " and ".join(arm.label for arm in empty)
    return Refusal("empty_arm", f"no incident fits {names}")


def _negative(_plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    for arm in (baseline, candidate):
        if negative := int((arm.durations < 0).sum()):
            return Refusal(
                "negative_times",
                f"{counted(negative, 'incident')} of {arm.label} ended before beginning: repair the clock",
            )
    return None


def _too_few(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    for arm in (baseline, candidate):
        n = usable_durations(plan, arm).size
        if n >= FEW:
            continue
        if arm.open_count == arm.count:
            return Refusal("all_open", f"none of the {counted(arm.count, 'incident')} of {arm.label} has ended")
        return Refusal(
            "too_few", f"{arm.label} has {counted(n, 'incident')} with a time on the clock, and {FEW} are the least"
        )
    return None


def _missing(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    for arm in (baseline, candidate):
        ended = arm.count - arm.open_count
        unusable = ended - usable_durations(plan, arm).size
        if ended and unusable / ended > plan.max_missing_share:
            return Refusal(
                "missing_times",
                f"{unusable:,} of the {ended:,} ended incidents of {arm.label} ({unusable / ended:.1%}) have no usable "
                f"{arm.clock.value} time, more than the {plan.max_missing_share:.0%} that the plan allows",
            )
    return None


def _all_equal(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    for arm in (baseline, candidate):
        durations = usable_durations(plan, arm)
        if durations.size < 2 or np.ptp(durations) > 0:
            continue
        also = [
            f"at one {name} ({values[0]})"
            for name, values in (("priority", arm.severities), ("service", arm.services))
            if np.unique(values).size == 1 and values[0] != NOT_RECORDED
        ]
        return Refusal(
            "all_equal",
            f"all {counted(durations.size, 'incident')} of {arm.label} last exactly {durations[0]:,.0f} s"
            + "".join(f", {each}" for each in also)
            + ": such a length was set, not measured",
        )
    return None


def _no_common_severity(plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> Refusal | None:
    overlap = mix_overlap(baseline.severities, candidate.severities)
    if overlap >= plan.min_mix_overlap:
        return None
    return Refusal(
        "severities_differ",
        f"the arms share {overlap:.0%} of their severity mix ({_mix(baseline)} against {_mix(candidate)}), so a "
        "difference would say what kind of incident each holds, not how well it was handled",
    )


def _mix(arm: Arm) -> str:
    names, counts = np.unique(arm.severities, return_counts=True)
    return ", ".join(f"{name} {count / arm.count:.0%}" for name, count in zip(names, counts, strict=True))


GATES: tuple[Callable[[ComparisonPlan, Arm, Arm], Refusal | None], ...] = (
    _empty,
    _different_clocks,
    _repeated_incidents,
    _negative,
    _all_equal,
    _too_few,
    _no_common_severity,
    _missing,
)
