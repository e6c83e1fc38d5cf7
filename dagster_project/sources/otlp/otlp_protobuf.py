"""OTLP in protobuf: traces, logs and metrics, as files of messages; from a stream to batches.

How messages follow each other is `otlp_protobuf_frames.py`'s business, how they become Arrow
`otlp_protobuf_messages.py`'s. From there on everything is as for OTLP/JSON: the same text of values, the same checks,
the same rows. `line` is the number of the message in its file, `record` the position in the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

from google.protobuf.message import Message as Decoded
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from dagster_project.sources.decoding.reading import Block, ByteStream, head
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp import otlp_lines, otlp_logs, otlp_metrics, otlp_traces
from dagster_project.sources.otlp.otlp_lines import Signal
from dagster_project.sources.otlp.otlp_protobuf_frames import (
    HEAD_BYTES,
    ZSTD_MAGIC,
    Message,
    Pending,
    framing_of,
    messages,
)
from dagster_project.sources.otlp.otlp_protobuf_messages import MessageReader, Read
from dagster_project.sources.otlp.otlp_reading import LineReader, Piece
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch, Lines
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

BATCH_BYTES = 4 << 20  # of messages that are decoded together; one message may be longer

# Which of `otlp_values.SPELLINGS` have 64-bit integers, as protobuf has: first with such times too, then with texts.
WIDE_INTEGERS = (2, 1)

_AsJson = Callable[[int], bytes]
_Decode = Callable[[Sequence[Piece], Sequence[Block], Lines, _AsJson], Iterator[Batch]]


@dataclass(frozen=True)
class _Kind:
    """One of the three signals: its message class, its columns, and what becomes of them."""

    name: str
    request: type[Decoded]
    signal: Signal
    decode: _Decode
    like: Format


class _Messages:
    """Messages that are decoded together, as a `warehouse.batches.Lines`."""

    def __init__(self, found: Sequence[Message]) -> None:
        self._found = found

    def offset_of(self, line: int) -> int | None:
        message = self._by_number.get(line)
        return None if message is None else message.offset

    def line(self, line: int) -> bytes | None:
        message = self._by_number.get(line)
        return None if message is None else message.data

    @cached_property
    def _by_number(self) -> dict[int, Message]:
        return {message.number: message for message in self._found}


def _batches(stream: ByteStream, kind: _Kind) -> Iterator[Batch]:
    pending = Pending(stream)
    start = pending.peek(HEAD_BYTES)
    if not start:
        if stream.broken is not None:
            yield Batch(refusals=[Refusal(1, None, stream.broken.reason, stream.broken.detail, None)])
        return
    shown = framing_of(start)
    if shown is None or shown[1] != kind.name:
        what = f"these are {shown[1]}" if shown else "cut up in no way do these bytes show spans, log records or points"
        detail = f"no OTLP {kind.name} in protobuf: {what}"
        yield Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(start))])
        return
    # Reading messages holds the interpreter's lock for most of its time. What comes after it stays in the same thread:
    # in another one, every call into Arrow would end with waiting for the lock.
    with ahead(_together(messages(stream, pending, shown[0]))) as groups:
        for reading in _readings(groups, kind):
            yield from [Batch(refusals=[reading])] if isinstance(reading, Refusal) else _decoded(reading, kind)


@dataclass(frozen=True)
class _Reading:
    """What Arrow could read of some messages, and the others."""

    read: Read
    lines: Lines
    as_json: _AsJson


def _readings(groups: Iterator[list[Message] | Refusal], kind: _Kind) -> Iterator[_Reading | Refusal]:
    protobuf = MessageReader(kind.request, [kind.signal.schemas[place] for place in WIDE_INTEGERS])
    json = LineReader(kind.signal.schemas)
    for group in groups:
        if isinstance(group, Refusal):
            yield group
        elif group[0].is_json:
            yield from _json_readings(group, json)
        else:
            lines = _Messages(group)
            yield _Reading(protobuf.read(group), lines, partial(_as_json, protobuf, lines))


def _as_json(reader: MessageReader, lines: Lines, line: int) -> bytes:
    return reader.as_json(lines.line(line) or b"")


def _json_readings(group: list[Message], reader: LineReader) -> Iterator[_Reading]:
    in_lines = [replace(message, data=message.data.replace(b"\n", b" ")) for message in group]
    lines = _Messages(in_lines)
    for run in _without_gaps(in_lines):
        block = Block(run[0].number, b"".join(message.data + b"\n" for message in run))
        yield _Reading(Read(*reader.read(block)), lines, lambda line: lines.line(line) or b"")


def _without_gaps(group: list[Message]) -> Iterator[list[Message]]:
    """Runs of messages that follow each other: where one was refused, its number is missing."""
    run: list[Message] = []
    for message in group:
        if run and message.number != run[-1].number + 1:
            yield run
            run = []
        run.append(message)
    yield run


def _decoded(reading: _Reading, kind: _Kind) -> Iterator[Batch]:
    read = reading.read
    if read.refusals or read.names:
        yield Batch(refusals=read.refusals, unknown_fields=frozenset(read.names), lines=reading.lines)
    yield from kind.decode(read.pieces, read.others, reading.lines, reading.as_json)


def _together(found: Iterator[Message | Refusal]) -> Iterator[list[Message] | Refusal]:
    """Messages in groups of about `BATCH_BYTES`, all in one encoding."""
    group: list[Message] = []
    size = 0
    for message in found:
        if isinstance(message, Refusal):
            yield message
            continue
        if group and (size >= BATCH_BYTES or message.is_json != group[0].is_json):
            yield group
            group, size = [], 0
        group.append(message)
        size += len(message.data)
    if group:
        yield group


def _rows(signal: Signal) -> _Decode:
    """From pieces to a batch, for signals whose records are rows."""

    def decode(good: Sequence[Piece], others: Sequence[Block], lines: Lines, as_json: _AsJson) -> Iterator[Batch]:
        if good or others:
            yield otlp_lines.batch_of(good, others, signal, lines, as_json)

    return decode


@lru_cache(maxsize=4)
def _shown(start: bytes) -> str | None:
    """The signal of a file; kept, as every format is asked about the same bytes."""
    found = framing_of(start)
    return found[1] if found else None


def _is_shown_later(path: Path, signal: str) -> bool:
    """Whether a file whose messages are zstd shows the signal further on; a block may be longer than the usual head."""
    start = head(path)
    return start[4:8] == ZSTD_MAGIC and _shown(start) is None and _shown(head(path, HEAD_BYTES)) == signal


def _format(kind: _Kind) -> Format:
    def batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
        return _batches(stream, kind)

    return replace(
        kind.like,
        name=f"otlp_protobuf_{kind.name}",
        recognises=lambda head: _shown(head) == kind.name,
        recognises_file=lambda path: _is_shown_later(path, kind.name),
        batches=batches,
        name_patterns=(f"*{kind.name}*.otlp.pb*", f"*{kind.name}*.otlp.proto*", f"{kind.name}*.pb"),
    )


FORMATS = tuple(
    _format(kind)
    for kind in (
        _Kind("traces", TracesData, otlp_traces.SIGNAL, _rows(otlp_traces.SIGNAL), otlp_traces.FORMAT),
        _Kind("logs", LogsData, otlp_logs.SIGNAL, _rows(otlp_logs.SIGNAL), otlp_logs.FORMAT),
        _Kind("metrics", MetricsData, otlp_metrics.METRICS, otlp_metrics.decoded, otlp_metrics.FORMAT),
    )
)
