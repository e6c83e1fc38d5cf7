"""ServiceNow's incident event log, CSV with one row an update, as rows of `raw.tickets`.

The row is kept as texts; what `?` means, which update counts and what zone its times are in is staging's business. The
recorded log's header names `category` twice: the second is `category_1`.
"""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.sources.decoding import csv_rows
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.incidents import csv_tickets
from dagster_project.warehouse.batches import Batch

_TIME_FORMATS = ["%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"]


def _time(text: str) -> str:
    return f"try_strptime(trim({text}), {_TIME_FORMATS})"


_COLUMNS = csv_tickets.Columns(
    system="servicenow",
    ticket_id="number",
    required_at="sys_updated_at",
    times=("opened_at", "resolved_at", "closed_at"),
    time=_time,
    shape="d/m/Y H:M",
)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return csv_tickets.batches(stream, _COLUMNS)


def _recognises(head: bytes) -> bool:
    return {"number", "sys_updated_at", "sys_mod_count"} <= set(csv_rows.header(head))


FORMAT = Format(
    name="servicenow",
    table="raw.tickets",
    happened_at=_time("payload ->> 'sys_updated_at'"),
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"time_zone"}),
    local_at=_time("payload ->> 'sys_updated_at'"),
    filled_from={"ticket_id": ("number",)},
)
