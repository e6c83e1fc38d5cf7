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
from enum import Enum, IntEnum

import pyarrow as pa

from dagster_project.sources.decoding.reading import CHUNK_BYTES, LINE_LIMIT_BYTES, Break, ByteStream
from dagster_project.sources.otlp.otlp_protobuf_structure import NoProtobuf, signal_of, varint
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

MESSAGE_LIMIT_BYTES = LINE_LIMIT_BYTES
HEAD_BYTES = 1 << 20  # a block of zstd may have 128 KiB, and gives nothing before it is there
MESSAGES_LOOKED_AT = 100  # of the head; the others only have to fit
SHOWN_BYTES = 1 << 16  # of a compressed message are looked at
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

    A framing fits when a message that it cuts out shows a signal. Of several, those win whose last message ends where
    the bytes do, then those whose messages may go on beyond them.
    """
    found = {framing: _looked_at(head, framing) for framing in Framing}
    fitting = {framing: (signal, fit) for framing, (signal, fit) in found.items() if signal}
    if Framing.LENGTH_PREFIXED in fitting and head.startswith(bytes(3)):
        # Delimited, a length below 128 in four bytes is three empty messages and a length: nobody writes these.
        fitting.pop(Framing.DELIMITED, None)
    best = max((fit for _, fit in fitting.values()), default=_Fit.BROKEN)
    fitting = {framing: known for framing, known in fitting.items() if known[1] is best}
    if len(fitting) != 1:
        return None
    framing, (signal, _) = fitting.popitem()
    return framing, signal or ""


class _Fit(IntEnum):
    """How far the lengths of a framing can be believed."""

    BROKEN = 0
    BEYOND = 1  # the last message goes on where the bytes end
    WHOLE = 2


def _looked_at(head: bytes, framing: Framing) -> tuple[str | None, _Fit]:
    """The signal that the messages of the head show in a framing, and how the lengths fit."""
    shown: set[str | None] = set()
    at, looked_at, view = 0, 0, memoryview(head)
    fit = _Fit.WHOLE
    while at < len(head):
        try:
            start, size = _cut(view, at, framing)
        except NoProtobuf:
            fit = _Fit.BROKEN
            break
        if looked_at < MESSAGES_LOOKED_AT and size:
            message = head[start : start + size]
            # A file that is bare JSON or zstd is not for this reader.
            shown |= {signal_of(message) if framing is Framing.ONE_MESSAGE else _signal(message)} - {None}
            looked_at += 1
        at = start + size
    if at > len(head):
        fit = _Fit.BEYOND
    return (shown.pop() if len(shown) == 1 else None), fit


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
            while len(data) < SHOWN_BYTES and (piece := source.read(1 << 10)):
                data += piece
    named = _ROOT.match(data)
    return _ROOTS[named[1]] if named else signal_of(data)


def messages(stream: ByteStream, pending: Pending, framing: Framing) -> Iterator[Message | Refusal]:
    """The messages of a file; what is damaged is refused, and reading goes on wherever a length can be believed.

    Parameters
    ----------
    pending
        The stream's bytes, of which none has been taken.
    """
    number = 0
    found: Message | Refusal | None = None
    while pending.more():
        number += 1
        size = _announced(pending, framing)
        if isinstance(size, str):
            found = Refusal(number, None, Reason.MESSAGE_TRUNCATED, size, clipped(pending.peek(SHOWN_BYTES)) or None)
            pending.skip(None)
        else:
            found = _one(pending, number, size)
        if isinstance(found, Refusal) and found.reason is Reason.MESSAGE_TRUNCATED and stream.broken is not None:
            found = _broken(stream.broken, number, found.raw)
        yield found
    if stream.broken is not None and not (isinstance(found, Refusal) and found.reason == stream.broken.reason):
        yield _broken(stream.broken, number + 1, None)


def _announced(pending: Pending, framing: Framing) -> int | str:
    """How long the next message says it is, -1 when it is all there is; a text when that cannot be read."""
    if framing is Framing.ONE_MESSAGE:
        return -1
    if framing is Framing.LENGTH_PREFIXED:
        prefix = pending.take(4)
        return int.from_bytes(prefix, "big") if len(prefix) == 4 else "the file ends inside a length"
    try:
        found = varint(memoryview(pending.peek(10)), 0)
    except NoProtobuf:
        return "the length is no varint; what follows cannot be cut into messages"
    if found is None:
        return "the file ends inside a length"
    pending.take(found[1])
    return found[0]


def _one(pending: Pending, number: int, size: int) -> Message | Refusal:
    offset = pending.offset
    if size > MESSAGE_LIMIT_BYTES:
        head, there = pending.peek(SHOWN_BYTES), pending.skip(size)
        detail = f"the message has {size} bytes ({there} are there); at most {MESSAGE_LIMIT_BYTES} are read"
        return Refusal(number, None, Reason.LINE_TOO_LONG, detail, clipped(head), offset)
    data = pending.take(MESSAGE_LIMIT_BYTES + 1 if size < 0 else size)
    if len(data) > MESSAGE_LIMIT_BYTES:
        pending.skip(None)
        detail = f"the file is one message of more than {MESSAGE_LIMIT_BYTES} bytes"
        return Refusal(number, None, Reason.LINE_TOO_LONG, detail, clipped(data), offset)
    if len(data) < size:
        detail = f"the file ends after {len(data)} bytes of a message of {size}"
        return Refusal(number, None, Reason.MESSAGE_TRUNCATED, detail, clipped(data), offset)
    message = Message(number, offset, data)
    return _decompressed(message) if data.startswith(ZSTD_MAGIC) else message


def _broken(found: Break, number: int, raw: str | None) -> Refusal:
    detail = f"{found.detail} (byte {found.offset} of the compressed file); whole messages before it have landed"
    return Refusal(number, None, found.reason, detail, raw)


def _decompressed(message: Message) -> Message | Refusal:
    try:
        source = pa.CompressedInputStream(pa.BufferReader(message.data), "zstd")
        data = source.read(MESSAGE_LIMIT_BYTES + 1)
    except (OSError, pa.ArrowException) as error:
        return Refusal(message.number, None, Reason.CORRUPT_ZSTD, str(error), clipped(message.data), message.offset)
    if len(data) > MESSAGE_LIMIT_BYTES:
        detail = f"decompressed, the message has more than {MESSAGE_LIMIT_BYTES} bytes"
        return Refusal(message.number, None, Reason.LINE_TOO_LONG, detail, clipped(data), message.offset)
    return Message(message.number, message.offset, data)


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
            passed += len(self.take(CHUNK_BYTES if size is None else min(CHUNK_BYTES, size - passed)))
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
