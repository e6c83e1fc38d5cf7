"""Asking every declared system for what is new. How one is asked is its own module's business."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dagster_project.extraction import git_repository, prometheus_server
from dagster_project.extraction.outcome import Extraction, ExtractionFailed, ExtractionProgress
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.sources.declaration import Source


def _silent(_source: str, _done: int, _to_do: int | None) -> None:
    return


def extract(
    project: Project, *, only: Iterable[str] | None = None, progress: ExtractionProgress = _silent
) -> list[Extraction | ExtractionFailed]:
    """Fetch what is new from the declared systems into files.

    One system that cannot be asked does not keep the others from being asked: what was fetched before still lands.

    Parameters
    ----------
    only
        Names of sources; None asks all.
    progress
        See `ExtractionProgress`.

    Returns
    -------
    list of Extraction or ExtractionFailed
        One a system, in the order of the declaration.

    Raises
    ------
    SourcesInvalid
        The declaration cannot be used.
    """
    sources = declaration.read(project.sources_file).sources
    names = None if only is None else set(only)
    return [
        _outcome(project, source, progress)
        for source in sources
        if source.is_extracted and (names is None or source.name in names)
    ]


def _outcome(project: Project, source: Source, progress: ExtractionProgress) -> Extraction | ExtractionFailed:
    folder = project.extracted_dir / source.name
    ask: Callable[[], Extraction]
    if source.prometheus is not None:
        server = source.prometheus
        ask = lambda: prometheus_server.extract(source.name, server, folder, progress)  # noqa: E731
    elif source.git is not None:
        place = str((project.root / source.git.repository).resolve())
        repository = source.git.model_copy(update={"repository": place})
        ask = lambda: git_repository.extract(source.name, repository, folder, progress)  # noqa: E731
    else:
        raise ValueError(f"{source.name} is a source of files")
    try:
        return ask()
    except ExtractionFailed as error:
        return error
