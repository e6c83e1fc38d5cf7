"""ServiceNow's incident event log, CSV with one row an update, as rows of `raw.tickets`.

The row is kept as strings; what `?` means and which update counts is staging's business. The header names `category`
twice: the second is `category_1`.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa

from dagster_project.sources import csv_rows
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.reading import ByteStream
from dagster_project.warehouse.landing import Batch

_UPDATED_AT = "try_strptime(payload ->> 'sys_updated_at', '%d/%m/%Y %H:%M')"
_SELECT = f"""
    with sent as (
        select line, 1 as record, "row".number as number, "row".sys_updated_at as updated, to_json("row") as payload
        from servicenow_rows
    )
    select
        line, record, 'servicenow' as system, number as ticket_id, payload,
        case when trim(number) in ('', '?') then 'id_missing'
             when {_UPDATED_AT} is null then 'time_malformed' end as reason,
        case when trim(number) in ('', '?') then 'number = "' || number || '"'
             else 'sys_updated_at = "' || updated || '", not d/m/Y H:M' end as detail
    from sent
"""  # noqa: S608  the expression above, no value


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    for rows in csv_rows.rows(stream):
        yield Batch(
            len(rows.line),
            {"servicenow_rows": pa.table({"line": rows.line, "row": rows.row})},
            _SELECT,
            refusals=rows.refusals,
            unknown_fields=rows.unknown,
            raw_of=_RawRows(rows),
        )


class _RawRows:
    def __init__(self, rows: csv_rows.Rows) -> None:
        self._rows = rows

    def __call__(self, line: int, _record: int) -> str | None:
        return orjson.dumps(self._rows.row[self._rows.line.index(line).as_py()].as_py()).decode()


def _recognises(head: bytes) -> bool:
    return {"number", "sys_updated_at", "sys_mod_count"} <= set(csv_rows.header(head))


FORMAT = Format(
    name="servicenow",
    table="raw.tickets",
    happened_at=_UPDATED_AT,
    recognises=_recognises,
    batches=_batches,
)
