"""OTLP's AnyValue and attributes as JSON text, twice: by the column where Arrow could read, else in Python.

Both give the same text. An attribute list becomes `{"key": value}`; of a repeated key the first value is kept. Kinds
of value stay apart: int 2 is `2`, double 2 is `2.0`, a string is `"2"`, a boolean `true`, no value `null`, an array
`[…]`, a key-value list `{…}`. What JSON cannot say is kept in OTLP's own form, an object with one of the names in
`ESCAPES`: `{"bytesValue": "…"}`, `{"doubleValue": "NaN"}`, `{"intValue": "…"}` when it is no 64-bit integer. A
key-value list that would look like one of these is wrapped once more: `{"kvlistValue": {"bytesValue": …}}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.columns import (
    Numbers,
    carries,
    int64,
    joined,
    nulls,
    numbers,
    parents,
    query,
    regrouped,
    taken,
    text_scalar,
)
from dagster_project.warehouse.quarantine import Reason

DEPTH = 2  # how deep arrays and key-value lists nest in the Arrow schema; deeper ones take the slow way
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
# Level by level from the leaves, every level one flat table: written as one nested expression the same SQL takes longer
# to bind than to run (0.14 s a block against 0.01 s).

_VALUE = """
    select coalesce(
        to_json("stringValue")::varchar,
        "boolValue"::varchar,
        case when try_cast("intValue" as bigint)::varchar = "intValue" then "intValue"
             when "intValue" is not null then '{"intValue":' || to_json("intValue")::varchar || '}' end,
        case when isfinite("doubleValue") then "doubleValue"::varchar
             when isnan("doubleValue") then '{"doubleValue":"NaN"}'
             when "doubleValue" > 0 then '{"doubleValue":"Infinity"}'
             when "doubleValue" < 0 then '{"doubleValue":"-Infinity"}' end,
        '{"bytesValue":' || to_json("bytesValue")::varchar || '}',
        "arrayValue",
        "kvlistValue",
        'null') as text
    from flat
"""
_MEMBER = """select to_json(coalesce("key", ''))::varchar || ':' || "value" as text from flat"""
_ATTRIBUTES = "select '{' || nullif(members, '') || '}' as text from flat"
_ARRAY = "select case when is_present then '[' || coalesce(elements, '') || ']' end as text from flat"
_KVLIST = """
    select case when is_present and only_key in ('bytesValue', 'doubleValue', 'intValue', 'kvlistValue')
                then '{"kvlistValue":{' || members || '}}'
                when is_present then '{' || coalesce(members, '') || '}' end as text
    from flat
"""


def value_texts(values: pa.StructArray) -> pa.Array:
    """The JSON text of each AnyValue; 'null' where it is empty."""
    columns = {field.name: values.field(field.name) for field in values.type}
    columns["intValue"] = columns["intValue"].cast(pa.string())
    nested = {"arrayValue": _array_texts, "kvlistValue": _kvlist_texts}
    for name, texts in nested.items():
        found = columns.get(name)
        columns[name] = nulls(len(values)) if found is None or not carries(found) else texts(found)
    return query(_VALUE, columns)


def attribute_texts(lists: pa.ListArray) -> pa.Array:
    """The JSON text of each attribute list, of a repeated key the first value; null where the list is null or empty."""
    if not len(lists.flatten()):
        return nulls(len(lists))
    members, _ = _members_joined(lists)
    return query(_ATTRIBUTES, {"members": members})


def string_attributes(lists: pa.ListArray, key: str) -> pa.Array:
    """For each attribute list the first value under `key` if it is a string, else null."""
    attributes = lists.flatten()
    places = numbers(pc.indices_nonzero(pc.equal(attributes.field("key"), text_scalar(key))).cast(pa.int64()))
    parent, first = np.unique(parents(lists)[places], return_index=True)
    place = np.full(len(lists), -1)
    place[parent] = places[first]
    return taken(attributes.field("value").field("stringValue"), place)


def _array_texts(arrays: pa.StructArray) -> pa.Array:
    lists = arrays.field("values")
    elements = joined(lists, value_texts(lists.flatten()))
    return query(_ARRAY, {"is_present": arrays.is_valid(), "elements": elements})


def _kvlist_texts(kvlists: pa.StructArray) -> pa.Array:
    members, only_key = _members_joined(kvlists.field("values"))
    return query(_KVLIST, {"is_present": kvlists.is_valid(), "members": members, "only_key": only_key})


def _members_joined(lists: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """The members of each list joined by commas, and the key of a list that has one member only."""
    attributes = lists.flatten()
    keys = attributes.field("key")
    texts = query(_MEMBER, {"key": keys, "value": value_texts(attributes.field("value"))})
    parent = parents(lists)
    kept = _first_of_each_key(parent, keys)
    if len(kept) < len(parent):
        parent, keys, texts = parent[kept], keys.take(int64(kept)), texts.take(int64(kept))
        lists = regrouped(parent, len(lists), lists)
    start = np.searchsorted(parent, np.arange(len(lists) + 1))
    only = np.where(np.diff(start) == 1, start[:-1], -1)
    return joined(lists, texts), taken(keys, only)


def _first_of_each_key(parent: Numbers, keys: pa.Array) -> Numbers:
    """The positions of the attributes to keep: all, unless a key comes twice in a list."""
    encoded = pc.fill_null(keys, text_scalar("")).dictionary_encode()
    pair = parent * len(encoded.dictionary) + numbers(encoded.indices.cast(pa.int64()))
    if len(int64(pair).unique()) == len(pair):
        return np.arange(len(pair))
    return np.sort(np.unique(pair, return_index=True)[1])


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


# In the order in which SQL's coalesce looks: a value with two kinds, which OTLP forbids, reads the same both ways.
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
