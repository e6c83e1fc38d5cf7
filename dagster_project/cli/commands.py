"""The command's tree: which commands there are, which module has each, and what the help says of them all.

A command that is named is imported alone: the rooms of all of them take longer than most commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from dagster_project import __version__

MODULES = {
    "nights": ("demo", "nightly", "prepare", "report", "ui"),
    "loading": ("load",),
    "backfill": ("backfill",),
    "sources": ("sources",),
    "quarantine": ("quarantine",),
    "keeping": ("retention", "compact"),
    "queries": ("query",),
    "gate": ("gate",),
    "rules": ("rules",),
    "project": ("init", "doctor"),
    "suppressions": ("suppress", "suppressions"),
    "compare": ("compare",),
    "roi": ("roi",),
    "claims": ("claims",),
    "bench": ("bench",),
}
"""The commands of each module, in the order of the help."""

EXIT_CODES = (
    "Exit codes: 0 all is well; 1 there are violations (nightly: new ones); 2 something failed or was refused; "
    "130 interrupted."
)


def tree_for(words: Iterable[str]) -> typer.Typer:
    """The commands of the module that the first of `words` is a command of; of all when it is none."""
    word = next(iter(words), None)
    named = [module for module, commands in MODULES.items() if word in commands]
    return _tree(named or list(MODULES))


def whole_tree() -> typer.Typer:
    """Every command."""
    return _tree(MODULES)


def _tree(modules: Iterable[str]) -> typer.Typer:
    tree = typer.Typer(
        name="hindcast",
        help="Replay rules over recorded telemetry: every violation, with a certificate of what was scanned.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    tree.callback()(_options)
    for module in modules:
        import_module(f"dagster_project.cli.{module}").register(tree)
    return tree


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"hindcast {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Options before the command."""
