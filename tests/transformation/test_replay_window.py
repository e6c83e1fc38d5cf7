from datetime import date

import pytest

from dagster_project.transformation import replay_window
from dagster_project.warehouse import generations
from dagster_project.warehouse.connection import connect, migrate

MODELS = "models-1"
FIRST_DAY = date(2024, 1, 1)


@pytest.fixture
def ledger(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        yield connection


def load(connection, load_id, *days, target="raw.spans", superseded_by=None):
    connection.execute(
        "insert into audit.loads select ?, 's', 'f', 'p', 'h', 'loaded', null, 1, 1, 1, 1, 0, [], ?, null,"
        " now()::timestamp, now()::timestamp, 'v', ?, null, null, null, null, ?, 0",
        [load_id, list(days), target, superseded_by],
    )


def test_nothing_landed_is_nothing_due(ledger):
    assert replay_window.due(ledger, MODELS, FIRST_DAY) is None
    load(ledger, 1, date(2024, 1, 1), target="raw.tickets")
    assert replay_window.due(ledger, MODELS, FIRST_DAY) is None


@pytest.mark.parametrize("target", ["raw.spans", "raw.logs", "raw.metric_points", "raw.metric_histograms"])
def test_telemetry_is_what_lands_in_its_tables_whatever_the_format(ledger, target):
    load(ledger, 1, date(2024, 1, 1), target=target)
    assert replay_window.due(ledger, MODELS, FIRST_DAY).due_days == 1


def test_a_load_that_gave_way_makes_no_day_due_but_its_successor_does(ledger):
    load(ledger, 1, date(2024, 1, 1), superseded_by=2)
    load(ledger, 2, date(2024, 1, 1), date(2024, 1, 2))
    load(ledger, 3, date(2024, 1, 9), superseded_by=4)
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days) == (date(2024, 1, 1), date(2024, 1, 2), 2)


def test_days_that_a_replayed_load_has_left_are_due_whatever_took_its_place(ledger):
    load(ledger, 1, date(2024, 1, 1), date(2024, 1, 5))
    replay_window.record(ledger, replay_window.due(ledger, MODELS, FIRST_DAY), "v")
    ledger.execute("update audit.loads set superseded_by = 2")
    load(ledger, 2, target="raw.changes")
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days, due.through_load_id) == (
        date(2024, 1, 1),
        date(2024, 1, 5),
        2,
        2,
    )
    replay_window.record(ledger, due, "v")
    assert replay_window.due(ledger, MODELS, FIRST_DAY) is None


def test_what_has_given_way_is_no_newest_day_and_due_once(ledger):
    load(ledger, 1, date(2024, 1, 9))
    replay_window.record(ledger, replay_window.due(ledger, MODELS, FIRST_DAY), "v")
    ledger.execute("update audit.loads set superseded_by = 2")
    load(ledger, 2, date(2024, 1, 3))
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days) == (date(2024, 1, 3), date(2024, 1, 9), 2)
    replay_window.record(ledger, due, "v")
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days) == (date(2024, 1, 3), date(2024, 1, 3), 0)
    assert replay_window.due(ledger, "models-2", FIRST_DAY).last_day == date(2024, 1, 3), "from scratch, it is nowhere"


def test_the_first_replay_takes_in_every_day_from_scratch(ledger):
    load(ledger, 1, date(2024, 1, 3))
    load(ledger, 2, date(2024, 1, 1), date(2024, 1, 2))
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days, due.full_refresh) == (
        date(2024, 1, 1),
        date(2024, 1, 3),
        3,
        True,
    )


def test_late_records_make_their_days_due_and_a_replay_that_was_noted_makes_them_done(ledger):
    load(ledger, 1, date(2024, 1, 1), date(2024, 1, 9))
    replay_window.record(ledger, replay_window.due(ledger, MODELS, FIRST_DAY), "v")
    load(ledger, 2, date(2024, 1, 2))
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days, due.full_refresh) == (
        date(2024, 1, 2),
        date(2024, 1, 2),
        1,
        False,
    )
    assert replay_window.due(ledger, MODELS, FIRST_DAY) == due, "a replay that was killed is due again"
    replay_window.record(ledger, due, "v")
    assert replay_window.due(ledger, MODELS, FIRST_DAY).due_days == 0
    assert replay_window.due(ledger, MODELS, FIRST_DAY).first_day == date(2024, 1, 9)


def test_changed_models_make_every_day_due(ledger):
    load(ledger, 1, date(2024, 1, 1), date(2024, 1, 9))
    replay_window.record(ledger, replay_window.due(ledger, MODELS, FIRST_DAY), "v")
    due = replay_window.due(ledger, "models-2", FIRST_DAY)
    assert (due.first_day, due.last_day, due.full_refresh) == (date(2024, 1, 1), date(2024, 1, 9), True)


def test_another_first_day_builds_everything_from_scratch(ledger):
    load(ledger, 1, date(2024, 1, 1), date(2024, 1, 9))
    replay_window.record(ledger, replay_window.due(ledger, MODELS, FIRST_DAY), "v")
    due = replay_window.due(ledger, MODELS, date(2024, 1, 2))
    assert (due.first_day, due.full_refresh) == (date(2024, 1, 9), True)


def test_days_before_the_first_one_and_days_to_come_belong_to_no_partition(ledger):
    load(ledger, 1, date(2020, 1, 1), date(2024, 1, 5), date(2099, 1, 1))
    due = replay_window.due(ledger, MODELS, FIRST_DAY)
    assert (due.first_day, due.last_day, due.due_days) == (date(2024, 1, 5), date(2024, 1, 5), 1)
    replay_window.record(ledger, due, "v")
    assert replay_window.days_outside(ledger, FIRST_DAY) == (1, 1, 1)
    assert replay_window.due(ledger, MODELS, FIRST_DAY).due_days == 0, "they do not make history due for ever"


def test_marts_are_not_whole_from_begin_to_finish(ledger, tmp_path):
    replay_window.begin(ledger)
    replay_window.begin(ledger)
    with pytest.raises(generations.MartsNotWhole, match="hindcast nightly"):
        generations.publish(ledger, tmp_path / "g")
    replay_window.finish(ledger)
    assert generations.publish(ledger, tmp_path / "g").id


def test_the_window_of_dbt_is_half_open():
    assert replay_window.dbt_vars(date(2024, 2, 28), date(2024, 2, 29), bound=date(2024, 1, 1)) == {
        "replay_from": "2024-02-28",
        "replay_until": "2024-03-01",
        "first_day": "2024-01-01",
    }
