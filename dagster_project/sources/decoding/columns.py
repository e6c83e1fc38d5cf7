"""Whole Arrow columns: between Arrow and numpy, through DuckDB, and joined by lists. No value becomes a Python object.

Neither `pyarrow.array` nor `to_numpy` is used: both import pandas, which takes longer than a hundred thousand spans.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

_thread = threading.local()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """In memory, of one thread, as the callers are the parallel part; making one takes longer than a small file."""
    found = duckdb.connect(":memory:", config={"threads": 1})
    atexit.register(found.close)
    return found


# --- between Arrow and numpy ------------------------------------------------------------------------------------------


def int64(values: Numbers) -> pa.Array:
    """A numpy column as Arrow's; shares memory."""
    whole = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def numbers(column: pa.Array) -> Numbers:
    """An Arrow column of 64-bit integers without nulls as numpy's; shares memory."""
    found = np.frombuffer(column.buffers()[1], np.int64)
    return found[column.offset : column.offset + len(column)]


def doubles(column: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """An Arrow column of doubles as numpy's, anything where it is null; shares memory."""
    found = np.frombuffer(column.buffers()[1], np.float64)
    return found[column.offset : column.offset + len(column)]


def flags(column: pa.Array) -> Flags:
    """An Arrow column of booleans as numpy's, anything where it is null."""
    return _bits(column.buffers()[1], column.offset, len(column))


def present(column: pa.Array) -> Flags:
    """Where a column is not null."""
    validity = column.buffers()[0]
    if validity is None or not column.null_count:
        return np.full(len(column), column.null_count == 0)
    return _bits(validity, column.offset, len(column))


def _bits(buffer: pa.Buffer, offset: int, length: int) -> Flags:
    every = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little", count=offset + length)
    return every[offset:].view(np.bool_)


def bitmap(where: Flags) -> pa.Array:
    """The opposite of `flags`."""
    return pa.Array.from_buffers(
        pa.bool_(), len(where), [None, pa.py_buffer(np.packbits(where, bitorder="little"))], null_count=0
    )


def text_scalar(text: str) -> Any:
    """As `pyarrow.scalar`, which imports pandas."""
    return texts_of(text)[0]


def texts_of(*texts: str) -> pa.Array:
    """A column of a few texts."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def nulls(length: int) -> pa.Array:
    """A column of texts that are all null."""
    return pa.nulls(length, pa.string())


def carries(column: pa.Array) -> bool:
    """Whether anything in the column is not null."""
    return bool(column.null_count < len(column))


def taken(column: pa.Array, places: Numbers) -> pa.Array:
    """The elements at `places`; null where a place is negative."""
    place = int64(places)
    return column.take(pc.if_else(pc.less(place, _ZERO), _NO_PLACE, place))


# --- lists ------------------------------------------------------------------------------------------------------------


def elements(lists: pa.ListArray) -> pa.Array:
    """The elements of all lists, as `flatten` gives them, which copies as soon as one list is null."""
    if not len(lists) or not lists.null_count:
        return lists.flatten()
    first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
    if int(lengths(lists).sum()) < last - first:  # a null list may hide elements
        return lists.flatten()
    return lists.values[first:last]


def lengths(lists: pa.ListArray) -> Numbers:
    """How many elements each list has; 0 for a null one."""
    found = pc.list_value_length(lists).cast(pa.int64())
    return numbers(pc.fill_null(found, _ZERO) if found.null_count else found)


def starts(counts: Numbers) -> Numbers:
    """Where each list starts in the elements of all, and at last where they end."""
    return np.concatenate([_FIRST, np.cumsum(counts)])


def parents(lists: pa.ListArray) -> Numbers:
    """For each element, the position of its list."""
    return np.repeat(np.arange(len(lists)), lengths(lists))


def joined(lists: pa.ListArray, texts: pa.Array) -> pa.Array:
    """Texts joined by commas as their lists say: one text an element of `lists` in, one a list out.

    Empty for an empty list, null for a null one.
    """
    regrouped = pa.ListArray.from_arrays(lists.offsets, texts, mask=lists.is_null() if lists.null_count else None)
    return pc.binary_join(regrouped, _COMMA)


def chained(pieces: pa.StringArray, counts: Numbers, where: Flags | None = None) -> pa.Array:
    """The next so many pieces as one text each; null where `where` is false. Shares the memory of the pieces."""
    ends = np.frombuffer(pieces.buffers()[1], np.int32)[pieces.offset : pieces.offset + len(pieces) + 1]
    offsets = ends[starts(counts)] if len(pieces) else np.zeros(len(counts) + 1, np.int32)
    validity = None if where is None or where.all() else pa.py_buffer(np.packbits(where, bitorder="little"))
    return pa.Array.from_buffers(
        pa.string(), len(counts), [validity, pa.py_buffer(offsets), pieces.buffers()[2] or pa.py_buffer(b"")]
    )


# --- texts ------------------------------------------------------------------------------------------------------------


def query(sql: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    """The column `text` of a query over the table `flat`, row by row in the same order."""
    if not hasattr(_thread, "connection"):
        _thread.connection = _memory().cursor()
    connection: duckdb.DuckDBPyConnection = _thread.connection
    connection.register("flat", pa.table(dict(columns)))
    try:
        return connection.sql(sql).to_arrow_table().column("text").combine_chunks().cast(pa.string())
    finally:
        connection.unregister("flat")


_TO_JSON = "select (to_json(text)::varchar)[2:-2] as text from flat"


def escaped(texts: pa.StringArray) -> pa.Array:
    """Texts as they stand between the quotes of a JSON string; null stays null."""
    odd = _rows_with_odd_bytes(texts)
    if not len(odd):
        return texts
    where = np.zeros(len(texts), np.bool_)
    where[odd] = True
    return pc.replace_with_mask(texts, bitmap(where), query(_TO_JSON, {"text": texts.take(int64(odd))}))


def _rows_with_odd_bytes(texts: pa.StringArray) -> Numbers:
    """Where a text has a byte that JSON escapes. A look at all bytes at once costs less than one into each text."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return _NONE
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    odd = (content < ord(" ")) | (content == ord('"')) | (content == ord("\\"))
    if not odd.any():
        return _NONE
    rows: Numbers = np.unique(np.searchsorted(ends, np.flatnonzero(odd) + ends[0], side="right") - 1)
    where = present(texts)[rows]  # what a null one hides is not its text
    return rows[where]


_COMMA = text_scalar(",")
_FIRST = np.zeros(1, np.int64)
_NONE = np.zeros(0, np.int64)
_ZERO = int64(_FIRST)[0]
_NO_PLACE = pa.nulls(1, pa.int64())[0]
