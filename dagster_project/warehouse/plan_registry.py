"""When plans of comparisons were stored, and each time that one was computed; kept with what cannot be rebuilt.

What a look costs, `statistics/plan.py` says. Times are UTC.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.warehouse.state import open_state


@dataclass(frozen=True)
class RegisteredPlan:
    """One version of a plan. `looks` counts the states of data on which it was computed."""

    comparison_id: str
    plan_sha256: str
    plan: str
    registered_at: datetime
    first_result_at: datetime | None
    looks: int


@dataclass(frozen=True)
class Look:
    """One result: of which plan, on which data, when.

    `data_sha256` is the hash of the arms; `generation` names what was read, None in a night, which reads the warehouse.
    """

    comparison_id: str
    plan_sha256: str
    data_sha256: str
    verdict: str
    reason: str
    generation: str | None = None
    looked_at: datetime | None = None


def register(state_file: Path, plans: Iterable[tuple[str, str, str]]) -> None:
    """Store plans, each as (id, hash, JSON), before anything is computed; a version that is known keeps its time."""
    with open_state(state_file) as connection:
        connection.executemany(
            "insert or ignore into comparison_plan (comparison_id, plan_sha256, plan, registered_at)"
            " values (?, ?, ?, ?)",
            [(*plan, _now()) for plan in plans],
        )


def record(state_file: Path, looks: Iterable[Look]) -> None:
    """Note results. The same plan on the same data is one look, however often it is computed."""
    with open_state(state_file) as connection:
        connection.executemany(
            "insert or ignore into comparison_look"
            " (comparison_id, plan_sha256, data_sha256, looked_at, verdict, reason, generation)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.comparison_id,
                    each.plan_sha256,
                    each.data_sha256,
                    _now(),
                    each.verdict,
                    each.reason,
                    each.generation,
                )
                for each in looks
            ],
        )


def look_number(state_file: Path, comparison_id: str, data_sha256: str) -> int:
    """Which look at its data it is, counted over all versions of the plan; data that is known keeps its number."""
    if not state_file.exists():
        return 1
    with open_state(state_file) as connection:
        seen = [
            str(data)
            for (data,) in connection.execute(
                "select data_sha256 from comparison_look where comparison_id = ? group by 1 order by min(look_id)",
                [comparison_id],
            )
        ]
    return seen.index(data_sha256) + 1 if data_sha256 in seen else len(seen) + 1


def plans(state_file: Path, comparison_id: str | None = None) -> list[RegisteredPlan]:
    """Every version of the plans that were stored, oldest first; of one comparison when it is named."""
    if not state_file.exists():
        return []
    with open_state(state_file) as connection:
        rows = _versions(connection, comparison_id)
    return [
        RegisteredPlan(
            name,
            sha256,
            plan,
            datetime.fromisoformat(at),
            None if first is None else datetime.fromisoformat(first),
            looks,
        )
        for name, sha256, plan, at, first, looks in rows
    ]


def looks(state_file: Path, comparison_id: str) -> list[Look]:
    """The results of a comparison that were noted, oldest first."""
    if not state_file.exists():
        return []
    with open_state(state_file) as connection:
        rows = connection.execute(
            "select comparison_id, plan_sha256, data_sha256, verdict, reason, generation, looked_at"
            " from comparison_look where comparison_id = ? order by look_id",
            [comparison_id],
        ).fetchall()
    return [
        Look(name, sha256, data, verdict, reason, generation, datetime.fromisoformat(looked_at))
        for name, sha256, data, verdict, reason, generation, looked_at in rows
    ]


def _versions(connection: sqlite3.Connection, comparison_id: str | None) -> list[tuple[str, str, str, str, str, int]]:
    return connection.execute(
        "select p.comparison_id, p.plan_sha256, p.plan, p.registered_at, min(l.looked_at),"
        " count(distinct l.data_sha256)"
        " from comparison_plan p left join comparison_look l"
        " on l.comparison_id = p.comparison_id and l.plan_sha256 = p.plan_sha256"
        " where ? is null or p.comparison_id = ?"
        " group by p.comparison_id, p.plan_sha256, p.plan, p.registered_at order by p.rowid",
        [comparison_id, comparison_id],
    ).fetchall()


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
