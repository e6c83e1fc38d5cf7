"""Syslog: RFC 5424 with structured data, RFC 3164 with its missing year, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.logs import syslog
from dagster_project.sources.registry import FORMATS

TRACE = "7311d8a3c2ce6f447ed4d57b1e2feb89"
SPAN = "a6cecc1b78e51061"


@pytest.fixture
def land_lines(land_bytes, monkeypatch):
    """`land_lines(*lines, **options)`: what became of a file of these lines."""

    def landed(*lines, **options):
        monkeypatch.setitem(FORMATS, "syslog", syslog.FORMAT.with_options(ReadOptions(**options)))
        return land_bytes("syslog", "\n".join(lines).encode(errors="surrogateescape") + b"\n")

    return landed


def test_the_examples_of_rfc_5424(land_lines):
    landed = land_lines(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed for someone",
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time.",
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
        '[exampleSDID@32473 iut="3" eventSource="Application"][examplePriority@32473 class="high"]',
        "<0>1 2003-10-11T22:14:15Z - - - - -",
    )
    first, second, third, fourth = landed.rows
    assert (first["severity_number"], first["severity_text"], first["service_name"]) == (18, "crit", "su")
    assert first["body"] == "'su root' failed for someone"
    assert json.loads(first["attributes"]) == {"syslog.facility": 4, "syslog.msgid": "ID47"}
    assert json.loads(first["resource_attributes"]) == {"host.name": "mymachine.example.com", "service.name": "su"}
    assert second["occurred_at"].isoformat() == "2003-08-24T12:14:15.000003"
    assert json.loads(second["attributes"]) == {"syslog.facility": 20, "syslog.procid": "8710"}
    assert json.loads(third["attributes"])["syslog.structured_data"] == {
        "exampleSDID@32473": {"iut": "3", "eventSource": "Application"},
        "examplePriority@32473": {"class": "high"},
    }
    assert third["body"] is None
    assert (fourth["severity_number"], fourth["service_name"], fourth["resource_attributes"]) == (21, None, None)


def test_the_year_of_rfc_3164_is_the_source_s_and_goes_on_over_new_year(land_lines):
    landed = land_lines(
        "<13>Dec 30 10:00:00 host app[7]: a",
        "Dec 31 23:59:59.5 host app: b",
        "Jan  1 00:00:00 host app: c",
        "Dec 31 23:59:59 host app: written late",
        "Jan  2 00:00:00 host app: d",
        "Mar  1 00:00:00 host app: e",
        "Feb 28 23:59:59 host app: written late",
        "Feb 29 00:00:00 host app: f",
        "Dec 31 00:00:00 host app: g",
        "Jan  1 00:00:00 host app: h",
        year=2022,
        time_zone="Europe/Berlin",
    )
    assert [row["occurred_at"].isoformat() for row in landed.rows] == [
        "2022-12-30T09:00:00", "2022-12-31T22:59:59.500000", "2022-12-31T23:00:00", "2022-12-31T22:59:59",
        "2023-01-01T23:00:00", "2023-02-28T23:00:00", "2023-02-28T22:59:59", "2023-12-30T23:00:00",
        "2023-12-31T23:00:00",
    ]  # fmt: skip
    assert landed.reasons == [(8, 1, "time_malformed")]
    first, second = landed.rows[:2]
    assert (first["severity_number"], first["service_name"], first["body"]) == (10, "app", "a")
    assert (second["severity_number"], second["severity_text"]) == (0, None)
    assert json.loads(first["attributes"]) == {"syslog.facility": 1, "syslog.procid": "7"}


def test_years_are_counted_across_blocks(tmp_path):
    months = ("Nov", "Dec", "Jan", "Mar", "Dec", "Jan")
    path = tmp_path / "file"
    path.write_bytes("".join(f"{month}  3 10:00:00 host app: {'x' * 1000}\n" * 5000 for month in months).encode())
    found = []
    for batch in syslog.FORMAT.batches(ByteStream(path), ReadOptions(year=2021)):
        found += batch.tables["log_records"].column("occurred_ns").to_pylist()
    years = {1970 + int(ns // 1e9 / 31556952) for ns in found}
    assert (len(found), years) == (30_000, {2021, 2022, 2023})
    assert found == sorted(found)


def test_without_a_year_the_detail_says_what_to_declare(land_lines):
    landed = land_lines("Dec 30 10:00:00 host app: a", "Dec 30 2022 10:00:00 host app: b")
    assert landed.reasons == [(1, 1, "time_malformed")]
    assert "declare `year:`" in landed.refusals[0]["detail"]
    assert landed.rows[0]["occurred_at"].isoformat() == "2022-12-30T10:00:00"


def test_the_iso_times_of_rsyslog_are_read(land_lines):
    (row,) = land_lines("2023-01-29T08:44:04.123456+01:00 host app[1]: hi there").rows
    assert (row["occurred_at"].isoformat(), row["service_name"], row["body"]) == (
        "2023-01-29T07:44:04.123456", "app", "hi there",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rest", "trace", "span"),
    [
        (f"- failed trace_id={TRACE} span_id={SPAN} end", TRACE, SPAN),
        (f'- {{"traceId": "{TRACE.upper()}", "spanId":"{SPAN}"}}', TRACE, SPAN),
        (f"- traceparent: 00-{TRACE}-{SPAN}-01", TRACE, SPAN),
        (f'[ctx@1 trace_id="{TRACE}" span_id="{SPAN}"] x', TRACE, SPAN),
        (f"- trace_id={SPAN}", SPAN.zfill(32), None),
        (f"- trace_id={TRACE}ff", None, None),
        (f"- trace_id={'0' * 32} span_id={'0' * 16}", None, None),
        (f"- {TRACE}", None, None),
    ],
)
def test_trace_context_is_found_in_text(land_lines, rest, trace, span):
    (row,) = land_lines(f"<13>1 2023-01-29T08:44:04Z h a - - {rest}").rows
    assert (row["trace_id"] and row["trace_id"].hex) == trace
    assert row["span_id"] == (span and int(span, 16))


@pytest.mark.parametrize(
    ("line", "record", "reason"),
    [
        ("garbage", None, "row_malformed"),
        ("<13>", None, "row_malformed"),
        ("52 <13>1 2023-01-29T08:44:04Z h a - - - octet-counted", None, "row_malformed"),
        ('<13>1 2023-01-29T08:44:04Z h a - - [x a="open] m', None, "row_malformed"),
        ("<192>1 2023-01-29T08:44:04Z h a - - - m", 1, "field_malformed"),
        ("<13>1 - h a - - - m", 1, "time_missing"),
        ("<13>1 2023-13-29T08:44:04Z h a - - - m", 1, "time_malformed"),
        ("<13>1 0001-01-29T08:44:04Z h a - - - m", 1, "time_out_of_range"),
        ("Feb 30 10:00:00 h a: m", 1, "time_malformed"),
        ("<13>1 2023-01-29T08:44:04Z h a - - - \udcff", None, "not_utf8"),
    ],
)
def test_a_bad_line_is_refused_alone(land_lines, line, record, reason):
    good = "<13>1 2023-01-29T08:44:04Z h a - - - m"
    landed = land_lines(good, line, "", good, year=2023)
    assert [row["line"] for row in landed.rows] == [1, 4]
    assert landed.reasons == [(2, record, reason)]


def test_the_source_s_service_is_taken_before_the_program(land_lines):
    (row,) = land_lines("<13>1 2023-01-29T08:44:04Z h a - - - m", service_name="declared").rows
    assert (row["service_name"], json.loads(row["resource_attributes"])["service.name"]) == ("declared", "a")


def written(elements: list[tuple[str, list[tuple[str, str]]]]) -> str:
    """Structured data as RFC 5424 writes it."""
    if not elements:
        return "-"
    text = ""
    for name, parameters in elements:
        text += f"[{name}"
        for key, value in parameters:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
            text += f' {key}="{escaped}"'
        text += "]"
    return text


NAMES = st.text(alphabet="abcXYZ019@.-_", min_size=1, max_size=8)
VALUES = st.text(alphabet=st.sampled_from('ab "]\\[=é\t<>{}n1'), max_size=12)
ELEMENTS = st.lists(st.tuples(NAMES, st.lists(st.tuples(NAMES, VALUES), max_size=4)), max_size=3)


@settings(max_examples=40, deadline=None)
@given(elements=ELEMENTS, message=st.text(alphabet='ab []"=-\\é', max_size=10))
def test_structured_data_is_read_as_it_was_written(tmp_path_factory, elements, message):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(f"<13>1 2023-01-29T08:44:04Z h a - - {written(elements)} {message}\n".encode())
    (batch,) = syslog.FORMAT.batches(ByteStream(path), ReadOptions())
    (row,) = batch.tables["log_records"].to_pylist()
    found = json.loads(row["attributes"], object_pairs_hook=list)[1:]
    expected = [["syslog.structured_data", [[n, [list(p) for p in ps]] for n, ps in elements]]] if elements else []
    assert json.loads(json.dumps(found)) == expected
    assert (row["body"] or "") == message


TEXTS = st.text(alphabet='<13>1 2023-01-29T08:44:04Z h a[]-"=\n', max_size=300).map(str.encode)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=300) | TEXTS)
def test_no_bytes_end_a_load(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(b"\n" + content)
    for _ in syslog.FORMAT.batches(ByteStream(path), ReadOptions(year=2023)):
        pass


@pytest.mark.parametrize(
    ("head", "is_known"),
    [
        (b"<34>1 2003-10-11T22:14:15.003Z host su - ID47 - x\n", True),
        (b"<34>Oct 11 22:14:15 host su: x\n", True),
        (b"Oct  1 22:14:15 host kernel: x\n", True),
        (b"2023-01-29T08:44:04.123456+01:00 host app[1]: hi\n", True),
        (b"2023-01-29T08:44:04.123456789+01:00 stdout F hi: x\n", False),
        (b"<html><body>\n", False),
        (b"Oct 11 was a day\n", False),
    ],
)
def test_a_file_is_known_by_its_first_line(head, is_known):
    assert syslog.FORMAT.recognises(head) is is_known
