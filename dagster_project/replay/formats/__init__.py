"""A replay as a table for terminals, JSON, CSV or Parquet.

Layout only: what was found and how sure it is, `query` says. HTML is made by `site.replayed`, with the site's pages.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"hindcast.certificate": certificate})


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
    "require_known",
    "rows_as_csv",
    "rows_as_json",
    "write_csv",
    "written_aside",
]
