"""`hindcast-dbt`: dbt in a process that itself holds the writer's lock, so that the lock lives as long as dbt writes.

The lock is taken here and not by whoever starts dbt: should that process be killed, the kernel keeps the lock until
this one ends, and the next run waits for it. Whoever starts it may also hand over the project as dbt parsed it before.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

from dagster_project.transformation.time_limit import interrupted_after, seconds_a_rule
from dagster_project.warehouse import lock

LOCK_VARIABLE = "HINDCAST_LOCK"
# SHA-256 and path, a space between, of a project that dbt has parsed (its partial_parse.msgpack); only whoever knows
# that nothing changed since gives it. dbt itself would parse all again, because a night's variables are its own.
PARSED_VARIABLE = "HINDCAST_PARSED"
JUDGES = ".verdicts__"
# Commands that never connect. `compile`, `debug` and `show` write nothing, but dbt opens the file as a writer for them.
NEVER_CONNECTING = {"parse", "ls", "list", "deps"}
# A day's dbt run may take minutes; a night waits for the one before it rather than fail.
WAIT_SECONDS = 600.0


def main() -> None:
    """Run dbt with this process's arguments; exit with dbt's code."""
    if sys.argv[1:] == ["--version"]:
        # Dagster asks before each run; dbt would import all of itself and ask PyPI for a newer one.
        sys.stdout.write(f"Core:\n  - installed: {metadata.version('dbt-core')}\n")
        return
    command = sub_command(sys.argv[1:])
    lock_file = os.environ.get(LOCK_VARIABLE)
    if opens_the_warehouse(command) and not lock_file:
        sys.exit(f"hindcast-dbt: set {LOCK_VARIABLE} to the warehouse's lock file before `{command}`: dbt opens it")
    locked = lock_file is not None and opens_the_warehouse(command)
    with lock.hold(Path(lock_file or ""), f"dbt {command}", WAIT_SECONDS) if locked else nullcontext():
        from dbt.cli.main import cli  # noqa: PLC0415 -- two seconds of import that waiting for the lock need not pay

        if locked:
            limit_rules(seconds_a_rule())
        cli(obj={"manifest": parsed(os.environ.get(PARSED_VARIABLE)) if locked else None})


def parsed(handed_over: str | None) -> Any:
    """The manifest in a file of dbt's, for dbt to take as it is, given the file's SHA-256 and path.

    None without a file, of one that cannot be read, and of one that another run of dbt has written since, with
    variables or a profile of its own. dbt parses the project by itself then: that costs seconds, never the run.
    """
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415 -- as above

    if not handed_over:
        return None
    digest, _, file = handed_over.partition(" ")
    try:
        content = Path(file).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            sys.stderr.write(f"hindcast-dbt: another run of dbt wrote {file}, so dbt parses the project\n")
            return None
        manifest = Manifest.from_msgpack(content)
    except Exception as error:  # whatever a file that was cut short makes of it
        sys.stderr.write(f"hindcast-dbt: {file} cannot be read ({type(error).__name__}), so dbt parses the project\n")
        return None
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    return manifest


def limit_rules(seconds: float) -> None:
    """From now on dbt interrupts a statement that judges rules when it takes longer. Others may take their time."""
    from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper  # noqa: PLC0415 -- as above

    wrapper: Any = DuckDBCursorWrapper
    execute = getattr(wrapper.execute, "__wrapped__", wrapper.execute)

    @functools.wraps(execute)
    def limited(self: Any, sql: str, bindings: Any = None) -> Any:
        # dbt begins each statement with a comment that names the model.
        if JUDGES not in sql.split("*/", 1)[0]:
            return execute(self, sql, bindings)
        with interrupted_after(self._cursor, seconds):
            return execute(self, sql, bindings)

    wrapper.execute = limited


def sub_command(arguments: Sequence[str]) -> str | None:
    """The first word that is no option; None for `--version`, `--help` and nothing at all.

    The value of an option before the command is taken for the command. Unless it is called like one that never
    connects, that costs a lock too many, never one too few.
    """
    return next((word for word in arguments if not word.startswith("-")), None)


def opens_the_warehouse(command: str | None) -> bool:
    """Whether the lock is needed: for all commands but those known not to connect."""
    return command is not None and command not in NEVER_CONNECTING
