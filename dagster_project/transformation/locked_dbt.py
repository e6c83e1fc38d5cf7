"""`hindcast-dbt`: dbt in a process that itself holds the writer's lock, so that the lock lives as long as dbt writes.

The lock is taken here and not by whoever starts dbt: should that process be killed, the kernel keeps the lock until
this one ends, and the next run waits for it.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from dagster_project.warehouse import lock

LOCK_VARIABLE = "HINDCAST_LOCK"
READING = {"--version", "--help", "parse", "ls", "list", "compile", "deps", "debug"}
# A day's dbt run may take minutes; a night waits for the one before it rather than fail.
WAIT_SECONDS = 600.0


def main() -> None:
    """Run dbt with this process's arguments; exit with dbt's code."""
    lock_file = os.environ.get(LOCK_VARIABLE)
    writes = not READING.intersection(sys.argv[1:])
    if writes and not lock_file:
        sys.exit(f"hindcast-dbt: set {LOCK_VARIABLE} to the warehouse's lock file before a command that writes")
    holding = (
        lock.hold(Path(lock_file), f"dbt {' '.join(sys.argv[1:2])}", WAIT_SECONDS) if lock_file and writes else None
    )
    with holding or nullcontext():
        from dbt.cli.main import cli  # noqa: PLC0415 -- two seconds of import that waiting for the lock need not pay

        cli()
