"""Batches into tables: one insert a batch, and what SQL refused of it.

Which file the batches come from, and what else belongs to its transaction, is `landing.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from string import Template
from typing import Self

import duckdb
import pyarrow as pa

from dagster_project.warehouse import personal_data
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Refusal

_INSERT = Template(
    "insert into $table by name select ?::bigint as load_id, * exclude (reason, detail) "
    "from ($select) where reason is null"
)
_REFUSED = Template("select line, record, reason, detail from ($select) where reason is not null order by line, record")


def insert(
    connection: duckdb.DuckDBPyConnection,
    slots: Slots,
    table: str,
    load_id: int,
    batch: Batch,
    hiding: personal_data.PersonalData | None,
) -> tuple[int, Sequence[Refusal]]:
    """How many records landed, and those that SQL refused."""
    if not batch.records:
        return 0, []
    refused: list[Refusal] = []
    with slots.filled(batch.tables):
        # Table and query are the format's own text, never a value from a file.
        select = batch.select if hiding is None else hiding.select(table, batch.select)
        insert = _INSERT.substitute(table=table, select=select)
        landed = int(connection.execute(insert, [load_id]).fetchall()[0][0])
        if landed < batch.records:
            rows = connection.execute(_REFUSED.substitute(select=batch.select)).fetchall()
            refused = [
                Refusal(line, record, reason, detail, batch.raw_of(line, record))
                for line, record, reason, detail in rows
            ]
    if landed + len(refused) != batch.records:
        raise ValueError(f"{table}: {batch.records} records were decoded, {landed} landed, {len(refused)} refused")
    return landed, refused


class _Slot:
    """An Arrow table that a query reads under a name, and that can be exchanged for the next one."""

    def __init__(self) -> None:
        self.table: pa.Table | None = None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self.table is None:
            raise ValueError("the slot is empty")
        return self.table.__arrow_c_stream__(requested_schema)


class Slots:
    """The names under which a file's batches are read, each registered once.

    A name that is registered anew for every batch keeps every batch in memory until the transaction ends: it must be
    able to come back on a rollback.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._slots: dict[str, tuple[_Slot, pa.Schema]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, raised: object, *_: object) -> None:
        # An aborted transaction lets nothing be unregistered and rolls it back anyway: its error is the one to tell.
        with suppress(duckdb.Error) if raised is not None else nullcontext():
            for name in self._slots:
                self._connection.unregister(name)

    @contextmanager
    def filled(self, tables: Mapping[str, pa.Table]) -> Iterator[None]:
        for name, table in tables.items():
            slot, schema = self._slots.get(name, (_Slot(), None))
            slot.table = table
            if schema != table.schema:
                self._connection.register(name, slot)
                self._slots[name] = (slot, table.schema)
        try:
            yield
        finally:
            for name in tables:
                self._slots[name][0].table = None
