"""Zipkin's v2 JSON as rows of `raw.spans`: arrays of spans, arrays of traces, or one of these or a span a line.

What a field becomes is said in docs/formats/traces.md. Clocks stay as they were sent: the halves of a shared span land
with the times of their own hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from string import Template
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import int64
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import UTF8_MARK, Block, ByteStream, blocks, head
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_salvage import Row, integer, objects, text
from dagster_project.sources.otlp.otlp_values import Malformed, json_string
from dagster_project.sources.traces.span_rows import (
    BLOCK_BYTES,
    DURATION_MISSING,
    Sent,
    SpanForm,
    batches,
    event_text,
    json_text,
    not_an,
    object_text,
    query,
    texts,
)
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal

KINDS = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
INTERNAL = 1  # Zipkin's local spans have no kind, and OpenTelemetry writes internal ones so
STATUS_CODES = {"OK": 1, "ERROR": 2}
ENDPOINTS = {"localEndpoint": "network.local", "remoteEndpoint": "network.peer"}

# --- the fast way -----------------------------------------------------------------------------------------------------

# Every value stays JSON text, whose first character tells its type: the transformation would take any type for another.
_ENDPOINT = dict.fromkeys(("serviceName", "ipv4", "ipv6", "port"), "JSON")
_FIELDS = ("traceId", "id", "parentId", "name", "kind", "timestamp", "duration", "shared", "debug")
_SHAPE = orjson.dumps(
    dict.fromkeys(_FIELDS, "JSON")
    | dict.fromkeys(ENDPOINTS, _ENDPOINT)
    | {
        "tags": "MAP(VARCHAR, JSON)",  # null where a key comes twice
        "annotations": [{"timestamp": "JSON", "value": "JSON"}],
    }
).decode()


def _derived_members() -> str:
    return ", ".join(
        [
            _derived("peer.service", "nullif(span.remoteEndpoint.serviceName, '\"\"')"),
            *(
                _derived(f"{name}.{part}", sql)
                for end, name in ENDPOINTS.items()
                for part, sql in (
                    ("address", f"coalesce(span.{end}.ipv4, span.{end}.ipv6)"),
                    ("address.ipv6", f"case when span.{end}.ipv4 is not null then span.{end}.ipv6 end"),
                    ("port", f"span.{end}.port"),
                )
            ),
            _derived("zipkin.shared", "span.shared"),
            _derived("zipkin.debug", "span.debug"),
            _derived(DURATION_MISSING, "case when span.duration is null then 'true' end"),
        ]
    )


def _derived(key: str, value: str) -> str:
    """SQL: a member of the attributes, unless a tag has its name."""
    return f"case when {value} is not null and not list_contains(tag_names, '{key}') then '\"{key}\":' || {value} end"


def _is(kind: str, values: Iterable[str]) -> str:
    """SQL: each of the JSON values is of a kind, or absent."""
    tests = {
        "text": "^@ '\"'",
        "number": "similar to '[0-9]+'",
        "port": "similar to '[0-9]{1,18}'",
        "truth": "in ('true', 'false')",
    }
    return " and ".join(f"coalesce({value}::varchar {tests[kind]}, true)" for value in values)


_ENDS = [f"span.{end}.{name}" for end in ENDPOINTS for name in ("serviceName", "ipv4", "ipv6")]
_IS_REGULAR = " and ".join(
    (
        _is("text", [f"span.{name}" for name in ("traceId", "id", "parentId", "name", "kind")] + _ENDS),
        _is("number", ["span.timestamp", "span.duration"]),
        _is("port", [f"span.{end}.port" for end in ENDPOINTS]),
        _is("truth", ["span.shared", "span.debug"]),
    )
)


def _tag(name: str) -> str:
    """SQL: the text of a tag."""
    return f"json_extract_string(span.tags['{name}'], '$')"


_OTEL = {
    "trace_state": "w3c.tracestate",
    "service_version": "service.version",
    "status": "otel.status_code",
    "said": "otel.status_description",
    "scope_name": "otel.scope.name",
    "scope_version": "otel.scope.version",
    "dropped_attributes": "otel.dropped_attributes_count",
    "dropped_events": "otel.dropped_events_count",
    "dropped_links": "otel.dropped_links_count",
}
_SQL = Template(
    """
    with transformed as not materialized (
        -- A container of another type than the shape's is null there, as an absent one.
        select line, record,
            try(json_type(doc, ['', '/localEndpoint', '/remoteEndpoint', '/tags', '/annotations'])) as types,
            try(json_transform(doc, '$shape')) as span
        from spans
    ),
    read as not materialized (
        select *, coalesce(map_keys(span.tags), []) as tag_names,
            case when list_has_any(tag_names, [$otel_names]) then struct_pack($otel) end as otel,
            case when list_contains(tag_names, 'error') then $error end as error
        from transformed
    )
    select
        line, record, span.traceId[2:-2] as trace_id, span.id[2:-2] as span_id, span.parentId[2:-2] as parent_span_id,
        otel.trace_state, json_extract_string(span.localEndpoint.serviceName, '$$') as service_name,
        otel.service_version, json_extract_string(span.name, '$$') as span_name,
        case span.kind when '"SERVER"' then 2 when '"CLIENT"' then 3 when '"PRODUCER"' then 4 when '"CONSUMER"' then 5
            else 1 end::integer as kind,
        span.timestamp::varchar as started, span.duration::varchar as duration,
        case when upper(otel.status) = 'ERROR' then 2 when upper(otel.status) = 'OK' then 1
            when lower(error) <> 'false' then 2 else 0 end::integer as status_code,
        coalesce(otel.said, case when lower(error) not in ('true', 'false') then error end) as status_message,
        otel.scope_name, otel.scope_version,
        coalesce(try_cast(otel.dropped_attributes as uinteger), 0)::uinteger as dropped_attributes_count,
        coalesce(try_cast(otel.dropped_events as uinteger), 0)::uinteger as dropped_events_count,
        coalesce(try_cast(otel.dropped_links as uinteger), 0)::uinteger as dropped_links_count,
        nullif('{' || concat_ws(',',
            nullif(array_to_string(list_transform(map_entries(span.tags),
                lambda tag: to_json(tag.key)::varchar || ':' || tag.value::varchar), ','), ''),
            $derived) || '}', '{}') as attributes,
        '{"service.name":' || nullif(span.localEndpoint.serviceName::varchar, '""') || '}' as resource_attributes,
        case when span.annotations is not null then
            '[' || nullif(array_to_string(list_transform(span.annotations, lambda annotation:
                '{"timeUnixNano":"' || annotation.timestamp || '000","name":' || annotation.value
                || ',"attributes":{},"droppedAttributesCount":0}'), ','), '') || ']' end as events,
        null::varchar as links,
        types[1] = 'OBJECT' and $types_fit and $is_regular
        and coalesce(span.kind in ('"SERVER"', '"CLIENT"', '"PRODUCER"', '"CONSUMER"'), true)
        and (types[4] is null
            or len(list_filter(map_values(span.tags), lambda value: coalesce(not value ^@ '"', true))) = 0)
        and (types[5] is null or len(list_filter(span.annotations, lambda annotation: annotation.value ^@ '"'
            and regexp_full_match(annotation.timestamp, '[0-9]+'))) = len(span.annotations)) as is_regular
    from read
    """
).substitute(
    shape=_SHAPE,
    otel_names=", ".join(f"'{name}'" for name in _OTEL.values()),
    otel=", ".join(f"{column} := {_tag(name)}" for column, name in _OTEL.items()),
    error=_tag("error"),
    derived=_derived_members(),
    is_regular=_IS_REGULAR,
    types_fit=" and ".join(
        f"coalesce(types[{place}] in ('{kind}', 'NULL'), true)"
        for place, kind in enumerate(("OBJECT", "OBJECT", "OBJECT", "ARRAY"), 2)
    ),
)


# --- the slow way -----------------------------------------------------------------------------------------------------


def _row(span: Mapping[str, Any], _sent: Mapping[str, Any]) -> Row:
    tags = _object(span, "tags")
    local, remote = _object(span, "localEndpoint"), _object(span, "remoteEndpoint")
    status = STATUS_CODES.get(str(tags.get("otel.status_code")).upper())
    error = tags.get("error")
    has_error = error is not None and str(error).lower() != "false"
    said = None if error is None or str(error).lower() in ("true", "false") else str(error)
    service = text(local, "serviceName")
    return {
        "trace_id": text(span, "traceId"),
        "span_id": text(span, "id"),
        "parent_span_id": text(span, "parentId"),
        "trace_state": _string(tags, "w3c.tracestate"),
        "service_name": service,
        "service_version": _string(tags, "service.version"),
        "span_name": text(span, "name"),
        "kind": _kind(span),
        "started": integer(span, "timestamp"),
        "duration": integer(span, "duration"),
        "status_code": status if status is not None else 2 if has_error else 0,
        "status_message": _string(tags, "otel.status_description") or said,
        "scope_name": _string(tags, "otel.scope.name"),
        "scope_version": _string(tags, "otel.scope.version"),
        **{f"dropped_{what}_count": _dropped(tags, what) for what in ("attributes", "events", "links")},
        "attributes": object_text(_attributes(span, tags, local, remote)),
        "resource_attributes": object_text([("service.name", json_string(service))]) if service else None,
        "events": _events(span),
        "links": None,
    }


def _kind(span: Mapping[str, Any]) -> int:
    sent = text(span, "kind")
    if sent is None:
        return INTERNAL
    if sent.upper() not in KINDS:
        raise Malformed(f"kind is {sent[:80]!r}, not one of {', '.join(KINDS)}", Reason.ENUM_UNKNOWN)
    return KINDS[sent.upper()]


def _attributes(
    span: Mapping[str, Any], tags: Mapping[str, Any], local: Mapping[str, Any], remote: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    yield from ((key, json_text(value)) for key, value in tags.items())
    if service := text(remote, "serviceName"):
        yield "peer.service", json_string(service)
    for name, endpoint in zip(ENDPOINTS.values(), (local, remote), strict=True):
        v4, v6, port = text(endpoint, "ipv4"), text(endpoint, "ipv6"), integer(endpoint, "port")
        if (address := v4 if v4 is not None else v6) is not None:
            yield f"{name}.address", json_string(address)
        if v4 is not None and v6 is not None:
            yield f"{name}.address.ipv6", json_string(v6)
        if port is not None:
            yield f"{name}.port", json_text(_number(port, f"{name}.port"))
    for flag in ("shared", "debug"):
        if span.get(flag) is not None:
            yield f"zipkin.{flag}", json_text(span[flag])
    if span.get("duration") is None:
        yield DURATION_MISSING, "true"


def _events(span: Mapping[str, Any]) -> str | None:
    found = [
        event_text(integer(annotation, "timestamp"), text(annotation, "value"), None)
        for annotation in objects(span, "annotations")
    ]
    return f"[{','.join(found)}]" if found else None


def _object(span: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(iter(objects({name: [span.get(name)]}, name)))


def _string(tags: Mapping[str, Any], name: str) -> str | None:
    found = tags.get(name)
    return found if isinstance(found, str) else None


def _dropped(tags: Mapping[str, Any], what: str) -> int:
    sent = str(tags.get(f"otel.dropped_{what}_count"))
    return int(sent) if sent.isascii() and sent.isdigit() and len(sent) <= 10 and int(sent) < 1 << 32 else 0


def _number(digits: str, name: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Malformed(f"{name} is {digits[:80]!r}, not a number")
    return int(digits)


FORM = SpanForm(
    sql=_SQL,
    row=_row,
    known=frozenset({*_FIELDS, *ENDPOINTS, "tags", "annotations"}),
    path="",
    names=("traceId", "id", "parentId", "timestamp"),
)

# --- files ------------------------------------------------------------------------------------------------------------

_TRACES = """
    with spans as (
        select line, unnest(json_transform(doc, '["JSON"]'))::varchar as doc,
            unnest(range(1, json_array_length(doc)::bigint + 1)) as record
        from traces
    )
    select line, coalesce(doc, 'null') as doc, record from spans
"""


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    return batches(_sent(stream), FORM, options.service_name)


def _sent(stream: ByteStream) -> Iterator[Sent | Batch]:
    is_document = not _begins_with_a_whole_line(head(stream.path))
    for piece in Elements(stream, block_bytes=BLOCK_BYTES) if is_document else blocks(stream, BLOCK_BYTES):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
        else:
            yield from _spans(piece)


def _begins_with_a_whole_line(start: bytes) -> bool:
    """Whether a file is JSON lines, and no document over several lines nor one alone on its line."""
    line, _, rest = start.lstrip().partition(b"\n")
    if line.startswith(b"{"):
        return True  # spans are no document unless they are in an array
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return bool(rest.strip())


def _spans(block: Block) -> Iterator[Sent | Batch]:
    sent, refusals = texts(block)
    if refusals:
        yield Batch(refusals=refusals, lines=block)
    is_array = pc.starts_with(pc.ascii_ltrim_whitespace(sent.column("doc")), "[")
    singles = sent.filter(pc.invert(is_array))
    if singles.num_rows:
        yield Sent(singles.append_column("record", int64(np.ones(singles.num_rows, np.int64))), block)
    if singles.num_rows < sent.num_rows:
        yield from _traces(sent.filter(is_array), block)


def _traces(sent: pa.Table, block: Block) -> Iterator[Sent | Batch]:
    is_json = query("select json_valid(doc) as is_json from traces", {"traces": sent}).column("is_json")
    refusals = [not_an("an array of spans", element) for element in sent.filter(pc.invert(is_json)).to_pylist()]
    if refusals:
        yield Batch(refusals=refusals, lines=block)
    yield Sent(query(_TRACES, {"traces": sent.filter(is_json)}).cast(_SPANS), block)


_SPANS = pa.schema([("line", pa.int64()), ("doc", pa.string()), ("record", pa.int64())])


def _recognises(start: bytes) -> bool:
    begins = start.removeprefix(UTF8_MARK).lstrip()
    return begins[:1] in (b"[", b"{") and all(name in begins for name in (b'"traceId"', b'"id"', b'"localEndpoint"'))


FORMAT = Format(
    name="zipkin",
    table="raw.spans",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(started_at) // 1000)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("*zipkin*.json*",),
    uses=frozenset({"service_name"}),
    filled_from={
        "service_name": ("serviceName", "localEndpoint.serviceName", "service.name"),
        "service.name": ("serviceName", "localEndpoint.serviceName"),
        "peer.service": ("serviceName", "remoteEndpoint.serviceName"),
        "status_message": (_OTEL["said"], "error"),
        **{name: (_OTEL[name],) for name in ("service_version", "trace_state", "scope_name", "scope_version")},
        **{f"{name}.address": ("ipv4", "ipv6", f"{end}.ipv4", f"{end}.ipv6") for end, name in ENDPOINTS.items()},
        **{f"{name}.address.ipv6": ("ipv6", f"{end}.ipv6") for end, name in ENDPOINTS.items()},
        **{f"{name}.port": ("port", f"{end}.port") for end, name in ENDPOINTS.items()},
    },
)
