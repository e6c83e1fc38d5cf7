"""A replay as a table for terminals, JSON, CSV or Parquet.

Layout only: what was found and how sure it is, `query` says. HTML is made by `site.replayed`, with the site's pages.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from dagster_project.replay.formats.answers import certificate_json, json_parts
from dagster_project.replay.formats.cells import inert_columns, rows_as_csv, rows_as_json, write_csv
from dagster_project.replay.formats.terminal import SHOWN_ROWS, WIDE, as_table, certificate_lines, pack_table
from dagster_project.replay.query import Replay

FORMATS: Final = ("table", "json", "csv", "parquet", "html")
SUFFIXES: Final = {"json": ".json", "csv": ".csv", "parquet": ".parquet", "html": "", "table": ".txt"}
_ENDINGS: Final = {ending: format_ for format_, ending in SUFFIXES.items() if ending} | {".html": "html"}
_CERTIFICATE: Final = b"hindcast.certificate"
# How answers begin: JSON by its first keys, CSV by its first columns, tables by their headline.
_ANSWER: Final = re.compile(
    rb'\{\s*"rule": "[^"]*",\s*"title": |scope_key,first_span_at,last_span_at,'
    rb"|[a-z0-9-]+: [\d,]+ violated, [\d,]+ satisfied, "
)
_HEAD_BYTES: Final = 4_096


class FormatNotSupported(ValueError):
    """The format is none that a replay can be written in, or cannot go where it was asked to."""


def render(replay: Replay, format_: str) -> str:
    """The replay as text, for the formats `table`, `json` and `csv`.

    Raises
    ------
    FormatNotSupported
        For anything else; Parquet is written with `export`, HTML by `site.replayed`.
    """
    if format_ == "table":
        console = Console(width=WIDE, file=io.StringIO(), record=True)
        console.print(as_table(replay, console.width))
        return console.export_text()
    if format_ == "json":
        return "".join(json_parts(replay))
    if format_ == "csv":
        with TemporaryDirectory() as folder:
            write_csv(replay, Path(folder) / "violations.csv")
            return (Path(folder) / "violations.csv").read_text(encoding="utf-8")
    raise _refused(format_)


def export(replay: Replay, format_: str, path: Path) -> None:
    """Write the replay to a file, which is there whole or not at all.

    Raises
    ------
    FormatNotSupported
        For a format that is no file's.
    """
    with written_aside(path) as aside:
        if format_ == "parquet":
            pq.write_table(_with_certificate(replay), aside)
        elif format_ == "csv":
            write_csv(replay, aside)
        elif format_ == "json":
            with aside.open("w", encoding="utf-8") as file:
                file.writelines(json_parts(replay))
        else:
            aside.write_text(render(replay, format_), encoding="utf-8")


def format_of(path: Path) -> str:
    """The format that the name of a file says; CSV when it has no ending.

    Raises
    ------
    FormatNotSupported
        For an ending that is no format's.
    """
    ending = path.suffix.lower().lstrip(".")
    found = {"": "csv", "txt": "table"}.get(ending, ending)
    if found not in FORMATS:
        raise _refused(ending)
    return found


def require_known(format_: str) -> None:
    """Refuse what is no format before anything is asked of the engine.

    Raises
    ------
    FormatNotSupported
        Names the formats there are.
    """
    if format_ not in FORMATS:
        raise _refused(format_)


def refuse_without_file(format_: str) -> None:
    """Say where the answer goes in a format that is no text.

    Raises
    ------
    FormatNotSupported
        Always.
    """
    raise _refused(format_)


def require_ending(path: Path, format_: str) -> None:
    """Refuse a file whose name says another format than the one it is asked for in.

    Raises
    ------
    FormatNotSupported
        Says what to write.
    """
    ending = path.suffix.lower()
    if ending in _ENDINGS and _ENDINGS[ending] != format_:
        right = path.with_suffix(SUFFIXES[format_])
        raise FormatNotSupported(
            f"{path} ends in {ending}, and --format says {format_}: write `--export {right}`"
            f" or `--format {_ENDINGS[ending]}`"
        )


def require_free(path: Path) -> None:
    """Refuse a file that an answer would take the place of, unless it is empty or an answer, of any format and rule.

    Raises
    ------
    FileExistsError
        Says what to do.
    """
    if path.is_file() and path.stat().st_size and not _is_answer(path):
        raise FileExistsError(f"{path} is no earlier answer: name another file, or move that one away")


def _is_answer(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        with suppress(pa.ArrowException, OSError):
            return _CERTIFICATE in (pq.read_metadata(path).metadata or {})
        return False
    return _ANSWER.match(head) is not None


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends well, and goes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _refused(format_: str) -> FormatNotSupported:
    if format_ == "parquet":
        return FormatNotSupported("parquet is no text: write it to a file with `--export FILE`")
    if format_ == "html":
        return FormatNotSupported("html is a folder of pages: name it with `--format html --export DIR`")
    return FormatNotSupported(f"`{format_}` is no format; write one of: {', '.join(FORMATS)}")


def _with_certificate(replay: Replay) -> pa.Table:
    """The violations, with the certificate in the metadata of the file."""
    table = replay.violations
    certificate = json.dumps(certificate_json(replay.certificate)).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _CERTIFICATE: certificate})


__all__ = [
    "FORMATS",
    "SHOWN_ROWS",
    "SUFFIXES",
    "FormatNotSupported",
    "as_table",
    "certificate_json",
    "certificate_lines",
    "export",
    "format_of",
    "inert_columns",
    "json_parts",
    "pack_table",
    "refuse_without_file",
    "render",
    "require_ending",
    "require_free",
    "require_known",
    "rows_as_csv",
    "rows_as_json",
    "write_csv",
    "written_aside",
]
