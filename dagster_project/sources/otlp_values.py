"""OTLP's AnyValue and attributes as JSON text, twice: as SQL for what Arrow could read, in Python for what it could not.

Both give the same text. An attribute list becomes `{"key": value}`; of a repeated key the first value is kept. Kinds
of value stay apart: int 2 is `2`, double 2 is `2.0`, a string is `"2"`, a boolean `true`, no value `null`, an array
`[…]`, a key-value list `{…}`. What JSON cannot say is kept in OTLP's own form, an object with one of the names in
`ESCAPES`: `{"bytesValue": "…"}`, `{"doubleValue": "NaN"}`, `{"intValue": "…"}` when it is no 64-bit integer. A key-value
list that would look like one of these is wrapped once more: `{"kvlistValue": {"bytesValue": …}}`.
"""

from __future__ import annotations

import math
from string import Template
from typing import Any

import pyarrow as pa

from dagster_project.warehouse.quarantine import Reason

DEPTH = 2  # how deep arrays and key-value lists nest in the Arrow schema; deeper ones take the slow way
ESCAPES = ("bytesValue", "doubleValue", "intValue", "kvlistValue")
NOT_FINITE = {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}
INT64 = range(-(1 << 63), 1 << 63)


class Malformed(ValueError):
    """A value that the format does not allow; `reason` is the quarantine's code."""

    def __init__(self, detail: str, reason: Reason = Reason.FIELD_MALFORMED) -> None:
        super().__init__(detail)
        self.reason = reason


# --- Arrow ------------------------------------------------------------------------------------------------------------


def value_type(depth: int = DEPTH) -> pa.DataType:
    """AnyValue as Arrow: integers as text, as OTLP/JSON sends them; lists nest `depth` times."""
    fields = [
        ("stringValue", pa.string()),
        ("boolValue", pa.bool_()),
        ("intValue", pa.string()),
        ("doubleValue", pa.float64()),
        ("bytesValue", pa.string()),
    ]
    if depth:
        fields.append(("arrayValue", pa.struct([("values", pa.list_(value_type(depth - 1)))])))
        fields.append(("kvlistValue", pa.struct([("values", attributes_type(depth - 1))])))
    return pa.struct(fields)


def attributes_type(depth: int = DEPTH) -> pa.DataType:
    """A list of key and AnyValue."""
    return pa.list_(pa.struct([("key", pa.string()), ("value", value_type(depth))]))


# --- SQL --------------------------------------------------------------------------------------------------------------

_VALUE = Template(
    """coalesce(
    to_json($v.stringValue)::varchar,
    $v.boolValue::varchar,
    case when try_cast($v.intValue as bigint)::varchar = $v.intValue then $v.intValue
         when $v.intValue is not null then '{"intValue":' || to_json($v.intValue)::varchar || '}' end,
    case when isfinite($v.doubleValue) then $v.doubleValue::varchar
         when isnan($v.doubleValue) then '{"doubleValue":"NaN"}'
         when $v.doubleValue > 0 then '{"doubleValue":"Infinity"}'
         when $v.doubleValue < 0 then '{"doubleValue":"-Infinity"}' end,
    '{"bytesValue":' || to_json($v.bytesValue)::varchar || '}',
    $nested
    'null')"""
)
_NESTED = Template(
    """case when $v.arrayValue is not null
         then '[' || coalesce(list_aggregate(list_transform($v.arrayValue.values, lambda $x: $element), 'string_agg', ','), '') || ']' end,
    case when len($v.kvlistValue.values) = 1 and $v.kvlistValue.values[1].key in ($escapes)
         then '{"kvlistValue":' || $members || '}'
         when $v.kvlistValue is not null then coalesce($members, '{}') end,"""
)
_MEMBERS = Template(
    """'{' || coalesce(list_aggregate(list_transform(
    case when len($list) > 1 and len(list_distinct(list_transform($list, lambda $k: coalesce($k.key, '')))) < len($list)
         then list_filter($list, lambda $k, $i: list_position(
              list_transform($list, lambda $j: coalesce($j.key, '')), coalesce($k.key, '')) = $i)
         else $list end,
    lambda $m: to_json(coalesce($m.key, ''))::varchar || ':' || $value), 'string_agg', ','), '') || '}'"""
)


def value_json(value: str, depth: int = DEPTH) -> str:
    """SQL for the JSON text of the AnyValue that the SQL expression `value` names; 'null' when it is empty."""
    nested = ""
    if depth:
        element = f"x{depth}"
        nested = _NESTED.substitute(
            v=value,
            x=element,
            element=value_json(element, depth - 1),
            members=attributes_json(f"{value}.kvlistValue.values", depth - 1),
            escapes=", ".join(f"'{name}'" for name in ESCAPES),
        )
    return _VALUE.substitute(v=value, nested=nested)


def attributes_json(attributes: str, depth: int = DEPTH) -> str:
    """SQL for the JSON text of the attribute list that `attributes` names; null when the list is null."""
    names = {letter: f"{letter}{depth}" for letter in "ijkm"}
    return _MEMBERS.substitute(names, list=attributes, value=value_json(f"{names['m']}.value", depth))


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
    return "{" + ",".join(f"{key}:{text}" for key, text in _members(attributes).items()) + "}"


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
    text = attributes_text(values) or "{}"
    is_escape = len(values) == 1 and isinstance(values[0], dict) and values[0].get("key") in ESCAPES
    return '{"kvlistValue":' + text + "}" if is_escape else text


def _values(value: object, name: str) -> list[object]:
    values = value.get("values") if isinstance(value, dict) else value
    if values is None:
        return []
    if not isinstance(value, dict) or not isinstance(values, list):
        raise Malformed(f"{name} is {_shown(value)}", Reason.ATTRIBUTE_MALFORMED)
    return values


# In the order in which SQL's coalesce looks: a value with two kinds, which OTLP forbids, reads the same both ways.
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
