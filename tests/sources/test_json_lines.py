"""JSON lines: which key becomes what, which times are read, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.logs import json_lines
from dagster_project.sources.registry import FORMATS

TRACE = "7311d8a3c2ce6f447ed4d57b1e2feb89"
SPAN = "a6cecc1b78e51061"
AT = "2023-01-29T08:44:04Z"


@pytest.fixture
def land_lines(land_bytes, monkeypatch):
    """`land_lines(*lines, **options)`: what became of a file of these lines, objects or bytes."""

    def landed(*lines, **options):
        content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"
        monkeypatch.setitem(FORMATS, "json_lines", json_lines.FORMAT.with_options(ReadOptions(**options)))
        return land_bytes("json_lines", content)

    return landed


def test_a_record_has_its_fields_and_the_rest_as_attributes(land_lines):
    line = {
        "timestamp": "2023-01-29T08:44:04.123456789Z",
        "level": "WARN",
        "service": "shop",
        "message": "slow",
        "trace_id": TRACE,
        "span_id": SPAN,
        "http": {"status": 404, "path": "/x"},
        "duration": 2.0,
        "count": 2,
        "text": "2",
        "ok": True,
        "nothing": None,
        "big": 123456789012345678901234567890,
    }
    (row,) = land_lines(line).rows
    assert (row["service_name"], row["severity_number"], row["severity_text"]) == ("shop", 13, "WARN")
    assert (row["body"], row["trace_id"].hex, f"{row['span_id']:x}") == ("slow", TRACE, SPAN)
    rest = {key: value for key, value in line.items() if key in list(line)[6:]}
    assert json.loads(row["attributes"]) == rest
    assert '"duration":2.0,"count":2,"text":"2"' in row["attributes"]


def test_nanoseconds_are_kept(land_lines, warehouse):
    land_lines({"ts": "2023-01-29T08:44:04.123456789Z", "msg": "x"})
    assert warehouse.sql("select epoch_ns(occurred_at) from raw.logs").fetchall() == [(1674981844123456789,)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2023-01-29T08:44:04Z", "2023-01-29T08:44:04"),
        ("2023-01-29t08:44:04.5z", "2023-01-29T08:44:04.500000"),
        ("2023-01-29T10:44:04.5+02:00", "2023-01-29T08:44:04.500000"),
        ("2023-01-29T01:14:04-0730", "2023-01-29T08:44:04"),
        ("2023-01-29 08:44:04 UTC", "2023-01-29T08:44:04"),
        ("2023-01-29 09:44:04,250", "2023-01-29T08:44:04.250000"),
        ("2023-01-29T09:44:04", "2023-01-29T08:44:04"),
        ("2023-07-29T10:44:04", "2023-07-29T08:44:04"),
        (1674981844, "2023-01-29T08:44:04"),
        ("1674981844", "2023-01-29T08:44:04"),
        (1674981844.25, "2023-01-29T08:44:04.250000"),
        (1674981844250, "2023-01-29T08:44:04.250000"),
        (1674981844250000, "2023-01-29T08:44:04.250000"),
        (1674981844250000000, "2023-01-29T08:44:04.250000"),
        (946684800, "2000-01-01T00:00:00"),
        (4102444799, "2099-12-31T23:59:59"),
    ],
)
def test_a_time_is_read_in_utc(land_lines, time, expected):
    (row,) = land_lines({"time": time, "message": "x"}, time_zone="Europe/Berlin").rows
    assert row["occurred_at"].isoformat() == expected


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (None, "time_missing"),
        ("", "time_missing"),
        ("yesterday", "time_malformed"),
        ("2023-01-29", "time_malformed"),
        ("2023-02-30T08:44:04Z", "time_malformed"),
        ("2023-01-29T08:44:04+99:00", "time_malformed"),
        ("2023-01-29 08:44:04 CEST", "time_malformed"),
        ("infinity", "time_malformed"),
        (True, "time_malformed"),
        ({"at": 1}, "time_malformed"),
        ([], "time_malformed"),
        (1e300, "time_malformed"),
        (0, "time_out_of_range"),
        (-1, "time_out_of_range"),
        (946684799, "time_out_of_range"),
        (4102444800, "time_out_of_range"),
        ("0001-01-01T00:00:00Z", "time_out_of_range"),
        ("9999-12-31T23:59:59Z", "time_out_of_range"),
    ],
)
def test_a_record_without_a_usable_time_is_refused_alone(land_lines, time, reason):
    landed = land_lines({"time": AT, "message": "a"}, {"time": time, "message": "b"}, {"time": AT, "message": "c"})
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]
    assert json.loads(landed.refusals[0]["raw"])["message"] == "b"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not_json"),
        (b'{"time":"' + AT.encode() + b'","message":"\xff"}', "not_utf8"),
        (b'{"time":"' + AT.encode() + b'","message":"\\ud83d"}', "not_json"),
        (b'{"a":1} {"b":2}', "not_json"),
        (b"\x00", "not_json"),
        (b"[1]", "structure"),
        (b'"text"', "structure"),
        (b"null", "structure"),
        (b"12", "structure"),
    ],
)
def test_a_line_that_is_no_object_is_refused_as_a_whole(land_lines, line, reason):
    good = {"time": AT, "message": "x"}
    landed = land_lines(good, line, b"", b"  \t", good)
    assert [row["line"] for row in landed.rows] == [1, 5]
    assert landed.reasons == [(2, None, reason)]


def test_keys_are_tried_in_order_and_only_the_one_taken_leaves_the_attributes(land_lines):
    landed = land_lines(
        {"timestamp": None, "@timestamp": AT, "ts": 5, "msg": "a", "body": "b", "severity": "info", "log.level": "x"},
        {"time": AT, "message": {"a": 1}, "log": {"level": "error", "file": "f"}, "service": {"name": "pay"}},
        {"time": AT, "msg": "x", "service": "", "trace": {"id": TRACE}, "span.id": SPAN, "span": {"id": "1"}},
    )
    first, second, third = landed.rows
    assert (first["body"], first["severity_number"]) == ("a", 9)
    assert json.loads(first["attributes"]) == {"timestamp": None, "ts": 5, "body": "b", "log.level": "x"}
    assert (second["body"], second["severity_number"], second["service_name"]) == ('{"a":1}', 17, "pay")
    assert json.loads(second["attributes"]) == {"log": {"file": "f"}, "service": {}}
    assert (third["trace_id"].hex, f"{third['span_id']:x}") == (TRACE, SPAN)
    assert json.loads(third["attributes"]) == {"service": "", "trace": {}, "span": {"id": "1"}}


def test_the_source_names_its_keys(land_lines):
    fields = {"occurred_at": "meta.when", "body": "what", "severity": "pri", "service_name": "a.b", "trace_id": "t"}
    landed = land_lines(
        {"meta": {"when": AT}, "what": "w", "pri": 3, "a.b": "flat", "a": {"b": "deep"}, "t": TRACE, "message": "m"},
        {"meta": {"when": AT, "x": 1}, "timestamp": AT, "a": {"b": "deep"}},
        {"timestamp": AT},
        fields=fields,
        service_name="declared",
    )
    first, second = landed.rows
    assert (first["body"], first["severity_number"], first["service_name"]) == ("w", 17, "flat")
    assert json.loads(first["attributes"]) == {"meta": {}, "a": {"b": "deep"}, "message": "m"}
    assert (second["body"], second["service_name"]) == (None, "deep")
    assert json.loads(second["attributes"]) == {"meta": {"x": 1}, "timestamp": AT, "a": {}}
    assert landed.reasons == [(3, 1, "time_missing")]


def test_a_field_that_no_log_has_refuses_the_file(land_lines):
    landed = land_lines({"ts": AT, "msg": "x"}, fields={"message": "msg"})
    assert landed.reasons == [(1, None, "other_format")]
    assert "message is none of body," in landed.refusals[0]["detail"]


def test_a_record_without_a_service_has_the_declared_one(land_lines):
    landed = land_lines({"ts": AT, "msg": "a"}, {"ts": AT, "msg": "b", "service": "own"}, service_name="declared")
    assert [row["service_name"] for row in landed.rows] == ["declared", "own"]


@pytest.mark.parametrize(
    ("keys", "trace", "span"),
    [
        ({"traceId": TRACE.upper(), "spanId": SPAN.upper()}, TRACE, SPAN),
        ({"trace_id": SPAN}, SPAN.zfill(32), None),
        ({"trace_id": "1-7311d8a3-c2ce6f447ed4d57b1e2feb89"}, TRACE, None),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE, SPAN),
        ({"dd.trace_id": "255", "dd.span_id": "16"}, f"{255:032x}", f"{16:016x}"),
        ({"dd": {"trace_id": "1000000000000000", "span_id": 7}}, f"{10**15:032x}", f"{7:016x}"),
        ({"trace_id": "0" * 32, "span_id": "0" * 16}, None, None),
        ({"trace_id": "request-7", "span_id": "xyz"}, None, None),
        ({"trace_id": 7, "span_id": None}, None, None),
    ],
)
def test_trace_context_is_taken_where_it_is_one_and_kept_where_it_is_none(land_lines, keys, trace, span):
    (row,) = land_lines({"ts": AT, "msg": "x"} | keys).rows
    assert row["trace_id"] is None if trace is None else row["trace_id"].hex == trace
    assert row["span_id"] == (None if span is None else int(span, 16))
    if trace is None:
        assert json.loads(row["attributes"]) == keys


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        ({"level": "Information"}, 9),
        ({"level": "CRITICAL"}, 21),
        ({"level": "warn3"}, 15),
        ({"level": 30}, 9),
        ({"level": "60"}, 21),
        ({"level": 3}, 17),
        ({"level": "loud"}, 0),
        ({}, 0),
        ({"severity_number": 18, "level": "info"}, 18),
        ({"severityNumber": 99, "level": "info"}, 9),
    ],
)
def test_a_severity_has_opentelemetry_s_number_and_its_own_text(land_lines, keys, number):
    (row,) = land_lines({"ts": AT, "msg": "x"} | keys).rows
    assert row["severity_number"] == number
    assert row["severity_text"] == (str(keys["level"]) if "level" in keys else None)


def test_numbers_that_are_none_become_otlp_s(land_lines):
    line = b'{"ts":"2023-01-29T08:44:04Z","msg":"NaN","a":NaN,"b":[-Infinity,"a:NaN"],"c":1}'
    (row,) = land_lines(line).rows
    assert json.loads(row["attributes"]) == {
        "a": {"doubleValue": "NaN"}, "b": [{"doubleValue": "-Infinity"}, "a:NaN"], "c": 1
    }  # fmt: skip


def test_depth_and_length_end_no_load(land_lines):
    deep = b'{"ts":"2023-01-29T08:44:04Z","msg":"x","d":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    wide = json.dumps({"ts": AT, "msg": "y" * 1_000_000} | {f"k{n}": n for n in range(100_000)}).encode()
    landed = land_lines(deep, wide, {"ts": AT, "msg": "z"})
    assert [row["line"] for row in landed.rows] == [1, 2, 3]


def test_blocks_that_do_not_use_the_same_keys_read_as_one(tmp_path):
    lines = [{"ts": AT, "msg": "a", "n": n} if n % 3 else {"time": AT, "message": "a", "n": n} for n in range(200)]
    path = tmp_path / "file"
    path.write_bytes("".join(json.dumps(line) + "\r\n" for line in lines).encode())
    rows = []
    for batch in json_lines.batches(ByteStream(path), ReadOptions(), block_bytes=64):
        assert not batch.refusals
        rows += [row for table in batch.tables.values() for row in table.to_pylist()]
    assert [json.loads(row["attributes"])["n"] for row in rows] == list(range(200))
    assert {row["body"] for row in rows} == {"a"}


KEYS = st.sampled_from([key for keys in json_lines.DEFAULTS.values() for key in keys] + ["log", "dd", "a.b", "", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([AT, TRACE, SPAN, "info"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(objects=st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=8))
def test_nothing_is_lost_whatever_the_objects_are(tmp_path_factory, objects):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes("".join(json.dumps(each) + "\n" for each in objects).encode())
    found = list(json_lines.batches(ByteStream(path), ReadOptions()))
    assert sum(batch.records + len(batch.refusals) for batch in found) == len(objects)
    for batch in found:
        for row in (row for table in batch.tables.values() for row in table.to_pylist()):
            sent, kept = objects[row["line"] - 1], json.loads(row["attributes"] or "{}")
            assert kept.keys() <= sent.keys()
            fields = {key.split(".")[0] for keys in json_lines.DEFAULTS.values() for key in keys}
            assert {key for key in sent if key.split(".")[0] not in fields} <= kept.keys()


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_no_bytes_end_a_load(tmp_path_factory, content):
    path: Path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(content.removeprefix(b"\x1f\x8b").removeprefix(b"PK"))
    for _ in json_lines.batches(ByteStream(path), ReadOptions()):
        pass


@pytest.mark.parametrize(
    ("head", "is_known"),
    [
        (b'{"timestamp":"2023-01-29T08:44:04Z","message":"x"}\n', True),
        (b'{"@timestamp":"2023-01-29T08:44:04Z","log":{"level":"info"},"message":"x"}', True),
        (b'{"ts":1674981844.1,"msg":"x","level":30}\n{', True),
        (b'{"resourceLogs":[]}\n', False),
        (b'{"timestamp":"2023-01-29T08:44:04Z"}\n', False),
        (b'{"message":"x"}\n', False),
        (b'{\n"timestamp":"2023-01-29T08:44:04Z","message":"x"}\n', False),
        (b'[{"timestamp":"2023-01-29T08:44:04Z","message":"x"}]', False),
        (b"plain text\n", False),
        (b"", False),
    ],
)
def test_a_file_is_known_by_a_time_and_a_message(head, is_known):
    assert json_lines.FORMAT.recognises(head) is is_known


def test_the_clock_is_utc_where_nothing_is_said(land_lines):
    (row,) = land_lines({"ts": "2023-01-29T08:44:04", "msg": "x"}).rows
    assert row["occurred_at"] == datetime(2023, 1, 29, 8, 44, 4)
