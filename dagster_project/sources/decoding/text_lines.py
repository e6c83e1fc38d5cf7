"""Lines of a block as an Arrow column of texts, cut at the newlines by offsets; lines that are not UTF-8 stand apart.

What a line means is the business of the formats.
"""

from __future__ import annotations

import codecs
import threading
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dagster_project.sources.decoding.columns import Numbers, int64
from dagster_project.sources.decoding.reading import Block
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

SCHEMA = pa.schema([("line", pa.int64()), ("text", pa.large_string())])
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class TextLines:
    """Every line of a block but those refused: `table` has the columns `line` and `text`, blank lines included."""

    table: pa.Table
    refusals: tuple[Refusal, ...]


def text_lines(block: Block, *, keep_ends: bool = False) -> TextLines:
    """The lines of a block, without their line ends, Unix's or Windows'.

    Parameters
    ----------
    keep_ends
        For formats in which blanks at the end of a line mean nothing: taking them off costs as much as all else here.
    """
    data = block.data if keep_ends or b"\r\n" not in block.data else block.data.replace(b"\r\n", b"\n")
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    numbers = np.arange(block.first_line, block.first_line + len(ends), dtype=np.int64)
    bad = _not_utf8(data, ends)
    texts = _with_ends(data, ends) if keep_ends else _without_ends(data, ends)
    if len(bad):
        good = np.ones(len(ends), np.bool_)
        good[bad] = False
        kept = int64(np.flatnonzero(good).astype(np.int64))
        texts, numbers = texts.take(kept), numbers[good]
    refusals = tuple(_refused(data, ends, int(place), block.first_line) for place in bad)
    return TextLines(pa.table([int64(numbers), texts.cast(pa.large_string())], schema=SCHEMA), refusals)


def _with_ends(data: bytes, ends: Numbers) -> pa.Array:
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.minimum(ends + 1, len(data), out=offsets[1:])
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _without_ends(data: bytes, ends: Numbers) -> pa.Array:
    # Texts in Arrow follow each other without gaps: the newlines have to go out of the data.
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.subtract(ends, np.arange(len(ends)), out=offsets[1:])
    joined = data.replace(b"\n", b"")
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(joined)])


def _not_utf8(data: bytes, ends: Numbers) -> Numbers:
    """The places of the lines that are not UTF-8."""
    if data.isascii():
        return np.empty(0, np.int64)
    _damage.places = []
    data.decode(errors=_SKIP_LINE)
    return np.searchsorted(ends, np.array(_damage.places, np.int64))


# Decoding goes on behind the line, so that a line is asked once whatever it holds, and every byte is read once.
_SKIP_LINE = "hindcast_skip_line"
_damage = threading.local()


def _skip_line(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _damage.places.append(error.start)
    end = error.object.find(b"\n", error.start)
    return "", end if end >= 0 else len(error.object)


codecs.register_error(_SKIP_LINE, _skip_line)


def _refused(data: bytes, ends: Numbers, place: int, first_line: int) -> Refusal:
    line = data[int(ends[place - 1]) + 1 if place else 0 : int(ends[place])]
    try:
        line.decode()
        detail = "the line is not UTF-8"
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the line is no UTF-8; send the file as UTF-8"
    return Refusal(first_line + place, None, Reason.NOT_UTF8, detail, clipped(line))
