"""What cannot be rebuilt from the sources: nights, suppressions, plans of comparisons, in `data/state/hindcast.sqlite`.

The warehouse can be deleted and built again from the sources; this file cannot. Written by Python only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

MIGRATIONS = (
    """
    create table night (
        night_id text primary key,
        started_at text not null,
        finished_at text,
        exit_code integer,
        generation text,
        summary text            -- the NightSummary as JSON
    )
    """,
    """
    create table suppression (
        suppression_id integer primary key autoincrement,
        rule_id text,           -- null: of one violation
        scope_key text,         -- null: every scope of the rule
        violation_id text,
        owner text not null,
        reason text not null,
        until text not null,    -- the last day on which it holds
        created_at text not null,
        removed_at text
    )
    """,
    """
    create table comparison_plan (
        comparison_id text not null,
        plan_sha256 text not null,
        plan text not null,             -- the plan as JSON, of which that is the hash
        registered_at text not null,
        primary key (comparison_id, plan_sha256)
    )
    """,
    """
    create table comparison_look (
        look_id integer primary key autoincrement,
        comparison_id text not null,
        plan_sha256 text not null,
        data_sha256 text not null,      -- of the arms: the same data again is no new look
        looked_at text not null,
        verdict text not null,
        reason text not null,
        generation text,                -- null: of the warehouse itself, in a night
        unique (comparison_id, plan_sha256, data_sha256)
    )
    """,
)


@contextmanager
def open_state(path: Path) -> Iterator[sqlite3.Connection]:
    """The state store with its schema up to date; commits at the end of the block, or rolls back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("begin immediate")
        try:
            _migrate(connection)
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")


def begin_night(path: Path, night_id: str, started_at: str) -> None:
    """Note that a night began. One that has no end was killed."""
    with open_state(path) as connection:
        connection.execute("insert into night (night_id, started_at) values (?, ?)", [night_id, started_at])


def end_night(
    path: Path, night_id: str, finished_at: str, exit_code: int, generation: str | None, summary: dict[str, Any]
) -> None:
    """Note how a night ended."""
    with open_state(path) as connection:
        connection.execute(
            "update night set finished_at = ?, exit_code = ?, generation = ?, summary = ? where night_id = ?",
            [finished_at, exit_code, generation, json.dumps(summary, sort_keys=True, default=str), night_id],
        )


def nights(path: Path, limit: int = 30) -> list[dict[str, Any]]:
    """The latest nights, newest first, without their summaries."""
    if not path.exists():
        return []
    with open_state(path) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "select night_id, started_at, finished_at, exit_code, generation from night"
            " order by started_at desc limit ?",
            [limit],
        ).fetchall()
    return [dict(row) for row in rows]


def last_generation(path: Path) -> str | None:
    """The generation that the last finished night published: what the next night compares with."""
    if not path.exists():
        return None
    with open_state(path) as connection:
        row = connection.execute(
            "select generation from night where finished_at is not null and generation is not null"
            " order by started_at desc limit 1"
        ).fetchone()
    return str(row[0]) if row else None


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("pragma user_version").fetchone()
    for number, statement in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute(statement)
        connection.execute(f"pragma user_version = {number:d}")
