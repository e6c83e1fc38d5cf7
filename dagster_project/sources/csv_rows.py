"""CSV as Arrow: every column is text, a name that comes again gets `_1`, rows of another width are refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv

from dagster_project.sources.columns import Numbers, int64
from dagster_project.sources.reading import UTF8_MARK, ByteStream
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows: `line` is 2 for the first row below the header; a row is one line here, however many it spans."""

    line: pa.Array
    row: pa.StructArray
    refusals: list[Refusal] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()


# What the ledger says of a file in which bytes had to be replaced: its rows land, and the loss is told.
NOT_UTF8 = "(bytes that are no UTF-8, replaced by U+FFFD)"


def header(head: bytes) -> list[str]:
    """The column names in the first line, made unique; empty when it is no text."""
    try:
        first = head.removeprefix(UTF8_MARK).split(b"\n", 1)[0].decode()
        names = next(csv.reader([first.rstrip("\r")]), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        unique.append(f"{name}_{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return unique


def rows(stream: ByteStream) -> Iterator[Rows]:
    """Batches of rows, in file order, without holding the file. Damage ends the file with a refusal."""
    source = _StreamFile(stream)
    file: io.BufferedReader = io.BufferedReader(source, BLOCK_BYTES)
    start = file.peek(1 << 16)
    names = header(start)
    if not names:
        if start.strip():
            yield _no_rows([], [Refusal(1, None, Reason.OTHER_FORMAT, "no header of text", clipped(start))])
        return
    refused: list[Refusal] = []
    gone: list[int] = []  # the lines of refused rows that are not yet passed by

    def refuse(row: pa.csv.InvalidRow) -> str:
        # Arrow counts the header that it skips as row 1.
        detail = f"{row.actual_columns} columns where the header has {row.expected_columns}"
        refused.append(Refusal(row.number, None, Reason.ROW_MALFORMED, detail, clipped(row.text)))
        gone.append(row.number)
        return "skip"

    next_line = 2
    try:
        for batch in _reader(file, names, refuse):
            line = _lines(next_line, batch.num_rows, gone)
            next_line = int(line[-1]) + 1 if len(line) else next_line
            gone = [number for number in gone if number >= next_line]
            taken, refused = refused, []
            unknown = frozenset({NOT_UTF8} if source.is_mended else ())
            yield Rows(int64(line), pa.StructArray.from_arrays(batch.columns, names=names), taken, unknown)
    except pa.ArrowInvalid as error:
        detail = f"nothing after line {next_line - 1} can be read: {error}"
        refused.append(Refusal(next_line, None, Reason.ROW_MALFORMED, detail, None))
    if stream.broken is not None:
        detail = f"{stream.broken.detail} (byte {stream.broken.offset} of the compressed file)"
        refused.append(Refusal(next_line, None, stream.broken.reason, detail, None))
    if refused:
        yield _no_rows(names, refused)


def _no_rows(names: list[str], refusals: list[Refusal]) -> Rows:
    nothing = pa.array([], pa.struct([(name, pa.string()) for name in names]))
    return Rows(pa.array([], pa.int64()), nothing, refusals)


def _reader(file: io.BufferedReader, names: list[str], refuse: object) -> Iterator[pa.RecordBatch]:
    return iter(
        pa.csv.open_csv(
            file,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    )


def _lines(first: int, count: int, gone: list[int]) -> Numbers:
    """The lines of `count` rows from line `first` on, with the refused lines left out."""
    candidates = np.arange(first, first + count + len(gone))
    return candidates[~np.isin(candidates, gone)][:count]


class _StreamFile(io.RawIOBase):
    """The decoded stream as a file for Arrow to read; a line that a break of the stream cut short is left out."""

    def __init__(self, stream: ByteStream) -> None:
        self._parts = self._whole_lines(stream)
        self._waiting = b""
        self.is_mended = False

    def _whole_lines(self, stream: ByteStream) -> Iterator[bytes]:
        open_line = b""
        for chunk in stream:
            end = chunk.rfind(b"\n") + 1
            if end:
                yield self._as_utf8(open_line + chunk[:end])
                open_line = chunk[end:]
            else:
                open_line += chunk
        if open_line and stream.broken is None:
            yield self._as_utf8(open_line)

    def _as_utf8(self, lines: bytes) -> bytes:
        """One byte in another encoding must not end the file: Arrow would read nothing after it."""
        try:
            lines.decode()
        except UnicodeDecodeError:
            self.is_mended = True
            return lines.decode(errors="replace").encode()
        return lines

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._waiting:
            self._waiting = next(self._parts, b"")
        part = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(part) :]
        buffer[: len(part)] = part
        return len(part)
