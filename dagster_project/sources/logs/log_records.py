"""What the log formats share: times, severities, and the way from SQL over texts to a batch of `raw.logs`.

How a line is taken apart is each format's own SQL. It runs in the decoder's thread, so that refused lines are told
apart once and landing only appends.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from string import Template
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import int64, numbers, taken
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.warehouse.batches import Batch, Lines
from dagster_project.warehouse.quarantine import Refusal, clipped

TABLE = "raw.logs"
# Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
HAPPENED_AT = "make_timestamp(epoch_ns(occurred_at) // 1000)"
# A query is planned once a block, which takes as long as two thousand lines: with larger blocks than the other formats'
# it is less of the whole, and memory grows with the block.
BLOCK_BYTES = 8 << 20

_thread = threading.local()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect(":memory:", config={"threads": 1})
    atexit.register(found.close)
    return found


def run(sql: str, tables: Mapping[str, pa.Table], parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """The rows of a query over Arrow tables, in their order; every parameter has to be used."""
    if not hasattr(_thread, "connection"):
        _thread.connection = _memory().cursor()
        _thread.connection.execute("set TimeZone = 'UTC'")
    connection: duckdb.DuckDBPyConnection = _thread.connection
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return connection.sql(sql, params=dict(parameters or {})).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


# --- times ------------------------------------------------------------------------------------------------------------
# DuckDB reads '…+02:00' as a timestamp without a word and drops the offset: only `timestamptz` heeds it, but has
# microseconds. The digits below a microsecond come from a cast of their own.

_EARLIEST, _LATEST = int(EARLIEST.timestamp()), int(LATEST.timestamp())
_NAMES_NO_ZONE = "'^[0-9/-]+[ T][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]*)?)?$'"
_NAMES_ZONE = "'[0-9] ?(?:Z|[+-][01][0-9](?::?[0-5][0-9])?|[A-Z][A-Z/_]+)$'"
_ISO = "upper(replace({time}, ',', '.'))"
_TIMED = Template(
    """
    select * exclude (time_number, time_any),
        case when time_any >= $earliest and time_any < $latest then time_any::bigint end as $name,
        case when time_any >= $earliest and time_any < $latest then null
             when coalesce($time, '') = '' then 'time_missing'
             when time_any is null then 'time_malformed' else 'time_out_of_range' end as ${name}_reason
    from (
        select *,
            case
                when time_number is not null then (time_number * case
                    when time_number between $seconds then 1000000000
                    when time_number between $milliseconds then 1000000
                    when time_number between $microseconds then 1000
                    else 1 end)::hugeint
                when ends_with($time, 'Z') and try_cast($time as timestamp_ns) is not null and contains($time, ':')
                    then epoch_ns(try_cast($time as timestamp_ns))
                when contains($time, ':')
                    then (case when regexp_matches($iso, $names_no_zone) then $naive
                               when regexp_matches($iso, $names_zone) then epoch_us(try_cast($iso as timestamptz)) end
                         )::hugeint * 1000 + coalesce(epoch_ns(try_cast($iso as timestamp_ns)) % 1000, 0)
            end as time_any
        from (
            select *,
                case when substr($time, 5, 1) <> '-' then try_cast($time as decimal(38, 9)) end as time_number
            from ($relation)
        )
    )
    """
)


def _between(unit: int) -> str:
    return f"{_EARLIEST * unit} and {_LATEST * unit}"


def timed(relation: str, time: str, name: str, time_zone: str) -> str:
    """A query: `relation` with nanoseconds since 1970 of the texts in the column `time`, as a column `name`.

    ISO 8601 with a zone, or without in `time_zone`; or a number of seconds, milliseconds, microseconds or nanoseconds:
    of the unit in which it lies between 2000 and 2100. The column `<name>_reason` says why there is none.
    """
    ZoneInfo(time_zone)  # the declaration has judged it; nothing else gets into SQL
    iso = _ISO.format(time=time)
    local = f"try_cast({iso} as timestamp)"
    return _TIMED.substitute(
        relation=relation,
        time=time,
        name=name,
        iso=iso,
        naive=f"epoch_us({local})" if time_zone == "UTC" else f"epoch_us(timezone('{time_zone}', {local}))",
        names_no_zone=_NAMES_NO_ZONE,
        names_zone=_NAMES_ZONE,
        seconds=_between(1),
        milliseconds=_between(1000),
        microseconds=_between(1_000_000),
        earliest=f"{_EARLIEST}000000000",
        latest=f"{_LATEST}000000000",
    )


# --- severities -------------------------------------------------------------------------------------------------------
# OpenTelemetry's logs data model, appendix B. A word that it has twice: `critical` is the application loggers' (21).

_WORDS: dict[str, int] = {
    "info": 9, "error": 17, "warn": 13, "debug": 5, "warning": 13, "trace": 1,
    "information": 9, "informational": 9, "notice": 10, "err": 17, "severe": 17, "fatal": 21, "critical": 21,
    "crit": 21, "emergency": 21, "emerg": 21, "alert": 19, "panic": 19, "dpanic": 18, "verbose": 5,
    "finest": 1, "finer": 5, "fine": 6, "config": 7,
    "i": 9, "e": 17, "w": 13, "d": 5, "f": 21, "t": 1, "v": 5,
}  # fmt: skip
_WORDS |= {
    f"{level}{step}": 4 * place + step
    for place, level in enumerate(("trace", "debug", "info", "warn", "error", "fatal"))
    for step in (1, 2, 3, 4)
}
# Numbers: of pino and bunyan the tens, of syslog (GELF, journald) 0 to 7.
_WORDS |= {"10": 1, "20": 5, "30": 9, "40": 13, "50": 17, "60": 21}
SYSLOG_SEVERITIES = (21, 19, 18, 17, 13, 10, 9, 5)  # emergency, alert, critical, error, warning, notice, info, debug
SYSLOG_WORDS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_WORDS |= {str(place): number for place, number in enumerate(SYSLOG_SEVERITIES)}


def severity_number(text: str | None) -> int:
    """The OpenTelemetry severity of a word or number, in any case; 0 for none, and for one that nobody defined."""
    return 0 if text is None else _WORDS.get(text.strip().lower(), 0)


def _numbered(rows: pa.Table) -> pa.Table:
    """The rows with `severity_number` found by `severity_text` where there is none; few words, whatever the rows."""
    texts = rows.column("severity_text").combine_chunks().dictionary_encode()
    by_text = int64(np.array([0, *map(severity_number, texts.dictionary.to_pylist())], np.int64))
    found = taken(by_text, numbers(texts.indices.cast(pa.int64()).fill_null(_NONE)) + 1)
    place = rows.schema.get_field_index("severity_number")
    return rows.set_column(place, "severity_number", pc.coalesce(rows.column(place).cast(pa.int64()), found))


_NONE = int64(np.array([-1], np.int64))[0]

# --- batches ----------------------------------------------------------------------------------------------------------

COLUMNS = (
    "line", "record", "occurred_ns", "observed_ns", "trace_hex", "span_hex", "service_name", "severity_number",
    "severity_text", "event_name", "body", "attributes", "resource_attributes",
)  # fmt: skip
_SELECT = """
    select line, record, make_timestamp_ns(occurred_ns) as occurred_at, make_timestamp_ns(observed_ns) as observed_at,
        trace_hex::uuid as trace_id, ('0x' || span_hex)::ubigint as span_id, service_name,
        severity_number::utinyint as severity_number, severity_text, event_name, body, null::varchar as scope_name,
        0::uinteger as dropped_attributes_count, attributes, resource_attributes,
        null::varchar as reason, null::varchar as detail
    from log_records
"""


def batch(rows: pa.Table, refusals: Sequence[Refusal] = (), lines: Lines | None = None) -> Batch:
    """A batch of decoded records.

    Parameters
    ----------
    rows
        `COLUMNS`, and `reason`, `detail`, `raw`: a row with a reason is refused, one without a `record` is
        a line that is refused as a whole.
    refusals
        What was refused before.
    lines
        The block that the records came from.
    """
    reasons = rows.column("reason")
    refused: list[Refusal] = []
    if reasons.null_count < len(rows):
        bad = rows.filter(pc.is_valid(reasons)).select(["line", "record", "reason", "detail", "raw"])
        refused = [
            Refusal(row["line"], row["record"], row["reason"], row["detail"], clipped(row["raw"]))
            for row in bad.to_pylist()
        ]
        rows = rows.filter(pc.is_null(reasons))
    landing = _numbered(rows.select(COLUMNS)).combine_chunks()
    tables = {"log_records": landing} if len(landing) else {}
    return Batch(len(landing), tables, _SELECT if tables else "", [*refusals, *refused], lines=lines)
