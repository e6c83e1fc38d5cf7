"""`data/sources.yml`, typed: which files are read, as what. Finds the files; opens none of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dagster_project.policy.document import DocumentError, StrictModel, read_document
from dagster_project.settings import Project
from dagster_project.sources.recognition import recorded_as
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.landing import InputFile


class SourcesInvalid(ValueError):
    """`data/sources.yml` cannot be used; the message names the file, the line, the field, and what to do."""


class Source(StrictModel):
    """One kind of files.

    Parameters
    ----------
    name
        How the ledger calls it.
    format
        One of `registry.FORMATS`.
    path
        A glob below the project's root, or an absolute one; `**` crosses folders.
    optional
        Whether it is fine that no file matches.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    format: str
    path: str
    description: str = ""
    optional: bool = False

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in FORMATS:
            raise ValueError(f"unknown format; known are {', '.join(FORMATS)}")
        return value

    @field_validator("path")
    @classmethod
    def _does_not_climb(cls, value: str) -> str:
        if ".." in PurePosixPath(value).parts:
            raise ValueError("a path may not climb out with `..`; list its folder under `folders`")
        return value


class Declaration(StrictModel):
    """The whole file.

    Parameters
    ----------
    first_day
        The first event day that is replayed; older records land and are counted, but belong to no partition.
    folders
        What lies outside of these is not read, whatever a glob or a symbolic link says; relative to the project's root,
        or absolute.
    """

    version: Literal[1]
    first_day: date = date(2020, 1, 1)
    folders: Annotated[list[str], Field(min_length=1)]
    sources: Annotated[list[Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_one_source_a_name(self) -> Declaration:
        names = [source.name for source in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"declared twice: {', '.join(twice)}")
        return self


def read(file: Path) -> Declaration:
    """The declaration in a file.

    Raises
    ------
    SourcesInvalid
        Names file, line, field and value of every problem.
    """
    try:
        return read_document(file, Declaration)
    except DocumentError as error:
        raise SourcesInvalid(str(error)) from None


def declared_files(project: Project) -> list[InputFile]:
    """The files that the project's declaration names, in the order of the sources, then of the paths.

    Raises
    ------
    SourcesInvalid
        A file lies outside of the declared folders, two sources claim one file, or a source that is not optional has
        none.
    """
    declaration = read(project.sources_file)
    folders = [(project.root / folder).resolve() for folder in declaration.folders]
    claimed: dict[Path, str] = {}
    files: list[InputFile] = []
    for source in declaration.sources:
        found = _matches(project.root, source.path)
        if not found and not source.optional:
            raise SourcesInvalid(
                f"{project.sources_file}: source {source.name}: no file matches {source.path}; "
                "mend the path, or say `optional: true`"
            )
        for path in found:
            real = path.resolve()
            if not any(real.is_relative_to(folder) for folder in folders):
                raise SourcesInvalid(
                    f"{project.sources_file}: source {source.name}: {path} lies outside of the declared folders "
                    f"({', '.join(declaration.folders)}); add its folder to `folders` if it is meant"
                )
            if real in claimed:
                raise SourcesInvalid(
                    f"{project.sources_file}: {path} is matched by the sources {claimed[real]} and {source.name}; "
                    "make one of the paths narrower"
                )
            claimed[real] = source.name
            files.append(InputFile(path, FORMATS[source.format], source.name, recorded_as(path, project.root)))
    return files


def _matches(root: Path, pattern: str) -> list[Path]:
    absolute = Path(pattern)
    base, relative = (
        (Path(absolute.anchor), absolute.relative_to(absolute.anchor))
        if absolute.is_absolute()
        else (
            root,
            absolute,
        )
    )
    return sorted(path for path in base.glob(str(relative)) if path.is_file() and not path.name.startswith("."))
