"""Reading again what was read before: the files that a retry means, as their sources declare them now.

Landing them is `warehouse/landing.py`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from dagster_project.settings import Project
from dagster_project.sources.decoding.reading import ByteStream, Unreadable
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import landing
from dagster_project.warehouse.landing import InputFile
from dagster_project.warehouse.refused import Refused, RefusedFile


@dataclass(frozen=True)
class NotAgain:
    """A file that cannot be read again, and why."""

    path: str
    reason: str


def files_again(
    project: Project, refused: Iterable[RefusedFile], declared: Mapping[str, InputFile]
) -> Iterator[tuple[RefusedFile, InputFile | NotAgain]]:
    """What to read for each file of which something was refused.

    Parameters
    ----------
    declared
        The files that sources declare now, by the path that the ledger knows them by. One that no source declares is
        read as it was.
    """
    for file in refused:
        path = project.root / file.path
        if not path.is_file():
            yield file, NotAgain(file.path, "the file is gone; put it back to read it again")
        elif landing.sha256_of(path) != file.sha256:
            yield file, NotAgain(file.path, "the file has other bytes now; `hindcast load` reads them")
        elif file.path in declared:
            yield file, declared[file.path]
        elif file.format not in FORMATS:
            yield file, NotAgain(file.path, f"no source declares it, and {file.format} is no format of this version")
        else:
            yield file, _as_before(path, file)


def _as_before(path: Path, file: RefusedFile) -> InputFile:
    said = json.loads(file.reading) if file.reading else {}
    known = {field.name for field in fields(ReadOptions)}
    options = ReadOptions(**{name: value for name, value in said.items() if name in known})
    decoder = FORMATS[file.format].with_options(options)
    return InputFile(
        path,
        decoder,
        file.source,
        file.path,
        tenant=file.tenant,
        sampling_ratio=file.sampling_ratio,
        max_refused_share=_share_before(file),
        personal_data=tuple(said.get("personal_data", ())),
    )


def _share_before(file: RefusedFile) -> float:
    """What was to be refused of it at most is not in the ledger; when it landed, it was as much as it is again now."""
    if not file.records_landed:
        return landing.MAX_REFUSED_SHARE
    return max(landing.MAX_REFUSED_SHARE, file.records_rejected / (file.records_landed + file.records_rejected))


def bytes_in_file(project: Project, refused: Refused) -> bytes | None:
    """A refused line as its file has it, while the file still has the bytes that were loaded; None otherwise."""
    path = project.root / refused.path
    if refused.byte_offset is None or refused.raw_bytes is None or not path.is_file():
        return None
    if landing.sha256_of(path) != refused.sha256:
        return None
    wanted = range(refused.byte_offset, refused.byte_offset + refused.raw_bytes)
    found: list[bytes] = []
    position = 0
    try:
        for chunk in ByteStream(path):
            start, stop = max(wanted.start - position, 0), wanted.stop - position
            if start < len(chunk):
                found.append(chunk[start:stop])
            position += len(chunk)
            if position >= wanted.stop:
                break
    except Unreadable:
        return None
    content = b"".join(found)
    return content if len(content) == len(wanted) else None
