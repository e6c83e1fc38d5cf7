"""The ledger's promises: the same bytes never twice, all of a file or nothing, whatever ends the process."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp import otlp_lines, otlp_traces
from dagster_project.sources.recognition import recognise_all
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse import landing, personal_data, quarantine
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land

ROOT = Path(__file__).parents[2]
RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", ROOT.parent / "shared" / "data"))
SPAN = {"traceId": "5b8efff798038103d269b633813fc60c", "startTimeUnixNano": "1674981600000000000"}


def spans(count: int, day_ns: int = 1674981600 * 10**9, first: int = 1) -> bytes:
    """`count` lines of one span each."""
    found = [
        SPAN | {"spanId": f"{n:016x}", "startTimeUnixNano": str(day_ns + n), "endTimeUnixNano": str(day_ns + n + 1)}
        for n in range(first, first + count)
    ]
    return b"".join(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode() + b"\n" for span in found
    )


@pytest.fixture
def warehouse():
    with connect(":memory:") as connection:
        migrate(connection)
        yield connection


def traces(path: Path, content: bytes | None = None) -> InputFile:
    if content is not None:
        path.write_bytes(content)
    return InputFile(path, FORMATS["otlp_traces"])


def everything(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    names = (
        "raw.metric_histograms",
        "raw.changes",
        "raw.spans",
        "raw.logs",
        "raw.metric_points",
        "raw.incidents",
        "raw.tickets",
        "raw.deploys",
    )
    clocks = "exclude (started_at, finished_at)"
    found = {name: connection.execute(f"select * from {name} order by all").fetchall() for name in names}
    found["loads"] = connection.execute(f"select * {clocks} from audit.loads order by all").fetchall()
    found["quarantine"] = connection.execute("select * from audit.quarantine order by all").fetchall()
    return found


def test_bytes_that_failed_as_one_format_land_as_another(warehouse, tmp_path):
    right = traces(tmp_path / "a.jsonl", spans(3))
    (wrong,) = land(warehouse, [InputFile(right.path, FORMATS["otlp_logs"])]).files
    (outcome,) = land(warehouse, [right]).files
    assert (wrong.status, outcome.status, outcome.records_landed) == ("failed", "loaded", 3)


def test_whatever_one_file_does_the_others_land(warehouse, tmp_path, monkeypatch):
    def explode(*_):
        raise RecursionError("too deep")

    bad, good = traces(tmp_path / "a.jsonl", spans(2)), traces(tmp_path / "b.jsonl", spans(3))
    whole = type(bad.format).open
    monkeypatch.setattr(
        type(bad.format), "open", lambda self, path: explode() if path == bad.path else whole(self, path)
    )
    summary = land(warehouse, [bad, good])
    assert [outcome.status for outcome in summary.files] == ["failed", "loaded"]
    assert "too deep" in summary.files[0].message


def test_the_ledger_says_what_was_read(warehouse, tmp_path):
    content = spans(3) + b"nonsense\n"
    file = InputFile(tmp_path / "a.jsonl", FORMATS["otlp_traces"], source="shop", recorded_as="landing/a.jsonl")
    file.path.write_bytes(content)
    (outcome,) = land(warehouse, [file]).files
    assert (outcome.records_read, outcome.records_landed, outcome.records_rejected) == (4, 3, 1)
    assert outcome.event_days == (date(2023, 1, 29),)
    (row,) = warehouse.execute(
        "select load_id, source, format, path, status, duplicate_of, file_bytes, decoded_bytes, message, "
        "length(sha256), finished_at >= started_at from audit.loads"
    ).fetchall()
    size = len(content)
    assert row == (1, "shop", "otlp_traces", "landing/a.jsonl", "loaded", None, size, size, None, 64, True)


def test_the_same_bytes_at_the_same_path_write_nothing(warehouse, tmp_path):
    file = traces(tmp_path / "a", spans(3))
    land(warehouse, [file])
    before = everything(warehouse)
    (outcome,) = land(warehouse, [file]).files
    assert (outcome.status, outcome.load_id) == ("unchanged", None)
    assert everything(warehouse) == before


def test_the_same_bytes_under_another_name_leave_one_row_once(warehouse, tmp_path):
    land(warehouse, [traces(tmp_path / "a", spans(3))])
    rows = everything(warehouse)["raw.spans"]
    copy = traces(tmp_path / "b", spans(3))
    assert [outcome.status for outcome in land(warehouse, [copy, copy]).files] == ["duplicate", "unchanged"]
    assert everything(warehouse)["raw.spans"] == rows
    assert warehouse.execute(
        "select status, duplicate_of, records_read from audit.loads order by load_id"
    ).fetchall() == [
        ("loaded", None, 3),
        ("duplicate", 1, 0),
    ]


def test_empty_files_are_empty_each(warehouse, tmp_path):
    files = [traces(tmp_path / name, b"") for name in "ab"]
    assert [outcome.status for outcome in land(warehouse, files).files] == ["empty", "empty"]
    assert [outcome.status for outcome in land(warehouse, files).files] == ["unchanged", "unchanged"]


def test_new_bytes_at_an_old_path_are_a_new_load(warehouse, tmp_path):
    land(warehouse, [traces(tmp_path / "a", spans(2))])
    (outcome,) = land(warehouse, [traces(tmp_path / "a", spans(2, first=10))]).files
    assert (outcome.status, outcome.load_id, outcome.records_landed) == ("loaded", 2, 2)


def grown(first: bytes, more: bytes, packed: bool) -> tuple[bytes, bytes]:
    return (gzip.compress(first), gzip.compress(first) + gzip.compress(more)) if packed else (first, first + more)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_has_grown_replaces_what_it_landed(warehouse, tmp_path, packed):
    next_day = (1674981600 + 86400) * 10**9
    before, after = grown(spans(30) + b"nonsense\n", spans(20, next_day, first=100), packed)
    land(warehouse, [traces(tmp_path / "a", before)])
    (outcome,) = land(warehouse, [traces(tmp_path / "a", after)]).files
    assert (outcome.status, outcome.replaces, outcome.changed_from) == ("loaded", 1, None)
    assert (outcome.records_landed, outcome.records_rejected) == (50, 1)
    assert outcome.event_days == (date(2023, 1, 29), date(2023, 1, 30))
    found = warehouse.execute("select count(*), count(distinct span_id), min(load_id) from raw.spans").fetchall()
    assert found == [(50, 50, 2)]
    assert warehouse.execute("select load_id, line from audit.quarantine").fetchall() == [(2, 31)]
    assert warehouse.execute(
        "select load_id, replaces, superseded_by, records_landed from audit.loads order by load_id"
    ).fetchall() == [(1, None, 2, 30), (2, 1, None, 50)]
    assert land(warehouse, [traces(tmp_path / "a")]).files[0].status == "unchanged"


def test_a_file_that_grows_night_by_night_is_there_once(warehouse, tmp_path):
    for night in range(1, 5):
        (outcome,) = land(warehouse, [traces(tmp_path / "a", spans(10 * night))]).files
        assert outcome.replaces == (night - 1 or None)
    assert warehouse.execute("select count(*), count(distinct span_id) from raw.spans").fetchall() == [(40, 40)]


def test_an_open_line_of_a_growing_file_is_read_when_it_is_whole(warehouse, tmp_path):
    whole = spans(3)
    (first,) = land(warehouse, [traces(tmp_path / "a", whole[:-20])]).files
    (second,) = land(warehouse, [traces(tmp_path / "a", whole)]).files
    assert (first.records_landed, first.records_rejected) == (2, 1)
    assert (second.records_landed, second.records_rejected, second.replaces) == (3, 0, 1)
    assert warehouse.execute("select count(*) from audit.quarantine").fetchall() == [(0,)]


@pytest.mark.parametrize("status", ["empty", "failed"])
def test_a_new_reading_that_finds_nothing_leaves_the_good_rows_and_is_tried_once(warehouse, tmp_path, status):
    path = tmp_path / "a.jsonl"
    path.write_bytes(LOGS)
    as_logs = InputFile(path, FORMATS["json_lines"])
    land(warehouse, [as_logs])
    empty = replace(as_logs.format, batches=lambda _stream, _options: iter(()), options=ReadOptions(year=2023))
    wrong = replace(as_logs, format={"empty": empty, "failed": FORMATS["otlp_traces"]}[status])
    (outcome,) = land(warehouse, [wrong]).files
    assert (outcome.status, outcome.records_landed, outcome.replaces) == (status, 0, None)
    assert "what load 1 landed of these bytes before stays" in outcome.message
    before = everything(warehouse)
    assert {load_id for load_id, *_ in before["raw.logs"]} == {1}
    assert land(warehouse, [wrong]).files[0].load_id is None
    assert everything(warehouse) == before
    (mended,) = land(warehouse, [replace(as_logs, format=zoned("Asia/Seoul"))]).files
    assert (mended.status, mended.replaces) == ("loaded", 2)
    assert {load_id for load_id, *_ in everything(warehouse)["raw.logs"]} == {3}


LOGS = b"".join(
    b'{"timestamp": "2023-01-29T23:30:00", "message": "m%d", "user": "someone", "service": "shop",'
    b' "key": "k%d", "changed_at": "2023-01-29T23:30:00Z"}\n' % (n, n)
    for n in range(30)
)


def zoned(time_zone: str) -> Format:
    return FORMATS["json_lines"].with_options(ReadOptions(time_zone=time_zone))


def test_a_copy_of_what_failed_is_no_copy(warehouse, tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(LOGS)
    named = FORMATS["json_lines"].with_options(ReadOptions(fields={"occurred_at": "when"}))
    files = [InputFile(tmp_path / name, named) for name in "ab"]
    assert [outcome.status for outcome in land(warehouse, files).files] == ["failed", "failed"]
    (mended,) = land(warehouse, [InputFile(tmp_path / "b", FORMATS["json_lines"])]).files
    assert (mended.status, mended.records_landed) == ("loaded", 30)


def test_a_copy_that_is_read_in_another_way_takes_the_place_of_the_first(warehouse, tmp_path, monkeypatch):
    monkeypatch.setenv(personal_data.KEY_VARIABLE, "k" * 20)
    for name in "abc":
        (tmp_path / name).write_bytes(LOGS)
    a, b, c = (InputFile(tmp_path / name, zoned("Asia/Seoul")) for name in "abc")
    b = replace(b, personal_data=("user",))
    first, second, third = land(warehouse, [a, b, replace(c, personal_data=("user",))]).files
    assert (first.status, second.status, second.replaces, third.status) == ("loaded", "loaded", 1, "duplicate")
    assert f"load 1 read the same bytes at {a.ledger_path} in another way" in second.message
    rows = warehouse.execute("select load_id, attributes from raw.logs").fetchall()
    assert {load_id for load_id, _ in rows} == {2}
    assert not any("someone" in str(attributes) for _, attributes in rows)
    before = everything(warehouse)
    assert {outcome.status for outcome in land(warehouse, [a, b]).files} == {"unchanged"}, "they do not take turns"
    assert everything(warehouse) == before
    (again,) = land(warehouse, [b], again=True).files
    assert (again.status, again.replaces, again.records_landed) == ("loaded", 2, 30)


def test_a_copy_of_what_is_read_as_another_table_now_is_no_copy(warehouse, tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(LOGS)
    land(warehouse, [InputFile(tmp_path / "a", FORMATS["json_lines"])])
    land(warehouse, [InputFile(tmp_path / "a", FORMATS["configuration_changes"])])
    assert warehouse.execute("select count(*) from raw.logs").fetchall() == [(0,)]
    (outcome,) = land(warehouse, [InputFile(tmp_path / "b", FORMATS["json_lines"])]).files
    assert (outcome.status, outcome.records_landed) == ("loaded", 30)


def test_the_days_of_a_load_are_those_of_its_own_rows(warehouse, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(LOGS)
    land(warehouse, [InputFile(path, zoned("UTC"))])
    (outcome,) = land(warehouse, [InputFile(path, zoned("America/New_York"))]).files
    assert outcome.event_days == (date(2023, 1, 30),)
    assert warehouse.execute("select event_days from audit.loads order by load_id").fetchall() == [
        ([date(2023, 1, 29)],), ([date(2023, 1, 30)],),
    ]  # fmt: skip


def test_other_bytes_at_a_path_are_kept_beside_the_first_and_told(warehouse, tmp_path):
    land(warehouse, [traces(tmp_path / "a", spans(2))])
    (outcome,) = land(warehouse, [traces(tmp_path / "a", spans(2, first=10))]).files
    assert (outcome.changed_from, outcome.replaces) == (1, None)
    assert warehouse.execute("select count(*) from raw.spans").fetchall() == [(4,)]
    (third,) = land(warehouse, [traces(tmp_path / "a", spans(9, first=10))]).files
    assert (third.replaces, third.changed_from) == (2, None), "the second content has grown"
    assert warehouse.execute("select count(distinct span_id) from raw.spans").fetchall() == [(11,)]


def test_a_file_that_is_read_in_another_way_now_replaces_its_rows(warehouse, tmp_path):
    file = traces(tmp_path / "a", spans(4))
    land(warehouse, [file])
    other = replace(file, format=file.format.with_options(ReadOptions(service_name="cart")))
    (outcome,) = land(warehouse, [other]).files
    assert (outcome.status, outcome.replaces) == ("loaded", 1)
    assert warehouse.execute("select load_id, count(*) from raw.spans group by all").fetchall() == [(2, 4)]
    assert land(warehouse, [other]).files[0].status == "unchanged"
    assert land(warehouse, [file]).files[0].replaces == 2, "and back again"


def test_old_content_that_came_back_is_read_in_the_new_way_once(warehouse, tmp_path):
    first, second = spans(4), spans(4, first=50)
    for content in (first, second, first):
        land(warehouse, [traces(tmp_path / "a", content)])
    other = FORMATS["otlp_traces"].with_options(ReadOptions(service_name="cart"))
    (outcome,) = land(warehouse, [InputFile(tmp_path / "a", other)]).files
    assert (outcome.status, outcome.replaces) == ("loaded", 1)
    assert warehouse.execute("select count(*), count(distinct span_id) from raw.spans").fetchall() == [(8, 8)]


def test_a_file_that_is_read_as_another_format_now_is_not_there_twice(warehouse, tmp_path):
    path = tmp_path / "points.json"
    path.write_text(
        '{"status": "success", "data": {"resultType": "matrix", "result":'
        ' [{"metric": {"__name__": "up"}, "values": [[1704067200, "1"]]}]}}'
    )
    prometheus = InputFile(path, FORMATS["prometheus"])
    other = replace(prometheus, format=replace(FORMATS["prometheus"], name="prometheus_differently"))
    for file, replaces in ((prometheus, None), (other, 1), (prometheus, 2)):
        (outcome,) = land(warehouse, [file]).files
        assert (outcome.status, outcome.records_landed, outcome.replaces) == ("loaded", 1, replaces)
        assert warehouse.execute("select count(*) from raw.metric_points").fetchall() == [(1,)]
    assert land(warehouse, [prometheus]).files[0].status == "unchanged"


def test_known_bytes_are_read_again_when_asked(warehouse, tmp_path):
    file = traces(tmp_path / "a", spans(4) + b"nonsense\n")
    land(warehouse, [file])
    (outcome,) = land(warehouse, [file], again=True).files
    assert (outcome.load_id, outcome.replaces, outcome.records_landed, outcome.records_rejected) == (2, 1, 4, 1)
    assert warehouse.execute("select load_id, count(*) from raw.spans group by all").fetchall() == [(2, 4)]
    assert warehouse.execute("select load_id from audit.quarantine").fetchall() == [(2,)]


def test_a_file_that_is_mostly_refused_lands_nothing(warehouse, tmp_path):
    (outcome,) = land(warehouse, [traces(tmp_path / "a", spans(19) + b"nonsense\n" * 20)]).files
    assert (outcome.status, outcome.records_read) == ("failed", 39), "the good ones that were taken back, too"
    assert (outcome.records_landed, outcome.records_rejected) == (0, 39)
    assert quarantine.withdrawn(warehouse) == 19
    assert (
        "20 of 39"
        in warehouse.execute("select detail from audit.quarantine where reason = 'mostly_refused'").fetchall()[0][0]
    )
    assert warehouse.execute("select count(*) from raw.spans").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("good", "bad", "share", "status"),
    [(1, 19, 0.5, "loaded"), (20, 20, 0.5, "loaded"), (19, 20, 0.5, "failed"), (19, 20, 0.6, "loaded"),
     (300, 20, 0.05, "failed"), (0, 5, 1, "failed")],
)  # fmt: skip
def test_the_share_that_may_be_refused_is_the_sources_and_few_refusals_say_nothing(
    warehouse, tmp_path, good, bad, share, status
):
    file = traces(tmp_path / "a", spans(good) + b"nonsense\n" * bad)
    (outcome,) = land(warehouse, [replace(file, max_refused_share=share)]).files
    assert outcome.status == status
    assert outcome.records_read == outcome.records_landed + outcome.records_rejected
    ((refused,),) = warehouse.execute("select count(*) from audit.quarantine").fetchall()
    is_withdrawn = status == "failed" and good > 0
    assert outcome.records_read == good + bad
    assert refused == bad + is_withdrawn, "one row stands for all that were taken back"


def test_a_file_that_failed_stays_failed_until_more_may_be_refused(warehouse, tmp_path):
    file = traces(tmp_path / "a", spans(19) + b"nonsense\n" * 20)
    land(warehouse, [file])
    before = everything(warehouse)
    for share in (0.5, 0.51, 0.1):
        (outcome,) = land(warehouse, [replace(file, max_refused_share=share)]).files
        assert (outcome.status, outcome.load_id, outcome.failed_before) == ("failed", None, 1)
        assert "failed when load 1 read it: 20 of 39" in outcome.message
        assert "hindcast quarantine retry" in outcome.message
    assert everything(warehouse) == before
    (outcome,) = land(warehouse, [replace(file, max_refused_share=0.52)]).files
    assert (outcome.status, outcome.records_landed, outcome.replaces) == ("loaded", 19, 1)


def test_what_a_source_says_of_a_known_file_is_noted(warehouse, tmp_path):
    file = replace(traces(tmp_path / "a", spans(2)), source="shop", tenant="one", sampling_ratio=0.5)
    land(warehouse, [file])
    for other in (replace(file, tenant="two", sampling_ratio=None), replace(file, source="command line", tenant=None)):
        assert land(warehouse, [other]).files[0].status == "unchanged"
        assert warehouse.execute("select tenant, sampling_ratio from audit.loads").fetchall() == [("two", None)]


def test_a_file_that_vanishes_does_not_stop_the_others(warehouse, tmp_path, monkeypatch):
    files = [traces(tmp_path / name, spans(1, first=n)) for n, name in enumerate("ab", start=1)]
    land(warehouse, files[:1])
    plan = landing._plan

    def vanishes(connection, file, *arguments, **options):
        found = plan(connection, file, *arguments, **options)
        (tmp_path / "a").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(landing, "_plan", vanishes)
    assert [outcome.status for outcome in land(warehouse, files).files] == ["unchanged", "loaded"]
    assert [outcome.status for outcome in land(warehouse, files).files] == ["failed", "unchanged"]


def test_an_error_quotes_no_value_of_a_source_with_personal_data(warehouse, tmp_path, monkeypatch):
    monkeypatch.setenv(personal_data.KEY_VARIABLE, "k" * 20)

    def quotes(*_):
        raise ValueError("could not convert 'someone@example.org'")

    file = traces(tmp_path / "a", spans(1))
    monkeypatch.setattr(landing, "_land_rows", quotes)
    (hidden,) = land(warehouse, [replace(file, personal_data=("user",))]).files
    assert "ValueError" in hidden.message
    assert "someone" not in hidden.message
    assert "someone" in land(warehouse, [file]).files[0].message


@pytest.mark.parametrize("archive", ["a-1", "z"])
def test_a_file_that_was_moved_to_make_room_was_not_rewritten(warehouse, tmp_path, archive):
    land(warehouse, [traces(tmp_path / "n", spans(3))])
    (tmp_path / "n").rename(tmp_path / archive)
    files = [traces(tmp_path / "n", spans(2, first=10)), traces(tmp_path / archive)]
    outcomes = land(warehouse, sorted(files, key=lambda file: file.path)).files
    assert {outcome.status: outcome.changed_from for outcome in outcomes} == {"loaded": None, "duplicate": None}
    assert warehouse.execute("select count(*), count(distinct span_id) from raw.spans").fetchall() == [(5, 5)]


def test_a_grown_file_that_is_mostly_refused_leaves_the_good_rows(warehouse, tmp_path):
    good = spans(10)
    land(warehouse, [traces(tmp_path / "a", good)])
    (bad,) = land(warehouse, [traces(tmp_path / "a", good + b"nonsense\n" * 50)]).files
    assert bad.status == "failed"
    assert "load 1 landed" in bad.message
    assert warehouse.execute("select load_id, count(*) from raw.spans group by all").fetchall() == [(1, 10)]
    (mended,) = land(warehouse, [replace(traces(tmp_path / "a"), max_refused_share=1.0)], again=True).files
    assert (mended.status, mended.records_landed, mended.replaces) == ("loaded", 10, 2)
    assert warehouse.execute("select load_id, count(*) from raw.spans group by all").fetchall() == [(3, 10)]
    assert warehouse.execute("select distinct load_id from audit.quarantine").fetchall() == [(3,)]
    assert warehouse.execute("select load_id, superseded_by from audit.loads order by all").fetchall() == [
        (1, 3), (2, 3), (3, None),
    ]  # fmt: skip


LINES = [b"\xff\xfe no text", b'{"x": "' + b"y" * 5000 + b'"}', b"short", spans(1).strip()]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_refused_line_is_found_at_its_place_and_kept_whole(warehouse, tmp_path, pack, mark):
    content = mark + b"\n".join(LINES)
    file = traces(tmp_path / "a", pack(content))
    land(warehouse, [file], quarantine_dir=tmp_path / "kept")
    found = warehouse.execute(
        "select line, byte_offset, raw_bytes, raw_file, raw from audit.quarantine order by line"
    ).fetchall()
    assert [line for line, *_ in found] == [1, 2, 3]
    for line, offset, size, kept, raw in found:
        assert content[offset : offset + size] == LINES[line - 1]
        if line == 3:
            assert (kept, raw) == (None, "short"), "the table says all of it"
        else:
            assert (tmp_path / "kept" / kept).read_bytes() == LINES[line - 1]


def test_the_folder_of_refused_lines_has_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "LINE_KEPT_BYTES", 10_000)
    monkeypatch.setattr(quarantine, "FOLDER_LIMIT_BYTES", 25_000)
    folder = quarantine.Folder(tmp_path, "f" * 64)
    assert folder.keep(1, b"x" * 10_001) is None
    kept = [folder.keep(line, b"x" * 10_000) for line in (2, 3, 4)]
    assert kept == [f"{'f' * 16}/2.raw", f"{'f' * 16}/3.raw", None]
    assert folder.keep(5, b"x" * 4999) == f"{'f' * 16}/5.raw", "a smaller one still fits"
    assert quarantine.Folder(None, "f" * 64).keep(1, b"\xff") is None


def test_event_days_are_those_of_the_landed_records(warehouse, tmp_path):
    next_day = (1674981600 + 86400) * 10**9
    (outcome,) = land(warehouse, [traces(tmp_path / "a", spans(2) + spans(1, next_day))]).files
    assert outcome.event_days == (date(2023, 1, 29), date(2023, 1, 30))


def test_a_file_that_cannot_be_read_does_not_stop_the_others(warehouse, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no zip")
    summary = land(
        warehouse, [traces(tmp_path / "gone"), traces(tmp_path / "bad.zip"), traces(tmp_path / "a", spans(1))]
    )
    assert [outcome.status for outcome in summary.files] == ["failed", "failed", "loaded"]
    assert "gone" in (summary.files[0].message or "")
    assert summary.has_failed
    assert warehouse.execute("select status from audit.loads order by load_id").fetchall() == [("failed",), ("loaded",)]
    assert warehouse.execute("select reason from audit.quarantine").fetchall() == [("corrupt_zip",)]


def test_a_file_that_is_written_to_meanwhile_leaves_nothing(warehouse, tmp_path):
    file = traces(tmp_path / "a", spans(3))

    def grow(*_: object) -> None:
        with file.path.open("ab") as open_file:
            open_file.write(b"\n")

    (outcome,) = land(warehouse, [file], progress=grow).files
    assert outcome.status == "failed"
    assert "while it was read" in (outcome.message or "")
    assert not any(everything(warehouse).values())
    assert land(warehouse, [file]).files[0].status == "loaded"


def test_an_error_in_the_middle_leaves_nothing_and_no_thread(warehouse, tmp_path, monkeypatch):
    file = traces(tmp_path / "a", spans(50_000))
    decoded, calls = otlp_lines._decoded, []

    def fails_at_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the disk is gone")
        return decoded(*arguments)

    monkeypatch.setattr(otlp_lines, "_decoded", fails_at_the_second)
    import threading

    before = threading.active_count()
    (outcome,) = land(warehouse, [file]).files
    assert "the disk is gone" in (outcome.message or "")
    assert not any(everything(warehouse).values())
    assert threading.active_count() == before


def test_progress_ends_at_the_whole_file(warehouse, tmp_path):
    seen = []
    land(warehouse, [traces(tmp_path / "a", spans(30_000))], progress=lambda *given: seen.append(given[1:]))
    size = (tmp_path / "a").stat().st_size
    assert seen[-1] == (size, size, 30_000)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert len(seen) > 1


def test_memory_does_not_grow_with_the_file(warehouse, tmp_path):
    small_blocks = replace(
        FORMATS["otlp_traces"], batches=lambda stream, _options: otlp_lines.batches(stream, otlp_traces.SIGNAL, 100_000)
    )
    path = tmp_path / "a.jsonl"
    path.write_bytes(spans(60_000))
    held = []
    land(warehouse, [InputFile(path, small_blocks)], progress=lambda *_: held.append(pa.total_allocated_bytes()))
    assert len(held) >= 10
    assert max(held[-3:]) < 2 * max(held[:4])


LAND = """
import sys
from pathlib import Path
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.recognition import recognise_all
from dagster_project.warehouse import quarantine
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import land
with connect(sys.argv[1]) as connection:
    migrate(connection)
    print("ready", flush=True)
    land(connection, recognise_all([Path(sys.argv[2])]).files)
"""


def run_landing(warehouse: Path, folder: Path, program: str = LAND) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(warehouse), str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_killed_landing_leaves_whole_files_and_running_again_gives_the_same(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(4):
        (folder / f"traces{n}.jsonl").write_bytes(spans(20_000, first=1 + n * 20_000) + b"nonsense\n")
    with run_landing(tmp_path / "undisturbed.duckdb", folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        assert process.wait() == 0
    whole = time.monotonic() - started
    chance = random.Random(7)
    interrupted = 0
    for _ in range(6):
        with run_landing(tmp_path / "killed.duckdb", folder) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, whole * 0.6))
            process.send_signal(signal.SIGKILL)
            interrupted += process.wait() == -signal.SIGKILL
        with connect(tmp_path / "killed.duckdb") as connection:
            rows = connection.execute("select count(*) from raw.spans").fetchall()[0][0]
            loads = connection.execute("select count(*) from audit.loads").fetchall()[0][0]
            refused = connection.execute("select count(*) from audit.quarantine").fetchall()[0][0]
        assert (rows, refused) == (20_000 * loads, loads)
    assert interrupted > 0
    with run_landing(tmp_path / "killed.duckdb", folder) as process:
        assert process.wait() == 0
    with connect(tmp_path / "killed.duckdb") as killed, connect(tmp_path / "undisturbed.duckdb") as undisturbed:
        assert everything(killed) == everything(undisturbed)


REPLACE = LAND.replace("    migrate(connection)\n", "").replace(
    'print("ready", flush=True)', 'print("ready", flush=True); connection.execute("set memory_limit = \'300MB\'")'
)


def test_a_killed_replacing_load_leaves_the_old_rows_or_the_new_ones(tmp_path):
    folder, warehouse = tmp_path / "in", tmp_path / "w.duckdb"
    folder.mkdir()
    file = folder / "traces.jsonl"
    file.write_bytes(spans(20_000) + b"nonsense\n")
    with run_landing(warehouse, folder) as process:
        assert process.wait() == 0
    file.write_bytes(spans(20_000) + b"nonsense\n" + spans(20_000, first=20_001) + b"nonsense\n")
    old, new, chance, interrupted = (20_000, 1, 1), (40_000, 2, 2), random.Random(11), 0
    for _ in range(5):
        with run_landing(warehouse, folder, REPLACE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            interrupted += process.wait() == -signal.SIGKILL
        with connect(warehouse) as connection:
            query = "select (select count(*) from raw.spans), (select count(*) from audit.quarantine), max(load_id)"
            (found,) = connection.execute(f"{query} from raw.spans").fetchall()
            assert found in (old, new)
            if found == new:
                break
    assert interrupted > 0
    with run_landing(warehouse, folder, REPLACE) as process:
        assert process.wait() == 0
    with connect(warehouse) as connection:
        assert connection.execute("select count(*), count(distinct span_id) from raw.spans").fetchall() == [
            (40_000, 40_000)
        ]


@pytest.mark.skipif(
    not (RECORDINGS / "trainticket-2023-01-29").is_dir(),
    reason="the full day's recordings are absent; set HINDCAST_RECORDINGS to their folder",
)
def test_the_full_day_has_the_counts_that_it_is_known_for(tmp_path):
    with connect(tmp_path / "day.duckdb") as connection:
        migrate(connection)
        folders = [RECORDINGS / "trainticket-2023-01-29", RECORDINGS / "servicenow-incidents"]
        found = recognise_all([folder for folder in folders if folder.is_dir()])
        summary = land(connection, found.files)
        read = dict(
            connection.execute(
                "select format, (sum(records_read), sum(records_rejected)) from audit.loads group by all"
            ).fetchall()
        )
        years = connection.execute(
            "select count(*), any_value(detail) from audit.quarantine join audit.loads using (load_id) "
            "where format = 'otlp_logs' and reason = 'time_out_of_range'"
        ).fetchall()
        repeats = connection.execute(
            "select count(*) - count(distinct (trace_id, span_id)), count(distinct trace_id) from raw.spans"
        ).fetchall()
    assert {left.path.name for left in found.left_out} == {"LICENSE", "ground_truth.json"}
    assert {outcome.status for outcome in summary.files} == {"loaded"}
    assert read.pop("servicenow", (141_712, 0)) == (141_712, 0)
    # 40,242 of the points are NaN, a quantile of no requests: they land as they are.
    assert read == {
        "otlp_traces": (333_738, 0),
        "otlp_logs": (175_211, 45),
        "prometheus": (807_801, 0),
        "incidents": (28, 0),
    }
    assert years == [(45, 'timeUnixNano = "-6795364578871345152"')]
    assert repeats == [(7_879, 4_551)]
