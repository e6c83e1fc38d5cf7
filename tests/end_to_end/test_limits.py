"""A night in which one rule hits a limit of the engine: the others are judged, and nothing is built twice for it."""

import json

import pytest

from dagster_project.nightly import run
from dagster_project.transformation import limits, prepare, time_limit
from tests.end_to_end.conftest import LONG
from tests.end_to_end.test_bad_input import METRIC, RULE, new_project, query, request, span

ENDLESS = "goes-on-for-ever"
# Planning what judges so many takes some ten times the limit, on whatever machine.
ORDINARY = [f"ordinary-{number}" for number in range(20)]
SECONDS = "0.02"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project whose first replay is interrupted wherever it judges, because one of its rules never ends."""
    project = new_project(tmp_path)
    for name, value in {**prepare.dbt_environment(project), "DAGSTER_HOME": str(project.dagster_home)}.items():
        monkeypatch.setenv(name, value)  # so that what a night sets of them is gone with this test
    for name in (ENDLESS, *ORDINARY):
        (project.rules_dir / f"reliability/{name}.yml").write_text(RULE.replace("error-is-answered", name))
    landing = project.root / "data/landing"
    failed = span(spanId="2" * 16, parentSpanId=span()["spanId"], status={"code": 2})
    (landing / "traces.jsonl").write_bytes(request(span(), failed))
    (landing / "metrics.json").write_text(json.dumps(METRIC))
    (landing / "incidents.json").write_text("[]")
    monkeypatch.setenv(time_limit.VARIABLE, SECONDS)
    monkeypatch.setattr(limits, "seconds_a_group", lambda catalogue: 60.0)
    monkeypatch.setattr(
        limits, "_judged_alone", lambda connection, rule, seconds: "it never ends" if rule.id == ENDLESS else None
    )
    return project


def runs_of_dbt(project):
    """The status of each model, in each run of dbt, the first one first."""
    folders = sorted(project.dbt_target_dir.glob("models-*"), key=lambda folder: folder.stat().st_mtime_ns)
    results = [json.loads((folder / "run_results.json").read_text())["results"] for folder in folders]
    # The window is told in variables, for which dbt by itself would parse the whole project again.
    assert not any("artial parsing" in (folder / "dbt.log").read_text() for folder in folders)
    return [{one["unique_id"].rsplit(".", 1)[1]: one["status"] for one in each} for each in results]


@LONG
def test_the_rule_is_taken_out_and_only_what_hangs_on_its_group_runs_again(project):
    night = run.run_night(project, lambda step: None)
    assert [(step.step, step.message) for step in night.failed_steps] == [(f"rule {ENDLESS}", "it never ends")]
    assert night.exit_code == run.FAILURE
    assert night.generation
    judged = query(project, "select rule_id, verdict from violations.fct_verdicts order by rule_id")
    assert judged == sorted((name, "violated") for name in ("error-is-answered", *ORDINARY))
    assert query(project, "select count(*) from audit.replays") == [(1,)]

    first, second = runs_of_dbt(project)
    assert (first["stg_spans"], first["verdicts__trace"], first["fct_violations"]) == ("success", "error", "skipped")
    assert (second["verdicts__trace"], second["fct_violations"]) == ("success", "success")
    assert not {"stg_spans", "int_trace_shape", "fct_incidents"} & set(second)
    assert not set(first.values()) - {"success", "pass", "error", "skipped"}
    assert set(second.values()) == {"success", "pass"}
    assert set(second) >= {name for name, status in first.items() if status in {"error", "skipped"}}
