"""Saved scrapes: OpenMetrics and the text format 0.0.4, beside the parsers of prometheus_client as another opinion."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, parser
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as openmetrics_parser

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.metrics import openmetrics
from dagster_project.warehouse.landing import InputFile, land

AT = 1674981600

SCRAPE = rb"""# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1674981600000
http_requests_total{method="post",code="400",}    3 1674981600250

# Escaping in label values:
msdos_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9 1674981600000
# TYPE rpc_duration_seconds summary
rpc_duration_seconds { quantile = "0.5" , service="shop" } 4773 1674981600000
rpc_duration_seconds_sum 1.7560473e+07 1674981600000
something_weird{problem="division by zero"} +Inf 1674981600000
not_a_number NaN 1674981600000
"""


def test_the_text_format_lands_with_types_labels_and_times(land_bytes):
    landed = land_bytes("openmetrics", SCRAPE)
    assert landed.reasons == []
    assert [(row["line"], row["metric_name"], row["value"]) for row in landed.rows[:5]] == [
        (3, "http_requests_total", 1027.0),
        (4, "http_requests_total", 3.0),
        (7, "msdos_seconds", 1.458255915e9),
        (9, "rpc_duration_seconds", 4773.0),
        (10, "rpc_duration_seconds_sum", 1.7560473e7),
    ]
    assert json.loads(landed.rows[1]["labels"]) == {"method": "post", "code": "400"}
    assert json.loads(landed.rows[2]["labels"]) == {
        "path": "C:\\DIR\\FILE.TXT",
        "error": 'Cannot find file:\n"FILE.TXT"',
    }
    assert str(landed.rows[1]["observed_at"]) == "2023-01-29 08:40:00.250000"
    assert landed.rows[3]["service_name"] == "shop"
    assert [(row["metric_type"], row["temporality"], row["is_monotonic"]) for row in landed.rows] == [
        ("counter", "cumulative", True),
        ("counter", "cumulative", True),
        (None, None, None),
        ("summary", None, None),
        ("summary", "cumulative", None),
        (None, None, None),
        (None, None, None),
    ]
    assert [str(row["value"]) for row in landed.rows[-2:]] == ["inf", "nan"]


def test_openmetrics_lands_with_units_and_all_digits_of_its_times(land_bytes, warehouse):
    content = b"""# TYPE load gauge
# UNIT load_seconds seconds
# TYPE load_seconds histogram
load_seconds_bucket{le="+Inf"} 17 1674981600.123456789 # {trace_id="oHg5SJ#YRHA0"} 9.8 1674981599
load_seconds_count 17 1674981600
load_seconds_sum 3.5 1.6749816e9
load_seconds_created 1674980000.5 1674981600
load 1 1674981600.000000001
# EOF
"""
    landed = land_bytes("openmetrics", content)
    assert landed.reasons == []
    assert landed.outcome.unknown_fields == ("(exemplars)",)
    assert [(row["metric_type"], row["unit"], row["temporality"], row["is_monotonic"]) for row in landed.rows] == [
        ("histogram", "seconds", "cumulative", True),
        ("histogram", "seconds", "cumulative", True),
        ("histogram", "seconds", "cumulative", None),
        ("histogram", "seconds", None, None),
        ("gauge", None, None, None),
    ]
    times = warehouse.execute(
        "select epoch_ns(observed_at) - ?::bigint * 1000000000 from raw.metric_points", [AT]
    ).fetchall()
    assert [at for (at,) in times] == [123456789, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cpu 1", "time_missing"),
        ('cpu{a="b"} 1 # {trace_id="x"} 1', "time_missing"),
        ("cpu 1 yesterday", "time_malformed"),
        ("cpu 1 2023-01-29T08:40:00Z", "time_malformed"),
        ("cpu 1 5", "time_out_of_range"),
        ("cpu 1 -1674981600", "time_out_of_range"),
        ("cpu 1 1674981600000000", "time_out_of_range"),
        ("cpu 1 nan", "time_out_of_range"),
        ("cpu many 1674981600", "value_malformed"),
        ("cpu 1_000 1674981600", "value_malformed"),
        ("cpu 1 1_674_981_600", "time_malformed"),
        ("cpu", "structure"),
        ("9cpu 1 1674981600", "structure"),
        ("cpu{a=b} 1 1674981600", "structure"),
        ('cpu{a="b} 1 1674981600', "structure"),
        ('cpu{a="b" c="d"} 1 1674981600', "structure"),
        ('cpu{a="b",a="c"} 1 1674981600', "structure"),
        ('cpu{a="b",,} 1 1674981600', "structure"),
        ('cpu{="b"} 1 1674981600', "structure"),
        ('{"cpu.load"} 1 1674981600', "structure"),
        ("cpu 1 1674981600 7", "structure"),
        ("cpu 1 1674981600 # nothing", "structure"),
        ('cpu{a="\x01"} 1 1674981600', "structure"),
    ],
)
def test_a_bad_line_is_refused_alone(land_bytes, line, reason):
    good = 'cpu{a="b"} 1 1674981600'
    landed = land_bytes("openmetrics", "\n".join([good, line, good, ""]).encode())
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]
    assert landed.refusals[0]["raw"] == line


@pytest.mark.parametrize("line", [b"cpu\xff 1 1674981600", b"# TYPE cpu banana"])
def test_a_line_that_is_none_is_refused_whole(land_bytes, line):
    landed = land_bytes("openmetrics", b"cpu 1 1674981600\n" + line + b"\ncpu 2 1674981600\n")
    assert [(row["line"], row["value"]) for row in landed.rows] == [(1, 1.0), (3, 2.0)]
    assert [(at, record) for at, record, _ in landed.reasons] == [(2, None)]


def test_lines_stay_right_over_many_blocks_and_a_break(land_bytes):
    lines = [f'cpu{{pod="{n * 7919}"}} {n} {AT + n}' for n in range(120_000)]
    packed = gzip.compress("\r\n".join(["# TYPE cpu gauge", *lines]).encode())
    landed = land_bytes("openmetrics", packed[: len(packed) * 9 // 10], "scrape.txt.gz")
    assert len(landed.rows) > 90_000
    assert all(row["line"] == row["value"] + 2 for row in landed.rows)
    assert {row["metric_type"] for row in landed.rows} == {"gauge"}
    assert [reason for _, _, reason in landed.reasons] == ["truncated_gzip"]


def test_the_source_s_service_is_that_of_samples_without_one(warehouse, tmp_path):
    path = tmp_path / "scrape.txt"
    path.write_bytes(b'a 1 1674981600\nb{job="cart"} 1 1674981600\n')
    land(warehouse, [InputFile(path, openmetrics.FORMAT.with_options(ReadOptions(service_name="shop")))])
    found = warehouse.execute("select service_name from raw.metric_points order by line").fetchall()
    assert found == [("shop",), ("cart",)]


# --- beside prometheus_client -----------------------------------------------------------------------------------------


class Everything:
    """A family of every type, each sample with a time."""

    def collect(self) -> Iterator[Any]:
        odd = 'a "quoted"\\ back\\slash \n line {x="y"} # \u00e9'
        counter = CounterMetricFamily("orders", "help \n text", labels=["path", "service"])
        counter.add_metric([odd, "shop"], 7, created=AT - 60.5, timestamp=AT, exemplar=Exemplar({"t": "#{"}, 0.5, AT))
        gauge = GaugeMetricFamily("heat_celsius", "", labels=["room"], unit="celsius")
        gauge.add_metric([""], float("nan"), timestamp=AT + 0.125)
        gauge.add_metric(["inf"], -math.inf, timestamp=AT)
        histogram = HistogramMetricFamily("wait", "", labels=["q"])
        histogram.add_metric(["1"], [("0.5", 1), ("+Inf", 3)], 4.25, timestamp=AT)
        summary = SummaryMetricFamily("size", "", count_value=2, sum_value=3.5)
        info = InfoMetricFamily("build", "", {"version": "1.2"})
        states = StateSetMetricFamily("mood", "", {"good": True, "bad": False})
        for family in (summary, info, states):
            family.samples = [sample._replace(timestamp=AT) for sample in family.samples]
        yield from (counter, gauge, histogram, summary, info, states)


def as_read(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, float]]:
    return sorted(
        (
            row["metric_name"],
            json.dumps(json.loads(row["labels"]), sort_keys=True),
            str(row["value"]),
            row["observed_at"].timestamp() if row["observed_at"].tzinfo else _seconds(row["observed_at"]),
        )
        for row in rows
    )


def _seconds(at: Any) -> float:
    return float((at - at.__class__(1970, 1, 1)).total_seconds())


def by_the_library(families: Iterator[Any]) -> list[tuple[str, str, str, float]]:
    return sorted(
        (
            sample.name,
            json.dumps(sample.labels, sort_keys=True),
            str(float(sample.value)),
            float(sample.timestamp),
        )
        for family in families
        for sample in family.samples
    )


def test_what_the_library_writes_is_read_as_the_library_reads_it(land_bytes):
    registry = CollectorRegistry()
    registry.register(Everything())  # type: ignore[arg-type]
    content = exposition.generate_latest(registry)
    landed = land_bytes("openmetrics", content)
    assert landed.reasons == []
    assert as_read(landed.rows) == by_the_library(openmetrics_parser.text_string_to_metric_families(content.decode()))
    types = {row["metric_name"]: row["metric_type"] for row in landed.rows}
    assert types["orders_total"] == "counter"
    assert types["wait_bucket"] == "histogram"
    assert types["build_info"] == "info"
    assert types["mood"] == "stateset"
    assert {row["unit"] for row in landed.rows if row["metric_name"] == "heat_celsius"} == {"celsius"}
    assert openmetrics.FORMAT.recognises(content)


def test_the_text_format_is_read_as_the_library_reads_it(land_bytes):
    landed = land_bytes("openmetrics", SCRAPE)
    # Times aside: the library leaves them as they stand.
    expected = by_the_library(parser.text_string_to_metric_families(SCRAPE.decode()))
    assert [row[:3] for row in as_read(landed.rows)] == [row[:3] for row in expected]


_VALUES = st.text(
    st.one_of(st.sampled_from('\\"n\n{},=# \tx'), st.characters(min_codepoint=32, exclude_categories=["Cs"])),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b_1", "service"]), _VALUES), min_size=1, max_size=5))
def test_any_label_value_survives(warehouse, tmp_path, label_sets):
    def written(value: str) -> str:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    lines = [
        "cpu{" + ",".join(f'{name}="{written(value)}"' for name, value in labels.items()) + "} 1 1674981600"
        for labels in label_sets
    ]
    path = tmp_path / "scrape.txt"
    path.write_bytes("\n".join([*lines, ""]).encode())
    decoded = openmetrics.FORMAT.batches(openmetrics.ByteStream(path), ReadOptions())
    (batch,) = decoded
    for name, table in batch.tables.items():
        warehouse.register(name, table)
    rows = warehouse.execute(f"select reason, labels from ({batch.select}) order by line").fetchall()
    expected = [
        None if any(ord(c) < 32 and c not in "\t\n" for v in labels.values() for c in v) else labels
        for labels in label_sets
    ]
    assert [None if reason else json.loads(labels) for reason, labels in rows] == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SCRAPE, True),
        (b"\n# TYPE cpu gauge\n", True),
        (b"# EOF\n", True),
        (b"# HELP, wanted: cooks\n", False),
        (b"# Changelog\n", False),
        (b'{"resultType"', False),
        (b"", False),
    ],
)
def test_what_is_recognised(content, expected):
    assert openmetrics.FORMAT.recognises(content) is expected
