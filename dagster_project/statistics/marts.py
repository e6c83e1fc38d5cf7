"""Tables of the marts that comparisons fill: reads incidents, runs every plan once, and makes rows of the results.

Nothing is written here: the caller puts the tables where they belong. Their columns are `schemas.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.statistics import figures, schemas
from dagster_project.statistics.arms import Arm, data_span, read_arm
from dagster_project.statistics.columns import finite
from dagster_project.statistics.history import UNREGISTERED, History, data_sha256
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.statistics.result_row import as_row, planned
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA
from dagster_project.statistics.significance import Asked, Comparison, compare_together, refused_without_data
from dagster_project.statistics.verdict import Verdict
from dagster_project.warehouse import plan_registry

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Unanswered:
    """A plan of which the warehouse holds no incident at all."""

    plan: ComparisonPlan
    reason: str
    sentence: str


@dataclass(frozen=True)
class Judged:
    """The results of all plans, ordered by their ids."""

    comparisons: tuple[Comparison, ...]
    unanswered: tuple[Unanswered, ...]


@dataclass(frozen=True)
class Registry:
    """Where plans are stored before their results, and results after; `generation` names what is read."""

    state_file: Path
    generation: str | None = None

    def history(self, plan: ComparisonPlan, baseline: Arm, candidate: Arm) -> History:
        """The past of a plan that has been registered, and which look at its data this one is."""
        versions = plan_registry.plans(self.state_file, plan.id)
        own = next(each for each in versions if each.plan_sha256 == plan.sha256)
        others = (each for each in versions if each.plan_sha256 != plan.sha256)
        return History(
            look_number=plan_registry.look_number(self.state_file, plan.id, data_sha256(baseline, candidate)),
            registered_at=own.registered_at,
            is_changed_after_results=any(
                each.first_result_at is not None and each.first_result_at < own.registered_at for each in others
            ),
        )


def judge(
    connection: duckdb.DuckDBPyConnection,
    plans: Iterable[ComparisonPlan],
    registry: Registry | None = None,
    progress: Progress = lambda _: None,
) -> Judged:
    """Read the arms of every plan and run the protocol on them, families together.

    Parameters
    ----------
    connection
        Knows `marts.fct_incidents`.
    plans
        From `plan.load_plans`.
    registry
        Stores each plan before its arms are read, and each result as a look; without it nothing is stored.
    progress
        Is told what is being done.
    """
    wanted = sorted(plans, key=lambda plan: plan.id)
    if registry is not None:
        plan_registry.register(registry.state_file, [(plan.id, plan.sha256, plan.canonical) for plan in wanted])
    found: list[Comparison] = []
    unanswered: list[Unanswered] = []
    for members in _families(wanted):
        asked: list[Asked] = []
        for plan in members:
            progress(plan.id)
            if (arms := _arms(connection, plan)) is None:
                refusal = refused_without_data(plan)
                unanswered.append(Unanswered(plan, refusal.code, f"Not comparable: {refusal.reason}."))
                continue
            asked.append(Asked(plan, *arms, registry.history(plan, *arms) if registry else UNREGISTERED))
        found += compare_together(asked, absent=len(members) - len(asked))
    if registry is not None:
        # Arms that were refused have shown no effect, so nobody has looked.
        seen = (_look(each, registry) for each in found if each.effects is not None)
        plan_registry.record(registry.state_file, seen)
    return Judged(tuple(sorted(found, key=lambda each: each.plan.id)), tuple(unanswered))


def _families(plans: Sequence[ComparisonPlan]) -> Iterator[list[ComparisonPlan]]:
    """Plans that are adjusted together; one at a time otherwise, so that one's arms are in memory and no more."""
    by_family: dict[str, list[ComparisonPlan]] = {}
    for plan in plans:
        by_family.setdefault(f"only/{plan.id}" if plan.family is None else plan.family, []).append(plan)
    yield from by_family.values()


def _arms(connection: duckdb.DuckDBPyConnection, plan: ComparisonPlan) -> tuple[Arm, Arm] | None:
    span = data_span(connection, plan)
    if span is None:
        return None
    return read_arm(connection, plan, plan.baseline, span), read_arm(connection, plan, plan.candidate, span)


def _look(comparison: Comparison, registry: Registry) -> plan_registry.Look:
    return plan_registry.Look(
        comparison.plan.id,
        comparison.plan.sha256,
        data_sha256(comparison.baseline, comparison.candidate),
        comparison.verdict.value,
        comparison.reason,
        registry.generation,
    )


def significance(
    connection: duckdb.DuckDBPyConnection, plans: Iterable[ComparisonPlan], registry: Registry | None = None
) -> pa.Table:
    """Rows of `marts.mart_significance`, ordered by comparison."""
    return tables(judge(connection, plans, registry))["mart_significance"]


def tables(judged: Judged) -> dict[str, pa.Table]:
    """Every table of results by the name of its mart, each in a fixed order; the plans are `plan_rows`."""
    rows = [as_row(each) for each in judged.comparisons] + [_without_data(each) for each in judged.unanswered]
    makers: dict[str, tuple[Callable[[Comparison], Iterable[dict[str, Any]]], pa.Schema]] = {
        "mart_significance_steps": (figures.step_rows, schemas.STEPS_SCHEMA),
        "mart_significance_estimates": (figures.estimate_rows, schemas.ESTIMATES_SCHEMA),
        "mart_significance_slices": (figures.slice_rows, schemas.SLICES_SCHEMA),
        "mart_significance_mix": (figures.mix_rows, schemas.MIX_SCHEMA),
        "mart_survival_curves": (figures.curve_rows, schemas.CURVES_SCHEMA),
        "mart_placebo_cut_overs": (figures.placebo_rows, schemas.PLACEBO_SCHEMA),
        "mart_significance_points": (figures.point_rows, schemas.POINTS_SCHEMA),
    }
    made = {"mart_significance": _table(sorted(rows, key=lambda row: row["comparison_id"]), SIGNIFICANCE_SCHEMA)}
    for name, (make, schema) in makers.items():
        made[name] = _table([row for each in judged.comparisons for row in make(each)], schema)
    return made


def plan_rows(state_file: Path, plans: Iterable[ComparisonPlan]) -> pa.Table:
    """Rows of `marts.mart_significance_plans`: every version that was stored of the comparisons of `plans`.

    The only mart that tells a time of day at which something was done, so the only one that differs between two
    warehouses of the same data.
    """
    current = {plan.id: plan for plan in plans}
    rows = [
        {
            "plan_id": f"{each.comparison_id}/{each.plan_sha256[:12]}",
            **asdict(each),
            "is_current": current[each.comparison_id].sha256 == each.plan_sha256,
            "planned_looks": json.loads(each.plan)["looks"],
        }
        for each in plan_registry.plans(state_file)
        if each.comparison_id in current
    ]
    return _table(sorted(rows, key=lambda row: row["plan_id"]), schemas.PLANS_SCHEMA)


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    cleaned = [{name: finite(row.get(name)) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(cleaned, schema=schema)


def _without_data(unanswered: Unanswered) -> dict[str, Any]:
    plan = unanswered.plan
    return {
        **planned(plan, UNREGISTERED),
        "verdict": Verdict.NOT_COMPARABLE.value,
        "reason": unanswered.reason,
        "sentence": unanswered.sentence,
        "baseline_label": plan.baseline.label,
        "candidate_label": plan.candidate.label,
        "tier": "dots",
        "caveats": list(plan.caveats),
        "not_concluded": ["That one arm is better, worse or the same: the arms were not compared."],
        "severity_mix": [],
    }
