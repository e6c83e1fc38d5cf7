"""What one new day costs a night: the last day is held back, all rules are judged over the rest, then the day arrives.

Staging is not in it. dbt itself runs the models of verdicts, with the catalogue's rules; seconds are those of its
run_results.json, and starting dbt is told apart. `replay.py` calls this for its line "Nightly increment".
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
from measuring import row

from dagster_project.rule_language import load_catalogue
from dagster_project.settings import Project
from dagster_project.transformation import prepare
from dagster_project.transformation.locked_dbt import PARSED_VARIABLE
from dagster_project.warehouse.connection import connect, migrate

ROOT = Path(__file__).parents[2]
NAME = "Nightly increment of one day"
AIM = 10.0
MEMORY = "6GB"
SELECTED = ("path:models/violations",)
HELD = {"stg_spans": "staging", "int_trace_shape": "intermediate", "int_traces": "intermediate"}
PROFILE = """
hindcast:
  target: warehouse
  outputs:
    warehouse:
      type: duckdb
      path: "{{ env_var('HINDCAST_WAREHOUSE') }}"
      schema: main
      threads: 2
      settings: {TimeZone: UTC, memory_limit: %s}
"""


@dataclass(frozen=True)
class Increment:
    """One run of the models of verdicts over the last day: seconds in all, of the models alone, and of each."""

    rules: int
    spans: int
    seconds: float
    work_seconds: float
    cpu_seconds: float
    models: dict[str, float]


def table(telemetry: Path, repeats: int) -> str:
    """The median of some runs as a table of Markdown: the whole, then each model that took a tenth of a second.

    All runs but the first judge the day again, as a night does in which something more of it arrives.
    """
    project = make(telemetry, telemetry.with_name(f"{telemetry.stem}-increment"))
    runs = sorted((measure(project) for _ in range(repeats)), key=lambda run: run.work_seconds)
    run = runs[(len(runs) - 1) // 2]
    lines = [row("What", "Aim, s", "Seconds"), row("---", "---", "---")]
    lines.append(row(f"{NAME}: {run.spans:,} spans, {run.rules} rules", f"{AIM:g}", f"{run.work_seconds:.2f}"))
    lines.append(row("starting dbt", "-", f"{run.seconds - run.work_seconds:.2f}"))
    lines.append(row("CPU seconds of dbt in all", "-", f"{run.cpu_seconds:.2f}"))
    slow = sorted(((seconds, name) for name, seconds in run.models.items() if seconds >= 0.1), reverse=True)
    return "\n".join([*lines, *(row(name, "-", f"{seconds:.2f}") for seconds, name in slow)])


def make(telemetry: Path, folder: Path) -> Project:
    """A project beside the telemetry whose warehouse holds verdicts of all but the last day; kept for the next time."""
    project = Project(folder)
    done = folder / "made"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        project.warehouse_file.parent.mkdir(parents=True)
        shutil.copytree(ROOT / "rules", project.rules_dir)
        project.sources_file.write_text("version: 1\nfirst_day: 2023-01-01\nsources: []\n")
        (folder / "profiles.yml").write_text(PROFILE % MEMORY)
        shutil.copyfile(telemetry, project.warehouse_file)
        prepare.prepare(project)
        with connect(project.warehouse_file, memory_limit=MEMORY) as connection:
            migrate(connection)
            _complete(connection, project)
            _hold_back(connection)
        _dbt(project)
        done.touch()
    return project


def measure(project: Project) -> Increment:
    """Let the day arrive, if it has not, and run the night's models over it."""
    with connect(project.warehouse_file, memory_limit=MEMORY) as connection:
        _give_back(connection)
        ((first, last, spans),) = connection.execute("select first_day, last_day, spans from held.days").fetchall()
    before, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    results = _dbt(project, first, last)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Increment(
        rules=len(load_catalogue(prepare.rule_texts(project)).judged),
        spans=spans,
        seconds=time.perf_counter() - before,
        work_seconds=results["elapsed_time"],
        cpu_seconds=after.ru_utime - cpu.ru_utime + after.ru_stime - cpu.ru_stime,
        models={one["unique_id"].rsplit(".", 1)[1]: one["execution_time"] for one in results["results"]},
    )


def _complete(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Columns of attributes that the catalogue names and the telemetry does not have."""
    for one in load_catalogue(prepare.rule_texts(project)).promoted_attributes():
        table = "staging.stg_spans" if one.entity == "span" else "staging.stg_logs"
        kind = {"number": "double", "boolean": "boolean"}.get(one.type, "varchar")
        connection.execute(f'alter table {table} add column if not exists "{one.column}" {kind}')
        connection.execute("checkpoint")  # a new column of all rows is held in memory until then


def _hold_back(connection: duckdb.DuckDBPyConnection) -> None:
    """Put every trace that reaches into the last whole day aside."""
    ((last,),) = connection.execute(
        "select max(started_on) from (select started_on from intermediate.int_traces group by 1 having count(*) > 1000)"
    ).fetchall()
    connection.execute("create schema if not exists held")
    connection.execute(
        "create or replace table held.traces as select trace_id from intermediate.int_traces where ended_at >= ?",
        [last],
    )
    # No trace lasts for more than an hour: the days name the row groups to look at.
    chosen = "started_on >= ? and trace_id in (from held.traces)"
    for table, schema in HELD.items():
        rows = f"{schema}.{table} where {chosen}"
        connection.execute(f"create table held.{table} as from {rows}", [last - timedelta(days=1)])
        connection.execute(f"delete from {rows}", [last - timedelta(days=1)])
    connection.execute(
        "create table held.days as select min(started_on) as first_day, max(started_on) as last_day, count(*) as spans,"
        " false as has_arrived from held.stg_spans"
    )


def _give_back(connection: duckdb.DuckDBPyConnection) -> None:
    if connection.execute("select has_arrived from held.days").fetchall() == [(True,)]:
        return
    connection.execute("begin")
    for table, schema in HELD.items():
        connection.execute(f"insert into {schema}.{table} from held.{table}")
    connection.execute("update held.days set has_arrived = true")
    connection.execute("commit")
    connection.execute("checkpoint")


def _dbt(project: Project, first: date | None = None, last: date | None = None) -> dict[str, Any]:
    """Run the models over a window of days, or over all; what dbt says of it."""
    variables = {}
    if first and last:
        variables = {"replay_from": str(first), "replay_until": str(last + timedelta(days=1))}
    environment = (
        os.environ
        | prepare.dbt_environment(project)
        | {"DBT_PROFILES_DIR": str(project.root), PARSED_VARIABLE: prepare.parsed_by_dbt(project) or ""}
    )
    command = [prepare.dbt_executable(), "--quiet", "run", "--project-dir", str(project.dbt_dir)]
    command += ["--select", *SELECTED, "--vars", json.dumps(variables)]
    subprocess.run(command, env=environment, check=True)
    results: dict[str, Any] = json.loads((project.dbt_target_dir / "run_results.json").read_text())
    return results
