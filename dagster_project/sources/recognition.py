"""Finding the files of a folder that Hindcast can read, by their first bytes; what is left out is listed, with why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from dagster_project.sources.decoding.reading import head
from dagster_project.sources.format import Format
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.landing import InputFile


@dataclass(frozen=True)
class LeftOut:
    """A file that is not loaded."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Recognised:
    """What was found: files to land, in the order of their paths, and files left out."""

    files: tuple[InputFile, ...]
    left_out: tuple[LeftOut, ...]


def recognise(path: Path) -> Format | None:
    """The format of one file, or None.

    The content decides; the name does for an empty file only, and an extension never.
    """
    start = head(path)
    if start.strip():
        return next((known for known in FORMATS.values() if _is_of(path, start, known)), None)
    name = path.name.lower()
    return next((k for k in FORMATS.values() if any(fnmatch(name, pattern) for pattern in k.name_patterns)), None)


def _is_of(path: Path, start: bytes, known: Format) -> bool:
    return known.recognises(start) or (known.recognises_file is not None and known.recognises_file(path))


def recognise_all(paths: list[Path], *, source: str = "command line", project_root: Path | None = None) -> Recognised:
    """The files at and below `paths` that Hindcast can read. Hidden files and folders are passed by.

    Parameters
    ----------
    project_root
        Files below it are recorded in the ledger relative to it, others by their whole path.

    Raises
    ------
    FileNotFoundError
        A path that was named does not exist.
    """
    files: list[InputFile] = []
    left_out: list[LeftOut] = []
    for path in _files(paths):
        try:
            found = recognise(path)
        except OSError as error:
            left_out.append(LeftOut(path, f"cannot be read: {error.strerror}"))
            continue
        if found is None:
            left_out.append(LeftOut(path, "its content is of no known format"))
        else:
            files.append(InputFile(path, found, source, recorded_as(path, project_root)))
    return Recognised(tuple(files), tuple(left_out))


def recorded_as(path: Path, project_root: Path | None) -> str:
    """The path as the ledger knows it."""
    absolute = path.resolve()
    if project_root is not None and absolute.is_relative_to(project_root.resolve()):
        return absolute.relative_to(project_root.resolve()).as_posix()
    return absolute.as_posix()


def _files(paths: list[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            hidden = path.is_dir() and any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not hidden and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file
