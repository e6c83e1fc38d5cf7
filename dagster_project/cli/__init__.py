"""The `hindcast` command: a module a group of commands. Commands read options, call rooms, and show what came back."""

from __future__ import annotations

import sys

from dagster_project.cli.app import app
from dagster_project.cli.errors import EXPECTED, explain
from dagster_project.cli.terminal import stderr


def main() -> None:
    """Run the command line; an expected error is one clear message and exit code 2."""
    try:
        app()
    except EXPECTED as error:
        stderr.print(explain(error), style="bold red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
