"""OTLP/JSON, one export request a line: from a stream to flat batches. What traces and logs share.

The fast way reads blocks into nested Arrow tables (`otlp_reading.py`) and flattens their lists by the offsets, without
touching a record; lines that Arrow cannot read go the slow way (`otlp_salvage.py`). What a record must have, and how it
becomes a row, is SQL in `otlp_traces.py` and `otlp_logs.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
import pyarrow as pa

from dagster_project.sources.decoding.columns import carries, elements, int64, parents
from dagster_project.sources.decoding.reading import LINE_LIMIT_BYTES, Block, ByteStream, blocks
from dagster_project.sources.otlp import otlp_salvage
from dagster_project.sources.otlp.otlp_reading import LineReader, Piece
from dagster_project.sources.otlp.otlp_salvage import Shape
from dagster_project.sources.otlp.otlp_values import (
    SPELLINGS,
    Spelling,
    attribute_texts,
    attributes_type,
    string_attributes,
)
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch, Lines
from dagster_project.warehouse.quarantine import Refusal

BLOCK_BYTES = 8 << 20  # measured: 4 MiB cost a fifth more, as every block is a statement; 16 MiB as much, but memory
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
        A record as Arrow reads it, in one spelling of integers.
    columns
        From records in Arrow to the columns of `shape.rows`, those of origin, resource and scope left out.
    select
        SQL from the table `otlp_records`, whose columns are `shape.rows`, to `Batch.select`.
    """

    shape: Shape
    record: Callable[[Spelling], pa.StructType]
    columns: Callable[[pa.StructArray], dict[str, pa.Array]]
    select: str

    @cached_property
    def schemas(self) -> tuple[pa.Schema, ...]:
        return tuple(self._schema(spelling) for spelling in SPELLINGS)

    def _schema(self, spelling: Spelling) -> pa.Schema:
        described = [("attributes", attributes_type(spelling)), ("droppedAttributesCount", pa.uint32())]
        scope = pa.struct([("name", pa.string()), ("version", pa.string()), *described])
        records = (self.shape.records, pa.list_(self.record(spelling)))
        scopes = (self.shape.scopes, pa.list_(pa.struct([("scope", scope), records, ("schemaUrl", pa.string())])))
        resources = pa.struct([("resource", pa.struct(described)), scopes, ("schemaUrl", pa.string())])
        return pa.schema([(self.shape.root, pa.list_(resources))])


def batches(stream: ByteStream, signal: Signal, block_bytes: int = BLOCK_BYTES) -> Iterator[Batch]:
    """Decode a stream of OTLP/JSON lines; memory is bounded by a few blocks.

    Raises
    ------
    Unreadable
        When the container cannot be opened.
    """
    reader = LineReader(signal.schemas)
    # Three threads, with landing's four, so that two cores are busy although the steps take differently long.
    with (
        ahead(one_request_a_line(blocks(stream, block_bytes)), depth=1) as pieces,
        ahead(_readings(pieces, reader), depth=1) as readings,
    ):
        for reading in readings:
            yield Batch(refusals=[reading]) if isinstance(reading, Refusal) else _decoded(reading, signal)


@dataclass(frozen=True)
class _Reading:
    """What Arrow could read of a block, and its other lines."""

    block: Block
    good: list[Piece]
    bad: list[Block]


def _readings(pieces: Iterator[Block | Refusal], reader: LineReader) -> Iterator[_Reading | Refusal]:
    for piece in pieces:
        yield piece if isinstance(piece, Refusal) else _Reading(piece, *reader.read(piece))


def one_request_a_line(pieces: Iterator[Block | Refusal]) -> Iterator[Block | Refusal]:
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


def _decoded(reading: _Reading, signal: Signal) -> Batch:
    block = reading.block
    return batch_of(reading.good, reading.bad, signal, block, lambda line: block.line(line) or b"")


def batch_of(
    good: Sequence[Piece], others: Sequence[Block], signal: Signal, lines: Lines, as_json: Callable[[int], bytes]
) -> Batch:
    """The records of some lines.

    Parameters
    ----------
    good
        What Arrow could read.
    others
        The other lines, as OTLP/JSON; they go the slow way.
    signal
        What the records are.
    lines
        Where they came from.
    as_json
        A line as OTLP/JSON, by its number.
    """
    pieces = [flat(piece, signal) for piece in good]
    rows, names = [table for table, _ in pieces], frozenset[str]().union(*(found for _, found in pieces))
    refusals: list[Refusal] = []
    if others:
        salvaged = otlp_salvage.salvage(others, signal.shape)
        rows, refusals, names = [*rows, salvaged.rows], salvaged.refusals, names | salvaged.unknown_fields
    table = pa.concat_tables(rows) if rows else pa.Table.from_batches([], signal.shape.rows)
    raw = _RawRecords(signal.shape, as_json)
    return Batch(table.num_rows, {"otlp_records": table}, signal.select, refusals, names, raw, lines=lines)


def flat(piece: Piece, signal: Signal) -> tuple[pa.Table, frozenset[str]]:
    """The records of some lines as one table, and the names that were read over."""
    shape = signal.shape
    by_line = piece.table.column(shape.root).combine_chunks()
    resources = elements(by_line)
    by_resource = resources.field(shape.scopes)
    scopes = elements(by_resource)
    by_scope = scopes.field(shape.records)
    records = elements(by_scope)

    scope = parents(by_scope)
    resource = parents(by_resource)[scope]
    row = parents(by_line)[resource]
    record = np.arange(len(row)) - np.searchsorted(row, row) + 1
    named, attributes = scopes.field("scope"), resources.field("resource").field("attributes")
    columns = {
        "line": int64(piece.line[row]),
        "record": int64(record),
        "service_name": string_attributes(attributes, "service.name").take(int64(resource)),
        "service_version": string_attributes(attributes, "service.version").take(int64(resource)),
        "resource_attributes": attribute_texts(attributes).take(int64(resource)),
        "scope_name": named.field("name").take(int64(scope)),
        "scope_version": named.field("version").take(int64(scope)),
        **signal.columns(records),
    }
    above = {shape.root: resources, f"{shape.root}.{shape.scopes}": scopes, shape.path: records}
    names = piece.unexpected | _not_kept(above) | _not_kept_of_scope(named, f"{shape.root}.{shape.scopes}.scope")
    return pa.table(columns).select(shape.rows.names).cast(shape.rows), names


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
    """The text of a record that SQL refused, as OTLP/JSON; only asked for refused records."""

    def __init__(self, shape: Shape, as_json: Callable[[int], bytes]) -> None:
        self._shape = shape
        self._as_json = as_json
        self._line = 0
        self._records: list[object] = []

    def __call__(self, line: int, record: int) -> str | None:
        if line != self._line:
            self._line = line
            document = otlp_salvage.decoded(self._as_json(line))
            self._records = [found.value for found in otlp_salvage.records(document, self._shape)]
        return otlp_salvage.raw_text(self._records[record - 1])
