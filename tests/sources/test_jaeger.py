"""Jaeger's JSON: what becomes of a span's fields, and of what is no span."""

from __future__ import annotations

import json
from itertools import count
from uuid import UUID

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.sources.recognition import recognise
from dagster_project.sources.traces import jaeger
from dagster_project.sources.traces.span_rows import ROWS, query
from tests.sources.conftest import dicts
from tests.sources.foreign_spans import VALUES, columns_of, expected, hexadecimal, spans

TRACE = "5aab74dbb904746bb33447baae403ed6"
SPAN = {
    "traceID": TRACE,
    "spanID": "e457b5a2e4d86bd1",
    "operationName": "get /",
    "references": [],
    "startTime": 1_521_186_011_929_043,
    "duration": 14,
    "tags": [],
    "logs": [],
    "processID": "p1",
    "warnings": None,
}
PROCESSES = {"p1": {"serviceName": "shop", "tags": []}}


def tag(key, kind, value):
    return {"key": key, "type": kind, "value": value}


def trace(*spans, processes=PROCESSES):
    return {"traceID": TRACE, "spans": list(spans), "processes": processes, "warnings": None}


def answer(*traces):
    return json.dumps({"data": list(traces), "total": 0, "limit": 0, "offset": 0, "errors": None}).encode()


def one(landed):
    (row,) = landed.rows
    return row


# --- fields -----------------------------------------------------------------------------------------------------------


def test_a_span_has_its_process_and_its_parent(land_bytes, tmp_path):
    child = SPAN | {
        "spanID": "2",
        "references": [
            {"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "7"},
            {"refType": "CHILD_OF", "traceID": "ab", "spanID": "8"},
            {"refType": "CHILD_OF", "traceID": TRACE.upper(), "spanID": "E457B5A2E4D86BD1"},
            {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "9"},
        ],
    }
    processes = {"p1": {"serviceName": "shop", "tags": [tag("service.version", "string", "1.4"), tag("n", "int64", 2)]}}
    landed = land_bytes("jaeger", answer(trace(SPAN, child, processes=processes)))
    root, row = landed.rows
    assert recognise(tmp_path / "file").name == "jaeger"
    assert (root["trace_id"], root["parent_span_id"], root["links"]) == (UUID(TRACE), None, None)
    assert row["parent_span_id"] == 0xE457B5A2E4D86BD1
    assert [(link["traceId"], link["spanId"], link["attributes"]) for link in json.loads(row["links"])] == [
        (TRACE, "0" * 15 + "7", {"opentracing.ref_type": "follows_from"}),
        ("0" * 30 + "ab", "0" * 15 + "8", {"opentracing.ref_type": "child_of"}),
        (TRACE, "0" * 15 + "9", {"opentracing.ref_type": "child_of"}),
    ]
    assert (row["service_name"], row["service_version"]) == ("shop", "1.4")
    assert row["resource_attributes"] == '{"service.name":"shop","service.version":"1.4","n":2}'


@pytest.mark.parametrize(
    ("references", "parent"),
    [
        ([{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "7"}], 7),
        ([{"refType": "CHILD_OF", "traceID": "ab", "spanID": "8"}], 5),
        (None, 5),
    ],
)
def test_without_a_reference_to_a_parent_the_older_field_counts(land_bytes, references, parent):
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"references": references, "parentSpanID": "5"}))))
    assert row["parent_span_id"] == parent


def test_tags_keep_their_types(land_bytes):
    tags = [
        tag("text", "string", "2"),
        tag("whole", "int64", 2),
        tag("digits", "int64", "9223372036854775807"),
        tag("yes", "bool", True),
        tag("said", "bool", "false"),
        tag("double", "float64", 2),
        tag("part", "float64", 0.1),
        tag("bytes", "binary", "AAE="),
    ]
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"tags": tags}))))
    assert row["attributes"] == (
        '{"text":"2","whole":2,"digits":9223372036854775807,"yes":true,"said":false,"double":2.0,"part":0.1,'
        '"bytes":{"bytesValue":"AAE="}}'
    )


def test_odd_tags_keep_what_they_say(land_bytes):
    tags = [
        tag("a", "int64", "99999999999999999999"),
        tag("a", "string", "a repeat"),
        tag("b", "float64", "NaN"),
        {"key": "c", "value": [1, None]},
        {"key": "d", "type": "list", "value": "x"},
    ]
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"tags": tags, "flags": 1}))))
    assert row["attributes"] == (
        '{"a":{"intValue":"99999999999999999999"},"b":{"doubleValue":"NaN"},"c":[1,null],"d":"x"}'
    )


@pytest.mark.parametrize(
    ("tags", "code", "message"),
    [
        ([tag("error", "bool", True)], 2, None),
        ([tag("error", "string", "true"), tag("otel.status_description", "string", "no")], 2, "no"),
        ([tag("error", "bool", False)], 0, None),
        ([tag("otel.status_code", "string", "OK"), tag("error", "bool", True)], 1, None),
        ([tag("otel.status_code", "string", "ERROR")], 2, None),
        ([], 0, None),
    ],
)
def test_tags_say_the_status(land_bytes, tags, code, message):
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"tags": tags}))))
    assert (row["status_code"], row["status_message"]) == (code, message)


def test_tags_of_opentelemetry_go_to_their_columns(land_bytes):
    tags = [
        tag("span.kind", "string", "consumer"),
        tag("otel.scope.name", "string", "lib"),
        tag("otel.library.version", "string", "2"),
        tag("w3c.tracestate", "string", "a=1"),
        tag("service.version", "string", "1.4"),
        tag("otel.dropped_events_count", "int64", 3),
    ]
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"tags": tags}))))
    names = ("kind", "scope_name", "scope_version", "trace_state", "service_version", "dropped_events_count")
    assert [row[name] for name in names] == [5, "lib", "2", "a=1", "1.4", 3]
    assert json.loads(row["attributes"])["span.kind"] == "consumer"


def test_logs_become_events_and_warnings_an_attribute(land_bytes):
    logs = [{"timestamp": 1_521_186_011_929_044, "fields": [tag("event", "string", "exception"), tag("n", "int64", 1)]}]
    row = one(land_bytes("jaeger", answer(trace(SPAN | {"logs": logs, "warnings": ["clock skew"]}))))
    assert json.loads(row["events"]) == [
        {
            "timeUnixNano": "1521186011929044000",
            "name": "exception",
            "attributes": {"event": "exception", "n": 1},
            "droppedAttributesCount": 0,
        }
    ]
    assert json.loads(row["attributes"]) == {"jaeger.warnings": ["clock skew"]}


def test_a_span_may_carry_its_process_or_have_none(land_bytes):
    own = SPAN | {"process": {"serviceName": "bank", "tags": []}, "processID": None}
    landed = land_bytes("jaeger", answer(trace(own, SPAN | {"processID": "p9"}, processes={})))
    assert [row["service_name"] for row in landed.rows] == ["bank", None]


def test_traces_are_counted_through_documents(land_bytes):
    landed = land_bytes("jaeger", answer(trace(SPAN, SPAN), trace()) + b"\n" + answer(trace(SPAN)))
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (1, 2), (3, 1)]


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = [SPAN | {"spanID": f"{number:x}"} for number in range(1, 5)]
DEEP: object = json.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceID": None}, "trace_id_missing"),
        ({"traceID": "g"}, "trace_id_malformed"),
        ({"traceID": "0"}, "trace_id_zero"),
        ({"traceID": 5}, "field_malformed"),
        ({"spanID": ""}, "span_id_missing"),
        ({"spanID": "f" * 17}, "span_id_malformed"),
        ({"spanID": "0" * 16}, "span_id_zero"),
        ({"parentSpanID": "?"}, "parent_span_id_malformed"),
        ({"references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": "?"}]}, "parent_span_id_malformed"),
        ({"startTime": None}, "time_missing"),
        ({"startTime": 1521186011}, "time_out_of_range"),
        ({"startTime": "now"}, "time_malformed"),
        ({"startTime": -(10**25)}, "time_out_of_range"),
        ({"duration": -5}, "ends_before_start"),
        ({"duration": 10**25}, "time_out_of_range"),
        ({"operationName": {}}, "field_malformed"),
        ({"references": "p"}, "field_malformed"),
        ({"references": [5]}, "field_malformed"),
        ({"tags": {"a": 1}}, "field_malformed"),
        ({"tags": [5]}, "field_malformed"),
        ({"tags": [{"key": 5, "type": "string", "value": "x"}]}, "field_malformed"),
        ({"tags": [tag("a", "int64", "x")]}, "attribute_malformed"),
        ({"tags": [tag("a", "string", 5)]}, "attribute_malformed"),
        ({"tags": [tag("a", "bool", 2)]}, "attribute_malformed"),
        ({"logs": [{"timestamp": "x", "fields": []}]}, "field_malformed"),
        ({"logs": [{"timestamp": 5, "fields": "x"}]}, "field_malformed"),
        ({"logs": 5}, "field_malformed"),
        ({"process": 5, "processID": None}, "structure"),
    ],
)
def test_a_bad_span_is_refused_alone(land_bytes, change, reason):
    landed = land_bytes("jaeger", answer(trace(*GOOD[:2], SPAN | change, *GOOD[2:])))
    assert [row["record"] for row in landed.rows] == [1, 2, 4, 5]
    assert landed.reasons == [(1, 3, reason)]
    assert landed.refusals[0]["raw"].startswith("{")


@pytest.mark.parametrize("span", [5, None, "text", [], DEEP])
def test_what_is_no_span_is_refused_alone(land_bytes, span):
    landed = land_bytes("jaeger", answer(trace(*GOOD, span)))
    assert [row["record"] for row in landed.rows] == [1, 2, 3, 4]
    assert landed.reasons == [(1, 5, "structure")]


@pytest.mark.parametrize("bad", [5, None, [], {}, {"spans": 5}, {"spans": None}])
def test_what_is_no_trace_is_refused_alone(land_bytes, bad):
    landed = land_bytes("jaeger", answer(trace(SPAN), bad, trace(SPAN)))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, None, "structure")]


def test_a_trace_that_is_no_json_is_refused_alone(land_bytes):
    text = answer(trace(SPAN), trace(SPAN | {"operationName": "BAD"}), trace(SPAN)).replace(b'"BAD"', b"BAD")
    landed = land_bytes("jaeger", text)
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, None, "not_json")]


def test_a_trace_that_is_not_utf8_is_refused_alone(land_bytes):
    text = answer(trace(SPAN), trace(SPAN | {"operationName": "BAD"}), trace(SPAN)).replace(b"BAD", b"\xff")
    landed = land_bytes("jaeger", text)
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, None, "not_utf8")]


def test_a_file_that_breaks_off_keeps_its_whole_traces(land_bytes):
    landed = land_bytes("jaeger", answer(trace(SPAN), trace(SPAN))[:-200])
    assert [row["line"] for row in landed.rows] == [1]
    assert [line for line, _, _ in landed.reasons] == [2]


@pytest.mark.parametrize(
    "said", [{"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}, {"data": {}}, {}]
)
def test_an_answer_without_traces_is_refused(land_bytes, said):
    landed = land_bytes("jaeger", json.dumps(said).encode())
    assert landed.reasons == [(1, None, "other_format")]


@pytest.mark.parametrize("text", [b"", b'{"data":[]}', answer(trace())])
def test_an_answer_of_no_spans_is_empty(land_bytes, text):
    assert land_bytes("jaeger", text).outcome.status == "empty"


@pytest.mark.parametrize("process", ["NaN", '{"serviceName":NaN}', "[]", '{"tags":{"a":1}}', '{"tags":[{"key":1}]}'])
def test_a_bad_process_refuses_its_spans_alone(land_bytes, process):
    processes = {"p1": {"serviceName": "shop"}, "p2": "P2"}
    sent = [*GOOD, SPAN | {"processID": "p2", "references": [5]}, SPAN | {"processID": "p2"}]
    landed = land_bytes("jaeger", answer(trace(*sent, processes=processes)).replace(b'"P2"', process.encode()))
    assert [row["record"] for row in landed.rows] == [1, 2, 3, 4]
    assert [(line, record) for line, record, _ in landed.reasons] == [(1, 5), (1, 6)]


# --- properties -------------------------------------------------------------------------------------------------------

KINDS = {0: None, 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
TYPES = {str: "string", bool: "bool", int: "int64", float: "float64"}


def tags_of(attributes):
    return [tag(key, TYPES[type(value)], value) for key, value in attributes.items()]


def with_kind(span):
    return span.attributes if KINDS[span.kind] is None else span.attributes | {"span.kind": KINDS[span.kind]}


def with_event(event):
    return event.attributes | {"event": event.name}


def written(span, case):
    trace_id = hexadecimal(case, span.trace, 32)
    parent = [] if span.parent is None else [hexadecimal(case, span.parent, 16)]
    return {
        "traceID": trace_id,
        "spanID": hexadecimal(case, span.span, 16),
        "operationName": span.name,
        "references": [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": each} for each in parent],
        "startTime": span.started,
        "duration": span.duration,
        "tags": tags_of(with_kind(span)),
        "logs": [{"timestamp": event.at, "fields": tags_of(with_event(event))} for event in span.events],
        "processID": span.service,
    }


def processes_of(sent):
    return {span.service: {"serviceName": span.service, "tags": []} for span in sent}


SPANS = st.lists(spans(VALUES, list(KINDS), with_event_attributes=True), min_size=1, max_size=15)
_FILE = count(1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=SPANS, case=st.integers(0, 3))
def test_written_spans_come_back(land_bytes, warehouse, sent, case):
    number = next(_FILE)
    whole = trace(*(written(span, case) for span in sent), processes=processes_of(sent))
    text = orjson.dumps({"data": [whole]}) + b" " * number  # no two files have the same bytes
    landed = land_bytes("jaeger", text, f"file {number}")
    assert landed.reasons == []
    rows = dicts(
        warehouse,
        "select *, epoch_us(started_at) as started_us, epoch_us(ended_at) as ended_us from raw.spans "
        "where load_id = ? order by line, record",
        landed.outcome.load_id,
    )
    assert [columns_of(row) for row in rows] == [
        expected(span, with_kind(span), [with_event(event) for event in span.events]) for span in sent
    ]


@settings(max_examples=60, deadline=None)
@given(sent=SPANS, case=st.integers(0, 3), warnings=st.sampled_from([None, [], ["x"]]))
def test_both_ways_of_reading_agree(sent, case, warnings):
    wholes = [written(span, case) | {"warnings": warnings} for span in sent]
    processes = [
        orjson.dumps({"serviceName": span.service, "tags": tags_of(span.attributes)}).decode() for span in sent
    ]
    sent_docs = pa.table(
        {
            "line": [1] * len(sent),
            "record": list(range(len(sent))),
            "doc": [orjson.dumps(span).decode() for span in wholes],
            "process": processes,
        }
    )
    docs = sent_docs.append_column("origin", jaeger._origins(sent_docs.column("process")))
    fast = query(jaeger.FORM.sql, {"spans": docs})
    assert all(fast.column("is_regular").to_pylist())
    slow = [
        {"line": 1, "record": place, **jaeger.FORM.row(span, {"process": process})}
        for place, (span, process) in enumerate(zip(wholes, processes, strict=True))
    ]
    assert fast.select(ROWS.names).cast(ROWS).to_pylist() == pa.Table.from_pylist(slow, ROWS).to_pylist()
