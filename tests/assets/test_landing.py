"""Landing as Dagster runs it: systems that do not answer, files that were rewritten, what sources keep no longer."""

import json

import dagster as dg
import duckdb
import pytest

from dagster_project.assets import landing
from dagster_project.resources import Warehouse
from dagster_project.settings import Project

SOURCES = """
version: 1
folders: [in]
sources:
  - {name: logs, format: json_lines, path: in/*.jsonl, retention_days: 2}
  - {name: history, git: {repository: nowhere}}
"""


def log(day: int) -> str:
    return json.dumps({"timestamp": f"2023-01-{day}T08:00:00Z", "message": "ready", "service": "shop"}) + "\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "data/sources.yml").write_text(SOURCES)
    (tmp_path / "in/log.jsonl").write_text(log(27) + log(28) + log(29))
    return Project(tmp_path)


def land(project):
    """The checks that did not hold, by name, with what broke them."""
    done = dg.materialize(landing.build(project), resources={"warehouse": Warehouse(project_root=str(project.root))})
    assert done.success
    return {
        check.check_name: check.metadata["broken"].value
        for check in done.get_asset_check_evaluations()
        if not check.passed
    }


def days(project):
    with duckdb.connect(str(project.warehouse_file), read_only=True) as connection:
        return connection.execute(
            "select day(occurred_at::timestamp), count(*) from raw.logs group by all order by all"
        ).fetchall()


def test_what_does_not_answer_is_told_and_the_files_land(project):
    told = land(project)
    assert set(told) == {"every_system_answered"}
    assert "nowhere" in told["every_system_answered"]
    assert days(project) == [(28, 1), (29, 1)], "two event days are kept; the 27th is not"
    land(project)
    assert days(project) == [(28, 1), (29, 1)], "a file that is known brings nothing back"


def test_a_file_that_fails_fails_one_night_and_is_told_every_night(project):
    (project.root / "in/bad.jsonl").write_text("nonsense\n" * 3)
    with pytest.raises(landing.FileNotLanded, match=r"bad\.jsonl: everything was refused"):
        land(project)
    assert "failed when load" in land(project)["no_file_failed_before"]
    assert "bad.jsonl" in land(project)["no_file_failed_before"]


def test_a_file_that_was_rewritten_is_told_and_one_that_grew_replaces(project):
    land(project)
    with (project.root / "in/log.jsonl").open("a") as file:
        file.write(log(29))
    assert "no_file_was_rewritten" not in land(project)
    assert days(project) == [(28, 1), (29, 2)]
    (project.root / "in/log.jsonl").write_text(log(29))
    assert "in/log.jsonl" in land(project)["no_file_was_rewritten"]
    assert days(project) == [(28, 1), (29, 3)], "both contents are kept"
