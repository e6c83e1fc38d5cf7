"""What became of asking one system for its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Extraction:
    """The files of one source.

    Parameters
    ----------
    written
        Files that are new, in the order in which they were written.
    already_there
        How many files earlier runs had written and this one needed not to.
    message
        What the user should know; None when there is nothing.
    """

    source: str
    written: tuple[Path, ...] = ()
    already_there: int = 0
    message: str | None = None


# Called as files are written: source, files done, files to do (None when not known).
ExtractionProgress = Callable[[str, int, int | None], None]


class ExtractionFailed(RuntimeError):
    """A system could not be asked, or its answer could not be kept; the message says which, why, and what to do."""
