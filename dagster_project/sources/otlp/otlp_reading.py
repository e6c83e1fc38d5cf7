"""Blocks of OTLP/JSON lines as nested Arrow tables, and the lines that Arrow cannot read.

`pyarrow.json` refuses a whole block for one bad line. Lines that are seen to be bad are taken out before; a block that
it still refuses is divided, at the line that the message names or in the middle, until the bad lines stand alone.

Every field of the schema that no line has costs time all the same, with attributes most of it. So what the file has not
used so far is left out of the schema that Arrow is given, and learnt when a line has it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.json

from dagster_project.sources.decoding.columns import Flags, Numbers, carries, elements, parents, present
from dagster_project.sources.decoding.elements import Marks
from dagster_project.sources.decoding.reading import Block

# A message that names its row saves the search for it. But every try looks at what is left of the block: with many bad
# lines halving is cheaper.
NAMED_ROWS_A_BLOCK = 16
NESTING_LIMIT = 512  # levels; Arrow takes thousands
SAMPLED = 16  # the part of the first block that shows which fields a file uses
_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
_Words = np.ndarray[tuple[int], np.dtype[np.uint64]]
_ROW = re.compile(r"in row (\d+)$")
_NEWLINE = ord("\n")
_NONE = np.zeros(0, np.int64)
_FIRST = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Piece:
    """Lines that Arrow could read: one row each, with their numbers and the paths of fields that the schema lacks."""

    line: Numbers
    table: pa.Table
    unexpected: frozenset[str]


@dataclass(frozen=True)
class _Lines:
    """Some lines of a block: their numbers, where they start and end in it."""

    block: Block
    line: Numbers
    start: Numbers
    end: Numbers

    def __len__(self) -> int:
        return len(self.line)

    def at(self, rows: Numbers | slice) -> _Lines:
        return _Lines(self.block, self.line[rows], self.start[rows], self.end[rows])

    def without(self, rows: Numbers) -> _Lines:
        kept = np.ones(len(self), np.bool_)
        kept[rows] = False
        return self.at(np.flatnonzero(kept))

    def single(self, row: int) -> Block:
        start, end = int(self.start[row]), int(self.end[row])
        offset = None if self.block.offset is None else self.block.offset + start
        return Block(int(self.line[row]), self.block.data[start:end], offset)

    def singles(self) -> list[Block]:
        return [self.single(row) for row in range(len(self))]

    @cached_property
    def content(self) -> pa.Buffer:
        """The bytes; a view of the block's as long as the lines follow each other."""
        gaps = np.flatnonzero(self.start[1:] != self.end[:-1])
        firsts, lasts = self.start[[0, *(gaps + 1)]], self.end[[*gaps, -1]]
        whole = memoryview(self.block.data)
        runs = [whole[first:last] for first, last in zip(firsts, lasts, strict=True)]
        return pa.py_buffer(runs[0] if len(runs) == 1 else b"".join(runs))


def _lines_of(block: Block) -> tuple[_Lines, list[Block]]:
    """The lines of a block that may be objects in UTF-8, and its other lines; blank ones are in neither."""
    content = np.frombuffer(block.data, np.uint8)
    end = np.flatnonzero(content == _NEWLINE) + 1
    if not len(end) or end[-1] < len(content):
        end = np.append(end, len(content))
    start = np.concatenate([_FIRST, end[:-1]])
    lines = _Lines(block, np.arange(block.first_line, block.first_line + len(end)), start, end)
    last = np.maximum(end - 1 - (content[end - 1] == _NEWLINE), start)
    looks_whole = (content[start] == ord("{")) & (content[last] == ord("}"))
    deep = _nests_deeply(content, start, end)
    doubtful = np.flatnonzero(deep | ~looks_whole) if _is_utf8(block.data) else np.arange(len(lines))
    blank, bad = [], []
    for row in doubtful.tolist():
        text = block.data[start[row] : end[row]].strip()
        if not text:
            blank.append(row)
        elif deep[row] or not (text.startswith(b"{") and text.endswith(b"}") and _is_utf8(text)):
            bad.append(row)
    return lines.without(np.array([*blank, *bad], np.int64)), [lines.single(row) for row in bad]


def _nests_deeply(content: _Bytes, start: Numbers, end: Numbers) -> Flags:
    """Lines that may nest so deeply that Arrow, which recurses, would run out of stack: that ends the process.

    Counted roughly, from 64 bytes to the next, but outside of strings only: those in them could hide any depth. Lines
    with a string that does not end may be among them; whom it wrongs goes the slow way.
    """
    opened, closed, quote = _bits(content)
    if not len(quote):
        return np.zeros(len(start), np.bool_)
    ends_in_string = np.flatnonzero(np.diff(_set_before(quote, np.append(start, end[-1]))) & 1)
    for at in (end[ends_in_string] - 1).tolist():  # a string ends with its line, whatever follows
        if at // 64 < len(quote):
            quote[at // 64] ^= np.uint64(1 << at % 64)
    outside = ~_between(quote)
    step = np.bitwise_count(opened & outside).astype(np.int64) - np.bitwise_count(closed & outside)
    depth = np.concatenate([_FIRST, np.cumsum(step)])
    if depth.max() - depth.min() < NESTING_LIMIT:
        return np.zeros(len(start), np.bool_)
    first = np.minimum(start // 64, len(depth) - 1)
    last = np.minimum(end // 64 + 1, len(depth))
    deepest = np.maximum.reduceat(np.append(depth, depth[-1]), np.stack([first, last]).T.reshape(-1))[::2]
    deep: Flags = deepest - depth[first] >= NESTING_LIMIT
    return deep


def _bits(content: _Bytes) -> tuple[_Words, _Words, _Words]:
    """Where brackets open, where they close, where quotes are that nothing escapes: a bit a byte, but for the last."""
    opened, closed, quote, backslash = words = np.zeros((4, len(content) // 64), np.uint64)
    for first in range(0, len(quote), 1 << 12):  # small enough to stay in the processor's cache
        part = content[first * 64 : min(first + (1 << 12), len(quote)) * 64]
        folded = part | 0x20  # [ becomes {, ] becomes }
        found = (folded == ord("{"), folded == ord("}"), part == ord('"'), part == ord("\\"))
        for row, one in enumerate(found if found[3].any() else found[:3]):
            words[row, first : first + len(part) // 64] = np.packbits(one, bitorder="little").view(np.uint64)
    if backslash.any():
        follows = quote & _moved(backslash, 1)
        several = follows & _moved(backslash, 2)  # of these it depends on how many
        quote ^= follows ^ several
        if (word := np.flatnonzero(several)).size:
            row_of, bit = np.nonzero(np.unpackbits(several[word].view(np.uint8), bitorder="little").reshape(-1, 64))
            place = word[row_of] * 64 + bit
            escaped = place[Marks().escaped(content, place)]
            np.bitwise_xor.at(quote, escaped // 64, np.uint64(1) << (escaped % 64).astype(np.uint64))
    return opened, closed, quote


def _moved(words: _Words, by: int) -> _Words:
    """Every bit some places later."""
    moved = words << np.uint64(by)
    moved[1:] |= words[:-1] >> np.uint64(64 - by)
    return moved


def _set_before(words: _Words, place: Numbers) -> Numbers:
    """How many bits are set before each place."""
    before = np.concatenate([_FIRST, np.cumsum(np.bitwise_count(words), dtype=np.int64)])
    word = np.minimum(place // 64, len(words))
    below = (np.uint64(1) << (place % 64).astype(np.uint64)) - np.uint64(1)
    counts: Numbers = before[word] + np.bitwise_count(np.append(words, np.uint64(0))[word] & below)
    return counts


def _between(quote: _Words) -> _Words:
    """From each odd bit to before the next: what strings hold."""
    inside = quote.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        inside ^= inside << np.uint64(shift)
    is_odd = np.bitwise_xor.accumulate(inside >> np.uint64(63))  # after each word
    inside[1:] ^= np.uint64(0) - is_odd[:-1]
    return inside


def _is_utf8(data: bytes) -> bool:
    """Arrow's JSON reader does not look; a string that is not UTF-8 would get as far as the warehouse."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(data)))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


# --- reading ----------------------------------------------------------------------------------------------------------


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
    _used: frozenset[str] | None = field(default=None, init=False)  # paths; None: all, as long as nothing was read
    _worn: dict[int, pa.Schema] = field(default_factory=dict, init=False)  # the schemas with these alone

    def read(self, block: Block) -> tuple[list[Piece], list[Block]]:
        """What Arrow can read of a block, and its other lines, one a block; blank lines are in neither."""
        if not block.data:
            return [], []
        lines, bad = _lines_of(block)
        good: list[Piece] = []
        waiting = [lines]
        named_rows, is_spelling_known = 0, False
        while waiting:
            part = waiting.pop()
            if not len(part):
                continue
            try:
                piece, odd = self._read(part)
                good.append(piece)
                bad += odd
            except (pa.ArrowInvalid, _NotForArrow) as error:
                row, is_syntax = _row_named(error), not _is_about_type(error)
                if not is_syntax and not is_spelling_known:
                    is_spelling_known = True
                    self._choose_spelling(part, row)
                    waiting.append(part)
                elif len(part) == 1:
                    bad += part.singles()
                elif 0 <= row < len(part) and named_rows < NAMED_ROWS_A_BLOCK:
                    named_rows += 1
                    bad.append(part.single(row))
                    waiting += [part.at(slice(row + 1, None)), part.at(slice(row))]
                else:
                    middle = len(part) // 2
                    waiting += [part.at(slice(middle, None)), part.at(slice(middle))]
        return _merged(good), sorted(bad, key=lambda line: line.first_line)

    def _choose_spelling(self, part: _Lines, reached: int) -> None:
        """Make the spelling the favourite that reads the lines, else the one that comes furthest."""
        furthest = reached
        for spelling in range(len(self.schemas)):
            if spelling == self._favourite:
                continue
            try:
                _table(part, self._schema(spelling))
            except pa.ArrowInvalid as error:
                if (row := _row_named(error)) <= furthest:
                    continue
                furthest = row
            else:
                furthest = len(part)
            self._favourite = spelling

    def _read(self, part: _Lines) -> tuple[Piece, list[Block]]:
        """The lines in the favourite spelling, and those that Arrow read, but not as OTLP means them.

        Raises
        ------
        pyarrow.ArrowInvalid
            A line is no JSON or has an odd type.
        _NotForArrow
            The lines do not hold one object each.
        """
        if self._used is None:
            self._learn_from(part.at(slice(0, len(part) // SAMPLED + 1)))
        whole, schema = self.schemas[self._favourite], self._schema(self._favourite)
        table = _table(part, schema)
        if table.num_rows != len(part):
            raise _NotForArrow("two objects on a line, or an object over several")
        names, odd = frozenset[str](), _without_first_field(table)
        if not table.schema.equals(schema):
            known = _paths(whole)
            found = frozenset(_paths_of(pa.struct(list(table.schema)), "", known))
            if learnt := (found & known) - _paths(schema):
                self._learn(learnt | (self._used or frozenset()))
                return self._read(part)
            names = frozenset(path for path in found - known if not _is_deep_value(path, known))
            odd = np.union1d(odd, _deep_rows(whole.field(0).type, table.column(0).combine_chunks()))
        good = part.without(odd) if len(odd) else part
        columns = [_fitted(_without(table.column(wanted.name), odd), wanted.type) for wanted in whole]
        return Piece(good.line, pa.Table.from_arrays(columns, schema=whole), names), part.at(odd).singles()

    def _schema(self, spelling: int) -> pa.Schema:
        if self._used is None:
            return self.schemas[spelling]
        if spelling not in self._worn:
            self._worn[spelling] = pa.schema(list(_restricted(pa.struct(list(self.schemas[spelling])), self._used, "")))
        return self._worn[spelling]

    def _learn_from(self, part: _Lines) -> None:
        """Learn from a few lines what the file uses, so that not even its first block is read with all fields."""
        whole = self.schemas[self._favourite]
        with suppress(pa.ArrowInvalid):
            self._learn(frozenset(_carried(_table(part, whole), _paths(whole))))

    def _learn(self, used: frozenset[str]) -> None:
        self._used = used
        self._worn.clear()


class _NotForArrow(ValueError):
    """Arrow read the lines, but not as OTLP means them."""


def _table(part: _Lines, schema: pa.Schema) -> pa.Table:
    content = part.content
    return pa.json.read_json(
        pa.BufferReader(content),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=content.size + 1),
        # 'infer' finds what the schema does not know: names for the ledger, and values that nest deeper.
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )


def _row_named(error: Exception) -> int:
    """The row in Arrow's message, or -1."""
    found = _ROW.search(str(error))
    return int(found[1]) if found else -1


def _is_about_type(error: Exception) -> bool:
    return "Column(" in str(error) or "conversion" in str(error)


def _without_first_field(table: pa.Table) -> Numbers:
    """`{}` is one, which the slow way lets through."""
    first = table.column(0).combine_chunks()
    return np.flatnonzero(~present(first)) if first.null_count else _NONE


def _without(column: pa.ChunkedArray, rows: Numbers) -> pa.Array:
    """The column without some rows. Reading the other lines once more would take ten times as long."""
    if not len(rows):
        return column.combine_chunks()
    starts, ends = np.concatenate([_FIRST, rows + 1]), np.append(rows, len(column))
    runs = [column.slice(start, end - start) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return pa.chunked_array([chunk for run in runs for chunk in run.chunks], column.type).combine_chunks()


def _deep_rows(expected: pa.DataType, found: pa.Array) -> Numbers:
    """Where an AnyValue nests deeper than its schema."""
    if pa.types.is_list(expected) and pa.types.is_list(found.type):
        inside = elements(found)
        rows = _deep_rows(expected.value_type, inside) if len(inside) else _NONE
        return np.unique(parents(found)[rows]) if len(rows) else _NONE
    if not (pa.types.is_struct(expected) and pa.types.is_struct(found.type)):
        return _NONE
    known = {child.name: child.type for child in expected}
    rows = _NONE
    for child in found.type:
        if child.name in known:
            rows = np.union1d(rows, _deep_rows(known[child.name], found.field(child.name)))
        elif "stringValue" in known and child.name in ("arrayValue", "kvlistValue"):
            rows = np.union1d(rows, np.flatnonzero(present(found.field(child.name))))
    return rows


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one spelling become one: what follows costs by the piece."""
    merged: list[Piece] = []
    for piece in pieces:
        alike = [found for found in merged if found.table.schema.equals(piece.table.schema)]
        for found in alike:
            merged.remove(found)
        together = [*alike, piece]
        merged.append(
            Piece(
                np.concatenate([one.line for one in together]),
                pa.concat_tables([one.table for one in together]),
                frozenset[str]().union(*(one.unexpected for one in together)),
            )
        )
    return merged


# --- fields by their paths, `resourceSpans.scopeSpans.spans.name` -----------------------------------------------------


@lru_cache(maxsize=32)
def _paths(schema: pa.Schema) -> frozenset[str]:
    return frozenset(_paths_of(pa.struct(list(schema)), "", None))


def _paths_of(kind: pa.DataType, path: str, known: frozenset[str] | None) -> Iterator[str]:
    """The paths of all fields; of those that are not known, nothing below: nobody knows how deep that is."""
    if pa.types.is_list(kind):
        yield from _paths_of(kind.value_type, path, known)
    elif pa.types.is_struct(kind):
        for child in kind:
            where = f"{path}.{child.name}".removeprefix(".")
            yield where
            if known is None or where in known:
                yield from _paths_of(child.type, where, known)


def _is_deep_value(path: str, known: frozenset[str]) -> bool:
    """Whether it is the list of an AnyValue that the schema does not nest any deeper."""
    parent, _, name = path.rpartition(".")
    return name in ("arrayValue", "kvlistValue") and f"{parent}.stringValue" in known


def _carried(table: pa.Table, known: frozenset[str]) -> Iterator[str]:
    """The known paths of what is not null everywhere."""
    for name in table.schema.names:
        if name in known:
            yield name
            yield from _carried_in(table.column(name).combine_chunks(), name, known)


def _carried_in(column: pa.Array, path: str, known: frozenset[str]) -> Iterator[str]:
    if pa.types.is_list(column.type):
        yield from _carried_in(elements(column), path, known)
    elif pa.types.is_struct(column.type):
        for child in column.type:
            where, values = f"{path}.{child.name}", column.field(child.name)
            if where in known and carries(values):
                yield where
                yield from _carried_in(values, where, known)


def _restricted(kind: pa.DataType, used: frozenset[str], path: str) -> pa.DataType:
    """The type without the fields that are not used."""
    if pa.types.is_list(kind):
        return pa.list_(_restricted(kind.value_type, used, path))
    if not pa.types.is_struct(kind):
        return kind
    inside = {child.name: f"{path}.{child.name}".removeprefix(".") for child in kind}
    return pa.struct(
        [
            (child.name, _restricted(child.type, used, inside[child.name]))
            for child in kind
            if inside[child.name] in used
        ]
    )


def _fitted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column as this type: without the fields that it lacks, with nulls for those that only it has."""
    if column.type.equals(kind):
        return column
    validity = column.buffers()[0]
    if pa.types.is_list(kind):
        children = [_fitted(column.values, kind.value_type)]
        return pa.Array.from_buffers(
            kind, len(column), column.buffers()[:2], column.null_count, column.offset, children
        )
    children = [
        _fitted(column.field(child.name), child.type)
        if column.type.get_field_index(child.name) >= 0
        else pa.nulls(len(column), child.type)
        for child in kind
    ]
    return pa.Array.from_buffers(kind, len(column), [validity], column.null_count, 0, children)
