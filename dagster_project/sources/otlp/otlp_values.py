"""OTLP's AnyValue and attributes as JSON text, twice: by the column where Arrow could read, else in Python.

Both give the same text. An attribute list becomes `{"key": value}`; of a repeated key the first value is kept. Kinds
of value stay apart: int 2 is `2`, double 2 is `2.0`, a string is `"2"`, a boolean `true`, no value `null`, an array
`[…]`, a key-value list `{…}`. What JSON cannot say is kept in OTLP's own form, an object with one of the names in
`ESCAPES`: `{"bytesValue": "…"}`, `{"doubleValue": "NaN"}`, `{"intValue": "…"}` when it is no 64-bit integer. A
key-value list that would look like one of these is wrapped once more: `{"kvlistValue": {"bytesValue": …}}`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import (
    Flags,
    Numbers,
    bitmap,
    carries,
    chained,
    doubles,
    elements,
    escaped,
    flags,
    int64,
    lengths,
    nulls,
    numbers,
    parents,
    present,
    query,
    starts,
    taken,
    text_scalar,
    texts_of,
)
from dagster_project.warehouse.quarantine import Reason

DEPTH = 4  # how deep arrays and key-value lists nest in the Arrow schema; lines with deeper ones take the slow way
ESCAPES = ("bytesValue", "doubleValue", "intValue", "kvlistValue")
NOT_FINITE = ("NaN", "Infinity", "-Infinity")
INT64 = range(-(1 << 63), 1 << 63)


class Malformed(ValueError):
    """A value that the format does not allow; `reason` is the quarantine's code."""

    def __init__(self, detail: str, reason: Reason = Reason.FIELD_MALFORMED) -> None:
        super().__init__(detail)
        self.reason = reason


# --- the Arrow schema -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spelling:
    """How a file writes 64-bit integers: OTLP/JSON asks for texts, some exporters send numbers."""

    times: pa.DataType
    integers: pa.DataType


SPELLINGS = (
    Spelling(times=pa.string(), integers=pa.string()),
    Spelling(times=pa.string(), integers=pa.int64()),
    Spelling(times=pa.int64(), integers=pa.int64()),
)


def value_type(spelling: Spelling, depth: int = DEPTH) -> pa.StructType:
    """AnyValue as Arrow; lists nest `depth` times."""
    fields = [
        ("stringValue", pa.string()),
        ("boolValue", pa.bool_()),
        ("intValue", spelling.integers),
        ("doubleValue", pa.float64()),
        ("bytesValue", pa.string()),
    ]
    if depth:
        fields.append(("arrayValue", pa.struct([("values", pa.list_(value_type(spelling, depth - 1)))])))
        fields.append(("kvlistValue", pa.struct([("values", attributes_type(spelling, depth - 1))])))
    return pa.struct(fields)


def attributes_type(spelling: Spelling, depth: int = DEPTH) -> pa.ListType:
    """A list of key and AnyValue."""
    return pa.list_(pa.struct([("key", pa.string()), ("value", value_type(spelling, depth))]))


# --- Arrow columns ----------------------------------------------------------------------------------------------------
# A text is never built value by value. What stands between two values (the end of the one, a comma, the key, the start
# of the other) repeats: the few different ones are written once. Then pieces of text are chosen by their numbers, in
# the order in which they follow each other, and a list's text is where its pieces lie.


class _Form(IntEnum):
    """How a value is written: `_OPENING`, the text of its own if any, `_CLOSING`."""

    NULL = 0
    STRING = 1
    TRUE = 2
    FALSE = 3
    NUMBER = 4
    ODD_INTEGER = 5
    NAN = 6
    INFINITY = 7
    MINUS_INFINITY = 8
    BYTES = 9
    NESTED = 10
    EMPTY_ARRAY = 11
    EMPTY_OBJECT = 12
    WRAPPED_OBJECT = 13
    WHOLE_DOUBLE = 14


_OPENING = {
    _Form.NULL: "null",
    _Form.STRING: '"',
    _Form.TRUE: "true",
    _Form.FALSE: "false",
    _Form.NUMBER: "",
    _Form.ODD_INTEGER: '{"intValue":"',
    _Form.NAN: '{"doubleValue":"NaN',
    _Form.INFINITY: '{"doubleValue":"Infinity',
    _Form.MINUS_INFINITY: '{"doubleValue":"-Infinity',
    _Form.BYTES: '{"bytesValue":"',
    _Form.NESTED: "",
    _Form.EMPTY_ARRAY: "[]",
    _Form.EMPTY_OBJECT: "{}",
    _Form.WRAPPED_OBJECT: '{"kvlistValue":',
    _Form.WHOLE_DOUBLE: "",
}
_CLOSINGS = ("", '"', '"}', "}", ".0")
_CLOSING = {
    _Form.STRING: 1,
    **dict.fromkeys((_Form.ODD_INTEGER, _Form.NAN, _Form.INFINITY, _Form.MINUS_INFINITY, _Form.BYTES), 2),
    _Form.WRAPPED_OBJECT: 3,
    _Form.WHOLE_DOUBLE: 4,
}
_OPENING_TEXTS = texts_of(*(_OPENING[form] for form in _Form))
_CLOSING_TEXTS = texts_of(*_CLOSINGS)
_CLOSING_OF = np.array([_CLOSING.get(form, 0) for form in _Form])
_NOTHING = text_scalar("")
_NO_TEXT = texts_of("")


@dataclass(frozen=True)
class _Values:
    """AnyValues on their way to text: for each its form, and where in `pool` its own text is."""

    form: Numbers
    place: Numbers
    pool: pa.StringArray

    def at(self, places: Numbers) -> _Values:
        return _Values(self.form[places], self.place[places], self.pool)


def value_texts(values: pa.StructArray) -> pa.Array:
    """The JSON text of each AnyValue; 'null' where it is empty."""
    found = _values_of(values)
    pieces = np.empty((len(values), 3), np.int64)
    pieces[:, 0] = found.form
    pieces[:, 1] = len(_Form) + len(_CLOSINGS) + found.place
    pieces[:, 2] = len(_Form) + _CLOSING_OF[found.form]
    pool = pa.concat_arrays([_OPENING_TEXTS, _CLOSING_TEXTS, found.pool])
    return chained(pool.take(int64(pieces.reshape(-1))), np.full(len(values), 3))


def attribute_texts(lists: pa.ListArray) -> pa.Array:
    """The JSON text of each attribute list, of a repeated key the first value; null where the list is null or empty."""
    if not len(elements(lists)):
        return nulls(len(lists))
    return _objects(lists).texts


def string_attributes(lists: pa.ListArray, key: str) -> pa.Array:
    """For each attribute list the first value under `key` if it is a string, else null."""
    attributes = elements(lists)
    places = numbers(pc.indices_nonzero(pc.equal(attributes.field("key"), text_scalar(key))).cast(pa.int64()))
    parent, first = np.unique(parents(lists)[places], return_index=True)
    place = np.full(len(lists), -1)
    place[parent] = places[first]
    return taken(attributes.field("value").field("stringValue"), place)


_Written = tuple[Numbers | _Form, pa.StringArray, Numbers | int]  # forms, texts, and where among these each value's is


def _values_of(values: pa.StructArray) -> _Values:
    form, place = np.full(len(values), int(_Form.NULL)), np.zeros(len(values), np.int64)
    pool, size = [_NO_TEXT], 1
    # In the opposite order of `_KINDS`: of a value with two kinds the first is what stays.
    for name, written in reversed(_WRITTEN.items()):
        column = values.field(name) if values.type.get_field_index(name) >= 0 else None
        if column is None or not carries(column):
            continue
        rows = np.flatnonzero(present(column))
        forms, texts, places = written(column, rows)
        form[rows], place[rows] = forms, size + places
        pool.append(texts)
        size += len(texts)
    return _Values(form, place, pa.concat_arrays(pool))


def _strings(column: pa.Array, rows: Numbers) -> _Written:
    return _Form.STRING, escaped(column), rows


def _bytes(column: pa.Array, rows: Numbers) -> _Written:
    return _Form.BYTES, escaped(column), rows


def _booleans(column: pa.Array, rows: Numbers) -> _Written:
    return np.where(flags(column)[rows], _Form.TRUE, _Form.FALSE), _NO_TEXT, 0


_PLAIN_INTEGER = "select (try_cast(digits as bigint)::varchar = digits)::varchar as text from flat"


def _integers(column: pa.Array, rows: Numbers) -> _Written:
    digits = column.cast(pa.string())
    if pa.types.is_integer(column.type):
        return _Form.NUMBER, digits, rows
    try:
        is_plain = pc.equal(digits.cast(pa.int64()).cast(pa.string()), digits)
    except pa.ArrowInvalid:  # some are no integers; DuckDB says which
        is_plain = pc.equal(query(_PLAIN_INTEGER, {"digits": digits}), text_scalar("true"))
    plain = flags(pc.fill_null(is_plain, _FALSE))[rows]
    return np.where(plain, _Form.NUMBER, _Form.ODD_INTEGER), escaped(digits), rows


_DOUBLE = "select number::varchar as text from flat"


def _doubles(column: pa.Array, rows: Numbers) -> _Written:
    """As DuckDB and Python write them. Arrow does too between these bounds, but for a whole number's point."""
    number = doubles(column)[rows]
    size = np.abs(number)
    is_finite = np.isfinite(number)
    by_duckdb = is_finite & ((size >= 1e10) | ((size < 1e-4) & (size > 0)))
    texts = column.take(int64(rows)).cast(pa.string())
    if by_duckdb.any():
        others = query(_DOUBLE, {"number": column.take(int64(rows[by_duckdb]))})
        texts = pc.replace_with_mask(texts, bitmap(by_duckdb), others)
    forms = np.where((np.trunc(number) == number) & ~by_duckdb, _Form.WHOLE_DOUBLE, _Form.NUMBER)
    if not is_finite.all():
        infinite = np.where(number > 0, _Form.INFINITY, _Form.MINUS_INFINITY)
        forms = np.where(is_finite, forms, np.where(np.isnan(number), _Form.NAN, infinite))
        texts = pc.if_else(bitmap(is_finite), texts, _NOTHING)
    return forms, texts, np.arange(len(rows))


def _arrays(column: pa.Array, rows: Numbers) -> _Written:
    lists = column.field("values")
    counts = lengths(lists)
    values = _values_of(elements(lists))
    texts = _joined(values, counts, "[]", np.zeros(len(values.form), np.int64), _NO_TEXT)
    return np.where(counts[rows] > 0, _Form.NESTED, _Form.EMPTY_ARRAY), texts, rows


def _kvlists(column: pa.Array, rows: Numbers) -> _Written:
    found = _objects(column.field("values"))
    filled = np.where(found.looks_escaped[rows], _Form.WRAPPED_OBJECT, _Form.NESTED)
    return np.where(found.counts[rows] > 0, filled, _Form.EMPTY_OBJECT), found.texts, rows


@dataclass(frozen=True)
class _Objects:
    """Attribute lists as JSON objects: their texts, null for none; how many members; whether it is one of `ESCAPES`."""

    texts: pa.Array
    counts: Numbers
    looks_escaped: Flags


def _objects(lists: pa.ListArray) -> _Objects:
    attributes, counts = elements(lists), lengths(lists)
    keys = pc.fill_null(attributes.field("key"), _NOTHING).dictionary_encode()
    key, names = numbers(keys.indices.cast(pa.int64())), keys.dictionary
    values = _values_of(attributes.field("value"))
    kept = _first_of_each_key(key, counts)
    if kept is not None:
        counts = np.bincount(np.repeat(np.arange(len(lists)), counts)[kept], minlength=len(lists))
        key, values = key[kept], values.at(kept)
    quoted = pc.binary_join_element_wise(text_scalar('"'), escaped(names), text_scalar('":'), _NOTHING)
    looks_escaped = counts == 1
    first = key[starts(counts)[:-1][looks_escaped]]
    looks_escaped[looks_escaped] = flags(pc.is_in(names, value_set=_ESCAPE_TEXTS))[first]
    return _Objects(_joined(values, counts, "{}", key, quoted), counts, looks_escaped)


def _first_of_each_key(key: Numbers, counts: Numbers) -> Numbers | None:
    """The attributes to keep; None for all, when no key comes twice in a list."""
    # Keys are numbered as they first appear. Lists that name them in one order, as most do, are seen to have no key
    # twice without a look at what was before.
    rises = np.empty(len(key), np.bool_)
    rises[1:] = key[1:] > key[:-1]
    rises[starts(counts)[:-1][counts > 0]] = True
    if rises.all():
        return None
    parent = np.repeat(np.arange(len(counts)), counts)
    doubtful = np.zeros(len(counts), np.bool_)
    doubtful[parent[~rises]] = True
    places = np.flatnonzero(doubtful[parent])
    pair = parent[places] * (key.max() + 1) + key[places]
    if len(int64(pair).unique()) == len(pair):
        return None
    kept = ~doubtful[parent]
    kept[places[np.unique(pair, return_index=True)[1]]] = True
    return np.flatnonzero(kept)


def _joined(values: _Values, counts: Numbers, brackets: str, key: Numbers, names: pa.StringArray) -> pa.Array:
    """The values of each list behind their names, in brackets and with commas between; null for an empty list."""
    count, filled = len(values.form), counts > 0
    list_ends = np.cumsum(counts)[filled]
    list_starts = list_ends - counts[filled]
    # Before each value stands a seam: what ends the value before it (or opens the list), its name, what begins it.
    ending = _CLOSING_OF[values.form]
    before = np.empty(count, np.int64)
    before[1:] = ending[:-1]
    before[list_starts] = len(_CLOSINGS)
    seams = int64((before * len(names) + key) * len(_Form) + values.form).dictionary_encode()
    seam = numbers(seams.dictionary)
    seam_texts = pc.binary_join_element_wise(
        texts_of(*(closing + "," for closing in _CLOSINGS), brackets[0]).take(int64(seam // len(_Form) // len(names))),
        names.take(int64(seam // len(_Form) % len(names))),
        _OPENING_TEXTS.take(int64(seam % len(_Form))),
        _NOTHING,
    )
    end_texts = texts_of(*(closing + brackets[1] for closing in _CLOSINGS))
    pool = pa.concat_arrays([end_texts, seam_texts, values.pool])

    nth_list = np.arange(len(list_ends))
    place = 2 * np.arange(count) + np.repeat(nth_list, counts[filled])
    pieces = np.empty(2 * count + len(nth_list), np.int64)
    pieces[place] = len(end_texts) + numbers(seams.indices.cast(pa.int64()))
    pieces[place + 1] = len(end_texts) + len(seam_texts) + values.place
    pieces[2 * list_ends + nth_list] = ending[list_ends - 1]
    return chained(pool.take(int64(pieces)), np.where(filled, 2 * counts + 1, 0), filled)


_FALSE = bitmap(np.zeros(1, np.bool_))[0]
_ESCAPE_TEXTS = texts_of(*ESCAPES)
_WRITTEN: dict[str, Callable[[pa.Array, Numbers], _Written]] = {
    "stringValue": _strings,
    "boolValue": _booleans,
    "intValue": _integers,
    "doubleValue": _doubles,
    "bytesValue": _bytes,
    "arrayValue": _arrays,
    "kvlistValue": _kvlists,
}


# --- Python -----------------------------------------------------------------------------------------------------------


def value_text(value: object) -> str:
    """The JSON text of an AnyValue as decoded by orjson; more forms are taken than OTLP asks for.

    Raises
    ------
    Malformed
        With `Reason.ATTRIBUTE_MALFORMED`: the value has another type than its name says.
    """
    if value is None:
        return "null"
    if not isinstance(value, dict):
        raise Malformed(f"an attribute's value is {_shown(value)}, not an object", Reason.ATTRIBUTE_MALFORMED)
    for name, text in _KINDS.items():
        if value.get(name) is not None:
            return text(value[name])
    return "null"


def attributes_text(attributes: object) -> str | None:
    """The JSON text of an attribute list; None when there is none."""
    if attributes is None:
        return None
    if not isinstance(attributes, list):
        raise Malformed(f"attributes are {_shown(attributes)}, not an array", Reason.ATTRIBUTE_MALFORMED)
    return _object_text(_members(attributes))


def string_attribute(attributes: object, key: str) -> str | None:
    """The first string under `key`, as `service.name` is looked up."""
    for item in attributes if isinstance(attributes, list) else ():
        if isinstance(item, dict) and item.get("key") == key:
            value = item.get("value")
            found = value.get("stringValue") if isinstance(value, dict) else None
            return found if isinstance(found, str) else None
    return None


def _members(attributes: list[object]) -> dict[str, str]:
    members: dict[str, str] = {}
    for item in attributes:
        entry: object = {} if item is None else item
        if not isinstance(entry, dict):
            raise Malformed(f"an attribute is {_shown(entry)}, not an object", Reason.ATTRIBUTE_MALFORMED)
        key = "" if entry.get("key") is None else entry["key"]
        if not isinstance(key, str):
            raise Malformed(f"an attribute's key is {_shown(key)}, not a string", Reason.ATTRIBUTE_MALFORMED)
        members.setdefault(json_string(key), value_text(entry.get("value")))
    return members


def _object_text(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{key}:{text}" for key, text in members.items()) + "}"


def _string_text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(f"stringValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    return json_string(value)


def _bool_text(value: object) -> str:
    if not isinstance(value, bool):
        raise Malformed(f"boolValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    return "true" if value else "false"


def _int_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Malformed(f"intValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    text = str(value)
    try:
        is_plain = str(int(text)) == text and int(text) in INT64
    except ValueError:
        is_plain = False
    return text if is_plain else '{"intValue":' + json_string(text) + "}"


def _double_text(value: object) -> str:
    if isinstance(value, str) and value in NOT_FINITE:
        return '{"doubleValue":"' + value + '"}'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed(f"doubleValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Malformed(f"doubleValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED) from None
    if not math.isfinite(number):
        name = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        return '{"doubleValue":"' + name + '"}'
    return repr(number)


def _bytes_text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(f"bytesValue is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    return '{"bytesValue":' + json_string(value) + "}"


def _array_text(value: object) -> str:
    return "[" + ",".join(value_text(item) for item in _values(value, "arrayValue")) + "]"


def _kvlist_text(value: object) -> str:
    values = _values(value, "kvlistValue")
    members = _members(values)
    text = _object_text(members)
    is_escape = len(members) == 1 and next(iter(members)) in _QUOTED_ESCAPES
    return '{"kvlistValue":' + text + "}" if is_escape else text


def _values(value: object, name: str) -> list[object]:
    values = value.get("values") if isinstance(value, dict) else value
    if values is None:
        return []
    if not isinstance(value, dict) or not isinstance(values, list):
        raise Malformed(f"{name} is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    return values


# In the order of `_WRITTEN`: a value with two kinds, which OTLP forbids, reads the same both ways.
_QUOTED_ESCAPES = {f'"{name}"' for name in ESCAPES}
_KINDS = {
    "stringValue": _string_text,
    "boolValue": _bool_text,
    "intValue": _int_text,
    "doubleValue": _double_text,
    "bytesValue": _bytes_text,
    "arrayValue": _array_text,
    "kvlistValue": _kvlist_text,
}


# As DuckDB's `to_json` escapes: orjson and json write `\\u001f` where it writes `\\u001F`.
_ESCAPED = {code: f"\\u{code:04X}" for code in range(32)} | {
    ord(character): f"\\{letter}" for character, letter in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}


def json_string(text: str) -> str:
    """A JSON string, escaped to the letter as DuckDB's `to_json` does."""
    return f'"{text.translate(_ESCAPED)}"'


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {repr(value)[:80]}"
