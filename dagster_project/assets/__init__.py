"""Dagster assets: adapters of a few lines around what the rooms do. A module a group; `build_assets` has them all."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets import landing, models, papers, statistics
from dagster_project.settings import Project


def build_assets(project: Project, event_days: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Every asset of the project."""
    return [
        *landing.build(project),
        models.build(project, event_days),
        *statistics.build(project),
        *papers.build(project),
    ]
