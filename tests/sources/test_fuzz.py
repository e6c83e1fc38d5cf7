"""Every registered format meets broken files: no byte may crash a load, lose a record, or touch its neighbours.

Each format has one small good file in `examples/`. `HINDCAST_TEST_FUZZ=20000` runs that many cases, new ones each time;
without it a few hundred are run, the same ones each time.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dagster_project.sources.recognition import recognise
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import ledger
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import FileOutcome, InputFile, land

EXAMPLES = {path.stem: path for path in sorted((Path(__file__).parent / "examples").iterdir())}
FUZZED = [name for name in FORMATS if name in EXAMPLES]
JSON = [name for name in FUZZED if EXAMPLES[name].suffix in (".json", ".jsonl")]
# Formats whose lines stand alone: no line is joined with, named by, or quoted into another one.
LINES = ["otlp_traces", "otlp_logs", "otlp_metrics", "git_history", "syslog", "logfmt", "json_lines"]

CASES = int(os.environ.get("HINDCAST_TEST_FUZZ", "0"))
EACH = max(CASES // (2 * len(FUZZED)), 5)
fuzzed = settings(
    max_examples=EACH,
    derandomize=not CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Target:
    """A warehouse in memory that is emptied before each file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._tables = ledger.raw_tables(connection)

    def land(self, name: str, content: bytes) -> FileOutcome:
        """Land a file; what must hold whatever is in it is asserted here."""
        for table in (*self._tables, "audit.loads", "audit.quarantine"):
            self._connection.execute(f"delete from {table}")
        path = self._folder / "file"
        path.write_bytes(content)
        file = InputFile(path, FORMATS[name], max_refused_share=1.0)
        (outcome,) = land(self._connection, [file], quarantine_dir=self._folder / "kept").files
        assert outcome.load_id is not None, f"landing gave up: {outcome.message}"
        rows = sum(self._count(table) for table in self._tables)
        assert (outcome.records_landed, outcome.records_rejected) == (rows, self._count("audit.quarantine"))
        assert outcome.records_read == outcome.records_landed + outcome.records_rejected
        recognise(path)
        return outcome

    def rows(self, name: str, without_line: int = 0) -> dict[str, list[tuple[Any, ...]]]:
        """What landed, but for one line."""
        return {
            target.table: self._connection.execute(
                f"select * from {target.table} where line <> ? order by line, record", [without_line]
            ).fetchall()
            for target in FORMATS[name].targets
        }

    def _count(self, table: str) -> int:
        ((count,),) = self._connection.execute(f"select count(*) from {table}").fetchall()
        return int(count)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with connect(":memory:") as connection:
        migrate(connection)
        yield Target(connection, tmp_path_factory.mktemp("fuzz"))


def test_every_format_has_an_example():
    assert set(EXAMPLES) == set(FORMATS), "put a small good file of each format into tests/sources/examples"


@pytest.mark.parametrize("name", FUZZED)
def test_an_example_is_recognised_and_lands_whole(target, name):
    assert getattr(recognise(EXAMPLES[name]), "name", None) == name
    outcome = target.land(name, EXAMPLES[name].read_bytes())
    assert (outcome.status, outcome.records_rejected) == ("loaded", 0)


# --- bytes ------------------------------------------------------------------------------------------------------------

ODD = [
    b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\r", b"\n", b"\n\n", b'"', b"{", b"}", b"[", b"]", b",", b"\\",
    b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-", b"9" * 30, b"PAR1", b"null", "\u2028".encode(), "é".encode(),
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, other: bytes = b"") -> bytes:
    """A file with up to four bits of damage: flipped, cut out, put in, doubled, cut off, or of another file."""
    content = whole
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        to = min(at + draw(st.one_of(st.integers(1, 8), st.integers(1, 4000))), len(content))
        kind = draw(st.sampled_from(["flip", "delete", "insert", "double", "truncate", "splice", "insert odd"]))
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
        elif kind == "delete":
            content = content[:at] + content[to:]
        elif kind == "insert":
            content = content[:at] + draw(st.binary(min_size=1, max_size=12)) + content[at:]
        elif kind == "insert odd":
            content = content[:at] + draw(st.sampled_from(ODD)) + content[at:]
        elif kind == "double":
            content = content[:to] + content[at:]
        elif kind == "truncate":
            content = content[:at]
        elif kind == "splice":
            content = content[:at] + other[draw(st.integers(0, len(other))) :][: to - at] + content[at:]
    return content


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_bytes_are_refused_or_read(target, name):
    whole = EXAMPLES[name].read_bytes()
    others = st.sampled_from([EXAMPLES[each].read_bytes() for each in FUZZED])

    @fuzzed
    @given(others.flatmap(lambda other: damaged(whole, other)), st.sampled_from(["plain"] * 4 + ["gzip", "cut gzip"]))
    @example(b"", "plain")
    @example(b"\n", "plain")
    @example(b"\x00" * 64, "plain")
    @example(b"[" * 100_000, "plain")
    @example(b'{"a":' * 100_000, "plain")
    @example(whole.replace(b"\n", b"\r\n"), "plain")
    @example(b"\xef\xbb\xbf" + whole, "plain")
    @example(whole.decode("latin-1").encode("utf-16"), "plain")
    @example(whole * 2, "gzip")
    @example(whole, "cut gzip")
    def check(content: bytes, packing: str) -> None:
        packed = content if packing == "plain" else gzip.compress(content, mtime=0)
        target.land(name, packed[: len(packed) * 2 // 3] if packing == "cut gzip" else packed)

    check()


@pytest.mark.parametrize("name", [name for name in LINES if name in FUZZED])
def test_lines_that_were_not_touched_land_as_before(target, name):
    lines = EXAMPLES[name].read_bytes().splitlines(keepends=True)

    @fuzzed
    @given(st.integers(1, len(lines)).flatmap(lambda at: st.tuples(st.just(at), damaged(lines[at - 1], lines[0]))))
    @example((1, b""))
    @example((len(lines), b"\xff\xfe"))
    def check(drawn: tuple[int, bytes]) -> None:
        touched, line = drawn
        target.land(name, b"".join(lines))
        before = target.rows(name, without_line=touched)
        alone = re.sub(rb"[\r\n]", b" ", line) + b"\n"
        target.land(name, b"".join([*lines[: touched - 1], alone, *lines[touched:]]))
        assert target.rows(name, without_line=touched) == before

    check()


# --- the structure of JSON --------------------------------------------------------------------------------------------

_SPOKEN = {"@deep@": "[" * 3000 + "]" * 3000, "@deep object@": '{"a":' * 3000 + "1" + "}" * 3000,
           "@huge@": "9" * 400, "@huge exponent@": "1e400", "@minus zero@": "-0", "@nan@": "NaN"}  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 1.5, -0.0, 1e308, "", " ",
    "0", "-1", "NaN", "Infinity", "9" * 40, "1.5", "true", "\ud800", "\x00", "\U0010ffff", "x" * 10_000,
    "2024-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0000-00-00", [], {}, [[]], [{}], [None], {"": None},
    {"a": {"b": []}}, *_SPOKEN,
]  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in below for found in _paths(each, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """The value with what stands at `path` replaced by what `change` makes of its parent and key."""
    if not path:
        return change
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = _changed(copy[key], tuple(rest), change)
    elif change == "@drop@":
        del copy[key]
    elif change == "@twice@":
        if isinstance(copy, dict):
            copy[f"@again@{key}"] = 1
        else:
            copy.insert(key, copy[key])
    else:
        copy[key] = change
    return copy


def _text(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"))
    for spoken, meant in _SPOKEN.items():
        text = text.replace(f'"{spoken}"', meant)
    return text.replace('"@again@', '"').encode()


@pytest.mark.parametrize("name", JSON)
def test_json_of_another_structure_is_refused_or_read(target, name):
    content = EXAMPLES[name].read_bytes()
    documents = [json.loads(each) for each in (content.splitlines() if b"\n" in content else [content])]
    changes = st.sampled_from([*VALUES, "@drop@", "@drop@", "@twice@"])
    places = st.integers(0, len(documents) - 1).flatmap(
        lambda at: st.tuples(st.just(at), st.sampled_from(_paths(documents[at])), changes)
    )

    @fuzzed
    @given(st.lists(places, min_size=1, max_size=3))
    def check(drawn: list[tuple[int, tuple[Any, ...], Any]]) -> None:
        changed = list(documents)
        for at, path, change in drawn:
            try:
                changed[at] = _changed(changed[at], path, change)
            except (KeyError, IndexError, TypeError, AttributeError):
                continue  # an earlier change took the place away
        target.land(name, b"\n".join(map(_text, changed)) + b"\n" * (len(changed) > 1))

    check()


def test_the_harness_sees_a_crash(target, monkeypatch):
    def broken(stream, _options):
        next(iter(stream), None)
        raise RecursionError("too deep")
        yield

    monkeypatch.setitem(FORMATS, "deploys", replace(FORMATS["deploys"], batches=broken))
    with pytest.raises(AssertionError, match="too deep"):
        target.land("deploys", b"[]")
