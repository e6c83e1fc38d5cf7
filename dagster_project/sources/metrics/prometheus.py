"""Prometheus `query_range` answers (result type matrix, and instant vectors) as rows of `raw.metric_points`.

`line` is the position of the series in the answer, `record` the position of the point in the series. A series without
`__name__`, as an expression gives it, takes the file's name up to the first dot, or the name of the query's folder
where the file is named after a window of time. NaN and infinities land as they are: staging knows what to make of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dagster_project.sources.decoding.columns import int64, numbers
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream, head
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.metrics.metric_columns import (
    SERVICE_LABELS,
    by_series,
    described,
    doubles,
    floats,
    moments,
    positions,
    texts,
)
from dagster_project.sources.otlp.otlp_salvage import raw_text
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

_SELECT = """
    with parsed as (
        -- What Arrow read as a number is one; a text is looked at where it did not. To the engine, 1_000 were one, too.
        select *,
            coalesce(sent_number, case when not contains(sent_text, '_') then try_cast(sent_text as double) end)
                as number
        from metric_points
    )
    select
        line, record, metric_name, service_name, labels::json as labels, observed_at, number as value,
        case
            when observed_at is null then 'time_out_of_range'
            when number is null then 'value_malformed'
        end as reason,
        metric_name || ' at ' || seconds || ' = ' || coalesce(sent_text, sent_number::varchar) as detail
    from parsed
"""


# --- the answer -------------------------------------------------------------------------------------------------------


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    start = head(stream.path)
    if problem := _refused_by_its_head(start):
        yield Batch(refusals=[problem])
        return
    name = name_of_file(stream.path)
    elements = Elements(stream, "data", "result")
    is_refused = False
    for piece in elements:
        if isinstance(piece, Refusal):
            is_refused = True
            yield Batch(refusals=[piece])
        else:
            yield _batch(piece, name, options)
    if not is_refused and start.strip():
        yield _judged_by_its_end(elements.envelope)


_HAS_FAILED = re.compile(rb'^\s{0,99}\{\s{0,99}"status"\s{0,99}:\s{0,99}"error"')
_RESULT_TYPE = re.compile(rb'"resultType"\s{0,99}:\s{0,99}"(\w{1,99})"')


def _refused_by_its_head(start: bytes) -> Refusal | None:
    """An answer without series says so before it gives its result; it is refused as a whole, not value by value."""
    if _HAS_FAILED.match(start):
        return Refusal(1, None, Reason.OTHER_FORMAT, f"the query failed: {_error(start)}", clipped(start))
    kind = _RESULT_TYPE.search(start)
    if kind is not None and kind[1] not in (b"matrix", b"vector"):
        detail = f"the result is of type {kind[1].decode()}: ask query_range, whose answers are of type matrix"
        return Refusal(1, None, Reason.OTHER_FORMAT, detail, clipped(start))
    return None


def _error(start: bytes) -> str:
    try:
        answer = orjson.loads(start)
    except orjson.JSONDecodeError:
        return "its answer says no more that can be read"
    return f"{answer.get('errorType')}: {answer.get('error')}"


def _judged_by_its_end(answer: object) -> Batch:
    """What only the whole answer tells: that it is none, that it failed, that the server warned."""
    if not isinstance(answer, dict):
        detail = "no answer of Prometheus: not an object"
    elif answer.get("status") != "success":
        detail = f"the query failed: {answer.get('errorType')}: {answer.get('error')}"
    elif not isinstance(answer.get("data"), dict) or not isinstance(answer["data"].get("result"), list):
        detail = "no answer of query_range: it has no data.result"
    else:
        unknown = frozenset(answer.keys() - {"status", "data"}) | {
            f"data.{name}" for name in answer["data"].keys() - {"resultType", "result"}
        }
        return Batch(unknown_fields=frozenset(map(str, unknown)))
    return Batch(refusals=[Refusal(1, None, Reason.OTHER_FORMAT, detail, None)])


_WINDOW = re.compile(r"\d{8}T\d{6}Z-\d{8}T\d{6}Z")


def name_of_file(path: Path) -> str:
    """The metric of series that name none: the file's name up to the first dot, its folder's if it names a window."""
    stem = path.name.split(".")[0]
    return path.parent.name if _WINDOW.fullmatch(stem) and path.parent.name else stem


# --- a block of series ------------------------------------------------------------------------------------------------


@dataclass
class _Points:
    """Some points by the position of their series; a point is never a Python object of its own row."""

    series: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)  # CSV: seconds,"value"


@dataclass
class _Series:
    """The series of one block: their labels, and what could not be read."""

    fallback_name: str
    options: ReadOptions
    names: list[tuple[str, str | None, str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    odd: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, line: int, metric: Mapping[str, object]) -> int:
        """The position of a new series."""
        self.names.append(_labels(metric, self.fallback_name, self.options.service_name))
        self.lines.append(line)
        return len(self.lines) - 1

    def forget(self, line: int) -> None:
        """The series of this line, if it was the last one that was added."""
        if self.lines and self.lines[-1] == line:
            self.lines.pop()
            self.names.pop()

    def refuse(self, line: int, record: int | None, reason: Reason, detail: str, value: object) -> None:
        raw = clipped(value) if isinstance(value, bytes) else raw_text(value)
        self.refusals.append(Refusal(line, record, reason, detail, raw))


def _batch(block: Block, fallback_name: str, options: ReadOptions) -> Batch:
    found = _Series(fallback_name, options)
    points = _Points()
    for line, element in block.lines():
        _add(found, points, line, element)
    read = _read(found, points)
    chunks = [chunk for chunk in (*read, *found.odd) if chunk.num_rows]
    count = sum(chunk.num_rows for chunk in chunks)
    tables = {"metric_points": _table(found, chunks)} if count else {}
    return Batch(
        count,
        tables,
        _SELECT,
        refusals=found.refusals,
        unknown_fields=frozenset(found.unknown),
        raw_of=_raw_of(block),
        lines=block,
    )


_VALUES = b',"values":[['


def _add(found: _Series, points: _Points, line: int, element: bytes) -> None:
    """One series by the fast way, which reads what Prometheus writes, and no other bytes; else by the slow one."""
    start, _, values = element.rstrip().partition(_VALUES)
    try:
        series = orjson.loads(start + b"}") if values else None
    except orjson.JSONDecodeError:
        series = None
    metric = series.get("metric") if isinstance(series, dict) and len(series) == 1 else None
    if not isinstance(metric, dict) or not _add_values(found, points, found.add(line, metric), values):
        found.forget(line)
        _add_slowly(found, points, line, element)


def _add_values(found: _Series, points: _Points, position: int, values: bytes) -> bool:
    """Whether the values of a series could be read without making an object of each."""
    rows = _rows(values)
    if rows is None:
        return _add_told_apart(found, position, values)
    points.series.append(position)
    points.counts.append(rows.count(b"\n"))
    points.rows.append(rows)
    return True


# Everything but what gives a row its shape, blanks of JSON, and escapes.
_PLAIN = bytes(set(range(256)) - set(b',"[]{}\\\n\r'))


def _rows(values: bytes) -> bytes | None:
    """`1,"2"],[3,"4"]]}` as lines of CSV; None when it has any other shape.

    Each row is bare characters, a comma, and quoted characters, none of them special in JSON or in CSV: the order of
    what remains without the bare ones proves it.
    """
    if not values.endswith(b'"]]}'):
        return None
    rows = values[:-3].replace(b'"],[', b'"\n') + b"\n"
    count = rows.count(b"\n")
    if rows.count(b',"') != count or rows.translate(None, _PLAIN) != b',""\n' * count:
        return None
    return rows


def _add_slowly(found: _Series, points: _Points, line: int, element: bytes) -> None:
    """One series in any JSON: written anew, the fast way may read it; if it cannot, point by point."""
    try:
        series = orjson.loads(element)
    except orjson.JSONDecodeError as error:
        found.refuse(line, None, Reason.NOT_JSON, f"the series is no JSON: {error}", element)
        return
    if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
        found.refuse(line, None, Reason.STRUCTURE, "a series without its labels", element)
        return
    found.unknown |= {f"data.result.{name}" for name in series.keys() - {"metric", "values", "value", "histograms"}}
    if histograms := series.get("histograms") or series.get("histogram"):
        detail = f"native histograms are not read: {len(histograms) if isinstance(histograms, list) else 1} samples"
        found.refuse(line, None, Reason.OTHER_FORMAT, f"{detail}; ask for histogram_quantile() or _bucket", element)
    values = [series["value"]] if "value" in series and "values" not in series else series.get("values") or []
    if not isinstance(values, list):
        found.refuse(line, None, Reason.STRUCTURE, "the values of a series are no array", element)
        return
    position = found.add(line, series["metric"])
    if not _add_values(found, points, position, _written_anew(values)):
        _add_one_by_one(found, position, enumerate(values, 1))


def _written_anew(values: Sequence[object]) -> bytes:
    """As the end of a series that Prometheus writes; empty when it is nested too deeply for that."""
    try:
        return orjson.dumps(values)[2:] + b"}"
    except TypeError:
        return b""


# A row of the shape that Prometheus writes, without what CSV would read in another way.
_POINT = r'^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?,"[^"\\\x00-\x1f]*"$'


def _add_told_apart(found: _Series, position: int, values: bytes) -> bool:
    """A series with points that are none: those alone are looked at, if they can be told from the others."""
    if not values.endswith(b"]]}"):
        return False
    rows = pc.split_pattern(_binary(values[:-3]), b"],[").flatten()
    is_point = pc.match_substring_regex(rows, _POINT)
    good, bad = (pc.indices_nonzero(mask).cast(pa.int64()) for mask in (is_point, pc.invert(is_point)))
    try:
        # A text that has the separator in it was cut: what stands before the cut is no JSON then.
        others = [(at + 1, orjson.loads(b"[" + rows[at].as_py() + b"]")) for at in bad.to_pylist()]
        sent = _sent(_joined(rows.take(good))) if len(good) else None
    except (orjson.JSONDecodeError, pa.ArrowInvalid):
        return False
    _add_one_by_one(found, position, others)
    if sent is not None:
        series = int64(np.full(len(good), position))
        found.odd.append(pa.record_batch([series, int64(numbers(good) + 1), *sent], schema=_SCHEMA))
    return True


def _joined(rows: pa.Array) -> bytes:
    """The rows as lines."""
    whole = pa.ListArray.from_arrays(pa.Array.from_buffers(pa.int32(), 2, [None, _bounds(len(rows))]), rows)
    return bytes(pc.binary_join(whole, _binary(b"\n")[0])[0].as_py())


def _bounds(length: int) -> pa.Buffer:
    return pa.py_buffer(np.array([0, length], np.int32))


def _binary(value: bytes) -> pa.Array:
    """A column of one value; see `columns.text_scalar`."""
    return pa.Array.from_buffers(pa.binary(), 1, [None, _bounds(len(value)), pa.py_buffer(value)])


def _add_one_by_one(found: _Series, position: int, points: Iterable[tuple[int, object]]) -> None:
    """The slowest way, for points that are none, or that are written in an odd way; by their places."""
    good: list[tuple[int, float, str]] = []
    for record, point in points:
        match point:
            case [bool(), _]:
                found.refuse(found.lines[position], record, Reason.STRUCTURE, "a point's time is no number", point)
            case [int() | float() as at, str() as sent]:
                good.append((record, float(at), sent))
            case _:
                detail = "a point is no [time, text] pair"
                found.refuse(found.lines[position], record, Reason.STRUCTURE, detail, point)
    columns = [
        int64(np.full(len(good), position)),
        int64(np.array([record for record, _, _ in good], np.int64)),
        floats([seconds for _, seconds, _ in good]),
        pa.nulls(len(good), pa.float64()),
        texts([sent for _, _, sent in good]),
    ]
    found.odd.append(pa.record_batch(columns, schema=_SCHEMA))


# --- columns ----------------------------------------------------------------------------------------------------------

_SCHEMA = pa.schema(
    [
        ("series", pa.int64()),
        ("record", pa.int64()),
        ("seconds", pa.float64()),
        ("sent_number", pa.float64()),
        ("sent_text", pa.large_string()),
    ]
)


def _read(found: _Series, points: _Points) -> Iterator[pa.RecordBatch]:
    """The rows as columns. A row whose time is no number spoils all: halves are tried, and its series goes slowly."""
    if not points.series:
        return
    try:
        yield _columns(points)
    except pa.ArrowInvalid:
        if len(points.series) == 1:
            values = points.rows[0].removesuffix(b"\n").replace(b"\n", b"],[")
            try:
                _add_one_by_one(found, points.series[0], enumerate(orjson.loads(b"[[" + values + b"]]"), 1))
            except orjson.JSONDecodeError as error:
                line = found.lines[points.series[0]]
                found.refuse(line, None, Reason.NOT_JSON, f"the series is no JSON: {error}", points.rows[0])
            return
        middle = len(points.series) // 2
        for half in (slice(None, middle), slice(middle, None)):
            yield from _read(found, _Points(points.series[half], points.counts[half], points.rows[half]))


def _columns(points: _Points) -> pa.RecordBatch:
    place, record = positions(np.array(points.counts))
    columns = [int64(np.array(points.series)[place]), int64(record), *_sent(b"".join(points.rows))]
    return pa.record_batch(columns, schema=_SCHEMA)


def _sent(rows: bytes) -> list[pa.Array]:
    """Seconds, and the values as numbers, or as texts when one of them is none that Arrow knows."""
    try:
        read = _csv(rows, pa.float64())
        sent = [read.column("sent").chunk(0), pa.nulls(read.num_rows, pa.large_string())]
    except pa.ArrowInvalid:
        read = _csv(rows, pa.large_string())
        sent = [pa.nulls(read.num_rows, pa.float64()), read.column("sent").chunk(0)]
    return [read.column("seconds").chunk(0), *sent]


def _csv(content: bytes, kind: pa.DataType) -> pa.Table:
    """The rows, with the sent values as `kind`, in one chunk."""
    return pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(
            column_names=["seconds", "sent"], use_threads=False, block_size=len(content) + 1
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={"seconds": pa.float64(), "sent": kind}, null_values=[], strings_can_be_null=False
        ),
    ).combine_chunks()


def _table(found: _Series, chunks: list[pa.RecordBatch]) -> pa.Table:
    points = pa.Table.from_batches(chunks, _SCHEMA).combine_chunks()
    names, services, labels = (texts(column) for column in zip(*found.names, strict=True))
    told = {
        "line": int64(np.array(found.lines)),
        "metric_name": names,
        "service_name": services,
        "labels": labels,
    }
    kept = {name: points.column(name) for name in ("record", "seconds", "sent_number", "sent_text")}
    kept["observed_at"] = moments(doubles(points.column("seconds").chunk(0)))
    return pa.table(by_series(numbers(points.column("series").chunk(0)), told) | kept)


def _labels(metric: Mapping[str, object], fallback_name: str, service: str | None) -> tuple[str, str | None, str]:
    labels = dict(metric)
    name = str(labels.pop("__name__", fallback_name))
    return name, *described(labels, service)


def _raw_of(block: Block) -> Callable[[int, int], str | None]:
    """The text of a point that the engine refused; its series is looked up again, as such points are few."""

    @lru_cache(maxsize=1)
    def values(line: int) -> list[Any]:
        element = block.line(line) or b""
        try:
            series = orjson.loads(element)
        except orjson.JSONDecodeError:  # the fast way does not mind a number such as 007
            rows = element.partition(_VALUES)[2].split(b"],[")
            return [row.decode(errors="replace") for row in rows]
        return series["values"] if "values" in series else [series["value"]]

    return lambda line, record: raw_text(values(line)[record - 1])


def _recognises(start: bytes) -> bool:
    return start.lstrip().startswith(b"{") and b'"resultType"' in start


FORMAT = Format(
    name="prometheus",
    table="raw.metric_points",
    happened_at="observed_at",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
    filled_from={"service_name": SERVICE_LABELS, "metric_name": ("__name__",)},
)
