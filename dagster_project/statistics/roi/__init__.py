"""Return on investment: assumptions, yearly lines, present values, draws, what the result hangs on, mart rows.

`plan.py` is the model of `data/roi.yml`. Pages and the command line show what stands in the marts.
"""

from dagster_project.statistics.roi.effects import FoundEffects, read_effects
from dagster_project.statistics.roi.marts import (
    roi_draws,
    roi_histogram,
    roi_inputs,
    roi_lines,
    roi_summary,
    roi_tornado,
)
from dagster_project.statistics.roi.plan import RoiPlan, RoiPlans, load_roi_plans
from dagster_project.statistics.roi.schemas import (
    ROI_DRAWS_SCHEMA,
    ROI_HISTOGRAM_SCHEMA,
    ROI_INPUTS_SCHEMA,
    ROI_LINES_SCHEMA,
    ROI_SUMMARY_SCHEMA,
    ROI_TORNADO_SCHEMA,
)

__all__ = [
    "ROI_DRAWS_SCHEMA",
    "ROI_HISTOGRAM_SCHEMA",
    "ROI_INPUTS_SCHEMA",
    "ROI_LINES_SCHEMA",
    "ROI_SUMMARY_SCHEMA",
    "ROI_TORNADO_SCHEMA",
    "FoundEffects",
    "RoiPlan",
    "RoiPlans",
    "load_roi_plans",
    "read_effects",
    "roi_draws",
    "roi_histogram",
    "roi_inputs",
    "roi_lines",
    "roi_summary",
    "roi_tornado",
]
