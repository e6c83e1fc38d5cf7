"""The night: prepare, land, replay what is due, publish, say what changed. The same jobs that the schedule runs.

No daemon is needed: cron calls `hindcast nightly`, which comes here. A night that was killed can be run again at once.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import asdict, replace
from datetime import UTC, date, datetime

import dagster as dg

from dagster_project import definitions, site
from dagster_project.facts import FailedStep, NightSummary
from dagster_project.nightly import changes
from dagster_project.partitions import range_tags
from dagster_project.progress import Listener, Step, listening
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.transformation import prepare, replay_window
from dagster_project.warehouse import generations, lock, state
from dagster_project.warehouse.connection import connect, migrate

SUCCESS, NEW_VIOLATIONS, FAILURE = 0, 1, 2
# A second night that starts while one runs waits this long for it, then says who holds the lock.
WAIT_SECONDS = 600.0

DAGSTER_YAML = """\
# Written by Hindcast. Nothing phones home; the warehouse has one writer, so one run goes at a time.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
"""


def run_night(project: Project, listener: Listener, *, land: bool = True) -> NightSummary:
    """Run one night.

    Parameters
    ----------
    project
        Whose sources are loaded and whose rules are replayed.
    listener
        Is told of every step as it starts and ends.
    land
        False replays what is in the warehouse without looking for new files.

    Raises
    ------
    rule_language.RuleErrors, prepare.DbtParseFailed
        Before anything ran.
    lock.WarehouseLocked
        When another night runs.
    """
    with lock.hold(project.dagster_home.parent / "night.lock", "nightly", WAIT_SECONDS):
        prepare.prepare(project)
        night = NightSummary(
            night_id=uuid.uuid4().hex[:12],
            started_at=_now(),
            finished_at=_now(),
            exit_code=FAILURE,
            generation=None,
            as_of=None,
        )
        state.begin_night(project.state_file, night.night_id, night.started_at.isoformat())
        before = _generation_of_last_night(project)
        first_load = _newest_load(project)
        failed = _run_jobs(project, listener, land=land)
        night = _summarise(project, night, before, first_load, failed)
        site.write_morning(project.site_dir, night)
        state.end_night(
            project.state_file,
            night.night_id,
            night.finished_at.isoformat(),
            night.exit_code,
            night.generation,
            asdict(night),
        )
        return night


def instance(project: Project) -> dg.DagsterInstance:
    """The project's own Dagster instance, with telemetry off."""
    project.dagster_home.mkdir(parents=True, exist_ok=True)
    (project.dagster_home / "dagster.yaml").write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(project.dagster_home)
    return dg.DagsterInstance.get()


def _run_jobs(project: Project, listener: Listener, *, land: bool) -> list[FailedStep]:
    defs = definitions.build_defs(project)
    failed: list[FailedStep] = []

    def note(step: Step) -> None:
        if step.state == "failed":
            failed.append(FailedStep(step.name, step.message or ""))
        listener(step)

    log_file = project.dagster_home.parent / "nightly.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        listening(note),
        instance(project) as dagster,
        log_file.open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        if land:
            _execute(defs, "land", dagster, None)
        _execute(defs, "replay", dagster, range_tags(*_days(project)))
    return failed


def _execute(defs: dg.Definitions, job: str, dagster: dg.DagsterInstance, tags: dict[str, str] | None) -> None:
    defs.resolve_job_def(job).execute_in_process(
        instance=dagster, tags=tags, raise_on_error=False, run_config={"loggers": {"progress": {}}}
    )


def _days(project: Project) -> tuple[date, date]:
    """The event days to replay: what is due, from the first day that the sources declare."""
    first_day = declaration.read(project.sources_file).first_day
    with lock.hold(project.lock_file, "ask what is due"), connect(project.warehouse_file) as connection:
        migrate(connection)
        due = replay_window.due(connection, prepare.models_fingerprint(project))
    if due is None:
        return first_day, first_day
    return max(first_day, due.first_day), max(first_day, due.last_day)


def _newest_load(project: Project) -> int:
    with lock.hold(project.lock_file, "read the ledger"), connect(project.warehouse_file) as connection:
        migrate(connection)
        return changes.newest_load(connection)


def _generation_of_last_night(project: Project) -> generations.Generation | None:
    """What the last finished night published: a night that was killed must not swallow what it found new."""
    for night in state.nights(project.state_file):
        if night["finished_at"] and night["generation"]:
            with contextlib.suppress(generations.GenerationNotFound):
                return generations.find(project.generations_dir, night["generation"])
    return None


def _summarise(
    project: Project,
    night: NightSummary,
    before: generations.Generation | None,
    first_load: int,
    failed: list[FailedStep],
) -> NightSummary:
    with lock.hold(project.lock_file, "read the ledger"), connect(project.warehouse_file, read_only=True) as connection:
        night = replace(
            night,
            loads=changes.loads_since(connection, first_load),
            refused=changes.refused_since(connection, first_load),
            failed_steps=tuple(failed),
            is_first=before is None,
        )
    after = generations.latest(project.generations_dir)
    if failed or after is None:
        return replace(night, finished_at=_now())
    found = changes.violation_changes(after, before)
    return replace(
        night,
        generation=after.id,
        as_of=after.as_of.replace(tzinfo=None) if after.as_of else None,
        new=found["new"],
        ongoing=found["ongoing"],
        gone=found["gone"],
        exit_code=NEW_VIOLATIONS if found["new"].total else SUCCESS,
        finished_at=_now(),
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
