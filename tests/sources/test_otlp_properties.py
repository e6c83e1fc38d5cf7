"""Generated OTLP files against a decoder that reads them line by line, value by value, the plain way."""

from __future__ import annotations

import json
import math
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.otlp import otlp_lines, otlp_salvage, otlp_traces
from dagster_project.warehouse.connection import connect

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
EARLIEST, LATEST = 946_684_800 * 10**9, 4_102_444_800 * 10**9

# --- what is generated ------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    TEXT.map(lambda v: {"stringValue": v}),
    st.booleans().map(lambda v: {"boolValue": v}),
    INT64.map(lambda v: {"intValue": str(v)}),
    INT64.map(lambda v: {"intValue": v}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: {"doubleValue": v}),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]).map(lambda v: {"doubleValue": v}),
    st.sampled_from(["Mg==", ""]).map(lambda v: {"bytesValue": v}),
    st.just({}),
)
KEYS = st.sampled_from(["a", "b", "bytesValue", "kvlistValue", 'q"uote', "é"])


def keyed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.fixed_dictionaries({"key": KEYS, "value": values}), max_size=4)


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: {"arrayValue": {"values": v}}),
        keyed(inner).map(lambda v: {"kvlistValue": {"values": v}}),
    ),
    max_leaves=8,
)
PLAIN_TIMES = st.integers(EARLIEST, LATEST - 1)
TIMES = st.one_of(
    PLAIN_TIMES.map(str),
    PLAIN_TIMES.map(str),
    PLAIN_TIMES,
    st.sampled_from(["", "0", "-1", "5", str(2**63), str(2**64), 2**63, "soon", None, True]),
)
TRACE_IDS = st.one_of(
    st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    st.sampled_from(["", "0" * 32, "ab", "g" * 32, None, 5]),
)
SPAN_IDS = st.one_of(
    st.text("0123456789abcdefABCDEF", min_size=16, max_size=16),
    st.sampled_from(["", "0" * 16, "ab", "g" * 16, None, 5]),
)
SPANS = st.fixed_dictionaries(
    {"traceId": TRACE_IDS, "spanId": SPAN_IDS, "startTimeUnixNano": TIMES, "endTimeUnixNano": TIMES},
    optional={
        "parentSpanId": SPAN_IDS,
        "name": st.one_of(TEXT, st.just(3)),
        "kind": st.sampled_from([0, 1, 5, 6, -1, None, "SPAN_KIND_SERVER", "x"]),
        "attributes": st.one_of(keyed(VALUES), st.sampled_from([None, 7])),
        "novelty": st.one_of(st.integers(), TEXT),
    },
)
GOOD_SPANS = st.fixed_dictionaries(
    {
        "traceId": st.just("5b8efff798038103d269b633813fc60c"),
        "spanId": st.just("eee19b7ec3c1b174"),
        "startTimeUnixNano": st.just("1674981600000000000"),
        "endTimeUnixNano": st.just("1674981600000000001"),
        "name": TEXT,
        "attributes": keyed(VALUES),
    }
)
REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "resource": st.fixed_dictionaries({"attributes": keyed(VALUES)}),
            "scopeSpans": st.lists(
                st.fixed_dictionaries({"spans": st.lists(st.one_of(GOOD_SPANS, GOOD_SPANS, SPANS), max_size=3)}),
                max_size=2,
            ),
        }
    ),
    max_size=2,
).map(lambda resources: json.dumps({"resourceSpans": resources}, ensure_ascii=False).encode())
LINES = st.one_of(
    REQUESTS, REQUESTS, REQUESTS, st.sampled_from([b"", b"{", b"nope", b'"text"', b'{"resourceSpans":3}', b"{}"])
)

# Files that Arrow reads as they are: every block of some lines takes the fast way, and SQL alone refuses.
CLEAN_SCALARS = st.one_of(
    TEXT.map(lambda v: {"stringValue": v}),
    st.booleans().map(lambda v: {"boolValue": v}),
    INT64.map(lambda v: {"intValue": str(v)}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: {"doubleValue": v}),
    st.just({}),
)
CLEAN_NESTED = st.one_of(
    CLEAN_SCALARS,
    st.lists(CLEAN_SCALARS, max_size=3).map(lambda v: {"arrayValue": {"values": v}}),
    keyed(CLEAN_SCALARS).map(lambda v: {"kvlistValue": {"values": v}}),
)
CLEAN_VALUES = st.one_of(
    CLEAN_NESTED,
    st.lists(CLEAN_NESTED, max_size=2).map(lambda v: {"arrayValue": {"values": v}}),
    keyed(CLEAN_NESTED).map(lambda v: {"kvlistValue": {"values": v}}),
)
CLEAN_SPANS = st.fixed_dictionaries(
    {
        "traceId": st.sampled_from(["5b8efff798038103d269b633813fc60c", "5B8EFFF798038103D269B633813FC60C", "bad"]),
        "spanId": st.sampled_from(["eee19b7ec3c1b174", "EEE19B7EC3C1B175", "eee19b7ec3c1b176", ""]),
        "startTimeUnixNano": st.sampled_from(["1674981600000000000", "1674981600000000002", "1"]),
        "endTimeUnixNano": st.just("1674981600000000001"),
        "name": TEXT,
    },
    optional={"attributes": keyed(CLEAN_VALUES), "kind": st.integers(-1, 6)},
)
CLEAN_REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "resource": st.fixed_dictionaries({"attributes": keyed(CLEAN_VALUES)}),
            "scopeSpans": st.lists(st.fixed_dictionaries({"spans": st.lists(CLEAN_SPANS, max_size=3)}), max_size=2),
        }
    ),
    max_size=2,
).map(lambda resources: json.dumps({"resourceSpans": resources}, ensure_ascii=False).encode())

# --- the plain way ----------------------------------------------------------------------------------------------------


@dataclass
class Expected:
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    refused: list[tuple[int, int | None]] = field(default_factory=list)


def expected_of(content: bytes) -> Expected:
    expected = Expected()
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError:
            expected.refused.append((number, None))
            continue
        if not isinstance(document, dict) or not isinstance(document.get("resourceSpans", []), list):
            expected.refused.append((number, None))
            continue
        record = 0
        for resource in document.get("resourceSpans", []):
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    record += 1
                    row = row_of(span)
                    if row is None:
                        expected.refused.append((number, record))
                    else:
                        about = attributes_of(resource["resource"]["attributes"])
                        expected.rows.append((number, record, *row, json.dumps(about) if about else None))
    return expected


def row_of(span: dict[str, Any]) -> tuple[Any, ...] | None:
    ids = [span["traceId"], span["spanId"]]
    if not all(isinstance(found, str) and re.fullmatch(r"[0-9a-fA-F]+", found) and int(found, 16) for found in ids):
        return None
    if len(ids[0]) != 32 or len(ids[1]) != 16:
        return None
    parent = span.get("parentSpanId")
    if parent not in (None, "") and not (isinstance(parent, str) and re.fullmatch(r"[0-9a-fA-F]{16}", parent)):
        return None
    times = [time_of(span[name]) for name in ("startTimeUnixNano", "endTimeUnixNano")]
    if None in times or times[1] < times[0]:
        return None
    kind = {"SPAN_KIND_SERVER": 2, None: 0}.get(span.get("kind"), span.get("kind"))
    attributes = span.get("attributes")
    if kind not in range(6) or not isinstance(span.get("name", ""), str) or attributes == 7:
        return None
    about = attributes_of(attributes or [])
    number = int(parent, 16) if parent and int(parent, 16) else None
    return (
        ids[0].lower(),
        int(ids[1], 16),
        number,
        span.get("name", ""),
        kind,
        *times,
        json.dumps(about) if about else None,
    )


def time_of(value: Any) -> int | None:
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
        return None
    return int(value) if EARLIEST <= int(value) < LATEST else None


def attributes_of(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in attributes:
        found.setdefault(item["key"], value_of(item["value"]))
    return found


def value_of(value: dict[str, Any]) -> Any:  # noqa: PLR0911  one a kind
    match value:
        case {"stringValue": text}:
            return text
        case {"boolValue": flag}:
            return flag
        case {"intValue": number}:
            return int(number)
        case {"doubleValue": str()} | {"bytesValue": _}:
            return value
        case {"doubleValue": number}:
            return float(number)
        case {"arrayValue": array}:
            return [value_of(item) for item in array["values"]]
        case {"kvlistValue": listed}:
            found = attributes_of(listed["values"])
            is_escape = len(found) == 1 and next(iter(found)) in (
                "bytesValue",
                "doubleValue",
                "intValue",
                "kvlistValue",
            )
            return {"kvlistValue": found} if is_escape else found
    return None


# --- the comparison ---------------------------------------------------------------------------------------------------

COLUMNS = """line, record, replace(trace_id::varchar, '-', ''), span_id, parent_span_id, span_name, kind,
    epoch_ns(started_at), epoch_ns(ended_at), attributes, resource_attributes"""


def decoded(connection: duckdb.DuckDBPyConnection, content: bytes, block_bytes: int) -> Expected:
    """What the format makes of the content, read in blocks of about this size."""
    found = Expected()
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        for batch in otlp_lines.batches(ByteStream(Path(file.name), block_bytes), otlp_traces.SIGNAL, block_bytes):
            found.refused += [(refusal.line, refusal.record) for refusal in batch.refusals]
            for name, table in batch.tables.items():
                connection.register(name, table)
            good = connection.execute(f"select {COLUMNS} from ({batch.select}) where reason is null").fetchall()
            bad = connection.execute(
                f"select line, record, detail from ({batch.select}) where reason is not null"
            ).fetchall()
            assert len(good) + len(bad) == batch.records
            assert all(detail for _, _, detail in bad)
            found.rows += [(*row[:-2], canonical(row[-2]), canonical(row[-1])) for row in good]
            found.refused += [(line, record) for line, record, _ in bad]
            for line, record, _ in bad:
                assert batch.raw_of(line, record)
    found.rows.sort(key=lambda row: row[:2])
    found.refused.sort(key=lambda place: (place[0], place[1] or 0))
    return found


def canonical(text: str | None) -> str | None:
    """The text again, as Python writes JSON: an int, a double and a boolean stay apart in it."""
    return None if text is None else json.dumps(json.loads(text))


@pytest.fixture(scope="module")
def connection():
    with connect(":memory:") as found:
        yield found


@settings(deadline=None, max_examples=40)
@given(lines=st.lists(LINES, max_size=6), block_bytes=st.sampled_from([40, 400, 1 << 20]))
def test_rows_and_refusals_are_those_of_the_plain_way(connection, lines, block_bytes):
    content = b"\n".join(lines)
    assert decoded(connection, content, block_bytes) == expected_of(content)


@settings(deadline=None, max_examples=30)
@given(lines=st.lists(CLEAN_REQUESTS, min_size=1, max_size=5), broken=st.booleans())
def test_a_file_without_oddities_goes_the_fast_way_and_gives_the_same(connection, lines, broken):
    content = b"\n".join([*lines, b"{", *lines] if broken else lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp_salvage, "_salvage_line", lambda *_: pytest.fail("the slow way was taken"))
        assert decoded(connection, content, 1 << 20) == expected_of(content)


@settings(deadline=None, max_examples=30)
@given(attributes=keyed(VALUES))
def test_both_ways_write_the_same_text(connection, attributes):
    """The text of a value is compared by rules: it must not depend on how its neighbours were decoded."""
    fast = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "startTimeUnixNano": "1674981600000000000",
        "endTimeUnixNano": "1674981600000000001",
        "attributes": attributes,
    }
    slow = fast | {"startTimeUnixNano": 1674981600000000000}
    texts = []
    for span in (fast, slow):
        line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(line)
            (batch,) = otlp_lines.batches(ByteStream(Path(file.name)), otlp_traces.SIGNAL)
        texts.append(batch.tables["otlp_records"]["attributes"].to_pylist())
    assert texts[0] == texts[1]


@settings(deadline=None, max_examples=30)
@given(st.floats(), TEXT)
def test_numbers_and_texts_come_back_exactly(connection, number, text):
    attributes = [{"key": "n", "value": {"doubleValue": number}}, {"key": "t", "value": {"stringValue": text}}]
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "startTimeUnixNano": "1674981600000000000",
        "endTimeUnixNano": "1674981600000000001",
        "attributes": attributes,
    }
    content = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    (row,) = decoded(connection, content, 1 << 20).rows
    found = json.loads(row[-2])
    assert found["t"] == text
    if math.isfinite(number):
        assert (found["n"], math.copysign(1, found["n"])) == (number, math.copysign(1, number))
    else:
        assert found["n"] == {"doubleValue": {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]}
