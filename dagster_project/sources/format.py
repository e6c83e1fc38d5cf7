"""What a format is: its name, the tables it lands in, how to recognise it, how to decode a file of it.

What a source says of its own files is in `ReadOptions`; which sources there are is `declaration.py`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from dagster_project.sources.decoding.reading import ByteStream, Unreadable
from dagster_project.warehouse.batches import Batch, Target
from dagster_project.warehouse.quarantine import Reason, Refusal


@dataclass(frozen=True)
class ReadOptions:
    """What a source says about its files beyond their format; the defaults read a file that nobody described.

    Parameters
    ----------
    time_zone
        IANA name of the zone of times that name none.
    year
        Of times that name none, such as those of RFC 3164.
    service_name
        Of records that name no service.
    fields
        From Hindcast's name of a field to the file's: a column, or a key with dots for nested ones.
    """

    time_zone: str = "UTC"
    year: int | None = None
    service_name: str | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def described(self) -> str | None:
        """What differs from the defaults, as JSON; None when nothing does."""
        nothing = ReadOptions()
        said = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name in ("time_zone", "year", "service_name", "fields")
            if (value := getattr(self, name)) != getattr(nothing, name)
        }
        return json.dumps(said, sort_keys=True, ensure_ascii=False) if said else None


def unknown_fields(options: ReadOptions, known: Collection[str]) -> Refusal | None:
    """The refusal of a file whose source maps fields that the format has not."""
    if unknown := sorted(options.fields.keys() - set(known)):
        detail = f"fields of the source: {', '.join(unknown)} is none of {', '.join(sorted(known))}"
        return Refusal(1, None, Reason.OTHER_FORMAT, detail, None)
    return None


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
    also
        Further tables that a file of this format lands in; a batch names its table in `Batch.target`.
    uses
        The names of the options that `batches` heeds; a source may say no others.
    recognises_file
        Whether a file is of this format, for one whose first bytes cannot tell.
    filled_from
        From a column, or a key that is stored, to the names in the file that it is filled from, its own left out: where
        else a value lands that a source calls personal. A source's `fields` take the place of these.
    local_at
        A SQL expression over `table`: when a record happened by its source's own clock, null where it names a zone. For
        formats that land times as they are written, whose `happened_at` cannot heed the source's `time_zone`.
    fields
        The names that a source may map under `fields`, when the format heeds that.
    options
        What the file's source says; see `reading`.
    """

    name: str
    table: str
    happened_at: str
    recognises: Callable[[bytes], bool]
    batches: Callable[[ByteStream, ReadOptions], Iterator[Batch]]
    name_patterns: tuple[str, ...] = ()
    also: tuple[Target, ...] = ()
    uses: frozenset[str] = frozenset()
    recognises_file: Callable[[Path], bool] | None = None
    filled_from: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    local_at: str | None = None
    fields: frozenset[str] = frozenset()
    options: ReadOptions = ReadOptions()

    @property
    def filled(self) -> Mapping[str, tuple[str, ...]]:
        """`filled_from`, as the file's source has it; a path also counts by what it ends in."""
        paths = {ours: theirs.split(".") for ours, theirs in self.options.fields.items()}
        mapped = {ours: tuple(".".join(path[n:]) for n in range(len(path))) for ours, path in paths.items()}
        return {**self.filled_from, **mapped}

    @property
    def targets(self) -> tuple[Target, ...]:
        return (Target(self.table, self.happened_at), *self.also)

    @property
    def reading(self) -> str | None:
        """How the file is read beyond its format, for the ledger."""
        return self.options.described()

    def with_options(self, options: ReadOptions) -> Format:
        """The same format, read as a source with these options says."""
        return replace(self, options=options)

    def open(self, path: Path) -> FileDecoding:
        return FileDecoding(self, ByteStream(path))


class FileDecoding:
    """One file being decoded; see `warehouse.batches.Decoding`."""

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
            yield from self._decoder.batches(self._stream, self._decoder.options)
        except Unreadable as error:
            yield Batch(refusals=[Refusal(1, None, error.reason, str(error), None)])
