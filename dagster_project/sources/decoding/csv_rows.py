"""CSV as Arrow: every column is text, names are made unique, rows of another width or of other bytes are refused.

What a column means, the format says that reads it.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dagster_project.sources.decoding.columns import Numbers, int64
from dagster_project.sources.decoding.reading import LINE_LIMIT_BYTES, UTF8_MARK, ByteStream
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

BLOCK_BYTES = 4 << 20  # the longest row that is read
HEADER_BYTES = 1 << 16
DELIMITERS = (",", ";", "\t")  # spreadsheets of half the world write semicolons
# Stands for bytes that are no UTF-8 until their row is refused: a code point that no text may hold.
_NOT_UTF8 = "\ufdd0"


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _NOT_UTF8, error.end


codecs.register_error("hindcast_marked", _marked)


@dataclass(frozen=True)
class Rows:
    """Some rows: `line` is 2 for the first row below the header; a row is one line here, however many it spans."""

    line: pa.Array
    row: pa.StructArray
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.row.type]

    def raw_of(self, line: int, _record: int) -> str | None:
        """A row as JSON; see `batches.Batch`."""
        return orjson.dumps(self.row[self.line.index(line).as_py()].as_py()).decode()


def header(head: bytes) -> list[str]:
    """The column names in the first line, made unique; empty when it is no text.

    A name that comes again gets `_1`, the next `_2`; one in other capitals is the same name, as it is to the engine.
    """
    return _unique(_split(head)[1])


def _split(head: bytes) -> tuple[str, list[str]]:
    """The delimiter, and the first line's names as they stand there."""
    try:
        first = head.removeprefix(UTF8_MARK).split(b"\n", 1)[0].decode().rstrip("\r")
        found = {mark: next(csv.reader([first], delimiter=mark), []) for mark in DELIMITERS}
    except (UnicodeDecodeError, csv.Error):
        return ",", []
    mark = max(DELIMITERS, key=lambda each: len(found[each]))  # the first of equals
    return mark, found[mark]


def _unique(names: list[str]) -> list[str]:
    taken: set[str] = set()
    repeats: dict[str, int] = {}
    unique = []
    for place, sent in enumerate(names, 1):
        name = candidate = sent or f"column_{place}"
        while candidate.lower() in taken:
            repeats[name.lower()] = repeats.get(name.lower(), 0) + 1
            candidate = f"{name}_{repeats[name.lower()]}"
        taken.add(candidate.lower())
        unique.append(candidate)
    return unique


def rows(stream: ByteStream) -> Iterator[Rows]:
    """Batches of rows, in file order, without holding the file. Damage ends the file with a refusal."""
    source = _StreamFile(stream)
    file: io.BufferedReader = io.BufferedReader(source, BLOCK_BYTES)
    start = file.peek(HEADER_BYTES)[:HEADER_BYTES]
    delimiter, names = _split(start)
    problem = _header_problem(start, names)
    if problem:
        # Bytes in another encoding have been replaced by now: the mark is no news to whoever reads the refusal.
        raw = clipped(start.decode(errors="replace").replace(_NOT_UTF8, "\ufffd"))
        yield _no_rows([], [Refusal(1, None, Reason.OTHER_FORMAT, problem, raw)])
    if names and not problem and b"\n" in start:  # a header alone may end without a newline; Arrow cannot skip it then
        yield from _rows(file, source, delimiter, _unique(names))
    elif stream.broken is not None:
        yield _no_rows([], [Refusal(1, None, stream.broken.reason, stream.broken.detail, None)])


def _header_problem(start: bytes, names: list[str]) -> str | None:
    if not start.strip():
        return None
    if not names:
        return "no header of text"
    if len(start) == HEADER_BYTES and b"\n" not in start:
        return f"the header is longer than {HEADER_BYTES} bytes"
    if any(_NOT_UTF8 in name for name in names):
        return "the header is no UTF-8: save the file as UTF-8"
    return None


def _rows(file: io.BufferedReader, source: _StreamFile, delimiter: str, names: list[str]) -> Iterator[Rows]:
    refused: list[Refusal] = []
    gone: list[int] = []  # the lines of refused rows that are not yet passed by

    def refuse(row: pa.csv.InvalidRow) -> str:
        # Arrow counts the header that it skips as row 1.
        detail = f"{row.actual_columns} columns where the header has {row.expected_columns}"
        refused.append(Refusal(row.number, None, Reason.ROW_MALFORMED, detail, _shown(row.text)))
        gone.append(row.number)
        return "skip"

    next_line = 2
    try:
        for batch in _reader(file, delimiter, names, refuse):
            line = _lines(next_line, batch.num_rows, gone)
            next_line = int(line[-1]) + 1 if len(line) else next_line
            gone = [number for number in gone if number >= next_line]
            taken, refused = refused, []
            found = Rows(int64(line), pa.StructArray.from_arrays(batch.columns, names=names), taken)
            yield _without_other_bytes(found) if source.is_mended else found
    except pa.ArrowInvalid as error:
        detail = (
            f"nothing after line {next_line - 1} can be read (an open quote, a row over {BLOCK_BYTES} bytes): {error}"
        )
        refused.append(Refusal(next_line, None, Reason.ROW_MALFORMED, detail, None))
    if source.is_too_long:
        detail = f"a row has more than {LINE_LIMIT_BYTES} bytes; nothing after it is read"
        refused.append(Refusal(next_line, None, Reason.LINE_TOO_LONG, detail, None))
    if (broken := source.stream.broken) is not None:
        detail = f"{broken.detail} (byte {broken.offset} of the compressed file)"
        refused.append(Refusal(next_line, None, broken.reason, detail, None))
    if refused:
        yield _no_rows(names, refused)


def _without_other_bytes(found: Rows) -> Rows:
    """The rows of UTF-8; the others are refused: nobody knows which letters were meant."""
    marked = reduce(pc.or_, (pc.match_substring(column, _NOT_UTF8) for column in found.row.flatten()))
    if not pc.any(marked).as_py():
        return found
    refusals = [
        Refusal(line, None, Reason.NOT_UTF8, "bytes that are no UTF-8: save the file as UTF-8", _shown(raw))
        for line in found.line.filter(marked).to_pylist()
        if (raw := found.raw_of(line, 1)) is not None
    ]
    keep = pc.invert(marked)
    return Rows(found.line.filter(keep), found.row.filter(keep), [*found.refusals, *refusals])


def _shown(text: str) -> str | None:
    return clipped(text.replace(_NOT_UTF8, "\ufffd"))


def _no_rows(names: list[str], refusals: list[Refusal]) -> Rows:
    nothing = pa.array([], pa.struct([(name, pa.string()) for name in names]))
    return Rows(pa.array([], pa.int64()), nothing, refusals)


def _reader(file: io.BufferedReader, delimiter: str, names: list[str], refuse: object) -> Iterator[pa.RecordBatch]:
    return iter(
        pa.csv.open_csv(
            file,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
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
        self.stream = stream
        self.is_mended = False
        self.is_too_long = False
        self._parts = self._whole_lines()
        self._waiting = b""

    def _whole_lines(self) -> Iterator[bytes]:
        open_line: list[bytes] = []
        size = 0
        for chunk in self.stream:
            end = chunk.rfind(b"\n") + 1
            if end:
                yield self._as_utf8(b"".join([*open_line, chunk[:end]]))
                open_line, size = [], 0
            open_line.append(chunk[end:])
            size += len(chunk) - end
            if size > LINE_LIMIT_BYTES:
                self.is_too_long = True
                return
        if size and self.stream.broken is None:
            yield self._as_utf8(b"".join(open_line))

    def _as_utf8(self, lines: bytes) -> bytes:
        """One byte in another encoding must not end the file: Arrow would read nothing after it."""
        try:
            lines.decode()
        except UnicodeDecodeError:
            self.is_mended = True
            return lines.decode(errors="hindcast_marked").encode()
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
