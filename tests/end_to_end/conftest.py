"""Projects for whole nights: a copy of the samples as a stranger has them, and a small one whose files are all bad."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.settings import Project

REPOSITORY = Path(__file__).resolve().parents[2]
HINDCAST = str(Path(sys.executable).with_name("hindcast"))


def hindcast(*arguments, project, check=True):
    """Run the command line as a user does; output and exit code come back."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("HINDCAST", "DAGSTER", "DBT"))
    }
    done = subprocess.run(
        [HINDCAST, *arguments],
        env=environment | {"HINDCAST_PROJECT": str(project.root), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode == 2:
        pytest.fail(f"hindcast {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def sample_project(tmp_path_factory):
    """The samples, loaded and replayed by one night; tests only read it."""
    root = tmp_path_factory.mktemp("samples")
    shutil.copytree(REPOSITORY / "rules", root / "rules")
    shutil.copytree(
        REPOSITORY / "data",
        root / "data",
        ignore=shutil.ignore_patterns("warehouse", "state", "landing", "__pycache__"),
    )
    project = Project(root)
    done = hindcast("nightly", project=project)
    assert done.returncode == 1, f"the first night finds new violations\n{done.stdout}\n{done.stderr}"
    return project
