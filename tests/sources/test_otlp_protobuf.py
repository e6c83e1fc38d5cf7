"""OTLP in protobuf as it arrives on a bad night: what is damaged is refused in its place, everything else lands."""

from __future__ import annotations

import gzip
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from dagster_project.sources.decoding.reading import head
from dagster_project.sources.otlp import otlp_protobuf, otlp_protobuf_frames, otlp_protobuf_messages
from dagster_project.sources.otlp.otlp_values import DEPTH
from dagster_project.sources.recognition import recognise
from dagster_project.sources.registry import FORMATS
from tests.sources.otlp_messages import FRAMINGS, as_json, delimited, prefixed, varint, zstd

START = 1_674_981_600_000_000_000
TRACES = "otlp_protobuf_traces"


def traces(*names: str, root: Any = TracesData, **changes: Any) -> Any:
    """One message with a span of each name."""
    message = root()
    per_resource = message.resource_spans.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    spans = per_resource.scope_spans.add().spans
    for name in names:
        good = {
            "trace_id": bytes(range(16)),
            "span_id": bytes(range(8)),
            "name": name,
            "kind": 2,
            "start_time_unix_nano": START,
            "end_time_unix_nano": START + 5,
        }
        spans.add(**(good | changes))
    return message


def logs(*bodies: str) -> Any:
    message = LogsData()
    records = message.resource_logs.add().scope_logs.add().log_records
    for body in bodies:
        records.add(time_unix_nano=START).body.string_value = body
    return message


def metrics(*names: str) -> Any:
    message = MetricsData()
    found = message.resource_metrics.add().scope_metrics.add().metrics
    for name in names:
        found.add(name=name).gauge.data_points.add(time_unix_nano=START, as_int=1)
    return message


def data(message: Any) -> bytes:
    return bytes(message.SerializeToString())


SIGNALS = {"traces": traces("a", "b"), "logs": logs("a", "b"), "metrics": metrics("a", "b")}


# --- what is recognised -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [*FRAMINGS, "one message"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_framing_and_signal_are_told_from_the_bytes(tmp_path, signal, framing):
    message = SIGNALS[signal]
    content = data(message) if framing == "one message" else FRAMINGS[framing]([message, message])
    path = tmp_path / "no-name-that-says-anything"
    path.write_bytes(content)
    found = recognise(path)
    assert found is not None
    assert found.name == f"otlp_protobuf_{signal}"
    assert sum(known.recognises(head(path)) for known in FORMATS.values()) == 1


def test_a_block_of_zstd_longer_than_the_usual_head(tmp_path, land_bytes):
    noise = random.Random(3)
    message = traces("a")
    spans = message.resource_spans[0].scope_spans[0].spans
    spans[0].attributes.add(key="noise").value.bytes_value = noise.randbytes(300_000)
    path = tmp_path / "file"
    path.write_bytes(prefixed(zstd(data(message))))
    found = recognise(path)
    assert found is not None
    assert found.name == TRACES
    assert len(land_bytes(TRACES, path.read_bytes(), "again").rows) == 1


@pytest.mark.parametrize("length", range(1, 40))
def test_a_short_length_is_not_taken_for_a_field(land_bytes, length):
    """The first byte of a delimited file is a length: ten, say, is also the tag of a bare message's first field."""
    message = traces("x" * length)
    assert [row["span_name"] for row in land_bytes(TRACES, delimited(data(message)), "a").rows] == ["x" * length]
    assert [row["span_name"] for row in land_bytes(TRACES, data(message), "b").rows] == ["x" * length]


def test_empty_messages_come_before_a_full_one(land_bytes):
    landed = land_bytes(TRACES, prefixed(b"", b"", data(traces("a"))))
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(3, "a")]


def test_empty_delimited_messages_come_before_a_long_one(land_bytes):
    """Two empty messages and a length of two bytes are, read as four bytes, a length as well."""
    landed = land_bytes(TRACES, delimited(b"", b"", data(traces("a" * 100))))
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(3, "a" * 100)]


def test_an_export_request_is_like_the_data(land_bytes):
    message = traces("a", root=ExportTraceServiceRequest)
    assert len(land_bytes(TRACES, data(message)).rows) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"\x0a",
        b"\n\n\n",
        b"plain text, and more of it\n" * 100,
        b"\xff" * 200,
        bytes(200),
        random.Random(1).randbytes(5000),
        b'{"resourceSpans":[]}',
        data(TracesData(resource_spans=[{"schema_url": "x"}])),
    ],
)
def test_what_shows_no_signal_is_no_protobuf(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not any(known.recognises(content) for known in otlp_protobuf.FORMATS)


def test_an_empty_file_is_empty(land_bytes):
    assert land_bytes(TRACES, b"").outcome.status == "empty"


def test_a_file_of_another_signal_is_refused_whole(land_bytes):
    landed = land_bytes(TRACES, prefixed(data(logs("a"))))
    assert landed.reasons == [(1, None, "other_format")]
    assert "these are logs" in landed.refusals[0]["detail"]


def test_garbage_is_refused_whole(land_bytes):
    landed = land_bytes(TRACES, random.Random(2).randbytes(10_000))
    assert landed.reasons == [(1, None, "other_format")]
    assert landed.outcome.status == "failed"


# --- damaged frames ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [prefixed, delimited])
@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_truncated_message_is_refused_and_those_before_it_land(land_bytes, framed, cut):
    content = framed(data(traces("a")), data(traces("b")))
    landed = land_bytes(TRACES, content[:-cut])
    assert [row["span_name"] for row in landed.rows] == ["a"]
    assert landed.reasons == [(2, None, "message_truncated")]


def test_a_file_that_ends_inside_a_length(land_bytes):
    assert land_bytes(TRACES, prefixed(data(traces("a"))) + b"\0\0", "a").reasons == [(2, None, "message_truncated")]
    assert land_bytes(TRACES, delimited(data(traces("a"))) + b"\xff", "b").reasons == [(2, None, "message_truncated")]


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x7f\0\0\0"])
def test_an_absurd_length_is_refused(land_bytes, length):
    landed = land_bytes(TRACES, prefixed(data(traces("a"))) + length + b"rest")
    assert len(landed.rows) == 1
    assert landed.reasons == [(2, None, "line_too_long")]


@pytest.mark.parametrize("length", [b"\xff" * 11, varint(2**40)])
def test_an_absurd_varint_is_refused(land_bytes, length):
    landed = land_bytes(TRACES, delimited(data(traces("a"))) + length + b"rest")
    assert len(landed.rows) == 1
    assert [line for line, _, _ in landed.reasons] == [2]


def test_a_long_message_is_passed_over(land_bytes, monkeypatch):
    monkeypatch.setattr(otlp_protobuf_frames, "MESSAGE_LIMIT_BYTES", 500)
    content = prefixed(data(traces("a")), data(traces("x" * 600)), zstd(data(traces("y" * 600))), data(traces("b")))
    landed = land_bytes(TRACES, content)
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(1, "a"), (4, "b")]
    assert landed.reasons == [(2, None, "line_too_long"), (3, None, "line_too_long")]


def test_a_bare_message_that_is_too_long_is_refused(land_bytes, monkeypatch):
    monkeypatch.setattr(otlp_protobuf_frames, "MESSAGE_LIMIT_BYTES", 70_000)
    assert land_bytes(TRACES, data(traces(*["x" * 50] * 1000))).reasons == [(1, None, "line_too_long")]


def test_one_bad_message_among_good_is_refused_alone(land_bytes):
    bad = bytearray(data(traces("bad")))
    bad[1] = 0x7F  # longer than what there is
    landed = land_bytes(TRACES, prefixed(data(traces("a")), b"\xff\xff", bytes(bad), data(traces("b", "c"))))
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (4, 1), (4, 2)]
    assert landed.reasons == [(2, None, "not_protobuf"), (3, None, "not_protobuf")]


def test_text_that_is_no_utf8_refuses_its_message(land_bytes):
    bad = data(traces("AAAA")).replace(b"AAAA", b"A\xff\xfeA")
    assert land_bytes(TRACES, prefixed(data(traces("a")), bad)).reasons == [(2, None, "not_protobuf")]


def test_a_broken_zstd_message_is_refused_alone(land_bytes):
    broken = bytearray(zstd(data(traces(*["a long enough name"] * 40))))
    broken[len(broken) // 2] ^= 0xFF
    content = prefixed(zstd(data(traces("a"))), bytes(broken), broken[:9], zstd(data(traces("b"))))
    landed = land_bytes(TRACES, content)
    assert [row["span_name"] for row in landed.rows if row["line"] != 2] == ["a", "b"]
    assert {line for line, _, _ in landed.reasons} >= {3}
    assert {reason for _, _, reason in landed.reasons} <= {"corrupt_zstd", "not_protobuf"}


def test_a_gzip_that_breaks_off_gives_the_messages_before(land_bytes):
    content = gzip.compress(prefixed(*(data(traces(str(n) * 200)) for n in range(2000))))
    landed = land_bytes(TRACES, content[: len(content) // 2])
    assert 0 < len(landed.rows) < 2000
    assert [reason for _, _, reason in landed.reasons] == ["truncated_gzip"]


def test_mixed_framings_land_as_far_as_the_first_goes(land_bytes):
    long = "a name that makes a message longer than one byte of a varint can say"
    content = prefixed(data(traces(long)), data(traces(long))) + delimited(*[data(traces("c"))] * 3)
    landed = land_bytes(TRACES, content)
    assert [row["span_name"] for row in landed.rows] == [long, long]
    assert landed.outcome.records_rejected == 1


def test_json_and_protobuf_messages_may_follow_each_other(land_bytes):
    found = [data(traces("a")), as_json(traces("b")), b"{", as_json(traces("c")), zstd(as_json(traces("d")))]
    landed = land_bytes(TRACES, prefixed(*found))
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(1, "a"), (2, "b"), (4, "c"), (5, "d")]
    assert landed.reasons == [(3, None, "not_json")]


def test_refused_messages_say_where_they_are(land_bytes):
    first = prefixed(data(traces("a")))
    (refusal,) = land_bytes(TRACES, first + prefixed(b"\xff\xff")).refusals
    assert (refusal["byte_offset"], refusal["raw_bytes"]) == (len(first) + 4, 2)


# --- bad records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trace_id": b""}, "trace_id_missing"),
        ({"trace_id": b"\0" * 16}, "trace_id_zero"),
        ({"trace_id": b"a" * 15}, "trace_id_malformed"),
        ({"trace_id": b"a" * 32}, "trace_id_malformed"),
        ({"span_id": b""}, "span_id_missing"),
        ({"span_id": b"\0" * 8}, "span_id_zero"),
        ({"span_id": b"a" * 9}, "span_id_malformed"),
        ({"parent_span_id": b"a" * 7}, "parent_span_id_malformed"),
        ({"start_time_unix_nano": 0}, "time_missing"),
        ({"end_time_unix_nano": 2**64 - 1}, "time_out_of_range"),
        ({"end_time_unix_nano": START - 1}, "ends_before_start"),
        ({"kind": 6}, "enum_unknown"),
    ],
)
def test_a_bad_span_is_refused_alone(land_bytes, changes, reason):
    content = prefixed(data(traces("a")), data(traces("bad", **changes)), data(traces("b")))
    landed = land_bytes(TRACES, content)
    assert [row["span_name"] for row in landed.rows] == ["a", "b"]
    assert landed.reasons == [(2, 1, reason)]
    assert '"name":"bad"' in landed.refusals[0]["raw"]


# --- what protobuf allows and no encoder writes -----------------------------------------------------------------------


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def with_span(span: bytes) -> bytes:
    return field(1, field(2, field(2, span)))


SPAN = data(traces("a").resource_spans[0].scope_spans[0].spans[0])


def test_unknown_fields_are_named_and_the_rest_lands(land_bytes):
    message = with_span(SPAN + field(99, b"new") + varint(5 << 3) + b"\x07") + field(77, b"new")
    landed = land_bytes(TRACES, prefixed(data(traces("a")), message))
    assert [row["span_name"] for row in landed.rows] == ["a", "a"]
    assert set(landed.outcome.unknown_fields) == {
        "field 77",
        "resourceSpans.scopeSpans.spans.field 99",
        "resourceSpans.scopeSpans.spans.name",
    }


def test_fields_of_profiles_only_are_named(land_bytes):
    message = traces("a")
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k", key_strindex=3).value.string_value_strindex = 2
    landed = land_bytes(TRACES, prefixed(data(message)))
    assert landed.rows[0]["attributes"] == '{"k":null}'
    assert set(landed.outcome.unknown_fields) == {
        "resourceSpans.scopeSpans.spans.attributes.keyStrindex",
        "resourceSpans.scopeSpans.spans.attributes.value.stringValueStrindex",
    }


def test_of_two_kinds_of_a_value_the_last_counts(land_bytes):
    value = field(1, b"text") + varint(3 << 3) + b"\x05"
    message = with_span(SPAN + field(9, field(1, b"k") + field(2, value)))
    assert land_bytes(TRACES, prefixed(message)).rows[0]["attributes"] == '{"k":5}'


def test_of_a_field_sent_twice_the_last_counts(land_bytes):
    assert land_bytes(TRACES, prefixed(with_span(SPAN + field(5, b"b")))).rows[0]["span_name"] == "b"


def test_zeros_that_were_sent_are_as_those_that_were_not(land_bytes):
    zeros = varint(10 << 3) + b"\0" + field(3, b"") + field(4, b"")
    landed = land_bytes(TRACES, prefixed(with_span(SPAN + zeros), with_span(SPAN)))
    first, second = (row | {"line": 0} for row in landed.rows)
    assert first == second


def test_an_unknown_group_is_passed_over(land_bytes):
    group = varint(99 << 3 | 3) + varint(1 << 3) + b"\x01" + varint(99 << 3 | 4)
    landed = land_bytes(TRACES, prefixed(with_span(SPAN), with_span(SPAN + group)))
    assert len(landed.rows) == 2


@pytest.mark.parametrize(("levels", "lands"), [(3, True), (30, True), (60, False)])
def test_values_may_nest_as_deep_as_protobuf_reads(land_bytes, levels, lands):
    value = field(1, b"x")
    for _ in range(levels):
        value = field(5, field(1, value))
    deep = with_span(SPAN + field(9, field(1, b"k") + field(2, value)))
    landed = land_bytes(TRACES, prefixed(data(traces("a")), deep, data(traces("b"))))
    assert len(landed.rows) == 2 + lands
    assert landed.reasons == ([] if lands else [(2, None, "not_protobuf")])
    if lands:
        assert landed.rows[1]["attributes"] == '{"k":' + "[" * levels + '"x"' + "]" * levels + "}"


def test_messages_that_arrow_refuses_go_the_slow_way_alone(land_bytes, monkeypatch):
    real = otlp_protobuf_messages.MessageReader.as_json
    asked: list[bytes] = []
    monkeypatch.setattr(
        otlp_protobuf_messages.MessageReader, "as_json", lambda self, data: asked.append(data) or real(self, data)
    )
    value = field(1, b"x")
    for _ in range(DEPTH + 1):
        value = field(5, field(1, value))
    deep = with_span(SPAN + field(9, field(1, b"k") + field(2, value)))
    landed = land_bytes(TRACES, prefixed(*[data(traces("a"))] * 50, deep, *[data(traces("b"))] * 50))
    assert len(landed.rows) == 101
    assert asked == [deep]


# --- any bytes --------------------------------------------------------------------------------------------------------

GOOD = {
    name: [
        prefixed(*[data(SIGNALS[name])] * 3),
        delimited(*[data(SIGNALS[name])] * 3),
        data(SIGNALS[name]),
        prefixed(*[zstd(data(SIGNALS[name]))] * 3),
    ]
    for name in SIGNALS
}


@settings(deadline=None, max_examples=60)
@given(
    signal=st.sampled_from(list(SIGNALS)),
    way=st.integers(0, 3),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 10**6),
)
def test_no_damage_raises(signal, way, changes, cut):
    content = bytearray(GOOD[signal][way])
    for place, byte in changes:
        content[place % len(content)] = byte
    records, refusals = decoded(f"otlp_protobuf_{signal}", bytes(content[: cut % (4 * len(content)) or None]))
    assert records + refusals >= 1 or not content


@settings(deadline=None, max_examples=40)
@given(signal=st.sampled_from(list(SIGNALS)), content=st.binary(max_size=200))
def test_no_bytes_raise(signal, content):
    decoded(f"otlp_protobuf_{signal}", content)
    decoded(f"otlp_protobuf_{signal}", prefixed(data(SIGNALS[signal]), content, data(SIGNALS[signal])))
    decoded(f"otlp_protobuf_{signal}", delimited(data(SIGNALS[signal])) + content)


def decoded(name: str, content: bytes) -> tuple[int, int]:
    """How many records and refusals came out."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        found = list(FORMATS[name].open(Path(file.name)))
    return sum(batch.records for batch in found), sum(len(batch.refusals) for batch in found)
