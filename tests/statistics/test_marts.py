"""The path from `marts.fct_incidents` to rows, on tables made here."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dagster_project.statistics.arms import data_span, read_arm
from dagster_project.statistics.marts import Registry, judge, plan_rows, significance
from dagster_project.statistics.plan import load_plans
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA
from dagster_project.warehouse import plan_registry

REPO = Path(__file__).parents[2]
HALVES = {
    "cut_over_at": "2026-01-16T00:00:00Z",
    "max_missing_share": 0.5,
    "baseline": {"label": "before", "side": "before"},
    "candidate": {"label": "after", "side": "after"},
}


@pytest.fixture
def incidents():
    """An empty `marts.fct_incidents` with the columns that comparisons read."""
    connection = duckdb.connect()
    connection.execute("create schema marts")
    connection.execute(
        """
        create table marts.fct_incidents (
            incident_id varchar, system varchar, severity varchar, service_name varchar, team varchar, category varchar,
            resolution_method varchar, started_at timestamp, started_at_source varchar,
            detected_at timestamp, detected_at_source varchar,
            acknowledged_at timestamp, acknowledged_at_source varchar,
            mitigated_at timestamp, mitigated_at_source varchar, resolved_at timestamp, resolved_at_source varchar,
            closed_at timestamp, closed_at_source varchar, is_open boolean,
            time_to_detect_seconds double, time_to_acknowledge_seconds double, time_to_mitigate_seconds double,
            time_to_resolve_seconds double, clock_problem varchar
        )
        """
    )
    yield connection
    connection.close()


def fill(connection, count=60):
    """Incidents of system `desk`, one every 12 hours, P1 and P2 in turn; some open, some closed but never resolved."""
    connection.execute(
        """
        insert into marts.fct_incidents
        select 'I' || lpad(n::varchar, 3, '0'), 'desk', case when n % 2 = 0 then 'P1' else 'P2' end,
               null, 'team ' || n % 3, 'web', null, started_at, 'desk.opened_at', null, null, null, null, null, null,
               resolved_at, case when resolved_at is not null then 'desk.resolved_at' end,
               closed_at, case when closed_at is not null then 'desk.closed_at' end,
               resolved_at is null, null, null, null, epoch(resolved_at - started_at),
               case when resolved_at is null and closed_at is not null then 'closed, never resolved' end
        from (
            select n, started_at,
                   case when n % 10 <> 9 and n % 15 <> 7
                        then started_at + to_minutes(10 + n * 37 % 100) end as resolved_at,
                   case when n % 10 <> 9 then started_at + interval 3 hours end as closed_at
            from (select n, timestamp '2026-01-01' + to_hours(12 * n) as started_at from range(?) t(n))
        )
        """,
        [count],
    )


def test_an_arm_holds_what_the_plan_says(incidents, plan):
    fill(incidents)
    wanted = plan(
        where={"system": ["desk"]},
        cut_over_at="2026-01-16T00:00:00Z",
        baseline={"label": "before", "side": "before"},
        candidate={"label": "after", "side": "after", "where": {"severity": ["P1"]}},
        exclusions=[{"where": {"team": ["team 2"]}, "reason": "test"}],
    )
    span = data_span(incidents, wanted)
    before, after = (read_arm(incidents, wanted, each, span) for each in (wanted.baseline, wanted.candidate))
    assert before.count == 20
    assert before.excluded == 10
    assert before.incident_ids.tolist()[:3] == ["I000", "I001", "I003"]
    assert before.days == 15
    assert before.open_count == 2  # I009 and I019; I029 is team 2
    assert before.missing_count == 2  # I007 and I022, closed without being resolved
    assert before.durations[0] == 600
    assert set(after.severities.tolist()) == {"P1"}
    assert after.count == 10
    assert set(before.services.tolist()) == {"(none)"}


def test_an_open_incident_is_as_old_as_the_data(incidents, plan):
    fill(incidents)
    wanted = plan()
    span = data_span(incidents, wanted)
    arm = read_arm(incidents, wanted, wanted.baseline, span)
    assert str(span.as_of) == "2026-01-30 12:00:00"  # the last start, later than the last closing
    assert arm.ages[arm.is_open][0] == (span.as_of - span.first).total_seconds() - 9 * 12 * 3600


def test_a_frequency_counts_only_days_that_the_data_covers(incidents, plan):
    fill(incidents, 20)  # 1 to 10 January, two a day
    wanted = plan(
        starts_at="2025-10-01T00:00:00Z",
        cut_over_at="2026-01-06T00:00:00Z",
        ends_at="2026-03-31T00:00:00Z",
        baseline={"label": "before", "side": "before"},
        candidate={"label": "after", "side": "after"},
    )
    (row,) = significance(incidents, [wanted]).to_pylist()
    assert row["baseline_days"] == 5
    assert row["candidate_days"] == pytest.approx(4.5)  # the last one starts at noon of the tenth
    assert row["rate_ratio"] == pytest.approx(10 / 4.5 / 2)
    assert [caveat for caveat in row["caveats"] if caveat.startswith("The plan ")] == [
        "The plan begins on 2025-10-01, the first incident on 2026-01-01: frequencies are counted from there, as if"
        " nothing had been recorded before.",
        "The plan goes on to 2026-03-30, but the last incident starts on 2026-01-10: frequencies are counted up to"
        " there.",
    ]


def test_a_plan_within_the_data_is_kept_to_the_hour_without_a_word(incidents, plan):
    fill(incidents, 20)
    wanted = plan(starts_at="2026-01-02T00:00:00Z", ends_at="2026-01-09T00:00:00Z")
    arm = read_arm(incidents, wanted, wanted.baseline, data_span(incidents, wanted))
    assert (arm.days, arm.count, arm.caveats) == (7, 14, ())
    to_the_end = plan(starts_at="2026-01-01T00:00:00Z", ends_at="2026-01-11T00:00:00Z")
    assert read_arm(incidents, to_the_end, wanted.baseline, data_span(incidents, to_the_end)).caveats == ()


def test_a_mistyped_year_moves_no_frequency_and_no_age(incidents, plan):
    fill(incidents)
    wanted = plan()
    span = data_span(incidents, wanted)
    for problem, start in (("dated after its load", "2062-01-05"), ("resolved before created", "1916-01-05")):
        incidents.execute(
            "insert into marts.fct_incidents by name select * replace (incident_id || $problem as incident_id,"
            " $start::timestamp as started_at, $problem as clock_problem) from marts.fct_incidents limit 1",
            {"problem": problem, "start": start},
        )
    assert data_span(incidents, wanted) == span
    assert read_arm(incidents, wanted, wanted.baseline, span).count == 60
    incidents.execute("update marts.fct_incidents set clock_problem = 'detected before created'")
    assert data_span(incidents, wanted).last.year == 2062  # where all contradict themselves there is nothing else


def test_refused_arms_are_no_look(incidents, plan, tmp_path):
    registry = Registry(tmp_path / "state.sqlite")
    fill(incidents, 6)
    for count in (6, 60):
        incidents.execute("delete from marts.fct_incidents")
        fill(incidents, count)
        (found,) = judge(incidents, [plan(where={"severity": ["P1"]}, **HALVES)], registry).comparisons
        assert (found.effects is None, found.history.look_number) == (count == 6, 1)
    assert len(plan_registry.looks(registry.state_file, "test-plan")) == 1


def test_the_night_after_a_plan_was_changed(incidents, plan, tmp_path):
    registry = Registry(tmp_path / "state.sqlite")
    fill(incidents)
    early, late = (plan(looks=looks, question=f"In {looks}?", **HALVES) for looks in (1, 3))
    for version in (early, late):
        judge(incidents, [version], registry)
        rows = plan_rows(registry.state_file, [version]).to_pylist()
    found = {row["plan_sha256"]: (row["planned_looks"], row["is_current"]) for row in rows}
    assert found == {early.sha256: (1, False), late.sha256: (3, True)}


def test_a_plan_mended_after_it_was_refused_is_not_branded(incidents, plan, tmp_path):
    registry = Registry(tmp_path / "state.sqlite")
    fill(incidents)
    judge(incidents, [plan(where={"severity": ["P7"]}), plan(id="few", starts_at="2026-01-29T00:00:00Z")], registry)
    wanted = [plan(where={"severity": ["P1"]}, **HALVES), plan(id="few", **HALVES)]
    assert [each.history.is_changed_after_results for each in judge(incidents, wanted, registry).comparisons] == [
        False,
        False,
    ]


def test_open_incidents_say_up_to_when_they_count(incidents, plan):
    fill(incidents)
    (row,) = significance(incidents, [plan(**HALVES)]).to_pylist()
    assert any("3 incidents open, counted up to 2026-01-30 12:00 UTC" in text for text in row["caveats"])


def test_a_family_counts_members_without_data(incidents, plan):
    fill(incidents)
    plans = [plan(id="here", family="one", **HALVES), plan(id="nowhere", family="one", where={"system": ["x"]})]
    (found,) = judge(incidents, plans).comparisons
    assert found.holm_p == pytest.approx(min(2 * found.primary.p_value, 1))


@pytest.mark.parametrize("clock", ["detect", "acknowledge", "mitigate", "resolve", "close"])
def test_every_clock_can_be_read(incidents, plan, clock):
    fill(incidents)
    wanted = plan(clock=clock)
    arm = read_arm(incidents, wanted, wanted.baseline, data_span(incidents, wanted))
    assert arm.count == 60
    assert arm.measured.sum() == {"resolve": 50, "close": 54}.get(clock, 0)


def test_values_are_bound_and_never_spliced(incidents, plan):
    fill(incidents)
    wanted = plan(
        where={"system": ["desk"]}, baseline={"label": "before", "where": {"team": ["x'); drop table y; --"]}}
    )
    assert read_arm(incidents, wanted, wanted.baseline, data_span(incidents, wanted)).count == 0


def test_a_plan_about_nothing_is_refused_by_name(incidents, plan):
    (row,) = significance(incidents, [plan(where={"system": ["pager"]})]).to_pylist()
    assert row["verdict"] == "NOT_COMPARABLE"
    assert row["sentence"] == "Not comparable: the warehouse holds no incident of system pager."
    incidents.execute("create table after_it as select 1")  # no answer is left half read


def test_a_cut_over_outside_the_data_is_named(incidents, plan):
    fill(incidents)
    sides = {"baseline": {"label": "a", "side": "before"}, "candidate": {"label": "b", "side": "after"}}
    for when in ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"):
        (row,) = significance(incidents, [plan(cut_over_at=when, **sides)]).to_pylist()
        assert row["reason"] == "cut_over_outside_data"


def test_rows_fit_the_schema_in_a_fixed_order_and_repeat(incidents, plan):
    fill(incidents, 200)
    halves = {
        "baseline": {"label": "P1", "where": {"severity": ["P1"]}},
        "candidate": {"label": "P2", "where": {"severity": ["P2"]}},
    }
    plans = [plan(id="later", **halves), plan(id="earlier", min_mix_overlap=0, **halves)]
    table = significance(incidents, plans)
    assert table.schema == SIGNIFICANCE_SCHEMA
    assert table["comparison_id"].to_pylist() == ["earlier", "later"]
    assert table.equals(significance(incidents, reversed(plans)))
    assert all((field.metadata or {}).get(b"description") for field in table.schema)


def test_the_train_booking_day_carries_no_comparison(incidents):
    file = REPO / "data/samples/trainticket/incidents.json"
    sent = json.loads(file.read_text())
    rows = pa.Table.from_pylist(sent if isinstance(sent, list) else sent["incidents"])  # noqa: F841 - read by DuckDB
    incidents.execute(
        """
        insert into marts.fct_incidents by name
        select incident_id, 'incidents' as system, severity, service as service_name, false as is_open,
               created_at::timestamptz::timestamp as started_at, 'incidents.created_at' as started_at_source,
               resolved_at::timestamptz::timestamp as resolved_at, 'incidents.resolved_at' as resolved_at_source,
               epoch(resolved_at::timestamptz) - epoch(created_at::timestamptz) as time_to_resolve_seconds
        from rows
        """
    )
    plans = [
        plan for plan in load_plans(REPO / "data/comparisons.yml").comparisons if plan.id.startswith("trainticket")
    ]
    (row,) = significance(incidents, plans).to_pylist()
    assert row["verdict"] == "NOT_COMPARABLE"
    assert row["reason"] in ("all_equal", "too_few", "cut_over_outside_data")
