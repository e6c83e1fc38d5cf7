"""OTLP files as they arrive on a bad night: every refusal has its place and reason, everything else lands."""

from __future__ import annotations

import gzip
import json
from typing import Any
from uuid import UUID

import pytest

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
START, END = "1674981600000000000", "1674981600500000000"


def span(**changes: Any) -> dict[str, Any]:
    good = {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "pay",
        "kind": 2,
        "startTimeUnixNano": START,
        "endTimeUnixNano": END,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def log(**changes: Any) -> dict[str, Any]:
    good = {"timeUnixNano": START, "body": {"stringValue": "hello"}, "severityNumber": 9}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def request(*records: object, attributes: object = None) -> dict[str, Any]:
    named = [{"key": "service.name", "value": {"stringValue": "shop"}}] if attributes is None else attributes
    return {
        "resourceSpans": [{"resource": {"attributes": named}, "scopeSpans": [{"scope": {}, "spans": list(records)}]}]
    }


def logs(*records: object) -> dict[str, Any]:
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": list(records)}]}]}


def lines(*documents: object) -> bytes:
    return b"".join(
        (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n" for document in documents
    )


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"traceId": ...}, "trace_id_missing", "traceId = null"),
        ({"traceId": ""}, "trace_id_missing", 'traceId = ""'),
        ({"traceId": "0" * 32}, "trace_id_zero", "000"),
        ({"traceId": TRACE[:-1]}, "trace_id_malformed", TRACE[:-1]),
        ({"traceId": TRACE[:-1] + "g"}, "trace_id_malformed", "c60g"),
        ({"traceId": "W47/95gDgQPSabYzgT/GDA=="}, "trace_id_malformed", "W47"),
        ({"spanId": ...}, "span_id_missing", "spanId = null"),
        ({"spanId": "0" * 16}, "span_id_zero", "000"),
        ({"spanId": "eee19b7ec3c1b1_4"}, "span_id_malformed", "b1_4"),
        ({"spanId": SPAN + "00"}, "span_id_malformed", SPAN),
        ({"parentSpanId": "xyz"}, "parent_span_id_malformed", "xyz"),
        ({"startTimeUnixNano": ...}, "time_missing", "startTimeUnixNano = null"),
        ({"startTimeUnixNano": "0"}, "time_missing", "startTimeUnixNano"),
        ({"endTimeUnixNano": "0"}, "time_missing", "endTimeUnixNano"),
        ({"startTimeUnixNano": "-5"}, "time_out_of_range", '"-5"'),
        ({"startTimeUnixNano": str(2**63)}, "time_out_of_range", str(2**63)),
        ({"endTimeUnixNano": str(2**64)}, "time_out_of_range", str(2**64)),
        ({"startTimeUnixNano": 2**63}, "time_out_of_range", str(2**63)),
        ({"startTimeUnixNano": "946684799999999999"}, "time_out_of_range", "startTimeUnixNano"),
        ({"endTimeUnixNano": "4102444800000000000"}, "time_out_of_range", "endTimeUnixNano"),
        ({"startTimeUnixNano": "1674981600"}, "time_out_of_range", "1674981600"),
        ({"startTimeUnixNano": "yesterday"}, "time_malformed", "yesterday"),
        ({"startTimeUnixNano": END, "endTimeUnixNano": START}, "ends_before_start", "500000000 ns before"),
        ({"startTimeUnixNano": [1]}, "field_malformed", "startTimeUnixNano is list"),
        ({"kind": 9}, "enum_unknown", "kind = 9"),
        ({"kind": "SPAN_KIND_OTHER"}, "field_malformed", "SPAN_KIND_OTHER"),
        ({"status": {"code": 3}}, "enum_unknown", "status.code = 3"),
        ({"name": 7}, "field_malformed", "name is int"),
        ({"droppedAttributesCount": -1}, "field_malformed", "droppedAttributesCount"),
        ({"attributes": {"a": 1}}, "attribute_malformed", "dict"),
        ({"attributes": [{"key": "a", "value": 1}]}, "attribute_malformed", "int 1"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "yes"}}]}, "attribute_malformed", "boolValue"),
    ],
)
def test_one_bad_span_is_refused_and_its_neighbours_land(land_bytes, changes, reason, detail):
    content = lines(
        request(span(name="before")),
        request(span(name="a"), span(**changes), span(name="c")),
        request(span(name="after")),
    )
    landed = land_bytes("otlp_traces", content)
    assert [(row["line"], row["record"], row["span_name"]) for row in landed.rows] == [
        (1, 1, "before"),
        (2, 1, "a"),
        (2, 3, "c"),
        (3, 1, "after"),
    ]
    assert landed.reasons == [(2, 2, reason)]
    assert detail in landed.refusals[0]["detail"]
    assert json.loads(landed.refusals[0]["raw"]) == span(**changes)
    assert landed.outcome.status == "loaded"


@pytest.mark.parametrize(
    ("changes", "column", "expected"),
    [
        ({"traceId": TRACE.upper()}, "trace_id", UUID(TRACE)),
        ({"spanId": SPAN.upper()}, "span_id", int(SPAN, 16)),
        ({"parentSpanId": SPAN.upper()}, "parent_span_id", int(SPAN, 16)),
        ({"parentSpanId": ""}, "parent_span_id", None),
        ({"parentSpanId": "0" * 16}, "parent_span_id", None),
        ({"kind": "SPAN_KIND_CLIENT"}, "kind", 3),
        ({"kind": 3.0}, "kind", 3),
        ({"kind": ...}, "kind", 0),
        ({"status": {"code": "STATUS_CODE_ERROR", "message": "no"}}, "status_code", 2),
        ({"status": None}, "status_code", 0),
        ({"name": ...}, "span_name", ""),
        ({"droppedAttributesCount": "3"}, "dropped_attributes_count", 3),
        ({"attributes": []}, "attributes", None),
        ({"traceState": ""}, "trace_state", None),
        (
            {"events": [{"timeUnixNano": 5, "name": "e"}]},
            "events",
            '[{"timeUnixNano":"5","name":"e","attributes":{},"droppedAttributesCount":0}]',
        ),
        (
            {"events": [{"timeUnixNano": "5", "name": "e"}]},
            "events",
            '[{"timeUnixNano":"5","name":"e","attributes":{},"droppedAttributesCount":0}]',
        ),
        (
            {
                "links": [
                    {"traceId": TRACE.upper(), "spanId": SPAN, "attributes": [{"key": "k", "value": {"intValue": "2"}}]}
                ]
            },
            "links",
            f'[{{"traceId":"{TRACE}","spanId":"{SPAN}","traceState":null,"attributes":{{"k":2}},"droppedAttributesCount":0,"flags":null}}]',
        ),
    ],
)
def test_an_odd_type_with_a_plain_meaning_is_read(land_bytes, changes, column, expected):
    landed = land_bytes("otlp_traces", lines(request(span(**changes))))
    assert landed.reasons == []
    assert landed.rows[0][column] == expected


def test_times_keep_their_nanoseconds_also_as_numbers(land_bytes, warehouse):
    land_bytes(
        "otlp_traces",
        lines(request(span(startTimeUnixNano=1674981600000000001, endTimeUnixNano="1674981600000000002"))),
    )
    (row,) = warehouse.execute("select epoch_ns(started_at), epoch_ns(ended_at) from raw.spans").fetchall()
    assert row == (1674981600000000001, 1674981600000000002)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"this is not JSON", "not_json"),
        (b'{"resourceSpans": [', "not_json"),
        (b'{"resourceSpans":[]} trailing', "not_json"),
        (b'{"resourceSpans":[{"resource":{"attributes":[{"key":"\xff"}]}}]}', "not_utf8"),
        (b'{"resourceSpans":[{"resource":{"attributes":[{"key":"\\ud800"}]}}]}', "not_json"),
        (b"[1, 2]", "structure"),
        (b'{"resourceSpans":{"a":1}}', "structure"),
        (b'{"resourceSpans":[7]}', "structure"),
        (b'{"resourceSpans":[{"resource":5,"scopeSpans":[]}]}', "structure"),
        (b'{"resourceLogs":[]}', "other_format"),
    ],
)
def test_a_bad_line_is_refused_and_its_neighbours_land(land_bytes, bad, reason):
    landed = land_bytes("otlp_traces", lines(request(span(name="a")), bad, request(span(name="b"))))
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(1, "a"), (3, "b")]
    assert landed.reasons == [(2, None, reason)]
    assert landed.refusals[0]["raw"]


def test_blank_lines_count_as_lines_and_hold_nothing(land_bytes):
    landed = land_bytes("otlp_traces", b"\n" + lines(request(span())) + b"\n\r\n" + lines({}, request(span())) + b"\n")
    assert [row["line"] for row in landed.rows] == [2, 6]
    assert landed.reasons == []


def test_a_byte_order_mark_and_windows_newlines_are_read_over(land_bytes):
    content = b"\xef\xbb\xbf" + lines(request(span()), request(span())).replace(b"\n", b"\r\n")
    assert [row["line"] for row in land_bytes("otlp_traces", content).rows] == [1, 2]


def test_a_file_where_everything_is_refused_has_failed_and_keeps_its_quarantine(land_bytes):
    landed = land_bytes("otlp_traces", lines(b"nonsense", request(span(traceId=...))))
    assert landed.outcome.status == "failed"
    assert "line 1, not_json" in landed.outcome.message
    assert landed.reasons == [(1, None, "not_json"), (2, 1, "trace_id_missing")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n", gzip.compress(b"", mtime=0)])
def test_a_file_without_records_is_empty(land_bytes, content):
    assert land_bytes("otlp_traces", content).outcome.status == "empty"


def test_unknown_and_unkept_fields_are_named(land_bytes):
    document = request(span(flags=1, shiny={"a": 1}, attributes=[{"key": "k", "value": {"newValue": 1}, "unit": "s"}]))
    document["resourceSpans"][0]["schemaUrl"] = "https://example.org"
    document["resourceSpans"][0]["resource"]["entityRefs"] = [{"type": "host"}]
    document["extra"] = True
    landed = land_bytes("otlp_traces", lines(document))
    assert landed.reasons == []
    assert landed.outcome.unknown_fields == (
        "extra",
        "resourceSpans.resource.entityRefs",
        "resourceSpans.schemaUrl",
        "resourceSpans.scopeSpans.spans.attributes.unit",
        "resourceSpans.scopeSpans.spans.attributes.value.newValue",
        "resourceSpans.scopeSpans.spans.flags",
        "resourceSpans.scopeSpans.spans.shiny",
    )


def test_an_unknown_field_whose_type_changes_is_still_only_read_over(land_bytes):
    landed = land_bytes(
        "otlp_traces", lines(request(span(shiny=1)), request(span(shiny="one")), request(span(shiny=[])))
    )
    assert len(landed.rows) == 3
    assert landed.outcome.unknown_fields == ("resourceSpans.scopeSpans.spans.shiny",)


def test_records_are_counted_through_resources_and_scopes(land_bytes):
    one, two = request(span(name="a"), span(name="b")), request(span(name="c"))
    one["resourceSpans"][0]["scopeSpans"].append({"scope": {"name": "lib", "version": "2"}, "spans": [span(name="b2")]})
    both = {"resourceSpans": one["resourceSpans"] + [{}] + two["resourceSpans"]}
    landed = land_bytes("otlp_traces", lines(both))
    assert [(row["record"], row["span_name"], row["scope_name"]) for row in landed.rows] == [
        (1, "a", None),
        (2, "b", None),
        (3, "b2", "lib"),
        (4, "c", None),
    ]


def test_truncated_gzip_keeps_the_whole_lines_before_the_break(land_bytes):
    import random

    noise = random.Random(1)
    content = lines(*(request(span(name=noise.randbytes(200).hex())) for _ in range(200)))
    packed = gzip.compress(content)
    landed = land_bytes("otlp_traces", packed[: len(packed) // 2])
    assert 50 < len(landed.rows) < 150
    assert [row["line"] for row in landed.rows] == list(range(1, len(landed.rows) + 1))
    assert landed.reasons == [(len(landed.rows) + 1, None, "truncated_gzip")]
    assert f"byte {len(packed) // 2} of the compressed file" in landed.refusals[0]["detail"]
    assert landed.refusals[0]["raw"].startswith('{"resourceSpans"')
    assert landed.outcome.status == "loaded"


def test_damaged_gzip_is_named(land_bytes):
    packed = bytearray(gzip.compress(lines(*(request(span(name=str(n))) for n in range(50)))))
    packed[-8:-4] = b"\0\0\0\0"  # the checksum
    assert [reason for _, _, reason in land_bytes("otlp_traces", bytes(packed)).reasons] == ["corrupt_gzip"]


def test_gzip_of_several_members_is_one_file(land_bytes):
    members = b"".join(gzip.compress(lines(request(span(name=str(n))))) for n in range(5))
    landed = land_bytes("otlp_traces", members + b"\0" * 100)
    assert [row["span_name"] for row in landed.rows] == ["0", "1", "2", "3", "4"]
    assert landed.reasons == []


def test_an_indented_document_is_one_request(land_bytes):
    landed = land_bytes("otlp_traces", json.dumps(request(span(), span()), indent=2).encode())
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (1, 2)]


def test_a_line_of_megabytes_lands_and_raw_is_clipped(land_bytes):
    big = request(*(span(name="x" * 1000) for _ in range(5000)), span(name="y" * 9000, traceId="bad"))
    landed = land_bytes("otlp_traces", lines(request(span()), big, request(span())))
    assert len(landed.rows) == 5002
    assert landed.reasons == [(2, 5001, "trace_id_malformed")]
    assert len(landed.refusals[0]["raw"].encode()) == 4096


# --- attributes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"stringValue": "2"}, '"2"'),
        ({"intValue": "2"}, "2"),
        ({"intValue": 2}, "2"),
        ({"doubleValue": 2}, "2.0"),
        ({"doubleValue": 2.0}, "2.0"),
        ({"doubleValue": "2"}, "2.0"),
        ({"boolValue": True}, "true"),
        ({"bytesValue": "Mg=="}, '{"bytesValue":"Mg=="}'),
        ({"doubleValue": "NaN"}, '{"doubleValue":"NaN"}'),
        ({"doubleValue": "-Infinity"}, '{"doubleValue":"-Infinity"}'),
        ({"doubleValue": float("nan")}, '{"doubleValue":"NaN"}'),
        ({"intValue": "9223372036854775807"}, "9223372036854775807"),
        ({"intValue": 9223372036854775807}, "9223372036854775807"),
        ({"intValue": "18446744073709551615"}, '{"intValue":"18446744073709551615"}'),
        ({"intValue": "007"}, '{"intValue":"007"}'),
        ({}, "null"),
        (None, "null"),
        ({"stringValue": 'a"b\n\u001f\u007f\u00e9'}, '"a\\"b\\n\\u001F\u007f\u00e9"'),
        ({"arrayValue": {}}, "[]"),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "1"}, {}]}}, '[1,"1",null]'),
        ({"kvlistValue": {}}, "{}"),
        (
            {"kvlistValue": {"values": [{"key": "bytesValue", "value": {"stringValue": "x"}}]}},
            '{"kvlistValue":{"bytesValue":"x"}}',
        ),
    ],
)
@pytest.mark.parametrize("is_slow", [False, True])
def test_kinds_of_value_stay_apart(land_bytes, value, text, is_slow):
    attributes = [{"key": "k", "value": value}, {"key": "k", "value": {"stringValue": "second"}}]
    changes = {"attributes": attributes} | ({"startTimeUnixNano": int(START)} if is_slow else {})
    landed = land_bytes("otlp_traces", lines(request(span(**changes))))
    assert landed.reasons == []
    assert landed.rows[0]["attributes"] == f'{{"k":{text}}}'


def test_values_nested_deeper_than_the_schema_are_kept(land_bytes):
    value: dict[str, Any] = {"intValue": "7"}
    expected: Any = 7
    for depth in range(9):
        value = (
            {"arrayValue": {"values": [value]}}
            if depth % 2
            else {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
        )
        expected = [expected] if depth % 2 else {"k": expected}
    deep = span(attributes=[{"key": "deep", "value": value}])
    landed = land_bytes(
        "otlp_traces", lines(request(span()), request(deep), request(span(), attributes=deep["attributes"]))
    )
    assert json.loads(landed.rows[1]["attributes"]) == {"deep": expected}
    assert json.loads(landed.rows[2]["resource_attributes"]) == {"deep": expected}
    assert landed.outcome.unknown_fields == ()


# --- logs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "column", "expected"),
    [
        ({"body": {"stringValue": "x"}}, "body", "x"),
        ({"body": {"stringValue": ""}}, "body", ""),
        ({"body": {"intValue": "4"}}, "body", "4"),
        ({"body": {"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 1}}]}}}, "body", '{"a":1.0}'),
        ({"body": ...}, "body", None),
        ({"body": {}}, "body", None),
        ({"traceId": TRACE.upper()}, "trace_id", UUID(TRACE)),
        ({"traceId": "0" * 32}, "trace_id", None),
        ({"spanId": ""}, "span_id", None),
        ({"severityNumber": ...}, "severity_number", 0),
        ({"severityNumber": "SEVERITY_NUMBER_WARN2"}, "severity_number", 14),
        ({"eventName": "click"}, "event_name", "click"),
    ],
)
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_log_record_lands(land_bytes, changes, column, expected, is_slow):
    odd = {"timeUnixNano": int(START)} if is_slow else {}
    landed = land_bytes("otlp_logs", lines(logs(log(**changes | odd))))
    assert landed.reasons == []
    assert landed.rows[0][column] == expected


def test_a_log_record_without_its_time_has_the_observer_s(land_bytes):
    landed = land_bytes(
        "otlp_logs",
        lines(logs(log(timeUnixNano="0", observedTimeUnixNano=END), log(timeUnixNano=..., observedTimeUnixNano=END))),
    )
    assert [row["occurred_at"] == row["observed_at"] for row in landed.rows] == [True, True]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timeUnixNano": "-6795364578871345152"}, "time_out_of_range"),
        ({"timeUnixNano": ...}, "time_missing"),
        ({"observedTimeUnixNano": "12"}, "time_out_of_range"),
        ({"traceId": "12"}, "trace_id_malformed"),
        ({"spanId": "zz"}, "span_id_malformed"),
        ({"severityNumber": 25}, "enum_unknown"),
    ],
)
def test_a_bad_log_record_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("otlp_logs", lines(logs(log(), log(**changes), log())))
    assert landed.reasons == [(1, 2, reason)]
    assert len(landed.rows) == 2
