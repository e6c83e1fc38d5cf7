"""Whole folders of recordings land, and every count is that of the standard library's own reading of the files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_project.sources.recognition import recognise_all
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import land

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", ROOT.parent / "shared" / "data"))

# What no format should take: papers, and the answers to questions that the data is there to ask.
NOT_DATA = {"LICENSE", "README.md", "target.json", "ground_truth.json", "graph.csv"}


def plain(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode()


def otlp(path: Path, root: str, scopes: str, records: str) -> int:
    text = plain(path)
    documents = [json.loads(text)] if text.startswith("{\n") else [json.loads(line) for line in text.splitlines()]
    return sum(
        len(scope[records]) for document in documents for resource in document[root] for scope in resource[scopes]
    )


def data_points(path: Path) -> tuple[int, int]:
    """Points that are a number, and points that are histograms; a summary is a point a quantile, a sum and a count."""
    numbers = histograms = 0
    for resource in json.loads(plain(path))["resourceMetrics"]:
        for metric in (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]):
            for kind in ("gauge", "sum"):
                numbers += len(metric.get(kind, {}).get("dataPoints", []))
            for kind in ("histogram", "exponentialHistogram"):
                histograms += len(metric.get(kind, {}).get("dataPoints", []))
            for point in metric.get("summary", {}).get("dataPoints", []):
                numbers += len(point.get("quantileValues", [])) + 2
    return numbers, histograms


def zipkin_spans(path: Path) -> int:
    def count(value: Any) -> int:
        return sum(map(count, value)) if isinstance(value, list) else 1

    return count(json.loads(plain(path)))


def wide_points(path: Path) -> int:
    """Filled cells below the header's rows, the first column left out."""
    rows = list(csv.reader(io.StringIO(plain(path))))
    body = rows[next(n for n, row in enumerate(rows) if row[0] == "unix_timestamp") + 1 :]
    return sum(cell != "" for row in body for cell in row[1:])


def csv_rows(text: str) -> int:
    return sum(1 for _ in csv.reader(io.StringIO(text))) - 1


def zipped_rows(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return csv_rows(archive.read(name).decode())


def expected(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """Each file with the table that it lands in and how many records it has."""
    trainticket = folder / "trainticket-2023-01-29"
    yield trainticket / "traces.otlp.jsonl.gz", "raw.spans", 333_738
    yield trainticket / "logs.otlp.jsonl.gz", "raw.logs", 175_211
    yield trainticket / "incidents.json", "raw.incidents", 28
    for path in sorted((trainticket / "metrics").iterdir()):
        yield (
            path,
            "raw.metric_points",
            sum(len(series["values"]) for series in json.loads(plain(path))["data"]["result"]),
        )
    for path in sorted((folder / "petshop-low-traffic").rglob("metrics.csv")):
        yield path, "raw.metric_points", wide_points(path)
    for path in sorted((folder / "zipkin-traces").glob("*.json")):
        yield path, "raw.spans", zipkin_spans(path)
    examples = folder / "otlp-examples"
    yield examples / "trace.json", "raw.spans", otlp(examples / "trace.json", "resourceSpans", "scopeSpans", "spans")
    for name in ("logs.json", "events.json"):
        yield examples / name, "raw.logs", otlp(examples / name, "resourceLogs", "scopeLogs", "logRecords")
    numbers, histograms = data_points(examples / "metrics.json")
    yield examples / "metrics.json", "raw.metric_points", numbers
    yield examples / "metrics.json", "raw.metric_histograms", histograms
    for name in ("deploys.csv.gz", "rollbacks.csv"):
        yield folder / "govuk-deploys" / name, "raw.deploys", csv_rows(plain(folder / "govuk-deploys" / name))
    tickets = folder / "servicenow-incidents" / "incident_event_log.zip"
    yield tickets, "raw.tickets", zipped_rows(tickets)


@pytest.mark.skipif(
    not (RECORDINGS / "zipkin-traces").is_dir(), reason="the recordings are absent: set HINDCAST_RECORDINGS"
)
def test_every_folder_lands_whole_and_what_is_no_data_is_left_out(tmp_path: Path) -> None:
    found = recognise_all([RECORDINGS])
    assert {each.path.name for each in found.left_out} == NOT_DATA
    want = list(expected(RECORDINGS))
    assert {file.path for file in found.files} == {path for path, _, _ in want}
    with connect(tmp_path / "all.duckdb") as connection:
        migrate(connection)
        summary = land(connection, found.files)
        assert [(each.path, each.message) for each in summary.with_status("failed")] == []
        landed = Counter[tuple[Path, str]]()
        for table in sorted({table for _, table, _ in want}):
            for path, rows in connection.execute(
                f"select path, count(*) from {table} join audit.loads using (load_id) group by path"
            ).fetchall():
                landed[Path(path), table] = rows
        refused = Counter({Path(each.path): each.records_rejected for each in summary.files if each.records_rejected})
    received = {key: landed[key] + (refused[key[0]] if key[1] != "raw.metric_histograms" else 0) for key in landed}
    assert received == {(path.resolve(), table): count for path, table, count in want if count}
    # Log records of the year 1754; halves of Zipkin spans that carry no time. Nothing else is refused.
    assert refused == {
        (RECORDINGS / "trainticket-2023-01-29" / "logs.otlp.jsonl.gz").resolve(): 45,
        (RECORDINGS / "zipkin-traces" / "smartthings-mobile-web-install.json").resolve(): 84,
    }
