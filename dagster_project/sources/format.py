"""What a format is: its name, the table it lands in, how to recognise it, how to decode a file of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dagster_project.sources.reading import ByteStream, Unreadable
from dagster_project.warehouse.landing import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal


@dataclass(frozen=True)
class Format:
    """One file format. A module a format makes one of these and `registry.py` lists it.

    Parameters
    ----------
    name
        As in `data/sources.yml` and in the ledger.
    table
        Where its records land.
    happened_at
        A SQL expression over `table`: when a record happened, for the ledger's event days.
    recognises
        Whether the first decoded bytes of a file look like this format.
    batches
        Decodes a stream into batches, in file order.
    name_patterns
        File names that say the format of an empty file.
    """

    name: str
    table: str
    happened_at: str
    recognises: Callable[[bytes], bool]
    batches: Callable[[ByteStream], Iterator[Batch]]
    name_patterns: tuple[str, ...] = ()

    def open(self, path: Path) -> FileDecoding:
        return FileDecoding(self, ByteStream(path))


class FileDecoding:
    """One file being decoded; see `warehouse.landing.Decoding`."""

    def __init__(self, decoder: Format, stream: ByteStream) -> None:
        self._decoder = decoder
        self._stream = stream

    @property
    def bytes_done(self) -> int:
        return self._stream.bytes_done

    @property
    def decoded_bytes(self) -> int:
        return self._stream.decoded_bytes

    def __iter__(self) -> Iterator[Batch]:
        try:
            yield from self._decoder.batches(self._stream)
        except Unreadable as error:
            yield Batch(refusals=[Refusal(1, None, Reason.CORRUPT_ZIP, str(error), None)])
