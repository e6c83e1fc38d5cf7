"""Cutting a stream of bytes into OTLP messages: three framings, told apart by the bytes, and zstd message by message.

The Collector's file exporter writes each message after its length, four bytes, the highest first; with `compression:
zstd` each message is compressed on its own. Many programs write protobuf's own delimited form, the length as a varint.
A file may also be one bare request. What is in a message is `otlp_protobuf_messages.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from dagster_project.sources.otlp_protobuf_structure import NoProtobuf, signal_of, varint
from dagster_project.sources.reading import LINE_LIMIT_BYTES, ByteStream
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

MESSAGE_LIMIT_BYTES = LINE_LIMIT_BYTES
HEAD_BYTES = 1 << 16
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ROOTS = {b"resourceSpans": "traces", b"resourceLogs": "logs", b"resourceMetrics": "metrics"}
_ROOT = re.compile(rb'^\s*\{\s*"(resourceSpans|resourceLogs|resourceMetrics)"')


class Framing(Enum):
    """How the messages of a file follow each other."""

    LENGTH_PREFIXED = "length prefixed"
    DELIMITED = "delimited"
    ONE_MESSAGE = "one message"


@dataclass(frozen=True)
class Message:
    """One message: its number in the file from 1, where it begins, its bytes, no longer compressed."""

    number: int
    offset: int
    data: bytes

    @property
    def is_json(self) -> bool:
        """Whether it is OTLP/JSON; no OTLP message in protobuf begins with a brace, which would open a group."""
        return self.data.startswith(b"{")


def framing_of(head: bytes) -> tuple[Framing, str] | None:
    """The framing and the signal of a file with these first bytes; None when no framing, or more than one, fits.

    A framing fits when a message that it cuts out shows a signal; of two, the one that fits the head to its end wins.
    """
    found = {framing: _looked_at(head, framing) for framing in Framing}
    fitting = {framing: (signal, whole) for framing, (signal, whole) in found.items() if signal}
    if len(fitting) > 1:
        fitting = {framing: known for framing, known in fitting.items() if known[1]}
    if len(fitting) != 1:
        return None
    framing, (signal, _) = fitting.popitem()
    return framing, signal or ""


def _looked_at(head: bytes, framing: Framing) -> tuple[str | None, bool]:
    """The signal that the messages of the head show in a framing, and whether the lengths fit to the head's end."""
    shown: set[str] = set()
    at, view = 0, memoryview(head)
    while at < len(head):
        try:
            start, size = _cut(view, at, framing)
        except NoProtobuf:
            return (shown.pop() if len(shown) == 1 else None), False
        shown |= {signal for signal in [_signal(head[start : start + size])] if signal}
        at = start + size
    return (shown.pop() if len(shown) == 1 else None), True


def _cut(data: memoryview, at: int, framing: Framing) -> tuple[int, int]:
    """Where the message begins whose frame begins at `at`, and how long it is."""
    if framing is Framing.ONE_MESSAGE:
        return at, len(data) - at
    if framing is Framing.LENGTH_PREFIXED:
        start, size = at + 4, int.from_bytes(data[at : at + 4], "big") if len(data) - at >= 4 else 0
    else:
        size, start = varint(data, at) or (0, len(data))
    if size > MESSAGE_LIMIT_BYTES:
        raise NoProtobuf(f"a message of {size} bytes")
    return start, size


def _signal(message: bytes) -> str | None:
    data = message
    if message.startswith(ZSTD_MAGIC):
        data = b""
        with suppress(OSError, pa.ArrowException):  # cut off, it gives what it has
            source = pa.CompressedInputStream(pa.BufferReader(message), "zstd")
            while len(data) < HEAD_BYTES and (piece := source.read(1 << 10)):
                data += piece
    named = _ROOT.match(data)
    return _ROOTS[named[1]] if named else signal_of(data)


def messages(stream: ByteStream, framing: Framing, start: Pending) -> Iterator[Message | Refusal]:
    """The messages of a file; what is damaged is refused, and reading goes on wherever a length can be believed.

    Parameters
    ----------
    start
        The stream's bytes, of which none has been taken.
    """
    number = 0
    while start.more():
        number += 1
        offset = start.offset
        size = _announced(start, framing)
        if isinstance(size, str):
            yield _refusal(number, Reason.MESSAGE_TRUNCATED, size, b"", stream)
            return
        yield _one(start, stream, number, offset, size)
    if stream.broken is not None and framing is not Framing.ONE_MESSAGE:
        yield _refusal(number + 1, Reason.MESSAGE_TRUNCATED, "the compressed file ends here", b"", stream)


def _announced(start: Pending, framing: Framing) -> int | str:
    """How long the next message says it is; a text when that cannot be read."""
    if framing is Framing.ONE_MESSAGE:
        return -1
    if framing is Framing.LENGTH_PREFIXED:
        prefix = start.take(4)
        return int.from_bytes(prefix, "big") if len(prefix) == 4 else "the file ends inside a length"
    try:
        found = varint(memoryview(start.peek(10)), 0)
    except NoProtobuf:
        return "the length is no varint; what follows cannot be cut into messages"
    if found is None:
        return "the file ends inside a length"
    start.take(found[1])
    return found[0]


def _one(start: Pending, stream: ByteStream, number: int, offset: int, size: int) -> Message | Refusal:
    if size > MESSAGE_LIMIT_BYTES:
        head, there = start.peek(HEAD_BYTES), start.skip(size)
        detail = f"the message has {size} bytes ({there} are there); at most {MESSAGE_LIMIT_BYTES} are read"
        return Refusal(number, None, Reason.LINE_TOO_LONG, detail, clipped(head))
    data = start.take(MESSAGE_LIMIT_BYTES + 1 if size < 0 else size)
    if len(data) > MESSAGE_LIMIT_BYTES:
        start.skip(None)
        detail = f"the file is one message of more than {MESSAGE_LIMIT_BYTES} bytes"
        return Refusal(number, None, Reason.LINE_TOO_LONG, detail, clipped(data))
    if len(data) < size or (size < 0 and stream.broken is not None):
        return _refusal(
            number, Reason.MESSAGE_TRUNCATED, f"{len(data)} bytes of {max(size, 0) or 'more'}", data, stream
        )
    return (
        _decompressed(Message(number, offset, data)) if data.startswith(ZSTD_MAGIC) else Message(number, offset, data)
    )


def _decompressed(message: Message) -> Message | Refusal:
    try:
        source = pa.CompressedInputStream(pa.BufferReader(message.data), "zstd")
        data = source.read(MESSAGE_LIMIT_BYTES + 1)
    except (OSError, pa.ArrowException) as error:
        return Refusal(message.number, None, Reason.CORRUPT_ZSTD, str(error), clipped(message.data))
    if len(data) > MESSAGE_LIMIT_BYTES:
        detail = f"decompressed, the message has more than {MESSAGE_LIMIT_BYTES} bytes"
        return Refusal(message.number, None, Reason.LINE_TOO_LONG, detail, clipped(data))
    return Message(message.number, message.offset, data)


def _refusal(number: int, reason: Reason, detail: str, data: bytes, stream: ByteStream) -> Refusal:
    """One refusal for the end of a file; a broken compression says why it ends."""
    if stream.broken is not None:
        broken = stream.broken
        return Refusal(
            number,
            None,
            broken.reason,
            f"{broken.detail} (byte {broken.offset} of the compressed file); whole messages before it have landed",
            clipped(data) or None,
        )
    return Refusal(number, None, reason, detail, clipped(data) or None)


class Pending:
    """The bytes of a stream that nobody has taken yet; holds no more than was asked for, and a chunk."""

    def __init__(self, stream: ByteStream) -> None:
        self._chunks = iter(stream)
        self._data = b""
        self._at = 0
        self.offset = 0  # of the next byte, in the decoded file

    def more(self) -> bool:
        return bool(self.peek(1))

    def peek(self, size: int) -> bytes:
        self._fill(size)
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end of the stream."""
        found = self.peek(size)
        self._at += len(found)
        self.offset += len(found)
        return found

    def skip(self, size: int | None) -> int:
        """Pass over so many bytes, or all; how many there were."""
        passed = 0
        while (size is None or passed < size) and self.more():
            passed += len(self.take(HEAD_BYTES if size is None else min(HEAD_BYTES, size - passed)))
        return passed

    def _fill(self, size: int) -> None:
        there = len(self._data) - self._at
        if there >= size:
            return
        parts = [self._data[self._at :]]
        while there < size and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            there += len(chunk)
        self._data, self._at = b"".join(parts), 0
