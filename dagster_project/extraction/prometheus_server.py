"""Range queries to a Prometheus server: each answer is a file of one window of time, and what has one is not asked.

The files are the only memory of what was asked: delete one, and the next run asks for its window again. They are loaded
by `sources/prometheus.py`, which takes the name of unnamed series from the folder. How one request is made, and when it
is made again, is `prometheus_requests.py`'s business.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import orjson

from dagster_project.extraction.outcome import Extraction, ExtractionFailed, ExtractionProgress
from dagster_project.extraction.prometheus_requests import (
    AnswerBroken,
    AnswerTooLarge,
    Connection,
    Limits,
    ServerRefused,
    ServerUnreachable,
)
from dagster_project.extraction.whole_files import whole_file
from dagster_project.sources.declaration import PrometheusServer
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream, Unreadable
from dagster_project.wording import counted

POINTS_LIMIT = 11_000  # a series; a server refuses to answer with more
WARNINGS_SHOWN = 3

_TIME = "%Y%m%dT%H%M%SZ"
_FILE = re.compile(r"(\d{8}T\d{6}Z)-(\d{8}T\d{6}Z)\.json\.gz")
_ASKED = ".asked.json"  # hidden files are not landed


class QueryChanged(ExtractionFailed):
    """The files of a query were asked with another expression or step."""


@dataclass(frozen=True)
class Window:
    """A stretch of time, in seconds since 1970: `start` belongs to it, `end` does not."""

    start: int
    end: int

    @property
    def file_name(self) -> str:
        first, last = (datetime.fromtimestamp(at, UTC).strftime(_TIME) for at in (self.start, self.end))
        return f"{first}-{last}.json.gz"


@dataclass(frozen=True)
class _Piece:
    """One file to write."""

    query: str
    expression: str
    folder: Path
    window: Window

    @property
    def path(self) -> Path:
        return self.folder / self.window.file_name


def extract(
    source_name: str,
    server: PrometheusServer,
    folder: Path,
    progress: ExtractionProgress,
    limits: Limits | None = None,
) -> Extraction:
    """Ask a server for every window that has ended and has no file yet.

    A process that is killed leaves whole files only, and the next run goes on where it stopped.

    Parameters
    ----------
    source_name
        As in the declaration.
    server
        What to ask whom.
    folder
        Files go to `<folder>/<query>/<start>-<end>.json.gz`; the end does not belong to the window.
    progress
        Called after each file.
    limits
        How long to wait and how much to take.

    Returns
    -------
    Extraction
        The new files; `message` has the server's warnings.

    Raises
    ------
    ExtractionFailed
        The server cannot be asked, or refuses to answer a query, whose other windows are then not asked for; what was
        written before and what other queries gave stays.
    QueryChanged
        A query's expression or step is another one than that of its files.
    """
    with Connection(source_name, server, limits or Limits()) as connection:
        for name, expression in server.queries.items():
            _remember(source_name, name, expression, server.step_seconds, folder / name)
        until = connection.now() - server.lag_seconds
        pieces, there = _pieces(server, folder, until)
        written: list[Path] = []
        refused: dict[str, ExtractionFailed] = {}
        warnings: list[str] = []
        progress(source_name, 0, len(pieces))
        for piece in pieces:
            if piece.query in refused:
                continue
            try:
                warnings += _fetch(connection, piece, server.step_seconds)
            except (ServerRefused, AnswerTooLarge) as error:
                refused[piece.query] = error
                continue
            except ServerUnreachable as error:  # nor would it answer the other queries: each would wait as long
                refused[piece.query] = error
                break
            except OSError as error:
                raise ExtractionFailed(f"source {source_name}: {piece.path} cannot be written: {error}") from error
            written.append(piece.path)
            progress(source_name, len(written), len(pieces))
    if refused:
        raise _failure(refused, len(written))
    return Extraction(source_name, tuple(written), there, _message(warnings))


def _failure(refused: dict[str, ExtractionFailed], written: int) -> ExtractionFailed:
    """One error for all queries that failed, of the kind of the last."""
    told = "; ".join(f"query {name}: {error}" for name, error in refused.items())
    last = list(refused.values())[-1]
    failure = type(last)(f"{told}; {counted(written, 'file')} written before or by other queries stay")
    failure.__cause__ = last
    return failure


def _message(warnings: list[str]) -> str | None:
    if not warnings:
        return None
    shown = "; ".join(warnings[:WARNINGS_SHOWN])
    rest = f"; and {len(warnings) - WARNINGS_SHOWN} more" if len(warnings) > WARNINGS_SHOWN else ""
    return f"the server warned: {shown}{rest}. Delete a file to ask for its window again"


def _remember(source: str, name: str, expression: str, step_seconds: int, folder: Path) -> None:
    """Note what a folder's files are answers to, and refuse to put answers to something else beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"query": expression, "step_seconds": step_seconds}
    note = folder / _ASKED
    if not _windows(folder):
        with whole_file(note) as file:
            file.write(orjson.dumps(asked))
        return
    try:
        known = orjson.loads(note.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        known = None
    if known != asked:
        raise QueryChanged(
            f"source {source}: the files in {folder} are answers to {known}, the declaration asks {asked}; "
            f"give the query another name than {name}, or delete the folder to ask for everything again"
        )


# --- which windows ----------------------------------------------------------------------------------------------------


def _pieces(server: PrometheusServer, folder: Path, until: int) -> tuple[list[_Piece], int]:
    """What is to be asked for, oldest first, and how many files are there."""
    step = server.step_seconds
    chunk = max(min(server.chunk_seconds, POINTS_LIMIT * step) // step, 1) * step
    first = -(-int(-(-server.start.timestamp() // 1)) // step) * step
    last = None if server.until is None else int(server.until.timestamp()) // step * step + step
    pieces: list[_Piece] = []
    there = 0
    for name, expression in server.queries.items():
        known = _windows(folder / name)
        there += len(known)
        missing = missing_windows(first, last, chunk, until, known)
        pieces += [_Piece(name, expression, folder / name, window) for window in missing]
    return sorted(pieces, key=lambda piece: (piece.window.start, piece.query)), there


def missing_windows(first: int, last: int | None, chunk: int, until: int, known: Iterable[Window]) -> Iterator[Window]:
    """The windows of at most `chunk` seconds from `first` on that have ended by `until` and that no file covers.

    They end at multiples of `chunk`, wherever they begin, so that every run cuts alike; the last one ends at `last`.
    """
    covered = sorted(known, key=lambda window: window.start)
    at = first
    while last is None or at < last:
        while covered and covered[0].start <= at:
            at = max(at, covered.pop(0).end)
        end = (at // chunk + 1) * chunk
        end = min(end, covered[0].start if covered else end, end if last is None else last)
        if end > until or end <= at:
            return
        yield Window(at, end)
        at = end


def _windows(folder: Path) -> list[Window]:
    """The windows of the files in a folder."""
    found = (_FILE.fullmatch(path.name) for path in folder.glob("*.json.gz"))
    return [Window(_seconds(match[1]), _seconds(match[2])) for match in found if match]


def _seconds(text: str) -> int:
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0  # 2023-13-01: nothing that we have written


# --- one window -------------------------------------------------------------------------------------------------------


def _fetch(connection: Connection, piece: _Piece, step: int) -> list[str]:
    """Write the answer for one window; its warnings."""
    # A range query answers for its end, too, which is the start of the next window.
    asked: dict[str, str | int] = {
        "query": piece.expression,
        "start": piece.window.start,
        "end": piece.window.end - step,
        "step": step,
    }

    def keep(chunks: Iterable[bytes]) -> list[str]:
        with whole_file(piece.path) as file:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
                for chunk in chunks:
                    packed.write(chunk)
            file.flush()
            return _warnings(Path(file.name))

    found = connection.ask("query_range", asked, keep)
    return [f"{piece.query} {piece.window.file_name}: {warning}" for warning in found]


def _warnings(answer: Path) -> list[str]:
    """The warnings of a whole answer.

    Raises
    ------
    AnswerBroken
        It is cut short, or no answer to a range query.
    """
    elements = Elements(ByteStream(answer), "data", "result")
    try:
        if bad := next((piece for piece in elements if not isinstance(piece, Block)), None):
            raise AnswerBroken(bad.detail)
    except Unreadable as error:
        raise AnswerBroken(str(error)) from error
    found = elements.envelope
    if not isinstance(found, dict) or not isinstance(data := found.get("data"), dict):
        raise AnswerBroken("it is no answer of Prometheus")
    if found.get("status") != "success" or data.get("resultType") != "matrix":
        raise AnswerBroken(f"status {found.get('status')!r:.40}, result type {data.get('resultType')!r:.40}")
    told = found.get("warnings")
    return [str(warning)[:200] for warning in islice(told, 100)] if isinstance(told, list) else []
