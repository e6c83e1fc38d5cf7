"""The marts of estimates and claims are written from the project's files, whatever there is of comparisons."""

import shutil
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.assets import appraisals
from dagster_project.resources import Warehouse
from dagster_project.settings import Project

REPO = Path(__file__).parents[2]
MARTS = {
    "mart_roi_lines", "mart_roi_summary", "mart_roi_inputs", "mart_roi_draws", "mart_roi_histogram", "mart_roi_tornado",
    "claims_audit",
}  # fmt: skip


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sources.yml").write_text("sources: []\n")
    return Project(tmp_path)


def counts(project):
    result = dg.materialize(
        appraisals.build(project), resources={"warehouse": Warehouse(project_root=str(project.root))}
    )
    assert result.success
    with duckdb.connect(str(project.warehouse_file), read_only=True) as connection:
        return {name: connection.execute(f"select count(*) from marts.{name}").fetchall()[0][0] for name in MARTS}


def test_every_mart_has_its_rows(project):
    shutil.copyfile(REPO / "data/roi.yml", project.roi_file)
    shutil.copytree(REPO / "data/claims", project.claims_dir)
    assert min(counts(project).values()) > 0


def test_a_project_without_files_has_empty_marts(project):
    assert set(counts(project).values()) == {0}
