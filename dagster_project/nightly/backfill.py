"""Backfilling: what loading and replaying a range of past event days takes, and replaying it step by step.

A step that was finished is not done again, as long as nothing changed since: rules, models, loads. Files are landed by
the caller; how days are replayed is `run.py`'s business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from dagster_project import __version__
from dagster_project.facts import FailedStep
from dagster_project.nightly import run
from dagster_project.progress import Listener
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.transformation import prepare, replay_window
from dagster_project.warehouse import landing, lock
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile

STEP_DAYS = 7


class RangeInvalid(ValueError):
    """The range of days cannot be backfilled; the message says why."""


@dataclass(frozen=True)
class Speed:
    """How fast loads of one format were, by the ledger."""

    bytes_per_second: float
    records_per_byte: float


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill of `start` to `end`, both included, is about.

    Parameters
    ----------
    new_files
        Declared files that are not loaded as they are now; only reading them tells their days.
    known_files
        How many files are loaded already.
    known_days
        The days of the range of which telemetry is loaded.
    known_rows
        How many records the loads of those days hold, on these days and others.
    speeds
        By format, for those of which something was loaded before.
    """

    start: date
    end: date
    new_files: tuple[InputFile, ...]
    known_files: int
    known_days: tuple[date, ...]
    known_rows: int
    speeds: dict[str, Speed]

    @property
    def bytes_to_read(self) -> int:
        return sum(landing.size_of(file.path) for file in self.new_files)

    @property
    def seconds(self) -> float | None:
        """How long loading will take; None when a format was never loaded before."""
        return self._estimated(lambda size, speed: size / speed.bytes_per_second)

    @property
    def rows(self) -> float | None:
        """How many records will be loaded; None when a format was never loaded before."""
        return self._estimated(lambda size, speed: size * speed.records_per_byte)

    def _estimated(self, of: Callable[[int, Speed], float]) -> float | None:
        if any(file.format.name not in self.speeds for file in self.new_files):
            return None
        return sum(of(landing.size_of(file.path), self.speeds[file.format.name]) for file in self.new_files)

    def lines(self) -> Iterator[str]:
        """The plan for people, a line a fact."""
        loaded = f"{len(self.known_days)} are loaded, with {self.known_rows:,} records"
        yield f"event days {self.start} to {self.end}: {loaded}"
        yield f"{self.known_files:,} files are loaded"
        if self.new_files:
            size = f"{self.bytes_to_read / 2**20:,.1f} MiB"
            yield f"{len(self.new_files):,} files not yet loaded will be read to know their days: {size}"
            yield f"that is {_shown(self.rows, 'records')} and takes {_duration(self.seconds)}"
        yield "replaying takes as long as a night for each step"


def plan_backfill(
    project: Project, connection: duckdb.DuckDBPyConnection, start: date, end: date, only: Sequence[str] = ()
) -> BackfillPlan:
    """Look at the declared files and the ledger; write nothing.

    Parameters
    ----------
    only
        Names of sources whose files are loaded; none: all.

    Raises
    ------
    RangeInvalid
        The range ends before it starts, or before the first day that the project replays.
    """
    first_day = _first_day(project)
    if end < start:
        raise RangeInvalid(f"the range ends on {end}, before it starts on {start}")
    if end < first_day:
        raise RangeInvalid(f"nothing before {first_day} is replayed: set an earlier first_day in data/sources.yml")
    files = [file for file in declaration.declared_files(project) if not only or file.source in only]
    new = tuple(file for file in files if _is_new(connection, file))
    days, rows = _known(connection, max(start, first_day), end)
    return BackfillPlan(max(start, first_day), end, new, len(files) - len(new), days, rows, _speeds(connection))


def replay_in_steps(
    project: Project, plan: BackfillPlan, listener: Listener, tell: Callable[[str], None], step_days: int = STEP_DAYS
) -> list[FailedStep]:
    """Replay the days of the range of which telemetry is loaded, `step_days` at a time, in order.

    Whatever ends the process, running it again goes on with the first step that was not finished.

    Returns
    -------
    list of FailedStep
        What failed in the first step that did; the steps after it were not begun.
    """
    with lock.hold(project.night_lock_file, "backfill", run.WAIT_SECONDS):
        prepare.prepare(project)
        with _reading(project) as connection:
            days, _ = _known(connection, plan.start, plan.end)
            state = _state_of(project, connection)
            # Before the first step: what lands meanwhile is no longer among it, and no step may have judged it.
            due = replay_window.due(connection, prepare.models_fingerprint(project), _first_day(project))
            left = replay_window.days_left(connection, plan.start, plan.end)
        steps = list(steps_of(sorted({*days, *left}), plan.start, step_days))
        if days and due and due.full_refresh:
            tell(
                f"the models are new to this warehouse: every loaded day from {due.first_day} on is built, in one step"
            )
            steps = [(due.first_day, due.last_day)]
        done = _done(project, state)
        for number, (first, last) in enumerate(steps, 1):
            said = f"step {number} of {len(steps)}: {first} to {last}"
            if [str(first), str(last)] in done:
                tell(f"{said} was done before")
                continue
            tell(said)
            if failed := run.replay_days(project, listener, first, last):
                return failed
            done.append([str(first), str(last)])
            _remember(project, state, done)
        _note_replayed(project, plan, due)
    return []


def steps_of(days: Sequence[date], start: date, step_days: int) -> Iterator[tuple[date, date]]:
    """The first and last day of each stretch of `step_days` from `start` on that has any."""
    by_step: dict[int, list[date]] = {}
    for day in sorted(days):
        by_step.setdefault((day - start).days // step_days, []).append(day)
    for found in by_step.values():
        yield found[0], found[-1]


def _is_new(connection: duckdb.DuckDBPyConnection, file: InputFile) -> bool:
    try:
        plan = landing.plan_of(connection, file)
    except OSError:
        return True  # landing says why it cannot be read
    return plan is not None and plan.failed_before is None


def _known(connection: duckdb.DuckDBPyConnection, start: date, end: date) -> tuple[tuple[date, ...], int]:
    rows = connection.execute(
        """
        with found as (
            select load_id, records_landed - coalesce(rows_expired, 0) as records, unnest(event_days) as day
            from audit.loads
            where list_contains($telemetry, target) and superseded_by is null
        ),
        within as (from found where day between $start and $end)
        select (select list(distinct day order by day) from within),
            (select coalesce(sum(records), 0) from (select distinct load_id, records from within))
        """,
        {"telemetry": replay_window.TELEMETRY, "start": start, "end": end},
    ).fetchall()
    ((days, records),) = rows
    return tuple(days or ()), int(records)


def _speeds(connection: duckdb.DuckDBPyConnection) -> dict[str, Speed]:
    rows = connection.execute(
        """
        select format, sum(file_bytes) / sum(seconds), sum(records_landed) / sum(file_bytes)
        from (
            select *, epoch(finished_at) - epoch(started_at) as seconds from audit.loads
            where status = 'loaded' and file_bytes > 0
        )
        group by format having sum(seconds) > 0
        """
    ).fetchall()
    return {name: Speed(float(speed), float(density)) for name, speed, density in rows}


def _state_of(project: Project, connection: duckdb.DuckDBPyConnection) -> str:
    """What the outcome of a step depends on: rules, models, policy, and what is loaded."""
    newest = connection.execute(
        "select (select max(load_id) from audit.loads), (select count(*) from audit.expirations)"
    ).fetchall()
    policy = project.policy_file.read_bytes() if project.policy_file.is_file() else b""
    parts = f"{prepare.fingerprint(project)} {_first_day(project)} {newest}".encode() + policy
    return hashlib.sha256(parts).hexdigest()[:16]


def _first_day(project: Project) -> date:
    return declaration.read(project.sources_file).first_day


def _file(project: Project) -> Path:
    return project.state_file.with_name("backfill.json")


def _done(project: Project, state: str) -> list[list[str]]:
    """The steps that were finished in this state of things."""
    try:
        found = json.loads(_file(project).read_text())
        return [list(step) for step in found["done"]] if found["state"] == state else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _remember(project: Project, state: str, done: list[list[str]]) -> None:
    file = _file(project)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps({"state": state, "done": done}))
    beside.replace(file)


def _note_replayed(project: Project, plan: BackfillPlan, due: replay_window.ReplayWindow | None) -> None:
    """When all that was due before the first step lies in the range, the next night needs not replay it again."""
    if due is None or not due.due_days or due.full_refresh or not due.is_within(plan.start, plan.end):
        return
    with _reading(project) as connection:
        replay_window.record(connection, due, __version__)


@contextmanager
def _reading(project: Project) -> Iterator[duckdb.DuckDBPyConnection]:
    with lock.hold(project.lock_file, "backfill", run.WAIT_SECONDS), connect(project.warehouse_file) as connection:
        migrate(connection)
        yield connection


def _shown(value: float | None, what: str) -> str:
    return f"unknown {what}" if value is None else f"{value:,.0f} {what}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time: of a format nothing was loaded yet"
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
