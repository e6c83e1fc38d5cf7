"""Putting the site together: every page into a folder set aside, which then takes the place of the old one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from dagster_project.facts import NightSummary, Stamp, WrittenDocument
from dagster_project.site import (
    claims,
    data,
    evidence,
    incidents,
    morning,
    overview,
    resolve_times,
    roi,
    rules,
    significance,
)
from dagster_project.site.recorded import Recorded
from dagster_project.site.workshop import ASSETS, Workshop, lay_assets, set_aside, sweep

MORNING = "morning.html"


def build(
    connection: duckdb.DuckDBPyConnection,
    site_dir: Path,
    stamp: Stamp,
    *,
    documents: Sequence[WrittenDocument] = (),
    night: NightSummary | None = None,
) -> Path:
    """Build the whole site.

    Parameters
    ----------
    connection
        With schemas audit, intermediate, violations, marts: the warehouse or a published generation.
    site_dir
        The site's folder. It is replaced whole by a rename; one writer at a time, the caller holds the lock.
    stamp
        Which state this is; printed on every page.
    documents
        The post-mortems to show, from `post_mortem.write` or `post_mortem.read_written`.
    night
        What the last night did. Without it the morning page that is there stays.

    Returns
    -------
    Path
        Of index.html.
    """
    sweep(site_dir)
    with set_aside(site_dir) as folder:
        workshop = Workshop(connection, folder, stamp)
        lay_assets(folder / ASSETS)
        recorded = Recorded(workshop, frozenset(document.slug for document in documents))
        overview.write(workshop, recorded)
        incidents.write(workshop, recorded, documents)
        rules.write(workshop, recorded)
        resolve_times.write(workshop)
        significance.write(workshop)
        roi.write(workshop)
        claims.write(workshop)
        evidence.write(workshop)
        data.write(workshop)
        _morning(workshop, site_dir, night)
    return site_dir / "index.html"


def write_morning(site_dir: Path, night: NightSummary) -> Path:
    """Write the morning page alone, into a site that may not exist yet: a night that failed has a morning too."""
    site_dir.mkdir(parents=True, exist_ok=True)
    if not (site_dir / ASSETS).is_dir():
        lay_assets(site_dir / ASSETS)
    morning.write(site_dir / MORNING, night, has_site=(site_dir / "index.html").is_file())
    return site_dir / MORNING


def _morning(workshop: Workshop, site_dir: Path, night: NightSummary | None) -> None:
    if night is not None:
        morning.write(workshop.folder / MORNING, night)
    elif (site_dir / MORNING).is_file():
        shutil.copyfile(site_dir / MORNING, workshop.folder / MORNING)
    else:
        morning.write_empty(workshop.folder / MORNING, workshop.stamp)
