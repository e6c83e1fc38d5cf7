"""Jaeger's JSON as rows of `raw.spans`: what the query API answers and the UI downloads, `{"data": [trace, …]}`.

`line` is the trace's number in the file, `record` the span's in the trace. What a field becomes follows the mapping
between OpenTelemetry and Jaeger and is said in docs/formats/traces.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import int64
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream
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
    json_object,
    json_text,
    not_an,
    object_text,
    query,
    texts,
)
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal

KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
STATUS_CODES = {"OK": 1, "ERROR": 2}
COLUMN_TAGS = {
    "kind": "span.kind",
    "error": "error",
    "status": "otel.status_code",
    "said": "otel.status_description",
    "trace_state": "w3c.tracestate",
    "service_version": "service.version",
    "scope_name": "otel.scope.name",
    "scope_version": "otel.scope.version",
    "library_name": "otel.library.name",
    "library_version": "otel.library.version",
    "dropped_attributes": "otel.dropped_attributes_count",
    "dropped_events": "otel.dropped_events_count",
    "dropped_links": "otel.dropped_links_count",
}

# --- the fast way -----------------------------------------------------------------------------------------------------

# Every value stays JSON text, whose first character tells its type: the transformation would take any type for another.
_TAGS = [{"key": "JSON", "type": "JSON", "value": "JSON"}]
_PROCESS = {"serviceName": "JSON", "tags": _TAGS}
_TEXTS = ("traceID", "spanID", "parentSpanID", "operationName")
_SHAPE = orjson.dumps(
    dict.fromkeys((*_TEXTS, "startTime", "duration"), "JSON")
    | {
        "references": [dict.fromkeys(("refType", "traceID", "spanID"), "JSON")],
        "tags": _TAGS,
        "logs": [{"timestamp": "JSON", "fields": "JSON"}],
        "warnings": ["JSON"],
    }
).decode()

# The JSON text of a tag's value as its type says; null when it is of another type.
_VALUE = """case
    when tag.type = '"string"' then case when tag.value ^@ '"' then tag.value::varchar end
    when tag.type = '"bool"' then case when trim(tag.value, '"') in ('true', 'false') then trim(tag.value, '"') end
    when tag.type = '"int64"' then case
        when try_cast(trim(tag.value, '"') as bigint)::varchar = trim(tag.value, '"') then trim(tag.value, '"') end
    when tag.type = '"float64"' then case
        when regexp_full_match(tag.value, '-?[0-9][0-9.eE+-]*') and isfinite(try_cast(tag.value::varchar as double))
            then try_cast(tag.value::varchar as double)::varchar end
    when tag.type = '"binary"' then case when tag.value ^@ '"' then '{"bytesValue":' || tag.value || '}' end
    end"""


def _pairs(tags: str) -> str:
    """SQL: keys and JSON texts of tags, null where a key or a value is not as its type says."""
    key = "case when tag.key ^@ '\"' then tag.key::varchar end"
    pair = f"lambda tag: struct_pack(key := {key}, value := {_VALUE})"
    return f"list_transform(coalesce({tags}, []), {pair})"


def _members(pairs: str) -> str:
    """SQL: the members of an object, joined; null when there are none."""
    return f"nullif(array_to_string(list_transform({pairs}, lambda pair: pair.key || ':' || pair.value), ','), '')"


def _fit(pairs: str) -> str:
    """SQL: every tag has a key of its own and a value of its type."""
    kept = f"list_transform({pairs}, lambda pair: case when pair.value is not null then pair.key end)"
    return f"list_unique({kept}) = len({pairs})"


_ARRAYS = ("references", "tags", "logs", "warnings")
_SQL = Template(
    """
    with transformed as not materialized (
        select line, record, origin, try(json_transform(doc, '$shape')) as span,
            -- A container of another type than the shape's is null there, as an absent one.
            try(json_type(doc, ['', $arrays])) as types
        from spans
    ),
    paired as not materialized (
        select *, $pairs as tags,
            list_transform(coalesce(span.logs, []),
                lambda log: struct_pack(
                    at := log.timestamp::varchar, sent := log.fields::varchar, fields := $log_pairs)) as logs,
            list_transform(coalesce(span.references, []), lambda reference, place: struct_pack(
                place := place, kind := reference.refType::varchar,
                trace_id := lpad(lower(reference.traceID[2:-2]), 32, '0'),
                span_id := lpad(lower(reference.spanID[2:-2]), 16, '0'))) as refs
        from transformed
    ),
    chosen as not materialized (
        select *, list_filter(tags, lambda pair: pair.key in ($column_tag_names)) as column_tags,
            list_filter(refs, lambda reference: reference.trace_id = lpad(lower(span.traceID[2:-2]), 32, '0'))
                as inner_refs
        from paired
    ),
    named as not materialized (
        select *, list_transform(column_tags, lambda pair: pair.key) as column_keys,
            coalesce(
                list_filter(inner_refs, lambda reference: reference.kind = '"CHILD_OF"')[1],
                list_filter(inner_refs, lambda reference: reference.kind = '"FOLLOWS_FROM"')[1]) as parent
        from chosen
    ),
    tied as not materialized (
        select *, case when len(column_keys) > 0 then struct_pack($column_tags) end as own from named
    )
    select
        line, record, span.traceID[2:-2] as trace_id, span.spanID[2:-2] as span_id,
        coalesce(parent.span_id, span.parentSpanID[2:-2]) as parent_span_id,
        own.trace_state, origin.service_name, coalesce(origin.service_version, own.service_version) as service_version,
        json_extract_string(span.operationName, '$$') as span_name,
        case lower(own.kind) when 'internal' then 1 when 'server' then 2 when 'client' then 3 when 'producer' then 4
            when 'consumer' then 5 else 0 end::integer as kind,
        span.startTime::varchar as started, span.duration::varchar as duration,
        case when upper(own.status) = 'ERROR' then 2 when upper(own.status) = 'OK' then 1
            when lower(own.error) = 'true' then 2 else 0 end::integer as status_code,
        own.said as status_message,
        coalesce(own.scope_name, own.library_name) as scope_name,
        coalesce(own.scope_version, own.library_version) as scope_version,
        coalesce(try_cast(own.dropped_attributes as uinteger), 0)::uinteger as dropped_attributes_count,
        coalesce(try_cast(own.dropped_events as uinteger), 0)::uinteger as dropped_events_count,
        coalesce(try_cast(own.dropped_links as uinteger), 0)::uinteger as dropped_links_count,
        '{' || nullif(concat_ws(',', $members,
            case when len(span.warnings) > 0
                then '"jaeger.warnings":[' || array_to_string(span.warnings, ',') || ']' end,
            case when span.duration is null then '"$duration_missing":true' end), '') || '}' as attributes,
        origin.attributes as resource_attributes,
        '[' || nullif(array_to_string(list_transform(logs, lambda log:
            '{"timeUnixNano":"' || log.at || '000","name":'
            || coalesce(
                list_filter(log.fields, lambda pair: pair.key = '"event"' and pair.value ^@ '"')[1].value, 'null')
            || ',"attributes":{' || coalesce($log_members, '') || '},"droppedAttributesCount":0}'), ','), '') || ']'
            as events,
        '[' || nullif(array_to_string(list_transform(
            list_filter(refs, lambda reference: parent is null or reference.place <> parent.place), lambda reference:
                '{"traceId":"' || reference.trace_id || '","spanId":"' || reference.span_id
                || '","traceState":null,"attributes":{"opentracing.ref_type":' || lower(reference.kind)
                || '},"droppedAttributesCount":0,"flags":null}'), ','), '') || ']' as links,
        types[1] = 'OBJECT' and $types_fit and $texts_fit and $tags_fit and coalesce(origin.is_regular, true)
        and not list_has_any(list_transform(tags, lambda pair: pair.key), ['"jaeger.warnings"', '"$duration_missing"'])
        and coalesce(regexp_full_match(span.startTime, '[0-9]+'), true)
        and coalesce(regexp_full_match(span.duration, '[0-9]+'), true)
        and len(list_filter(coalesce(span.warnings, []), lambda warning: coalesce(not warning ^@ '"', true))) = 0
        and len(list_filter(coalesce(span.references, []), lambda reference: not coalesce(
            reference.refType in ('"CHILD_OF"', '"FOLLOWS_FROM"')
            and regexp_full_match(reference.traceID, '"[0-9a-fA-F]{1,32}"')
            and regexp_full_match(reference.spanID, '"[0-9a-fA-F]{1,16}"'), false))) = 0
        and len(list_filter(logs, lambda log: not coalesce(
            regexp_full_match(log.at, '[0-9]+') and coalesce(log.sent ^@ '[', true) and $fields_fit, false))) = 0
            as is_regular
    from tied
    """
).substitute(
    shape=_SHAPE,
    arrays=", ".join(f"'/{name}'" for name in _ARRAYS),
    pairs=_pairs("span.tags"),
    log_pairs=_pairs(f"try(json_transform(log.fields, '{orjson.dumps(_TAGS).decode()}'))"),
    column_tag_names=", ".join(f"'\"{name}\"'" for name in COLUMN_TAGS.values()),
    column_tags=", ".join(
        f"""{column} := json_extract_string(column_tags[list_position(column_keys, '"{name}"')].value, '$')"""
        for column, name in COLUMN_TAGS.items()
    ),
    members=_members("tags"),
    log_members=_members("log.fields"),
    duration_missing=DURATION_MISSING,
    types_fit=" and ".join(f"coalesce(types[{place}] in ('ARRAY', 'NULL'), true)" for place in range(2, 6)),
    texts_fit=" and ".join(f"coalesce(span.{name} ^@ '\"', true)" for name in _TEXTS),
    tags_fit=_fit("tags"),
    fields_fit=_fit("log.fields"),
)

# --- the slow way -----------------------------------------------------------------------------------------------------


def _row(span: Mapping[str, Any], sent: Mapping[str, Any]) -> Row:
    process = _process(sent["process"])
    tags, origin = _tags(span, "tags"), _tags(process, "tags")
    columns = {column: _plain(tags, name) for column, name in COLUMN_TAGS.items()}
    status = STATUS_CODES.get((columns["status"] or "").upper())
    has_error = (columns["error"] or "").lower() == "true"
    service = text(process, "serviceName")
    parent, links = _references(span)
    named = [("service.name", json_string(service))] if service else []
    return {
        "trace_id": text(span, "traceID"),
        "span_id": text(span, "spanID"),
        "parent_span_id": parent or text(span, "parentSpanID"),
        "trace_state": columns["trace_state"],
        "service_name": service,
        "service_version": _plain(origin, "service.version") or columns["service_version"],
        "span_name": text(span, "operationName"),
        "kind": KINDS.get((columns["kind"] or "").lower(), 0),
        "started": integer(span, "startTime"),
        "duration": integer(span, "duration"),
        "status_code": status if status is not None else 2 if has_error else 0,
        "status_message": columns["said"],
        "scope_name": columns["scope_name"] or columns["library_name"],
        "scope_version": columns["scope_version"] or columns["library_version"],
        **{f"dropped_{what}_count": _dropped(columns[f"dropped_{what}"]) for what in ("attributes", "events", "links")},
        "attributes": object_text([*tags, *_said_of(span)]),
        "resource_attributes": object_text([*named, *origin]),
        "events": _array(_event(log) for log in objects(span, "logs")),
        "links": _array(iter(links)),
    }


def _process(sent: str | None) -> Mapping[str, Any]:
    return {} if sent is None else json_object(sent, "its process")


def _tags(owner: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Keys and JSON texts, in order, repeats included."""
    return [(text(tag, "key") or "", _tag_text(tag)) for tag in objects(owner, name)]


def _tag_text(tag: Mapping[str, Any]) -> str:
    kind, value = tag.get("type"), tag.get("value")
    said = value if isinstance(value, str) else json_text(value)
    match kind:
        case "string" if isinstance(value, str):
            return json_string(value)
        case "bool" if said in ("true", "false"):
            return said
        case "int64" if _is_integer(said):
            number = int(said)
            return said if -(1 << 63) <= number < 1 << 63 and str(number) == said else _escaped("intValue", said)
        case "float64" if (double := _double(value)) is not None:
            return json_text(double)
        case "binary" if isinstance(value, str):
            return _escaped("bytesValue", value)
        case "string" | "bool" | "int64" | "float64" | "binary":
            detail = f"tag {tag.get('key')!r:.80} is {value!r:.80}, not {kind}"
            raise Malformed(detail, Reason.ATTRIBUTE_MALFORMED)
    return json_text(value)


def _is_integer(said: str) -> bool:
    return said.removeprefix("-").isdigit() and said.isascii() and len(said) <= 40


def _double(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _escaped(name: str, said: str) -> str:
    return f'{{"{name}":{json_string(said)}}}'


def _plain(tags: list[tuple[str, str]], name: str) -> str | None:
    """The first value under a key as text, as DuckDB gives it."""
    found = next((value for key, value in tags if key == name), None)
    if found is None:
        return None
    plain = orjson.loads(found) if found.startswith('"') else found
    return str(plain)


def _dropped(said: str | None) -> int:
    return int(said) if said and _is_integer(said) and 0 <= int(said) < 1 << 32 else 0


def _said_of(span: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if warnings := span.get("warnings"):
        yield "jaeger.warnings", json_text(warnings)
    if span.get("duration") is None:
        yield DURATION_MISSING, "true"


def _references(span: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The id of the parent, and the texts of the links."""
    found = []
    own = (text(span, "traceID") or "").lower().rjust(32, "0")
    for reference in objects(span, "references"):
        trace, target = text(reference, "traceID") or "", text(reference, "spanID") or ""
        found.append((text(reference, "refType") or "", trace.lower().rjust(32, "0"), target.lower().rjust(16, "0")))
    parent = next(
        (
            place
            for kind in ("CHILD_OF", "FOLLOWS_FROM")
            for place, known in enumerate(found)
            if known[:2] == (kind, own)
        ),
        None,
    )
    links = [_link(*known) for place, known in enumerate(found) if place != parent]
    return None if parent is None else found[parent][2], links


def _link(kind: str, trace: str, span: str) -> str:
    return (
        f'{{"traceId":{json_string(trace)},"spanId":{json_string(span)},"traceState":null,"attributes":'
        f'{{"opentracing.ref_type":{json_string(kind.lower())}}},"droppedAttributesCount":0,"flags":null}}'
    )


def _event(log: Mapping[str, Any]) -> str:
    fields = objects(log, "fields")
    name = next((field.get("value") for field in fields if field.get("key") == "event"), None)
    tags = object_text(_tags(log, "fields"))
    return event_text(integer(log, "timestamp"), name if isinstance(name, str) else None, tags)


def _array(items: Iterator[str]) -> str | None:
    joined = ",".join(items)
    return f"[{joined}]" if joined else None


FORM = SpanForm(
    sql=_SQL,
    row=_row,
    known=frozenset(
        {*_TEXTS, "startTime", "duration", "references", "tags", "logs", "warnings", "processID", "process"}
    ),
    path="data.spans.",
    names=("traceID", "spanID", "parentSpanID", "startTime"),
)

# --- files ------------------------------------------------------------------------------------------------------------

_KIND = """
    select coalesce(try(json_type(doc)) = 'OBJECT' and try(json_type(doc, '/spans')) = 'ARRAY', false) as has_spans,
        trim(doc, E' \\t\\r\\n') <> '' as is_there
    from traces
"""
_SPANS = """
    with opened as not materialized (
        select line, json_transform(doc, '{"spans": ["JSON"], "processes": "MAP(VARCHAR, JSON)"}') as trace from traces
    ),
    sent as (
        select line, unnest(trace.spans)::varchar as doc, unnest(range(1, len(trace.spans) + 1)) as record,
            trace.processes as processes
        from opened
    )
    select line, record, coalesce(doc, 'null') as doc,
        coalesce(processes[json_extract_string(doc, '$.processID')], json_extract(doc, '$.process'))::varchar as process
    from sent
"""
# A process is that of many spans, and read once.
_ORIGINS = Template(
    """
    with opened as not materialized (
        select place, try(json_type(process, ['', '/serviceName', '/tags'])) as types,
            try(json_transform(process, '$shape')) as process
        from processes
    ),
    paired as not materialized (
        select *, $pairs as tags from opened
    )
    select place, json_extract_string(process.serviceName, '$$') as service_name,
        json_extract_string(list_filter(tags, lambda pair: pair.key = '"service.version"')[1].value, '$$')
            as service_version,
        '{' || nullif(concat_ws(',',
            '"service.name":' || nullif(process.serviceName::varchar, '""'), $members), '') || '}' as attributes,
        types[1] = 'OBJECT' and coalesce(types[2] in ('VARCHAR', 'NULL'), true)
        and coalesce(types[3] in ('ARRAY', 'NULL'), true) and $fit as is_regular
    from paired
    order by place
    """
).substitute(
    shape=orjson.dumps(_PROCESS).decode(),
    pairs=_pairs("process.tags"),
    members=_members("list_filter(tags, lambda pair: pair.key <> '\"service.name\"')"),
    fit=_fit("tags"),
)


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    return batches(_sent(stream), FORM, options.service_name)


def _sent(stream: ByteStream) -> Iterator[Sent | Batch]:
    elements = Elements(stream, "data", block_bytes=BLOCK_BYTES)
    is_empty = True
    with ahead(elements, depth=1) as pieces:
        for piece in pieces:
            is_empty = False
            if isinstance(piece, Refusal):
                yield Batch(refusals=[piece])
            else:
                yield from _spans(piece)
    answer = elements.envelope
    if is_empty and isinstance(answer, dict) and answer.get("data") != []:
        detail = f"the answer has no traces: {orjson.dumps(answer.get('errors')).decode():.200}"
        yield Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, detail, None)])


def _spans(block: Block) -> Iterator[Sent | Batch]:
    sent, refusals = texts(block)
    kinds = query(_KIND, {"traces": sent})
    has_spans = kinds.column("has_spans")
    bad = sent.filter(pc.and_not(kinds.column("is_there"), has_spans)).to_pylist()
    refusals += [not_an("a trace with spans", element) for element in bad]
    if refusals:
        yield Batch(refusals=refusals, lines=block)
    spans = query(_SPANS, {"traces": sent.filter(has_spans)}).cast(_SENT)
    if spans.num_rows:
        yield Sent(spans.append_column("origin", _origins(spans.column("process"))), block)


_SENT = pa.schema([("line", pa.int64()), ("record", pa.int64()), ("doc", pa.string()), ("process", pa.string())])


def _origins(processes: pa.ChunkedArray) -> pa.Array:
    """What the process of each span says of it."""
    encoded = processes.combine_chunks().dictionary_encode()
    distinct = pa.table({"place": int64(np.arange(len(encoded.dictionary))), "process": encoded.dictionary})
    origins = query(_ORIGINS, {"processes": distinct}).drop_columns("place").combine_chunks().to_struct_array()
    return origins.combine_chunks().take(encoded.indices)


def _recognises(start: bytes) -> bool:
    begins = start.lstrip()
    return begins.startswith(b"{") and all(name in begins for name in (b'"traceID"', b'"spanID"', b'"spans"'))


FORMAT = Format(
    name="jaeger",
    table="raw.spans",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(started_at) // 1000)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("*jaeger*.json*",),
    uses=frozenset({"service_name"}),
    filled_from={
        "service_name": ("serviceName", "service.name"),
        "service.name": ("serviceName",),
        "span_name": ("operationName",),
        "status_message": (COLUMN_TAGS["said"],),
        "scope_name": (COLUMN_TAGS["scope_name"], COLUMN_TAGS["library_name"]),
        "scope_version": (COLUMN_TAGS["scope_version"], COLUMN_TAGS["library_version"]),
        **{name: (COLUMN_TAGS[name],) for name in ("service_version", "trace_state")},
    },
)
