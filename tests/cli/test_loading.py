"""`hindcast load`: sources and paths, how paths are read, and what is said of each file."""

import pytest

from dagster_project.warehouse.connection import connect
from tests.cli.conftest import span


def spans(hindcast):
    with connect(hindcast.project.warehouse_file) as connection:
        return connection.execute("select count(*), count(distinct span_id) from raw.spans").fetchall()[0]


def test_a_file_that_grew_and_one_that_changed_are_told(hindcast):
    grown, changed = hindcast.folder / "grown.jsonl", hindcast.folder / "changed.jsonl"
    grown.write_bytes(span(1))
    changed.write_bytes(span(10))
    hindcast("load")
    grown.write_bytes(span(1) + span(2))
    changed.write_bytes(span(11))
    said = hindcast("load")
    assert "grown.jsonl: took the place of load 2" in said
    assert "changed.jsonl: holds other bytes than load 1 read here; both are kept" in said
    assert spans(hindcast) == (4, 4)


def test_one_source_alone_is_loaded(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    assert "a.jsonl" not in hindcast("load", "--source", "incidents", "--dry-run")
    assert "a.jsonl" in hindcast("load", "--source", "traces", "--dry-run")
    assert "did you mean" in hindcast("load", "--source", "trace", code=2)
    assert "not both" in hindcast("load", "--source", "traces", str(hindcast.folder), code=2)


def test_a_path_that_a_source_declares_is_read_as_it_says(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    hindcast("load", str(hindcast.folder))
    with connect(hindcast.project.warehouse_file) as connection:
        assert connection.execute("select source, path from audit.loads").fetchall() == [("traces", "data/in/a.jsonl")]
    assert "took the place" not in hindcast("load")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory-limit", "much"], "no size"),
        (["--memory-limit", "1MB"], "too little"),
        (["--time-zone", "Mars/Base"], "no time zone"),
        (["--field", "x"], "NAME=THEIRS"),
        (["--format", "otlp_trace"], "did you mean"),
        (["--format", "otlp_traces", "--year", "2024"], "year: not heeded by otlp_traces"),
    ],
)
def test_what_cannot_be_meant_is_told(hindcast, arguments, message):
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    said = hindcast("load", str(hindcast.folder), *arguments, code=2).replace("│", " ")
    assert message in " ".join(said.split())


def test_how_to_read_is_not_said_of_sources(hindcast):
    assert "data/sources.yml" in hindcast("load", "--format", "otlp_traces", code=2)


def test_a_path_of_no_known_format_is_read_as_the_one_that_is_said(hindcast):
    path = hindcast.project.root / "empty"
    path.write_bytes(b"?\n")
    assert "--format NAME" in hindcast("load", str(path), code=2)
    assert "everything was refused" in hindcast("load", str(path), "--format", "otlp_traces", code=2)
