"""`hindcast init` and `hindcast doctor`: beginning a project, and seeing whether one is well."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from dagster_project.cli.options import ProjectOption
from dagster_project.cli.terminal import stderr, stdout
from dagster_project.settings import PACKAGE_ROOT, PROJECT_MARKER, Project, find_project, shipped
from dagster_project.transformation import prepare
from dagster_project.warehouse import generations, ledger, lock, quarantine, state
from dagster_project.warehouse.connection import connect, is_current

TEMPLATE = PACKAGE_ROOT / "project_template"
SHIPPED_CONFIGURATION = ("data/policy.yml",)
PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "dagster", "pyarrow", "pandas", "great-expectations", "plotly")
# The night writes a generation beside the one that is read, and DuckDB spills: below this it may not finish.
LEAST_FREE_BYTES = 5 * 2**30


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="[bold]Example:[/] hindcast init ~/incidents && cd ~/incidents && hindcast nightly")(init)
    app.command(epilog="[bold]Example:[/] hindcast doctor --project /srv/hindcast")(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="Where the project goes; made when absent.", show_default=False)],
) -> None:
    """Begin a project of one's own: commented sources, policy, and a first rule. Nothing is overwritten."""
    if (folder / PROJECT_MARKER).exists():
        stderr.print(f"{folder} is a project already: it has {PROJECT_MARKER}. Nothing was changed.", highlight=False)
        raise typer.Exit(2)
    for file in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        _place(file, folder / file.relative_to(TEMPLATE))
    for name in SHIPPED_CONFIGURATION:
        _place(shipped(name), folder / name)
    stdout.print("\nNext:", style="bold")
    stdout.print(f"  1. say in {folder / PROJECT_MARKER} where your files are", highlight=False, soft_wrap=True)
    stdout.print(f"  2. cd {folder} && hindcast nightly --dry-run    # what would be loaded", highlight=False)
    stdout.print("  3. hindcast nightly                               # load, replay, publish", highlight=False)


def doctor(project_dir: ProjectOption = None) -> None:
    """Show versions, paths, who holds the lock, disk, and whether the ledger is well. Exit code 2 when it is not."""
    project = find_project(project_dir)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        table.add_row(name, version(name))
    table.add_row("project", escape(str(project.root)))
    problems = [*_prepared(project, table), *_disk(project, table), *_nights(project, table), *_ledger(project, table)]
    stdout.print(table, highlight=False)
    for problem in problems:
        stderr.print(f"problem: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(2)
    if lock.holder(project.night_lock_file) is not None:
        stdout.print("a night is running: what it finds is not told yet", style="yellow")
        return
    stdout.print("all is well", style="green")


def _place(source: Path, target: Path) -> None:
    if target.exists():
        stdout.print(f"  kept     {target}", highlight=False, soft_wrap=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    stdout.print(f"  wrote    {target}", highlight=False, soft_wrap=True)


def _prepared(project: Project, table: Table) -> list[str]:
    is_ready = prepare.stamp(project) == prepare.fingerprint(project)
    table.add_row("dbt project", f"{project.dbt_dir} ({'prepared' if is_ready else 'not prepared'})")
    return []


def _disk(project: Project, table: Table) -> list[str]:
    free = shutil.disk_usage(project.root).free
    table.add_row("free disk", f"{free / 2**30:.1f} GiB")
    if free < LEAST_FREE_BYTES:
        return [f"less than {LEAST_FREE_BYTES / 2**30:.0f} GiB are free: a night may not finish"]
    return []


def _nights(project: Project, table: Table) -> list[str]:
    published = generations.latest(project.generations_dir)
    table.add_row("generation", f"{published.id}, as of {published.as_of}" if published else "nothing published yet")
    nights = state.nights(project.state_file, limit=1)
    if not nights:
        table.add_row("last night", "none yet")
        return []
    (last,) = nights
    if last["finished_at"] is None:
        if holder := lock.holder(project.night_lock_file):
            table.add_row("night", f"a night is running since {last['started_at']} (process {holder.get('pid', '?')})")
            return []
        table.add_row("last night", f"{last['started_at']}, killed before it ended")
        return [
            f"the night that began at {last['started_at']} was killed before it ended: run `hindcast nightly` again, "
            "nothing is counted twice"
        ]
    table.add_row("last night", f"{last['started_at']} to {last['finished_at']}, exit code {last['exit_code']}")
    return ["the last night failed: see the morning page"] if last["exit_code"] == 2 else []


def _ledger(project: Project, table: Table) -> list[str]:
    holder = lock.holder(project.lock_file)
    table.add_row(
        "writer", f"process {holder['pid']}: {holder['purpose']} since {holder['since']}" if holder else "none"
    )
    if not project.warehouse_file.exists():
        table.add_row("warehouse", f"{project.warehouse_file} (not built yet)")
        return []
    table.add_row("warehouse", f"{project.warehouse_file} ({project.warehouse_file.stat().st_size / 2**20:.0f} MiB)")
    if holder:
        return []
    with lock.hold(project.lock_file, "doctor"), connect(project.warehouse_file, read_only=True) as connection:
        if not is_current(connection):
            table.add_row("ledger", "of an older version: the next load or night brings it up to date")
            return []
        ((loads, landed, refused, failed, wrong),) = connection.execute(
            "select count(*), coalesce(sum(records_landed), 0), coalesce(sum(records_rejected), 0),"
            " count(*) filter (where status = 'failed'),"
            " count(*) filter (where records_read <> records_landed + records_rejected) from audit.loads"
            " where superseded_by is null"
        ).fetchall()
        withdrawn = quarantine.withdrawn(connection)
        unlike = ledger.loads_unlike_their_rows(connection)
        refusals = connection.execute(
            "select reason, count(*) from audit.quarantine group by all order by 2 desc, 1"
        ).fetchall()
    table.add_row("ledger", f"{loads:,} files, {landed:,} records landed, {refused:,} refused, {failed:,} files failed")
    for reason, count in refusals:
        table.add_row("  refused", f"{reason} {count:,}")
    if withdrawn:
        table.add_row("  withdrawn", f"{withdrawn:,} good records of files that were mostly refused, one row a file")
    if refusals:
        table.add_row("  to see them", "hindcast quarantine list")
    problems = [f"{wrong} loads whose records do not add up"] if wrong else []
    if unlike:
        shown = ", ".join(map(str, unlike[:5])) + (", ..." if len(unlike) > 5 else "")
        problems.append(
            f"the rows of {len(unlike)} loads ({shown}) are not as many as the ledger says; load them again"
        )
    return problems
