"""Backfills: what they say before they start, the steps that they take, and going on after whatever ended one."""

from datetime import date, timedelta

import pytest

from dagster_project.nightly import backfill
from dagster_project.settings import Project
from dagster_project.sources.declaration import declared_files
from dagster_project.transformation import prepare, replay_window
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import land
from tests.cli.conftest import span

FIRST = date(2024, 1, 1)
SOURCES = """\
version: 1
first_day: 2024-01-01
folders: [in]
sources:
  - {name: traces, format: otlp_traces, path: "in/*.jsonl", optional: true}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    project = Project(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "data").mkdir()
    project.sources_file.write_text(SOURCES)
    monkeypatch.setattr(prepare, "prepare", lambda _project: None)
    monkeypatch.setattr(prepare, "fingerprint", lambda _project: "rules")
    monkeypatch.setattr(prepare, "models_fingerprint", lambda _project: "models")
    return project


def add(project, name, *days):
    seconds = [1704103200 + day * 86_400 for day in days]
    (project.root / "in" / name).write_bytes(b"".join(span(at % 10**9, at) for at in seconds))


def plan(project, start=FIRST, end=FIRST + timedelta(30), *, load=False, only=()):
    with connect(project.warehouse_file) as connection:
        migrate(connection)
        if load:
            land(connection, declared_files(project))
            window = replay_window.due(connection, "models", FIRST)
            if window.full_refresh:
                replay_window.record(connection, window, "v")
        return backfill.plan_backfill(project, connection, start, end, only)


def test_what_it_takes_is_said_before_it_starts(project):
    add(project, "a.jsonl", 0)
    said = "\n".join(plan(project).lines())
    assert "0 are loaded" in said
    assert "1 files not yet loaded will be read to know their days" in said
    assert "unknown records and takes unknown time" in said
    plan(project, load=True)
    add(project, "b.jsonl", 1, 2)
    planned = plan(project)
    assert (planned.known_files, len(planned.new_files), planned.known_days) == (1, 1, (FIRST,))
    assert planned.rows == pytest.approx(2, rel=0.01)
    assert planned.seconds > 0
    assert plan(project, only=["other"]).new_files == ()


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (FIRST, FIRST - timedelta(1), "before it starts"),
        (date(2023, 1, 1), date(2023, 2, 1), "nothing before 2024-01-01"),
    ],
)
def test_a_range_that_cannot_be_is_told(project, start, end, message):
    with pytest.raises(backfill.RangeInvalid, match=message):
        plan(project, start, end)


def test_steps_hold_the_days_that_have_records():
    days = [FIRST + timedelta(n) for n in (0, 3, 6, 7, 25)]
    assert list(backfill.steps_of(days, FIRST, 7)) == [(days[0], days[2]), (days[3], days[3]), (days[4], days[4])]
    assert list(backfill.steps_of([], FIRST, 7)) == []


@pytest.fixture
def replayed(monkeypatch):
    """The steps that were replayed; what is put into `fails` fails."""
    found = type("Replayed", (list,), {"fails": ()})()

    def replay_days(_project, _listener, first, last):
        if first in found.fails:
            raise KeyboardInterrupt
        found.append((first, last))
        return []

    monkeypatch.setattr(backfill.run, "replay_days", replay_days)
    return found


def steps(project, **options):
    said = []
    assert backfill.replay_in_steps(project, plan(project, **options), lambda _: None, said.append) == []
    return said


def test_a_killed_backfill_goes_on_with_the_step_that_was_not_finished(project, replayed):
    add(project, "a.jsonl", 0, 8, 16)
    plan(project, load=True)
    replayed.fails = (FIRST + timedelta(8),)
    with pytest.raises(KeyboardInterrupt):
        steps(project)
    assert replayed == [(FIRST, FIRST)]
    replayed.fails = ()
    assert sum("was done before" in line for line in steps(project)) == 1
    assert [first.day for first, _ in replayed] == [1, 9, 17]
    assert sum("was done before" in line for line in steps(project)) == 3


def test_what_changes_the_outcome_makes_all_steps_due_again(project, replayed, monkeypatch):
    add(project, "a.jsonl", 0, 8)
    plan(project, load=True)
    steps(project)
    add(project, "b.jsonl", 1)
    plan(project, load=True)
    steps(project)
    assert len(replayed) == 4
    monkeypatch.setattr(prepare, "fingerprint", lambda _project: "other rules")
    steps(project)
    assert len(replayed) == 6


def test_a_night_needs_not_replay_what_was_backfilled(project, replayed):
    add(project, "a.jsonl", 0)
    plan(project, load=True)
    add(project, "b.jsonl", 3, 9)
    with connect(project.warehouse_file) as connection:
        land(connection, declared_files(project))
        assert replay_window.due(connection, "models", FIRST).due_days == 2
    steps(project)
    with connect(project.warehouse_file) as connection:
        assert replay_window.due(connection, "models", FIRST).due_days == 0


def test_what_lands_while_steps_run_is_due_for_the_next_night(project, replayed, monkeypatch):
    add(project, "a.jsonl", 0)
    plan(project, load=True)
    add(project, "b.jsonl", 3, 9)
    with connect(project.warehouse_file) as connection:
        land(connection, declared_files(project))

    def replay_days(_project, _listener, first, last):
        replayed.append((first, last))
        add(project, "c.jsonl", 1)
        with connect(project.warehouse_file) as connection:
            land(connection, declared_files(project))
        return []

    monkeypatch.setattr(backfill.run, "replay_days", replay_days)
    steps(project)
    with connect(project.warehouse_file) as connection:
        due = replay_window.due(connection, "models", FIRST)
    assert (due.first_day, due.due_days) == (FIRST + timedelta(1), 1)


def test_a_day_that_a_replaced_load_has_left_is_replayed(project, replayed):
    add(project, "a.jsonl", 0)
    add(project, "b.jsonl", 9)
    plan(project, load=True)
    with connect(project.warehouse_file) as connection:
        connection.execute("update audit.loads set superseded_by = 3 where path like '%b.jsonl'")
    steps(project)
    assert (FIRST + timedelta(9),) * 2 in replayed


def test_models_that_are_new_build_everything_in_one_step(project, replayed, monkeypatch):
    add(project, "a.jsonl", 0, 20)
    plan(project, load=True)
    monkeypatch.setattr(prepare, "models_fingerprint", lambda _project: "new models")
    assert "models are new" in steps(project)[0]
    assert replayed == [(FIRST, FIRST + timedelta(20))]
