"""Marts of what Hindcast is worth and of what others say of such systems: return on investment, claims audited.

`statistics/roi/` and `statistics/claims/` have the methods, `data/roi.yml` and `data/claims/` the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg
import duckdb
import pyarrow as pa

from dagster_project.assets.statistics import Infer, mart
from dagster_project.settings import Project
from dagster_project.statistics import roi
from dagster_project.statistics.claims.audit import claims_audit, load_decks
from dagster_project.statistics.roi import FoundEffects, RoiPlan

ESTIMATES = (
    ("mart_roi_lines", "Costs and benefits of each estimate, a row a line and year.", roi.roi_lines),
    (
        "mart_roi_summary",
        "Each estimate in total and by labour alone: net present value, return, payback, break-even.",
        roi.roi_summary,
    ),
    (
        "mart_roi_inputs",
        "Every assumption of each estimate, with its source and how far it is supported.",
        roi.roi_inputs,
    ),
    (
        "mart_roi_draws",
        "The distribution of each estimate's net present value: percentiles, chance of a loss.",
        roi.roi_draws,
    ),
    ("mart_roi_histogram", "The bins of that distribution.", roi.roi_histogram),
    ("mart_roi_tornado", "What each estimate hangs on: every driver at the ends of its range.", roi.roi_tornado),
)


def build(project: Project) -> list[dg.AssetsDefinition]:
    """One asset a mart."""
    compared = [dg.AssetKey(["marts", "mart_significance"])]
    return [
        *(mart(name, said, _rows_of(project, rows), after=compared) for name, said, rows in ESTIMATES),
        mart(
            "claims_audit",
            "Every numeric claim of the project's decks, recomputed from its own inputs.",
            lambda _: claims_audit(load_decks(project.claims_dir)),
        ),
    ]


def _rows_of(project: Project, rows: Callable[[Sequence[RoiPlan], FoundEffects], pa.Table]) -> Infer:
    def infer(connection: duckdb.DuckDBPyConnection) -> pa.Table:
        plans = _estimates(project)
        return rows(plans, roi.read_effects(connection, plans))

    return infer


def _estimates(project: Project) -> Sequence[RoiPlan]:
    """The project's estimates of return; a project without the file makes none."""
    file = project.roi_file
    return roi.load_roi_plans(file).estimates if file.is_file() else ()
