"""Prometheus answers: what lands, what is refused alone, and that the fast way and the slow way read the same."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.metrics import prometheus
from dagster_project.warehouse.landing import InputFile, land

AT = 1674981600


def matrix(*series: object, kind: str = "matrix", status: str = "success") -> bytes:
    return json.dumps({"status": status, "data": {"resultType": kind, "result": series}}).encode()


def as_sent(*series: object) -> bytes:
    """The bytes as Prometheus writes them: without blanks, so that the fast way reads them."""
    answer = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    return json.dumps(answer, separators=(",", ":")).encode()


def series(*values: object, **labels: str) -> dict[str, object]:
    return {"metric": {"__name__": "cpu", "service": "shop"} | labels, "values": values}


WRITERS = pytest.mark.parametrize("write", [matrix, as_sent], ids=["with blanks", "as sent"])


@WRITERS
def test_points_land_with_labels_service_and_place(land_bytes, write):
    landed = land_bytes("prometheus", write(series([AT, "1"]), series([AT + 0.25, "2.5"], [AT + 60, "3"], pod="p")))
    assert [(row["line"], row["record"], row["value"], row["observed_at"].isoformat()) for row in landed.rows] == [
        (1, 1, 1.0, "2023-01-29T08:40:00"),
        (2, 1, 2.5, "2023-01-29T08:40:00.250000"),
        (2, 2, 3.0, "2023-01-29T08:41:00"),
    ]
    assert json.loads(landed.rows[1]["labels"]) == {"service": "shop", "pod": "p"}
    assert {(row["metric_name"], row["service_name"]) for row in landed.rows} == {("cpu", "shop")}


BAD_POINTS = [
    ([AT, "many"], "value_malformed"),
    ([AT, ""], "value_malformed"),
    ([AT, "1_000"], "value_malformed"),
    ([AT, 'a],["b'], "value_malformed"),
    ([AT, "a,b"], "value_malformed"),
    ([5, "1"], "time_out_of_range"),
    ([AT * 1000, "1"], "time_out_of_range"),
    ([-AT, "1"], "time_out_of_range"),
    (["1674981600", "1"], "structure"),
    ([True, "1"], "structure"),
    ([None, "1"], "structure"),
    ([AT, 1], "structure"),
    ([AT], "structure"),
    ([AT, "1", "2"], "structure"),
    ([[AT], "1"], "structure"),
    ("x", "structure"),
    (None, "structure"),
    ({"a": '1,"2"'}, "structure"),
]


@WRITERS
@pytest.mark.parametrize(("point", "reason"), BAD_POINTS)
def test_a_bad_point_is_refused_and_its_neighbours_land(land_bytes, point, reason, write):
    other = series([AT, "7"], pod="other")
    landed = land_bytes("prometheus", write(other, series([AT, "1"], point, [AT + 60, "2"]), other))
    assert [(row["line"], row["record"], row["value"]) for row in landed.rows] == [
        (1, 1, 7.0),
        (2, 1, 1.0),
        (2, 3, 2.0),
        (3, 1, 7.0),
    ]
    assert landed.reasons == [(2, 2, reason)]
    assert json.loads(landed.refusals[0]["raw"]) == point


@WRITERS
def test_values_that_are_no_finite_numbers_land_as_they_are(land_bytes, write):
    landed = land_bytes("prometheus", write(series(*([AT, text] for text in ("NaN", "+Inf", "-Inf")))))
    assert [str(row["value"]) for row in landed.rows] == ["nan", "inf", "-inf"]
    assert landed.reasons == []


@WRITERS
def test_labels_with_every_odd_character_are_kept(land_bytes, write):
    labels = {"path": 'a"b\\c\n,"values":[[1,"2"]]', "emoji": "\U0001f600", "empty": ""}
    landed = land_bytes("prometheus", write(series([AT, "1"], **labels)))
    assert json.loads(landed.rows[0]["labels"]) == {"service": "shop"} | labels


def test_a_series_without_a_name_takes_the_file_s(land_bytes):
    unnamed = {"metric": {"job": "shop"}, "values": [[AT, "1"]]}
    landed = land_bytes("prometheus", gzip.compress(matrix(unnamed)), "error_rate.json.gz")
    assert (landed.rows[0]["metric_name"], landed.rows[0]["service_name"]) == ("error_rate", "shop")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cpu/20230129T084000Z-20230129T094000Z.json.gz", "cpu"),
        ("cpu/errors.json", "errors"),
        ("cpu/20230129.json", "20230129"),
    ],
)
def test_a_file_of_a_window_is_named_by_its_folder(path, name):
    assert prometheus.name_of_file(Path(path)) == name


def test_a_service_of_the_source_is_that_of_series_without_one(warehouse, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(as_sent({"metric": {"pod": "a"}, "values": [[AT, "1"]]}, series([AT, "1"])))
    options = prometheus.ReadOptions(service_name="billing")
    land(warehouse, [InputFile(path, prometheus.FORMAT.with_options(options))])
    found = warehouse.execute("select service_name from raw.metric_points order by line").fetchall()
    assert found == [("billing",), ("shop",)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not_json"),
        (b"[]", "other_format"),
        (b"null", "other_format"),
        (b'{"status":"success"}', "other_format"),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1674981600,"1"]}}', "other_format"),
        (json.dumps({"status": "error", "data": {}, "error": "timeout"}).encode(), "other_format"),
        (json.dumps({"data": {"result": []}, "status": "error", "error": "timeout"}).encode(), "other_format"),
        (gzip.compress(matrix(series([AT, "1"])))[:-12], "truncated_gzip"),
    ],
)
def test_another_document_is_refused_as_a_whole(land_bytes, content, reason):
    landed = land_bytes("prometheus", content)
    assert landed.reasons == [(1, None, reason)]
    assert landed.outcome.status == "failed"


@pytest.mark.parametrize("content", [b"", b" \n "])
def test_nothing_is_empty(land_bytes, content):
    assert land_bytes("prometheus", content).outcome.status == "empty"


def test_an_instant_vector_is_a_point_a_series(land_bytes):
    content = matrix({"metric": {"__name__": "up", "job": "shop"}, "value": [AT, "1"]}, kind="vector")
    landed = land_bytes("prometheus", content)
    assert [(row["metric_name"], row["value"]) for row in landed.rows] == [("up", 1.0)]


def test_whole_series_before_a_break_land(land_bytes):
    content = as_sent(series([AT, "1"]), series([AT, "2"], pod="b"), series([AT, "3"], pod="c"))
    landed = land_bytes("prometheus", content[: content.rindex(b'"3"')])
    assert [row["value"] for row in landed.rows] == [1.0, 2.0]
    assert landed.reasons == [(3, None, "not_json")]


def test_a_series_that_is_no_json_is_refused_alone(land_bytes):
    content = as_sent(series([AT, "1"]), series([AT, "2"], pod="b"), series([AT, "3"], pod="c"))
    landed = land_bytes("prometheus", content.replace(b'[1674981600,"2"]', b'[1674981600 "2"]'))
    assert [row["value"] for row in landed.rows] == [1.0, 3.0]
    assert landed.reasons == [(2, None, "not_json")]


@pytest.mark.parametrize("bad", [b"[00,", b"[ 5,", b"[5.,"])
def test_a_time_that_only_the_fast_way_takes_for_a_number_is_refused_with_its_text(land_bytes, bad):
    content = as_sent(series([AT, "1"], [AT, "2"], [AT, "3"])).replace(b'[1674981600,"2"', bad + b'"2"')
    landed = land_bytes("prometheus", content)
    assert [row["record"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(1, 2, "time_out_of_range")]
    assert "2" in landed.refusals[0]["raw"]


def test_a_broken_series_is_refused_alone(land_bytes):
    landed = land_bytes("prometheus", matrix({"values": []}, series([AT, "1"]), {"metric": {}, "values": 3}, 7))
    assert [row["line"] for row in landed.rows] == [2]
    assert landed.reasons == [(1, None, "structure"), (3, None, "structure"), (4, None, "structure")]


def test_native_histograms_are_refused_with_what_to_ask_instead(land_bytes):
    both = series([AT, "1"]) | {"histograms": [[AT, {"count": "3", "sum": "1.5", "buckets": []}]]}
    landed = land_bytes("prometheus", matrix(both))
    assert (len(landed.rows), landed.reasons) == (1, [(1, None, "other_format")])
    assert "histogram_quantile" in landed.refusals[0]["detail"]


@pytest.mark.parametrize("depth", [300, 900, 1500])
def test_what_is_nested_too_deeply_is_refused_alone(land_bytes, depth):
    deep = b"[" * depth + b"]" * depth
    content = as_sent(series([AT, "1"]), series([AT, "1"], [AT, "deep"]), series([AT, "2"])).replace(b'"deep"', deep)
    landed = land_bytes("prometheus", content)
    assert [row["line"] for row in landed.rows] in ([1, 2, 3], [1, 3])
    assert [line for line, _, _ in landed.reasons] == [2]
    labelled = as_sent(series([AT, "1"], pod="deep")).replace(b'"deep"', deep)
    assert land_bytes("prometheus", labelled, "labels").outcome.records_read == 1


def test_a_matrix_without_points_is_empty(land_bytes):
    assert land_bytes("prometheus", matrix(series())).outcome.status == "empty"


def test_warnings_of_the_server_are_told(land_bytes):
    content = matrix(series([AT, "1"])).removesuffix(b"}") + b', "warnings": ["exceeded maximum resolution"]}'
    assert land_bytes("prometheus", content).outcome.unknown_fields == ("warnings",)


def test_many_series_with_bad_points_lose_no_neighbour(land_bytes):
    found = [series(*([AT + n, "x" if n == s else str(n)] for n in range(50)), pod=str(s)) for s in range(50)]
    found[7] = series(*([True if n == 3 else AT + n, "x" if n == 7 else str(n)] for n in range(50)), pod="7")
    landed = land_bytes("prometheus", as_sent(*found))
    bad = {(s + 1, s + 1) for s in range(50)} | {(8, 4)}
    assert {(line, record) for line, record, _ in landed.reasons} == bad
    assert len(landed.rows) == 50 * 50 - len(bad)
    assert all(row["value"] == row["record"] - 1 for row in landed.rows)


_POINTS = st.lists(
    st.one_of(
        st.tuples(
            st.one_of(st.integers(AT, AT + 10**6), st.floats(AT, AT + 10**6), st.booleans(), st.none()),
            st.one_of(st.floats().map(str), st.text(max_size=5), st.integers(0, 9)),
        ).map(list),
        st.text(max_size=3),
        st.lists(st.integers(), max_size=3),
    ),
    max_size=6,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_POINTS, max_size=4))
def test_the_fast_way_and_the_slow_way_read_the_same(warehouse, tmp_path, found):
    answers = [series(*points, pod=str(n)) for n, points in enumerate(found)]

    def read(content: bytes) -> list[object]:
        path = tmp_path / "answer.json"
        path.write_bytes(content)
        rows: list[object] = []
        for batch in prometheus.FORMAT.batches(ByteStream(path), prometheus.ReadOptions()):
            if batch.records:
                warehouse.register("metric_points", batch.tables["metric_points"])
                rows += warehouse.execute(f"select * exclude (detail) from ({batch.select})").fetchall()
            rows += [(refusal.line, refusal.record, refusal.reason) for refusal in batch.refusals]
        return sorted(map(str, rows))

    pretty = json.dumps({"data": {"result": answers}, "status": "success"}, indent=1).encode()
    assert read(as_sent(*answers)) == read(pretty)
    assert len(read(pretty)) == sum(map(len, found))


RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
METRICS = RECORDINGS / "trainticket-2023-01-29" / "metrics"


@pytest.mark.skipif(not METRICS.is_dir(), reason=f"no recordings in {RECORDINGS}; see HINDCAST_RECORDINGS")
def test_the_recordings_land_with_the_counts_of_their_readme(warehouse):
    files = [InputFile(path, prometheus.FORMAT) for path in sorted(METRICS.glob("*.json.gz"))]
    summary = land(warehouse, files)
    assert (summary.records_landed, summary.records_rejected) == (807_801, 0)
    largest = METRICS / "cpuusage_m.json.gz"
    sent = json.loads(gzip.decompress(largest.read_bytes()))["data"]["result"]
    expected = {(at, float(value), found["metric"]["pod"]) for found in sent for at, value in found["values"]}
    rows = warehouse.execute(
        "select epoch_ns(observed_at) // 1000000000, value, labels ->> 'pod' from raw.metric_points "
        "where metric_name = 'cpuusage_m'"
    ).fetchall()
    assert set(rows) == expected
