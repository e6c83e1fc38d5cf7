from datetime import date

import pytest

from dagster_project.nightly.changes import expired_suppressions
from dagster_project.warehouse import suppressions
from dagster_project.warehouse.connection import connect, migrate

SAID = {"owner": "ana", "reason": "refunded by hand"}


@pytest.fixture
def state_file(tmp_path):
    return tmp_path / "state/hindcast.sqlite"


def test_what_is_suppressed_is_imported_as_it_holds_on_a_day_and_expired_ones_are_told(state_file, tmp_path):
    rule = suppressions.add(state_file, rule_id="paid-once", until=date(2024, 3, 1), **SAID)
    scope = suppressions.add(state_file, rule_id="paid-once", scope_key='"A:1"', until=date(2024, 3, 2), **SAID)
    one = suppressions.add(state_file, violation_id="3fa81c22", until=date(2024, 3, 3), **SAID)
    assert [each.target for each in (rule, scope, one)] == ["paid-once", 'paid-once:"A:1"', "3fa81c22"]
    assert suppressions.suppressions(state_file) == [rule, scope, one]
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        assert suppressions.snapshot(connection, state_file, date(2024, 3, 2)) == 2, "the last day is still one"
        (told,) = expired_suppressions(connection)
        assert "paid-once by ana expired on 2024-03-01" in told
        assert suppressions.remove(state_file, rule.suppression_id)
        assert not suppressions.remove(state_file, rule.suppression_id), "it is gone already"
        assert suppressions.snapshot(connection, state_file, date(2024, 3, 2)) == 2
        assert expired_suppressions(connection) == ()


def test_a_project_without_state_suppresses_nothing(state_file):
    assert suppressions.suppressions(state_file) == []
