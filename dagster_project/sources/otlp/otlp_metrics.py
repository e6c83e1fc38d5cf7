"""OTLP metrics: what a data point is in Arrow, and how it becomes a row of `raw.metric_points` or a histogram's.

Reads OTLP/JSON, one request a line; `otlp_protobuf.py` hands over the same Arrow tables and the same JSON for what does
not fit them. Gauges, sums and summaries become points (a summary one a quantile, and its sum and count under the
metric's name with `_sum` and `_count`), both kinds of histograms rows of `raw.metric_histograms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.columns import Numbers, int64, nulls, numbers, parents, taken, texts_of
from dagster_project.sources.decoding.reading import Block, ByteStream, blocks
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp import otlp_lines, otlp_metric_points, otlp_salvage
from dagster_project.sources.otlp.otlp_checks import nanoseconds, shown, time_reason
from dagster_project.sources.otlp.otlp_lines import Signal
from dagster_project.sources.otlp.otlp_metric_points import KINDS
from dagster_project.sources.otlp.otlp_reading import LineReader, Piece
from dagster_project.sources.otlp.otlp_salvage import Row, Shape, count, enum, integer, text
from dagster_project.sources.otlp.otlp_values import (
    NOT_FINITE,
    Malformed,
    Spelling,
    attribute_texts,
    attributes_text,
    attributes_type,
)
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch, Lines, Target
from dagster_project.warehouse.quarantine import Reason, Refusal

TEMPORALITIES = {
    f"AGGREGATION_TEMPORALITY_{name}": number for number, name in enumerate(("UNSPECIFIED", "DELTA", "CUMULATIVE"))
}
NO_RECORDED_VALUE = 1  # bit of a point's flags: the point says that there is none
EXACT_LIMIT = 1 << 53  # integers beyond lie between two doubles
_NO_VALUE_NAME = "resourceMetrics.scopeMetrics.metrics.dataPoints.flags: NO_RECORDED_VALUE, no row"
_ROUNDED_NAME = "resourceMetrics.scopeMetrics.metrics.dataPoints.asInt: beyond 2^53, rounded to a double"
_HISTOGRAM_KINDS = ("histogram", "exponentialHistogram")

# --- metrics as Arrow reads them --------------------------------------------------------------------------------------


def _data(spelling: Spelling, point: list[tuple[str, pa.DataType]], *about: tuple[str, pa.DataType]) -> pa.StructType:
    every = [
        ("attributes", attributes_type(spelling)),
        ("startTimeUnixNano", spelling.times),
        ("timeUnixNano", spelling.times),
        ("flags", pa.uint32()),
    ]
    return pa.struct([("dataPoints", pa.list_(pa.struct([*every, *point]))), *about])


def _metric(spelling: Spelling) -> pa.StructType:
    temporality = ("aggregationTemporality", pa.int32())
    number = [("asDouble", pa.float64()), ("asInt", spelling.integers)]
    summed = [("count", spelling.integers), ("sum", pa.float64())]
    extremes = [("min", pa.float64()), ("max", pa.float64())]
    counts = pa.list_(spelling.integers)
    buckets = pa.struct([("offset", pa.int32()), ("bucketCounts", counts)])
    explicit = [("bucketCounts", counts), ("explicitBounds", pa.list_(pa.float64()))]
    exponential = [("scale", pa.int32()), ("zeroCount", spelling.integers), ("zeroThreshold", pa.float64())]
    exponential += [("positive", buckets), ("negative", buckets)]
    quantiles = pa.list_(pa.struct([("quantile", pa.float64()), ("value", pa.float64())]))
    return pa.struct(
        [
            ("name", pa.string()),
            ("unit", pa.string()),
            ("gauge", _data(spelling, number)),
            ("sum", _data(spelling, number, temporality, ("isMonotonic", pa.bool_()))),
            ("histogram", _data(spelling, [*summed, *extremes, *explicit], temporality)),
            ("exponentialHistogram", _data(spelling, [*summed, *extremes, *exponential], temporality)),
            ("summary", _data(spelling, [*summed, ("quantileValues", quantiles)])),
        ]
    )


# --- points as they were read: times still text, absent still null ----------------------------------------------------

_COUNTS = pa.list_(pa.uint64())
_ABOVE = [
    ("line", pa.int64()),
    ("service_name", pa.string()),
    ("resource_attributes", pa.string()),
    ("scope_name", pa.string()),
    ("metric_name", pa.string()),
    ("unit", pa.string()),
]
_ROWS = pa.schema(
    [
        *_ABOVE,
        ("record", pa.int64()),
        ("kind", pa.string()),
        ("temporality", pa.int32()),
        ("is_monotonic", pa.bool_()),
        ("attributes", pa.string()),
        ("observed", pa.string()),
        ("started", pa.string()),
        ("flags", pa.uint32()),
        ("as_double", pa.float64()),
        ("as_int", pa.int64()),
        ("part", pa.string()),  # of a summary: quantile, sum, count
        ("quantile", pa.float64()),
        ("point_count", pa.uint64()),
        ("point_sum", pa.float64()),
        ("point_min", pa.float64()),
        ("point_max", pa.float64()),
        ("explicit_bounds", pa.list_(pa.float64())),
        ("bucket_counts", _COUNTS),
        ("scale", pa.int32()),
        ("zero_count", pa.uint64()),
        ("zero_threshold", pa.float64()),
        ("positive_offset", pa.int32()),
        ("positive_counts", _COUNTS),
        ("negative_offset", pa.int32()),
        ("negative_counts", _COUNTS),
    ]
)
_ABOVE_NAMES = {name for name, _ in _ABOVE} | {"record"}
# A column here: the path from a data point to its field.
_Paths = dict[str, tuple[str, ...]]
_OF_DATA = {"temporality": "aggregationTemporality", "is_monotonic": "isMonotonic"}
_PLAIN: _Paths = {"observed": ("timeUnixNano",), "started": ("startTimeUnixNano",), "flags": ("flags",)}
_NUMBER: _Paths = {"as_double": ("asDouble",), "as_int": ("asInt",)}
_SUMMED: _Paths = {"point_count": ("count",), "point_sum": ("sum",), "point_min": ("min",), "point_max": ("max",)}
_FIELDS: dict[str, _Paths] = {
    "gauge": _NUMBER,
    "sum": _NUMBER,
    "histogram": _SUMMED | {"explicit_bounds": ("explicitBounds",), "bucket_counts": ("bucketCounts",)},
    "exponentialHistogram": _SUMMED
    | {"scale": ("scale",), "zero_count": ("zeroCount",), "zero_threshold": ("zeroThreshold",)}
    | {"positive_offset": ("positive", "offset"), "positive_counts": ("positive", "bucketCounts")}
    | {"negative_offset": ("negative", "offset"), "negative_counts": ("negative", "bucketCounts")},
    "summary": {"point_count": ("count",), "point_sum": ("sum",)},
}


def flat(piece: Piece) -> tuple[pa.Table, frozenset[str]]:
    """The points of some lines as one table, and the names that were read over.

    Raises
    ------
    pyarrow.ArrowInvalid
        A number is none, or too big for its column.
    """
    above, names = otlp_lines.flat(piece, METRICS)
    resources = piece.table.column(otlp_metric_points.ROOT).combine_chunks().flatten()
    metrics = resources.field(otlp_metric_points.SCOPES).flatten().field("metrics").flatten()
    tables, metric = zip(*(_of_kind(kind, metrics.field(kind)) for kind in KINDS), strict=True)
    of_metric = np.concatenate(metric)
    table = pa.concat_tables(tables)
    for name in above.schema.names:
        table = table.append_column(name, above.column(name).take(int64(of_metric)))
    line = numbers(table.column("line").combine_chunks())
    return table.append_column("record", int64(_numbered(of_metric, line))).select(_ROWS.names).cast(_ROWS), names


def _numbered(metric: Numbers, line: Numbers) -> Numbers:
    """The number of each row in its line: metric by metric, in a metric as the rows stand here."""
    order = np.argsort(metric, kind="stable")
    line_in_order = line[order]
    number = np.empty(len(line), np.int64)
    number[order] = np.arange(len(line)) - np.searchsorted(line_in_order, line_in_order) + 1
    return number


def _of_kind(kind: str, data: pa.StructArray) -> tuple[pa.Table, Numbers]:
    """The rows of one kind of metric without what stands above them, and the metric of each."""
    lists = data.field("dataPoints")
    points, metric = lists.flatten(), parents(lists)
    columns = {"kind": nulls(len(points)).fill_null(kind), "attributes": attribute_texts(points.field("attributes"))}
    for name, path in (_PLAIN | _FIELDS[kind]).items():
        column = pc.struct_field(points, list(path))
        wanted = _ROWS.field(name).type
        # Counts are sent as texts or as signed numbers; a cast judges them.
        columns[name] = column if column.type == wanted else column.cast(wanted)
    for name, of_data in _OF_DATA.items():
        if data.type.get_field_index(of_data) >= 0:
            columns[name] = data.field(of_data).take(int64(metric))
    for name in _ROWS.names:
        if name not in columns and name not in _ABOVE_NAMES:
            columns[name] = pa.nulls(len(points), _ROWS.field(name).type)
    table = pa.table(columns).select([name for name in _ROWS.names if name in columns])
    return _summary_rows(table, metric, points.field("quantileValues")) if kind == "summary" else (table, metric)


def _summary_rows(table: pa.Table, metric: Numbers, lists: pa.ListArray) -> tuple[pa.Table, Numbers]:
    """A row for each quantile of a point, then one for its sum, then one for its count."""
    lengths = numbers(pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64()))
    point = np.repeat(np.arange(len(lists)), lengths + 2)
    place = np.arange(len(point)) - np.searchsorted(point, point)
    left = lengths[point] - place  # above 0: quantiles are left
    values = lists.flatten()
    quantile = np.where(left > 0, (np.cumsum(lengths) - lengths)[point] + place, -1)
    rows = table.take(int64(point))
    part = texts_of("quantile", "sum", "count").take(int64(np.clip(1 - left, 0, 2)))
    columns = {
        "part": part,
        "quantile": taken(values.field("quantile"), quantile),
        "as_double": taken(values.field("value"), quantile),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows, metric[point]


# --- SQL: from points as they were read to rows and reasons -----------------------------------------------------------

# A quantile is a label, as Prometheus has it; one that the point brought along gives way.
_JUDGED = Template(
    r"""
    with parsed as (
        select * exclude (attributes), coalesce(attributes, '{}') as attributes,
            $observed_ns as observed_ns, $started_ns as started_ns,
            coalesce(started, '') in ('', '0') as is_never_started,
            case part when 'quantile' then regexp_replace(coalesce(quantile, 0)::varchar, '\.0$$', '') end as label,
            case part
                when 'sum' then coalesce(point_sum, 0)
                when 'count' then coalesce(point_count, 0)::double
                when 'quantile' then coalesce(as_double, 0)
                else coalesce(as_double, as_int::double)
            end as value
        from $table
    ),
    judged as (
        select *, case
            when coalesce(metric_name, '') = '' then 'field_malformed'
            when observed_ns is null then $observed_reason
            when not is_never_started and started_ns is null then $started_reason
            when temporality not between 0 and 2 then 'enum_unknown'
            when $is_malformed then 'value_malformed'
        end as reason
        from parsed
    )
    select
        line, record, service_name,
        metric_name || case part when 'sum' then '_sum' when 'count' then '_count' else '' end as metric_name,
        case
            when label is null then attributes
            when attributes = '{}' then '{"quantile":"' || label || '"}'
            when json_exists(attributes, '$$.quantile')
                then json_merge_patch(attributes, '{"quantile":"' || label || '"}')::varchar
            else left(attributes, -1) || ',"quantile":"' || label || '"}'
        end as labels,
        make_timestamp_ns(observed_ns) as observed_at,
        case when not is_never_started then make_timestamp_ns(started_ns) end as started_at,
        nullif(unit, '') as unit, case temporality when 1 then 'delta' when 2 then 'cumulative' end as temporality,
        nullif(scope_name, '') as scope_name, resource_attributes, reason,
        coalesce(metric_name || ': ', '') || case
            when reason like 'time%' and observed_ns is null then $observed_shown
            when reason like 'time%' then $started_shown
            when reason = 'enum_unknown' then 'aggregationTemporality = ' || temporality
            when reason = 'field_malformed' then 'a metric without a name'
            else '$malformed'
        end as detail,
        $columns
    from judged
    """
)


def _judged(table: str, columns: str, is_malformed: str, malformed: str) -> str:
    return _JUDGED.substitute(
        table=table,
        columns=columns,
        is_malformed=is_malformed,
        malformed=malformed,
        observed_ns=nanoseconds("observed"),
        started_ns=nanoseconds("started"),
        observed_reason=time_reason("observed"),
        started_reason=time_reason("started"),
        observed_shown=shown("timeUnixNano", "observed"),
        started_shown=shown("startTimeUnixNano", "started"),
    )


_POINTS = _judged(
    table="otlp_points",
    columns="value, kind as metric_type, case when kind = 'sum' then coalesce(is_monotonic, false) end as is_monotonic",
    is_malformed="value is null",
    malformed="neither asDouble nor asInt",
)
_HISTOGRAMS = _judged(
    table="otlp_histograms",
    columns="""coalesce(point_count, 0) as point_count, point_sum, point_min, point_max,
        case when kind = 'histogram' then coalesce(explicit_bounds, []) end as explicit_bounds,
        case when kind = 'histogram' then coalesce(bucket_counts, []) end as bucket_counts,
        case when kind <> 'histogram' then coalesce(scale, 0) end as scale,
        case when kind <> 'histogram' then coalesce(zero_count, 0) end as zero_count,
        case when kind <> 'histogram' then coalesce(zero_threshold, 0) end as zero_threshold,
        case when kind <> 'histogram' then coalesce(positive_offset, 0) end as positive_offset,
        case when kind <> 'histogram' then coalesce(positive_counts, []) end as positive_counts,
        case when kind <> 'histogram' then coalesce(negative_offset, 0) end as negative_offset,
        case when kind <> 'histogram' then coalesce(negative_counts, []) end as negative_counts""",
    is_malformed="""kind = 'histogram' and len(coalesce(bucket_counts, [])) > 0
        and len(bucket_counts) <> len(coalesce(explicit_bounds, [])) + 1""",
    malformed="there is not one bucket more than there are bounds",
)


# --- the slow way -----------------------------------------------------------------------------------------------------


def _row(entry: Mapping[str, Any]) -> Row:
    if "trouble" in entry:
        raise Malformed(str(entry["trouble"]), Reason.STRUCTURE)
    metric, point = entry["metric"], entry["point"]
    kind, part = metric["kind"], entry.get("part")
    row: Row = dict.fromkeys(_ROWS.names)
    row |= {
        "metric_name": text(metric, "name"),
        "unit": text(metric, "unit"),
        "kind": kind,
        "temporality": None if kind in ("gauge", "summary") else enum(metric, "aggregationTemporality", TEMPORALITIES),
        "is_monotonic": _boolean(metric, "isMonotonic") if kind == "sum" else None,
        "attributes": attributes_text(point.get("attributes")) if point.get("attributes") else None,
        "observed": integer(point, "timeUnixNano"),
        "started": integer(point, "startTimeUnixNano"),
        "flags": count(point, "flags"),
    }
    for name, path in _FIELDS[kind].items():
        row[name] = _field(point, name, path)
    if kind == "summary":
        row["part"] = part or "quantile"
    if "quantile" in entry:
        if not isinstance(entry["quantile"], dict):
            raise Malformed("a quantile is no object")
        row |= {"quantile": _double(entry["quantile"], "quantile"), "as_double": _double(entry["quantile"], "value")}
    for name in ("line", "record", "service_name", "resource_attributes", "scope_name"):
        del row[name]  # the reader of the line knows them
    return row


def _field(point: Mapping[str, Any], name: str, path: Sequence[str]) -> object:
    holder: Any = point
    for step in path[:-1]:
        holder = holder.get(step) or {}
        if not isinstance(holder, dict):
            raise Malformed(f"{step} is {type(holder).__name__}, not an object")
    kind = _ROWS.field(name).type
    if pa.types.is_list(kind):
        values = holder.get(path[-1])
        if values is None:
            return None
        if not isinstance(values, list):
            raise Malformed(f"{path[-1]} is {type(values).__name__}, not a list")
        return [_number({path[-1]: value}, path[-1], kind.value_type, is_needed=True) for value in values]
    return _number(holder, path[-1], kind)


def _number(holder: Mapping[str, Any], name: str, kind: pa.DataType, *, is_needed: bool = False) -> int | float | None:
    if is_needed and holder.get(name) is None:
        raise Malformed(f"{name} has an element that is null")
    if pa.types.is_floating(kind):
        return _double(holder, name)
    digits = integer(holder, name)
    if digits is None:
        return None
    bits, is_signed = kind.bit_width, pa.types.is_signed_integer(kind)
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if is_signed else (0, 1 << bits)
    if digits.lstrip("-").isdecimal() and digits.isascii() and len(digits) < 30 and low <= int(digits) < high:
        return int(digits)
    raise Malformed(f"{name} is {digits[:80]!r}, not a whole number from {low} to {high - 1}")


def _double(holder: Mapping[str, Any], name: str) -> float | None:
    value = holder.get(name)
    if value is None:
        return None
    is_text = isinstance(value, str) and (value in NOT_FINITE or value.strip("0123456789+-.eE") == "")
    if isinstance(value, bool) or not (is_text or isinstance(value, int | float)):
        raise Malformed(f"{name} is {value!r:.80}, not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Malformed(f"{name} is {value!r:.80}, not a number") from None


def _boolean(holder: Mapping[str, Any], name: str) -> bool | None:
    value = holder.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise Malformed(f"{name} is {value!r:.80}, not true or false")


SHAPE = Shape(
    root=otlp_metric_points.ROOT,
    scopes=otlp_metric_points.SCOPES,
    records="points",
    row=_row,
    rows=_ROWS,
    known=frozenset(("metric", "point", "quantile", "part", "trouble")),
)
# The metrics of a line, not yet their points: what stands above the points.
METRICS = Signal(
    shape=Shape(
        root=otlp_metric_points.ROOT,
        scopes=otlp_metric_points.SCOPES,
        records="metrics",
        row=_row,
        rows=pa.schema(_ABOVE),
        known=frozenset(),
    ),
    record=_metric,
    columns=lambda metrics: {"metric_name": metrics.field("name"), "unit": metrics.field("unit")},
    select="",
)


AsJson = Callable[[int], bytes]

# --- from files to batches --------------------------------------------------------------------------------------------


def decoded(good: Sequence[Piece], others: Sequence[Block], lines: Lines, as_json: AsJson) -> Iterator[Batch]:
    """Lines that Arrow could read, and those that it could not, as batches: one a table.

    Parameters
    ----------
    others
        As OTLP/JSON, a block a line.
    lines
        Where all of them came from.
    as_json
        A line of these as OTLP/JSON.
    """
    waiting, tables, names = list(others), [], frozenset[str]()
    for piece in good:
        try:
            table, found = flat(piece)
        except pa.ArrowInvalid:
            waiting += [Block(number, as_json(number)) for number in piece.line.tolist()]
        else:
            tables.append(table)
            names |= found
    refusals: list[Refusal] = []
    if waiting:
        flattened = otlp_metric_points.flattened(waiting)
        salvaged = otlp_salvage.salvage(flattened.lines, SHAPE)
        tables.append(salvaged.rows)
        refusals = salvaged.refusals
        names |= flattened.names | salvaged.unknown_fields
    yield from _batches_of(tables, refusals, names, lines, _RawPoints(as_json))


def _batches_of(
    tables: list[pa.Table], refusals: list[Refusal], names: frozenset[str], lines: Lines, raw: _RawPoints
) -> Iterator[Batch]:
    rows = pa.concat_tables(tables) if tables else _ROWS.empty_table()
    is_empty = pc.equal(pc.bit_wise_and(pc.fill_null(rows.column("flags"), 0), NO_RECORDED_VALUE), NO_RECORDED_VALUE)
    if pc.any(is_empty).as_py():
        rows, names = rows.filter(pc.invert(is_empty)), names | {_NO_VALUE_NAME}
    if _is_rounded(rows.column("as_int")):
        names |= {_ROUNDED_NAME}
    is_histogram = pc.is_in(rows.column("kind"), texts_of(*_HISTOGRAM_KINDS))
    points, histograms = rows.filter(pc.invert(is_histogram)), rows.filter(is_histogram)
    yield Batch(len(points), {"otlp_points": points}, _POINTS, refusals, names, raw, lines=lines)
    if len(histograms):
        tables_read = {"otlp_histograms": histograms}
        yield Batch(len(histograms), tables_read, _HISTOGRAMS, raw_of=raw, target=HISTOGRAMS.table, lines=lines)


def _is_rounded(column: pa.ChunkedArray) -> bool:
    extremes = pc.min_max(column)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    return low is not None and (low < -EXACT_LIMIT or high > EXACT_LIMIT)


class _RawPoints:
    """The text of a point that SQL refused, found again in its line; only asked for refused points."""

    def __init__(self, as_json: AsJson) -> None:
        self._as_json = as_json
        self._line = 0
        self._entries: list[object] = []

    def __call__(self, line: int, record: int) -> str | None:
        if line != self._line:
            self._line = line
            self._entries = otlp_metric_points.points_of(otlp_salvage.decoded(self._as_json(line)))
        return otlp_salvage.raw_text(self._entries[record - 1])


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    reader = LineReader(METRICS.schemas)
    with ahead(otlp_lines.one_request_a_line(blocks(stream))) as pieces:
        for piece in pieces:
            if isinstance(piece, Refusal):
                yield Batch(refusals=[piece])
            else:
                good, others = reader.read(piece)
                yield from decoded(good, others, piece, _lines_of(piece))


def _lines_of(block: Block) -> AsJson:
    return lambda line: block.line(line) or b""


def _recognises(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"resourceMetrics"' in head


# Not casts: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
POINTS = Target("raw.metric_points", "make_timestamp(epoch_ns(observed_at) // 1000)")
HISTOGRAMS = Target("raw.metric_histograms", "make_timestamp(epoch_ns(observed_at) // 1000)")
FORMAT = Format(
    name="otlp_metrics",
    table=POINTS.table,
    happened_at=POINTS.happened_at,
    recognises=_recognises,
    batches=_batches,
    name_patterns=("*metrics*.otlp.json*", "metrics*.jsonl*"),
    also=(HISTOGRAMS,),
    filled_from={"service_name": ("service.name",)},
)
