"""Figures as plotly describes them: data, axes, and a sentence for those who cannot see them. Draws and reads nothing.

A module a subject: `violations`, `durations`, `survival`, `effects`, `control`, `delivery`, `money`, `claims`;
`figure` holds what they share.
"""

from dagster_project.site.charts.claims import verdicts_by_source
from dagster_project.site.charts.control import control_chart
from dagster_project.site.charts.delivery import delivery
from dagster_project.site.charts.durations import resolve_times, two_arms
from dagster_project.site.charts.effects import forest, mix, placebos, ratios
from dagster_project.site.charts.figure import Figure
from dagster_project.site.charts.money import cash_flow, distribution, tornado
from dagster_project.site.charts.survival import Curve, survival
from dagster_project.site.charts.violations import over_time

__all__ = [
    "Curve",
    "Figure",
    "cash_flow",
    "control_chart",
    "delivery",
    "distribution",
    "forest",
    "mix",
    "over_time",
    "placebos",
    "ratios",
    "resolve_times",
    "survival",
    "tornado",
    "two_arms",
    "verdicts_by_source",
]
