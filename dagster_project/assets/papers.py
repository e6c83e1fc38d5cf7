"""What is written about incidents: post-mortems, and the evidence of the run that made them."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project import post_mortem
from dagster_project.assets.statistics import mart
from dagster_project.evidence.collection import collect
from dagster_project.resources import Warehouse
from dagster_project.settings import Project

POST_MORTEMS = dg.AssetKey(["papers", "post_mortems"])


def build(project: Project, *, served: Sequence[dg.AssetKey]) -> list[dg.AssetsDefinition]:
    """Post-mortems read the marts that are `served`; evidence lists what was read and written."""

    @dg.asset(
        key=POST_MORTEMS,
        group_name="papers",
        kinds={"markdown", "html"},
        deps=served,
        description="A post-mortem an incident (Markdown, HTML, JSON): timeline, impact, violations, shifted services.",
    )
    def post_mortems(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        with warehouse.reader("write post-mortems") as connection:
            written = post_mortem.write(connection, project.post_mortems_dir)
        return dg.MaterializeResult(
            metadata={"documents": len(written), "folder": dg.MetadataValue.path(project.post_mortems_dir)}
        )

    evidence = mart(
        "mart_evidence",
        "One row an artefact of the run (loaded file, rule, mart, post-mortem, configuration) with its SHA-256.",
        lambda connection: collect(
            connection,
            root=project.root,
            warehouse_file=project.warehouse_file,
            rules_root=project.root,
            post_mortems={
                document.incident_id: (document.markdown_path, document.html_path, document.json_path)
                for document in post_mortem.read_written(project.post_mortems_dir)
            },
            configuration=(
                project.sources_file,
                project.policy_file,
                project.roi_file,
                project.comparisons_file,
                *sorted(project.claims_dir.glob("*.yml")),
            ),
        ),
        after=[POST_MORTEMS],
        group="papers",
    )
    return [post_mortems, evidence]
