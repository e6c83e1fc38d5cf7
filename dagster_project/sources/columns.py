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

_thread = threading.local()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """In memory, of one thread, as the callers are the parallel part; making one takes longer than a small file."""
    found = duckdb.connect(":memory:", config={"threads": 1})
    atexit.register(found.close)
    return found


def int64(values: Numbers) -> pa.Array:
    """A numpy column as Arrow's; shares memory."""
    whole = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def numbers(column: pa.Array) -> Numbers:
    """An Arrow column of 64-bit integers without nulls as numpy's; shares memory."""
    found = np.frombuffer(column.buffers()[1], np.int64)
    return found[column.offset : column.offset + len(column)]


def nulls(length: int) -> pa.Array:
    """A column of texts that are all null."""
    return pa.nulls(length, pa.string())


def carries(column: pa.Array) -> bool:
    """Whether anything in the column is not null."""
    return bool(column.null_count < len(column))


def parents(lists: pa.ListArray) -> Numbers:
    """For each element, the position of its list."""
    return numbers(pc.list_parent_indices(lists))


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


def joined(lists: pa.ListArray, texts: pa.Array) -> pa.Array:
    """Texts joined by commas as their lists say: one text an element of `lists` in, one a list out.

    Empty for an empty list, null for a null one.
    """
    regrouped = pa.ListArray.from_arrays(lists.offsets, texts, mask=lists.is_null() if lists.null_count else None)
    return pc.binary_join(regrouped, _COMMA)


def regrouped(parent: Numbers, count: int, like: pa.ListArray) -> pa.ListArray:
    """Lists as long as `parent` says, null where `like` is; their elements are numbered through."""
    offsets = np.searchsorted(parent, np.arange(count + 1)).astype(np.int32)
    column = pa.Array.from_buffers(pa.int32(), count + 1, [None, pa.py_buffer(offsets)])
    mask = like.is_null() if like.null_count else None
    return pa.ListArray.from_arrays(column, int64(np.arange(len(parent))), mask=mask)


def taken(column: pa.Array, places: Numbers) -> pa.Array:
    """The elements at `places`; null where a place is negative."""
    place = int64(places)
    return column.take(pc.if_else(pc.less(place, _ZERO), _NO_PLACE, place))


def text_scalar(text: str) -> Any:
    """As `pyarrow.scalar`, which imports pandas."""
    data = text.encode()
    offsets = np.array([0, len(data)], np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])[0]


_COMMA = text_scalar(",")
_ZERO = int64(np.zeros(1, np.int64))[0]
_NO_PLACE = pa.nulls(1, pa.int64())[0]
