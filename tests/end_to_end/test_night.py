"""Whole nights over the samples: what they build; running again changes nothing, killing them loses nothing."""

import os
import random
import shutil
import signal
import subprocess
import time

from dagster_project.settings import Project
from dagster_project.warehouse import generations, state
from dagster_project.warehouse.connection import connect
from tests.end_to_end.conftest import HINDCAST, hindcast

DETERMINISTIC_SCHEMAS = ("staging", "intermediate", "violations", "marts")
# When a plan of a comparison was stored differs between two states of one project, and must.
TELLS_WHEN = "marts.mart_significance_plans"
EVIDENCE = "marts.mart_evidence"
KILLS = int(os.environ.get("HINDCAST_TEST_KILLS", "1"))


def marts(project):
    """A hash of each deterministic table, and the evidence of them. Ledgers, which say when, are apart."""
    with connect(project.warehouse_file, read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
            " where list_contains(?, schema_name) order by 1",
            [list(DETERMINISTIC_SCHEMAS)],
        ).fetchall()
        same = [name for (name,) in tables if name not in {TELLS_WHEN, EVIDENCE}]
        others = connection.execute(f"select * from {EVIDENCE} where name <> ? order by seq", [TELLS_WHEN]).fetchall()
        return {**generations.table_hashes(connection, same), EVIDENCE: others}


def copied(project, target):
    """The project without what was built from it."""
    shutil.copytree(project.root, target, ignore=shutil.ignore_patterns("warehouse", "state", "site", "post_mortems"))
    return Project(target)


def test_a_night_publishes_a_generation_with_every_mart(sample_project):
    generation = generations.find(sample_project.generations_dir)
    with generations.open_generation(generation) as connection:
        counts = {
            table: connection.execute(f"select count(*) from {table}").fetchall()[0][0]
            for table in (
                "staging.stg_spans",
                "violations.fct_violations",
                "marts.fct_incidents",
                "marts.mart_evidence",
            )
        }
    assert all(counts.values()), counts


def test_running_again_changes_no_row_and_finds_nothing_new(sample_project):
    before, generation = marts(sample_project), generations.find(sample_project.generations_dir).id
    done = hindcast("nightly", project=sample_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert marts(sample_project) == before
    assert generations.find(sample_project.generations_dir).id == generation
    (last,) = state.nights(sample_project.state_file, limit=1)
    assert (last["exit_code"], last["generation"]) == (0, generation)


def test_a_night_that_was_killed_is_simply_run_again(sample_project, tmp_path):
    """SIGKILL hits the night at random moments, dbt's subprocess included or spared; the marts come out the same.

    HINDCAST_TEST_KILLS=10 is for a change of landing, of the lock, or of how dbt is run.
    """
    project = copied(sample_project, tmp_path / "killed")
    moments = random.Random(20230129)
    for attempt in range(KILLS):
        process = subprocess.Popen(
            [HINDCAST, "nightly", "--project", str(project.root)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(4, 35))
        if attempt % 2:
            os.kill(process.pid, signal.SIGKILL)  # dbt, if it runs, is an orphan now
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = hindcast("nightly", project=project)
    assert done.returncode == 1, done.stdout + done.stderr
    with generations.open_generation(generations.find(project.generations_dir)) as connection:
        ((violations,),) = connection.execute("select count(*) from violations.fct_violations").fetchall()
    assert f"violations new {violations:,} " in " ".join(done.stdout.split()), "no night has told of them yet"
    assert marts(project) == marts(sample_project)


def test_the_morning_tells_what_was_loaded_refused_and_found(sample_project):
    page = (sample_project.site_dir / "morning.html").read_text()
    for word in ("loaded", "refused", "new", "gone"):
        assert word in page.lower()


def test_doctor_finds_the_project_well(sample_project):
    done = hindcast("doctor", project=sample_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is well" in done.stdout
