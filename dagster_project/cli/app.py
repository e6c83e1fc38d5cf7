"""The command's tree: which commands there are and what the help says of them."""

from __future__ import annotations

from typing import Annotated

import typer

from dagster_project import __version__
from dagster_project.cli import (
    backfill,
    bench,
    gate,
    keeping,
    loading,
    nights,
    project,
    quarantine,
    queries,
    rules,
    sources,
    suppressions,
)
from dagster_project.cli.terminal import stdout

EXIT_CODES = (
    "Exit codes: 0 all is well; 1 there are violations (nightly: new ones); 2 something failed or was refused; "
    "130 interrupted."
)

app = typer.Typer(
    name="hindcast",
    help="Replay rules over recorded telemetry: every violation, with a certificate of what was scanned.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        stdout.print(f"hindcast {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Options before the command."""


for group in (
    nights,
    loading,
    backfill,
    sources,
    quarantine,
    keeping,
    queries,
    gate,
    rules,
    project,
    suppressions,
    bench,
):
    group.register(app)
