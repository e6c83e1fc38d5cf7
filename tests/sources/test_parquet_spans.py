"""Spans in Parquet: ClickHouse's schema, our own, and files that are damaged or of something else."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.sources.recognition import recognise
from dagster_project.sources.traces import parquet_spans
from tests.sources.conftest import dicts
from tests.sources.foreign_spans import TEXTS, columns_of, expected, hexadecimal, spans

AT = 1_700_000_000_123_456_789
TRACE = "0af7651916cd43dd8448eb211c80319c"
TEXT_MAP = pa.map_(pa.string(), pa.string())
CLICKHOUSE_TYPES = {
    "Timestamp": pa.timestamp("ns", "UTC"),
    "Duration": pa.uint64(),
    "ResourceAttributes": TEXT_MAP,
    "SpanAttributes": TEXT_MAP,
    "Events.Timestamp": pa.list_(pa.timestamp("ns", "UTC")),
    "Events.Name": pa.list_(pa.string()),
    "Events.Attributes": pa.list_(TEXT_MAP),
    "Links.TraceId": pa.list_(pa.string()),
    "Links.SpanId": pa.list_(pa.string()),
    "Links.TraceState": pa.list_(pa.string()),
    "Links.Attributes": pa.list_(TEXT_MAP),
}
CLICKHOUSE_ROW = {
    "Timestamp": AT,
    "TraceId": TRACE,
    "SpanId": "b7ad6b7169203331",
    "ParentSpanId": "",
    "TraceState": "a=1",
    "SpanName": "get /",
    "SpanKind": "Server",
    "ServiceName": "shop",
    "ResourceAttributes": [("service.name", "shop")],
    "ScopeName": "lib",
    "ScopeVersion": "",
    "SpanAttributes": [("http.status_code", "200"), ('q"', "\u001f")],
    "Duration": 5,
    "StatusCode": "Error",
    "StatusMessage": "declined",
    "Events.Timestamp": [AT + 1],
    "Events.Name": ["exception"],
    "Events.Attributes": [[("exception.type", "Declined")]],
    "Links.TraceId": ["AB" * 16],
    "Links.SpanId": ["00000000000000ff"],
    "Links.TraceState": [""],
    "Links.Attributes": [[]],
}
OWN_ROW = {"trace_id": TRACE, "span_id": "b7ad6b7169203331", "span_name": "buy", "started_at": AT, "ended_at": AT + 5}


def parquet(*rows, types=None, **options):
    """A file of rows; `types` for columns whose type the values do not say."""
    types = types or {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names}
    return written(pa.table(columns), **options)


def written(table, **options):
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()


def clickhouse(*rows, types=None, **options):
    return parquet(*rows, types=CLICKHOUSE_TYPES | (types or {}), **options)


def one(landed):
    (row,) = landed.rows
    return row


def nanoseconds(warehouse):
    return warehouse.execute("select epoch_ns(started_at), epoch_ns(ended_at) from raw.spans order by all").fetchall()


# --- ClickHouse -------------------------------------------------------------------------------------------------------


def test_a_row_of_clickhouse_is_a_span(land_bytes, warehouse, tmp_path):
    row = one(land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW)))
    assert recognise(tmp_path / "file").name == "parquet_spans"
    assert (row["line"], row["record"]) == (1, 1)
    assert (row["trace_id"], row["span_id"], row["parent_span_id"]) == (UUID(TRACE), 0xB7AD6B7169203331, None)
    assert nanoseconds(warehouse) == [(AT, AT + 5)]
    names = ("span_name", "kind", "service_name", "status_code", "status_message", "scope_name", "scope_version")
    assert [row[name] for name in names] == ["get /", 2, "shop", 2, "declined", "lib", None]
    assert row["attributes"] == '{"http.status_code":"200","q\\"":"\\u001F"}'
    assert row["resource_attributes"] == '{"service.name":"shop"}'
    assert json.loads(row["events"]) == [
        {
            "timeUnixNano": str(AT + 1),
            "name": "exception",
            "attributes": {"exception.type": "Declined"},
            "droppedAttributesCount": 0,
        }
    ]
    assert json.loads(row["links"]) == [
        {
            "traceId": "ab" * 16,
            "spanId": "00000000000000ff",
            "traceState": None,
            "attributes": {},
            "droppedAttributesCount": 0,
            "flags": None,
        }
    ]


@pytest.mark.parametrize(
    ("kind", "status", "numbers"),
    [
        ("SPAN_KIND_CLIENT", "STATUS_CODE_OK", (3, 1)),
        ("Consumer", "Unset", (5, 0)),
        ("", "", (0, 0)),
        (None, None, (0, 0)),
        ("internal", "error", (1, 2)),
    ],
)
def test_kinds_and_statuses_have_several_spellings(land_bytes, kind, status, numbers):
    row = one(land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW | {"SpanKind": kind, "StatusCode": status})))
    assert (row["kind"], row["status_code"]) == numbers


def test_texts_that_were_written_as_binary_are_texts(land_bytes):
    binary = pa.map_(pa.binary(), pa.binary())
    text = {name: pa.binary() for name, value in CLICKHOUSE_ROW.items() if isinstance(value, str)}
    names = pa.list_(pa.binary())
    types = text | {"SpanAttributes": binary, "Events.Name": names, "Links.TraceId": names, "Links.SpanId": names}
    as_text = one(land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW)))
    as_binary = one(land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW, types=types), "binary"))
    assert as_text | {"load_id": 0} == as_binary | {"load_id": 0}


def test_of_a_repeated_key_the_first_is_kept(land_bytes):
    many = [(f"k{number}", "x") for number in range(100)]
    rows = [
        CLICKHOUSE_ROW | {"SpanAttributes": pairs}
        for pairs in ([("a", "1"), ("b", "2"), ("a", "3")], None, [], many + many)
    ]
    landed = land_bytes("parquet_spans", clickhouse(*rows))
    assert [row["attributes"] and json.loads(row["attributes"]) for row in landed.rows] == [
        {"a": "1", "b": "2"}, None, None, dict(many),
    ]  # fmt: skip


def test_columns_that_are_not_known_are_named(land_bytes):
    landed = land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW | {"Tenant": "x"}))
    assert landed.outcome.unknown_fields == ("Tenant",)


# --- our own schema ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace_id", "trace_type"),
    [
        (TRACE, pa.string()),
        (TRACE.upper(), pa.large_string()),
        (str(UUID(TRACE)), pa.string()),
        (bytes.fromhex(TRACE), pa.binary(16)),
        (bytes.fromhex(TRACE), pa.binary()),
        (UUID(TRACE).bytes, pa.uuid()),
        (TRACE, pa.dictionary(pa.int32(), pa.string())),
    ],
)
@pytest.mark.parametrize(
    ("span_id", "span_type"),
    [
        ("b7ad6b7169203331", pa.string()),
        (bytes.fromhex("b7ad6b7169203331"), pa.binary(8)),
        (0xB7AD6B7169203331, pa.uint64()),
        (0xB7AD6B7169203331 - 2**64, pa.int64()),
    ],
)
def test_ids_may_be_texts_bytes_or_numbers(land_bytes, trace_id, trace_type, span_id, span_type):
    ids = {"trace_id": trace_id, "span_id": span_id, "parent_span_id": span_id}
    types = {"trace_id": trace_type, "span_id": span_type, "parent_span_id": span_type}
    row = one(land_bytes("parquet_spans", parquet(OWN_ROW | ids, types=types)))
    assert row["trace_id"] == UUID(TRACE)
    assert row["span_id"] == row["parent_span_id"] == 0xB7AD6B7169203331


@pytest.mark.parametrize(
    ("unit", "nanoseconds_each"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1), (None, 1)]
)
def test_times_are_of_any_unit(land_bytes, warehouse, unit, nanoseconds_each):
    kind = pa.int64() if unit is None else pa.timestamp(unit, "Europe/Berlin")
    at = AT // nanoseconds_each
    row = {"started_at": at, "ended_at": at + 1}
    land_bytes("parquet_spans", parquet(OWN_ROW | row, types=dict.fromkeys(row, kind)))
    assert nanoseconds(warehouse) == [(at * nanoseconds_each, (at + 1) * nanoseconds_each)]


@pytest.mark.parametrize(
    ("attributes", "kind", "text"),
    [
        ('{"a":2,"b":2.0}', pa.string(), '{"a":2,"b":2.0}'),
        ('{"a":2}', pa.json_(), '{"a":2}'),
        ([("a", 2)], pa.map_(pa.string(), pa.int64()), '{"a":2}'),
        ([("a", 2.0)], pa.map_(pa.string(), pa.float64()), '{"a":2.0}'),
        ([("a", None)], TEXT_MAP, '{"a":null}'),
        (
            {"a": 2, "b": None, "c": "x"},
            pa.struct([("a", pa.int64()), ("b", pa.int64()), ("c", pa.string())]),
            '{"a":2,"c":"x"}',
        ),
        (None, pa.string(), None),
        ("", pa.string(), None),
    ],
)
def test_attributes_may_be_json_maps_or_structs(land_bytes, attributes, kind, text):
    types = {"attributes": kind, "resource_attributes": kind}
    row = one(land_bytes("parquet_spans", parquet(OWN_ROW | dict.fromkeys(types, attributes), types=types)))
    assert row["attributes"] == row["resource_attributes"] == text


def test_a_duration_may_stand_for_the_end_and_other_columns_are_kept(land_bytes, warehouse):
    whole = {name: value for name, value in OWN_ROW.items() if name != "ended_at"} | {
        "duration_ns": 7,
        "kind": 4,
        "status_code": "error",
        "dropped_events_count": 2,
        "events": '[{"name":"x"}]',
        "service_version": "1.4",
    }
    row = one(land_bytes("parquet_spans", parquet(whole)))
    assert nanoseconds(warehouse) == [(AT, AT + 7)]
    names = ("kind", "status_code", "dropped_events_count", "events", "service_version", "links")
    assert [row[name] for name in names] == [4, 2, 2, '[{"name":"x"}]', "1.4", None]


def test_what_the_warehouse_exports_comes_back(land_bytes, warehouse, tmp_path):
    land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW, CLICKHOUSE_ROW | {"SpanId": "1" * 16}))
    export = tmp_path / "export.parquet"
    warehouse.execute(
        f"copy (select * exclude (load_id, line, record) from raw.spans order by line) to '{export}' (format parquet)"
    ).fetchall()
    land_bytes("parquet_spans", export.read_bytes(), "again")
    first, again = (
        dicts(warehouse, "select * exclude (load_id) from raw.spans where load_id = ? order by line", load_id)
        for load_id in (1, 2)
    )
    assert first == again


# --- bad rows ---------------------------------------------------------------------------------------------------------

LATE = 253_370_764_800_000_000_000  # year 9999, more than a number of nanoseconds holds


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"TraceId": None}, "trace_id_missing"),
        ({"TraceId": ""}, "trace_id_missing"),
        ({"TraceId": "x" * 32}, "trace_id_malformed"),
        ({"TraceId": "ab"}, "trace_id_malformed"),
        ({"TraceId": "0" * 32}, "trace_id_zero"),
        ({"SpanId": None}, "span_id_missing"),
        ({"SpanId": "0x12345678901234"}, "span_id_malformed"),
        ({"SpanId": "1_2345678901234_"}, "span_id_malformed"),
        ({"SpanId": "-123456789012345"}, "span_id_malformed"),
        ({"SpanId": "0" * 16}, "span_id_zero"),
        ({"ParentSpanId": "parent"}, "parent_span_id_malformed"),
        ({"Timestamp": None}, "time_missing"),
        ({"Timestamp": 0}, "time_missing"),
        ({"Timestamp": 5}, "time_out_of_range"),
        ({"Timestamp": -(2**62)}, "time_out_of_range"),
        ({"Duration": None}, "time_missing"),
        ({"Duration": 2**64 - 1}, "time_out_of_range"),
        ({"SpanKind": "Seller"}, "enum_unknown"),
        ({"StatusCode": "Maybe"}, "enum_unknown"),
    ],
)
def test_a_bad_row_is_refused_alone(land_bytes, change, reason):
    landed = land_bytes("parquet_spans", clickhouse(*[CLICKHOUSE_ROW] * 2, CLICKHOUSE_ROW | change, CLICKHOUSE_ROW))
    assert [row["line"] for row in landed.rows] == [1, 2, 4]
    assert landed.reasons == [(3, 1, reason)]
    assert json.loads(landed.refusals[0]["raw"])["SpanName"] == "get /"
    assert landed.refusals[0]["detail"]


@pytest.mark.parametrize(
    ("change", "types", "reason"),
    [
        ({"ended_at": AT - 1}, {}, "ends_before_start"),
        ({"kind": 9}, {}, "enum_unknown"),
        ({"attributes": "{"}, {}, "attribute_malformed"),
        ({"attributes": "[]"}, {}, "attribute_malformed"),
        ({"events": "{}"}, {}, "field_malformed"),
        ({"links": "x"}, {}, "field_malformed"),
        ({"trace_id": b"short"}, {"trace_id": pa.binary()}, "trace_id_malformed"),
    ],
)
def test_a_bad_row_of_our_own_schema_is_refused_alone(land_bytes, change, types, reason):
    good = OWN_ROW | ({"trace_id": bytes.fromhex(TRACE)} if types else {})
    landed = land_bytes("parquet_spans", parquet(good, good | change, types=types))
    assert landed.reasons == [(2, 1, reason)]


def test_a_time_of_year_9999_is_refused_alone(land_bytes):
    types = dict.fromkeys(("started_at", "ended_at"), pa.timestamp("ms"))
    times = {"started_at": LATE // 10**6, "ended_at": LATE // 10**6}
    good = {"started_at": AT // 10**6, "ended_at": AT // 10**6}
    landed = land_bytes("parquet_spans", parquet(OWN_ROW | good, OWN_ROW | times, types=types))
    assert landed.reasons == [(2, 1, "time_out_of_range")]


@pytest.mark.parametrize("name", ["SpanName", "SpanAttributes"])
def test_a_text_that_is_not_utf8_is_refused_alone(land_bytes, name):
    bad = b"\xff" if name == "SpanName" else [(b"a", b"\xff")]
    types = {"SpanName": pa.binary(), "SpanAttributes": pa.map_(pa.binary(), pa.binary())}
    rows = [CLICKHOUSE_ROW] * 9
    landed = land_bytes("parquet_spans", clickhouse(*rows[:6], CLICKHOUSE_ROW | {name: bad}, *rows[6:], types=types))
    assert [row["line"] for row in landed.rows] == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert landed.reasons == [(7, 1, "not_utf8")]


# --- bad files --------------------------------------------------------------------------------------------------------


def test_rows_are_numbered_through_row_groups_and_batches(land_bytes, monkeypatch):
    monkeypatch.setattr(parquet_spans, "BATCH_ROWS", 3)
    rows = [CLICKHOUSE_ROW | {"SpanName": str(number), "SpanId": f"{number:016x}"} for number in range(20)]
    landed = land_bytes("parquet_spans", clickhouse(*rows, row_group_size=7))
    assert [(row["line"], row["span_name"]) for row in landed.rows] == [(n + 1, str(n)) for n in range(1, 20)]
    assert landed.reasons == [(1, 1, "span_id_zero")]


def test_duckdb_reads_the_rows(land_bytes, monkeypatch):
    monkeypatch.setattr(parquet_spans, "_prepared", None)
    landed = land_bytes("parquet_spans", clickhouse(CLICKHOUSE_ROW, CLICKHOUSE_ROW | {"TraceId": "no"}, CLICKHOUSE_ROW))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert [(row["line"], json.loads(row["raw"])["TraceId"]) for row in landed.refusals] == [(2, "no")]


def test_arrow_goes_on_where_duckdb_stops(land_bytes, monkeypatch):
    monkeypatch.setattr(parquet_spans, "BATCH_ROWS", 1000)
    names = pa.array([b"odd \xff" if line in (4500, 9000) else b"name" for line in range(1, 10_001)])
    table = pq.read_table(io.BytesIO(clickhouse(*[CLICKHOUSE_ROW] * 10_000)))
    place = table.schema.get_field_index("SpanName")
    content = written(table.set_column(place, "SpanName", names), row_group_size=4000)
    landed = land_bytes("parquet_spans", content)
    assert [row["line"] for row in landed.rows] == [line for line in range(1, 10_001) if line not in (4500, 9000)]
    assert [(row["line"], row["reason"]) for row in landed.refusals] == [(4500, "not_utf8"), (9000, "not_utf8")]


def test_a_damaged_row_group_is_refused_and_the_others_land(land_bytes):
    rows = [CLICKHOUSE_ROW | {"SpanName": f"name {number}"} for number in range(60)]
    content = bytearray(clickhouse(*rows, row_group_size=20, compression="zstd"))
    metadata = pq.read_metadata(io.BytesIO(bytes(content)))
    column = metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    landed = land_bytes("parquet_spans", bytes(content))
    assert [row["line"] for row in landed.rows] == [*range(1, 21), *range(41, 61)]
    assert landed.reasons == [(21, None, "corrupt_parquet")]
    assert "rows 21 to 40" in landed.refusals[0]["detail"]


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_file_that_breaks_off_is_refused(land_bytes, cut):
    content = clickhouse(*[CLICKHOUSE_ROW] * 50)
    landed = land_bytes("parquet_spans", content[: int(len(content) * cut)])
    assert landed.reasons == [(1, None, "corrupt_parquet")]


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1PAR1", b"text", b"PAR1\x00\x00\x00\x7fPAR1", b"\x00" * 100])
def test_what_is_no_parquet_is_refused(land_bytes, content):
    assert land_bytes("parquet_spans", content).reasons == [(1, None, "corrupt_parquet")]


@pytest.mark.parametrize("name", ["TraceId", "SpanId", "SpanName", "Timestamp", "Duration"])
def test_a_column_that_is_missing_is_named(land_bytes, name):
    landed = land_bytes("parquet_spans", clickhouse({k: v for k, v in CLICKHOUSE_ROW.items() if k != name}))
    assert landed.reasons == [(1, None, "other_format")]
    assert f"the columns {name} are missing" in landed.refusals[0]["detail"]


def test_a_table_of_something_else_is_not_recognised_and_says_what_it_lacks(land_bytes, tmp_path):
    landed = land_bytes("parquet_spans", parquet({"price": 5}))
    assert recognise(tmp_path / "file") is None
    assert landed.reasons == [(1, None, "other_format")]
    assert "trace_id, span_id, span_name, started_at, ended_at or duration_ns" in landed.refusals[0]["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("started_at", "2023-01-01"),
        ("trace_id", 5),
        ("span_id", 0.5),
        ("attributes", 5),
        ("kind", 0.5),
        ("events", [1]),
        ("span_name", 5),
        ("service_name", 5),
        ("dropped_links_count", "many"),
        ("ended_at", datetime(2023, 1, 1, tzinfo=UTC).date()),
    ],
)
def test_a_column_of_another_type_is_named(land_bytes, name, value):
    landed = land_bytes("parquet_spans", parquet(OWN_ROW | {name: value}))
    assert landed.reasons == [(1, None, "other_format")]
    assert name.removesuffix("_at") in landed.refusals[0]["detail"]


def test_files_without_rows_are_empty(land_bytes):
    assert land_bytes("parquet_spans", b"").outcome.status == "empty"
    table = pq.read_table(io.BytesIO(clickhouse(CLICKHOUSE_ROW))).slice(0, 0)
    assert land_bytes("parquet_spans", written(table), "no rows").outcome.status == "empty"


# --- properties -------------------------------------------------------------------------------------------------------

KINDS = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"]
SPANS = st.lists(spans(TEXTS, list(range(6)), with_event_attributes=True), min_size=1, max_size=15)
_FILE = count(1)


def as_row(span, case):
    parent = "" if span.parent is None else hexadecimal(case, span.parent, 16)
    return CLICKHOUSE_ROW | {
        "Timestamp": span.started * 1000,
        "Duration": span.duration * 1000,
        "TraceId": hexadecimal(case, span.trace, 32),
        "SpanId": hexadecimal(case, span.span, 16),
        "ParentSpanId": parent,
        "SpanName": span.name,
        "SpanKind": KINDS[span.kind],
        "ServiceName": span.service,
        "SpanAttributes": list(span.attributes.items()),
        "Events.Timestamp": [event.at * 1000 for event in span.events],
        "Events.Name": [event.name for event in span.events],
        "Events.Attributes": [list(event.attributes.items()) for event in span.events],
    }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=SPANS, case=st.sampled_from([0, 2]), group=st.integers(1, 20))
def test_written_spans_come_back(land_bytes, warehouse, sent, case, group):
    number = next(_FILE)
    text = clickhouse(*(as_row(span, case) | {"ScopeVersion": str(number)} for span in sent), row_group_size=group)
    landed = land_bytes("parquet_spans", text, f"file {number}")
    assert landed.reasons == []
    rows = dicts(
        warehouse,
        "select *, epoch_us(started_at) as started_us, epoch_us(ended_at) as ended_us from raw.spans "
        "where load_id = ? order by line, record",
        landed.outcome.load_id,
    )
    assert [columns_of(row) for row in rows] == [
        expected(span, span.attributes, [event.attributes for event in span.events]) for span in sent
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_stops_the_load(land_bytes, data):
    number = next(_FILE)
    content = bytearray(clickhouse(*[CLICKHOUSE_ROW | {"SpanName": f"name {number}"}] * 5, row_group_size=2))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcome = land_bytes("parquet_spans", bytes(content), f"damaged {number}").outcome
    assert outcome.load_id is not None, outcome.message  # a load that an exception ended has none
