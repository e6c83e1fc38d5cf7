"""Wide CSV of metrics: a column a series, a row a time."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.metrics import metrics_wide_csv
from dagster_project.sources.recognition import recognise_all
from dagster_project.warehouse.landing import InputFile, land

HEADER = ["microservice,shop,shop,cart", "metric,latency,latency,requests", "statistic,Average,p90,Sum", "at,,,"]


def table(*rows: str, header: list[str] = HEADER) -> bytes:
    return "\n".join([*header, *rows, ""]).encode()


def test_cells_become_points_and_empty_ones_none(land_bytes):
    landed = land_bytes("metrics_wide_csv", table("1674981600.0,0.5,,3", "1674981660.25,,1e-3,"))
    assert [
        (row["line"], row["record"], row["metric_name"], row["service_name"], row["value"], str(row["observed_at"]))
        for row in landed.rows
    ] == [
        (5, 1, "latency", "shop", 0.5, "2023-01-29 08:40:00"),
        (5, 3, "requests", "cart", 3.0, "2023-01-29 08:40:00"),
        (6, 2, "latency", "shop", 0.001, "2023-01-29 08:41:00.250000"),
    ]
    assert json.loads(landed.rows[2]["labels"]) == {"microservice": "shop", "statistic": "p90"}
    assert landed.outcome.status == "loaded"


@pytest.mark.parametrize(
    ("row", "reasons"),
    [
        ("1674981600,many,1,", [(6, 1, "value_malformed")]),
        ("1674981600,1,2", [(6, None, "row_malformed")]),
        ("1674981600,1,2,3,4", [(6, None, "row_malformed")]),
        ("yesterday,1,,2", [(6, 1, "time_malformed"), (6, 3, "time_malformed")]),
        ("5,1,,", [(6, 1, "time_out_of_range")]),
        ("1674981600000,1,,", [(6, 1, "time_out_of_range")]),
        ("9999-12-31,1,,", [(6, 1, "time_out_of_range")]),
        ("2023-02-30,1,,", [(6, 1, "time_malformed")]),
        (",1,,", [(6, 1, "time_missing")]),
        ("nan,1,,", [(6, 1, "time_out_of_range")]),
    ],
)
def test_a_bad_row_or_cell_is_refused_and_its_neighbours_land(land_bytes, row, reasons):
    good = "1674981600,1,2,3"
    landed = land_bytes("metrics_wide_csv", table(good, row, good))
    assert landed.reasons == reasons
    assert [line["record"] for line in landed.rows if line["line"] != 6] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2023-01-29 08:40:00", "UTC", "2023-01-29 08:40:00"),
        ("2023-01-29T08:40:00Z", "Europe/Berlin", "2023-01-29 08:40:00"),
        ("2023-01-29 08:40:00+08:00", "UTC", "2023-01-29 00:40:00"),
        ("2023-07-29 08:40:00.5", "Europe/Berlin", "2023-07-29 06:40:00.500000"),
        ("2023-01-29", "Europe/Berlin", "2023-01-28 23:00:00"),
    ],
)
def test_times_without_a_zone_are_of_the_source_s(warehouse, tmp_path, text, zone, expected):
    path = tmp_path / "metrics.csv"
    path.write_bytes(table(f"{text},1,,"))
    land(warehouse, [InputFile(path, metrics_wide_csv.FORMAT.with_options(ReadOptions(time_zone=zone)))])
    assert [str(at) for (at,) in warehouse.execute("select observed_at from raw.metric_points").fetchall()] == [
        expected
    ]


def test_the_source_says_which_level_is_what(warehouse, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(table("1674981600,1,2", header=["team,a,b", "signal,cpu,memory", "at,,"]))
    options = ReadOptions(fields={"metric_name": "signal", "service_name": "team"})
    land(warehouse, [InputFile(path, metrics_wide_csv.FORMAT.with_options(options))])
    found = warehouse.execute("select metric_name, service_name from raw.metric_points order by record").fetchall()
    assert found == [("cpu", "a"), ("memory", "b")]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"metric,a\nat,\n1,2\n", b"\xff\xfe,,\n", b'"', b"metric\nat\n"])
def test_other_tables_are_refused_as_a_whole(land_bytes, content):
    landed = land_bytes("metrics_wide_csv", content)
    assert landed.reasons == [(1, None, "other_format")]
    assert not metrics_wide_csv.FORMAT.recognises(content)


def test_a_break_keeps_the_rows_before_it(land_bytes):
    rows = [f"{1674981600 + n},{n * 7919},{n * 104729},{n}" for n in range(3000)]
    packed = gzip.compress(table(*rows))
    landed = land_bytes("metrics_wide_csv", packed[: len(packed) // 2], "metrics.csv.gz")
    assert len(landed.rows) % 3 == 0
    assert all(row["value"] == (row["line"] - 5) * 7919 for row in landed.rows if row["record"] == 1)
    assert [reason for _, _, reason in landed.reasons] == ["truncated_gzip"]


RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
SHOP = RECORDINGS / "petshop-low-traffic"


@pytest.mark.skipif(not SHOP.is_dir(), reason=f"no recordings in {RECORDINGS}; see HINDCAST_RECORDINGS")
def test_the_recordings_land_as_pandas_counts_them_and_their_answers_are_left_out(warehouse):
    import pandas as pd

    found = recognise_all([SHOP])
    assert {file.format.name for file in found.files if file.path.name == "metrics.csv"} == {"metrics_wide_csv"}
    assert {file.path.name for file in found.files} == {"metrics.csv"}
    left_out = {each.path.name for each in found.left_out}
    assert {"graph.csv", "target.json"} <= left_out
    assert all(each.reason for each in found.left_out)
    assert len(found.files) == 27
    summary = land(warehouse, found.files)
    assert summary.records_rejected == 0
    for file, outcome in zip(found.files, summary.files, strict=True):
        frame = pd.read_csv(file.path, header=[0, 1, 2], index_col=0)
        values = frame.stack(list(range(frame.columns.nlevels)), future_stack=True).dropna()
        assert outcome.records_landed == len(values)
        if outcome.status == "loaded":
            (total,) = warehouse.execute(
                "select sum(value) from raw.metric_points where load_id = ?", [outcome.load_id]
            ).fetchall()[0]
            assert total == pytest.approx(values.sum())
