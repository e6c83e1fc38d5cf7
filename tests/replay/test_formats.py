import csv
import io
import json
import re

import pyarrow.parquet as pq
import pytest

from dagster_project.replay import formats, scratch
from dagster_project.replay.query import replay
from dagster_project.rule_language import load_catalogue, read_inline

FILE = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans:
      - {name: a, service: =cmd(), trace: t1, attributes: {note: "=1+1", n: -5}}
      - {name: a, service: "[bold]x", trace: t2, at: 1s, attributes: {note: "\uff1d1", n: 2.50}}
      - {name: a, trace: t3, at: 2s}
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""


@pytest.fixture
def found():
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": FILE}).rules[0].examples[0])
    yield replay(
        connection,
        read_inline('title: Notes never: any(span("a")) report: {note: first(span().note), n: first(span().n)}'),
    )
    connection.close()


def test_json_has_what_an_investigation_asks_for(found):
    told = json.loads(formats.render(found, "json"))
    assert told["violations"] == 3
    assert told["first_violation"] == "2024-01-01T00:00:00Z"
    assert told["last_violation"] == "2024-01-01T00:00:02Z"
    assert [one["n"] for one in told["affected"]] == [-5, 2.5, None]
    assert told["affected"][0]["witness"][0]["span_id"] == f"{1:016x}"
    assert told["confidence"] == "exhaustive scan: every violation of what was received"
    assert told["certificate"]["spans_scanned"] == 3
    assert "leaves no mark" in told["certificate"]["undetectable_loss_note"]


def test_csv_names_traces_and_spans_as_tracing_tools_do(found):
    row = next(csv.DictReader(io.StringIO(formats.render(found, "csv"))))
    assert re.fullmatch(r"[0-9a-f]{32}", row["trace_ids"])
    assert row["scope_key"] == row["trace_ids"]
    assert row["witness"] == f"{row['trace_ids']}:{1:016x}"


def test_csv_cells_run_no_formula(found):
    rows = list(csv.DictReader(io.StringIO(formats.render(found, "csv"))))
    assert [row["note"] for row in rows] == ["'=1+1", "'\uff1d1", ""]
    assert [row["n"] for row in rows] == ["-5", "2.5", ""]
    assert rows[0]["service_names"] == "'=cmd()"
    assert rows[0]["first_span_at"] == "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("cell", "inert"),
    [
        ("-5", "-5"),
        ("-5e3", "-5e3"),
        ("-5+1", "'-5+1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("  =x", "'  =x"),
        ("x=1", "x=1"),
    ],
)
def test_what_a_spreadsheet_would_run_gets_a_quote(cell, inert):
    assert formats.inert(cell) == inert


def test_the_table_shows_counts_and_takes_no_markup(found):
    shown = formats.render(found, "table")
    assert "3 violated, 0 satisfied, 0 inconclusive, 0 not applicable" in shown
    assert "[bold]x" in shown
    assert "every violation of what was received" in shown


def test_parquet_carries_its_certificate(found, tmp_path):
    formats.export(found, "parquet", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.num_rows == 3
    assert json.loads(table.schema.metadata[b"hindcast.certificate"])["violated"] == 3


def test_export_writes_what_is_rendered(found, tmp_path):
    formats.export(found, "csv", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == formats.render(found, "csv")


@pytest.mark.parametrize(
    ("format_", "message"),
    [("html", "--format html --export DIR"), ("xlsx", "`xlsx` is no format"), ("parquet", "--export FILE")],
)
def test_other_formats_are_refused(found, format_, message):
    with pytest.raises(formats.FormatNotSupported, match=message):
        formats.render(found, format_)


def test_an_export_that_fails_leaves_what_was_there(found, tmp_path, monkeypatch):
    target = tmp_path / "x.csv"
    target.write_text("before")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(formats, "render", fail)
    with pytest.raises(KeyboardInterrupt):
        formats.export(found, "csv", target)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.csv", "before")]


@pytest.mark.parametrize("width", [30, 60, 100, 200])
def test_a_scope_is_shown_whole_at_any_width_that_holds_it(found, width):
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(formats.as_table(found, width))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    assert (scratch.trace_uuid("t1").hex in shown) == (width >= 60)
