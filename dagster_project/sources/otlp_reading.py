"""Blocks of OTLP/JSON lines as nested Arrow tables, and the lines that Arrow cannot read.

`pyarrow.json` refuses a whole block for one bad line or one number where a text was. A block that it refuses is
divided, at the line that the message names or in the middle, until the bad lines stand alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.json

from dagster_project.sources.columns import Numbers
from dagster_project.sources.reading import Block

# A message that names its row saves the search for it. But every try looks at what is left of the block: with many bad
# lines halving is cheaper.
NAMED_ROWS_A_BLOCK = 16
_ROW = re.compile(r"in row (\d+)$")


@dataclass(frozen=True)
class Piece:
    """Lines that Arrow could read: one row each, with their numbers and the paths of fields that the schema lacks."""

    line: Numbers
    table: pa.Table
    unexpected: frozenset[str]


@dataclass
class LineReader:
    """Reads the blocks of one file.

    Parameters
    ----------
    schemas
        The same fields in several spellings (integers as text or as numbers), the usual one first; the first field of
        each is the one that every line must have. The spelling that fitted last is tried first.
    """

    schemas: Sequence[pa.Schema]
    _favourite: int = field(default=0, init=False)

    def read(self, block: Block) -> tuple[list[Piece], list[Block]]:
        """What Arrow can read of a block, and its other lines, one a block; blank lines are in neither."""
        if not block.data.strip():
            return [], []
        whole = self._read_whole(block)
        return ([whole], []) if whole is not None else self._divided(block)

    def _read_whole(self, block: Block) -> Piece | None:
        """The block in the spelling that fits it; else None, with the spelling that came furthest as the favourite."""
        order = sorted(range(len(self.schemas)), key=lambda spelling: spelling != self._favourite)
        reached: dict[int, int] = {}
        for spelling in order:
            try:
                piece = _read(block, self.schemas[spelling])
            except (pa.ArrowInvalid, _NotForArrow) as error:
                reached[spelling] = _row_named(error)
            else:
                self._favourite = spelling
                return piece
        self._favourite = max(order, key=lambda spelling: reached[spelling])
        return None

    def _divided(self, block: Block) -> tuple[list[Piece], list[Block]]:
        good: list[Piece] = []
        bad: list[Block] = []
        waiting = [block]
        named_rows = 0
        while waiting:
            part = waiting.pop()
            if not part.data.strip():
                continue
            try:
                good.append(_read(part, self.schemas[self._favourite]))
            except (pa.ArrowInvalid, _NotForArrow) as error:
                if part.line_count == 1:
                    bad.append(part)
                    continue
                row = _row_named(error)
                named_rows += row >= 0
                waiting += reversed(_divide(part, row if named_rows < NAMED_ROWS_A_BLOCK else -1))
        return _merged(good, self.schemas[self._favourite]), bad


class _NotForArrow(ValueError):
    """Arrow read the block, but not as OTLP means it."""


def _divide(block: Block, row: int) -> tuple[Block, ...]:
    """The lines before the bad one, it, and the lines after it; halves when it is not known."""
    if not 0 <= row < block.line_count or b"\n\n" in block.data:  # Arrow does not count blank lines
        return block.halves()
    ends = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord("\n")) + 1
    start = int(ends[row - 1]) if row else 0
    end = int(ends[row]) if row < len(ends) else len(block.data)
    parts = (
        Block(block.first_line, block.data[:start]),
        Block(block.first_line + row, block.data[start:end]),
        Block(block.first_line + row + 1, block.data[end:]),
    )
    return tuple(part for part in parts if part.data)


def _row_named(error: Exception) -> int:
    """The row in Arrow's message, or -1."""
    found = _ROW.search(str(error))
    return int(found[1]) if found else -1


def _merged(pieces: list[Piece], schema: pa.Schema) -> list[Piece]:
    """Pieces that have the schema to the letter become one: what follows costs by the piece."""
    plain = [piece for piece in pieces if piece.table.schema.equals(schema)]
    if len(plain) < 2:
        return pieces
    line = np.concatenate([piece.line for piece in plain])
    table = pa.concat_tables([piece.table for piece in plain])
    others = [piece for piece in pieces if not piece.table.schema.equals(schema)]
    return [Piece(line, table, frozenset()), *others]


def _read(block: Block, schema: pa.Schema) -> Piece:
    """The block as a table.

    Raises
    ------
    pyarrow.ArrowInvalid, _NotForArrow
        A line is no JSON, has an odd type, is not UTF-8, nests deeper than the schema, lacks the first field of the
        schema; or the lines do not hold one object each.
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
    if table.column(0).null_count:
        raise _NotForArrow("a line without the first field")  # `{}` is one too; the slow way lets it through
    line = np.arange(block.first_line, block.first_line + table.num_rows)
    return Piece(line, table, _unexpected(schema, table.schema))


def _check_utf8(data: bytes) -> None:
    """Arrow's JSON reader does not look; a string that is not UTF-8 would get as far as the warehouse."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(data)))
    pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]).cast(pa.large_string())


def _unexpected(expected: pa.Schema, found: pa.Schema) -> frozenset[str]:
    if found.equals(expected):
        return frozenset()
    names = set()
    for path, is_value in _extra(pa.struct(list(expected)), pa.struct(list(found)), ""):
        if is_value:
            raise _NotForArrow(f"{path} nests deeper than the schema")
        names.add(path)
    return frozenset(names)


def _extra(expected: pa.DataType, found: pa.DataType, path: str) -> Iterator[tuple[str, bool]]:
    """The paths of fields that only `found` has, and whether they are the nested kinds of an AnyValue."""
    if pa.types.is_list(expected):
        yield from _extra(expected.value_type, found.value_type, path)
    elif pa.types.is_struct(expected):
        known = {field.name: field.type for field in expected}
        for child in found:
            where = f"{path}.{child.name}".removeprefix(".")
            if child.name in known:
                yield from _extra(known[child.name], child.type, where)
            else:
                yield where, "stringValue" in known and child.name in ("arrayValue", "kvlistValue")
