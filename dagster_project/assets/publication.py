"""The last assets of a run: the generation that readers open, and the site made from it."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.site.published import build_published
from dagster_project.warehouse import generations, state

GENERATION = dg.AssetKey(["published", "generation"])


def build(project: Project, *, after: Sequence[dg.AssetKey]) -> list[dg.AssetsDefinition]:
    """The generation comes `after` everything that it publishes."""

    @dg.asset(
        key=GENERATION,
        group_name="publication",
        kinds={"parquet"},
        deps=after,
        description="An immutable copy of staging, violations and marts as Parquet; `hindcast query` reads it.",
    )
    def generation(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        with warehouse.writer("publish") as connection:
            # The next night compares with what the last finished one published.
            compared_with = state.last_generation(project.state_file)
            published = generations.publish(connection, project.generations_dir, keep={compared_with or ""})
        return dg.MaterializeResult(
            metadata={
                "id": published.id,
                "tables": len({part.table for part in published.parts}),
                "rows": sum(part.rows for part in published.parts),
                "folder": dg.MetadataValue.path(published.path),
            }
        )

    @dg.asset(
        key=["published", "site"],
        group_name="publication",
        kinds={"html", "plotly"},
        deps=[GENERATION],
        description="The static site: overview, incidents with post-mortems, rules, MTTR, comparisons, ROI, evidence.",
    )
    def pages() -> dg.MaterializeResult[None]:
        index = build_published(project)
        return dg.MaterializeResult(metadata={"index": dg.MetadataValue.path(str(index))})

    return [generation, pages]
