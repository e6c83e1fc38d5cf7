"""Suppressions: violations that somebody answers for until a day. Kept with what cannot be rebuilt; imported.

Which violations one meets, the dbt models say (`fct_violations`); what counts in a night, `nightly/changes.py`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from dagster_project.warehouse.state import open_state


@dataclass(frozen=True)
class Suppression:
    """One suppression. Of a violation, of one scope of a rule, or of a rule (then `scope_key` is None).

    `until` is the last day on which it holds.
    """

    suppression_id: int
    rule_id: str | None
    scope_key: str | None
    violation_id: str | None
    owner: str
    reason: str
    until: date
    created_at: datetime

    @property
    def target(self) -> str:
        """What is suppressed, as it is written on the command line."""
        if self.violation_id is not None:
            return self.violation_id
        return f"{self.rule_id}:{self.scope_key}" if self.scope_key is not None else str(self.rule_id)

    def is_in_force(self, day: date) -> bool:
        """Whether it holds on a day."""
        return day <= self.until


_COLUMNS = "suppression_id, rule_id, scope_key, violation_id, owner, reason, until, created_at"


def add(
    state_file: Path,
    *,
    rule_id: str | None = None,
    scope_key: str | None = None,
    violation_id: str | None = None,
    owner: str,
    reason: str,
    until: date,
) -> Suppression:
    """Keep a new suppression."""
    created_at = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    values = [rule_id, scope_key, violation_id, owner, reason, until.isoformat(), created_at.isoformat()]
    with open_state(state_file) as connection:
        done = connection.execute(
            "insert into suppression (rule_id, scope_key, violation_id, owner, reason, until, created_at)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        return Suppression(int(done.lastrowid or 0), rule_id, scope_key, violation_id, owner, reason, until, created_at)


def remove(state_file: Path, suppression_id: int) -> bool:
    """End a suppression now; whether there was one. What was said is kept."""
    with open_state(state_file) as connection:
        done = connection.execute(
            "update suppression set removed_at = ? where suppression_id = ? and removed_at is null",
            [datetime.now(UTC).replace(tzinfo=None).isoformat(), suppression_id],
        )
        return done.rowcount > 0


def suppressions(state_file: Path) -> list[Suppression]:
    """Those that nobody removed, expired ones included, oldest first."""
    if not state_file.exists():
        return []
    with open_state(state_file) as connection:
        rows = connection.execute(
            f"select {_COLUMNS} from suppression where removed_at is null order by suppression_id"  # noqa: S608
        ).fetchall()
    return [
        Suppression(number, rule, key, violation, owner, why, date.fromisoformat(until), datetime.fromisoformat(at))
        for number, rule, key, violation, owner, why, until, at in rows
    ]


def snapshot(connection: duckdb.DuckDBPyConnection, state_file: Path, day: date) -> int:
    """Import the suppressions into `audit.suppressions` as they hold on a day; how many are in force.

    The models read no clock: what has expired is said here.
    """
    found = suppressions(state_file)
    connection.execute("begin")
    connection.execute("delete from audit.suppressions")
    for one in found:  # people write them one by one
        connection.execute(
            "insert into audit.suppressions values (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*astuple(one), one.is_in_force(day)]
        )
    connection.execute("commit")
    return sum(one.is_in_force(day) for one in found)
