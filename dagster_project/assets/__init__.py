"""Dagster assets: adapters of a few lines around what the rooms do. A module a group; `build_assets` has them all."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets import appraisals, curves, landing, models, papers, publication, statistics
from dagster_project.settings import Project


def build_assets(
    project: Project, event_days: dg.PartitionsDefinition[str]
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset of the project, each group after those that it reads."""
    transformed = models.build(project, event_days)
    inferred = [*statistics.build(project), *curves.build(), *appraisals.build(project)]
    served = sorted({*transformed.keys, *(key for each in inferred for key in each.keys)})
    written = papers.build(project, served=served)
    published = publication.build(project, after=sorted(key for each in written for key in each.keys))
    return [*landing.build(project), transformed, *inferred, *written, *published]
