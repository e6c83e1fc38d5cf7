"""Marts of what Hindcast is worth and of what others say of such systems: return on investment, claims audited.

`statistics/roi/` and `statistics/claims/` have the methods, `data/roi.yml` and `data/claims/` the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project.assets.statistics import mart
from dagster_project.settings import Project
from dagster_project.statistics import roi
from dagster_project.statistics.roi_plan import RoiPlan, load_roi_plans


def build(project: Project) -> list[dg.AssetsDefinition]:
    """One asset a mart."""
    return [
        mart(
            "mart_roi_lines",
            "Costs and benefits of each estimate, a row a line and year.",
            lambda _: roi.roi_lines(_estimates(project)),
        ),
        mart(
            "mart_roi_summary",
            "Each estimate in total and by labour alone: net present value, return, payback.",
            lambda _: roi.roi_summary(_estimates(project)),
        ),
        mart(
            "mart_roi_inputs",
            "Every assumption of each estimate, with its source and how far it is supported.",
            lambda _: roi.roi_inputs(_estimates(project)),
        ),
    ]


def _estimates(project: Project) -> Sequence[RoiPlan]:
    """The project's estimates of return; a project without the file makes none."""
    file = project.roi_file
    return load_roi_plans(file).estimates if file.is_file() else ()
