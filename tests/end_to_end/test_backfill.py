"""A backfill of days that a night has replayed already changes no row, and is not done twice."""

import shutil

from dagster_project.settings import Project
from tests.end_to_end.conftest import LONG, hindcast
from tests.end_to_end.test_night import marts


@LONG
def test_a_backfill_over_a_finished_night_changes_nothing(sample_project, tmp_path):
    project = Project(tmp_path / "copy")
    shutil.copytree(sample_project.root, project.root, symlinks=True)
    before = marts(project)
    said = hindcast("backfill", "--start", "2023-01-29", "--end", "2023-01-30", project=project)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "step 1 of 1: 2023-01-29 to" in said.stdout
    assert marts(project) == before
    again = hindcast("backfill", "--start", "2023-01-29", "--end", "2023-01-30", project=project)
    assert "was done before" in again.stdout
