"""The slow way for OTLP metrics: an OTLP/JSON line with its data points as a flat list, in the order of their numbers.

`otlp_salvage.py` reads lists of records; a metric nests them once more. Here a line is written anew with a list
`points` in place of `metrics`: one entry for each row to be, with the metric that it belongs to. A summary's point is
an entry a quantile, then one for its sum, then one for its count. What a point must have: `otlp_metrics.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dagster_project.sources.decoding.reading import Block
from dagster_project.sources.otlp import otlp_salvage
from dagster_project.sources.otlp.otlp_values import Malformed

ROOT, SCOPES = "resourceMetrics", "scopeMetrics"
KINDS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")  # in the order in which points are numbered

_METRIC_NAMES = frozenset(("name", "unit", *KINDS))
_POINT = frozenset(("attributes", "startTimeUnixNano", "timeUnixNano", "flags"))
_NUMBER = _POINT | {"asDouble", "asInt"}
_HISTOGRAM = _POINT | {"count", "sum", "min", "max"}
_POINT_NAMES = {
    "gauge": _NUMBER,
    "sum": _NUMBER,
    "histogram": _HISTOGRAM | {"bucketCounts", "explicitBounds"},
    "exponentialHistogram": _HISTOGRAM | {"scale", "zeroCount", "zeroThreshold", "positive", "negative"},
    "summary": _POINT | {"count", "sum", "quantileValues"},
}
_DATA_NAMES = dict.fromkeys(("gauge", "summary"), frozenset(("dataPoints",)))
_DATA_NAMES |= dict.fromkeys(("histogram", "exponentialHistogram"), frozenset(("dataPoints", "aggregationTemporality")))
_DATA_NAMES["sum"] = _DATA_NAMES["histogram"] | {"isMonotonic"}


@dataclass(frozen=True)
class Flattened:
    """Lines with their points as lists, and the names of fields that were read over."""

    lines: list[Block]
    names: frozenset[str]


@dataclass
class _Look:
    names: set[str] = field(default_factory=set)

    def over(self, value: Mapping[str, Any], known: frozenset[str], path: str) -> None:
        self.names |= {f"{path}.{name}" for name in value if name not in known and value[name] not in ([], {}, None)}


def flattened(lines: Iterable[Block]) -> Flattened:
    """Lines with `points` in place of `metrics`; what OTLP does not know stays, `salvage` will refuse it."""
    found, look = [], _Look()
    for block in lines:
        made = block
        with suppress(Malformed, RecursionError):
            document = otlp_salvage.decoded(block.data.rstrip(b"\r\n"))
            _flatten(document, look)
            made = Block(block.first_line, json.dumps(document).encode())
        found.append(made)
    return Flattened(found, frozenset(look.names))


def points_of(document: object) -> list[object]:
    """The entries of one line, to show a refused one: the n-th is the record n."""
    return [
        point for scope in _flatten(document, _Look()) if isinstance(scope["points"], list) for point in scope["points"]
    ]


def _flatten(document: object, look: _Look) -> list[dict[str, Any]]:
    """Write the points into the document; its scopes."""
    scopes = [scope for resource in _objects(document, ROOT) for scope in _objects(resource, SCOPES)]
    for scope in scopes:
        metrics = scope.pop("metrics", None) or []
        is_list = isinstance(metrics, list)
        scope["points"] = [point for metric in metrics for point in _points(metric, look)] if is_list else metrics
    return scopes


def _objects(holder: object, name: str) -> list[dict[str, Any]]:
    values = holder.get(name) if isinstance(holder, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _points(metric: object, look: _Look) -> Iterator[dict[str, Any]]:
    if not isinstance(metric, dict):
        yield {"trouble": "a metric is no object", "point": metric}
        return
    look.over(metric, _METRIC_NAMES, f"{ROOT}.{SCOPES}.metrics")
    about = {"name": metric.get("name"), "unit": metric.get("unit")}
    for kind in KINDS:
        data = metric.get(kind)
        if data is None:
            continue
        points = data.get("dataPoints") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(points or [], list):
            yield {"trouble": f"{kind} is no object with a list dataPoints", "metric": about, "point": data}
            continue
        path = f"{ROOT}.{SCOPES}.metrics.{kind}"
        look.over(data, _DATA_NAMES[kind], path)
        above = about | {"kind": kind}
        above |= {name: data.get(name) for name in ("aggregationTemporality", "isMonotonic") if name in data}
        for point in points or []:
            yield from _entries(above, point, f"{path}.dataPoints", look)


def _entries(above: dict[str, Any], point: object, path: str, look: _Look) -> Iterator[dict[str, Any]]:
    if not isinstance(point, dict):
        yield {"trouble": "a data point is no object", "metric": above, "point": point}
        return
    look.over(point, _POINT_NAMES[above["kind"]], path)
    if above["kind"] != "summary":
        yield {"metric": above, "point": point}
        return
    quantiles = point.get("quantileValues") or []
    if not isinstance(quantiles, list):
        yield {"trouble": "quantileValues is no list", "metric": above, "point": point}
        return
    for quantile in quantiles:
        yield {"metric": above, "point": point, "quantile": {} if quantile is None else quantile}
    yield {"metric": above, "point": point, "part": "sum"}
    yield {"metric": above, "point": point, "part": "count"}
