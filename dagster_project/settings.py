"""Where a project's files are, and the few settings that come from the environment.

A project is a folder with `data/sources.yml`; the checkout of Hindcast is one itself. Nothing here opens a file
of the warehouse or knows what is in one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parent
PROJECT_MARKER = Path("data/sources.yml")


class ProjectNotFound(FileNotFoundError):
    """No folder with `data/sources.yml` at or above the place where one was looked for."""


@dataclass(frozen=True)
class Project:
    """The paths of one project. `root` is absolute; every other path hangs below it."""

    root: Path

    @property
    def sources_file(self) -> Path:
        return self.root / PROJECT_MARKER

    @property
    def policy_file(self) -> Path:
        return self.root / "data/policy.yml"

    @property
    def roi_file(self) -> Path:
        return self.root / "data/roi.yml"

    @property
    def claims_dir(self) -> Path:
        """Decks of claims that other people's documents make, a file a deck."""
        return self.root / "data/claims"

    @property
    def comparisons_file(self) -> Path:
        return self.root / "data/comparisons.yml"

    @property
    def rules_dir(self) -> Path:
        return self.root / "rules"

    @property
    def warehouse_file(self) -> Path:
        return self.root / "data/warehouse/hindcast.duckdb"

    @property
    def lock_file(self) -> Path:
        return self.root / "data/warehouse/hindcast.lock"

    @property
    def generations_dir(self) -> Path:
        """Immutable published generations; the symlink `current` in it names the newest good one."""
        return self.root / "data/warehouse/generations"

    @property
    def state_file(self) -> Path:
        return self.root / "data/state/hindcast.sqlite"

    @property
    def extracted_dir(self) -> Path:
        """What other systems were asked for: a folder a source, kept, for a warehouse can be built again from it."""
        return self.root / "data/landing"

    @property
    def quarantine_dir(self) -> Path:
        """Refused lines that the quarantine table cannot say whole."""
        return self.root / "data/quarantine"

    @property
    def night_lock_file(self) -> Path:
        return self.root / "data/state/night.lock"

    @property
    def night_log_file(self) -> Path:
        return self.root / "data/state/nightly.log"

    @property
    def dagster_home(self) -> Path:
        return self.root / "data/state/dagster"

    @property
    def post_mortems_dir(self) -> Path:
        return self.root / "reports/post_mortems"

    @property
    def site_dir(self) -> Path:
        return self.root / "reports/site"

    @property
    def dbt_dir(self) -> Path:
        """The dbt project: the checkout's own, or the copy that `hindcast prepare` makes of the shipped one."""
        beside = self.root / "dbt"
        return beside if (beside / "dbt_project.yml").is_file() else self.root / "data/state/dbt"

    @property
    def dbt_target_dir(self) -> Path:
        return self.root / "data/state/dbt_target"


def shipped(name: str) -> Path:
    """A file or folder that ships with Hindcast: beside the package in a checkout, inside it in a wheel."""
    checkout = PACKAGE_ROOT.parent
    return checkout / name if (checkout / "pyproject.toml").is_file() else PACKAGE_ROOT / "bundle" / name


def find_project(start: Path | None = None) -> Project:
    """The project at `start`, or the nearest one above it.

    `start` defaults to the environment's HINDCAST_PROJECT, then to the working directory.

    Raises
    ------
    ProjectNotFound
        Says where was looked and how to make a project.
    """
    start = (start or Path(os.environ.get("HINDCAST_PROJECT", "."))).resolve()
    for folder in (start, *start.parents):
        if (folder / PROJECT_MARKER).is_file():
            return Project(folder)
    raise ProjectNotFound(
        f"no Hindcast project at or above {start}: it would hold {PROJECT_MARKER}. "
        "Make one with `hindcast init DIR`, or name one with `--project DIR`."
    )
