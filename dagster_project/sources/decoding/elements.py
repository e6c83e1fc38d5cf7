"""A JSON document of many objects, element by element, in bounded memory whatever its size. Knows no format.

The elements of one array of the document become lines, so that what reads lines reads documents too. Only brackets,
quotes and commas are looked at; whether an element is JSON is for its reader to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from dagster_project.sources.decoding.reading import (
    BLOCK_BYTES,
    LINE_LIMIT_BYTES,
    UTF8_MARK,
    Block,
    BlockCutter,
    ByteStream,
    broken,
    limited,
)
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

Path = tuple[str, ...]
_Places = np.ndarray[tuple[int], np.dtype[np.intp]]
_Steps = np.ndarray[tuple[int], np.dtype[np.int32]]
_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]

_QUOTE, _BACKSLASH, _NEWLINE, _BLANK = b'"\\\n '  # as numbers
_IS_MARK = np.zeros(256, np.bool_)
_IS_MARK[list(b'"[]{},')] = True
_IS_LINE_END = np.zeros(256, np.bool_)
_IS_LINE_END[list(b"\r\n")] = True
_STEP = np.zeros(256, np.int32)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1
_KEY = re.compile(rb'"((?:[^"\\]|\\.){0,200})"\s{0,99}:\s{0,99}\Z')
_KEY_BYTES = 512  # how far before a bracket its key is looked for


class Elements:
    """The elements of the array at `path`, as `reading.blocks` gives lines: one element a line.

    Line ends inside an element become blanks. A block's `first_line` is the number of its first element, from 1.
    Several documents may follow each other; their elements are numbered through. Damage never raises: whole elements
    before it are given, and a refusal says where the document breaks.

    Parameters
    ----------
    stream
        The document.
    path
        The keys that lead from the document to the array; none when the document is the array.
    or_at
        Other places where the array may be.
    block_bytes, element_limit
        As in `reading.blocks`.

    Attributes
    ----------
    envelope
        After iterating: the first document with its arrays of elements emptied; None when it was no JSON.
    """

    def __init__(
        self,
        stream: ByteStream,
        *path: str,
        or_at: Sequence[Path] = (),
        block_bytes: int = BLOCK_BYTES,
        element_limit: int = LINE_LIMIT_BYTES,
    ) -> None:
        self.envelope: object = None
        self._stream = stream
        self._limit = element_limit
        self._outside = _Outside(element_limit)
        self._scanner = _Scanner({path, *or_at}, self._outside)
        self._cutter = BlockCutter(block_bytes, element_limit)

    def __iter__(self) -> Iterator[Block | Refusal]:
        for chunk in self._stream:
            for piece in self._scanner.scan(chunk):
                if isinstance(piece, Refusal):
                    yield piece
                else:
                    yield from self._placed(self._cutter.take(piece))
            if self._outside.problem is not None:
                break
        ends_inside = self._stream.broken is not None or self._scanner.array_depth > 0
        yield from self._placed(self._cutter.finish(drop_open_line=ends_inside))
        yield from self._end()
        self.envelope = self._outside.first

    def _placed(self, pieces: Iterator[Block | Refusal]) -> Iterator[Block | Refusal]:
        start = self._scanner.array_start
        for piece in limited(pieces, self._limit):
            if isinstance(piece, Block):
                known = start is not None and piece.offset is not None
                yield replace(piece, offset=start + piece.offset if known else None)  # type: ignore[operator]
            else:
                yield piece

    def _end(self) -> Iterator[Refusal]:
        line = self._cutter.next_line
        if self._stream.broken is not None:
            yield broken(self._stream.broken, line, self._cutter.open_line)
        elif self._scanner.array_depth > 0 and self._outside.problem is None:
            detail = f"the document ends inside its element {line}; whole elements before it have landed"
            yield Refusal(line, None, Reason.NOT_JSON, detail, clipped(self._cutter.open_line))
        elif problem := self._outside.finish():
            yield Refusal(line, None, problem.reason, problem.detail, clipped(problem.text))


@dataclass(frozen=True)
class _Problem:
    reason: Reason
    detail: str
    text: bytes


class _Outside:
    """What stands outside of the arrays of elements: checked to be JSON when a document ends."""

    def __init__(self, limit: int) -> None:
        self.first: object = None
        self.problem: _Problem | None = None
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        self._tail = (self._tail + part[-_KEY_BYTES:])[-_KEY_BYTES:]
        if self._size > self._limit and self.problem is None:
            detail = f"{self._size} bytes without an element; at most {self._limit} are read"
            self.problem = _Problem(Reason.LINE_TOO_LONG, detail, self._parts[0])

    def key(self) -> str | None:
        """The key before the bracket that was added last."""
        found = _KEY.search(self._tail[:-1])
        return found[1].decode(errors="replace") if found else None

    def close_document(self) -> None:
        """A document is whole: keep the first."""
        text = b"".join(self._parts)
        self._parts, self._size = [], 0
        if self.problem is not None or not text.strip():
            return
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.problem = _Problem(Reason.NOT_JSON, f"what surrounds the elements is no JSON: {error}", text)
        else:
            self.first = document if self.first is None else self.first

    def finish(self) -> _Problem | None:
        self.close_document()
        return self.problem


class _Scanner:
    """Follows a document's brackets from chunk to chunk; gives the bytes of elements as lines.

    Attributes
    ----------
    array_depth
        How many brackets are open inside of the array of elements; 0 outside of it.
    array_start
        Where the first such array's content begins in the file; None before it, and after a second one began.
    """

    def __init__(self, paths: set[Path], outside: _Outside) -> None:
        self.array_depth = 0
        self.array_start: int | None = None
        self._arrays = 0
        self._elements = 0
        self._has_content = False  # since the array began or its last comma
        self._is_first = True  # no comma in the array yet
        self._paths = paths
        self._deepest = max(len(path) for path in paths) + 1
        self._outside = outside
        self._opened: list[tuple[bool, str | None]] = []  # of each open container down to `_deepest`: object?, key
        self._marks = Marks()
        self._read = 0

    def scan(self, chunk: bytes) -> Iterator[bytes | Refusal]:
        if not self._read and chunk.startswith(UTF8_MARK):
            chunk = chunk[len(UTF8_MARK) :]
            self._read += len(UTF8_MARK)
        data = np.frombuffer(chunk, np.uint8)
        place, step, depth = self._marks.find(data)
        shallow = ((step > 0) & (depth <= self._deepest)) | ((step < 0) & (depth < self._deepest))
        done = 0  # bytes
        since = 0  # marks
        for mark in np.flatnonzero(shallow).tolist():
            at, now = int(place[mark]), int(depth[mark])
            if self.array_depth:
                if now < self.array_depth:
                    inner = slice(since, mark)
                    yield from self._content(data, done, at, place[inner], step[inner], depth[inner], ends=True)
                    self._outside.add(b"]")
                    done, since, self.array_depth = at + 1, mark + 1, 0
                    self._opened.pop()
                    self._ended(now)
                continue
            self._outside.add(chunk[done : at + 1])
            done, since = at + 1, mark + 1
            if step[mark] > 0:
                self._open(now, is_object=chunk[at] == b"{"[0], begins_at=self._read + at + 1)
            elif self._opened:
                self._opened.pop()
                self._ended(now)
        if self.array_depth:
            yield from self._content(data, done, len(data), place[since:], step[since:], depth[since:], ends=False)
        else:
            self._outside.add(chunk[done:])
        self._read += len(chunk)

    def _open(self, depth: int, *, is_object: bool, begins_at: int) -> None:
        in_object = bool(self._opened) and self._opened[-1][0]
        self._opened.append((is_object, self._outside.key() if in_object else None))
        path = tuple(key for _, key in self._opened[1:])
        if not is_object and path in self._paths:
            self.array_depth = depth
            self._arrays += 1
            self.array_start = begins_at if self._arrays == 1 else None
            self._has_content, self._is_first = False, True

    def _ended(self, depth: int) -> None:
        if depth == 0:
            self._outside.close_document()

    def _content(
        self, data: _Bytes, start: int, stop: int, place: _Places, step: _Steps, depth: _Steps, *, ends: bool
    ) -> Iterator[bytes | Refusal]:
        """The bytes from `start` to `stop`, elements as lines; the bracket at `stop` becomes the last line's end."""
        if stop + ends == start:
            return
        cuts = place[(step == 0) & (depth == self.array_depth)] - start
        lines = data[start : stop + ends].copy()
        lines[_IS_LINE_END[lines]] = _BLANK
        lines[cuts] = _NEWLINE
        if ends:
            lines[-1] = _NEWLINE
        filled = np.logical_or.reduceat(lines > _BLANK, np.append(0, cuts))
        filled[0] |= self._has_content
        whole = filled if ends else filled[:-1]
        is_empty_array = ends and self._is_first and not whole.any() and len(whole) == 1
        self._has_content = bool(filled[-1]) and not ends
        self._is_first = self._is_first and len(filled) == 1
        if is_empty_array:
            return
        for gap in np.flatnonzero(~whole).tolist():
            number = self._elements + gap + 1
            yield Refusal(number, None, Reason.NOT_JSON, "nothing stands where an element should be", None)
        self._elements += len(whole)
        yield lines.tobytes()


class Marks:
    """Finds brackets and commas outside of strings, and the depth after each; knows where the last chunk ended."""

    def __init__(self) -> None:
        self._in_string = 0
        self._is_escaping = 0  # an odd number of backslashes ended the last chunk
        self._depth = 0

    def find(self, data: _Bytes) -> tuple[_Places, _Steps, _Steps]:
        """Places of the marks, 1 / -1 / 0 for each that opens / closes / is a comma, brackets open after each."""
        place = np.flatnonzero(_IS_MARK[data])
        kind = data[place]
        is_quote = kind == _QUOTE
        is_quote[is_quote] = ~self.escaped(data, place[is_quote])
        quotes = np.cumsum(is_quote) + self._in_string
        outside = ~is_quote & (kind != _QUOTE) & (quotes % 2 == 0)
        if len(quotes):
            self._in_string = int(quotes[-1]) % 2
        place = place[outside]
        step = _STEP[kind[outside]]
        depth = np.cumsum(step, dtype=np.int32) + np.int32(self._depth)
        if len(depth):
            self._depth = int(depth[-1])
        return place, step, depth

    def escaped(self, data: _Bytes, quotes: _Places) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which quotes follow an odd number of backslashes; remembers how the chunk ended."""
        backslash = np.flatnonzero(data == _BACKSLASH)
        escaped = np.zeros(len(quotes), np.bool_)
        if self._is_escaping and len(quotes) and quotes[0] == 0:
            escaped[0] = True
        if not len(backslash):
            self._is_escaping = 0 if len(data) else self._is_escaping
            return escaped
        begins = np.diff(backslash, prepend=-2) != 1
        run = backslash[np.maximum.accumulate(np.where(begins, np.arange(len(backslash)), 0))]
        length = backslash - run + 1 + np.where(run == 0, self._is_escaping, 0)
        after = np.searchsorted(backslash, quotes - 1)
        follows = (after < len(backslash)) & (backslash[np.minimum(after, len(backslash) - 1)] == quotes - 1)
        escaped[follows] = length[after[follows]] % 2 == 1
        self._is_escaping = int(length[-1]) % 2 if backslash[-1] == len(data) - 1 else 0
        return escaped
