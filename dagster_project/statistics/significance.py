"""Is one arm of incidents really shorter than the other? Runs the protocol on arms, families of comparisons together.

The order is fixed: whether arms may be compared is settled before any effect is computed. The parts stand in
`gates.py`, `evidence.py`, `verdict.py`, `protocol.py` and `steps.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagster_project.statistics import caveats, protocol
from dagster_project.statistics.arms import Arm
from dagster_project.statistics.durations import DurationSummary, Tier, describe
from dagster_project.statistics.evidence import Effects, Primary, effects_of, mixes_of, primary_effect
from dagster_project.statistics.frequency import RateEffect, rate_ratio
from dagster_project.statistics.gates import Refusal, first_refusal
from dagster_project.statistics.history import UNREGISTERED, History
from dagster_project.statistics.mix import MixSplit
from dagster_project.statistics.multiplicity import holm
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.plan import ComparisonPlan, SliceColumn
from dagster_project.statistics.protocol import Settled, StepResult
from dagster_project.statistics.samples import Case, Sample
from dagster_project.statistics.steps import compared, stopped
from dagster_project.statistics.verdict import Outcome, Verdict, judged, sentence


@dataclass(frozen=True)
class Comparison:
    """The result of one plan."""

    plan: ComparisonPlan
    baseline: Arm
    candidate: Arm
    baseline_summary: DurationSummary
    candidate_summary: DurationSummary
    rate: RateEffect | None
    effects: Effects | None
    mixes: dict[SliceColumn, MixSplit]
    primary: Primary | NotPossible
    holm_p: float | None
    verdict: Verdict
    reason: str
    sentence: str
    caveats: tuple[str, ...]
    not_concluded: tuple[str, ...]
    steps: tuple[StepResult, ...]
    case: Case
    history: History

    @property
    def tier(self) -> Tier:
        """The smaller arm decides how much can be said."""
        return self.case.tier


@dataclass(frozen=True)
class Asked:
    """One comparison that is to be made: its plan, its arms, and what the registry knows of it."""

    plan: ComparisonPlan
    baseline: Arm
    candidate: Arm
    history: History = UNREGISTERED


@dataclass(frozen=True)
class _Computed:
    """One comparison before the others of its family are known."""

    asked: Asked
    case: Case
    summaries: tuple[DurationSummary, DurationSummary]
    rate: RateEffect | None
    refusal: Refusal | None
    effects: Effects | None
    mixes: dict[SliceColumn, MixSplit]
    primary: Primary | NotPossible


def compare(plan: ComparisonPlan, baseline: Arm, candidate: Arm, history: History = UNREGISTERED) -> Comparison:
    """Run the protocol on two arms, as a family of one.

    Returns
    -------
    Comparison
        Always: arms that carry no comparison give `NOT_COMPARABLE` with the reason, never an error or a NaN.
    """
    (found,) = compare_together([Asked(plan, baseline, candidate, history)])
    return found


def compare_together(asked: Sequence[Asked], *, absent: int = 0) -> list[Comparison]:
    """Run the protocol on several plans; p values of one primary family are adjusted together (Holm).

    A member that may not be compared was asked all the same: it stays in its family with a p value of 1.

    Parameters
    ----------
    absent
        Members of the plans' family of which there are no arms at all.
    """
    computed = [_computed(each) for each in asked]
    families: dict[str, dict[str, float]] = {}
    for each in computed:
        plan = each.asked.plan
        p_value = 1.0 if isinstance(each.primary, NotPossible) else each.primary.p_value
        families.setdefault(plan.family or f"only/{plan.id}", {})[plan.id] = p_value
    for family in families.values():
        family.update({f"absent/{number}": 1.0 for number in range(absent)})
    adjusted = {
        found.name: (found.adjusted_p_value, len(family)) for family in families.values() for found in holm(family)
    }
    return [_concluded(each, *adjusted.get(each.asked.plan.id, (None, 1))) for each in computed]


def refused_without_data(plan: ComparisonPlan) -> Refusal:
    """The refusal of a plan whose filter fits no incident at all."""
    wanted = "; ".join(f"{name} {', '.join(values)}" for name, values in plan.where.given().items()) or "anything"
    return Refusal("no_data", f"the warehouse holds no incident of {wanted}")


def _computed(asked: Asked) -> _Computed:
    plan, arms = asked.plan, (asked.baseline, asked.candidate)
    level = plan.level(asked.history.look_number)
    case = Case(plan, Sample.of(plan, asked.baseline), Sample.of(plan, asked.candidate), level)
    first, second = (
        describe(sample.durations, sample.arm.ages[sample.open_places], confidence=case.confidence)
        for sample in (case.baseline, case.candidate)
    )
    rate = _rate(case)
    refusal = first_refusal(plan, *arms)
    effects = None if refusal else effects_of(case)
    primary: Primary | NotPossible = NotPossible("gates_closed", "the arms may not be compared")
    if effects is not None:
        primary = primary_effect(case, effects, rate)
        if isinstance(primary, NotPossible):
            refusal, effects = Refusal(primary.code, primary.reason), None
    mixes: dict[SliceColumn, MixSplit] = {}
    if case.tier is not Tier.DOTS:
        mixes = mixes_of(case) if effects is None else effects.mixes
    return _Computed(asked, case, (first, second), rate, refusal, effects, mixes, primary)


def _concluded(computed: _Computed, holm_p: float | None, family_size: int) -> Comparison:
    asked, case, effects, primary = computed.asked, computed.case, computed.effects, computed.primary
    if effects is None or isinstance(primary, NotPossible) or holm_p is None:
        holm_p = None
        refusal = computed.refusal or Refusal("no_primary", "the number that decides could not be had")
        outcome, text = Outcome(Verdict.NOT_COMPARABLE, refusal.code), f"Not comparable: {refusal.reason}."
    else:
        outcome = judged(case, effects, primary, holm_p, family_size)
        text = sentence(case, computed.summaries, effects, primary, computed.rate, outcome)
    settled = Settled(
        case=case,
        history=asked.history,
        summaries=computed.summaries,
        rate=computed.rate,
        refusal=computed.refusal,
        effects=effects,
        mixes=computed.mixes,
        primary=primary,
        holm_p=holm_p,
        family_size=family_size,
        outcome=outcome,
    )
    middle = stopped(settled) if effects is None else compared(settled, effects)
    return Comparison(
        plan=asked.plan,
        baseline=asked.baseline,
        candidate=asked.candidate,
        baseline_summary=computed.summaries[0],
        candidate_summary=computed.summaries[1],
        rate=computed.rate,
        effects=effects,
        mixes=computed.mixes,
        primary=primary,
        holm_p=holm_p,
        verdict=outcome.verdict,
        reason=outcome.reason,
        sentence=text,
        caveats=tuple(caveats.caveats(case, effects, computed.rate, asked.history, computed.mixes)),
        not_concluded=tuple(caveats.not_concluded(case, effects, outcome)),
        steps=(*protocol.opening(settled), *middle, protocol.closing(settled)),
        case=case,
        history=asked.history,
    )


def _rate(case: Case) -> RateEffect | None:
    first, second = case.baseline.arm, case.candidate.arm
    if first.days <= 0 or second.days <= 0:
        return None
    return rate_ratio(first.count, first.days, second.count, second.days, confidence=case.confidence)
