"""Zipkin's v2 JSON: what becomes of a span's fields, of the recordings, and of what is no span."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from uuid import UUID

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.sources.recognition import recognise
from dagster_project.sources.traces import zipkin
from dagster_project.sources.traces.span_rows import ROWS, query
from tests.sources.conftest import dicts
from tests.sources.foreign_spans import TEXTS, columns_of, expected, hexadecimal, spans

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
TRACES = RECORDINGS / "zipkin-traces"
FILES = sorted(TRACES.glob("*.json"))

SPAN = {
    "traceId": "5aab74dbb904746b",
    "id": "e457b5a2e4d86bd1",
    "kind": "SERVER",
    "name": "get /",
    "timestamp": 1_521_186_011_929_043,
    "duration": 14,
    "localEndpoint": {"serviceName": "shop"},
}


def content(*spans: object) -> bytes:
    return json.dumps(list(spans)).encode()


def one(landed):
    (row,) = landed.rows
    return row


# --- recordings -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FILES, reason=f"no recordings in {TRACES}; see HINDCAST_RECORDINGS")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recorded_span_lands_or_is_refused_for_having_no_time(land_bytes, path):
    sent = json.loads(path.read_bytes())
    timeless = [number for number, span in enumerate(sent, 1) if "timestamp" not in span]
    landed = land_bytes("zipkin", path.read_bytes())
    assert recognise(path).name == "zipkin"
    assert len(landed.rows) == len(sent) - len(timeless)
    assert landed.reasons == [(number, 1, "time_missing") for number in timeless]
    by_line = {row["line"]: row for row in landed.rows}
    for number, span in enumerate(sent, 1):
        if number in by_line:
            row = by_line[number]
            assert row["trace_id"] == UUID(int=int(span["traceId"], 16))
            assert row["span_id"] == int(span["id"], 16)
            assert row["parent_span_id"] == (int(span["parentId"], 16) if "parentId" in span else None)
            assert row["service_name"] == span["localEndpoint"].get("serviceName")
            attributes = json.loads(row["attributes"] or "{}")
            assert span.get("tags", {}).items() <= attributes.items()
            assert ("hindcast.duration_missing" in attributes) == ("duration" not in span)
            assert (row["status_code"] == 2) == ("error" in span.get("tags", {}))
            assert len(json.loads(row["events"] or "[]")) == len(span.get("annotations", []))


@pytest.mark.skipif(not FILES, reason=f"no recordings in {TRACES}; see HINDCAST_RECORDINGS")
def test_clocks_that_disagree_stay_as_they_were_sent(land_bytes, warehouse):
    land_bytes("zipkin", (TRACES / "skew.json").read_bytes())
    halves = dicts(
        warehouse,
        "select kind, epoch_us(started_at) as at, epoch_ns(ended_at) - epoch_ns(started_at) as took, parent_span_id "
        "from raw.spans where span_id = ? order by kind",
        0x74280AE0C10D8062,
    )
    parent = 0xBF396325699C84BF
    assert halves == [
        {"kind": 2, "at": 1470150004008761, "took": 93_577_000, "parent_span_id": parent},
        {"kind": 3, "at": 1470150004074202, "took": 94_539_000, "parent_span_id": parent},
    ]


# --- fields -----------------------------------------------------------------------------------------------------------


def test_endpoints_flags_and_tags_become_attributes(land_bytes):
    span = SPAN | {
        "localEndpoint": {"serviceName": "shop", "ipv4": "192.0.2.1", "ipv6": "::1", "port": 8080},
        "remoteEndpoint": {"serviceName": "bank", "ipv6": "2001:db8::2", "port": 443},
        "tags": {"http.status_code": "200", "peer.service": "said by a tag", "a/b": 'x"\u001f'},
        "shared": True,
        "debug": False,
    }
    row = one(land_bytes("zipkin", content(span)))
    assert json.loads(row["attributes"]) == {
        "http.status_code": "200",
        "peer.service": "said by a tag",
        "a/b": 'x"\u001f',
        "network.local.address": "192.0.2.1",
        "network.local.address.ipv6": "::1",
        "network.local.port": 8080,
        "network.peer.address": "2001:db8::2",
        "network.peer.port": 443,
        "zipkin.shared": True,
        "zipkin.debug": False,
    }
    assert json.loads(row["resource_attributes"]) == {"service.name": "shop"}
    assert row["service_name"] == "shop"


@pytest.mark.parametrize(
    ("tags", "code", "message"),
    [
        ({"error": ""}, 2, None),
        ({"error": "true"}, 2, None),
        ({"error": "timed out"}, 2, "timed out"),
        ({"error": "false"}, 0, None),
        ({"otel.status_code": "OK", "error": "x"}, 1, "x"),
        ({"otel.status_code": "ERROR", "otel.status_description": "no"}, 2, "no"),
        ({}, 0, None),
    ],
)
def test_tags_say_the_status(land_bytes, tags, code, message):
    row = one(land_bytes("zipkin", content(SPAN | {"tags": tags})))
    assert (row["status_code"], row["status_message"]) == (code, message)


def test_tags_of_opentelemetry_go_to_their_columns(land_bytes):
    tags = {
        "otel.scope.name": "lib",
        "otel.scope.version": "2",
        "service.version": "1.4",
        "otel.dropped_attributes_count": "3",
        "w3c.tracestate": "a=1",
    }
    row = one(land_bytes("zipkin", content(SPAN | {"tags": tags})))
    names = ("scope_name", "scope_version", "service_version", "dropped_attributes_count", "trace_state")
    assert [row[name] for name in names] == ["lib", "2", "1.4", 3, "a=1"]


def test_a_span_without_a_kind_is_internal_and_one_without_a_duration_says_so(land_bytes):
    span = {name: value for name, value in SPAN.items() if name not in ("kind", "duration")}
    row = one(land_bytes("zipkin", content(span)))
    assert row["kind"] == 1
    assert row["started_at"] == row["ended_at"]
    assert json.loads(row["attributes"]) == {"hindcast.duration_missing": True}


def test_both_halves_of_a_shared_span_land(land_bytes):
    landed = land_bytes("zipkin", content(SPAN | {"kind": "CLIENT"}, SPAN | {"shared": True}))
    assert [(row["span_id"], row["kind"]) for row in landed.rows] == [(0xE457B5A2E4D86BD1, 3), (0xE457B5A2E4D86BD1, 2)]


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        ("array", content(SPAN, SPAN), [(1, 1), (2, 1)]),
        ("traces", content([SPAN, SPAN], [SPAN]), [(1, 1), (1, 2), (2, 1)]),
        ("spans a line", b"\n".join([json.dumps(SPAN).encode()] * 2), [(1, 1), (2, 1)]),
        ("traces a line", content(SPAN, SPAN) + b"\n" + content(SPAN), [(1, 1), (1, 2), (2, 1)]),
        ("an array and its line end", content(SPAN, SPAN) + b"\n", [(1, 1), (2, 1)]),
        ("empty traces", content([], [SPAN]), [(2, 1)]),
        ("byte order mark", b"\xef\xbb\xbf" + content(SPAN), [(1, 1)]),
        ("pretty", json.dumps([SPAN, SPAN], indent=2).encode(), [(1, 1), (2, 1)]),
    ],
)
def test_all_forms_of_a_file_are_read(land_bytes, name, text, places):
    landed = land_bytes("zipkin", text)
    assert [(row["line"], row["record"]) for row in landed.rows] == places, name
    assert landed.reasons == []


@pytest.mark.parametrize("text", [b"", b"[]", b" \n", b"[[]]"])
def test_a_file_without_spans_is_empty(land_bytes, text):
    assert land_bytes("zipkin", text).outcome.status == "empty"


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = [SPAN | {"id": f"{number:x}"} for number in range(1, 5)]
DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceId": None}, "trace_id_missing"),
        ({"traceId": ""}, "trace_id_missing"),
        ({"traceId": "xyz"}, "trace_id_malformed"),
        ({"traceId": "0" * 33}, "trace_id_malformed"),
        ({"traceId": "0000"}, "trace_id_zero"),
        ({"traceId": 12}, "field_malformed"),
        ({"id": None}, "span_id_missing"),
        ({"id": "0"}, "span_id_zero"),
        ({"id": "1" * 17}, "span_id_malformed"),
        ({"parentId": "g"}, "parent_span_id_malformed"),
        ({"timestamp": None}, "time_missing"),
        ({"timestamp": 0}, "time_missing"),
        ({"timestamp": 5}, "time_out_of_range"),
        ({"timestamp": 10**30}, "time_out_of_range"),
        ({"timestamp": "soon"}, "time_malformed"),
        ({"timestamp": 1.5}, "field_malformed"),
        ({"timestamp": True}, "field_malformed"),
        ({"duration": -1}, "ends_before_start"),
        ({"duration": 10**40}, "time_out_of_range"),
        ({"duration": "long"}, "time_malformed"),
        ({"kind": "SELLER"}, "enum_unknown"),
        ({"kind": 3}, "field_malformed"),
        ({"name": ["a"]}, "field_malformed"),
        ({"localEndpoint": "shop"}, "field_malformed"),
        ({"remoteEndpoint": {"port": "http"}}, "field_malformed"),
        ({"tags": ["a"]}, "field_malformed"),
        ({"annotations": {"a": 1}}, "field_malformed"),
        ({"annotations": [{"timestamp": "x", "value": "y"}]}, "field_malformed"),
        ({"annotations": [5]}, "field_malformed"),
    ],
)
def test_a_bad_span_is_refused_alone(land_bytes, change, reason):
    landed = land_bytes("zipkin", content(*GOOD[:2], SPAN | change, *GOOD[2:]))
    assert [row["line"] for row in landed.rows] == [1, 2, 4, 5]
    assert landed.reasons == [(3, 1, reason)]
    assert landed.refusals[0]["raw"].startswith("{")


@pytest.mark.parametrize(
    "element", ["5", "null", '"text"', '{"a":}', '{"traceId":"\\ud800"}', f'{{"tags":{DEEP}}}', DEEP]
)
def test_what_is_no_span_is_refused_alone(land_bytes, element):
    text = ",".join([*(json.dumps(span) for span in GOOD), element])
    landed = land_bytes("zipkin", f"[{text}]".encode())
    assert [row["line"] for row in landed.rows] == [1, 2, 3, 4]
    assert {row["line"] for row in landed.refusals} == {5}
    assert {row["reason"] for row in landed.refusals} <= {"structure", "not_json", "field_malformed"}


def test_a_line_that_is_not_utf8_is_refused_alone(land_bytes):
    lines = [json.dumps(span).encode() for span in GOOD]
    lines.insert(2, lines[0].replace(b"get /", b"get \xff"))
    landed = land_bytes("zipkin", b"\n".join(lines))
    assert [row["line"] for row in landed.rows] == [1, 2, 4, 5]
    assert landed.reasons == [(3, None, "not_utf8")]


def test_a_file_that_breaks_off_keeps_its_whole_spans(land_bytes):
    landed = land_bytes("zipkin", content(*GOOD)[:-30])
    assert [row["line"] for row in landed.rows] == [1, 2, 3]
    assert [(line, record) for line, record, _ in landed.reasons] == [(4, None)]


def test_odd_spans_are_read_where_their_meaning_is_plain(land_bytes):
    text = (
        '[{"traceId":"1","id":"2","timestamp":"1521186011929043","duration":14.0,"kind":"client","flags":1,'
        '"tags":{"a":"first","n":2,"d":2.0,"t":true,"o":{"x":[null]}, "a":"second"}}]'
    )
    landed = land_bytes("zipkin", text.encode())
    row = one(landed)
    assert row["kind"] == 3
    assert row["ended_at"] > row["started_at"]
    assert '"n":2,"d":2.0,"t":true,"o":{"x":[null]}' in row["attributes"]
    assert landed.outcome.unknown_fields == ("flags",)


def test_of_a_repeated_tag_the_first_is_kept(land_bytes):
    text = (
        '[{"traceId":"1","id":"2","timestamp":1521186011929043,"duration":1,"tags":{"a":"first","b":"x","a":"second"}}]'
    )
    assert json.loads(one(land_bytes("zipkin", text.encode()))["attributes"]) == {"a": "first", "b": "x"}


def test_a_tag_without_a_value_is_not_lost(land_bytes):
    row = one(land_bytes("zipkin", content(SPAN | {"tags": {"a": None, "b": "x"}})))
    assert row["attributes"] == '{"a":null,"b":"x"}'


# --- properties -------------------------------------------------------------------------------------------------------

KINDS = {1: None, 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


def written(span, case):
    parent = {} if span.parent is None else {"parentId": hexadecimal(case, span.parent, 16)}
    kind = {} if KINDS[span.kind] is None else {"kind": KINDS[span.kind]}
    return {
        "traceId": hexadecimal(case, span.trace, 32),
        "id": hexadecimal(case, span.span, 16),
        "name": span.name,
        "timestamp": span.started,
        "duration": span.duration,
        "localEndpoint": {"serviceName": span.service},
        "tags": span.attributes,
        "annotations": [{"timestamp": event.at, "value": event.name} for event in span.events],
        **parent,
        **kind,
    }


SPANS = st.lists(spans(TEXTS, list(KINDS), with_event_attributes=False), min_size=1, max_size=20)
_FILE = count(1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=SPANS, case=st.integers(0, 3), nested=st.booleans())
def test_written_spans_come_back(land_bytes, warehouse, sent, case, nested):
    number = next(_FILE)
    spans = [written(span, case) for span in sent]
    text = orjson.dumps([spans] if nested else spans) + b" " * number  # no two files have the same bytes
    landed = land_bytes("zipkin", text, f"file {number}")
    assert landed.reasons == []
    rows = dicts(
        warehouse,
        "select *, epoch_us(started_at) as started_us, epoch_us(ended_at) as ended_us from raw.spans "
        "where load_id = ? order by line, record",
        landed.outcome.load_id,
    )
    assert [columns_of(row) for row in rows] == [
        expected(span, span.attributes, [{}] * len(span.events)) for span in sent
    ]


@settings(max_examples=60, deadline=None)
@given(sent=SPANS, case=st.integers(0, 3), shared=st.sampled_from([{}, {"shared": True}, {"debug": None}]))
def test_both_ways_of_reading_agree(sent, case, shared):
    wholes = [written(span, case) | shared for span in sent]
    docs = pa.table(
        {
            "line": [1] * len(sent),
            "record": list(range(len(sent))),
            "doc": [orjson.dumps(span).decode() for span in wholes],
        }
    )
    fast = query(zipkin.FORM.sql, {"spans": docs})
    assert all(fast.column("is_regular").to_pylist())
    slow = [{"line": 1, "record": place, **zipkin.FORM.row(span, {})} for place, span in enumerate(wholes)]
    assert fast.select(ROWS.names).cast(ROWS).to_pylist() == pa.Table.from_pylist(slow, ROWS).to_pylist()
