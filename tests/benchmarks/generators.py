"""Files to measure loads with: so many spans, log records or points in every format. What is measured is in `loads.py`.

Spans are the recording's over and over, with trace ids of their own each time round, or invented where the recording is
absent. The same arguments give the same bytes.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", ROOT.parent / "shared" / "data"))
FULL_DAY = RECORDINGS / "trainticket-2023-01-29" / "traces.otlp.jsonl.gz"
SPANS_A_REQUEST = 20
GZIP_LEVEL = 1  # what compresses hardly matters to who reads, and waiting for it does
START = 1_674_950_400  # 2023-01-29

Span = dict[str, Any]
Request = tuple[list[dict[str, Any]], list[Span]]  # a resource's attributes, and spans of it


# --- spans ------------------------------------------------------------------------------------------------------------


def requests(count: int, *, attributes: bool) -> Iterator[Request]:
    """So many spans, in requests of one resource each."""
    left = count
    for resource, spans in _endless():
        taken = spans[:left]
        left -= len(taken)
        yield (
            resource,
            [span | {"attributes": _six_attributes(span["spanId"])} for span in taken] if attributes else taken,
        )
        if not left:
            return


def _endless() -> Iterator[Request]:
    source = _recorded if FULL_DAY.is_file() else _invented
    turn = 0
    while True:
        for resource, spans in source(turn):
            for first in range(0, len(spans), SPANS_A_REQUEST):
                yield resource, spans[first : first + SPANS_A_REQUEST]
        turn += 1


def _recorded(turn: int) -> Iterator[Request]:
    with gzip.open(FULL_DAY) as content:
        for line in content:
            for of_resource in orjson.loads(line)["resourceSpans"]:
                spans = of_resource["scopeSpans"][0]["spans"]
                for span in spans if turn else ():
                    span["traceId"] = f"{turn:06x}{span['traceId'][6:]}"
                yield of_resource["resource"]["attributes"], spans


def _invented(turn: int) -> Iterator[Request]:
    """10,000 traces of 20 spans in as many services."""
    for trace in range(turn * 10_000, (turn + 1) * 10_000):
        spans = []
        for place in range(20):
            number = trace * 20 + place + 1
            started = (START + trace % 86_400) * 10**9 + place * 1_000_003
            spans.append(
                {
                    "traceId": f"{trace + 1:032x}",
                    "spanId": f"{number:016x}",
                    "parentSpanId": f"{number - 1:016x}" if place else "",
                    "name": f"/api/v1/orders/{place}",
                    "startTimeUnixNano": str(started),
                    "endTimeUnixNano": str(started + 5_000_017 + number % 1000),
                }
            )
        yield [{"key": "service.name", "value": {"stringValue": f"service-{trace % 40}"}}], spans


def _six_attributes(seed: str) -> list[dict[str, object]]:
    number = int(seed, 16)
    return [
        {"key": "http.request.method", "value": {"stringValue": ("GET", "POST")[number % 2]}},
        {"key": "http.route", "value": {"stringValue": f"/api/v1/orders/{number % 1000}"}},
        {"key": "http.response.status_code", "value": {"intValue": str(200 + number % 300)}},
        {"key": "retry", "value": {"boolValue": number % 3 == 0}},
        {"key": "ratio", "value": {"doubleValue": number % 997 / 7}},
        {"key": "tags", "value": {"arrayValue": {"values": [{"stringValue": seed[:4]}, {"stringValue": "b"}]}}},
    ]


def otlp_json(target: Path, count: int, *, attributes: bool = True, broken_every: int = 0) -> None:
    """One request a line; every so many lines one that ends too early."""
    with gzip.open(target, "wb", compresslevel=GZIP_LEVEL) as out:
        for number, (resource, spans) in enumerate(requests(count, attributes=attributes), 1):
            line = orjson.dumps(_document(resource, spans))
            out.write((line[:-9] if broken_every and number % broken_every == 0 else line) + b"\n")


def otlp_protobuf(target: Path, count: int) -> None:
    """Requests in protobuf's own delimited form."""
    from google.protobuf.proto import serialize_length_prefixed
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    with target.open("wb") as out:
        for resource, spans in requests(count, attributes=True):
            message = TracesData()
            of_resource = message.resource_spans.add()
            _add_attributes(of_resource.resource.attributes, resource)
            of_scope = of_resource.scope_spans.add()
            for span in spans:
                added = of_scope.spans.add(
                    trace_id=bytes.fromhex(span["traceId"]),
                    span_id=bytes.fromhex(span["spanId"]),
                    parent_span_id=bytes.fromhex(span.get("parentSpanId", "")),
                    name=span["name"],
                    start_time_unix_nano=int(span["startTimeUnixNano"]),
                    end_time_unix_nano=int(span["endTimeUnixNano"]),
                )
                _add_attributes(added.attributes, span["attributes"])
            serialize_length_prefixed(message, out)  # type: ignore[arg-type]  # any binary file will do


def _add_attributes(target: Any, attributes: list[dict[str, Any]]) -> None:
    for item in attributes:
        value = target.add(key=item["key"]).value
        match item["value"]:
            case {"stringValue": text}:
                value.string_value = text
            case {"intValue": digits}:
                value.int_value = int(digits)
            case {"boolValue": flag}:
                value.bool_value = flag
            case {"doubleValue": number}:
                value.double_value = number
            case {"arrayValue": {"values": values}}:
                for one in values:
                    value.array_value.values.add(string_value=one["stringValue"])


def _document(resource: list[dict[str, Any]], spans: list[Span]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def parquet_spans(target: Path, count: int) -> None:
    """Hindcast's own columns, attributes as a map of texts."""
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("trace_id", "span_id", "parent_span_id", "service_name", "span_name")),
            ("started_at", pa.timestamp("ns", tz="UTC")),
            ("duration_ns", pa.int64()),
            ("attributes", pa.map_(pa.string(), pa.string())),
        ]
    )
    found = requests(count, attributes=True)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while some := list(islice(found, 5000)):
            rows = [_parquet_row(resource, span) for resource, spans in some for span in spans]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _parquet_row(resource: list[dict[str, Any]], span: Span) -> dict[str, Any]:
    started, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    return {
        "trace_id": span["traceId"],
        "span_id": span["spanId"],
        "parent_span_id": span.get("parentSpanId", ""),
        "service_name": resource[0]["value"]["stringValue"],
        "span_name": span["name"],
        "started_at": started,
        "duration_ns": ended - started,
        "attributes": [(item["key"], str(next(iter(item["value"].values())))) for item in span["attributes"]],
    }


# --- logs and metrics -------------------------------------------------------------------------------------------------


def json_lines(target: Path, count: int) -> None:
    """Log records as applications write them."""
    levels = ("INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR")
    with gzip.open(target, "wb", compresslevel=GZIP_LEVEL) as out:
        for number in range(count):
            second, rest = divmod(number * 86_400_000_000 // count, 1_000_000)
            clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest:06}"
            record = {
                "timestamp": f"2023-01-29T{clock}Z",
                "level": levels[number % 6],
                "service": f"service-{number % 40}",
                "trace_id": f"{number // 20 + 1:032x}",
                "span_id": f"{number + 1:016x}",
                "message": f"order {number % 5003} took {number % 997} ms",
                "logger": f"com.example.orders.Service{number % 50}",
                "thread": f"worker-{number % 16}",
                "attempt": number % 4,
            }
            out.write(orjson.dumps(record) + b"\n")


def prometheus(target: Path, count: int, points_a_series: int = 1440) -> None:
    """A `query_range` answer with a point a minute."""
    series = [
        {
            "metric": {"__name__": "latency_seconds", "service": f"service-{first % 40}", "pod": f"pod-{first}"},
            "values": [
                [START + 60 * minute, repr((first + minute * 7919 % 9973) / 997)]
                for minute in range(min(points_a_series, count - first))
            ],
        }
        for first in range(0, count, points_a_series)
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    with gzip.open(target, "wb", compresslevel=GZIP_LEVEL) as out:
        out.write(orjson.dumps(answer))
