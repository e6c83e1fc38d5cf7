"""Rows that tables and figures of a comparison are made of: steps, estimates, slices, mix, curves, placebos, points.

The columns are `schemas.py`; the row of the result itself is `result_row.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from dagster_project.statistics.interruption import PlaceboTest
from dagster_project.statistics.samples import Case, Sample
from dagster_project.statistics.significance import Comparison
from dagster_project.statistics.survival import CURVE_POINTS, kaplan_meier, thinned

POINTS_AT_MOST = 2_000
"""Points of an arm: more cover each other on any screen. Thinned evenly by duration, the longest always kept."""


def step_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `STEPS_SCHEMA`."""
    for step in comparison.steps:
        main = step.main
        numbers = {} if main is None else {
            "unit": main.unit, "estimate": main.value, "low": main.low, "high": main.high, "p_value": main.p_value,
            "n": main.n,
        }  # fmt: skip
        yield {
            "step_id": f"{comparison.plan.id}/{step.number:02}",
            "comparison_id": comparison.plan.id,
            "number": step.number,
            "name": step.name,
            "status": step.status.value,
            "finding": step.finding,
            **numbers,
        }


def estimate_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `ESTIMATES_SCHEMA`."""
    every = [(step.number, each) for step in comparison.steps for each in step.estimates]
    for position, (number, each) in enumerate(every, start=1):
        yield {
            "estimate_id": f"{comparison.plan.id}/{each.name}",
            "comparison_id": comparison.plan.id,
            "position": position,
            "step_number": number,
            "name": each.name,
            "label": each.label,
            "unit": each.unit,
            "is_duration_ratio": each.is_duration_ratio,
            "is_primary": each.is_primary,
            "estimate": each.value,
            "low": each.low,
            "high": each.high,
            "p_value": each.p_value,
            "n": each.n,
            "note": each.note,
        }


def slice_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `SLICES_SCHEMA`."""
    for each in comparison.effects.slices if comparison.effects else ():
        yield {
            "slice_id": f"{comparison.plan.id}/{each.name}",
            "comparison_id": comparison.plan.id,
            "column_name": each.column,
            "value": each.value,
            "baseline_n": each.baseline_count,
            "candidate_n": each.candidate_count,
            "baseline_geometric_mean_minutes": each.baseline_geometric_mean / 60,
            "candidate_geometric_mean_minutes": each.candidate_geometric_mean / 60,
            "ratio": each.ratio,
            "low": each.low,
            "high": each.high,
            "p_value": each.p_value,
            "adjusted_p_value": each.adjusted_p_value,
            "is_discovery": each.is_discovery,
        }


def mix_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `MIX_SCHEMA`."""
    for column, split in comparison.mixes.items():
        for row in split.rows:
            yield {
                "mix_id": f"{comparison.plan.id}/{column}/{row.name}",
                "comparison_id": comparison.plan.id,
                "column_name": column.value,
                "kind": row.name,
                "baseline_n": row.baseline_count,
                "candidate_n": row.candidate_count,
                "baseline_share": row.baseline_share,
                "candidate_share": row.candidate_share,
                "baseline_geometric_mean_minutes": _minutes_of_log(row.baseline_mean_log),
                "candidate_geometric_mean_minutes": _minutes_of_log(row.candidate_mean_log),
                "baseline_mean_minutes": None if row.baseline_mean is None else row.baseline_mean / 60,
                "candidate_mean_minutes": None if row.candidate_mean is None else row.candidate_mean / 60,
                "mix_log": row.mix_log,
                "within_log": row.within_log,
                "mix_minutes": row.mix / 60,
                "within_minutes": row.within / 60,
                "is_in_both_arms": row.overlaps,
            }


def curve_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `CURVES_SCHEMA`; of arms that may not be compared, too: a curve claims nothing."""
    for arm, sample in _samples(comparison.case):
        lifetimes = sample.lifetimes
        if lifetimes.ended_count == 0:
            continue
        curve = thinned(kaplan_meier(lifetimes, confidence=comparison.case.confidence), CURVE_POINTS - 1)
        start = {"minutes": 0.0, "survival": 1.0, "low": 1.0, "high": 1.0, "at_risk": lifetimes.count, "ended": 0}
        columns = (curve.times / 60, curve.survival, curve.low, curve.high, curve.at_risk, curve.ended)
        values = zip(*(column.tolist() for column in columns), strict=True)
        rows = [start, *(dict(zip(start, row, strict=True)) for row in values)]
        for position, row in enumerate(rows):
            yield {
                "point_id": f"{comparison.plan.id}/{arm}/{position:03}",
                "comparison_id": comparison.plan.id,
                "arm": arm,
                "label": sample.arm.label,
                "position": position,
                **row,
            }


def placebo_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `PLACEBO_SCHEMA`, the plan's own cut-over last."""
    found = comparison.effects.cause.placebo if comparison.effects else None
    if not isinstance(found, PlaceboTest):
        return
    cuts = [(_time(each.cut_over_at), False, each.ratio, each.before, each.after) for each in found.placebos]
    own = (comparison.plan.cut_over_at, True, found.ratio, None, None)
    for position, (cut_over_at, is_real, ratio, before, after) in enumerate((*cuts, own), start=1):
        yield {
            "placebo_id": f"{comparison.plan.id}/{position:02}",
            "comparison_id": comparison.plan.id,
            "position": position,
            "cut_over_at": cut_over_at,
            "is_real": is_real,
            "ratio": ratio,
            "baseline_n": before,
            "candidate_n": after,
            "window_days": found.window_days,
        }


def point_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of `POINTS_SCHEMA`."""
    for arm, sample in _samples(comparison.case):
        source, places = sample.arm, np.concatenate([np.flatnonzero(sample.usable), sample.open_places])
        is_open = np.arange(places.size) >= sample.count
        seconds = sample.lifetimes.times
        order = np.lexsort((places, seconds))
        ranks = np.full(places.size, np.nan)
        ranks[~is_open] = stats.norm.ppf(
            (stats.rankdata(sample.durations, method="ordinal") - 0.5) / max(sample.count, 1)
        )
        for position in _kept(order.size):
            row = order[position]
            place = places[row]
            yield {
                "point_id": f"{comparison.plan.id}/{arm}/{position + 1}",
                "comparison_id": comparison.plan.id,
                "arm": arm,
                "label": source.label,
                "position": int(position) + 1,
                "system": str(source.systems[place]) if source.systems.size else None,
                "incident_id": str(source.incident_ids[place]),
                "severity": str(source.severities[place]),
                "started_at": _time(source.started_at[place]),
                "minutes": float(seconds[row]) / 60,
                "is_open": bool(is_open[row]),
                "normal_quantile": None if is_open[row] else float(ranks[row]),
            }


def _kept(count: int) -> npt.NDArray[np.int64]:
    """Places of the points that are shown, evenly spread, first and last among them."""
    if count <= POINTS_AT_MOST:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, POINTS_AT_MOST).round().astype(np.int64))


def _samples(case: Case) -> tuple[tuple[str, Sample], ...]:
    return ("baseline", case.baseline), ("candidate", case.candidate)


def _minutes_of_log(mean_log: float | None) -> float | None:
    return None if mean_log is None else math.exp(mean_log) / 60


def _time(value: np.datetime64) -> datetime:
    found: datetime = value.astype("datetime64[us]").item()
    return found
