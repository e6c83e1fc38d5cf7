"""`hindcast bench`: measurements that anybody can repeat. They live in tests/benchmarks, which no package has."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

CHECKOUT = Path(__file__).parents[2]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    bench = typer.Typer(name="bench", help="Measure Hindcast on this machine, beside others.", no_args_is_help=True)
    bench.command(epilog="[bold]Example:[/] hindcast bench replay --spans 10000000 --work /tmp/bench --only sessions")(
        replay
    )
    bench.command(epilog="[bold]Example:[/] hindcast bench compare --incidents 1000000")(compare)
    bench.command(epilog="[bold]Example:[/] hindcast bench incidents --incidents 1000000 --work /tmp/bench")(incidents)
    app.add_typer(bench)


def replay(
    spans: Annotated[int, typer.Option(help="How many spans to generate.", min=100_000)] = 100_000_000,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the generated data: 16 GB for 100 million.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(help="The median of so many runs is shown.", min=1)] = 3,
    only: Annotated[str, typer.Option(help="Lines whose name has this in it.")] = "",
) -> None:
    """Replay rules over generated telemetry; plain SQL, chdb and polars answer the same beside them."""
    script = _script("replay")
    missing = [name for name in ("chdb", "polars") if importlib.util.find_spec(name) is None]
    if missing:
        raise FileNotFoundError(f"{' and '.join(missing)} missing: run `uv sync --group bench` first")
    command = [sys.executable, str(script), "--spans", str(spans), "--repeats", str(repeats), "--only", only]
    if work is not None:
        command += ["--work", str(work.resolve())]
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)  # noqa: S603


def compare(
    incidents: Annotated[int, typer.Option(help="How many incidents to generate.", min=1_000)] = 1_000_000,
) -> None:
    """Run the whole protocol of a comparison over generated incidents, twice, and show what each part takes."""
    command = [sys.executable, str(_script("comparison")), "--incidents", str(incidents)]
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)  # noqa: S603


def incidents(
    incidents: Annotated[int, typer.Option(help="How many incidents to generate.", min=1_000)] = 1_000_000,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the generated data: 2 GB for a million.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(help="The median of so many runs is shown.", min=1)] = 3,
) -> None:
    """Build the marts of incidents: clocks, baselines, targets, error budgets, KPIs."""
    command = [sys.executable, str(_script("incident_marts")), "--incidents", str(incidents), "--repeats", str(repeats)]
    if work is not None:
        command += ["--work", str(work.resolve())]
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)  # noqa: S603


def _script(name: str) -> Path:
    """A benchmark of the checkout."""
    script = CHECKOUT / "tests" / "benchmarks" / f"{name}.py"
    if not script.is_file():
        raise FileNotFoundError(
            f"{script} is missing: benchmarks come with the checkout, not with the installed package."
            " Clone the repository and run `uv run hindcast bench` in it."
        )
    return script
