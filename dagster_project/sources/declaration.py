"""`data/sources.yml`, typed: which files are read, as what, and which systems are asked for some. Opens no file.

How another system is asked is the business of `extraction/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, HttpUrl, field_validator, model_validator

from dagster_project.policy.document import DocumentError, StrictModel, read_document
from dagster_project.settings import Project
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.recognition import recorded_as
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.landing import MAX_REFUSED_SHARE, InputFile
from dagster_project.wording import did_you_mean


class SourcesInvalid(ValueError):
    """`data/sources.yml` cannot be used; the message names the file, the line, the field, and what to do."""


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=100)]
EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class PrometheusServer(StrictModel):
    """A Prometheus server whose answers to range queries are fetched into files.

    Parameters
    ----------
    queries
        From a name, which the points take when the expression gives none, to a PromQL expression.
    start, until
        The first and the last time that is asked for; None goes on with every run.
    chunk_seconds
        How long a stretch one file holds. A chunk is asked for when it has ended.
    lag_seconds
        How long after the end of a chunk its points are taken to be complete.
    token_env
        The environment variable that holds a bearer token.
    """

    url: HttpUrl
    queries: Annotated[dict[Name, str], Field(min_length=1)]
    start: AwareDatetime
    until: AwareDatetime | None = None
    step_seconds: Annotated[int, Field(ge=1)] = 60
    chunk_seconds: Annotated[int, Field(ge=1)] = 6 * 3600
    lag_seconds: Annotated[int, Field(ge=0)] = 300
    token_env: EnvironmentVariable | None = None

    @model_validator(mode="before")
    @classmethod
    def _url_holds_no_secret(cls, said: Any) -> Any:
        # Of the model and before its fields: what is said of a field quotes its value.
        if isinstance(said, Mapping) and "@" in str(said.get("url")):
            raise ValueError(
                "url: it holds a name or a password; leave them out, and name the environment variable of a token "
                "under `token_env`"
            )
        return said


class GitRepository(StrictModel):
    """A git repository whose history is written into files.

    Parameters
    ----------
    repository
        Its folder, absolute or relative to the project's root.
    ref
        The branch or other name whose history is read; None reads all branches.
    since
        Commits before this day are left out.
    """

    repository: Annotated[str, Field(min_length=1)]
    ref: Annotated[str, Field(pattern=r"^[^-\s][^\s]*$", max_length=200)] | None = "HEAD"
    since: date | None = None


class Source(StrictModel):
    """One kind of files, or a system whose answers become files; exactly one of `path`, `prometheus`, `git`.

    Parameters
    ----------
    name
        How the ledger calls it.
    format
        One of `registry.FORMATS`; only for `path`, the others have theirs.
    path
        A glob below the project's root, or an absolute one; `**` crosses folders.
    optional
        Whether it is fine that no file matches.
    tenant
        Whose data it is.
    time_zone, year, service_name, fields
        See `format.ReadOptions`; only those that the format uses.
    retention_days
        How many event days are kept, counted back from the newest one of the source; None keeps all.
    sampling_ratio
        The share of telemetry that its sender kept, when it was sampled.
    personal_data
        Names of attributes, labels or fields whose values are replaced by a keyed hash before they are stored.
    max_refused_share
        When more of a file's records than this are refused, nothing of it lands.
    """

    name: Name
    format: str = ""
    path: str | None = None
    prometheus: PrometheusServer | None = None
    git: GitRepository | None = None
    description: str = ""
    optional: bool = False
    tenant: Name | None = None
    time_zone: str = "UTC"
    year: Annotated[int, Field(ge=2000, lt=2100)] | None = None
    service_name: Annotated[str, Field(min_length=1)] | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    retention_days: Annotated[int, Field(ge=1)] | None = None
    sampling_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    personal_data: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    max_refused_share: Annotated[float, Field(ge=0, le=1)] = MAX_REFUSED_SHARE

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value and value not in FORMATS:
            raise ValueError(f"unknown format; known are {', '.join(FORMATS)}")
        return value

    @field_validator("path")
    @classmethod
    def _does_not_climb(cls, value: str | None) -> str | None:
        if value is not None and ".." in PurePosixPath(value).parts:
            raise ValueError("a path may not climb out with `..`; list its folder under `folders`")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone of the IANA database; one is Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _has_one_origin(self) -> Source:
        if sum(origin is not None for origin in (self.path, self.prometheus, self.git)) != 1:
            raise ValueError("say exactly one of `path`, `prometheus` and `git`")
        if self.path is None and self.format:
            raise ValueError("`format` is for files under `path`; leave it out here")
        if self.path is not None and not self.format:
            raise ValueError(f"say the `format` of its files, one of {', '.join(FORMATS)}")
        return self

    @model_validator(mode="after")
    def _says_nothing_that_is_not_heeded(self) -> Source:
        said = {name for name in _OPTIONS if getattr(self, name) != getattr(_NOTHING_SAID, name)}
        if unheeded := sorted(said - self._decoder.uses):
            heeded = ", ".join(sorted(self._decoder.uses)) or "none"
            raise ValueError(f"{', '.join(unheeded)}: not heeded by {self._decoder.name}, which heeds {heeded}")
        for name in self.fields:
            if name not in self._decoder.fields:
                hint = did_you_mean(name, self._decoder.fields)
                raise ValueError(f"fields.{name}: {self._decoder.name} has no such field; {hint}")
        return self

    @property
    def _decoder(self) -> Format:
        return FORMATS["prometheus" if self.prometheus else "git_history" if self.git else self.format]

    @property
    def decoder(self) -> Format:
        """The format of its files, read as the source says."""
        return self._decoder.with_options(ReadOptions(**{name: getattr(self, name) for name in _OPTIONS}))

    @property
    def is_extracted(self) -> bool:
        """Whether its files are fetched from another system first."""
        return self.path is None


_NOTHING_SAID = ReadOptions()
_OPTIONS = tuple(field.name for field in fields(ReadOptions))


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
    claimed: dict[Path, str] = {}
    files: list[InputFile] = []
    for source in declaration.sources:
        for path in source_paths(project, declaration, source):
            real = path.resolve()
            if real in claimed:
                raise SourcesInvalid(
                    f"{project.sources_file}: {path} is matched by the sources {claimed[real]} and {source.name}; "
                    "make one of the paths narrower"
                )
            claimed[real] = source.name
            files.append(input_file(project, source, path))
    return files


def source_paths(project: Project, declaration: Declaration, source: Source) -> list[Path]:
    """The files of one source, in the order of their paths.

    Raises
    ------
    SourcesInvalid
        A file lies outside of the declared folders, or a source of files that is not optional has none.
    """
    if source.path is None:
        # Nothing may have been fetched yet, and what was is Hindcast's own.
        return _matches(project.extracted_dir, f"{source.name}/**/*")
    found = _matches(project.root, source.path)
    if not found and not source.optional:
        raise SourcesInvalid(
            f"{project.sources_file}: source {source.name}: no file matches {source.path}; "
            "mend the path, or say `optional: true`"
        )
    folders = [(project.root / folder).resolve() for folder in declaration.folders]
    for path in found:
        if not any(path.resolve().is_relative_to(folder) for folder in folders):
            raise SourcesInvalid(
                f"{project.sources_file}: source {source.name}: {path} lies outside of the declared folders "
                f"({', '.join(declaration.folders)}); add its folder to `folders` if it is meant"
            )
    return found


def input_file(project: Project, source: Source, path: Path) -> InputFile:
    """A file of a source, as landing takes it."""
    return InputFile(
        path,
        source.decoder,
        source.name,
        recorded_as(path, project.root),
        tenant=source.tenant,
        sampling_ratio=source.sampling_ratio,
        max_refused_share=source.max_refused_share,
        personal_data=tuple(source.personal_data),
    )


def _matches(root: Path, pattern: str) -> list[Path]:
    absolute = Path(pattern)
    if absolute.is_absolute():
        base, relative = Path(absolute.anchor), absolute.relative_to(absolute.anchor)
    else:
        base, relative = root, absolute
    return sorted(path for path in base.glob(str(relative)) if path.is_file() and not path.name.startswith("."))
