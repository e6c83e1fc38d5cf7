"""Where `hindcast query` writes its answers: places that are refused before a replay, and folders that appear whole.

What is asked, and what is printed, `queries` knows; the formats are `replay.formats`, pages are made by `site`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import duckdb

from dagster_project.replay import formats
from dagster_project.replay.query import Replay
from dagster_project.replay.window import Window
from dagster_project.rule_language import Rule
from dagster_project.settings import Project
from dagster_project.warehouse.generations import Generation


@dataclass(frozen=True)
class Failed:
    """A rule that has no answer, or the path of a file that could not be read; `is_stopped`: by the limit of time."""

    rule: Rule | str
    why: str
    is_stopped: bool

    @property
    def name(self) -> str:
        """The id, or the path."""
        return self.rule if isinstance(self.rule, str) else self.rule.id


@dataclass(frozen=True)
class Pack:
    """What came of several rules: answers, failures, and by rule what it names and nobody sent."""

    answers: Sequence[Replay]
    failures: Sequence[Failed]
    notes: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Exporter:
    """Writes answers in one format; `most_pages` bounds the pages that the violations of a rule get in HTML."""

    format: str
    most_pages: int
    project: Project
    connection: duckdb.DuckDBPyConnection
    generation: Generation

    def write(self, answer: Replay, target: Path) -> None:
        """Write one answer to a file, or to a folder that needs nothing beside it."""
        if self.format == "html":
            self._pages(answer, target, None)
        else:
            formats.export(answer, self.format, target)

    def write_of_several(self, answer: Replay, folder: Path) -> None:
        """Write one answer of several below their folder."""
        target = place(folder, answer.rule, self.format)
        if self.format == "html":
            from dagster_project.site import pack  # noqa: PLC0415 - takes jinja: for pages only

            self._pages(answer, target, f"../{pack.ASSETS}")
        else:
            formats.export(answer, self.format, target)

    def summarise(self, folder: Path, found: Pack, window: Window) -> None:
        """Write what stands above all answers of a folder: the index, when they are pages."""
        if self.format == "html":
            from dagster_project.site import pack  # noqa: PLC0415 - takes jinja: for pages only

            failures = [pack.Failure(one.rule, one.why, one.is_stopped) for one in found.failures]
            pack.write(folder, found.answers, failures, found.notes, window, self.generation)

    def _pages(self, answer: Replay, target: Path, assets: str | None) -> None:
        from dagster_project.policy.policy import load_policy  # noqa: PLC0415 - takes pydantic and jinja: for pages
        from dagster_project.site import replayed  # noqa: PLC0415

        policy = self.project.policy_file
        replayed.write(
            self.connection,
            answer,
            target,
            self.generation,
            trace_link=load_policy(policy).trace_link if policy.is_file() else None,
            most_pages=self.most_pages,
            assets=assets,
        )


def require_places(export: Path, format_: str, pack: Sequence[Rule] | None) -> None:
    """Refuse, before a replay that may take hours, what its answers could not be written to.

    Parameters
    ----------
    pack
        The rules, when each of several gets a place below `export`.

    Raises
    ------
    OSError
        Says which place is taken, by what, and what to do.
    """
    if pack is None:
        _require_place(export, format_)
        formats.require_ending(export, format_)
        return
    if export.exists() and not export.is_dir():
        raise NotADirectoryError(f"{export} is a file: several rules are exported to a folder")
    if not export.exists() and export.suffix and export.suffix.lower() in formats.SUFFIXES.values():
        raise NotADirectoryError(f"{export} is the name of a file: several rules are exported to a folder")
    _require_folder_above(export.resolve())  # it is filled beside its place
    _require_index(export, format_)
    for rule in pack:
        _require_place(place(export, rule, format_), format_)


def place(folder: Path, rule: Rule, format_: str) -> Path:
    """Where the answer of one rule of several goes."""
    return folder / f"{rule.id}{formats.SUFFIXES[format_]}"


@contextmanager
def folder_aside(target: Path, format_: str) -> Iterator[Path]:
    """A folder to fill; when the block ends well its entries are moved into `target`, which may have others.

    All of them are moved or, when that fails or is interrupted, none: what stood in their places is put back.
    """
    target = target.resolve()
    own = f".{target.name}.{os.getpid()}.{token_hex(4)}"
    aside, old = target.with_name(f"{own}.partial"), target.with_name(f"{own}.old")
    aside.mkdir(parents=True)
    try:
        yield aside
        # Somebody may have filled the places meanwhile.
        _require_index(target, format_)
        for made in aside.iterdir():
            if made.is_dir() and not _is_shared(made):
                _require_place(target / made.name, format_)
        if target.exists():
            _move(aside, target, old)
        else:
            aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _move(aside: Path, target: Path, old: Path) -> None:
    names = sorted(made.name for made in aside.iterdir())
    old.mkdir()
    try:
        for name in names:
            if (target / name).exists():
                (target / name).rename(old / name)
            (aside / name).rename(target / name)
    except BaseException:
        # Asked of the folders, not remembered: an interruption can come between a rename and the note of it.
        for name in names:
            if not (aside / name).exists():
                (target / name).rename(aside / name)
            if (old / name).exists():
                (old / name).rename(target / name)
        raise


def _is_shared(made: Path) -> bool:
    from dagster_project.site.pack import ASSETS  # noqa: PLC0415 - takes jinja: for pages only

    return made.name == ASSETS


def _require_index(folder: Path, format_: str) -> None:
    if format_ == "html":
        from dagster_project.site import pack  # noqa: PLC0415 - takes jinja: for pages only

        pack.require_free(folder)


def _require_place(target: Path, format_: str) -> None:
    _require_folder_above(target)
    if format_ == "html":
        from dagster_project.site.replayed import require_free  # noqa: PLC0415 - takes jinja: for pages only

        require_free(target)
    elif target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file for {format_}")
    else:
        formats.require_free(target)


def _require_folder_above(target: Path) -> None:
    above = next(one for one in target.absolute().parents if one.exists())
    if not above.is_dir():
        raise NotADirectoryError(f"{above} is no folder: nothing can be written below it")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{above} cannot be written to: name another place with --export")
