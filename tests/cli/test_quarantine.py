"""What was refused can be found, read whole, exported, and read again."""

import csv
import gzip
import io
import json

import pytest

from dagster_project.warehouse import quarantine as writing
from tests.cli.conftest import span

LONG = b'{"x": "' + b"y" * 6000 + b'"'
FORMULA = b"=cmd|' /C calc'!A0"


@pytest.fixture
def refused(hindcast):
    lines = [span(1).strip(), FORMULA, LONG, b"\xff\xfe", span(2).strip()]
    (hindcast.folder / "a.jsonl").write_bytes(b"\n".join(lines))
    (hindcast.folder / "b.jsonl.gz").write_bytes(gzip.compress(span(3) + b"nonsense\n" * 3))
    hindcast.declare((hindcast.project.sources_file).read_text().replace("*.jsonl", "*.jsonl*"))
    said = hindcast("load", code=0)
    assert "hindcast quarantine list --load 1" in said
    return hindcast


def test_refusals_are_counted_by_load_and_reason(refused):
    said = refused("quarantine", "list")
    assert "2 traces otlp_traces data/in/b.jsonl.gz not_json 3 2" in said
    assert "a.jsonl" in said
    assert "a.jsonl" not in refused("quarantine", "list", "--since-load", "1")
    assert "b.jsonl" not in refused("quarantine", "list", "--load", "1")
    assert "nothing of that" in refused("quarantine", "list", "--reason", "span_id_zero")
    assert "b.jsonl" in refused("quarantine", "list", "--path", "data/in/b.jsonl.gz", "--source", "traces")
    assert "only the first 1 are" in refused("quarantine", "list", "--limit", "1")


def test_exports_start_no_formula(refused):
    refused("quarantine", "list", "--records", "--load", "1", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(refused.stdout.decode())))
    assert [row["line"] for row in rows] == ["2", "3", "4"]
    assert rows[0]["raw"] == "'" + FORMULA.decode()
    refused("quarantine", "list", "--records", "--load", "1", "--format", "json")
    assert json.loads(refused.stdout)[0]["raw"] == FORMULA.decode()


def test_a_refused_line_is_shown_with_all_that_is_known_and_whole(refused):
    said = refused("quarantine", "show", "1:3")
    assert f"raw_bytes {len(LONG)}" in said
    for line, content in ((2, FORMULA), (3, LONG), (4, b"\xff\xfe")):
        refused("quarantine", "show", f"1:{line}", "--raw")
        assert refused.stdout == content
    assert refused("quarantine", "show", "2").count("b.jsonl.gz") == 3


def test_a_line_that_was_not_kept_is_read_from_its_file_while_that_is_the_same(hindcast, monkeypatch):
    monkeypatch.setattr(writing, "LINE_KEPT_BYTES", 100)
    path = hindcast.folder / "a.jsonl"
    path.write_bytes(span(1) + LONG + b"\n" + span(2))
    hindcast("load")
    hindcast("quarantine", "show", "1:2", "--raw")
    assert hindcast.stdout == LONG
    path.write_bytes(span(1))
    assert "the file is gone or has other bytes" in hindcast("quarantine", "show", "1:2", "--raw", code=2)


@pytest.mark.parametrize("which", ["x", "1:", "1:2:3:4", ""])
def test_what_is_no_place_is_told(refused, which):
    assert "LOAD:LINE" in refused("quarantine", "show", which, code=2)


def test_what_is_not_there_is_told(refused):
    assert "nothing of 9:9 is in quarantine" in refused("quarantine", "show", "9:9", code=2)
    assert "say which" in refused("quarantine", "retry", code=2)
    assert "no format" in refused("load", str(refused.folder), "--format", "xml", code=2)


def test_files_are_read_again_as_their_sources_declare_them_now(hindcast):
    path = hindcast.folder / "a.jsonl"
    path.write_bytes(span(1) + b"nonsense\n" * 30)
    assert "30 of 31 records were refused" in hindcast("load", code=2)
    assert "failed when load 1 read it" in hindcast("load", code=2)
    assert "1 failed before" in hindcast("sources", "check", "traces", code=2)
    assert "withdrawn 1 good records" in hindcast("doctor")
    assert "0 landed, 31 refused otlp_traces data/in/a.jsonl" in hindcast("quarantine", "retry", "--all", "--dry-run")
    hindcast.declare(hindcast.project.sources_file.read_text().replace("optional", "max_refused_share: 1, optional", 1))
    said = hindcast("quarantine", "retry", "--reason", "mostly_refused")
    assert "0 landed, 31 refused -> 1 landed, 30 refused" in said
    assert "took the place of load 1" in said
    assert "mostly_refused" not in hindcast("quarantine", "list")


def test_a_file_that_no_source_declares_any_more_is_allowed_what_it_was(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1) + b"nonsense\n" * 30)
    sources = hindcast.project.sources_file.read_text()
    hindcast.declare(sources.replace("optional", "max_refused_share: 1, optional", 1))
    hindcast("load")
    hindcast.declare(sources.replace("*.jsonl", "*.none"))
    assert "1 landed, 30 refused -> 1 landed, 30 refused" in hindcast("quarantine", "retry", "--all")


def test_files_that_are_gone_or_other_are_skipped(refused):
    (refused.folder / "a.jsonl").unlink()
    (refused.folder / "b.jsonl.gz").write_bytes(gzip.compress(span(9)))
    said = refused("quarantine", "retry", "--all")
    assert "a.jsonl: the file is gone" in said
    assert "b.jsonl.gz: the file has other bytes now" in said
    assert "nothing to read again" in said
