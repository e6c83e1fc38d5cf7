"""OTLP metrics in JSON: what becomes of each kind of point, in which spelling, and what is refused."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.otlp import otlp_metric_points
from dagster_project.sources.recognition import recognise
from dagster_project.sources.registry import FORMATS

START, TIME = "1674981600000000000", "1674981660000000001"
EXAMPLES = (
    Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).resolve().parents[3] / "shared" / "data"))
    / "otlp-examples"
)
PATH = "resourceMetrics.scopeMetrics.metrics"


def point(**changes: Any) -> dict[str, Any]:
    good = {"startTimeUnixNano": START, "timeUnixNano": TIME, "asDouble": 1.5}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def metric(kind: str = "gauge", *points: Any, **about: Any) -> dict[str, Any]:
    data = {name: about.pop(name) for name in ("aggregationTemporality", "isMonotonic") if name in about}
    return {"name": "m", "unit": "s", kind: {"dataPoints": list(points), **data}} | about


def request(*metrics: Any) -> dict[str, Any]:
    named = [{"key": "service.name", "value": {"stringValue": "shop"}}]
    return {
        "resourceMetrics": [
            {"resource": {"attributes": named}, "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": list(metrics)}]}
        ]
    }


def lines(*documents: Any) -> bytes:
    return b"".join((d if isinstance(d, bytes) else json.dumps(d).encode()) + b"\n" for d in documents)


def values(landed: Any) -> list[tuple[int, int, str, float]]:
    return [(row["line"], row["record"], row["metric_name"], row["value"]) for row in landed.rows if "value" in row]


# --- the specification's examples -------------------------------------------------------------------------------------


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the recordings are not here")
@pytest.mark.parametrize(
    ("name", "format_name", "rows"),
    [
        ("metrics.json", "otlp_metrics", 4),
        ("trace.json", "otlp_traces", 1),
        ("logs.json", "otlp_logs", 1),
        ("events.json", "otlp_logs", 1),
    ],
)
def test_examples_of_the_specification_land(land_bytes, name, format_name, rows):
    found = recognise(EXAMPLES / name)
    assert found is not None
    assert found.name == format_name
    landed = land_bytes(format_name, (EXAMPLES / name).read_bytes())
    assert (len(landed.rows), landed.refusals) == (rows, [])


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the recordings are not here")
def test_the_example_of_metrics_lands_with_all_it_says(land_bytes):
    landed = land_bytes("otlp_metrics", (EXAMPLES / "metrics.json").read_bytes())
    counter, gauge, histogram, exponential = landed.rows
    assert (counter["metric_name"], counter["value"], counter["metric_type"]) == ("my.counter", 5.0, "sum")
    assert (counter["temporality"], counter["is_monotonic"], counter["unit"]) == ("delta", True, "1")
    assert counter["labels"] == '{"my.counter.attr":"some value"}'
    assert (gauge["metric_name"], gauge["value"], gauge["temporality"]) == ("my.gauge", 10.0, None)
    assert (histogram["explicit_bounds"], histogram["bucket_counts"], histogram["scale"]) == ([1.0], [1, 1], None)
    assert (histogram["point_count"], histogram["point_sum"], histogram["point_max"]) == (2, 2.0, 2.0)
    assert (exponential["scale"], exponential["zero_count"], exponential["explicit_bounds"]) == (0, 1, None)
    assert (exponential["positive_offset"], exponential["positive_counts"]) == (1, [0, 2])
    assert {row["service_name"] for row in landed.rows} == {"my.service"}
    assert {row["scope_name"] for row in landed.rows} == {"my.library"}
    assert set(landed.outcome.unknown_fields) == {
        f"{PATH}.description",
        "resourceMetrics.scopeMetrics.scope.attributes",
    }


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ({"asInt": "7"}, 7.0),
        ({"asInt": 7}, 7.0),
        ({"asInt": "-9007199254740992"}, -(2.0**53)),
        ({"asInt": "0"}, 0.0),
        ({"asDouble": 0}, 0.0),
        ({"asDouble": -0.5}, -0.5),
        ({"asDouble": "Infinity"}, math.inf),
        ({"asDouble": "-Infinity"}, -math.inf),
        ({"asDouble": "1.5e3"}, 1500.0),
    ],
)
def test_numbers_land_as_they_were_sent(land_bytes, sent, value):
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point(**({"asDouble": ...} | sent))))))
    assert values(landed) == [(1, 1, "m", value)]
    assert landed.outcome.unknown_fields == ()


def test_nan_lands(land_bytes):
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point(asDouble="NaN")))))
    assert math.isnan(landed.rows[0]["value"])


def test_integers_beyond_doubles_are_rounded_and_that_is_said(land_bytes):
    landed = land_bytes("otlp_metrics", lines(request(metric("sum", point(asDouble=..., asInt=str(2**53 + 1))))))
    assert landed.rows[0]["value"] == 2.0**53
    assert landed.outcome.unknown_fields == (f"{PATH}.dataPoints.asInt: beyond 2^53, rounded to a double",)


@pytest.mark.parametrize(
    "changes",
    [
        {"asDouble": ...},
        {"asDouble": ..., "asInt": "1.5"},
        {"asDouble": ..., "asInt": "many"},
        {"asDouble": ..., "asInt": str(2**63)},
        {"asDouble": "much"},
        {"asDouble": True},
        {"asDouble": "1_0"},
        {"timeUnixNano": ...},
        {"timeUnixNano": "soon"},
        {"timeUnixNano": "5"},
        {"startTimeUnixNano": "soon"},
        {"attributes": 7},
        {"attributes": [7]},
        {"flags": -1},
    ],
)
def test_a_bad_point_is_refused_alone(land_bytes, changes):
    good = metric("gauge", point(), point(**changes), point())
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point())), request(good)))
    assert [(line, record) for line, record, _, _ in values(landed)] == [(1, 1), (2, 1), (2, 3)]
    assert [(row["line"], row["record"]) for row in landed.refusals] == [(2, 2)]
    assert landed.refusals[0]["detail"]
    assert landed.refusals[0]["raw"]


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_a_summary_is_a_point_a_quantile_and_its_sum_and_count(land_bytes):
    quantiles = [{"quantile": 0.5, "value": 2}, {"quantile": 1, "value": 9.5}, {"value": 1}]
    sent = point(asDouble=..., count="4", sum=14.5, quantileValues=quantiles)
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point()), metric("summary", sent, sent))))
    assert [(row["record"], row["metric_name"], row["labels"], row["value"]) for row in landed.rows[1:6]] == [
        (2, "m", '{"quantile":"0.5"}', 2.0),
        (3, "m", '{"quantile":"1"}', 9.5),
        (4, "m", '{"quantile":"0"}', 1.0),
        (5, "m_sum", "{}", 14.5),
        (6, "m_count", "{}", 4.0),
    ]
    assert [row["record"] for row in landed.rows] == list(range(1, 12))
    assert {row["metric_type"] for row in landed.rows[1:]} == {"summary"}


def test_the_quantile_is_a_label_beside_others(land_bytes):
    attributes = [{"key": key, "value": {"stringValue": "x"}} for key in ("route", "quantile")]
    sent = [
        point(asDouble=..., attributes=attributes[:kept], quantileValues=[{"quantile": 0.99, "value": 1}])
        for kept in (1, 2)
    ]
    landed = land_bytes("otlp_metrics", lines(request(metric("summary", *sent))))
    labels = [json.loads(row["labels"]) for row in landed.rows if row["metric_name"] == "m"]
    assert labels == [{"route": "x", "quantile": "0.99"}] * 2


def test_a_histogram_with_buckets_that_fit_no_bounds_is_refused(land_bytes):
    bad = point(asDouble=..., count="3", bucketCounts=["1", "2"], explicitBounds=[1, 2])
    none = point(asDouble=..., count="3", sum=4)
    landed = land_bytes("otlp_metrics", lines(request(metric("histogram", bad, none))))
    assert landed.reasons == [(1, 1, "value_malformed")]
    (row,) = landed.rows
    assert (row["point_count"], row["point_sum"], row["point_min"], row["bucket_counts"]) == (3, 4.0, None, [])


@pytest.mark.parametrize("counts", [["1", "x"], [1, -1], [1, None], [1, 1.5], "12", [1, str(2**64)]])
def test_a_histogram_with_bad_counts_is_refused_alone(land_bytes, counts):
    bad = point(asDouble=..., count="3", bucketCounts=counts, explicitBounds=[1])
    good = point(asDouble=..., count=str(2**64 - 1), bucketCounts=[1, 2], explicitBounds=[1])
    landed = land_bytes("otlp_metrics", lines(request(metric("histogram", good, bad, good))))
    assert [(row["record"], row["point_count"]) for row in landed.rows] == [(1, 2**64 - 1), (3, 2**64 - 1)]
    assert [(row["line"], row["record"]) for row in landed.refusals] == [(1, 2)]


@pytest.mark.parametrize("sent", [2, 2.0, "AGGREGATION_TEMPORALITY_CUMULATIVE"])
def test_temporality_is_read_by_number_and_by_name(land_bytes, sent):
    landed = land_bytes("otlp_metrics", lines(request(metric("sum", point(), aggregationTemporality=sent))))
    assert [row["temporality"] for row in landed.rows] == ["cumulative"]


def test_an_unknown_temporality_is_refused(land_bytes):
    landed = land_bytes("otlp_metrics", lines(request(metric("sum", point(), aggregationTemporality=3))))
    assert landed.reasons == [(1, 1, "enum_unknown")]


def test_a_sum_that_does_not_say_so_is_not_monotonic(land_bytes):
    landed = land_bytes("otlp_metrics", lines(request(metric("sum", point()), metric("gauge", point()))))
    assert [row["is_monotonic"] for row in landed.rows] == [False, None]


def test_a_point_without_a_recorded_value_is_no_row_and_that_is_said(land_bytes):
    nothing = point(asDouble=..., flags=1)
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point(), nothing, point(flags=2)))))
    assert [record for _, record, _, _ in values(landed)] == [1, 3]
    assert landed.refusals == []
    assert landed.outcome.unknown_fields == (f"{PATH}.dataPoints.flags: NO_RECORDED_VALUE, no row",)


def test_a_metric_without_a_name_is_refused(land_bytes):
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point(), name=""), metric("gauge", point()))))
    assert landed.reasons == [(1, 1, "field_malformed")]


def test_exemplars_and_metadata_are_named(land_bytes):
    exemplar = {"timeUnixNano": TIME, "asDouble": 1}
    sent = metric("gauge", point(exemplars=[exemplar]), metadata=[{"key": "k", "value": {"stringValue": "v"}}])
    expected = {f"{PATH}.gauge.dataPoints.exemplars", f"{PATH}.metadata"}
    fast = land_bytes("otlp_metrics", lines(request(sent)), "fast")
    assert {name for name in fast.outcome.unknown_fields if name in expected} == expected
    slow = land_bytes("otlp_metrics", lines(request(sent, metric("gauge", point(asDouble="NaN")))), "slow")
    assert {name for name in slow.outcome.unknown_fields if name in expected} == expected


# --- bad lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"nope",
        b"[]",
        b"\xff",
        b'{"resourceLogs":[]}',
        {"resourceMetrics": 3},
        {"resourceMetrics": [3]},
        {"resourceMetrics": [{"scopeMetrics": 3}]},
        {"resourceMetrics": [{"scopeMetrics": [3]}]},
        {"resourceMetrics": [{"scopeMetrics": [{"metrics": 3}]}]},
        request(3),
        request({"name": "m", "gauge": 3}),
        request({"name": "m", "gauge": {"dataPoints": 3}}),
        request(metric("gauge", 3)),
        request(metric("summary", point(quantileValues=3))),
        request(metric("exponentialHistogram", point(positive=3))),
        request(metric("gauge", point(), name=3)),
    ],
)
def test_a_bad_line_is_refused_and_others_land(land_bytes, bad):
    landed = land_bytes("otlp_metrics", lines(request(metric("gauge", point())), bad, request(metric("sum", point()))))
    assert [line for line, _, _, _ in values(landed)] == [1, 3]
    assert {row["line"] for row in landed.refusals} == {2}


def test_an_empty_file_and_empty_requests_are_empty(land_bytes):
    assert land_bytes("otlp_metrics", b"", "a").outcome.status == "empty"
    assert land_bytes("otlp_metrics", lines({"resourceMetrics": []}, request()), "b").outcome.status == "empty"


# --- both ways --------------------------------------------------------------------------------------------------------

ATTRIBUTES = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "quantile"]),
            "value": st.sampled_from([{"intValue": "1"}, {"stringValue": 'q"'}, {}]),
        }
    ),
    max_size=2,
)
POINTS = st.fixed_dictionaries(
    {"timeUnixNano": st.sampled_from([TIME, "0", "x"])},
    optional={
        "startTimeUnixNano": st.sampled_from([START, "", "0"]),
        "attributes": ATTRIBUTES,
        "asDouble": st.floats(allow_nan=False, allow_infinity=False),
        "asInt": st.integers(-(2**63), 2**63 - 1).map(str),
        "flags": st.sampled_from([0, 1]),
        "count": st.integers(0, 2**63 - 1).map(str),
        "sum": st.floats(allow_nan=False, allow_infinity=False),
        "quantileValues": st.lists(st.fixed_dictionaries({"quantile": st.just(0.5), "value": st.just(2)}), max_size=2),
        "bucketCounts": st.lists(st.just("1"), max_size=2),
        "explicitBounds": st.lists(st.just(1.5), max_size=1),
    },
)
METRICS = st.builds(
    lambda kind, points: metric(kind, *points), st.sampled_from(otlp_metric_points.KINDS), st.lists(POINTS, max_size=3)
)


@settings(deadline=None, max_examples=60)
@given(metrics=st.lists(METRICS, min_size=1, max_size=4))
def test_both_ways_give_the_same(metrics, tmp_path_factory):
    """Arrow reads the line; with a number where a text was, the slow way does."""
    fast = request(*metrics)
    slow = request(*metrics, metric("gauge", point(asDouble="NaN", attributes=[], timeUnixNano=1), name="added"))
    found = []
    for number, document in enumerate((fast, slow)):
        path = tmp_path_factory.mktemp("lines") / str(number)
        path.write_bytes(lines(document))
        batches = list(FORMATS["otlp_metrics"].open(path))
        rows = [row for batch in batches for table in batch.tables.values() for row in table.to_pylist()]
        rows = [row | {"flags": row["flags"] or 0} for row in rows]
        found.append(sorted((row["record"], repr(row)) for row in rows if row["metric_name"] != "added"))
    assert found[0] == found[1]
