"""`hindcast compare` over a small published generation: plans stored before results, answers, and bad input."""

import json
import math

import duckdb
import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.warehouse import plan_registry
from tests.cli.test_queries import publish

PLAN = """\
id: desk-cut-over
question: Did the new on-call plan help?
where: {system: [desk]}
cut_over_at: 2026-03-01T00:00:00Z
baseline: {label: before, side: before}
candidate: {label: after, side: after}
"""


@pytest.fixture
def desk(hindcast):
    """400 incidents from January to April of 2026; those from March on last half as long."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.execute(
            """
            create table marts.fct_incidents as
            select
                'I' || n as incident_id, 'desk' as system, 'P' || (1 + n % 2) as severity, 'shop' as service_name,
                'team ' || n % 3 as team, 'web' as category, cast(null as varchar) as resolution_method, started_at,
                'desk.opened_at' as started_at_source,
                started_at + to_seconds(cast(seconds as bigint)) as resolved_at,
                'desk.resolved_at' as resolved_at_source,
                started_at + to_seconds(cast(seconds as bigint)) as closed_at, 'desk.closed_at' as closed_at_source,
                cast(null as timestamp) as detected_at, cast(null as timestamp) as acknowledged_at,
                cast(null as timestamp) as mitigated_at, cast(null as varchar) as mitigated_at_source,
                false as is_open,
                cast(null as double) as time_to_detect_seconds, cast(null as double) as time_to_acknowledge_seconds,
                cast(null as double) as time_to_mitigate_seconds, seconds as time_to_resolve_seconds,
                cast(null as varchar) as clock_problem
            from (
                select
                    n, timestamp '2026-01-01' + to_hours(7 * n) as started_at,
                    round(3600 * exp(sin(n * 12.9898) * 1.3) * case when n >= 203 then 0.35 else 1 end) + 1 as seconds
                from range(400) as t (n)
            )
            """
        )
        publish(hindcast.project, connection)
    hindcast.plan = hindcast.project.root / "plan.yml"
    hindcast.plan.write_text(PLAN)
    return hindcast


def refused(hindcast, *arguments):
    """The message of a command that is refused by one of the errors that are shown as such."""
    done = CliRunner().invoke(app, ["compare", *arguments, "--project", str(hindcast.project.root)])
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    return " ".join(f"{done.output} {done.exception}".replace("│", " ").split())


def test_a_value_that_no_incident_has_is_told_with_those_that_there_are(desk):
    desk.plan.write_text(PLAN.replace("{system: [desk]}", "{system: [desk], severity: ['3 - Moderate']}"))
    done = desk("compare", "--plan", str(desk.plan), "--dry-run")
    assert "no incident has severity 3 - Moderate; known here: P1, P2" in done
    desk.plan.write_text(PLAN)
    assert "no incident has" not in desk("compare", "--plan", str(desk.plan), "--dry-run")


def test_the_sentence_comes_first_and_the_plan_was_stored_before(desk):
    said = desk("compare", "--plan", str(desk.plan))
    lines = desk.stdout.decode().splitlines()
    assert lines[0] == "desk-cut-over: Did the new on-call plan help?"
    assert lines[2].startswith("The typical time to resolve is 6")
    assert "What may not be concluded:" in said
    (version,) = plan_registry.plans(desk.project.state_file)
    (look,) = plan_registry.looks(desk.project.state_file, "desk-cut-over")
    assert version.registered_at < look.looked_at
    assert (look.verdict, look.generation) == ("IMPROVED", "0123456789ab")
    assert f"SHA-256 {version.plan_sha256}, stored {version.registered_at:%Y-%m-%d %H:%M:%S} UTC" in said


def test_the_same_again_is_the_same_look_and_the_same_words(desk):
    first, second = (desk("compare", "--plan", str(desk.plan)) for _ in "ab")
    assert first == second
    assert len(plan_registry.looks(desk.project.state_file, "desk-cut-over")) == 1


def test_a_plan_changed_after_its_results_is_shown_as_such(desk):
    desk("compare", "--plan", str(desk.plan))
    desk.plan.write_text(PLAN.replace("2026-03-01", "2026-03-08"))
    said = desk("compare", "--plan", str(desk.plan))
    assert "The plan was changed after results of an earlier version existed" in said
    assert "Look 2 at this comparison's data, and 1 look planned" in said
    desk("compare", "--plan", str(desk.plan), "--format", "json")
    (found,) = json.loads(desk.stdout)["comparisons"]
    assert found["is_changed_after_results"] is True
    assert found["level"] == pytest.approx(0.05 / 6)


def test_a_dry_run_stores_nothing_and_tells_no_duration(desk):
    said = desk("compare", "--plan", str(desk.plan), "--dry-run")
    assert "desk-cut-over before 203" in said
    assert "desk-cut-over after 197" in said
    assert not desk.project.state_file.exists()


def test_json_holds_every_step_and_no_nan(desk):
    desk("compare", "--plan", str(desk.plan), "--format", "json")
    answer = json.loads(desk.stdout, parse_constant=pytest.fail)
    (found,) = answer["comparisons"]
    assert [step["number"] for step in found["significance_steps"]] == list(range(13))
    assert {each["estimate_id"] for each in found["significance_estimates"]} >= {"desk-cut-over/accelerated_ratio"}
    assert all(math.isfinite(row["ratio"]) for row in found["significance_slices"])


def test_as_of_an_earlier_time_later_ends_are_unknown(desk):
    desk("compare", "--plan", str(desk.plan), "--as-of", "2026-03-10", "--format", "json")
    (found,) = json.loads(desk.stdout)["comparisons"]
    assert 25 <= found["candidate_incident_count"] <= 32
    desk("compare", "--plan", str(desk.plan), "--as-of", "2026-03-10T08:00:00Z", "--format", "json")
    (later,) = json.loads(desk.stdout)["comparisons"]
    assert later["look_number"] == 2
    assert later["candidate_open_count"] in (0, 1)


def test_markdown_goes_into_a_file(desk, tmp_path):
    target = tmp_path / "answer.md"
    desk("compare", "--plan", str(desk.plan), "--format", "markdown", "--out", str(target))
    assert target.read_text().startswith("## Did the new on-call plan help?")
    assert "| 12 verdict | done |" in target.read_text()


def test_one_of_several_is_judged_with_its_family(desk):
    text = "".join(
        f"- {{id: desk-{name}, question: q, family: main, where: {{severity: [{name}]}}, cut_over_at: "
        f"'2026-03-01T00:00:00Z', baseline: {{label: a, side: before}}, candidate: {{label: b, side: after}}}}\n"
        for name in ("P1", "P2")
    )
    desk.plan.write_text(text.replace("desk-P1", "desk-p1").replace("desk-P2", "desk-p2"))
    desk("compare", "--plan", str(desk.plan), "--id", "desk-p1", "--format", "json")
    (found,) = json.loads(desk.stdout)["comparisons"]
    assert found["comparison_id"] == "desk-p1"
    assert "Holm over 2 primary comparisons" in found["significance_steps"][10]["finding"]
    assert len(plan_registry.plans(desk.project.state_file)) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("2026-03-01", "2031-03-01"), "cut_over_outside_data"),
        (("2026-03-01", "2026-01-02"), "too_few"),
        (("[desk]", "[pager]"), "no_data"),
        (("side: after}", "side: whole}"), "overlapping_arms"),
        (("id: desk", "clock: mitigate\nid: desk"), "too_few"),
    ],
)
def test_arms_that_carry_nothing_are_a_verdict_not_an_error(desk, change, reason):
    desk.plan.write_text(PLAN.replace(*change))
    desk("compare", "--plan", str(desk.plan), "--format", "json")
    (found,) = json.loads(desk.stdout, parse_constant=pytest.fail)["comparisons"]
    assert (found["verdict"], found["reason"]) == ("NOT_COMPARABLE", reason)
    assert "Not comparable: " in desk("compare", "--plan", str(desk.plan))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no comparison"),
        ("[]", "holds no comparison"),
        ("id: [", ":1: "),
        (PLAN.replace("id: desk-cut-over", "id: NO SPACES"), ":1: "),
        (PLAN + "alpha: 2\n", ":7: "),
        (PLAN + "colour: red\n", ":7: "),
        (PLAN.replace("2026-03-01T00:00:00Z", "soon"), ":4: "),
        (PLAN + "looks: 0\n", ":7: "),
        (PLAN + "slices: [team, team]\n", "names a column twice"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_its_line(desk, text, said):
    desk.plan.write_text(text)
    assert said in refused(desk, "--plan", str(desk.plan))
    assert not desk.project.state_file.exists()


def test_options_that_name_nothing_are_refused(desk, tmp_path):
    assert "did you mean `desk-cut-over`?" in refused(desk, "--plan", str(desk.plan), "--id", "desk-cut-ovr")
    assert "no such file" in refused(desk, "--plan", str(tmp_path / "none.yml"))
    assert "does not exist" in refused(desk, "--plan", str(desk.plan), "--out", str(tmp_path / "no" / "answer"))
    assert not desk.project.state_file.exists()


def test_a_family_of_four_is_refused(desk):
    one = PLAN + "family: main"
    plans = ["- " + one.replace("cut-over", str(number), 1).replace("\n", "\n  ") for number in range(4)]
    desk.plan.write_text("\n".join(plans))
    assert "3 are the most" in refused(desk, "--plan", str(desk.plan))
