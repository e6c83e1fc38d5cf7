"""The `hindcast` command: a module a group of commands. Commands read options, call rooms, and show what came back."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

# A pipe or a file has no width; most are read by people all the same. Scripts ask for json or csv.
PIPED_COLUMNS = "120"
PIPED_HELP_COLUMNS = "100"
TIMED_OUT = 124  # what timeout(1) says of a command that it stopped
INTERRUPTED = 130  # what a shell says of a program that was stopped by Ctrl-C


def main() -> None:
    """Run the command line; an expected error is one clear message, a defect shows its trace; both exit with 2."""
    if not sys.stdout.isatty():
        is_told = "COLUMNS" in os.environ
        os.environ.setdefault("COLUMNS", PIPED_COLUMNS)
        if not is_told:
            os.environ.setdefault("TERMINAL_WIDTH", PIPED_HELP_COLUMNS)  # what typer gives help and usage
    try:
        # Here, not above: importing the rooms takes seconds, in which people press Ctrl-C, too.
        from dagster_project.cli.commands import tree_for  # noqa: PLC0415

        try:
            tree_for(sys.argv[1:])()
        except Exception as error:
            _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _fail(error: Exception) -> NoReturn:
    from dagster_project.cli.errors import EXPECTED  # noqa: PLC0415  # it knows the errors of every room
    from dagster_project.cli.terminal import stderr  # noqa: PLC0415

    if isinstance(error, EXPECTED):
        stderr.print(f"{error}", style="bold red", highlight=False, markup=False, soft_wrap=True)
    else:
        traceback.print_exception(error)
        stderr.print("This is a defect of Hindcast: please report it with the lines above.", style="bold red")
    sys.exit(2)
