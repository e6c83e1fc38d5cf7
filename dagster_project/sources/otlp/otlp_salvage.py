"""The slow way for OTLP/JSON lines that Arrow cannot read: orjson, then record by record in Python.

A line that is no JSON is refused as a whole. In a good line odd types are read where their meaning is plain (a number
for a number's text, an enum's name for its number); a record that stays unreadable is refused alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count as count_from
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json

from dagster_project.sources.decoding.reading import Block
from dagster_project.sources.otlp.otlp_values import Malformed, attributes_text, string_attribute
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

Row = dict[str, object]


@dataclass(frozen=True)
class Shape:
    """The names of a signal's nested lists, and how one record becomes a row.

    Parameters
    ----------
    root, scopes, records
        Such as resourceSpans, scopeSpans, spans.
    row
        From a record to the columns of `rows`, those of origin, resource and scope left out. Raises `Malformed`.
    rows
        The schema of the rows.
    known
        The names of a record's fields that `row` keeps.
    """

    root: str
    scopes: str
    records: str
    row: Callable[[Mapping[str, Any]], Row]
    rows: pa.Schema
    known: frozenset[str]

    @property
    def path(self) -> str:
        return f"{self.root}.{self.scopes}.{self.records}"


@dataclass(frozen=True)
class Found:
    """A record on its way out of a line, with what stands above it."""

    value: object
    resource: Mapping[str, Any]
    scope: Mapping[str, Any]


@dataclass(frozen=True)
class Salvaged:
    """What came out of the lines."""

    rows: pa.Table
    refusals: list[Refusal]
    unknown_fields: frozenset[str]


def salvage(lines: Iterable[Block], shape: Shape) -> Salvaged:
    """Read single lines one by one.

    Parameters
    ----------
    lines
        Blocks of one line each.
    """
    rows: list[Row] = []
    refusals: list[Refusal] = []
    unknown: set[str] = set()
    for block in lines:
        line = block.data.rstrip(b"\r\n")
        try:
            document = decoded(line)
        except Malformed as error:
            refusals.append(Refusal(block.first_line, None, error.reason, str(error), clipped(line)))
            continue
        _salvage_line(block.first_line, document, shape, rows, refusals, unknown)
    return Salvaged(_table(rows, shape.rows), refusals, frozenset(unknown))


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """As `Table.from_pylist`, which imports pandas: that takes longer than ten thousand records."""
    if not rows:
        return pa.Table.from_batches([], schema)
    content = "\n".join(map(json.dumps, rows)).encode()
    return pa.json.read_json(
        pa.BufferReader(content),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(content) + 1),
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def decoded(line: bytes) -> Any:
    """A line as Python objects; like Arrow, and unlike JSON, it takes a bare NaN or Infinity.

    Raises
    ------
    Malformed
        With the reason `not_utf8` or `not_json`.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            text = line.decode()
        except UnicodeDecodeError as bad:
            raise Malformed(f"byte {bad.start + 1} of the line is not UTF-8", Reason.NOT_UTF8) from None
        try:
            value = json.loads(text, parse_float=_finite)
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be stored
        except (ValueError, RecursionError):
            raise Malformed(str(error), Reason.NOT_JSON) from None
        return value


def records(document: object, shape: Shape) -> Iterator[Found]:
    """Every record of a line in order, so that counting them gives their record numbers; broken parts are passed by."""
    for _, resource, scope, values in _parts(document, shape, lambda _path, _value: None):
        for value in values:
            yield Found(value, resource, scope)


def _salvage_line(
    line: int, document: object, shape: Shape, rows: list[Row], refusals: list[Refusal], unknown: set[str]
) -> None:
    def refuse(path: str, value: object) -> None:
        detail = f"{path} is {type(value).__name__}: nothing below it can be read"
        refusals.append(Refusal(line, None, Reason.STRUCTURE, detail, raw_text(value)))

    if isinstance(document, dict) and document and document.get(shape.root) is None:
        detail = f"no {shape.root} but {', '.join(sorted(document)[:5])}"
        refusals.append(Refusal(line, None, Reason.OTHER_FORMAT, detail, raw_text(document)))
        return
    counter = count_from(1)
    for names, resource, scope, values in _parts(document, shape, refuse):
        unknown |= names
        above: Row | None = None
        for value in values:
            number = next(counter)
            try:
                above = above or _above(resource, scope)
                record = _object({} if value is None else value, "the record")
                rows.append({"line": line, "record": number, **above, **shape.row(record)})
                unknown |= {f"{shape.path}.{name}" for name in record.keys() - shape.known}
            except Malformed as error:
                refusals.append(Refusal(line, number, error.reason, str(error), raw_text(value)))
            except RecursionError:
                refusals.append(
                    Refusal(line, number, Reason.STRUCTURE, "nested too deeply to be read", raw_text(value))
                )


def _above(resource: Mapping[str, Any], scope: Mapping[str, Any]) -> Row:
    attributes = resource.get("attributes")
    return {
        "resource_attributes": attributes_text(attributes) if attributes else None,
        "service_name": string_attribute(attributes, "service.name"),
        "service_version": string_attribute(attributes, "service.version"),
        "scope_name": text(scope, "name"),
        "scope_version": text(scope, "version"),
    }


_Part = tuple[set[str], Mapping[str, Any], Mapping[str, Any], list[object]]


def _parts(document: object, shape: Shape, refuse: Callable[[str, object], None]) -> Iterator[_Part]:
    """Every list of records with the names read over, the resource and the scope above it."""
    if not isinstance(document, dict):
        refuse("the line", document)
        return
    names = {name for name in document if name != shape.root}
    for per_resource in _objects(document.get(shape.root), shape.root, refuse):
        names |= _names(per_resource, {"resource", shape.scopes}, shape.root)
        resource = per_resource.get("resource") or {}
        if not isinstance(resource, dict):
            refuse(f"{shape.root}.resource", resource)
            continue
        names |= _names(resource, {"attributes", "droppedAttributesCount"}, f"{shape.root}.resource")
        path = f"{shape.root}.{shape.scopes}"
        for per_scope in _objects(per_resource.get(shape.scopes), path, refuse):
            names |= _names(per_scope, {"scope", shape.records}, path)
            scope = per_scope.get("scope") or {}
            values = per_scope.get(shape.records) or []
            if not isinstance(scope, dict) or not isinstance(values, list):
                refuse(f"{path}.scope" if isinstance(values, list) else shape.path, per_scope)
                continue
            names |= _names(scope, {"name", "version"}, f"{path}.scope")
            yield names, resource, scope, values


def _objects(values: object, path: str, refuse: Callable[[str, object], None]) -> Iterator[Mapping[str, Any]]:
    if values is not None and not isinstance(values, list):
        refuse(path, values)
        return
    for value in values or []:
        if value is None or isinstance(value, dict):
            yield value or {}
        else:
            refuse(f"{path}[]", value)


def _names(value: Mapping[str, Any], known: set[str], path: str) -> set[str]:
    return {f"{path}.{name}" for name in value if name not in known}


def raw_text(value: object) -> str | None:
    """A refused value as quarantine keeps it."""
    try:
        return clipped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return "(nested too deeply to be shown)"


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too big for a double")
    return number


# --- fields of a record, for `Shape.row` ------------------------------------------------------------------------------


def text(record: Mapping[str, Any], name: str) -> str | None:
    """A string, or None."""
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _malformed(name, value, "a string")


def integer(record: Mapping[str, Any], name: str) -> str | None:
    """The digits of an integer that was sent as text or, against OTLP, as a number; SQL judges them."""
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _malformed(name, value, "an integer")


def count(record: Mapping[str, Any], name: str) -> int:
    """An unsigned 32-bit number; 0 when absent."""
    digits = integer(record, name)
    if digits is None:
        return 0
    if digits.isascii() and digits.isdigit() and int(digits) < 1 << 32:
        return int(digits)
    raise _malformed(name, record[name], "a number from 0 to 2^32 - 1")


def enum(record: Mapping[str, Any], name: str, names: Mapping[str, int]) -> int | None:
    """An enum's number, also from its name; SQL judges whether OTLP has that number."""
    value = record.get(name)
    if isinstance(value, str) and value in names:
        return names[value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31):
        return value
    raise _malformed(name, value, "a number or one of " + ", ".join(names))


def objects(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects; empty when absent."""
    values = record.get(name) or []
    if not isinstance(values, list):
        raise _malformed(name, values, "an array")
    return [_object({} if value is None else value, name) for value in values]


def _object(value: object, name: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise _malformed(name, value, "an object")


def _malformed(name: str, value: object, wanted: str) -> Malformed:
    return Malformed(f"{name} is {type(value).__name__} {repr(value)[:80]}, not {wanted}")
