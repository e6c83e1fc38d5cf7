"""What of an OTLP/JSON file goes the fast way: fields learnt late, lines taken out, texts of values by the column."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import Block
from dagster_project.sources.otlp import otlp_reading, otlp_salvage, otlp_traces
from dagster_project.sources.otlp.otlp_reading import LineReader
from dagster_project.sources.otlp.otlp_values import DEPTH, attribute_texts, attributes_text, value_text, value_texts

SCHEMAS = otlp_traces.SIGNAL.schemas


def line(number: int = 1, attributes: list[dict[str, Any]] | None = None, **more: Any) -> bytes:
    found = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": f"{number:016x}",
        "name": "pay",
        "startTimeUnixNano": "1674981600000000000",
        "endTimeUnixNano": "1674981600000000001",
        **({"attributes": attributes} if attributes else {}),
        **more,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": [found]}]}]}).encode()


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    return value


def keyed(**values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


LATE = {
    "kind": 2,
    "traceState": "a=b",
    "status": {"code": 2, "message": "no"},
    "droppedAttributesCount": 3,
    "events": [{"timeUnixNano": "1674981600000000000", "name": "e", "attributes": keyed(a={"intValue": "1"})}],
    "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}],
    "attributes": keyed(a={"boolValue": True}, b={"kvlistValue": {"values": keyed(c={"bytesValue": "Mg=="})}}),
}


@pytest.mark.parametrize("field", LATE)
def test_a_field_that_is_used_late_lands_the_fast_way(land_bytes, monkeypatch, field):
    lines = [line(number) for number in range(1, 101)]
    late = line(101, **{field: LATE[field]})
    alone = land_bytes("otlp_traces", late + b"\n", "alone").rows[0]
    monkeypatch.setattr(otlp_salvage, "_salvage_line", lambda *_: pytest.fail("the slow way was taken"))
    rows = land_bytes("otlp_traces", b"\n".join([*lines, late, line(102)]), "late").rows
    assert [row["span_id"] for row in rows] == list(range(1, 103))
    different = {"load_id", "line"}
    assert {name: value for name, value in rows[100].items() if name not in different} == {
        name: value for name, value in alone.items() if name not in different
    }


def test_what_was_learnt_is_not_forgotten(monkeypatch):
    reader = LineReader(SCHEMAS)
    plain, other = line(1) + b"\n", line(2, attributes=keyed(a={"stringValue": "x"})) + b"\n"
    for data in (plain * 40, plain * 39 + other, plain * 40):
        reader.read(Block(1, data))
    reads = counted(monkeypatch)
    for data in (other * 40, plain * 40, plain + other):
        (piece,), bad = reader.read(Block(1, data))
        assert (len(piece.line), bad) == (data.count(b"\n"), [])
    assert len(reads) == 3


def test_cut_lines_cost_no_further_reading(monkeypatch):
    good = line(1)
    lines = [good[:-9] if number % 10 == 0 else b"nope" if number % 10 == 1 else good for number in range(100)]
    reads = counted(monkeypatch)
    (piece,), bad = LineReader(SCHEMAS).read(Block(1, b"\n".join(lines)))
    assert len(reads) == 2  # one of them to learn the fields
    assert [found.first_line for found in bad] == [n + 1 for n in range(100) if n % 10 < 2]
    assert piece.line.tolist() == [n + 1 for n in range(100) if n % 10 >= 2]


def test_only_the_lines_that_nest_too_deeply_go_the_slow_way(monkeypatch):
    deep = {7, 50, 99}
    lines = [
        line(number, attributes=keyed(a=nested(DEPTH + 1 if number in deep else DEPTH))) for number in range(1, 101)
    ]
    reads = counted(monkeypatch)
    (piece,), bad = LineReader(SCHEMAS).read(Block(1, b"\n".join(lines), 0))
    assert {found.first_line for found in bad} == deep
    assert set(piece.line.tolist()) == set(range(1, 101)) - deep
    assert all(lines[found.first_line - 1] == found.data.rstrip(b"\n") for found in bad)
    assert [found.offset for found in bad] == [sum(len(one) + 1 for one in lines[: n - 1]) for n in sorted(deep)]
    assert len(reads) <= 3  # to learn the fields, and once more as the deep ones are among them
    assert piece.unexpected == frozenset()


def test_lines_that_are_not_utf8_go_alone():
    lines = [line(1), line(2).replace(b"pay", b"p\xff"), line(3)]
    (piece,), bad = LineReader(SCHEMAS).read(Block(11, b"\n".join(lines)))
    assert (piece.line.tolist(), [found.first_line for found in bad]) == ([11, 13], [12])


@pytest.mark.parametrize("inside", [("[", "]"), ('{"a":', "}"), ("[", ",1]")])
def test_a_line_that_nests_without_end_ends_no_process(land_bytes, inside):
    opening, closing = inside
    endless = line(2)[:-7] + b',"novel":' + opening.encode() * 50_000 + b"1" + closing.encode() * 50_000 + line(2)[-7:]
    shallow = line(4, name="[" * 2000)
    landed = land_bytes("otlp_traces", b"\n".join([line(1), endless, line(3), shallow]))
    assert [row["span_id"] for row in landed.rows] == [1, 3, 4]
    assert [refusal["line"] for refusal in landed.refusals] == [2]


@pytest.mark.parametrize("hidden", [b"}" * 60_000, b"\\\\" + b"]" * 60_000, b'\\"' + b"}" * 60_000])
@pytest.mark.parametrize("before", [b"", b'{"an odd": "quote\n'])
def test_brackets_in_strings_hide_no_nesting(tmp_path, hidden, before):
    nested = b'"yy":' + b"[" * 50_000 + b"]" * 50_000 + b","
    several = b'["' + hidden[:-59_500] + b'",'  # no more than a few hundred at a time
    many = b'"yy":' + (b"[" * 400 + several) * 100 + b"1" + b"]" * 40_100 + b","
    for number, deep in enumerate((nested, many)):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(line(1) + b"\n" + before + b'{"zz":"' + hidden + b'",' + deep + line(2)[1:] + b"\n" + line(3))
        reading = (
            "import sys; from pathlib import Path; from tests.sources import test_otlp_reading as here\n"
            "pieces, bad = here.LineReader(here.SCHEMAS).read(here.Block(1, Path(sys.argv[1]).read_bytes()))\n"
            "print(sorted(line for piece in pieces for line in piece.line.tolist()), [one.first_line for one in bad])"
        )
        # In a process of its own, which it would end.
        said = subprocess.run([sys.executable, "-c", reading, path], capture_output=True, text=True, check=True)
        assert said.stdout.strip() == ("[1, 4] [2, 3]" if before else "[1, 3] [2]")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines Arrow read, each time."""
    reads: list[int] = []
    read = otlp_reading._table

    def counting(part, schema):
        reads.append(len(part))
        return read(part, schema)

    monkeypatch.setattr(otlp_reading, "_table", counting)
    return reads


# --- texts ------------------------------------------------------------------------------------------------------------

NEAR_A_BOUND = st.sampled_from([1e-4, 1e10, 1e-5, 1e16, 1.0, 1e15]).flatmap(
    lambda bound: st.integers(-3, 3).map(lambda steps: float(bound + steps * np.spacing(bound)))
)


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(), NEAR_A_BOUND, st.integers(-(10**12), 10**12).map(float)), min_size=1))
@example([0.0, -0.0, 3.0, 1e-4, 9.999999999999999e-05, 9999999999.5, 1e10, 1e22, 5e-324, math.nan, math.inf, -math.inf])
def test_doubles_are_written_alike_both_ways(found):
    column = pa.array(found, pa.float64())
    texts = value_texts(pa.StructArray.from_arrays([column], ["doubleValue"])).to_pylist()
    assert texts == [value_text({"doubleValue": number}) for number in found]


INTEGERS = [
    "0",
    "-0",
    "007",
    "+1",
    " 1",
    "1 ",
    "0x10",
    "1_000",
    "1e3",
    "",
    "9223372036854775807",
    "9223372036854775808",
]


@pytest.mark.parametrize("texts", [["1", "-5"], INTEGERS, [None, "12", None, 'x\n"y']])
def test_integers_are_written_alike_both_ways(texts):
    column = pa.array(texts, pa.string())
    found = value_texts(pa.StructArray.from_arrays([column], ["intValue"])).to_pylist()
    assert found == [value_text({"intValue": text}) for text in texts]


LISTS = st.lists(
    st.one_of(
        st.none(),
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "c", 'q"', "\n", "intValue"]), st.text(max_size=3)).map(
                lambda pair: {"key": pair[0], "value": {"stringValue": pair[1]}}
            ),
            max_size=5,
        ),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(LISTS, st.integers(0, 3))
@example([[], None, [{"key": "a", "value": {"stringValue": "1"}}] * 2, []], 1)
def test_attribute_lists_are_written_alike_both_ways_also_from_a_slice(lists, start):
    kind = pa.list_(pa.struct([("key", pa.string()), ("value", pa.struct([("stringValue", pa.string())]))]))
    found = attribute_texts(pa.array(lists, kind)[start:]).to_pylist()
    assert found == [attributes_text(attributes) if attributes else None for attributes in lists[start:]]
