"""OTLP messages in protobuf as the nested Arrow tables that OTLP/JSON is read into, and those that do not fit as JSON.

protobuf's own library judges each message and drops what it does not know; ptars turns what is left into columns, a
batch at once. ptars is handed a descriptor made after the Arrow type that is wanted: JSON's names, absent told from
zero in every field, AnyValue unrolled as deep as the type goes. Text of values, checks and rows are OTLP/JSON's code.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import ptars
import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Decoded
from google.protobuf.unknown_fields import UnknownFieldSet

from dagster_project.sources.decoding.columns import carries, nulls, query
from dagster_project.sources.decoding.reading import Block
from dagster_project.sources.otlp.otlp_protobuf_frames import Message
from dagster_project.sources.otlp.otlp_reading import Piece
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

# Names of unknown fields are looked for in Python: in so many messages a file that have some.
NAMED_MESSAGES = 64
USUAL_DEPTH = 1  # of arrays and key-value lists in each other
_IDS = ("traceId", "spanId", "parentSpanId")  # hexadecimal in OTLP/JSON, where all other bytes are base64
_NESTED_KINDS = ("arrayValue", "kvlistValue")
_HEX = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)
_Scalar = FieldDescriptorProto


@dataclass
class Read:
    """What became of some messages.

    Parameters
    ----------
    pieces
        Those that Arrow could take.
    others
        Those that it could not, as OTLP/JSON, a line each.
    refusals
        Those that are no protobuf.
    names
        Of fields that were read over.
    """

    pieces: list[Piece] = field(default_factory=list)
    others: list[Block] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class MessageReader:
    """Reads the messages of one file.

    Parameters
    ----------
    request
        The class of the messages, such as TracesData.
    schemas
        The wanted columns, in JSON's names: with times as 64-bit integers, and as texts for times beyond 63 bits.
    """

    def __init__(self, request: type[Decoded], schemas: Sequence[pa.Schema]) -> None:
        self._request = request
        self._schemas = schemas
        wanted = pa.struct(list(schemas[0]))
        # Every column that could be costs time in every batch, and each level of nesting doubles them: a file that does
        # not nest deeply is not made to pay.
        self._handlers = [_handler(request.DESCRIPTOR, kind) for kind in (_cut_off(wanted, USUAL_DEPTH), wanted)]
        self._named = 0

    def read(self, messages: Sequence[Message]) -> Read:
        """Every message is in exactly one part of the answer."""
        read = Read()
        known = [found for message in messages if (found := self._known(message, read)) is not None]
        waiting = [known] if known else []
        while waiting:
            part = waiting.pop()
            try:
                read.pieces.append(self._piece(part, read.names))
            except (pa.ArrowInvalid, _NotForArrow):
                if len(part) > 1:
                    waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    read.others.append(Block(part[0].number, self.as_json(part[0].data)))
        return read

    def as_json(self, data: bytes) -> bytes:
        """A message as a line of OTLP/JSON; the bytes must be a message."""
        document = json_format.MessageToDict(self._request.FromString(data), use_integers_for_enums=True)
        return orjson.dumps(_with_hex_ids(document))

    def _known(self, message: Message, read: Read) -> Message | None:
        """The message without fields that OTLP does not define, every field once and the short way; None if it is none.

        ptars keeps two members of a oneof where the last one counts, and passes over unknown fields in silence: a
        message whose canonical form is as long as it was has neither.
        """
        try:
            decoded = self._request.FromString(message.data)
        except DecodeError as error:
            detail = f"no message of OTLP in protobuf: {error}"
            read.refusals.append(
                Refusal(message.number, None, Reason.NOT_PROTOBUF, detail, clipped(message.data), message.offset)
            )
            return None
        decoded.DiscardUnknownFields()
        if (size := decoded.ByteSize()) == len(message.data):
            return message
        if self._named < NAMED_MESSAGES and (whole := self._request.FromString(message.data)).ByteSize() != size:
            self._named += 1
            read.names |= set(_unknown(whole, ""))
        return Message(message.number, message.offset, decoded.SerializeToString())

    def _piece(self, messages: Sequence[Message], names: set[str]) -> Piece:
        while True:
            try:
                return self._tables(_columns(self._handlers[0], messages), messages, names)
            except _NotForArrow:
                if len(self._handlers) == 1:
                    raise
                self._handlers.pop(0)

    def _tables(self, batch: pa.RecordBatch, messages: Sequence[Message], names: set[str]) -> Piece:
        line = np.fromiter((message.number for message in messages), np.int64, len(messages))
        *others, last = self._schemas
        for schema in others:
            with suppress(pa.ArrowInvalid):
                return Piece(line, _table(batch, schema, names), frozenset())
        return Piece(line, _table(batch, last, names), frozenset())


def _columns(handler: Any, messages: Sequence[Message]) -> pa.RecordBatch:
    try:
        return handler.list_to_record_batch([message.data for message in messages])
    except ValueError as error:
        raise _NotForArrow(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how Rust fails; not an Exception, and of no public type
            raise
        raise _NotForArrow(str(error)) from None


class _NotForArrow(ValueError):
    """Messages that the wanted type cannot hold: values that nest deeper, numbers beyond 63 bits."""


# --- from Arrow type to descriptor ------------------------------------------------------------------------------------


def _handler(request: Any, wanted: pa.StructType) -> Any:
    file = FileDescriptorProto(name="wanted.proto", package="wanted", syntax="proto3")
    name = _add_message(file, request, wanted)
    pool = DescriptorPool()
    pool.Add(file)
    config = ptars.PtarsConfig(list_nullable=True, list_value_nullable=True)
    handlers = ptars.HandlerPool([pool.FindFileByName(file.name)], config)
    return handlers.get_for_message(pool.FindMessageTypeByName(f"wanted.{name}"))


def _cut_off(kind: pa.DataType, levels: int) -> pa.DataType:
    """The type with values that nest so deep, and no deeper."""
    if pa.types.is_list(kind):
        return pa.list_(_cut_off(kind.value_type, levels))
    if not pa.types.is_struct(kind):
        return kind
    kept = [field for field in kind if levels or field.name not in _NESTED_KINDS]
    return pa.struct([(f.name, _cut_off(f.type, levels - (f.name in _NESTED_KINDS))) for f in kept])


def _add_message(file: FileDescriptorProto, source: Any, wanted: pa.StructType) -> str:
    made = DescriptorProto()
    for known in source.fields:
        place = wanted.get_field_index(known.json_name)
        kind = wanted.field(place).type if place >= 0 else None
        own = made.field.add(name=known.json_name, number=known.number, type=_wire_kind(known.type))
        own.label = _Scalar.LABEL_REPEATED if known.is_repeated else _Scalar.LABEL_OPTIONAL
        if known.message_type is not None and kind is not None:
            inner = kind.value_type if pa.types.is_list(kind) else kind
            own.type_name = f".wanted.{_add_message(file, known.message_type, inner)}"
        elif known.message_type is not None:
            own.type = _Scalar.TYPE_BYTES  # not wanted: it is only looked at whether anything is there
        if own.type != _Scalar.TYPE_MESSAGE and not known.is_repeated:
            own.proto3_optional, own.oneof_index = True, len(made.oneof_decl)
            made.oneof_decl.add(name=f"_{own.name}")
    made.name = f"M{len(file.message_type)}"
    file.message_type.append(made)
    return made.name


def _wire_kind(kind: int) -> Any:
    return _Scalar.TYPE_INT32 if kind == _Scalar.TYPE_ENUM else kind


# --- from what ptars gives to what is wanted --------------------------------------------------------------------------


def _table(batch: pa.RecordBatch, schema: pa.Schema, names: set[str]) -> pa.Table:
    found: set[str] = set()
    columns = [_fitted(batch.column(field.name), field.type, field.name, found) for field in schema]
    names |= found
    return pa.Table.from_arrays(columns, schema=schema)


def _fitted(array: pa.Array, wanted: pa.DataType, path: str, names: set[str]) -> pa.Array:
    """The array in the wanted type; the paths of what the type has no room for are added to `names`.

    Raises
    ------
    pyarrow.ArrowInvalid, _NotForArrow
        A number is beyond 63 bits, a value nests deeper than the type.
    """
    if array.null_count == len(array):
        return pa.nulls(len(array), wanted)  # most of what the type nests deeper
    if pa.types.is_struct(wanted):
        if not pa.types.is_struct(array.type):
            raise _NotForArrow(f"{path} nests deeper than is usual")
        _look_over(array, wanted, path, names)
        columns = [_fitted(array.field(f.name), f.type, f"{path}.{f.name}", names) for f in wanted]
        return pa.StructArray.from_arrays(columns, fields=list(wanted), mask=_null_mask(array))
    if pa.types.is_list(wanted):
        if not len(array.values):
            return pa.nulls(len(array), wanted)  # as JSON leaves it out, and as no name that was read over
        values = _fitted(array.values, wanted.value_type, path, names)
        return pa.ListArray.from_arrays(array.offsets, values, type=wanted, mask=_null_mask(array))
    if pa.types.is_binary(array.type):
        return _hexadecimal(array) if path.rpartition(".")[2] in _IDS else _base64(array)
    return array if array.type == wanted else array.cast(wanted)


def _look_over(array: pa.StructArray, wanted: pa.StructType, path: str, names: set[str]) -> None:
    for child in array.type:
        if wanted.get_field_index(child.name) >= 0:
            continue
        column = array.field(child.name)
        if len(column.values) if pa.types.is_list(child.type) else carries(column):
            if child.name in _NESTED_KINDS:
                raise _NotForArrow(f"{path}.{child.name} nests deeper than the schema")
            names.add(f"{path}.{child.name}")


def _null_mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _hexadecimal(column: pa.Array) -> pa.Array:
    """Bytes of any length as hexadecimal digits."""
    present, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int32)[: len(column) + 1] if offsets else np.zeros(1, np.int32)
    digits = _HEX[np.frombuffer(data, np.uint8)[: places[-1]]] if data else np.zeros(0, np.uint16)
    buffers = [present, pa.py_buffer(places * np.int32(2)), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.string(), len(column), buffers, column.null_count)


def _base64(column: pa.Array) -> pa.Array:
    if not carries(column):
        return nulls(len(column))
    return query('select base64("bytes") as text from flat', {"bytes": column})


# --- the slow way -----------------------------------------------------------------------------------------------------


def _with_hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: base64.b64decode(inner).hex() if name in _IDS else _with_hex_ids(inner)
            for name, inner in value.items()
        }
    return [_with_hex_ids(inner) for inner in value] if isinstance(value, list) else value


def _unknown(decoded: Decoded, path: str) -> Iterator[str]:
    """The paths of fields that OTLP does not define, by number, and of those that it defines with another type."""
    known: Mapping[int, Any] = decoded.DESCRIPTOR.fields_by_number
    unknown: Any = UnknownFieldSet(decoded)
    for found in unknown:
        number = found.field_number
        yield f"{path}{known[number].json_name if number in known else f'field {number}'}"
    for descriptor, value in decoded.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else [value]:
                yield from _unknown(inner, f"{path}{descriptor.json_name}.")
