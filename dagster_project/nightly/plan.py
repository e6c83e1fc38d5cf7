"""What a night would do, without doing it: which files are new, which event days are due already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dagster_project import rule_language
from dagster_project.policy.policy import load_policy
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.statistics.claims.audit import load_decks
from dagster_project.statistics.plan import load_plans
from dagster_project.statistics.roi import load_roi_plans
from dagster_project.transformation import prepare, replay_window, time_limit
from dagster_project.transformation.replay_window import ReplayWindow
from dagster_project.warehouse import landing, lock
from dagster_project.warehouse.connection import WarehouseTooOld, connect, is_current
from dagster_project.warehouse.landing import InputFile


@dataclass(frozen=True)
class NightPlan:
    """What the next night would find."""

    rules: int
    new_files: tuple[InputFile, ...]
    known_files: int
    due: ReplayWindow | None

    def lines(self) -> Iterator[str]:
        """The plan for people, a line a fact."""
        yield f"{self.rules} rules would be replayed"
        size = sum(file.path.stat().st_size for file in self.new_files)
        yield f"{len(self.new_files)} files would be loaded ({size / 2**20:.1f} MiB), {self.known_files} are known:"
        for file in self.new_files:
            yield f"  {file.format.name:12} {file.path}"
        if self.due and self.due.due_days:
            yield f"{self.due.due_days} event days from {self.due.first_day} to {self.due.last_day} are due already"
        yield "nothing was changed"


def check_configuration(project: Project) -> None:
    """Read every file and setting that a night will read: what is wrong in one stops the night before anything runs.

    Raises
    ------
    declaration.SourcesInvalid, document.DocumentError
        Name the file, the line and what is wrong.
    time_limit.InvalidLimit
        When the limit of time for a rule is none.
    """
    time_limit.seconds_a_rule()
    declaration.declared_files(project)
    readers: tuple[tuple[Path, Callable[[Path], object]], ...] = (
        (project.policy_file, load_policy),
        (project.comparisons_file, load_plans),
        (project.roi_file, load_roi_plans),
    )
    for file, read in readers:
        if file.is_file():
            read(file)
    load_decks(project.claims_dir)


def plan_night(project: Project) -> NightPlan:
    """Look at sources, rules and ledger; write nothing.

    Raises
    ------
    rule_language.RuleErrors
        When a rule is wrong: the night would stop there.
    """
    check_configuration(project)
    catalogue = rule_language.load_catalogue(prepare.rule_texts(project))
    files = tuple(declaration.declared_files(project))
    new, due = files, None
    if project.warehouse_file.exists():
        with lock.hold(project.lock_file, "plan"), connect(project.warehouse_file, read_only=True) as connection:
            if not is_current(connection):
                raise WarehouseTooOld(
                    "the warehouse was written by an older version: the next load or night brings it up to date"
                )
            new = tuple(file for file in files if landing.plan_of(connection, file) is not None)
            due = replay_window.due(
                connection, prepare.models_fingerprint(project), declaration.read(project.sources_file).first_day
            )
    return NightPlan(len(catalogue.rules), new, len(files) - len(new), due)
