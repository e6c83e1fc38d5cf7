"""Answers of CloudWatch: GetMetricData and GetMetricStatistics."""

from __future__ import annotations

import json

import pytest

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.metrics import cloudwatch_metrics
from dagster_project.warehouse.landing import InputFile, land

AT = "2023-01-29T08:40:00+00:00"


def result(identifier: str = "m1", **changes: object) -> dict[str, object]:
    good = {"Id": identifier, "Label": "Latency", "Timestamps": [AT], "Values": [1.5], "StatusCode": "Complete"}
    return good | changes


def data(*results: object, **more: object) -> bytes:
    return json.dumps({"MetricDataResults": results, "Messages": []} | more, indent=4).encode()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (AT, "2023-01-29 08:40:00"),
        ("2023-01-29T08:40:00Z", "2023-01-29 08:40:00"),
        ("2023-01-29T08:40:00.250000+01:00", "2023-01-29 07:40:00.250000"),
        ("2023-01-29 08:40:00+00:00", "2023-01-29 08:40:00"),
        ("2023-01-29 08:40:00", "2023-01-29 07:40:00"),  # of the source's zone
        (1674981600, "2023-01-29 08:40:00"),
        (1674981600.5, "2023-01-29 08:40:00.500000"),
    ],
)
def test_times_as_the_command_line_and_the_sdks_print_them(warehouse, tmp_path, time, expected):
    path = tmp_path / "answer.json"
    path.write_bytes(data(result(Timestamps=[time])))
    options = ReadOptions(time_zone="Europe/Berlin", service_name="shop")
    land(warehouse, [InputFile(path, cloudwatch_metrics.FORMAT.with_options(options))])
    rows = warehouse.execute("select observed_at, service_name from raw.metric_points").fetchall()
    assert [(str(at), service) for at, service in rows] == [(expected, "shop")]


def test_results_land_with_their_places_and_names(land_bytes):
    two = {"Timestamps": [AT, "2023-01-29T08:35:00Z"], "Values": [2, 3.5]}
    landed = land_bytes(
        "cloudwatch_metrics", data(result(), result("m2", **two), result("m3", Label=""), NextToken="x")
    )
    assert [(row["line"], row["record"], row["metric_name"], row["value"]) for row in landed.rows] == [
        (1, 1, "Latency", 1.5),
        (2, 1, "Latency", 2.0),
        (2, 2, "Latency", 3.5),
        (3, 1, "m3", 1.5),
    ]
    assert [json.loads(row["labels"]) for row in landed.rows] == [{"id": f"m{n}"} for n in (1, 2, 2, 3)]
    assert landed.outcome.unknown_fields == ("NextToken",)
    assert landed.reasons == []


@pytest.mark.parametrize(
    ("changes", "record", "reason"),
    [
        ({"Values": ["many"]}, 1, "value_malformed"),
        ({"Values": [None]}, 1, "value_malformed"),
        ({"Values": [True]}, 1, "value_malformed"),
        ({"Values": [{"a": 1}]}, 1, "value_malformed"),
        ({"Timestamps": ["yesterday"]}, 1, "time_malformed"),
        ({"Timestamps": ["20230129T084000Z"]}, 1, "time_malformed"),
        ({"Timestamps": [None]}, 1, "time_malformed"),
        ({"Timestamps": [True]}, 1, "time_malformed"),
        ({"Timestamps": [""]}, 1, "time_missing"),
        ({"Timestamps": [1674981600000]}, 1, "time_out_of_range"),
        ({"Timestamps": ["0001-01-01T00:00:00Z"]}, 1, "time_out_of_range"),
        ({"Timestamps": ["9999-12-31T23:59:59Z"]}, 1, "time_out_of_range"),
        ({"Values": []}, None, "structure"),
        ({"Values": 5}, None, "structure"),
        ({"Timestamps": {}, "Values": [1]}, None, "structure"),
        ({"Id": None, "Label": None}, None, "id_missing"),
    ],
)
def test_a_bad_result_or_point_is_refused_alone(land_bytes, changes, record, reason):
    landed = land_bytes("cloudwatch_metrics", data(result(), result("bad", **changes), result()))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, record, reason)]


def test_a_bad_point_has_neighbours(land_bytes):
    times = [AT, "x", AT]
    landed = land_bytes("cloudwatch_metrics", data(result(), result(Timestamps=times, Values=[1, 2, 3])))
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (2, 1), (2, 3)]
    assert json.loads(landed.refusals[0]["raw"]) == ["x", 2]


def test_what_cloudwatch_could_not_answer_is_told(land_bytes):
    content = data(
        result(StatusCode="Forbidden", Timestamps=[], Values=[]), result(StatusCode="PartialData"), result(), "x"
    )
    landed = land_bytes("cloudwatch_metrics", content)
    assert [(line, reason) for line, _, reason in landed.reasons] == [(1, "other_format"), (4, "structure")]
    assert any("partial" in name for name in landed.outcome.unknown_fields)


def test_a_broken_answer_keeps_its_whole_results(land_bytes):
    content = data(result(), result(), result())
    landed = land_bytes("cloudwatch_metrics", content[: content.rindex(b"Values")])
    assert [row["line"] for row in landed.rows] == [1, 2]
    assert landed.reasons == [(3, None, "not_json")]


def test_each_statistic_is_a_series(land_bytes):
    content = {
        "Label": "CPUUtilization",
        "Datapoints": [
            {"Timestamp": AT, "Average": 41.5, "Maximum": 99, "Unit": "Percent", "ExtendedStatistics": {"p99": 98.5}},
            {"Timestamp": "soon", "Average": 1, "Unit": "None"},
            {"Timestamp": AT, "Unit": "Percent"},
            {"Average": 1},
            "x",
            {"Timestamp": AT, "Sum": 3, "Unit": "None", "Colour": "red"},
        ],
    }
    landed = land_bytes("cloudwatch_metrics", json.dumps(content).encode())
    assert [
        (row["line"], row["record"], json.loads(row["labels"])["statistic"], row["value"], row["unit"])
        for row in landed.rows
    ] == [
        (1, 1, "Average", 41.5, "Percent"),
        (1, 2, "Maximum", 99.0, "Percent"),
        (1, 3, "p99", 98.5, "Percent"),
        (6, 1, "Sum", 3.0, None),
    ]
    assert {row["metric_name"] for row in landed.rows} == {"CPUUtilization"}
    assert landed.reasons == [
        (2, 1, "time_malformed"),
        (3, None, "structure"),
        (4, 1, "time_missing"),
        (5, None, "structure"),
    ]
    assert landed.outcome.unknown_fields == ("Datapoints.Colour",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not_json"),
        (b"[]", "other_format"),
        (b'{"Label": "x"}', "other_format"),
        (b'{"Label": 5, "Datapoints": []}', "other_format"),
    ],
)
def test_other_documents_are_refused(land_bytes, content, reason):
    landed = land_bytes("cloudwatch_metrics", content)
    assert landed.reasons == [(1, None, reason)]


@pytest.mark.parametrize("content", [b"", b"\n", data(), b'{"Label": "x", "Datapoints": []}'])
def test_nothing_is_empty(land_bytes, content):
    assert land_bytes("cloudwatch_metrics", content).outcome.status == "empty"


def test_depth_is_no_trap(land_bytes):
    deep = "[" * 900 + "]" * 900
    content = data(result(), result(Values=["deep"]), result(Label="deep"), result()).replace(b'"deep"', deep.encode())
    landed = land_bytes("cloudwatch_metrics", content)
    assert [row["line"] for row in landed.rows] == [1, 3, 4]
    assert landed.rows[1]["metric_name"] == "m1"
    assert landed.reasons == [(2, 1, "value_malformed")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (data(result()), True),
        (b'{"Datapoints": [], "Label": "x"}', True),
        (b'[{"Label": "x", "Datapoints": []}]', False),
        (b'{"Label": "x"}', False),
    ],
)
def test_what_is_recognised(content, expected):
    assert cloudwatch_metrics.FORMAT.recognises(content) is expected
