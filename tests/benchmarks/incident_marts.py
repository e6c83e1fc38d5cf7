"""How long the marts of incidents take over a million of them: clocks, baselines, targets, budgets, KPIs. Run by hand:

    hindcast bench incidents [--incidents 1000000] [--work FOLDER] [--repeats 3]

The incidents are made once, in DuckDB, and kept in the folder; dbt itself builds the marts from them, and seconds are
those of its run_results.json: starting dbt and reading tickets of any system are not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from measuring import row  # noqa: E402

from dagster_project.settings import Project  # noqa: E402
from dagster_project.transformation import prepare  # noqa: E402
from dagster_project.transformation.locked_dbt import PARSED_VARIABLE  # noqa: E402
from dagster_project.warehouse.connection import connect, migrate  # noqa: E402

AIM = 20.0
THREADS, MEMORY = 2, "4GB"
MODELS = (
    *("int_incident_durations", "mart_incident_clocks", "mart_mttr_baseline", "mart_target_attainment"),
    *("mart_error_budget", "mart_kpis", "mart_kpi_alerts"),
)
PROFILE = """
hindcast:
  target: warehouse
  outputs:
    warehouse:
      type: duckdb
      path: "{{ env_var('HINDCAST_WAREHOUSE') }}"
      schema: main
      threads: 2
      settings: {TimeZone: UTC, threads: %d, memory_limit: %s}
"""

# Three years of two systems, 300 services, 40 teams, 50 types. Durations are log-normal with the spread of real ones
# (sigma 1.3), one in a hundred of the last month is open, one in 500 contradicts itself. Hashes, not random(): the same
# rows on every machine.
INCIDENTS = """
create or replace table intermediate.int_incidents as
with dice as (
    select
        i,
        list_transform(range(8), lambda d: (hash(i * 8 + d) >> 11)::double / 9007199254740992) as u
    from range($incidents) as t (i)
), drawn as (
    select
        i, u,
        timestamp '2021-01-01' + to_seconds((i * 94608000.0 / $incidents)::bigint) as started_at,
        exp(1.3 * sqrt(-2 * ln(1 - u[1])) * cos(2 * pi() * u[2])) as scale,
        u[3] < 0.005 or (i > $incidents * 0.97 and u[3] < 0.02) as is_open
    from dice
), timed as (
    select
        *,
        started_at + to_seconds((120 * scale)::bigint) as detected,
        started_at + to_seconds((600 * scale * (0.5 + u[4]))::bigint) as acknowledged,
        started_at + to_seconds((3600 * scale * (1 + u[4]))::bigint) as mitigated,
        started_at + to_seconds((7200 * scale * (1 + u[4] + u[5]))::bigint) as resolved
    from drawn
)
select
    'INC-' || lpad(i::varchar, 8, '0') as incident_id,
    if(u[6] < 0.8, 'incidents', 'servicenow') as system, 'Made' as title,
    'P' || (1 + least(4, floor(-ln(1 - u[7]) * 2)))::integer as severity, null::varchar as severity_as_sent,
    if(u[8] < 0.9, 'service ' || (hash(i) % 300), null) as service_name, 'team ' || (hash(i + 1) % 40) as team,
    'type ' || (hash(i + 2) % 50) as category,
    case when not is_open then ['restart', 'rollback', 'patch', 'configuration'][1 + (hash(i + 3) % 4)::integer] end
        as resolution_method,
    started_at, 'made' as started_at_source,
    case when u[5] < 0.6 then detected end as detected_at, 'made' as detected_at_source,
    case when not is_open or u[4] < 0.7 then acknowledged end as acknowledged_at, 'made' as acknowledged_at_source,
    case when not is_open and u[5] < 0.7 then mitigated end as mitigated_at, 'made' as mitigated_at_source,
    case when not is_open then if(i % 500 = 0, started_at - interval 1 hour, resolved) end as resolved_at,
    'made' as resolved_at_source,
    case when not is_open and u[4] < 0.9 then resolved + interval 3 day end as closed_at, 'made' as closed_at_source,
    null::timestamp as reopened_at, null::varchar as reopened_at_source, 0::bigint as reopened_count,
    null::bigint as escalation_count, if(u[4] < 0.1, 1 + floor(u[5] * 5), null) as satisfaction,
    null::varchar as pagerduty_id, 1::bigint as load_id, i as line, 1::bigint as record, is_open,
    if(not is_open and i % 500 = 0, 'resolved before created', null) as clock_problem
from timed
order by system, incident_id
"""


def make(folder: Path, incidents: int) -> Project:
    """A project whose warehouse holds so many incidents and nothing else; kept for the next time."""
    project = Project(folder / f"incidents-{incidents}")
    done = project.root / "made"
    if not done.exists():
        shutil.rmtree(project.root, ignore_errors=True)
        project.warehouse_file.parent.mkdir(parents=True)
        shutil.copytree(ROOT / "rules", project.rules_dir)
        project.sources_file.write_text("version: 1\nfirst_day: 2021-01-01\nsources: []\n")
        (project.root / "profiles.yml").write_text(PROFILE % (THREADS, MEMORY))
        with connect(project.warehouse_file, memory_limit=MEMORY) as connection:
            migrate(connection)
            connection.execute("create schema if not exists intermediate")
            connection.execute(INCIDENTS, {"incidents": incidents})
        done.touch()
    prepare.prepare(project)
    return project


def measure(project: Project) -> dict[str, float]:
    """Build the marts once; seconds of all of it and of each model."""
    environment = (
        os.environ
        | prepare.dbt_environment(project)
        | {"DBT_PROFILES_DIR": str(project.root), PARSED_VARIABLE: prepare.parsed_by_dbt(project) or ""}
    )
    command = [prepare.dbt_executable(), "--quiet", "run", "--project-dir", str(project.dbt_dir), "--select", *MODELS]
    before = _cpu_seconds()
    subprocess.run(command, env=environment, check=True)
    cpu_seconds = _cpu_seconds() - before
    results: dict[str, Any] = json.loads((project.dbt_target_dir / "run_results.json").read_text())
    seconds = {one["unique_id"].rsplit(".", 1)[1]: float(one["execution_time"]) for one in results["results"]}
    return {"all": float(results["elapsed_time"]), "cpu": cpu_seconds} | seconds


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(project: Project, incidents: int, repeats: int) -> str:
    """The median run as a table of Markdown: the whole, then each model."""
    runs = sorted((measure(project) for _ in range(repeats)), key=lambda run: run["all"])
    run = runs[(len(runs) - 1) // 2]
    lines = [row("What", "Aim, s", "Seconds", "Rows"), row("---", "---", "---", "---")]
    lines.append(row(f"All marts of {incidents:,} incidents", f"{AIM:g}", f"{run['all']:.1f}", "-"))
    lines.append(row("CPU seconds of dbt, its start included", "-", f"{run['cpu']:.1f}", "-"))
    with connect(project.warehouse_file, read_only=True) as connection:
        for name in MODELS:
            schema = "intermediate" if name.startswith("int_") else "marts"
            ((rows,),) = connection.table(f"{schema}.{name}").count("*").fetchall()
            lines.append(row(f"`{name}`", "-", f"{run[name]:.1f}", f"{rows:,}"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project = make(asked.work or Path(scratch), asked.incidents)
        sys.stdout.write(table(project, asked.incidents, asked.repeats) + "\n")


if __name__ == "__main__":
    main()
