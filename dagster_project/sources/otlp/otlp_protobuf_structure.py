"""Which of OTLP's signals some protobuf bytes carry, from their structure alone; the bytes may be cut off at the end.

The three requests number their fields alike (1 resource list, 2 scope list, 2 record list), so only the records tell:
a span has fixed 64-bit times in fields 7 and 8, a log record in 1 and 11, a metric's data points in 2 and 3, two levels
down. No record of one signal can be read as evidence for another. Decoding is `otlp_protobuf_messages.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # protobuf's wire types; groups (3 and 4) are not in OTLP

# From field number to wire type, of records; a field that is not listed is newer than this and says nothing.
_SPAN = dict.fromkeys((1, 2, 3, 4, 5, 9, 11, 13, 15), LENGTH) | dict.fromkeys((6, 10, 12, 14), VARINT)
_SPAN |= {7: FIXED64, 8: FIXED64, 16: FIXED32}
_LOG = {1: FIXED64, 11: FIXED64, 2: VARINT, 7: VARINT, 8: FIXED32} | dict.fromkeys((3, 5, 6, 9, 10, 12), LENGTH)
_METRIC = dict.fromkeys((1, 2, 3, 5, 7, 9, 10, 11, 12), LENGTH)
_METRIC_DATA = (5, 7, 9, 10, 11)  # gauge, sum, histogram, exponential histogram, summary
_POINT_TIMES = (2, 3)
RECORDS_LOOKED_AT = 200


class NoProtobuf(ValueError):
    """Bytes that no protobuf message has."""


@dataclass(frozen=True)
class Field:
    """One field on the wire.

    Parameters
    ----------
    content
        The bytes of a length-delimited field, as far as they are there; empty for others.
    """

    number: int
    wire: int
    content: memoryview


def varint(data: memoryview, at: int) -> tuple[int, int] | None:
    """A number and where it ends; None when the bytes end before it does.

    Raises
    ------
    NoProtobuf
        It is longer than ten bytes.
    """
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    if len(data) - at >= 10:
        raise NoProtobuf("a number of more than ten bytes")
    return None


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message in order; the last may be cut off.

    Raises
    ------
    NoProtobuf
        At bytes that begin no field.
    """
    at = 0
    while at < len(data):
        key = varint(data, at)
        if key is None:
            return
        number, wire = key[0] >> 3, key[0] & 7
        at = key[1]
        if not number or number >= 1 << 29 or wire not in (VARINT, FIXED64, LENGTH, FIXED32):
            raise NoProtobuf(f"no field begins with {key[0]}")
        content = data[:0]
        if wire in (VARINT, LENGTH):
            found = varint(data, at)
            if found is None:
                return
            at = found[1]
            if wire == LENGTH:
                content = data[at : at + found[0]]
                at += found[0]
        else:
            at += 8 if wire == FIXED64 else 4
        yield Field(number, wire, content)


def signal_of(message: bytes) -> str | None:
    """`traces`, `logs` or `metrics`, when some record shows it and none shows another; else None."""
    shown: set[str] = set()
    try:
        for place, record in enumerate(_records(memoryview(message))):
            shown |= _shown_by(record)
            if place >= RECORDS_LOOKED_AT:
                break
    except NoProtobuf:
        return None
    return shown.pop() if len(shown) == 1 else None


def _records(message: memoryview) -> Iterator[memoryview]:
    for resource in _expected(message, {1: LENGTH}):
        for scope in _expected(resource.content, {1: LENGTH, 2: LENGTH, 3: LENGTH}):
            if scope.number != 2:
                continue
            for record in _expected(scope.content, {1: LENGTH, 2: LENGTH, 3: LENGTH}):
                if record.number == 2:
                    yield record.content


def _expected(message: memoryview, wires: dict[int, int]) -> Iterator[Field]:
    for field in fields(message):
        wire = wires.get(field.number)
        if wire == field.wire:
            yield field
        elif wire is not None:
            raise NoProtobuf(f"field {field.number} has the wire type {field.wire}")


def _shown_by(record: memoryview) -> set[str]:
    """The signals that a record is evidence for. One that is broken inside shows nothing, and does not end the look."""
    try:
        found = list(fields(record))
    except NoProtobuf:
        return set()
    wires = {(field.number, field.wire) for field in found}
    shown = set()
    if wires & {(7, FIXED64), (8, FIXED64)} and _fits(wires, _SPAN):
        shown.add("traces")
    if wires & {(1, FIXED64), (11, FIXED64)} and _fits(wires, _LOG):
        shown.add("logs")
    if _fits(wires, _METRIC) and any(_has_timed_points(f.content) for f in found if f.number in _METRIC_DATA):
        shown.add("metrics")
    return shown


def _fits(wires: set[tuple[int, int]], known: dict[int, int]) -> bool:
    return all(known.get(number, wire) == wire for number, wire in wires)


def _has_timed_points(data: memoryview) -> bool:
    try:
        points = [field.content for field in fields(data) if (field.number, field.wire) == (1, LENGTH)][:10]
        return any(
            field.wire == FIXED64 and field.number in _POINT_TIMES for point in points for field in fields(point)
        )
    except NoProtobuf:
        return False
