"""The two consoles, and progress as it is shown: bars for loading, steps for a night."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dagster_project.progress import Listener, Step

stdout = Console()
stderr = Console(stderr=True)

# What a step is called while it runs; any other is called by its own name.
STEP_NAMES = {
    "landing__extracted": "ask other systems",
    "models": "replay the rules, rebuild the marts (dbt)",
    "raw__spans": "load traces",
    "raw__logs": "load logs",
    "raw__metric_points": "load metrics",
    "raw__incidents": "load incidents",
    "raw__tickets": "load tickets",
    "raw__deploys": "load deploys",
    "raw__changes": "load changes",
    "audit__expirations": "remove what sources keep no longer",
}


def listing(*headings: str) -> Table:
    """A table whose first column, which one copies, is whole; where there is no room the others break."""
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")
    return table


@contextmanager
def night_progress(title: str) -> Iterator[Listener]:
    """Shows each step of a night with its seconds, and a line that tells what runs now."""
    started: dict[str, float] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def listener(step: Step) -> None:
            name = STEP_NAMES.get(step.name, step.name.replace("__", ".").replace("_", " "))
            if step.state == "started":
                started[step.name] = time.monotonic()
                progress.update(task, description=f"{title}: {name}")
                return
            if step.state == "warned":
                progress.console.print(" [yellow]![/]", Text(f"{step.name} warns"), highlight=False)
                return
            seconds = time.monotonic() - started.get(step.name, time.monotonic())
            mark = {"succeeded": "[green]✓[/]", "failed": "[red]✗[/]"}.get(step.state, "[dim]-[/]")
            progress.console.print(f" {mark} {escape(name)} [dim]{seconds:.1f} s[/]", highlight=False)

        yield listener


def bar(unit: str) -> Progress:
    """A progress bar that counts `unit`."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=stderr,
    )
