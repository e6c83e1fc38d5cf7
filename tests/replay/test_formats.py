import csv
import dataclasses
import io
import json
import re

import duckdb
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dagster_project import wording
from dagster_project.replay import formats, scratch
from dagster_project.replay.formats import answers
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
def data():
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": FILE}).rules[0].examples[0])
    yield connection
    connection.close()


@pytest.fixture
def found(data):
    rule = 'title: Notes never: any(span("a")) report: {note: first(span().note), n: first(span().n)}'
    return replay(data, read_inline(rule))


def test_json_has_what_an_investigation_asks_for(found):
    told = json.loads(formats.render(found, "json"))
    assert told["violations"] == 3
    assert told["first_violation"] == "2024-01-01T00:00:00Z"
    assert told["last_violation"] == "2024-01-01T00:00:02Z"
    assert [one["reported"]["n"] for one in told["affected"]] == [-5, 2.5, None]
    assert told["affected"][0]["witness"][0]["span_id"] == f"{1:016x}"
    assert told["confidence"] == "exhaustive scan: every violation of what was received"
    assert told["certificate"]["spans_scanned"] == 3
    assert "leaves no mark" in told["certificate"]["undetectable_loss_note"]


def test_a_rule_may_report_under_the_names_of_the_answer(data):
    rule = """title: Notes never: any(span("a"))
        report: {scope_key: first(span().note), services: first(span().n), Witness: first(span().n)}"""
    found = replay(data, read_inline(rule.replace("\n", " ")))
    one = json.loads(formats.render(found, "json"))["affected"][0]
    assert one["scope_key"] == scratch.trace_uuid("t1").hex
    assert one["services"] == ["=cmd()"]
    assert one["reported"] == {"scope_key": "=1+1", "services": -5, "Witness": -5}
    row = next(csv.DictReader(io.StringIO(formats.render(found, "csv"))))
    assert row["scope_key"] == scratch.trace_uuid("t1").hex
    assert (row["reported_scope_key"], row["reported_services"], row["reported_Witness"]) == ("'=1+1", "-5", "-5")


def test_scopes_that_cannot_be_judged_are_listed_up_to_a_bound(found, monkeypatch):
    monkeypatch.setattr(answers, "MOST_INCONCLUSIVE", 2)
    monkeypatch.setattr(answers, "_AT_ONCE", 1)
    told = json.loads(formats.render(dataclasses.replace(found, inconclusive=found.violations), "json"))
    assert len(told["inconclusive"]) == 2
    assert told["inconclusive"] == told["affected"][:2]
    assert len(told["affected"]) == 3


def test_csv_names_traces_and_spans_as_tracing_tools_do(found):
    row = next(csv.DictReader(io.StringIO(formats.render(found, "csv"))))
    assert re.fullmatch(r"[0-9a-f]{32}", row["trace_ids"])
    assert row["scope_key"] == row["trace_ids"]
    assert row["witness"] == f"{row['trace_ids']}:{1:016x}"


def test_csv_cells_run_no_formula(found):
    rows = list(csv.DictReader(io.StringIO(formats.render(found, "csv"))))
    assert [row["note"] for row in rows] == ["'=1+1", "'\uff1d1", ""]
    assert [row["n"] for row in rows] == ["-5", "2.5", ""]
    assert rows[0]["services"] == "'=cmd()"
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
        ("|x", "'|x"),
        ("\xa0=1+1", "'\xa0=1+1"),
        ("\x0b=1", "'\x0b=1"),
        ("\x00=1", "'\x00=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b\uff1d1", "'\u200b\uff1d1"),
        ("\nx", "'\nx"),
        ("-5\n", "'-5\n"),
        ("-inf", "'-inf"),
        ("", ""),
    ],
)
def test_what_a_spreadsheet_would_run_gets_a_quote(cell, inert):
    assert wording.inert(cell) == inert
    rows = duckdb.sql("select $cell as cell", params={"cell": cell})
    assert rows.select(*formats.inert_columns(rows)).fetchall() == [(inert,)], "the engine writes the same"


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

    monkeypatch.setattr(formats, "write_csv", fail)
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


def test_nothing_from_outside_steers_the_terminal(data):
    rule = 'title: Notes group_by: note gap: 1h never: any(span("b")) report: {note: first(span().note)}'
    escape = FILE.replace(
        "name: a, trace: t3, at: 2s", 'name: b, service: "\\e[2J", trace: t3, attributes: {note: "\\e]0;x\\a"}'
    )
    scratch.fill(data, load_catalogue({"rules/x/x.yml": escape}).rules[0].examples[0])
    shown = formats.render(replay(data, read_inline(rule), with_investigation=True), "table")
    assert "\x1b" not in shown
    assert "⟨U+001B⟩]0;x⟨U+0007⟩" in shown
    assert "⟨U+001B⟩[2J" in shown


def test_an_answer_of_few_rows_counts_all(data):
    rule = read_inline('never: any(span("a"))')
    whole, few = replay(data, rule), replay(data, rule, most_rows=1)
    assert few.violations.equals(whole.violations.slice(0, 1))
    assert few.certificate.violated == 3
    assert few.last_violation_at == whole.last_violation_at


@pytest.mark.parametrize(("width", "headings"), [
    (120, "rule violated satisfied inconclusive first last"),
    (70, "rule violated satisfied inconclusive first"),
    (50, "rule violated satisfied inconclusive"),
])  # fmt: skip
def test_of_several_rules_no_name_and_no_count_is_cut(found, width, headings):
    table = formats.pack_table([found], [("broken-rule", "rules/x/broken-rule.yml: no")], {found.rule.id: ["nobody"]})
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    said = console.export_text()
    assert said.split("\n")[0].split() == headings.split()
    assert "…" not in said
    assert found.rule.id in said
    assert "broken-rule: failed: rules/x/broken-rule.yml: no" in " ".join(said.split())
    assert f"{found.rule.id}: nobody" in " ".join(said.split())
