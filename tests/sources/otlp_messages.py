"""OTLP messages for tests: as files in every framing, as OTLP/JSON, and what a load of them must give.

The expectations are written the plain way, record by record from the message, and use nothing of the package.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.message import Message

EARLIEST, LATEST = 946_684_800 * 10**9, 4_102_444_800 * 10**9
INT64_MAX = 2**63 - 1
ESCAPES = ("bytesValue", "doubleValue", "intValue", "kvlistValue")

# --- files ------------------------------------------------------------------------------------------------------------


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def prefixed(*messages: bytes) -> bytes:
    """As the Collector's file exporter writes them."""
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def delimited(*messages: bytes) -> bytes:
    return b"".join(varint(len(message)) + message for message in messages)


def varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


FRAMINGS: dict[str, Callable[[Sequence[Message]], bytes]] = {
    "length prefixed": lambda found: prefixed(*(message.SerializeToString() for message in found)),
    "length prefixed, zstd each": lambda found: prefixed(*(zstd(message.SerializeToString()) for message in found)),
    "length prefixed, zstd JSON each": lambda found: prefixed(*(zstd(as_json(message)) for message in found)),
    "delimited": lambda found: delimited(*(message.SerializeToString() for message in found)),
    "delimited, gzip whole": lambda found: gzip.compress(delimited(*(m.SerializeToString() for m in found)), 1),
    "length prefixed, zstd whole": lambda found: zstd(prefixed(*(m.SerializeToString() for m in found))),
}


def as_json(message: Message) -> bytes:
    """A message as OTLP/JSON: as protobuf's JSON, but ids in hexadecimal and enums as numbers."""
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_with_hex_ids(document), ensure_ascii=False, allow_nan=False).encode()


def _with_hex_ids(value: Any) -> Any:
    match value:
        case dict():
            return {
                k: _hex(v) if k in ("traceId", "spanId", "parentSpanId") else _with_hex_ids(v) for k, v in value.items()
            }
        case list():
            return [_with_hex_ids(inner) for inner in value]
    return value


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()


# --- values -----------------------------------------------------------------------------------------------------------


def value_of(value: Any) -> Any:
    """An AnyValue as the JSON that the warehouse keeps."""
    kind = value.WhichOneof("value")
    found = getattr(value, kind) if kind else None
    match kind:
        case "double_value":
            return found if math.isfinite(found) else {"doubleValue": _not_finite(found)}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(found).decode()}
        case "array_value":
            return [value_of(inner) for inner in found.values]
        case "kvlist_value":
            members = object_of(found.values)
            is_escape = len(members) == 1 and next(iter(members)) in ESCAPES
            return {"kvlistValue": members} if is_escape else members
    return found


def object_of(attributes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in attributes:
        found.setdefault(attribute.key, value_of(attribute.value))
    return found


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def text_of(value: Any) -> str | None:
    """As a column keeps it, comparable: an int, a double and a boolean stay apart."""
    return json.dumps(value) if value or value in ([0], 0) else None


def string_under(attributes: Any, key: str) -> str | None:
    for attribute in attributes:
        if attribute.key == key:
            return attribute.value.string_value if attribute.value.HasField("string_value") else None
    return None


# --- rows -------------------------------------------------------------------------------------------------------------

Row = dict[str, Any]


def _above(resource: Any, scope: Any) -> Row:
    return {
        "service_name": string_under(resource.attributes, "service.name"),
        "resource_attributes": text_of(object_of(resource.attributes)),
        "scope_name": scope.name or None,
    }


def records(
    messages: Sequence[Any], root: str, scopes: str, kind: str
) -> Iterator[tuple[int, int, Row, Any, Any, Any]]:
    """Line, record, the columns from above, the record, resource and scope."""
    for line, message in enumerate(messages, 1):
        number = 0
        for per_resource in getattr(message, root):
            for per_scope in getattr(per_resource, scopes):
                for record in getattr(per_scope, kind):
                    number += 1
                    above = _above(per_resource.resource, per_scope.scope)
                    yield line, number, above, record, per_resource.resource, per_scope.scope


def _is_time(number: int) -> bool:
    return EARLIEST <= number < LATEST


def span_rows(messages: Sequence[Any]) -> tuple[list[Row], list[tuple[int, int]]]:
    """The rows of `raw.spans`, and where the refused ones are."""
    rows, refused = [], []
    for line, record, above, span, resource, scope in records(messages, "resource_spans", "scope_spans", "spans"):
        is_good = (
            (len(span.trace_id), len(span.span_id)) == (16, 8)
            and any(span.trace_id)
            and any(span.span_id)
            and len(span.parent_span_id) in (0, 8)
            and _is_time(span.start_time_unix_nano)
            and span.start_time_unix_nano <= span.end_time_unix_nano < LATEST
            and span.kind in range(6)
            and span.status.code in range(3)
        )
        if not is_good:
            refused.append((line, record))
            continue
        rows.append(
            {
                "line": line,
                "record": record,
                "trace_id": span.trace_id.hex(),
                "span_id": int.from_bytes(span.span_id, "big"),
                "parent_span_id": int.from_bytes(span.parent_span_id, "big") or None,
                "trace_state": span.trace_state or None,
                "service_version": string_under(resource.attributes, "service.version"),
                "span_name": span.name,
                "kind": span.kind,
                "started_at": span.start_time_unix_nano,
                "ended_at": span.end_time_unix_nano,
                "status_code": span.status.code,
                "status_message": span.status.message or None,
                "scope_version": scope.version or None,
                "dropped_attributes_count": span.dropped_attributes_count,
                "dropped_events_count": span.dropped_events_count,
                "dropped_links_count": span.dropped_links_count,
                "attributes": text_of(object_of(span.attributes)),
                "events": text_of([_event(event) for event in span.events]),
                "links": text_of([_link(link) for link in span.links]),
                **above,
            }
        )
    return rows, refused


def _event(event: Any) -> Row:
    return {
        "timeUnixNano": str(event.time_unix_nano) if event.time_unix_nano else None,
        "name": event.name or None,
        "attributes": object_of(event.attributes),
        "droppedAttributesCount": event.dropped_attributes_count,
    }


def _link(link: Any) -> Row:
    return {
        "traceId": link.trace_id.hex() or None,
        "spanId": link.span_id.hex() or None,
        "traceState": link.trace_state or None,
        "attributes": object_of(link.attributes),
        "droppedAttributesCount": link.dropped_attributes_count,
        "flags": link.flags or None,
    }


def log_rows(messages: Sequence[Any]) -> tuple[list[Row], list[tuple[int, int]]]:
    rows, refused = [], []
    for line, record, above, log, _resource, _scope in records(messages, "resource_logs", "scope_logs", "log_records"):
        occurred = log.time_unix_nano or log.observed_time_unix_nano
        is_good = (
            len(log.trace_id) in (0, 16)
            and len(log.span_id) in (0, 8)
            and _is_time(occurred)
            and (not log.observed_time_unix_nano or _is_time(log.observed_time_unix_nano))
            and log.severity_number in range(25)
        )
        if not is_good:
            refused.append((line, record))
            continue
        rows.append(
            {
                "line": line,
                "record": record,
                "occurred_at": occurred,
                "observed_at": log.observed_time_unix_nano or None,
                "trace_id": log.trace_id.hex() if any(log.trace_id) else None,
                "span_id": int.from_bytes(log.span_id, "big") or None,
                "severity_number": log.severity_number,
                "severity_text": log.severity_text or None,
                "event_name": log.event_name or None,
                "body": _body(log.body),
                "dropped_attributes_count": log.dropped_attributes_count,
                "attributes": text_of(object_of(log.attributes)),
                **above,
            }
        )
    return rows, refused


def _body(body: Any) -> str | None:
    if body.HasField("string_value"):
        return str(body.string_value)
    found = value_of(body)
    return None if found is None else json.dumps(found)


def metric_rows(messages: Sequence[Any]) -> tuple[list[Row], list[Row], list[tuple[int, int]]]:
    """The rows of points, those of histograms, and where the refused ones are."""
    points: list[Row] = []
    histograms: list[Row] = []
    refused: list[tuple[int, int]] = []
    line_before, number = 0, 0
    for line, _, above, metric, _resource, _scope in records(messages, "resource_metrics", "scope_metrics", "metrics"):
        line_before, number = line, number if line == line_before else 0
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind) if kind else None
        temporality = getattr(data, "aggregation_temporality", 0)
        for point in data.data_points if data else ():
            for part in _parts(kind, point):
                number += 1
                if point.flags & 1:
                    continue
                started = point.start_time_unix_nano
                is_good = (
                    metric.name
                    and _is_time(point.time_unix_nano)
                    and (not started or _is_time(started))
                    and temporality in range(3)
                    and part.pop("is_good")
                )
                if not is_good:
                    refused.append((line, number))
                    continue
                labels = object_of(point.attributes) | part.pop("labels")
                row = {
                    "line": line,
                    "record": number,
                    "metric_name": metric.name + part.pop("suffix"),
                    "labels": json.dumps(labels),
                    "observed_at": point.time_unix_nano,
                    "started_at": started or None,
                    "unit": metric.unit or None,
                    "temporality": {1: "delta", 2: "cumulative"}.get(temporality),
                    **above,
                    **part,
                }
                if "value" in row:
                    row["metric_type"] = kind
                    row["is_monotonic"] = data.is_monotonic if kind == "sum" else None
                    points.append(row)
                else:
                    histograms.append(row)
    return points, histograms, refused


def _parts(kind: str, point: Any) -> Iterator[Row]:
    plain = {"is_good": True, "labels": {}, "suffix": ""}
    if kind in ("gauge", "sum"):
        value = getattr(point, point.WhichOneof("value") or "", None)
        yield plain | {"is_good": value is not None, "value": None if value is None else float(value)}
    elif kind == "summary":
        for quantile in point.quantile_values:
            label = repr(quantile.quantile).removesuffix(".0")
            yield plain | {"labels": {"quantile": label}, "value": quantile.value}
        yield plain | {"suffix": "_sum", "value": point.sum}
        yield plain | {"suffix": "_count", "value": float(point.count)}
    else:
        is_explicit = kind == "histogram"
        bounds, counts = (list(point.explicit_bounds), list(point.bucket_counts)) if is_explicit else ([], [])
        yield plain | {
            "is_good": not counts or len(counts) == len(bounds) + 1,
            "point_count": point.count,
            "point_sum": point.sum if point.HasField("sum") else None,
            "point_min": point.min if point.HasField("min") else None,
            "point_max": point.max if point.HasField("max") else None,
            "explicit_bounds": bounds if is_explicit else None,
            "bucket_counts": counts if is_explicit else None,
            "scale": None if is_explicit else point.scale,
            "zero_count": None if is_explicit else point.zero_count,
            "zero_threshold": None if is_explicit else point.zero_threshold,
            "positive_offset": None if is_explicit else point.positive.offset,
            "positive_counts": None if is_explicit else list(point.positive.bucket_counts),
            "negative_offset": None if is_explicit else point.negative.offset,
            "negative_counts": None if is_explicit else list(point.negative.bucket_counts),
        }


def comparable(rows: Sequence[Row]) -> list[str]:
    """Rows as texts in file order: NaN equals NaN, -0.0 is not 0.0, an int is no double."""
    return [repr(sorted(row.items())) for row in sorted(rows, key=lambda row: (row["line"], row["record"]))]
