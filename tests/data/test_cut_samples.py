"""The cutting script on a recording of a few records, and the samples it left in the checkout against their READMEs."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import sys
import zipfile
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data/samples"
IMPOSSIBLE = "-6795364578871345152"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cut_samples", SAMPLES / "cut_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cut_samples"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


cut = load_script()


def ns(clock: str) -> str:
    at = datetime.fromisoformat(f"2023-01-29T{clock}+00:00")
    return str(int(at.timestamp()) * 10**9)


def span(trace: str, number: int, clock: str) -> dict[str, str]:
    return {"traceId": trace * 32, "spanId": f"{number:016x}", "name": "GET", "startTimeUnixNano": ns(clock)}


def request(kind: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    resources, scopes, name = {
        "spans": ("resourceSpans", "scopeSpans", "spans"),
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    }[kind]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "ts-a"}}]}
    return {resources: [{"resource": resource, scopes: [{"scope": {}, name: records}]}]}


def pack(path: Path, *documents: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(document) + b"\n" for document in documents)))


def records_of(path: Path, scopes: str, name: str) -> list[list[dict[str, Any]]]:
    """The records of each line."""
    found = []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        (resource,) = next(iter(orjson.loads(line).values()))
        found.append(resource[scopes][0][name])
    return found


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One incident paged at 10:00:00 (window 09:57:50 to 10:02:00) and a quiet stretch 09:00 to 09:01."""
    folder = tmp_path / "recording"
    a = span("a", 1, "10:01:59")  # inside
    b_late, b_early = span("b", 2, "10:00:10"), span("b", 3, "09:57:40")  # began before the window: left whole
    c_early, c_late = span("c", 4, "10:01:50"), span("c", 5, "10:02:30")  # began inside: kept whole
    d = span("d", 6, "09:00:30")  # quiet
    e = span("e", 7, "10:02:00")  # the end is not in the window
    pack(
        folder / "traces.otlp.jsonl.gz",
        request("spans", [a, a, b_late, c_late]),
        request("spans", [b_early, c_early, d, e]),
    )
    log = {"body": {"stringValue": "x"}}
    pack(
        folder / "logs.otlp.jsonl.gz",
        request(
            "logs",
            [
                log | {"traceId": "a" * 32, "timeUnixNano": IMPOSSIBLE},
                log | {"traceId": "b" * 32, "timeUnixNano": ns("10:00:10")},
                log | {"timeUnixNano": ns("10:00:20")},
                log | {"timeUnixNano": ns("12:00:00")},
            ],
        ),
    )
    seconds = [int(ns(clock)) // 10**9 for clock in ("09:43:59", "09:44:00", "10:04:59", "10:05:00")]
    series = [
        {"metric": {"__name__": "cpu"}, "values": [[at, "1"] for at in seconds]},
        {"metric": {"__name__": "cpu", "pod": "far"}, "values": [[seconds[0], "1"]]},
    ]
    body = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    pack(folder / "metrics/cpu.json.gz", body)
    incident = {
        "incident_id": "INC-1",
        "title": "Slow",
        "severity": "P2",
        "service": "ts-ui",
        "created_at": "2023-01-29T10:00:00Z",
        "resolved_at": "2023-01-29T10:02:00Z",
    }
    (folder / "incidents.json").write_bytes(orjson.dumps([incident, incident | {"incident_id": "INC-2"}]))
    (folder / "LICENSE").write_text("MIT\n")
    return folder


QUIET = (datetime(2023, 1, 29, 9, 0, tzinfo=UTC), datetime(2023, 1, 29, 9, 1, tzinfo=UTC))


def run(recording: Path, out: Path) -> dict[str, int]:
    counts: dict[str, int] = cut.cut_trainticket(recording, out, wanted=["INC-1"], quiet=QUIET)
    return counts


def test_traces_are_kept_or_left_whole_and_repeats_stay(recording: Path, tmp_path: Path) -> None:
    counts = run(recording, tmp_path / "out")
    spans = list(chain.from_iterable(records_of(tmp_path / "out/traces.otlp.jsonl.gz", "scopeSpans", "spans")))
    assert [(s["traceId"][0], int(s["spanId"], 16)) for s in spans] == [
        ("a", 1),
        ("a", 1),
        ("c", 5),
        ("c", 4),
        ("d", 6),
    ]
    assert counts["traces"] == 3
    assert counts["spans"] == 5


def test_logs_go_with_their_trace_and_impossible_times_stay(recording: Path, tmp_path: Path) -> None:
    run(recording, tmp_path / "out")
    logs = list(chain.from_iterable(records_of(tmp_path / "out/logs.otlp.jsonl.gz", "scopeLogs", "logRecords")))
    assert [record["timeUnixNano"] for record in logs] == [IMPOSSIBLE, ns("10:00:20")]


def test_lines_hold_at_most_a_batch(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "BATCH", 2)
    run(recording, tmp_path / "out")
    batches = records_of(tmp_path / "out/traces.otlp.jsonl.gz", "scopeSpans", "spans")
    assert [len(batch) for batch in batches] == [2, 1, 2]


def test_metrics_are_cut_to_a_half_open_window_and_empty_series_left_out(recording: Path, tmp_path: Path) -> None:
    counts = run(recording, tmp_path / "out")
    body = orjson.loads(gzip.decompress((tmp_path / "out/metrics/cpu.json.gz").read_bytes()))
    (series,) = body["data"]["result"]
    clocks = [datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") for at, _ in series["values"]]
    assert clocks == ["09:44:00", "10:04:59"]
    assert counts["points"] == 2


def test_two_runs_write_the_same_bytes(recording: Path, tmp_path: Path) -> None:
    def hashes(out: Path) -> dict[str, str]:
        run(recording, out)
        files = sorted(file for file in out.rglob("*") if file.is_file())
        return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    first = hashes(tmp_path / "one")
    assert first == hashes(tmp_path / "two")
    assert len(first) == 8


def test_pagerduty_entries_belong_to_the_incident_and_follow_its_clock(recording: Path, tmp_path: Path) -> None:
    run(recording, tmp_path / "out")
    (incident,) = orjson.loads((tmp_path / "out/pagerduty/incidents.json").read_bytes())["incidents"]
    entries = orjson.loads((tmp_path / "out/pagerduty/log_entries.json").read_bytes())["log_entries"]
    assert incident["incident_key"] == "INC-1"
    assert {entry["incident"]["id"] for entry in entries} == {incident["id"]}
    at = {entry["type"]: entry["created_at"] for entry in entries}
    assert incident["created_at"] == at["trigger_log_entry"]
    assert at["trigger_log_entry"] < at["acknowledge_log_entry"] < at["resolve_log_entry"]
    assert incident["resolved_at"] == at["resolve_log_entry"]


def test_versions_of_a_service_follow_each_other() -> None:
    incidents = [{"incident_id": f"INC-{n}", "created_at": "2023-01-29T10:00:00Z"} for n in range(5)]
    running: dict[str, str] = {}
    deploys = cut.drawn_deploys(["one", "two"], incidents)
    assert [deploy["deployed_at"] for deploy in deploys] == sorted(deploy["deployed_at"] for deploy in deploys)
    for deploy in deploys:
        assert deploy["previous_version"] == running.get(deploy["service"], deploy["previous_version"])
        if deploy["status"] == "succeeded":
            running[deploy["service"]] = deploy["version"]
    assert {deploy["status"] for deploy in deploys} <= {"succeeded", "failed"}


def test_a_missing_incident_is_named(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(cut.UnusableRecording, match=r"incidents\.json: no incident INC-9"):
        cut.cut_trainticket(recording, tmp_path / "out", wanted=["INC-9"], quiet=QUIET)


def test_a_folder_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(cut.UnusableRecording, match=r"no incidents\.json"):
        cut.cut_trainticket(tmp_path, tmp_path / "out")


def ticket_log(path: Path) -> None:
    """40 tickets of two rows each: priorities 1 and 3 by turns, every fourth pair without an end."""
    rows = ["number,priority,opened_at,category,category,resolved_at"]
    for number in range(40):
        priority = "1" if number % 2 else "3"
        opened = f"{1 + number // 2}/3/2016 10:00"
        resolved = "?" if number % 8 in (0, 1) else "30/3/2016 11:00"
        rows += [f"INC{number},{priority},{opened},a,b,?", f"INC{number},{priority},{opened},a,b,{resolved}"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("log/incident_event_log.csv", "\r\n".join(rows) + "\r\n")


def test_tickets_are_drawn_by_priority_half_and_outcome(tmp_path: Path) -> None:
    ticket_log(tmp_path / "log.zip")
    rows, tickets = cut.cut_tickets(tmp_path / "log.zip", tmp_path / "out.csv.gz", {"1": 8, "3": 8})
    assert (rows, tickets) == (32, 16)
    content = gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode()
    header, *kept = csv.reader(content.splitlines())
    assert header.count("category") == 2
    assert content.endswith("\r\n")
    last = {row[0]: row for row in kept}
    for priority in "13":
        chosen = [row for row in last.values() if row[1] == priority]
        assert len(chosen) == 8
        assert sum(int(row[2].split("/")[0]) > 10 for row in chosen) == 4
        assert sum(row[5] == "?" for row in chosen) == 2


def test_an_archive_without_a_table_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(cut.UnusableRecording, match=r"no \.csv"):
        cut.cut_tickets(tmp_path / "log.zip", tmp_path / "out.csv.gz", {"1": 1})


def test_the_trainticket_readme_counts_what_is_there() -> None:
    folder = SAMPLES / "trainticket"
    readme = (folder / "README.md").read_text()
    spans = list(chain.from_iterable(records_of(folder / "traces.otlp.jsonl.gz", "scopeSpans", "spans")))
    logs = list(chain.from_iterable(records_of(folder / "logs.otlp.jsonl.gz", "scopeLogs", "logRecords")))
    points = []
    for file in (folder / "metrics").iterdir():
        body = orjson.loads(gzip.decompress(file.read_bytes()))
        points += [value for series in body["data"]["result"] for _at, value in series["values"]]
    repeats = len(spans) - len({(s["traceId"], s["spanId"]) for s in spans})
    impossible = sum(record["timeUnixNano"] == IMPOSSIBLE for record in logs)
    assert f"{len(spans):,} spans in {len({s['traceId'] for s in spans}):,} traces" in readme
    assert f"{len(logs):,} log records" in readme
    assert f"{len(points):,} points" in readme
    assert f"{sum(value.lower() == 'nan' for value in points):,} metric points are NaN" in readme
    assert f"{repeats:,} spans repeat" in readme
    assert f"{impossible} log records carry a time in the year 1754" in readme
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 6_000_000


def test_the_servicenow_readme_counts_what_is_there() -> None:
    folder = SAMPLES / "servicenow"
    readme = (folder / "README.md").read_text()
    content = gzip.decompress((folder / "incident_event_log.csv.gz").read_bytes()).decode()
    header, *rows = csv.reader(content.splitlines())
    last = {row[0]: row for row in rows}
    priority, resolved = header.index("priority"), header.index("resolved_at")
    assert f"{len(rows):,} rows, every update of {len(last):,} incidents" in readme
    for level, wanted in cut.TICKETS.items():
        assert sum(row[priority] == level for row in last.values()) == wanted
    unresolved = [sum(r[priority] == level and r[resolved] == "?" for r in last.values()) for level in "34"]
    assert "({} of priority 3, {} of priority 4)".format(*unresolved) in readme


def test_the_samples_do_not_say_what_was_broken() -> None:
    assert not [file for file in SAMPLES.rglob("*") if "truth" in file.name]
    truth = orjson.loads((ROOT / "tests/end_to_end/trainticket_truth.json").read_bytes())
    sampled = orjson.loads((SAMPLES / "trainticket/incidents.json").read_bytes())
    assert [row["incident_id"] for row in truth] == [row["incident_id"] for row in sampled]
    assert len({row["fault_type"] for row in truth}) == 3
