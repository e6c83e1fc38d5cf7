"""Syslog files: RFC 5424, RFC 3164, and what rsyslog writes to disk (RFC 3164 without a priority, or with ISO times).

RFC 3164 names no year: the source has to. Octet-counted frames are a form of transport, not of files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import Template

import pyarrow as pa

from dagster_project.sources.decoding.reading import Block, ByteStream, blocks
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.logs import log_records, trace_context
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Refusal

_SD_VALUE = r'"(?:[^"\\]|\\.)*"'
_SD_PARAM = rf'[^ =\]"]+={_SD_VALUE}'
_SD_ELEMENT = rf'\[[^ =\]"]+(?: +{_SD_PARAM})* *\]'
_RFC5424 = (
    r"^<([0-9]{1,3})>[1-9][0-9]{0,2} ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) "
    rf"(-|(?:{_SD_ELEMENT})+)(?: (.*))?$"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# The year that some daemons put behind the day, or behind the time, is read.
_RFC3164 = (
    rf"^(?:<([0-9]{{1,3}})>)?({'|'.join(_MONTHS)}) +([0-9]{{1,2}}) (?:([0-9]{{4}}) )?([0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}"
    r"(?:[.][0-9]+)?) ([^ ]+) (?:([^ :\[\]]+)(?:\[([^\]]*)\])?: ?)?(.*)$"
)
_RSYSLOG = (
    r"^(?:<([0-9]{1,3})>)?([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]+(?:Z|[+-][0-9]{2}:?[0-9]{2})) ([^ ]+) "
    r"(?:([^ :\[\]]+)(?:\[([^\]]*)\])?: ?)?(.*)$"
)


def _quoted(pattern: str) -> str:
    return "'" + pattern.replace("'", "''") + "'"


# --- lines to their parts ---------------------------------------------------------------------------------------------

_PARTS = Template(
    """
    select line, text,
        coalesce(new.pri, old.pri, iso.pri) as pri,
        case when form = 'rfc5424' then nullif(new.time, '-') when form = 'iso' then iso.time end as time,
        list_position($months, old.month) as month, old.day as day, nullif(old.year, '') as sent_year,
        old.time as clock,
        nullif(nullif(coalesce(new.host, old.host, iso.host), '-'), '') as host,
        nullif(nullif(coalesce(new.app, old.app, iso.app), '-'), '') as app,
        nullif(nullif(coalesce(new.procid, old.procid, iso.procid), '-'), '') as procid,
        nullif(new.msgid, '-') as msgid,
        nullif(new.structured, '-') as structured,
        ltrim(coalesce(new.message, old.message, iso.message), chr(65279)) as message,
        form
    from (
        select *,
            case form when 'rfc5424' then regexp_extract(text, $rfc5424,
                ['pri', 'time', 'host', 'app', 'procid', 'msgid', 'structured', 'message']) end as new,
            case form when 'rfc3164' then regexp_extract(text, $rfc3164,
                ['pri', 'month', 'day', 'year', 'time', 'host', 'app', 'procid', 'message']) end as old,
            case form when 'iso' then regexp_extract(text, $rsyslog,
                ['pri', 'time', 'host', 'app', 'procid', 'message']) end as iso
        from (
            select *, case
                when regexp_matches(text, $rfc5424) then 'rfc5424'
                when regexp_matches(text, $rfc3164) then 'rfc3164'
                when regexp_matches(text, $rsyslog) then 'iso'
            end as form
            from log_lines
            where not regexp_full_match(text, '\\s*')
        )
    )
    """
)
_PARTED = _PARTS.substitute(
    rfc5424=_quoted(_RFC5424),
    rfc3164=_quoted(_RFC3164),
    rsyslog=_quoted(_RSYSLOG),
    months="[" + ", ".join(_quoted(month) for month in _MONTHS) + "]",
)

# --- years ------------------------------------------------------------------------------------------------------------
# A file begins in the year that the source names. Where the month falls back by more than one, the next year begins: by
# one, it is two lines that were written out of order at the turn of a month. From January to December is such a pair,
# too, and belongs to the year before.

_DATED = """
    select * exclude (month_before, step),
        $year::integer + sum(step) over (order by line rows unbounded preceding) as counted_year,
        last_value(month ignore nulls) over (order by line rows unbounded preceding) as last_month
    from (
        select *, case
            when month is null or month_before is null then 0
            when month - month_before <= -2 then 1
            when month - month_before = 11 then -1
            else 0 end as step
        from (
            select *, coalesce(
                lag(month ignore nulls) over (order by line), $month::integer) as month_before
            from parts
        )
    )
"""
_NOT_DATED = "select *, null::integer as counted_year, month as last_month from parts"


@dataclass
class _Calendar:
    """The year and month of the last line that named a month; `year` None: the source has not said one."""

    year: int | None
    month: int | None = None

    def dated(self, parts: pa.Table) -> pa.Table:
        """The parts with `counted_year`; the next block goes on from there."""
        if self.year is None or not parts.num_rows:
            return log_records.run(_NOT_DATED, {"parts": parts})
        found = log_records.run(_DATED, {"parts": parts}, {"year": self.year, "month": self.month})
        self.year = int(found.column("counted_year")[-1].as_py())
        self.month = found.column("last_month")[-1].as_py() or self.month
        return found


# --- parts to records -------------------------------------------------------------------------------------------------

_SD_JSON = Template(
    """
    '{' || array_to_string(list_transform(regexp_extract_all(structured, $element), lambda element:
        to_json(regexp_extract(element, $id, 1))::varchar || ':{' ||
        array_to_string(list_transform(regexp_extract_all(element, $param), lambda param:
            to_json(param[2:strpos(param, '=') - 1])::varchar || ':' ||
            to_json(regexp_replace(param[strpos(param, '=') + 2:-2], $escape, '\\1', 'g'))::varchar
        ), ',') || '}'
    ), ',') || '}'
    """
).substitute(
    element=_quoted(_SD_ELEMENT),
    id=_quoted(r'^\[([^ =\]"]+)'),
    param=_quoted(" " + _SD_PARAM),
    escape=_quoted(r'\\(["\\\]])'),
)
_RECORDS = Template(
    """
    select *,
        case when form = 'rfc3164' then
            coalesce(sent_year, counted_year::varchar) || '-' || lpad(month::varchar, 2, '0') || '-'
                || lpad(day, 2, '0') || ' ' || clock
            else time end as time_text,
        case when structured is not null then $structured end as structured_json,
        coalesce(message, '') || coalesce(' ' || structured, '') as searched,
        try_cast(pri as integer) as priority
    from dated
    """
)
_ROWS = Template(
    """
    select line, case when form is not null then 1::bigint end as record,
        occurred_ns, null::bigint as observed_ns, trace_hex, span_hex,
        coalesce($$service_name::varchar, app) as service_name,
        case when priority is not null then [$numbers][priority % 8 + 1] end as severity_number,
        case when priority is not null then [$words][priority % 8 + 1] end as severity_text,
        null::varchar as event_name, nullif(message, '') as body,
        nullif('{' || concat_ws(',',
            '"syslog.facility":' || (priority // 8), '"syslog.procid":' || to_json(procid)::varchar,
            '"syslog.msgid":' || to_json(msgid)::varchar, '"syslog.structured_data":' || structured_json
        ) || '}', '{}') as attributes,
        nullif('{' || concat_ws(',',
            '"host.name":' || to_json(host)::varchar, '"service.name":' || to_json(app)::varchar) || '}', '{}')
            as resource_attributes,
        case when form is null then 'row_malformed' when priority > 191 then 'field_malformed'
            when form = 'rfc3164' and time_text is null then 'time_malformed' else occurred_ns_reason end as reason,
        case when reason is not null then case
            when form is null then 'the line is neither RFC 5424 nor RFC 3164'
            when reason = 'field_malformed' then 'the priority is ' || priority || '; the highest is 191'
            when reason = 'time_missing' then 'the time is -'
            when form = 'rfc3164' and time_text is null
                then 'the time names no year; declare `year:` for the source, that of the first line of a file'
            else 'the time is ' || time_text end end as detail,
        case when reason is not null then text end as raw
    from ($rows)
    """
)


def _sql(time_zone: str) -> str:
    records = _RECORDS.substitute(structured=_SD_JSON)
    timed = log_records.timed(records, "time_text", "occurred_ns", time_zone)
    return _ROWS.substitute(
        rows=trace_context.in_text(f"({timed})", "searched"),
        numbers=", ".join(map(str, log_records.SYSLOG_SEVERITIES)),
        words=", ".join(map(_quoted, log_records.SYSLOG_WORDS)),
    )


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    calendar = _Calendar(options.year)
    sql = _sql(options.time_zone)
    with ahead(_parted(stream)) as pieces:
        for piece in pieces:
            if isinstance(piece, Refusal):
                yield Batch(refusals=[piece])
            else:
                block, parts, refusals = piece
                dated = calendar.dated(parts)
                rows = log_records.run(sql, {"dated": dated}, {"service_name": options.service_name})
                yield log_records.batch(rows, refusals, block)


def _parted(stream: ByteStream) -> Iterator[tuple[Block, pa.Table, tuple[Refusal, ...]] | Refusal]:
    for piece in blocks(stream, log_records.BLOCK_BYTES):
        if isinstance(piece, Refusal):
            yield piece
        else:
            lines = text_lines(piece)
            yield piece, log_records.run(_PARTED, {"log_lines": lines.table}), lines.refusals


# --- recognition ------------------------------------------------------------------------------------------------------

_HEADS = (
    re.compile(rb"<[0-9]{1,3}>[1-9][0-9]{0,2} (-|[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+) \S+ \S+ \S+ \S+ [-\[]"),
    re.compile(rb"(<[0-9]{1,3}>)?(%s) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} \S+ \S+:" % "|".join(_MONTHS).encode()),
    re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+-][0-9]{2}:[0-9]{2} \S+ [^\s:\[]+(\[[0-9]+\])?: "),
)


def _recognises(head: bytes) -> bool:
    first = head.lstrip().split(b"\n", 1)[0][:4096]
    return any(pattern.match(first) for pattern in _HEADS)


FORMAT = Format(
    name="syslog",
    table=log_records.TABLE,
    happened_at=log_records.HAPPENED_AT,
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"time_zone", "year", "service_name"}),
    filled_from={"service_name": ("service.name",)},
)
