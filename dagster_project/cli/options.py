"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
