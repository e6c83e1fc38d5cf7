"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.warehouse import landing

_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?([KMGT])(i?)B")
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
LEAST_MEMORY_BYTES = 256 * 2**20  # below it, DuckDB gives up on batches that are quite usual


def _checked_size(value: str) -> str:
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise typer.BadParameter(f"`{value}` is no size; write one such as 2GiB or 800MB")
    if float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]] < LEAST_MEMORY_BYTES:
        raise typer.BadParameter(f"{value} is too little to work with; give 256MiB or more")
    return value.strip()


ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        envvar="HINDCAST_PROJECT",
        help="Folder of the project; the nearest one at or above this folder when not given.",
        show_default=False,
    ),
]
GenerationOption = Annotated[
    str | None,
    typer.Option("--generation", help="Read an older published generation, by its id.", show_default=False),
]
DEFAULT_TIMEOUT = "10m"
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout",
        envvar="HINDCAST_QUERY_TIMEOUT",
        help="Stop a rule after so long, such as 60s; 0: never.",
    ),
]
MemoryLimitOption = Annotated[
    str,
    typer.Option(
        "--memory-limit",
        callback=_checked_size,
        help=f"What the warehouse may hold in memory, such as 2GiB; {landing.MEMORY_LIMIT} loads any file.",
    ),
]
QueryMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        callback=lambda value: None if value is None else _checked_size(value),
        help="What a replay may hold in memory, such as 2GiB; most of the machine when not given.",
        show_default=False,
    ),
]
