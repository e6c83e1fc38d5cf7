"""Prometheus `query_range` responses (result type matrix) as rows of `raw.metric_points`.

`line` is the position of the series in the file, `record` the position of the point in the series. A series without
`__name__`, as an expression gives it, takes the file's name up to the first dot. NaN and infinities land as they are:
a quantile of no requests is NaN, and staging knows what to make of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

import orjson
import pyarrow as pa

from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.reading import ByteStream, document
from dagster_project.warehouse.landing import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

POINTS_A_BATCH = 100_000
SERVICE_LABELS = ("service", "service_name", "job")

_SELECT = Template(
    """
    with parsed as (
        select *, try_cast(sent_value as double) as number,
            case when seconds >= $earliest and seconds < $latest then make_timestamp(round(seconds * 1e6)::bigint) end
                as observed_at
        from metric_points join metric_series using (line)
    )
    select
        line, record, metric_name, service_name, labels, observed_at, number as value,
        case
            when observed_at is null then 'time_out_of_range'
            when number is null then 'value_malformed'
        end as reason,
        metric_name || ' at ' || seconds || ' = ' || sent_value as detail
    from parsed
    """
).substitute(earliest=int(EARLIEST.timestamp()), latest=int(LATEST.timestamp()))


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    content = document(stream)
    if isinstance(content, Refusal):
        yield Batch(refusals=[content])
        return
    if not content.strip():
        return
    found = _series(content)
    if isinstance(found, Refusal):
        yield Batch(refusals=[found])
        return
    collected = _Points()
    for number, series in enumerate(found, 1):
        collected.add(number, series, fallback_name=stream.path.name.split(".")[0])
        if collected.count >= POINTS_A_BATCH:
            yield collected.batch()
            collected = _Points()
    yield collected.batch()


def _series(content: bytes) -> list[object] | Refusal:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return Refusal(1, None, Reason.NOT_JSON, str(error), clipped(content))
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        return Refusal(1, None, Reason.OTHER_FORMAT, "no query_range response: it has no data", clipped(content))
    if answer.get("status") != "success":
        detail = f"the query failed: {answer.get('errorType')}: {answer.get('error')}"
        return Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(content))
    kind, result = answer["data"].get("resultType"), answer["data"].get("result")
    if kind != "matrix" or not isinstance(result, list):
        detail = f"the result is of type {kind}; only a matrix, from query_range, is read"
        return Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(content))
    return result


@dataclass
class _Points:
    """Columns of points and of series, filled a series at a time: a point is never a Python object of its own row."""

    count: int = 0
    chunks: list[pa.RecordBatch] = field(default_factory=list)
    names: list[tuple[int, str, str | None, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    sent: dict[int, list[Any]] = field(default_factory=dict)

    def add(self, number: int, series: object, fallback_name: str) -> None:
        if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
            self._refuse(number, None, Reason.STRUCTURE, "a series without its labels", series)
            return
        self.unknown |= {f"data.result.{name}" for name in series.keys() - {"metric", "values"}}
        values = series.get("values") or []
        if not isinstance(values, list):
            self._refuse(number, None, Reason.STRUCTURE, "the values of a series are no array", series)
            return
        try:
            seconds, sent = (list(column) for column in zip(*values, strict=True)) if values else ([], [])
            points = self._chunk(number, range(1, len(values) + 1), seconds, sent)
        except (TypeError, ValueError, pa.ArrowException):
            points = self._one_by_one(number, values)
        self.names.append((number, *_labels(series["metric"], fallback_name)))
        self.chunks.append(points)
        self.count += points.num_rows
        self.sent[number] = values

    def batch(self) -> Batch:
        columns = list(zip(*self.names, strict=True)) or [(), (), (), ()]
        names = ("line", "metric_name", "service_name", "labels")
        types = (pa.int64(), pa.string(), pa.string(), pa.string())
        series = pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=list(names))
        return Batch(
            self.count,
            {"metric_points": pa.Table.from_batches(self.chunks, _POINTS), "metric_series": series},
            _SELECT,
            refusals=self.refusals,
            unknown_fields=frozenset(self.unknown),
            raw_of=lambda line, record: orjson.dumps(self.sent[line][record - 1]).decode(),
        )

    def _one_by_one(self, number: int, values: list[object]) -> pa.RecordBatch:
        good: list[tuple[int, float, str]] = []
        for position, point in enumerate(values, 1):
            match point:
                case [bool(), _]:
                    self._refuse(number, position, Reason.STRUCTURE, "a point's time is no number", point)
                case [int() | float() as seconds, str() as sent]:
                    good.append((position, float(seconds), sent))
                case _:
                    self._refuse(number, position, Reason.STRUCTURE, "a point is no [time, text] pair", point)
        return self._chunk(number, [g[0] for g in good], [g[1] for g in good], [g[2] for g in good])

    def _chunk(self, number: int, positions: Any, seconds: list[float], sent: list[str]) -> pa.RecordBatch:
        columns = [[number] * len(positions), positions, seconds, sent]
        return pa.record_batch(
            [pa.array(column, kind.type) for column, kind in zip(columns, _POINTS, strict=True)], schema=_POINTS
        )

    def _refuse(self, line: int, record: int | None, reason: Reason, detail: str, value: object) -> None:
        self.refusals.append(Refusal(line, record, reason, detail, clipped(orjson.dumps(value))))


_POINTS = pa.schema(
    [("line", pa.int64()), ("record", pa.int64()), ("seconds", pa.float64()), ("sent_value", pa.string())]
)


def _labels(metric: Mapping[str, object], fallback_name: str) -> tuple[str, str | None, str]:
    labels = {name: str(value) for name, value in metric.items()}
    name = labels.pop("__name__", fallback_name)
    service = next((labels[label] for label in SERVICE_LABELS if label in labels), None)
    return name, service, orjson.dumps(labels).decode()


def _recognises(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"resultType"' in head


FORMAT = Format(
    name="prometheus",
    table="raw.metric_points",
    happened_at="observed_at",
    recognises=_recognises,
    batches=_batches,
)
