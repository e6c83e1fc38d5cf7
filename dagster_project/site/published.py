"""The site of a published generation, with the post-mortems that lie beside it."""

from __future__ import annotations

from pathlib import Path

from dagster_project import post_mortem
from dagster_project.facts import Stamp
from dagster_project.settings import Project
from dagster_project.site.build import build
from dagster_project.warehouse import generations


def build_published(project: Project, generation_id: str | None = None) -> Path:
    """Build the site of a generation, by default the current one; its index page is returned.

    Raises
    ------
    generations.GenerationNotFound
        When nothing is published, or not under that id.
    """
    found = generations.find(project.generations_dir, generation_id)
    as_of = found.as_of.replace(tzinfo=None) if found.as_of else None
    documents = post_mortem.read_written(project.post_mortems_dir)
    with generations.open_generation(found) as connection:
        return build(connection, project.site_dir, Stamp(found.id, as_of), documents=documents)
