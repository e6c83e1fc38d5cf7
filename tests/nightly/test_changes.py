import pytest

from dagster_project.nightly import changes
from dagster_project.warehouse import generations
from dagster_project.warehouse.connection import connect, migrate


@pytest.fixture
def warehouse(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        connection.execute("create schema violations")
        connection.execute(
            "create table violations.fct_violations (violation_id varchar, rule_id varchar, title varchar,"
            " severity varchar, status varchar, scope_key varchar, first_span_at timestamp_ns, service_names varchar[],"
            " is_suppressed boolean)"
        )
        yield connection


def violate(connection, *ids, rule="r", status="active", suppressed=False):
    for number, violation_id in enumerate(ids):
        connection.execute(
            "insert into violations.fct_violations values (?, ?, 'title', 'high', ?, ?, ?::timestamp_ns, ['cart'], ?)",
            [violation_id, rule, status, violation_id, f"2024-01-01 00:00:{number:02d}", suppressed],
        )


def test_the_first_night_finds_everything_new(warehouse, tmp_path):
    violate(warehouse, "a", "b")
    found = changes.violation_changes(generations.publish(warehouse, tmp_path / "g"), None)
    assert (found["new"].total, found["ongoing"].total, found["gone"].total) == (2, 0, 0)
    assert found["new"].by_rule == (("r", 2),)
    assert [line.violation_id for line in found["new"].listed] == ["b", "a"], "the newest first"


def test_new_ongoing_and_gone_are_told_apart_and_counted_by_rule(warehouse, tmp_path):
    violate(warehouse, "a", "b")
    before = generations.publish(warehouse, tmp_path / "g")
    warehouse.execute("delete from violations.fct_violations where violation_id = 'a'")
    violate(warehouse, "c", "d", rule="s")
    found = changes.violation_changes(generations.publish(warehouse, tmp_path / "g"), before)
    assert [line.violation_id for line in found["gone"].listed] == ["a"]
    assert [line.violation_id for line in found["ongoing"].listed] == ["b"]
    assert found["new"].by_rule == (("s", 2),)


def test_rules_in_shadow_and_what_is_suppressed_alert_nobody_and_are_counted_apart(warehouse, tmp_path):
    violate(warehouse, "a", status="shadow")
    violate(warehouse, "b", suppressed=True)
    found = changes.violation_changes(generations.publish(warehouse, tmp_path / "g"), None)
    assert {change: told.total for change, told in found.items()} == {
        "new": 0,
        "ongoing": 0,
        "gone": 0,
        "suppressed": 1,
        "shadow": 1,
    }


def test_suppressing_is_no_end_and_an_expired_suppression_makes_new(warehouse, tmp_path):
    violate(warehouse, "a", "b")
    first = generations.publish(warehouse, tmp_path / "g")
    warehouse.execute("update violations.fct_violations set is_suppressed = true where violation_id = 'a'")
    second = generations.publish(warehouse, tmp_path / "g")
    found = changes.violation_changes(second, first)
    assert (found["gone"].total, found["ongoing"].total, found["suppressed"].total) == (0, 1, 1)
    warehouse.execute("update violations.fct_violations set is_suppressed = false")
    found = changes.violation_changes(generations.publish(warehouse, tmp_path / "g"), second)
    assert [line.violation_id for line in found["new"].listed] == ["a"]


def test_lists_are_capped_and_totals_are_not(warehouse, tmp_path):
    violate(warehouse, *(f"v{number}" for number in range(changes.LISTED + 5)))
    found = changes.violation_changes(generations.publish(warehouse, tmp_path / "g"), None)
    assert (found["new"].total, len(found["new"].listed)) == (changes.LISTED + 5, changes.LISTED)


def test_loads_and_refusals_are_those_of_this_night(warehouse):
    for load_id in (1, 2):
        warehouse.execute(
            "insert into audit.loads select ?, 's', 'otlp_logs', 'p', 'h', 'loaded', null, 1, 1, 3, 2, 1, [], [], null,"
            " now()::timestamp, now()::timestamp, 'v', 'raw.logs', null, null, null, null, null, 0",
            [load_id],
        )
        warehouse.execute(
            "insert into audit.quarantine values (?, 1, null, 'not_json', 'd', 'raw', 0, 3, null)", [load_id]
        )
    (loaded,) = changes.loads_since(warehouse, 1)
    assert (loaded.records_landed, loaded.records_rejected) == (2, 1)
    (refused,) = changes.refused_since(warehouse, 1)
    assert (refused.reason, refused.records) == ("not_json", 1)
    assert changes.newest_load(warehouse) == 2


def test_a_scope_is_newly_inconclusive_when_it_was_not_so_before(warehouse):
    warehouse.execute(
        "create table violations.rule_catalogue as select 'r' as rule_id, 'T' as title, 'low' as severity"
    )

    def note(replay, change, scope, verdict="inconclusive"):
        warehouse.execute(
            "insert into audit.verdict_history by name select ? as replay_id, ? as change, ? as scope_key,"
            " ? as verdict, 'r' as rule_id, 'm' as meaning_hash, 'trace' as scope_kind, [] as trace_ids,"
            " ? as violation_id, now()::timestamp as changed_at, timestamp_ns '2024-01-01' as first_span_at",
            [replay, change, scope, verdict, f"{scope}-{replay}-{change}"],
        )

    note(3, "appeared", "of an earlier night")
    note(4, "appeared", "new")
    note(4, "appeared", "violated", "violated")
    note(4, "superseded", "grew")
    note(4, "appeared", "grew")
    note(4, "superseded", "was decided", "satisfied")
    note(4, "appeared", "was decided")
    found = changes.newly_inconclusive(warehouse, 3)
    assert (found.total, found.by_rule) == (2, (("r", 2),))
    assert {line.scope_key for line in found.listed} == {"new", "was decided"}
    assert changes.newly_inconclusive(warehouse, 4).total == 0
