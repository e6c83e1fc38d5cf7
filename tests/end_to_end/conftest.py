"""Projects for whole nights: a copy of the samples as a stranger has them, and a small one whose files are all bad."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.settings import Project
from dagster_project.warehouse import lock

REPOSITORY = Path(__file__).resolve().parents[2]
LONG = pytest.mark.skipif(
    "HINDCAST_TEST_LONG" not in os.environ,
    reason="a night more, of what tests/dbt holds in small; set HINDCAST_TEST_LONG=1",
)
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
    """The samples, loaded and replayed by one night, whichever worker comes first; no test changes what it built."""
    shared = tmp_path_factory.getbasetemp()
    root = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "samples"
    with lock.hold(root.with_suffix(".lock"), "the night of the samples", timeout_seconds=600):
        if not (root / "done").exists():
            _sample_night(root)
            (root / "done").touch()
    return Project(root)


def _sample_night(root):
    shutil.copytree(REPOSITORY / "rules", root / "rules")
    built = shutil.ignore_patterns("warehouse", "state", "landing", "__pycache__")
    shutil.copytree(REPOSITORY / "data", root / "data", ignore=built)
    done = hindcast("nightly", project=Project(root))
    assert done.returncode == 1, f"the first night finds new violations\n{done.stdout}\n{done.stderr}"
