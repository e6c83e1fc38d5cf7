"""The elements of a document are what a JSON library finds there, wherever the chunks and blocks are cut."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream

TEXTS = st.text(st.sampled_from(['"', "\\", "[", "]", "{", "}", ",", ":", "a", "\n", "é", " "]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def read(path, content: bytes, *keys, chunk=1 << 20, block=4 << 20, **options):
    """Elements by number, refusals, the envelope; every block is where it says to be."""
    path.write_bytes(content)
    elements = Elements(ByteStream(path, chunk), *keys, block_bytes=block, **options)
    found, refusals = {}, []
    for piece in elements:
        if not isinstance(piece, Block):
            refusals.append(piece)
            continue
        for number, line in piece.lines():
            assert number not in found
            found[number] = line
            offset = piece.offset_of(number)
            if offset is not None:
                assert content[offset : offset + len(line)].replace(b"\n", b" ").replace(b"\r", b" ") == line
            assert piece.line(number) == line
    return found, refusals, elements.envelope


@settings(deadline=None, max_examples=300)
@given(
    values=st.lists(VALUES, max_size=6),
    before=st.dictionaries(TEXTS.filter(lambda key: key not in ("data", "result")), VALUES, max_size=2),
    nesting=st.sampled_from([(), ("data",), ("data", "result")]),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 50),
    block=st.integers(1, 80),
)
def test_elements_are_those_of_the_document(
    tmp_path_factory, values, before, nesting, indent, ascii_only, chunk, block
):
    document: object = values
    emptied: object = []
    for key in reversed(nesting):
        document, emptied = {**before, key: document}, {**before, key: emptied}
    content = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    path = tmp_path_factory.getbasetemp() / "elements.json"
    found, refusals, envelope = read(path, content, *nesting, chunk=chunk, block=block)
    assert [json.loads(line) for line in found.values()] == values
    assert list(found) == list(range(1, len(values) + 1))
    assert (refusals, envelope) == ([], emptied)


@settings(deadline=None, max_examples=300)
@given(values=st.lists(VALUES, min_size=1, max_size=4), cut=st.integers(1, 200), chunk=st.integers(1, 50))
def test_a_document_that_breaks_off_gives_its_whole_elements_and_says_so(tmp_path_factory, values, cut, chunk):
    content = json.dumps({"data": values}).encode()
    content = content[: -min(cut, len(content) - 1)]
    path = tmp_path_factory.getbasetemp() / "broken.json"
    found, refusals, _ = read(path, content, "data", chunk=chunk)
    assert [json.loads(line) for line in found.values()] == values[: len(found)]
    assert [refusal.reason for refusal in refusals] == ["not_json"]


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=60) | st.text('[]{}",\\:a1 \n', max_size=60).map(str.encode), chunk=st.integers(1, 9))
def test_no_bytes_raise_and_none_vanish(tmp_path_factory, content, chunk):
    if content.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")):
        return
    path = tmp_path_factory.getbasetemp() / "any.json"
    found, refusals, envelope = read(path, content, chunk=chunk, or_at=[("a",)])
    if content.removeprefix(b"\xef\xbb\xbf").strip():
        assert found or refusals or envelope is not None


def test_several_documents_and_places_are_numbered_through(tmp_path):
    content = b'[1, 2]\n{"a": [3], "b": [4], "c": {"a": [5]}}\n[]\n["\\"]"]'
    found, refusals, envelope = read(tmp_path / "many", content, or_at=[("a",), ("c", "a")])
    assert list(found.values()) == [b"1", b" 2", b"3", b"5", b'"\\"]"']
    assert (refusals, envelope) == ([], [])


@pytest.mark.parametrize(
    ("content", "numbers", "refused"),
    [
        (b"[]", [], []),
        (b"[ \n ]", [], []),
        (b"", [], []),
        (b"[1,,2]", [1, 3], [2]),
        (b"[,]", [], [1, 2]),
        (b"[1,]", [1], [2]),
        (b"[1] 2", [1], []),
        (b"[1] x", [1], [2]),
        (b"[1]]", [1], [2]),
        (b'{"a": 1', [], [1]),
        (b'[1, "2', [1], [2]),
        (gzip.compress(b"[1, 2, 3]", mtime=0)[:-9], [1, 2, 3], [4]),
    ],
)
def test_what_is_no_json_is_refused_in_its_place(tmp_path, content, numbers, refused):
    path = tmp_path / "odd"
    path.write_bytes(content)
    found, refusals = [], []
    for piece in Elements(ByteStream(path)):
        if isinstance(piece, Block):
            found += [number for number, line in piece.lines() if line.strip()]
        else:
            refusals.append(piece.line)
    assert (found, refusals) == (numbers, refused)


def test_an_element_over_the_limit_is_refused_alone(tmp_path):
    content = json.dumps(["a", "b" * 100, "c"]).encode()
    found, refusals, envelope = read(tmp_path / "long", content, element_limit=50)
    assert [line.strip() for line in found.values()] == [b'"a"', b'"c"']
    assert [(refusal.line, refusal.reason) for refusal in refusals] == [(2, "line_too_long")]
    assert envelope == []


def test_a_document_without_elements_is_not_held_beyond_the_limit(tmp_path):
    content = json.dumps({"other": ["x" * 40] * 10}).encode()
    _, refusals, envelope = read(tmp_path / "wrong", content, "data", chunk=64, element_limit=100)
    assert [refusal.reason for refusal in refusals] == ["line_too_long"]
    assert envelope is None


def test_many_documents_take_time_in_proportion(tmp_path):
    """A scan that starts anew for each array would take a minute here."""
    content = b"[1]\n" * 20_000
    found, refusals, _ = read(tmp_path / "lines", content)
    assert (len(found), refusals) == (20_000, [])
