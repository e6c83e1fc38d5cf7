"""logfmt: pairs, quotes and escapes, against a parser of its own; and what is refused."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.logs import logfmt

TRACE = "7311d8a3c2ce6f447ed4d57b1e2feb89"
AT = "time=2023-01-29T08:44:04Z"


def test_pairs_become_fields_and_texts(land_bytes):
    line = f'{AT} level=warn msg="took \\"long\\"\\n" n=1 empty= none="" retry url=/x?a=b trace_id={TRACE} n=2\r\n'
    (row,) = land_bytes("logfmt", line.encode()).rows
    assert (row["severity_number"], row["severity_text"], row["body"]) == (13, "warn", 'took "long"\n')
    assert row["trace_id"].hex == TRACE
    pairs = json.loads(row["attributes"], object_pairs_hook=list)
    assert pairs[:5] == [("n", "1"), ("empty", ""), ("none", ""), ("retry", True), ("url", "/x?a=b")]


def test_of_a_repeated_key_the_first_value_is_read(land_bytes, warehouse):
    land_bytes("logfmt", f"{AT} time=1 msg=a msg=b n=1 n=2\n".encode())
    query = "select body, json_extract_string(attributes, '/n') from raw.logs"
    assert warehouse.sql(query).fetchall() == [("a", "1")]


def test_an_escape_that_json_does_not_know_stands_as_it_was_sent(land_bytes):
    (row,) = land_bytes("logfmt", f'{AT} msg="a\\qb \\x1b \\"c\\"" tab="a\tb"\n'.encode()).rows
    assert row["body"] == 'a\\qb \\x1b \\"c\\"'
    assert json.loads(row["attributes"]) == {"tab": "a\tb"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'{AT} msg="open', "structure"),
        (f'{AT} msg="a"b', "structure"),
        (f'{AT} msg=a "b"', "structure"),
        (f"{AT} =a", "structure"),
        ('"quoted"', "structure"),
        ("plain words", "time_missing"),
        ("time= msg=x", "time_missing"),
        ("time=noon msg=x", "time_malformed"),
        ("time=5 msg=x", "time_out_of_range"),
        (f"{AT} msg=\udcff", "not_utf8"),
    ],
)
def test_a_bad_line_is_refused_alone(land_bytes, line, reason):
    good = f"{AT} msg=x"
    content = "\n".join([good, line, "", good]).encode(errors="surrogateescape")
    landed = land_bytes("logfmt", content)
    assert [row["line"] for row in landed.rows] == [1, 4]
    assert [(place, code) for place, _, code in landed.reasons] == [(2, reason)]


BLANKS = " \t\n\f\r"


def reference(line: str) -> list[tuple[str, object]] | None:
    """The pairs of a line, character by character; None when it is no logfmt."""
    pairs: list[tuple[str, object]] = []
    at = 0
    while at < len(line):
        if line[at] in BLANKS:
            at += 1
            continue
        start, at = at, end_of(line, at, BLANKS + '="')
        key, after = line[start:at], line[at : at + 1]
        if not key or after == '"':
            return None
        value: object = True
        if after == "=":
            start = at + 1
            is_quoted = line[start : start + 1] == '"'
            at = end_of_quoted(line, start) if is_quoted else end_of(line, start, BLANKS)
            if at > len(line) or line[at : at + 1].strip(BLANKS):
                return None
            value = unquoted(line[start:at]) if is_quoted else line[start:at]
        pairs.append((key, value))
    return pairs


def end_of(line: str, at: int, ends: str) -> int:
    while at < len(line) and line[at] not in ends:
        at += 1
    return at


def end_of_quoted(line: str, at: int) -> int:
    """Behind the closing quote; behind the line when there is none."""
    at += 1
    while at < len(line) and line[at] != '"':
        at += 2 if line[at] == "\\" else 1
    return at + 1


def unquoted(text: str) -> str:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text[1:-1]


LINES = st.lists(
    st.sampled_from([*'ab="\\ nqu0é', '"', "=", " ", "\t", 'k="v w" ', "k=v ", 'k="a\\"b" ', "bare ", "a=b=c ", "k= "]),
    max_size=25,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(rest=LINES)
def test_lines_are_read_as_the_reference_reads_them(tmp_path_factory, rest):
    path = tmp_path_factory.mktemp("lines") / "file"
    line = f"{AT} {rest}"
    path.write_bytes(line.encode() + b"\n")
    (batch,) = logfmt.FORMAT.batches(ByteStream(path), ReadOptions())
    expected = reference(line)
    if expected is None:
        assert [refusal.reason for refusal in batch.refusals] == ["structure"]
        return
    (row,) = batch.tables["log_records"].to_pylist()
    found = json.loads(row["attributes"] or "{}", object_pairs_hook=list) or []
    assert [list(pair) for pair in found] == [list(pair) for pair in expected[1:]]


@settings(max_examples=60, deadline=None)
@given(content=st.text(alphabet=string.printable + "é\x00", max_size=300))
def test_no_text_ends_a_load_and_every_line_is_accounted_for(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("texts") / "file"
    path.write_bytes(content.encode())
    found = list(logfmt.FORMAT.batches(ByteStream(path), ReadOptions()))
    lines = [line for line in content.replace("\r\n", "\n").split("\n") if line.strip(BLANKS)]
    assert sum(batch.records + len(batch.refusals) for batch in found) == len(lines)


@pytest.mark.parametrize(
    ("head", "is_known"),
    [
        (b"time=2023-01-29T08:44:04Z level=info msg=ready\n", True),
        (b'level=info ts=1674981844.1 caller=main.go:1 msg="a b"\n', True),
        (b"level=info msg=ready\n", False),
        (b"time=2023-01-29T08:44:04Z level=info\n", False),
        (b'http_requests{msg="x"} 1\n', False),
        (b'{"time":"x","msg":"time=2 msg=x"}\n', False),
        (b"<34>1 2023-01-29T08:44:04Z h a - - - time=2 msg=x\n", False),
    ],
)
def test_a_file_is_known_by_a_time_and_a_message(head, is_known):
    assert logfmt.FORMAT.recognises(head) is is_known
