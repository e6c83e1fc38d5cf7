"""How fast files of every format land, beside a named baseline, and in how much memory. Run by hand:

    python tests/benchmarks/loads.py [--rows 1000000] [--repeats 3] [--only TEXT] [--files FOLDER]

Every figure comes from a process of its own, so that peak memory is that of one load. Load and baseline take turns: the
machine may be busy with something else, but with the same for both. The files are made by `generators.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import baselines  # noqa: E402
import generators  # noqa: E402
from measuring import Clock, Figures, middle, row  # noqa: E402


@dataclass(frozen=True)
class Case:
    """A file to load.

    Parameters
    ----------
    format
        Its name in the registry.
    make
        Writes a file of so many rows.
    baseline
        What somebody would do without Hindcast; its first line of documentation says what that is.
    share
        Of the rows asked for.
    suffix
        Of the file: DuckDB goes by it.
    """

    name: str
    format: str
    make: Callable[[Path, int], None]
    baseline: Callable[[Path], int]
    share: float = 1.0
    suffix: str = "jsonl.gz"


SIX = partial(generators.otlp_json, attributes=True)
CASES = (
    Case("OTLP/JSON, plain spans", "otlp_traces", partial(SIX, attributes=False), baselines.otlp_json),
    Case("OTLP/JSON, six attributes", "otlp_traces", SIX, baselines.otlp_json),
    Case("OTLP/JSON, six, a tenth", "otlp_traces", SIX, baselines.otlp_json, share=0.1),
    Case("OTLP/JSON, six, 0.1 % broken", "otlp_traces", partial(SIX, broken_every=1000), baselines.otlp_json),
    Case("OTLP protobuf, six attributes", "otlp_protobuf_traces", generators.otlp_protobuf, baselines.otlp_protobuf),
    Case("Parquet spans, six attributes", "parquet_spans", generators.parquet_spans, baselines.parquet_spans),
    Case("JSON lines, logs", "json_lines", generators.json_lines, baselines.json_lines),
    Case("Prometheus query_range", "prometheus", generators.prometheus, baselines.prometheus, suffix="json.gz"),
)
SUFFIXES = {"otlp_protobuf_traces": "pb", "parquet_spans": "parquet"}


# --- measured, each in a process of its own ---------------------------------------------------------------------------


def landing(case: Case, file: Path) -> Figures:
    """`land` from the file on disk to the committed transaction, into a new warehouse on disk."""
    from dagster_project.sources.registry import FORMATS
    from dagster_project.warehouse.connection import connect, migrate
    from dagster_project.warehouse.landing import MEMORY_LIMIT, InputFile, land

    with (
        tempfile.TemporaryDirectory() as folder,
        connect(Path(folder) / "benchmark.duckdb", memory_limit=MEMORY_LIMIT) as connection,
    ):
        migrate(connection)
        clock = Clock()
        (outcome,) = land(connection, [InputFile(file, FORMATS[case.format])]).files
        figures = clock.figures()
        connection.execute("checkpoint")
        size = (Path(folder) / "benchmark.duckdb").stat().st_size
    if outcome.status != "loaded":
        raise SystemExit(f"{file}: {outcome.status}: {outcome.message}")
    return figures | {
        "rows": outcome.records_landed,
        "refused": outcome.records_rejected,
        "bytes": outcome.decoded_bytes,
        "warehouse_bytes": size,
    }


def baseline(case: Case, file: Path) -> Figures:
    """The case's baseline, on the same file."""
    clock = Clock()
    rows = case.baseline(file)
    return clock.figures() | {"rows": rows}


# --- the table --------------------------------------------------------------------------------------------------------

COLUMNS = (
    *("File", "Rows", "Refused", "MB", "Seconds", "Rows/s", "CPU s", "µs CPU a row", "Peak MiB"),
    *("Warehouse bytes a row", "Baseline", "Its seconds", "Its CPU s", "Its peak MiB", "Times faster"),
)


def main() -> None:
    """Make the files, measure, print one line a case."""
    asked = _asked()
    if asked.measure:
        case = next(case for case in CASES if case.name == asked.only)
        print(json.dumps({"landing": landing, "baseline": baseline}[asked.measure](case, asked.file)))  # noqa: T201
        return
    from dagster_project.sources.registry import FORMATS

    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, median of {asked.repeats}, load average {load:.1f} at the start\n")  # noqa: T201
    print(row(*COLUMNS), row(*("---" for _ in COLUMNS)), sep="\n")  # noqa: T201
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.files or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if asked.only.lower() not in case.name.lower():
                continue
            if case.format not in FORMATS:
                print(f"| {case.name} | skipped: no format {case.format} |")  # noqa: T201
                continue
            print(_line(case, folder, round(asked.rows * case.share), asked.repeats), flush=True)  # noqa: T201


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--files", type=Path, help="a folder that keeps the files for the next run")
    parser.add_argument("--measure", choices=("landing", "baseline"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _line(case: Case, folder: Path, rows: int, repeats: int) -> str:
    words = "-".join("".join(letter if letter.isalnum() else " " for letter in case.name.lower()).split())
    file = folder / f"{words}-{rows}.{SUFFIXES.get(case.format, case.suffix)}"
    if not file.exists():
        part = file.with_name(f"part-{file.name}")
        case.make(part, rows)
        part.rename(file)
    runs = [(_fresh("landing", case, file), _fresh("baseline", case, file)) for _ in range(repeats)]
    ours, theirs = middle([run for run, _ in runs]), middle([run for _, run in runs])
    return row(
        *(case.name, f"{ours['rows']:,.0f}", f"{ours['refused']:,.0f}", f"{ours['bytes'] / 1e6:,.0f}"),
        *(f"{ours['seconds']:.2f}", f"{ours['rows'] / ours['seconds']:,.0f}", f"{ours['cpu_seconds']:.2f}"),
        *(f"{ours['cpu_seconds'] / ours['rows'] * 1e6:.2f}", f"{ours['peak_mib']:,.0f}"),
        *(
            f"{ours['warehouse_bytes'] / ours['rows']:.0f}",
            (case.baseline.__doc__ or "").partition(".\n")[0].rstrip("."),
        ),
        *(f"{theirs['seconds']:.2f}", f"{theirs['cpu_seconds']:.2f}", f"{theirs['peak_mib']:,.0f}"),
        f"{theirs['seconds'] / ours['seconds']:.1f}",
    )


def _fresh(what: str, case: Case, file: Path) -> Figures:
    command = [sys.executable, __file__, "--measure", what, "--only", case.name, "--file", str(file)]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: Figures = json.loads(answer.stdout)
    return found


if __name__ == "__main__":
    main()
