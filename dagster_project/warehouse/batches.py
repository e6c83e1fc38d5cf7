"""What a format hands to landing: decoded batches, and what it says of the tables they are for.

How batches become rows is `inserting.py`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from dagster_project.warehouse.quarantine import Refusal


def _no_raw(_line: int, _record: int) -> str | None:
    return None


class Lines(Protocol):
    """The lines that a batch was decoded from: what quarantine keeps of those that are refused whole."""

    def offset_of(self, line: int) -> int | None:
        """Where a line begins in the decoded file, counted from 0."""
        ...

    def line(self, line: int) -> bytes | None:
        """The bytes of a line, without its newline."""
        ...


@dataclass(frozen=True)
class Target:
    """A table that records land in.

    Parameters
    ----------
    table
        With its schema.
    happened_at
        A SQL expression over it: when a record happened, in UTC, for the ledger's event days.
    """

    table: str
    happened_at: str


@dataclass(frozen=True)
class Batch:
    """Decoded records that are ready for SQL.

    Parameters
    ----------
    records
        How many records `select` yields.
    tables
        Arrow tables by the names under which `select` reads them.
    select
        A query that yields the columns of the target table without `load_id`, and `reason`, `detail`: a record whose
        `reason` is not null is refused.
    refusals
        What was refused before SQL could see it.
    unknown_fields
        Names that were read over.
    raw_of
        The text of a record that `select` refused, by line and record.
    target
        The table that `select` is for, when it is not the format's first.
    lines
        Where the batch came from, when that was lines.
    """

    records: int = 0
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    select: str = ""
    refusals: Sequence[Refusal] = ()
    unknown_fields: frozenset[str] = frozenset()
    raw_of: Callable[[int, int], str | None] = _no_raw
    target: str = ""
    lines: Lines | None = None


class Decoding(Protocol):
    """One file being decoded. Iterating gives batches in file order; the counters are current meanwhile."""

    @property
    def bytes_done(self) -> int: ...
    @property
    def decoded_bytes(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


class Decoder(Protocol):
    """A file format: its name in the ledger, and the tables that its files land in."""

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def targets(self) -> Sequence[Target]:
        """`table` first, then the others that its files land in."""
        ...

    @property
    def reading(self) -> str | None:
        """What the file's source says of how to read it, as JSON; part of what makes a load the same again."""
        ...

    @property
    def filled(self) -> Mapping[str, Sequence[str]]:
        """From columns and stored keys to the names in the file that they are filled from, where these are others."""
        ...

    def open(self, path: Path) -> Decoding: ...
