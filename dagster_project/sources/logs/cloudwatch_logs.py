"""CloudWatch Logs: exports to S3 (text), what `get-log-events` and `filter-log-events` answer, and subscriptions.

A subscription's file holds a document after the other, each with the events of one stream; Firehose puts no newline
between them. The message is the body as it is, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from string import Template

from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.joined_lines import Joiner, too_long
from dagster_project.sources.decoding.reading import ByteStream, blocks, head
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.logs import log_records, trace_context
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Refusal

_TIME = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]+)?Z(?: |$)'"

# A line without a time goes on with the message of the line before.
_PARTS = f"""
    select line, '' as track, begins, true as goes_on, case when begins then split_part(text, ' ', 1) end as time,
        case when begins then text[strpos(text || ' ', ' ') + 1:] else text end as message, null::varchar as extra,
        null::varchar as reason, text as raw
    from (select *, regexp_matches(text, {_TIME}) as begins from log_lines)
"""  # noqa: S608 (only a pattern is in it)

_TEXT_EVENTS = Template(
    """
    select line, 1::bigint as record, time, null::varchar as observed, message, null::varchar as log_group,
        null::varchar as log_stream, null::varchar as rest, raw,
        coalesce($too_long, case when time is null then 'time_missing' end) as sent_reason
    from records
    """
)
_DOCUMENTS = """
    select line, case when is_json then json_extract_string(text, '/logGroup') end as log_group,
        case when is_json then json_extract_string(text, '/logStream') end as log_stream, text as raw,
        case when not is_json then 'not_json'
             when coalesce(json_type(text, '/logEvents'), '') <> 'ARRAY' then 'other_format' end as sent_reason,
        case when is_json and sent_reason is null then json_extract(text, '$.logEvents[*]') else [null] end as events
    from (select *, json_valid(text) as is_json from log_lines where not regexp_full_match(text, '\\s*'))
"""
_EVENTS = """
    select line, generate_subscripts(events, 1) as record, unnest(events)::varchar as event, log_group, log_stream, raw,
        sent_reason
    from documents
"""
_ELEMENTS = """
    select line, 1::bigint as record, text as event, null::varchar as log_group, null::varchar as log_stream,
        text as raw, null::varchar as sent_reason
    from log_lines
"""
_TAKEN = '{"timestamp":null,"message":null,"ingestionTime":null,"logStreamName":null,"logGroupName":null}'
_JSON_EVENTS = Template(
    """
    select line, case when sent_reason is null then record end as record,
        found[1] as time, found[2] as observed, found[3] as message,
        coalesce(log_group, found[5]) as log_group, coalesce(log_stream, found[4]) as log_stream,
        case when is_object then json_merge_patch(event, $$taken)::varchar end as rest,
        case when sent_reason is null then event else raw end as raw,
        coalesce(sent_reason, line_reason) as sent_reason
    from (
        select *,
            case when not is_json then 'not_json' when not is_object then 'structure' end as line_reason,
            case when is_object then json_extract_string(
                event, ['/timestamp', '/ingestionTime', '/message', '/logStreamName', '/logGroupName']) end as found
        from (
            select *, coalesce(json_valid(event), false) as is_json,
                is_json and starts_with(ltrim(event), '{') as is_object
            from ($events)
        )
    )
    """
)
_ROWS = Template(
    """
    select line, record, occurred_ns, observed_ns, trace_hex, span_hex,
        coalesce($$service_name::varchar, nullif(
            regexp_extract(log_group, '^/(?:aws/lambda|aws/apprunner|aws/batch|ecs)/([^/]+)', 1), '')) as service_name,
        null::bigint as severity_number, null::varchar as severity_text, null::varchar as event_name, message as body,
        nullif(rest, '{}') as attributes,
        nullif('{' || concat_ws(',',
            '"aws.log.group.names":[' || to_json(log_group)::varchar || ']',
            '"aws.log.stream.names":[' || to_json(log_stream)::varchar || ']') || '}', '{}') as resource_attributes,
        coalesce(sent_reason, occurred_ns_reason) as reason,
        case when reason is not null then case reason
            when 'not_json' then 'no JSON'
            when 'other_format' then 'a document without the array `logEvents`'
            when 'structure' then 'an event that is no object'
            when 'line_too_long' then 'the lines of the message have ' || strlen(message) || ' bytes together'
            when 'time_missing' then 'no time; lines before the first one with a time belong to no message'
            else 'the time is ' || time end end as detail,
        case when reason is not null then raw end as raw
    from ($rows)
    """
)


def _sql(events: str) -> str:
    rows = log_records.timed(events, "time", "occurred_ns", "UTC")
    rows = log_records.timed(rows, "observed", "observed_ns", "UTC")
    return _ROWS.substitute(rows=trace_context.in_text(f"({rows})", "message"))


_TEXT_SQL = _sql(_TEXT_EVENTS.substitute(too_long=too_long("message")))
_LINE_SQL = _sql(_JSON_EVENTS.substitute(events=_EVENTS))
_ELEMENT_SQL = _sql(_JSON_EVENTS.substitute(events=_ELEMENTS))


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    start = head(stream.path).lstrip()
    service = {"service_name": options.service_name}
    if not start.startswith(b"{"):
        yield from _texts(stream, service)
    elif b'"logEvents"' in start and not re.match(rb"\{\s*\n", start):
        yield from _documents(stream, service)
    else:
        yield from _elements(stream, service)


_Service = dict[str, str | None]


def _texts(stream: ByteStream, service: _Service) -> Iterator[Batch]:
    joiner = Joiner(glue="\n")
    for piece in blocks(stream, log_records.BLOCK_BYTES):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
            continue
        lines = text_lines(piece)
        records = joiner.joined(log_records.run(_PARTS, {"log_lines": lines.table}))
        yield log_records.batch(log_records.run(_TEXT_SQL, {"records": records}, service), lines.refusals, piece)
    if rest := joiner.rest():
        yield log_records.batch(log_records.run(_TEXT_SQL, {"records": rest}, service))


def _documents(stream: ByteStream, service: _Service) -> Iterator[Batch]:
    """Documents in lines. Those that Firehose glued together become lines: within a text the quote would be escaped."""
    next_line = 1
    for piece in blocks(stream, log_records.BLOCK_BYTES):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
            continue
        data = piece.data.replace(b'}{"messageType"', b'}\n{"messageType"')
        block = replace(piece, first_line=next_line, data=data)
        next_line += block.line_count
        lines = text_lines(block)
        documents = log_records.run(_DOCUMENTS, {"log_lines": lines.table})
        rows = log_records.run(_LINE_SQL, {"documents": documents}, {**service, "taken": _TAKEN})
        # Of documents that were glued together the file's own lines do not say where one is.
        yield log_records.batch(rows, lines.refusals, block if data == piece.data else None)


def _elements(stream: ByteStream, service: _Service) -> Iterator[Batch]:
    for piece in Elements(stream, "events", or_at=(("logEvents",),)):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
            continue
        lines = text_lines(piece)
        rows = log_records.run(_ELEMENT_SQL, {"log_lines": lines.table}, {**service, "taken": _TAKEN})
        yield log_records.batch(rows, lines.refusals, piece)


# --- recognition ------------------------------------------------------------------------------------------------------

_TEXT_HEAD = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z (?!std(?:out|err) [FP])")
_EVENT_HEAD = re.compile(rb'\{\s*"events"\s*:\s*\[\s*(?:\]|\{)')


def _recognises(start: bytes) -> bool:
    text = start.lstrip()
    if not text.startswith(b"{"):
        return bool(_TEXT_HEAD.match(text))
    if _EVENT_HEAD.match(text):
        return b'"ingestionTime"' in text and b'"message"' in text
    return b'"logEvents"' in text and b'"logGroup"' in text and b'"logStream"' in text


FORMAT = Format(
    name="cloudwatch_logs",
    table=log_records.TABLE,
    happened_at=log_records.HAPPENED_AT,
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
    filled_from={
        "service_name": ("logGroup", "logGroupName", "aws.log.group.names"),
        "aws.log.group.names": ("logGroup", "logGroupName"),
        "aws.log.stream.names": ("logStream", "logStreamName"),
        "body": ("message",),
    },
)
