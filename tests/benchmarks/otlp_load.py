"""How fast OTLP/JSON traces land, and in how much memory. Run by hand:

    python tests/benchmarks/otlp_load.py [FILE.otlp.jsonl.gz]

FILE defaults to the full day's traces. Every figure comes from a process of its own, so that peak memory is that of one
load. The variants: the file as it is; four copies in one file (memory must not grow with it); the same spans at 20 a
line; the same with one line in a thousand broken; the same with span attributes that the recording lacks.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", ROOT.parent / "shared" / "data"))
FULL_DAY = RECORDINGS / "trainticket-2023-01-29" / "traces.otlp.jsonl.gz"
REPEATS = 3
SPANS_A_LINE = 20


# --- measured, each in a process of its own ---------------------------------------------------------------------------


def measure_loads(file: Path) -> dict[str, float]:
    """Plain `orjson.loads` of every line: what anybody's loader pays before it has done anything."""
    import orjson

    started, lines = time.perf_counter(), 0
    with gzip.open(file) as content:
        for line in content:
            lines += 1
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
    return measured(started) | {"lines": lines}


def measure_landing(file: Path) -> dict[str, float]:
    """`land` from the file on disk to the committed transaction, into a new warehouse on disk."""
    from dagster_project.sources.registry import FORMATS
    from dagster_project.warehouse.connection import connect, migrate
    from dagster_project.warehouse.landing import MEMORY_LIMIT, InputFile, land

    with (
        tempfile.TemporaryDirectory() as folder,
        connect(Path(folder) / "benchmark.duckdb", memory_limit=MEMORY_LIMIT) as connection,
    ):
        migrate(connection)
        at_start = peak_mib()
        started = time.perf_counter()
        (outcome,) = land(connection, [InputFile(file, FORMATS["otlp_traces"])]).files
        found = measured(started)
    if outcome.status != "loaded":
        raise SystemExit(f"{file}: {outcome.status}: {outcome.message}")
    return found | {
        "spans": outcome.records_landed,
        "rejected": outcome.records_rejected,
        "bytes": outcome.decoded_bytes,
        "at_start_mib": at_start,
    }


def measured(started: float) -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024**2)


def fresh(what: str, file: Path) -> dict[str, float]:
    """The median run of some, by seconds."""
    runs = []
    for _ in range(REPEATS):
        answer = subprocess.run(
            [sys.executable, __file__, what, str(file)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        runs.append(json.loads(answer.stdout))
    middle = statistics.median_low(run["seconds"] for run in runs)
    return next(run for run in runs if run["seconds"] == middle)


# --- variants ---------------------------------------------------------------------------------------------------------


def recut(file: Path, target: Path, *, broken: bool = False, attributes: bool = False) -> Path:
    """The spans again, `SPANS_A_LINE` a line; every thousandth line broken, or with six attributes a span."""
    with gzip.open(target, "wb", compresslevel=6) as out:
        for number, line in enumerate(short_lines(file, attributes=attributes), 1):
            out.write((line[:-9] if broken and number % 1000 == 0 else line) + b"\n")
    return target


def short_lines(file: Path, *, attributes: bool) -> Iterator[bytes]:
    with gzip.open(file) as content:
        for line in content:
            for resource_spans in json.loads(line)["resourceSpans"]:
                spans = resource_spans["scopeSpans"][0]["spans"]
                for first in range(0, len(spans), SPANS_A_LINE):
                    cut = spans[first : first + SPANS_A_LINE]
                    if attributes:
                        cut = [span | {"attributes": six_attributes(span["spanId"])} for span in cut]
                    scope = [{"scope": {}, "spans": cut}]
                    document = {"resourceSpans": [{"resource": resource_spans["resource"], "scopeSpans": scope}]}
                    yield json.dumps(document, separators=(",", ":")).encode()


def six_attributes(seed: str) -> list[dict[str, object]]:
    number = int(seed, 16)
    return [
        {"key": "http.request.method", "value": {"stringValue": ("GET", "POST")[number % 2]}},
        {"key": "http.route", "value": {"stringValue": f"/api/v1/orders/{number % 1000}"}},
        {"key": "http.response.status_code", "value": {"intValue": str(200 + number % 300)}},
        {"key": "retry", "value": {"boolValue": number % 3 == 0}},
        {"key": "ratio", "value": {"doubleValue": number % 997 / 7}},
        {"key": "tags", "value": {"arrayValue": {"values": [{"stringValue": seed[:4]}, {"stringValue": "b"}]}}},
    ]


def main(file: Path) -> None:
    """Measure every variant and print one line each."""
    if not file.is_file():
        raise SystemExit(f"{file} is absent: name a file, or set HINDCAST_RECORDINGS to the folder of the recordings")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fourfold = folder / "fourfold.jsonl.gz"
        fourfold.write_bytes(file.read_bytes() * 4)
        variants = {
            "as recorded": file,
            "four times": fourfold,
            f"{SPANS_A_LINE} spans a line": recut(file, folder / "short.jsonl.gz"),
            "0.1 % of lines broken": recut(file, folder / "broken.jsonl.gz", broken=True),
            "six attributes a span": recut(file, folder / "attributes.jsonl.gz", attributes=True),
        }
        print(f"{file.name}: {os.cpu_count()} cores, median of {REPEATS}, load {os.getloadavg()[0]:.1f}")  # noqa: T201
        print(  # noqa: T201
            f"{'variant':24}{'spans':>10}{'rejected':>9}{'MB':>7}{'s':>7}{'spans/s':>10}{'MB/s':>7}"
            f"{'CPU s':>7}{'peak MiB':>10}{'of it load':>11}{'orjson.loads s':>15}{'ratio':>7}"
        )
        for variant, path in variants.items():
            report(variant, fresh("landing", path), fresh("loads", path))


def report(variant: str, landing: dict[str, float], loads: dict[str, float]) -> None:
    """One line: the load beside `orjson.loads` of the same file."""
    seconds, megabytes = landing["seconds"], landing["bytes"] / 1e6
    print(  # noqa: T201
        f"{variant:24}{landing['spans']:10,.0f}{landing['rejected']:9,.0f}{megabytes:7.0f}{seconds:7.2f}"
        f"{landing['spans'] / seconds:10,.0f}{megabytes / seconds:7.0f}{landing['cpu_seconds']:7.1f}"
        f"{landing['peak_mib']:10.0f}{landing['peak_mib'] - landing['at_start_mib']:11.0f}"
        f"{loads['seconds']:15.2f}{seconds / loads['seconds']:7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["landing", path]:
            sys.path.insert(0, str(ROOT))
            print(json.dumps(measure_landing(Path(path))))  # noqa: T201
        case ["loads", path]:
            print(json.dumps(measure_loads(Path(path))))  # noqa: T201
        case [] | [_]:
            main(Path(sys.argv[1]) if sys.argv[1:] else FULL_DAY)
        case _:
            raise SystemExit(__doc__)
