"""The night: prepare, land, replay what is due, publish, say what changed. It runs Dagster's jobs `land` and `replay`.

No daemon is needed: cron calls `hindcast nightly`, which comes here. A night that was killed can be run again at once.
"""

from __future__ import annotations

import contextlib
import os
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime

import dagster as dg
import duckdb

from dagster_project import definitions, site
from dagster_project.facts import FailedStep, NightSummary
from dagster_project.nightly import changes
from dagster_project.nightly.plan import check_configuration
from dagster_project.partitions import range_tags
from dagster_project.progress import Listener, Step, listening
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.transformation import limits, prepare, replay_window
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


@dataclass
class _Told:
    """What the steps of a night said of themselves."""

    listener: Listener
    failed: list[FailedStep] = field(default_factory=list)
    warnings: list[FailedStep] = field(default_factory=list)
    has_failed_check: bool = False

    def note(self, step: Step) -> None:
        if step.state == "failed":
            self.has_failed_check |= step.is_check
            self.failed.append(FailedStep(step.name, step.message or ""))
        elif step.state == "warned":
            self.warnings.append(FailedStep(step.name, step.message or ""))
        self.listener(step)


def run_night(project: Project, listener: Listener, *, land: bool = True) -> NightSummary:
    """Run one night. Whatever goes wrong in it is in the summary, on the morning page and in the ledger of nights.

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
    rule_language.RuleErrors, prepare.DbtParseFailed, declaration.SourcesInvalid, policy.DocumentError
        Before anything ran.
    lock.WarehouseLocked
        When another night runs.
    """
    with lock.hold(project.night_lock_file, "nightly", WAIT_SECONDS):
        prepare.prepare(project)
        check_configuration(project)
        night = NightSummary(uuid.uuid4().hex[:12], _now(), _now(), FAILURE, generation=None, as_of=None)
        state.begin_night(project.state_file, night.night_id, night.started_at.isoformat())
        told = _Told(listener)
        try:
            night = _run(project, night, told, land=land)
        except Exception as error:
            with project.night_log_file.open("a", encoding="utf-8") as log:
                log.write(traceback.format_exc())
            told.failed.append(FailedStep("night", f"{type(error).__name__}: {error}"))
        night = replace(night, failed_steps=tuple(told.failed), warnings=tuple(told.warnings), finished_at=_now())
        if night.failed_steps:
            night = replace(night, exit_code=FAILURE)
        site.write_morning(project.site_dir, night)
        ended = (night.finished_at.isoformat(), night.exit_code, night.generation, asdict(night))
        state.end_night(project.state_file, night.night_id, *ended)
        return night


def _run(project: Project, night: NightSummary, told: _Told, *, land: bool) -> NightSummary:
    before = _generation_of_last_night(project)
    first_load, last_replay = _newest(project)
    is_published = _run_jobs(project, told, land=land)
    with _reading(project, "read the ledger") as connection:
        told.warnings.extend(_days_outside(connection, declaration.read(project.sources_file).first_day))
        taken_out = tuple(FailedStep(f"rule {rule}", why) for rule, why in limits.taken_out(connection))
        told.failed.extend(taken_out)
        told.warnings.extend(FailedStep("suppressions", said) for said in changes.expired_suppressions(connection))
        night = replace(
            night,
            loads=changes.loads_since(connection, first_load),
            refused=changes.refused_since(connection, first_load),
            taken_out=taken_out,
            inconclusive=changes.newly_inconclusive(connection, last_replay) if is_published else night.inconclusive,
            is_first=before is None,
        )
    after = generations.latest(project.generations_dir)
    if not is_published or after is None:
        return night
    found = changes.violation_changes(after, before)
    return replace(
        night,
        generation=after.id,
        as_of=after.as_of.replace(tzinfo=None) if after.as_of else None,
        new=found["new"],
        ongoing=found["ongoing"],
        gone=found["gone"],
        suppressed=found["suppressed"],
        shadow=found["shadow"],
        exit_code=NEW_VIOLATIONS if found["new"].total else SUCCESS,
    )


def instance(project: Project) -> dg.DagsterInstance:
    """The project's own Dagster instance, with telemetry off."""
    project.dagster_home.mkdir(parents=True, exist_ok=True)
    settings = project.dagster_home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(project.dagster_home)
    return dg.DagsterInstance.get()


def _run_jobs(project: Project, told: _Told, *, land: bool) -> bool:
    """Land, then replay what is due; whether the replay got as far as to publish.

    A file that cannot be landed is no reason to withhold what the others say. A check of severity error is: it means
    that landing itself is wrong.
    """
    with _executing(project, told, "w") as (defs, dagster):
        if land:
            _execute(defs, "land", dagster, None)
            if told.has_failed_check:
                return False
        return _execute(defs, "replay", dagster, range_tags(*_days(project)))


def replay_days(project: Project, listener: Listener, first_day: date, last_day: date) -> list[FailedStep]:
    """Replay some event days outside of a night, as a night replays those that are due; what failed of it.

    The caller holds the lock of the nights and has prepared the models.
    """
    told = _Told(listener)
    with _executing(project, told, "a") as (defs, dagster):
        _execute(defs, "replay", dagster, range_tags(first_day, last_day))
    return told.failed


@contextlib.contextmanager
def _executing(project: Project, told: _Told, log_mode: str) -> Iterator[tuple[dg.Definitions, dg.DagsterInstance]]:
    """What runs jobs; their output goes to the log of the nights."""
    defs = definitions.build_defs(project)
    with (
        listening(told.note),
        instance(project) as dagster,
        project.night_log_file.open(log_mode, encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        yield defs, dagster


def _execute(defs: dg.Definitions, job: str, dagster: dg.DagsterInstance, tags: dict[str, str] | None) -> bool:
    done = defs.resolve_job_def(job).execute_in_process(
        instance=dagster, tags=tags, raise_on_error=False, run_config={"loggers": {"progress": {}}}
    )
    return done.success


def _days(project: Project) -> tuple[date, date]:
    """The event days to replay."""
    first_day = declaration.read(project.sources_file).first_day
    with _reading(project, "ask what is due") as connection:
        due = replay_window.due(connection, prepare.models_fingerprint(project), first_day)
    return (due.first_day, due.last_day) if due else (first_day, first_day)


def _days_outside(connection: duckdb.DuckDBPyConnection, first_day: date) -> Iterator[FailedStep]:
    before, to_come, files = replay_window.days_outside(connection, first_day)
    if before:
        message = f"{before} event days of {files} files lie before {first_day} and are judged by no rule"
        yield FailedStep("first_day in data/sources.yml", f"{message}: set an earlier first_day to replay them")
    if to_come:
        yield FailedStep("clocks", f"{to_come} event days of {files} files lie in the future and are judged by no rule")


def _newest(project: Project) -> tuple[int, int]:
    """The newest load and the last replay, before the night adds to them."""
    with _reading(project, "read the ledger") as connection:
        return changes.newest_load(connection), changes.newest_replay(connection)


@contextlib.contextmanager
def _reading(project: Project, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection on the warehouse as soon as nobody writes; the first one makes the warehouse."""
    with lock.hold(project.lock_file, purpose, WAIT_SECONDS), connect(project.warehouse_file) as connection:
        migrate(connection)
        yield connection


def _generation_of_last_night(project: Project) -> generations.Generation | None:
    """What the last finished night published: a night that was killed must not swallow what it found new."""
    last = state.last_generation(project.state_file)
    if last is None:
        return None
    try:
        return generations.find(project.generations_dir, last)
    except generations.GenerationNotFound:
        return None


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
