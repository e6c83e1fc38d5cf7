"""A project of one's own begins well: what `init` writes is valid, and nothing is overwritten."""

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.policy.policy import load_policy
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.statistics.plan import load_plans


@pytest.fixture
def begun(tmp_path):
    done = CliRunner().invoke(app, ["init", str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output
    return Project(tmp_path / "mine")


def test_what_init_writes_can_be_read(begun):
    assert declaration.declared_files(begun) == []
    assert load_plans(begun.comparisons_file).comparisons == ()
    assert load_policy(begun.policy_file)


def test_the_first_rule_passes_its_own_tests(begun):
    done = CliRunner().invoke(app, ["rules", "check", "--project", str(begun.root)])
    assert (done.exit_code, done.exception) == (0, None)


def test_a_project_is_not_begun_twice(begun):
    begun.sources_file.write_text("mine")
    done = CliRunner().invoke(app, ["init", str(begun.root)])
    assert done.exit_code == 2
    assert begun.sources_file.read_text() == "mine"
