"""What an investigation finds, as records: the answers to who, when, how far, with what else. No query stands here.

Every list has a bound, and says how long it would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagster_project.replay.tables import Row


@dataclass(frozen=True)
class Ranked:
    """Things by how many violations touch them, those without any at the end; `rows` are the first of `total`.

    Each row has its names, `violations`, the violating `traces`, and what was `received` of it in the window at all.
    """

    rows: tuple[Row, ...]
    total: int
    without: int


@dataclass(frozen=True)
class ReportedValues:
    """What a rule reports under one name, over all violations.

    `total` is there for sums and counts; `most` are the values that stand in most violations.
    """

    name: str
    different: int
    missing: int
    total: float | None
    most: tuple[Row, ...]


@dataclass(frozen=True)
class Timeline:
    """When.

    Attributes
    ----------
    first, last
        Of what the rule looks at: start of the first item of the earliest violation, of the last one of the latest.
    per_hour
        `hour_at`, `violations` of each hour that has one.
    bucket_seconds, bars
        The same in steps that give at most `MOST_BARS`: `bucket_at`, `violations`, `traces`.
    changes_before
        The last deploy of each affected service before the first violation, the last of any, and the last commit.
    seconds_received_before
        How much telemetry there is before the first violation: when there is little, it may have begun earlier.
    """

    first: datetime | None
    last: datetime | None
    per_hour: tuple[Row, ...]
    bucket_seconds: int
    bars: tuple[Row, ...]
    changes_before: tuple[Row, ...]
    seconds_received_before: float | None


@dataclass(frozen=True)
class BlastRadius:
    """How far: what violations touch, and what they do not. `places` by the resource attribute that names them."""

    services: Ranked
    versions: Ranked
    places: dict[str, Ranked]
    endpoints: Ranked


@dataclass(frozen=True)
class Investigation:
    """The answers. `incidents` have `violations` in their window; `outside_incidents` are in none (None: not known)."""

    reported: tuple[ReportedValues, ...]
    timeline: Timeline
    blast_radius: BlastRadius
    incidents: tuple[Row, ...]
    outside_incidents: int | None
