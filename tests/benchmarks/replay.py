"""How fast rules are replayed over generated telemetry, beside plain SQL, chdb and polars. Run by hand:

    hindcast bench replay [--spans 100000000] [--work FOLDER] [--repeats 3] [--only TEXT]

Every figure comes from a process of its own, so that peak memory is that of one replay; Hindcast and the others take
turns: the machine may be busy with something else, but with the same for all. The data are made once and kept in the
folder. What is asked is in `replay_cases.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from measuring import Clock, Figures, middle, row  # noqa: E402
from replay_cases import CASES, Case  # noqa: E402

LIMITS = {"threads": 2, "memory_limit": "6GB"}
TIME_LIMIT = 900  # seconds, of one measurement
DEEP = 24
_EXPORTED = (
    *("trace_id", "span_id", "parent_span_id", "service_name", "span_name", "kind", "started_at", "ended_at"),
    *("status_code", "attr__order_id__any", "attr__customer_id__any", "attr__payment_intent_id__any"),
    *("attr__tenant_id__any", "attr__attempt__number", "attr__amount__number", "attr__result__text"),
)


# --- data, made once ------------------------------------------------------------------------------------------------


def warehouse_file(work: Path, data: str, spans: int) -> Path:
    return work / (f"telemetry-{spans}.duckdb" if data == "usual" else f"telemetry-{data}-{spans // 10}.duckdb")


def make(data: str, spans: int, file: Path) -> Figures:
    """Generate the data and export the spans to Parquet, as chdb and polars read them."""
    import duckdb

    from dagster_project.scenarios import telemetry
    from dagster_project.scenarios.telemetry import SPANS_PER_TRACE, Shape

    clock = Clock()
    if not file.exists():
        shape = Shape(traces=spans // SPANS_PER_TRACE)
        if data == "deep":
            shape = Shape(
                traces=spans // 10 // DEEP, deep_per_mille=1_000, long_per_mille=0, depth=DEEP, incomplete=200
            )
        part = file.with_suffix(".part")
        part.unlink(missing_ok=True)
        with duckdb.connect(str(part), config=LIMITS) as connection:
            telemetry.generate(connection, shape, lambda done, of: _say(f"{data}: day {done} of {of}"))
        part.rename(file)
    exported = file.with_suffix(".parquet")
    if not exported.exists():
        part = exported.with_suffix(".part")
        with duckdb.connect(str(file), read_only=True, config=LIMITS) as connection:
            spans_table = connection.table("staging.stg_spans").select(*_EXPORTED)
            spans_table.write_parquet(str(part), compression="zstd")
        part.rename(exported)
    return clock.figures()


# --- measured, each in a process of its own --------------------------------------------------------------------------


def hindcast(case: Case, file: Path) -> dict[str, Any]:
    """The whole of a replay, for each rule: verdicts, witness, reported values, certificate."""
    import duckdb

    from dagster_project.replay.query import replay, together
    from dagster_project.replay.window import Window

    rules, refused = _rules(case)
    # The engine fills its limit with what it has read, and some 600 MiB of the process are not counted in it.
    limits = LIMITS | {"memory_limit": "5GB"} if len(rules) > 1 else LIMITS
    with duckdb.connect(str(file), read_only=True, config=limits) as connection:
        connection.execute("set timezone = 'UTC'")
        window = Window()
        if case.last_day:
            ((last,),) = connection.execute("select max(started_on) from staging.stg_spans").fetchall()
            start = last - timedelta(days=1)
            moments = connection.execute("select ?::timestamp, ?::timestamp", [start, last]).fetchall()[0]
            window = Window(*moments)
        clock = Clock()
        with together(connection, rules, window) as shared:
            answers = [replay(connection, rule, window, shared=shared) for rule in rules]
        figures: dict[str, Any] = clock.figures()
        found = sum(answer.certificate.violated for answer in answers)
        expected = None
        if case.planted is not None and rules:
            expected = connection.execute(f"select count(*) from truth.{case.planted}").fetchall()[0][0]
    return figures | {"found": found, "expected": expected, "rules": len(rules), "refused": refused}


def naive(case: Case, file: Path) -> dict[str, Any]:
    """The SQL that somebody types, over the same table, in the same engine with the same limits."""
    import duckdb

    with duckdb.connect(str(file), read_only=True, config=LIMITS) as connection:
        query = f"select count(*) from ({str(case.naive).format(spans='staging.stg_spans')})"
        clock = Clock()
        found = connection.execute(query).fetchall()[0][0]
        return clock.figures() | {"found": found}


def chdb(case: Case, file: Path) -> dict[str, Any]:
    """ClickHouse in the process, over the Parquet file."""
    import chdb as clickhouse

    spans = f"file('{file.with_suffix('.parquet')}', Parquet)"
    query = f"select count(*) from ({str(case.chdb).format(spans=spans)}) settings max_threads = 2"
    clock = Clock()
    found = int(str(clickhouse.query(query, "TabSeparated")).strip())
    return clock.figures() | {"found": found}


def polars(case: Case, file: Path) -> dict[str, Any]:
    """Polars' streaming engine, over the Parquet file."""
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as frames

    if case.polars is None:
        raise TypeError(f"{case.name} has no form in polars")
    clock = Clock()
    found = case.polars(frames.scan_parquet(file.with_suffix(".parquet")))
    return clock.figures() | {"found": found}


MEASURED: dict[str, Callable[[Case, Path], dict[str, Any]]] = {
    "hindcast": hindcast,
    "naive": naive,
    "chdb": chdb,
    "polars": polars,
}


def _rules(case: Case) -> tuple[list[Any], list[str]]:
    """The rules of a case, and of those that cannot be compiled yet what the compiler says."""
    from dagster_project.rule_language import RuleErrors, read_inline, read_rule
    from dagster_project.rule_language.sql.query import verdicts_query

    rules, refused = [], []
    for text in case.rules:
        file = ROOT / "rules" / f"{text}.yml"
        try:
            is_file = "\n" not in text and file.exists()
            rule = read_rule(f"rules/{text}.yml", file.read_text()) if is_file else read_inline(text)
            verdicts_query(rule)
        except (RuleErrors, TypeError, NotImplementedError) as error:
            refused.append(" ".join(str(error).split())[:160])
        else:
            rules.append(rule)
    return rules, refused


# --- the table ---------------------------------------------------------------------

COLUMNS = (
    *("Rules", "Aim, s", "Seconds", "CPU s", "Peak MiB", "Violations", "Planted"),
    *("Plain SQL, s (CPU)", "ratio", "chdb, s (CPU)", "ratio", "polars, s (CPU)", "ratio", "Their peaks, MiB"),
)


def main() -> None:
    """Make the data, measure, print one line a case."""
    asked = _asked()
    if asked.make:
        print(json.dumps(make(asked.make, asked.spans, asked.file)))  # noqa: T201
        return
    if asked.measure:
        case = next(case for case in CASES if case.name == asked.only)
        print(json.dumps(MEASURED[asked.measure](case, asked.file)))  # noqa: T201
        return
    import nightly_increment  # not in what is measured: its imports would count among the peaks of the others

    asked.work.mkdir(parents=True, exist_ok=True)
    cases = [case for case in CASES if asked.only.lower() in case.name.lower()]
    is_increment_asked = asked.only.lower() in nightly_increment.NAME.lower()
    for data in sorted({case.data for case in cases} | ({"usual"} if is_increment_asked else set())):
        file = warehouse_file(asked.work, data, asked.spans)
        _child("--make", data, "--spans", str(asked.spans), "--file", str(file), limit=None)
        _say(
            f"{file.name}: {file.stat().st_size / 1e9:.1f} GB, {file.with_suffix('.parquet').stat().st_size / 1e9:.1f}"
            " GB as Parquet"
        )
    load = os.getloadavg()[0]
    print(f"{asked.spans:,} spans, {os.cpu_count()} cores, median of {asked.repeats}, load average {load:.1f}\n")  # noqa: T201
    print(row(*COLUMNS), row(*("---" for _ in COLUMNS)), sep="\n")  # noqa: T201
    for case in cases:
        print(_line(case, warehouse_file(asked.work, case.data, asked.spans), asked.repeats), flush=True)  # noqa: T201
    if is_increment_asked:
        print()  # noqa: T201
        print(nightly_increment.table(warehouse_file(asked.work, "usual", asked.spans), asked.repeats))  # noqa: T201


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hindcast bench replay", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spans", type=int, default=100_000_000)
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "benchmarks", help="keeps the generated data")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=sorted(MEASURED), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _line(case: Case, file: Path, repeats: int) -> str:
    others = [name for name in ("naive", "chdb", "polars") if getattr(case, name) is not None]
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeats):
        for name in ("hindcast", *others):
            if name != "hindcast" and runs.get(name, [{"seconds": 0}])[-1]["seconds"] > TIME_LIMIT / 10:
                continue  # what takes minutes is measured once
            figures = _child("--measure", name, "--only", case.name, "--file", str(file), limit=TIME_LIMIT)
            runs.setdefault(name, []).append(figures)
        if runs["hindcast"][0].get("rules") == 0:
            return row(case.name, f"{case.aim:g}", f"skipped: {'; '.join(runs['hindcast'][0]['refused'])}")
    ours = middle(runs["hindcast"])
    name = case.name if len(case.rules) == 1 else f"{case.name} ({ours.get('rules', 0)} rules)"
    cells = [name, f"{case.aim:g}", *_figures(ours), f"{ours.get('expected') or '-'}"]
    peaks = []
    for other in ("naive", "chdb", "polars"):
        if other not in runs:
            cells += ["-", "-"]
            continue
        theirs = middle(runs[other])
        ratio = f"{theirs['seconds'] / ours['seconds']:.1f}" if "error" not in theirs | ours else "-"
        right = f" ({theirs.get('error', theirs.get('found'))})"
        if "error" not in theirs and theirs["found"] == ours.get("found"):
            right = ""
        cells += [f"{theirs['seconds']:.2f} ({theirs.get('cpu_seconds', 0):.2f}){right}", ratio]
        peaks.append(f"{theirs.get('peak_mib', 0):,.0f}")
    for refused in ours.get("refused", []):
        _say(f"{case.name}: skipped: {refused}")
    return row(*cells, " / ".join(peaks) or "-")


def _figures(ours: dict[str, Any]) -> list[str]:
    if "error" in ours:
        return [f"{ours['seconds']:.2f} ({ours['error']})", "-", "-", "-"]
    return [
        *(f"{ours['seconds']:.2f}", f"{ours['cpu_seconds']:.2f}", f"{ours['peak_mib']:,.0f}"),
        f"{ours['found']:,.0f}",
    ]


def _child(*arguments: str, limit: float | None) -> dict[str, Any]:
    command = [sys.executable, __file__, *arguments]
    try:
        # Progress of what is made goes to the terminal; what a measurement complains of belongs to its line.
        complaints = None if limit is None else subprocess.PIPE
        answer = subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=complaints, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"seconds": float(limit or 0), "error": f"stopped after {limit} s"}
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "failed").strip().splitlines()
        said = [line.strip() for line in lines if line[:1].strip() and "Error" in line] or lines[-1:]
        return {"seconds": 0.0, "error": said[-1][:200].replace("|", "/")}
    found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
