"""OTLP/JSON, one export request a line: from blocks of lines to flat Arrow tables. What traces and logs share.

The fast way reads a block with `pyarrow.json` and flattens its lists by their offsets, without touching a record. A
block that Arrow refuses is halved until its bad lines stand alone; `otlp_salvage.py` reads those one by one. What a
record must have, and how it becomes a row, is SQL in `otlp_traces.py` and `otlp_logs.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json

from dagster_project.sources import otlp_salvage
from dagster_project.sources.columns import carries, int64, parents
from dagster_project.sources.otlp_salvage import Shape
from dagster_project.sources.otlp_values import attribute_texts, attributes_type, string_attributes
from dagster_project.sources.reading import BLOCK_BYTES, LINE_LIMIT_BYTES, Block, ByteStream, blocks
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.landing import Batch
from dagster_project.warehouse.quarantine import Refusal

# Read over wherever they stand, and said so in the ledger: OTLP defines them, the warehouse has no column for them.
NOT_KEPT = ("schemaUrl", "flags", "entityRefs")


@dataclass(frozen=True)
class Signal:
    """One of OTLP's signals.

    Parameters
    ----------
    shape
        The names of the lists, and how the slow way reads a record.
    record
        A record as Arrow reads it.
    columns
        From records in Arrow to the columns of `shape.rows`, those of origin, resource and scope left out.
    select
        SQL from the table `otlp_records`, whose columns are `shape.rows`, to `Batch.select`.
    """

    shape: Shape
    record: pa.StructType
    columns: Callable[[pa.StructArray], dict[str, pa.Array]]
    select: str

    @cached_property
    def schema(self) -> pa.Schema:
        resource = pa.struct([("attributes", attributes_type()), ("droppedAttributesCount", pa.uint32())])
        scope = pa.struct(
            [
                ("name", pa.string()),
                ("version", pa.string()),
                ("attributes", attributes_type()),
                ("droppedAttributesCount", pa.uint32()),
            ]
        )
        records = [("scope", scope), (self.shape.records, pa.list_(self.record)), ("schemaUrl", pa.string())]
        scopes = pa.list_(pa.struct(records))
        return pa.schema(
            [
                (
                    self.shape.root,
                    pa.list_(
                        pa.struct([("resource", resource), (self.shape.scopes, scopes), ("schemaUrl", pa.string())])
                    ),
                )
            ]
        )


@dataclass(frozen=True)
class Flat:
    """The records of some lines, and the names that were read over."""

    rows: pa.Table
    unknown_fields: frozenset[str]


class _NotForArrow(ValueError):
    """Arrow read the block, but not as OTLP means it."""


def batches(stream: ByteStream, signal: Signal, block_bytes: int = BLOCK_BYTES) -> Iterator[Batch]:
    """Decode a stream of OTLP/JSON lines; memory is bounded by a few blocks.

    Raises
    ------
    Unreadable
        When the container cannot be opened.
    """
    with ahead(_one_request_a_line(blocks(stream, block_bytes))) as pieces:
        for piece in pieces:
            if isinstance(piece, Refusal):
                yield Batch(refusals=[piece])
            else:
                yield from _decoded(piece, signal)


def _one_request_a_line(pieces: Iterator[Block | Refusal]) -> Iterator[Block | Refusal]:
    """A file that is one indented request becomes one line, as long as it is no longer than a line may be."""
    first = next(pieces, None)
    held = [] if first is None else [first]
    if isinstance(first, Block) and first.data.split(b"\n", 1)[0].strip() == b"{":
        size = len(first.data)
        for piece in pieces:
            held.append(piece)
            size += len(piece.data) if isinstance(piece, Block) else LINE_LIMIT_BYTES
            if size > LINE_LIMIT_BYTES:
                break
        else:
            whole = b"".join(piece.data for piece in held if isinstance(piece, Block))
            with suppress(orjson.JSONDecodeError):
                held = [Block(1, orjson.dumps(orjson.loads(whole)))]
    yield from held
    yield from pieces


def _decoded(block: Block, signal: Signal) -> Iterator[Batch]:
    parts = list(_parts(block, signal))
    rows = [part.rows for part in parts if isinstance(part, Flat)]
    names = frozenset[str]().union(*(part.unknown_fields for part in parts if isinstance(part, Flat)))
    bad = [part for part in parts if isinstance(part, Block)]
    refusals: list[Refusal] = []
    if bad:
        salvaged = otlp_salvage.salvage(bad, signal.shape)
        rows, refusals, names = [*rows, salvaged.rows], salvaged.refusals, names | salvaged.unknown_fields
    if rows:
        table = pa.concat_tables(rows)
        raw = _RawRecords(block, signal.shape)
        yield Batch(table.num_rows, {"otlp_records": table}, signal.select, refusals, names, raw)


def _parts(block: Block, signal: Signal) -> Iterator[Flat | Block]:
    """The block as Arrow reads it; where Arrow cannot, its halves; a single line that it cannot read comes back."""
    if not block.data.strip():
        return
    try:
        yield _flat(block, signal)
    except (pa.ArrowInvalid, UnicodeDecodeError, _NotForArrow):
        if block.line_count == 1:
            yield block
        else:
            for half in block.halves():
                yield from _parts(half, signal)


def _flat(block: Block, signal: Signal) -> Flat:
    table = _read(block, signal.schema)
    names = _unexpected(signal.schema, table.schema)
    shape = signal.shape
    by_line = table[shape.root].combine_chunks()
    if by_line.null_count:
        raise _NotForArrow("a line without the root field")  # `{}` is one too, and is let through by the slow way
    resources = by_line.flatten()
    by_resource = resources.field(shape.scopes)
    scopes = by_resource.flatten()
    by_scope = scopes.field(shape.records)
    records = by_scope.flatten()

    scope = parents(by_scope)
    resource = parents(by_resource)[scope]
    line = parents(by_line)[resource]
    record = np.arange(len(line)) - np.searchsorted(line, line) + 1
    named, attributes = scopes.field("scope"), resources.field("resource").field("attributes")
    columns = {
        "line": int64(line + block.first_line),
        "record": int64(record),
        "service_name": string_attributes(attributes, "service.name").take(int64(resource)),
        "service_version": string_attributes(attributes, "service.version").take(int64(resource)),
        "resource_attributes": attribute_texts(attributes).take(int64(resource)),
        "scope_name": named.field("name").take(int64(scope)),
        "scope_version": named.field("version").take(int64(scope)),
        **signal.columns(records),
    }
    names |= _not_kept({shape.root: resources, f"{shape.root}.{shape.scopes}": scopes, shape.path: records})
    names |= _not_kept_of_scope(named, f"{shape.root}.{shape.scopes}.scope")
    return Flat(pa.table(columns).select(shape.rows.names).cast(shape.rows), frozenset(names))


def _read(block: Block, schema: pa.Schema) -> pa.Table:
    """One row a line.

    Raises
    ------
    pyarrow.ArrowInvalid, _NotForArrow
        The block holds a line that is no JSON, an odd type, bad UTF-8, or does not hold one object a line.
    """
    _check_utf8(block.data)
    table = pa.json.read_json(
        pa.BufferReader(block.data),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
        # 'infer' finds what the schema does not know: names for the ledger, and values that nest deeper.
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )
    if table.num_rows != block.line_count:
        raise _NotForArrow("blank lines, two objects on a line, or an object over several")
    return table


def _check_utf8(data: bytes) -> None:
    """Arrow's JSON reader does not look; a string that is not UTF-8 would get as far as the warehouse."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(data)))
    pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]).cast(pa.large_string())


def _unexpected(expected: pa.Schema, found: pa.Schema) -> set[str]:
    """The paths of fields that the schema does not have.

    Raises
    ------
    _NotForArrow
        When one is an AnyValue that nests deeper than the schema.
    """
    if found.equals(expected):
        return set()
    names: set[str] = set()
    for path, depth_reached in _extra(pa.struct(list(expected)), pa.struct(list(found)), ""):
        if depth_reached:
            raise _NotForArrow(f"{path} nests deeper than the schema")
        names.add(path)
    return names


def _extra(expected: pa.DataType, found: pa.DataType, path: str) -> Iterator[tuple[str, bool]]:
    if pa.types.is_list(expected):
        yield from _extra(expected.value_type, found.value_type, path)
    elif pa.types.is_struct(expected):
        known = {field.name: field.type for field in expected}
        for field in found:
            where = f"{path}.{field.name}".removeprefix(".")
            if field.name in known:
                yield from _extra(known[field.name], field.type, where)
            else:
                yield where, "stringValue" in known and field.name in ("arrayValue", "kvlistValue")


def _not_kept(arrays: Mapping[str, pa.StructArray]) -> set[str]:
    """Paths of declared fields without a column that carry something here."""
    return {
        f"{path}.{name}"
        for path, array in arrays.items()
        for name in NOT_KEPT
        if array.type.get_field_index(name) >= 0 and carries(array.field(name))
    }


def _not_kept_of_scope(scope: pa.StructArray, path: str) -> set[str]:
    return {f"{path}.{name}" for name in ("attributes", "droppedAttributesCount") if carries(scope.field(name))}


class _RawRecords:
    """The text of a record that SQL refused, found again in its block; only asked for refused records."""

    def __init__(self, block: Block, shape: Shape) -> None:
        self._block = block
        self._shape = shape
        self._line = 0
        self._records: list[object] = []

    @cached_property
    def _lines(self) -> dict[int, bytes]:
        return dict(self._block.lines())

    def __call__(self, line: int, record: int) -> str | None:
        if line != self._line:
            self._line = line
            document = otlp_salvage.decoded(self._lines[line])
            self._records = [found.value for found in otlp_salvage.records(document, self._shape)]
        return otlp_salvage.raw_text(self._records[record - 1])
