"""Wide CSV of metrics, as pandas writes a table whose columns have several levels: a column a series, a row a time.

    microservice,shop,shop,cart
    metric,latency,latency,requests
    statistic,Average,p90,Sum
    unix_timestamp,,,
    1681849920.0,0.02,0.07,

`line` is the line of the row, `record` the position of the series among the columns of values. An empty cell is a point
that is not there; it is no record. Other CSV, of one row of names, is not read here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from string import Template

import numpy as np
import pyarrow as pa

from dagster_project.sources.decoding import csv_rows
from dagster_project.sources.decoding.columns import Numbers, int64, numbers
from dagster_project.sources.decoding.reading import UTF8_MARK, ByteStream, head
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.metrics.metric_columns import (
    SERVICE_LABELS,
    by_series,
    described,
    microseconds,
    moment,
    texts,
    time_reason,
)
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

LEVELS_LIMIT = 8
SERVICE_LEVELS = (*SERVICE_LABELS, "microservice")
METRIC_LEVEL = "metric"

_SELECT = Template(
    """
    with timed as (
        select *, $micros as micros
        from times
    ),
    parsed as (
        select points.*, sent_time, try_cast(sent_value as double) as number,
            $moment as moment, $time_reason as time_reason
        from metric_points as points inner join timed using (line)
    )
    select
        line, record, metric_name, service_name, labels::json as labels, moment as observed_at, number as value,
        case
            when moment is null then time_reason
            when number is null then 'value_malformed'
        end as reason,
        metric_name || ' at ' || sent_time || ' = ' || sent_value as detail
    from parsed
    """
).substitute(
    micros=microseconds("sent_time", "zone"), moment=moment("micros"), time_reason=time_reason("sent_time", "micros")
)


@dataclass(frozen=True)
class _Header:
    """The levels of the columns, outermost first, and the series that they make."""

    levels: tuple[str, ...]
    series: tuple[tuple[str, ...], ...]  # a tuple of labels a column

    @property
    def rows(self) -> int:
        """How many rows are no times: one a level, and one with the name of the times."""
        return len(self.levels) + 1


def _header(start: bytes) -> _Header | None:
    """The header, when it is one of several levels that ends with the name of the times alone."""
    text = start.removeprefix(UTF8_MARK).decode(errors="replace")
    rows: list[list[str]] = []
    try:
        for row in islice(csv.reader(io.StringIO(text)), LEVELS_LIMIT + 1):
            if len(row) < 2 or not row[0] or (rows and len(row) != len(rows[0])):
                return None
            if not any(row[1:]):
                names = tuple(each[0] for each in rows)
                is_one = len(rows) > 1 and len(set(names)) == len(names)
                return _Header(names, tuple(zip(*(each[1:] for each in rows), strict=True))) if is_one else None
            rows.append(row)
    except csv.Error:
        pass
    return None


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    start = head(stream.path)
    header = _header(start)
    if header is None or _metric_level(header, options) is None:
        if start.strip():
            detail = (
                f"no table of metrics: it begins with one row a level, one of them called {METRIC_LEVEL} "
                "(or what the source says under fields.metric_name), and a row that names the times alone"
            )
            yield Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(start))])
        return
    series = _series(header, options)
    for rows in csv_rows.rows(stream):
        yield _batch(rows, header, series, options)


def _metric_level(header: _Header, options: ReadOptions) -> str | None:
    name = options.fields.get("metric_name", METRIC_LEVEL)
    return name if name in header.levels else None


def _series(header: _Header, options: ReadOptions) -> dict[str, pa.Array]:
    """Name, service and labels of every column."""
    metric_level = _metric_level(header, options)
    service_level = options.fields.get("service_name")
    levels = (service_level,) if service_level else SERVICE_LEVELS
    names: list[tuple[str, str | None, str]] = []
    for values in header.series:
        labels = dict(zip(header.levels, values, strict=True))
        name = labels.pop(metric_level or METRIC_LEVEL)
        service = next((labels[level] for level in levels if labels.get(level)), options.service_name)
        names.append((name, service, described(labels, None)[1]))
    columns = [texts(column) for column in zip(*names, strict=True)]
    return dict(zip(("metric_name", "service_name", "labels"), columns, strict=True))


def _batch(rows: csv_rows.Rows, header: _Header, series: dict[str, pa.Array], options: ReadOptions) -> Batch:
    lines = numbers(rows.line)
    is_time = lines > header.rows
    table = rows.row.filter(_booleans(is_time))
    lines = lines[is_time]
    if not len(lines):
        return Batch(refusals=rows.refusals)
    time, *cells = table.flatten()
    sent = pa.chunked_array(cells).combine_chunks().cast(pa.large_string())
    place = np.flatnonzero(np.diff(_offsets(sent)))  # of cells that are not empty, column by column
    column = place // len(lines)
    points = {
        "line": int64(lines[place % len(lines)]),
        "record": int64(column + 1),
        "sent_value": sent.take(int64(place)),
    }
    times = {
        "line": int64(lines),
        "sent_time": time.cast(pa.large_string()),
        "zone": texts([options.time_zone] * len(lines)),
    }
    return Batch(
        len(place),
        {"metric_points": pa.table(points | by_series(column, series)), "times": pa.table(times)},
        _SELECT,
        refusals=rows.refusals,
        raw_of=_raw_of(lines, time, cells),
    )


def _offsets(column: pa.Array) -> Numbers:
    """Where each text of a column of large strings begins, and where the last one ends."""
    found = np.frombuffer(column.buffers()[1], np.int64)
    return found[column.offset : column.offset + len(column) + 1]


def _booleans(values: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
    packed = pa.py_buffer(np.packbits(values, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, packed])


def _raw_of(lines: Numbers, time: pa.Array, cells: Sequence[pa.Array]) -> Callable[[int, int], str | None]:
    def raw(line: int, record: int) -> str:
        row = int(np.searchsorted(lines, line))
        return f"{time[row].as_py()},{cells[record - 1][row].as_py()}"

    return raw


def _recognises(start: bytes) -> bool:
    header = _header(start) if not start.lstrip().startswith((b"{", b"[")) else None
    return header is not None and METRIC_LEVEL in header.levels


FORMAT = Format(
    name="metrics_wide_csv",
    table="raw.metric_points",
    happened_at="observed_at",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"fields", "service_name", "time_zone"}),
    fields=frozenset({"metric_name", "service_name"}),
    filled_from={"service_name": SERVICE_LEVELS},
)
