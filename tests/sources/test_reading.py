"""Blocks are the file cut at newlines, whatever the sizes of chunks, blocks and lines are."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import Block, ByteStream, Unreadable, blocks, document, head
from dagster_project.sources.format import Format
from dagster_project.warehouse.quarantine import Reason, Refusal

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30)


@settings(deadline=None)
@given(lines=LINES, chunk=st.integers(1, 40), size=st.integers(1, 60), ends=st.booleans())
def test_blocks_are_the_file_again(tmp_path_factory, lines, chunk, size, ends):
    content = (b"\n".join(lines) + b"\n" * ends).removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        return
    path = tmp_path_factory.getbasetemp() / "blocks"
    path.write_bytes(content)
    found = list(blocks(ByteStream(path, chunk), size))
    assert b"".join(block.data for block in found) == content
    line = 1
    for block in found:
        assert block.first_line == line
        line += block.line_count
        assert [number for number, _ in block.lines()] == list(range(block.first_line, line))
    assert all(block.data.endswith(b"\n") for block in found[:-1])


@settings(deadline=None)
@given(lines=LINES, chunk=st.integers(1, 40), size=st.integers(1, 60), limit=st.integers(1, 12))
def test_lines_over_the_limit_are_refused_and_only_those(tmp_path_factory, lines, chunk, size, limit):
    content = b"".join(line + b"\n" for line in lines)
    if content.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\xef\xbb\xbf")):
        return
    path = tmp_path_factory.getbasetemp() / "limited"
    path.write_bytes(content)
    kept, refused = {}, []
    for piece in blocks(ByteStream(path, chunk), size, limit):
        if isinstance(piece, Refusal):
            refused.append(piece.line)
        else:
            kept |= dict(piece.lines())
    assert refused == [number for number, line in enumerate(lines, 1) if len(line) > limit]
    assert kept == {number: line for number, line in enumerate(lines, 1) if len(line) <= limit}


@settings(deadline=None)
@given(st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"") + b"\n"), min_size=2, max_size=9))
def test_halves_are_the_block_again_and_none_is_empty(lines):
    block = Block(5, b"".join(lines))
    first, second = block.halves()
    assert first.data + second.data == block.data
    assert first.data
    assert second.data
    assert second.first_line == first.first_line + first.line_count
    assert first.data.endswith(b"\n")


def test_a_gzip_bomb_is_decoded_in_chunks(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    assert max(len(chunk) for chunk in ByteStream(path)) <= 1 << 20


def test_counters_reach_the_end(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"abc\n" * 1000) * 3)
    stream = ByteStream(path)
    assert sum(map(len, stream)) == stream.decoded_bytes == 12000
    assert stream.bytes_done == path.stat().st_size


def test_a_zip_of_one_file_is_that_file(tmp_path):
    assert b"".join(ByteStream(zipped(tmp_path, {"folder/": b"", "folder/a.csv": b"x\ny\n"}))) == b"x\ny\n"


def test_a_zip_of_two_files_says_what_to_do(tmp_path):
    with pytest.raises(Unreadable, match="zip one file alone"):
        list(ByteStream(zipped(tmp_path, {"a": b"1", "b": b"2"})))
    assert head(zipped(tmp_path, {"a": b"1", "b": b"2"})) == b""


def test_a_damaged_zip_is_unreadable(tmp_path):
    path = zipped(tmp_path, {"a": b"1" * 1000})
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(Unreadable):
        list(ByteStream(path))


def test_a_document_over_the_limit_is_refused(tmp_path):
    path = tmp_path / "big.json"
    path.write_bytes(b"[" + b" " * 100 + b"]")
    found = document(ByteStream(path), limit=50)
    assert isinstance(found, Refusal)
    assert found.reason == "line_too_long"


def zipped(folder: Path, members: dict[str, bytes]) -> Path:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path = folder / "archive.zip"
    path.write_bytes(content.getvalue())
    return path


@pytest.mark.parametrize("frames", [1, 3])
def test_zstd_is_read_whole(tmp_path, frames):
    content = b"".join(b"line %d\n" % number for number in range(50_000))
    path = tmp_path / "file"
    path.write_bytes(zstd(content) * frames)
    assert b"".join(ByteStream(path, 1000)) == content * frames


def test_a_damaged_zstd_gives_what_is_before_the_damage_and_says_where(tmp_path):
    content = b"".join(b"line %d %d\n" % (number, number * number) for number in range(100_000))
    path = tmp_path / "file"
    path.write_bytes(zstd(content)[:-1000])
    stream = ByteStream(path, 1000)
    found = b"".join(stream)
    assert content.startswith(found)
    assert len(found) > len(content) / 2
    assert stream.broken is not None
    assert stream.broken.reason == "corrupt_zstd"


def test_a_damaged_zip_of_bz2_is_unreadable_not_an_error_of_the_system(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("log.csv", bytes(range(256)) * 5000)
    content = bytearray(packed.getvalue())
    content[120:140] = bytes(20)
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        list(ByteStream(path))


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


def test_a_file_that_cannot_be_read_is_refused_with_its_own_reason(tmp_path):
    def batches(stream, options):
        raise Unreadable(Reason.CORRUPT_PARQUET, "no footer")
        yield

    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    broken = Format("broken", "raw.spans", "started_at", lambda start: True, batches)
    (batch,) = broken.open(path)
    assert [(refusal.reason, refusal.detail) for refusal in batch.refusals] == [(Reason.CORRUPT_PARQUET, "no footer")]
