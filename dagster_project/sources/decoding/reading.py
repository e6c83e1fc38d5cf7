"""Reading a file as a stream of decoded bytes, and cutting that stream at newlines. Knows no format.

Plain, gzip (several members too), zstd and zip files are told apart by their first bytes, never by their names.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 4 << 20  # measured: 2, 4 and 8 MiB decode equally fast; memory grows with the block
LINE_LIMIT_BYTES = 64 << 20
DOCUMENT_LIMIT_BYTES = 512 << 20  # a JSON document that is no stream of lines is held as a whole
UTF8_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# OSError: what bz2 raises for damaged data. A disk that cannot be read raises it too, and then an open would have.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, OSError, ValueError
)  # fmt: skip


class Unreadable(ValueError):
    """A file of which nothing can be read, and why: a damaged zip, a zip with several files."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Break:
    """Where a compressed stream ends too early or is damaged: the offset is in the compressed file."""

    reason: Reason
    offset: int
    detail: str


class ByteStream:
    """The decoded bytes of one file, chunk by chunk.

    Iterating never raises for a damaged gzip: it ends, and `broken` says where and why.

    Attributes
    ----------
    bytes_done
        Bytes of the file on disk that have been read.
    decoded_bytes
        Bytes that have been handed out.
    broken
        The break, once it was met.
    """

    def __init__(self, path: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.path = path
        self._chunk_bytes = chunk_bytes
        self.bytes_done = 0
        self.decoded_bytes = 0
        self.broken: Break | None = None

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks():
            self.decoded_bytes += len(chunk)
            yield chunk

    def _chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic.startswith(GZIP_MAGIC):
                yield from self._gunzipped(file)
            elif magic == ZIP_MAGIC:
                yield from self._unzipped(file)
            elif magic == ZSTD_MAGIC:
                yield from self._unzstded(file)
            else:
                while chunk := file.read(self._chunk_bytes):
                    self.bytes_done += len(chunk)
                    yield chunk

    def _gunzipped(self, file: BinaryIO) -> Iterator[bytes]:
        member = isal_zlib.decompressobj(wbits=31)
        waiting = b""
        while True:
            if not waiting:
                waiting = file.read(self._chunk_bytes)
                self.bytes_done += len(waiting)
                if not waiting:
                    break
            if member.eof:
                waiting = waiting.lstrip(b"\0")  # tape and block devices pad with zeros between and after members
                if not waiting:
                    continue
                member = isal_zlib.decompressobj(wbits=31)
            try:
                chunk = member.decompress(waiting, self._chunk_bytes)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls the class an instance
                self.broken = Break(Reason.CORRUPT_GZIP, self.bytes_done - len(waiting), str(error))
                return
            waiting = member.unused_data if member.eof else member.unconsumed_tail
            if chunk:
                yield chunk
        if rest := member.flush() if not member.eof else b"":
            yield rest
        if not member.eof:
            self.broken = Break(Reason.TRUNCATED_GZIP, self.bytes_done, "the file ends inside a compressed stream")

    def _unzstded(self, file: BinaryIO) -> Iterator[bytes]:
        source = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
        while True:
            try:
                chunk = source.read(self._chunk_bytes)
            except OSError as error:
                self.broken = Break(Reason.CORRUPT_ZSTD, file.tell(), str(error))
                return
            self.bytes_done = file.tell()
            if not chunk:
                return
            yield chunk

    def _unzipped(self, file: BinaryIO) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(file) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                if len(members) != 1:
                    detail = f"{self.path}: a zip of {len(members)} files; unpack it, or zip one file alone"
                    raise Unreadable(Reason.CORRUPT_ZIP, detail)
                with archive.open(members[0]) as member:
                    while chunk := member.read(self._chunk_bytes):
                        self.bytes_done = file.tell()
                        yield chunk
        except _ZIP_ERRORS as error:
            detail = f"{self.path}: {error}; ask its sender for it again, or unpack it"
            raise Unreadable(Reason.CORRUPT_ZIP, detail) from error


@dataclass(frozen=True)
class Block:
    """Whole lines: `data` starts at line `first_line`; only the last line of a file may lack its newline.

    `offset` is where `data` begins in the decoded file; None when it is not there as it stands.
    """

    first_line: int
    data: bytes
    offset: int | None = None

    @cached_property
    def line_count(self) -> int:
        return self.data.count(b"\n") + (not self.data.endswith(b"\n") and bool(self.data))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        return enumerate(self.data.removesuffix(b"\n").split(b"\n"), self.first_line)

    def halves(self) -> tuple[Block, Block]:
        """Two blocks that follow each other, cut at the newline nearest to the middle; needs two lines or more."""
        middle = len(self.data) // 2
        cut = self.data.find(b"\n", middle, len(self.data) - 1) + 1 or self.data.rfind(b"\n", 0, middle) + 1
        first = Block(self.first_line, self.data[:cut], self.offset)
        return first, Block(self.first_line + first.line_count, self.data[cut:], self._offset_at(cut))

    def line(self, line: int) -> bytes | None:
        """The bytes of a line without its newline; None when it is not in the block."""
        if not 0 <= line - self.first_line < self.line_count:
            return None
        start = self._start(line)
        end = self.data.find(b"\n", start)
        return self.data[start : end if end >= 0 else len(self.data)]

    def offset_of(self, line: int) -> int | None:
        """Where a line begins in the decoded file; None when it is not in the block, or not known."""
        is_here = self.offset is not None and 0 <= line - self.first_line < self.line_count
        return self._offset_at(self._start(line)) if is_here else None

    def _start(self, line: int) -> int:
        return int(self._starts[line - self.first_line])

    def _offset_at(self, position: int) -> int | None:
        return None if self.offset is None else self.offset + position

    @cached_property
    def _starts(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == b"\n"[0])
        return np.concatenate([np.zeros(1, np.intp), ends + 1])


def blocks(
    stream: ByteStream, size: int = BLOCK_BYTES, line_limit: int = LINE_LIMIT_BYTES
) -> Iterator[Block | Refusal]:
    """Blocks of about `size` bytes, cut at newlines; memory is bounded by the longest line, that by `line_limit`.

    A longer line is skipped and refused. What follows the last newline before a break of the stream is refused too:
    nobody knows how the line would have gone on.
    """
    cutter = BlockCutter(size, line_limit)
    for chunk in stream:
        yield from limited(cutter.take(chunk), line_limit)
    yield from limited(cutter.finish(drop_open_line=stream.broken is not None), line_limit)
    if stream.broken is not None:
        yield broken(stream.broken, cutter.next_line, cutter.open_line)


def limited(pieces: Iterator[Block | Refusal], line_limit: int) -> Iterator[Block | Refusal]:
    """The pieces of a `BlockCutter`, with lines over the limit refused."""
    for piece in pieces:
        if isinstance(piece, Refusal) or len(piece.data) <= line_limit:
            yield piece
            continue
        # Only now can it hold a line over the limit: one that ended in the very chunk that took it over.
        for number, line in piece.lines():
            if len(line) > line_limit:
                yield _too_long(number, len(line), line_limit, line)
            else:
                yield Block(number, line + b"\n", piece.offset_of(number))


def document(stream: ByteStream, limit: int = DOCUMENT_LIMIT_BYTES) -> bytes | Refusal:
    """The whole content, without a byte order mark; a refusal when it is longer than `limit` or breaks off."""
    parts = []
    for chunk in stream:
        parts.append(chunk)
        if stream.decoded_bytes > limit:
            return Refusal(
                1, None, Reason.LINE_TOO_LONG, f"the document is longer than {limit} bytes", clipped(parts[0])
            )
    if stream.broken is not None:
        return broken(stream.broken, 1, b"".join(parts[:1]))
    return b"".join(parts).removeprefix(UTF8_MARK)


def head(path: Path, size: int = 1 << 16) -> bytes:
    """The first decoded bytes, at most `size`; empty for an empty file and for a container that cannot be opened."""
    found = b""
    stream = iter(ByteStream(path))
    with suppress(Unreadable):
        for chunk in stream:
            found += chunk
            if len(found) >= size:
                break
    return found[:size].removeprefix(UTF8_MARK)


def _too_long(line: int, size: int, line_limit: int, start: bytes) -> Refusal:
    detail = f"the line has {size} bytes; at most {line_limit} are read"
    return Refusal(line, None, Reason.LINE_TOO_LONG, detail, clipped(start))


def broken(found: Break, line: int, open_line: bytes) -> Refusal:
    """The refusal of what a broken stream cut short."""
    detail = f"{found.detail} (byte {found.offset} of the compressed file); whole lines before it have landed"
    return Refusal(line, None, found.reason, detail, clipped(open_line))


class BlockCutter:
    """Collects chunks until a block is full. The open line is what follows the last newline."""

    def __init__(self, size: int, line_limit: int) -> None:
        self.size = size
        self.line_limit = line_limit
        self.next_line = 1  # of the first line in `parts`
        self.parts: list[bytes] = []
        self.full = 0  # bytes in `parts` up to the last newline
        self.total = 0
        self.skipped = 0  # bytes of a too long line that were dropped so far
        self.skipped_head = b""
        self.is_start = True
        self.offset = 0  # of the first byte in `parts`

    @property
    def open_line(self) -> bytes:
        return self.skipped_head or b"".join(self.parts)

    def take(self, chunk: bytes) -> Iterator[Block | Refusal]:
        if self.is_start:
            whole, self.is_start = chunk, False
            chunk = chunk.removeprefix(UTF8_MARK)
            self.offset = len(whole) - len(chunk)
        if self.skipped:
            end = chunk.find(b"\n") + 1
            self.offset += end or len(chunk)
            self.skipped += end or len(chunk)
            if not end:
                return
            yield self._too_long()
            chunk = chunk[end:]
        self.parts.append(chunk)
        if newline := chunk.rfind(b"\n") + 1:
            self.full = self.total + newline
        self.total += len(chunk)
        if self.full >= self.size or self.total - self.full > self.line_limit:
            yield from self._cut()
        if self.total > self.line_limit and not self.full:
            self.skipped_head, self.skipped = b"".join(self.parts)[:CHUNK_BYTES], self.total
            self.offset += self.total
            self.parts, self.total = [], 0

    def finish(self, *, drop_open_line: bool) -> Iterator[Block | Refusal]:
        yield from self._cut()
        if self.skipped and not drop_open_line:
            yield self._too_long()
        elif self.parts and self.total and not drop_open_line:
            yield Block(self.next_line, b"".join(self.parts), self.offset)

    def _cut(self) -> Iterator[Block]:
        if not self.full:
            return
        data = b"".join(self.parts)
        block = Block(self.next_line, data[: self.full], self.offset)
        self.offset += self.full
        rest = data[self.full :]
        self.next_line += block.line_count
        self.parts, self.full, self.total = [rest] if rest else [], 0, len(rest)
        yield block

    def _too_long(self) -> Refusal:
        refusal = _too_long(self.next_line, self.skipped, self.line_limit, self.skipped_head)
        self.next_line += 1
        self.skipped, self.skipped_head = 0, b""
        return refusal
