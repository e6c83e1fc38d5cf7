"""The ledger's promises: the same bytes never twice, all of a file or nothing, whatever ends the process."""

from __future__ import annotations

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

from dagster_project.sources import otlp_lines, otlp_traces
from dagster_project.sources.recognition import recognise_all
from dagster_project.sources.registry import FORMATS
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
    names = ("raw.spans", "raw.logs", "raw.metric_points", "raw.incidents", "raw.tickets", "raw.deploys")
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
        FORMATS["otlp_traces"], batches=lambda stream: otlp_lines.batches(stream, otlp_traces.SIGNAL, 100_000)
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
from dagster_project.sources.recognition import recognise_all
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import land
with connect(sys.argv[1]) as connection:
    migrate(connection)
    print("ready", flush=True)
    land(connection, recognise_all([Path(sys.argv[2])]).files)
"""


def run_landing(warehouse: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LAND, str(warehouse), str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
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
