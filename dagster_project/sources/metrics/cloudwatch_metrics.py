"""Metrics of CloudWatch as the AWS command line and the SDKs print them: GetMetricData and GetMetricStatistics.

GetMetricData: `line` is the position of the result, `record` that of the point in it. GetMetricStatistics: `line` is
the position of the data point, `record` that of the statistic in it; each statistic is a series of its own. An answer
does not say which resource it is about: give results a `Label`, or the source a `service_name`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from dagster_project.sources.decoding.columns import int64
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream, document, head
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.metrics.metric_columns import (
    by_series,
    floats,
    microseconds,
    moment,
    positions,
    texts,
    time_reason,
)
from dagster_project.sources.otlp.otlp_salvage import raw_text
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
STATISTICS_LIMIT_BYTES = 64 << 20  # an answer of GetMetricStatistics has at most 1,440 data points

_SELECT = Template(
    """
    with timed as (
        select *, $micros as micros
        from metric_points, metric_source
    ),
    parsed as (
        select *, $moment as moment, $time_reason as time_reason
        from timed
    )
    select
        line, record, metric_name, service as service_name, labels::json as labels, unit, moment as observed_at,
        number as value,
        case
            when moment is null then time_reason
            when number is null then 'value_malformed'
        end as reason,
        metric_name || ' at ' || sent_time || ' = ' || coalesce(number::varchar, 'no number') as detail
    from parsed
    """
).substitute(
    micros=microseconds("sent_time", "zone"), moment=moment("micros"), time_reason=time_reason("sent_time", "micros")
)


@dataclass
class _Points:
    """Series, and their points as plain columns."""

    names: list[tuple[str, str, str | None]] = field(default_factory=list)  # metric, labels, unit
    lines: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)  # of the first point
    counts: list[int] = field(default_factory=list)
    times: list[object] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def add(
        self,
        place: tuple[int, int],
        name: tuple[str, Mapping[str, str], str | None],
        times: Sequence[object],
        values: Sequence[object],
    ) -> None:
        metric, labels, unit = name
        self.names.append((metric, orjson.dumps(labels).decode(), unit))
        self.lines.append(place[0])
        self.records.append(place[1])
        self.counts.append(len(times))
        self.times += times
        self.values += values

    def refuse(self, line: int, reason: Reason, detail: str, value: object) -> None:
        raw = clipped(value) if isinstance(value, bytes) else raw_text(value)
        self.refusals.append(Refusal(line, None, reason, detail, raw))

    def batch(self, options: ReadOptions, lines: Block | None = None) -> Batch:
        tables = {
            "metric_points": self._table(),
            "metric_source": pa.table(
                {"service": texts([options.service_name]), "zone": texts([options.time_zone])},
            ),
        }
        return Batch(
            len(self.times),
            tables if self.times else {},
            _SELECT,
            refusals=self.refusals,
            unknown_fields=frozenset(self.unknown),
            raw_of=self._raw_of(),
            lines=lines,
        )

    def _table(self) -> pa.Table:
        series, place = positions(np.array(self.counts, np.int64))
        metrics, labels, units = (texts(column) for column in zip(*self.names, strict=True)) if self.names else [[]] * 3
        told = {"metric_name": metrics, "labels": labels, "unit": units}
        own = {
            "line": int64(np.array(self.lines, np.int64)[series]),
            "record": int64(np.array(self.records, np.int64)[series] + place - 1),
            "sent_time": texts(list(map(str, self.times))),
            "number": _numbers(self.values),
        }
        return pa.table(own | by_series(series, told)) if self.names else pa.table(own)

    def _raw_of(self) -> Callable[[int, int], str | None]:
        def raw(line: int, record: int) -> str | None:
            at = 0
            for number, first, count in zip(self.lines, self.records, self.counts, strict=True):
                if number == line and first <= record < first + count:
                    return raw_text([self.times[at + record - first], self.values[at + record - first]])
                at += count
            return None

        return raw


def _numbers(values: Sequence[object]) -> pa.Array:
    """What is no number is null."""
    if set(map(type, values)) <= {int, float}:
        return floats(values)  # type: ignore[arg-type]
    valid = np.array([type(value) in (int, float) for value in values], np.bool_)
    numbers = np.array([value if type(value) in (int, float) else 0 for value in values], np.float64)
    packed = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.float64(), len(values), [packed, pa.py_buffer(numbers)])


# --- GetMetricData ----------------------------------------------------------------------------------------------------


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    start = head(stream.path)
    if not start.strip():
        return
    if _IS_DATA.search(start):
        yield from _metric_data(stream, options)
    else:
        yield _metric_statistics(document(stream, STATISTICS_LIMIT_BYTES), options)


_IS_DATA = re.compile(rb'"MetricDataResults"\s{0,99}:')
_RESULT_FIELDS = frozenset({"Id", "Label", "Timestamps", "Values", "StatusCode", "Messages"})


def _metric_data(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    elements = Elements(stream, "MetricDataResults")
    for piece in elements:
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
        else:
            yield _results(piece, options)
    envelope = elements.envelope
    if isinstance(envelope, dict):
        # `NextToken` says that the answer goes on elsewhere, `Messages` that something is amiss.
        said = {str(name) for name, value in envelope.items() if name != "MetricDataResults" and value}
        yield Batch(unknown_fields=frozenset(said - {"ResponseMetadata"}))


def _results(block: Block, options: ReadOptions) -> Batch:
    points = _Points()
    for line, element in block.lines():
        try:
            result = orjson.loads(element)
        except orjson.JSONDecodeError as error:
            points.refuse(line, Reason.NOT_JSON, f"the result is no JSON: {error}", element)
            continue
        if not isinstance(result, dict):
            points.refuse(line, Reason.STRUCTURE, "a result is no object", element)
            continue
        _add_result(points, line, result)
    return points.batch(options, block)


def _add_result(points: _Points, line: int, result: Mapping[str, Any]) -> None:
    points.unknown |= {f"MetricDataResults.{name}" for name in result.keys() - _RESULT_FIELDS}
    times, values = result.get("Timestamps") or [], result.get("Values") or []
    label, identifier = result.get("Label"), result.get("Id")
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        points.refuse(line, Reason.STRUCTURE, "as many times as values are needed: nobody knows which belong", result)
        return
    name = next((each for each in (label, identifier) if isinstance(each, str) and each), None)
    if name is None:
        points.refuse(line, Reason.ID_MISSING, "a result without Label and Id", result)
        return
    status = result.get("StatusCode", "Complete")
    if status not in ("Complete", "PartialData"):
        points.refuse(line, Reason.OTHER_FORMAT, f"CloudWatch says {status!r:.80} of {name:.200}; ask it again", result)
    elif status == "PartialData":
        points.unknown.add("(results of which CloudWatch says that they are partial)")
    labels = {"id": identifier} if isinstance(identifier, str) else {}
    points.add((line, 1), (name, labels, None), times, values)


# --- GetMetricStatistics ----------------------------------------------------------------------------------------------


def _metric_statistics(content: bytes | Refusal, options: ReadOptions) -> Batch:
    if isinstance(content, Refusal):
        return Batch(refusals=[content])
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return Batch(refusals=[Refusal(1, None, Reason.NOT_JSON, str(error), clipped(content))])
    label, found = (answer.get("Label"), answer.get("Datapoints")) if isinstance(answer, dict) else (None, None)
    if not isinstance(label, str) or not label or not isinstance(found, list):
        detail = "no answer of GetMetricData or GetMetricStatistics: it has neither MetricDataResults nor Datapoints"
        return Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(content))])
    points = _Points()
    for line, point in enumerate(found, 1):
        if isinstance(point, dict):
            _add_datapoint(points, line, label, point)
        else:
            points.refuse(line, Reason.STRUCTURE, "a data point is no object", point)
    return points.batch(options)


def _add_datapoint(points: _Points, line: int, label: str, point: Mapping[str, Any]) -> None:
    extended = point.get("ExtendedStatistics") or {}
    points.unknown |= {
        f"Datapoints.{name}" for name in point.keys() - {*STATISTICS, "Timestamp", "Unit", "ExtendedStatistics"}
    }
    if not isinstance(extended, dict):
        points.refuse(line, Reason.STRUCTURE, "ExtendedStatistics is no object", point)
        return
    values = {name: point[name] for name in STATISTICS if name in point} | extended
    if not values:
        points.refuse(line, Reason.STRUCTURE, "a data point without a statistic", point)
        return
    unit = point.get("Unit")
    for record, (statistic, value) in enumerate(values.items(), 1):
        name = (label, {"statistic": str(statistic)}, unit if isinstance(unit, str) and unit != "None" else None)
        points.add((line, record), name, ["" if (at := point.get("Timestamp")) is None else at], [value])


def _recognises(start: bytes) -> bool:
    if not start.lstrip().startswith(b"{"):
        return False
    return _IS_DATA.search(start) is not None or (b'"Datapoints"' in start and b'"Label"' in start)


FORMAT = Format(
    name="cloudwatch_metrics",
    table="raw.metric_points",
    happened_at="observed_at",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name", "time_zone"}),
    filled_from={"metric_name": ("MetricName", "Label", "Id")},
)
