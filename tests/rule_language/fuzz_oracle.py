"""A long comparison of engine and oracle, by hand:
`python tests/rule_language/fuzz_oracle.py --pairs 100000 --processes 2`.

A pair is one rule over one recorded world of many scopes. Batches are seeded by their number and what is done is kept
in a folder, so that a run goes on where it was stopped. A disagreement is shrunk and written as a test.
"""

# ruff: noqa: T201  # a command

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

import engine
from oracle_scopes import Judge
from shrinking import as_test, shrunk
from worlds import HOUR, rule, world
from written import rule_text

from dagster_project.replay import scratch

# A rule is compiled and planned once and judged over each world of its batch: most of the time is planning.
WORLDS, RULES, TRACES = 4, 50, 20
_CONNECTIONS: list[Any] = []
Window = tuple[int | None, int | None]


def batch(seed: int, number: int, found: str) -> dict[str, Any]:
    """Compare one batch; how many pairs, what they exercised, and the files of disagreements."""
    random = Random(f"{seed}/{number}")
    while len(_CONNECTIONS) < 2:
        gc.freeze()  # what was imported stays
        _CONNECTIONS.append(scratch.connect())
    connection, beside = _CONNECTIONS
    recorded = [world(random, TRACES) for _world in range(WORLDS)]
    rules = [rule(random) for _rule in range(RULES)]
    engine.load(connection, recorded[0])
    # Of eight batches two are judged by the steps of a replay of large tables, one of them in a window, as one more is.
    window = _window(random, recorded) if number % 8 in {1, 3} else (None, None)
    is_whole = number % 4 != 3
    planned = [
        _planned(connection, asked, f"asked{place}", window) if is_whole else None for place, asked in enumerate(rules)
    ]
    counts: Counter[str] = Counter()
    files: list[str] = []
    for one in recorded:
        engine.load(connection, one)
        for place, asked in enumerate(rules):
            judge = Judge(asked, one)
            differs = _differs(connection, asked, judge, planned[place], window, is_whole=is_whole)
            counts["pairs"] += 1
            counts.update(f"{operator}\t{verdict}" for operator, verdict in judge.busy)
            if differs:
                name = f"{seed}_{number}_{place}"
                files.append(write(beside, asked, one, name, Path(found), window, is_whole=is_whole))
    return {"batch": number, "counts": counts, "files": sorted(set(files))}


def _window(random: Random, recorded: list[Any]) -> Window:
    """Edges where something starts, so that what begins at one of them tells whether it is in."""
    starts = sorted({span.start // 1000 * 1000 for one in recorded for span in one.spans})
    first, last = sorted(random.choice([0, HOUR, *starts]) for _edge in range(2))
    return random.choice([(first, last), (first, last), (first, None), (None, last)])


def _planned(connection: Any, asked: Any, name: str, window: Window) -> str | None:
    """A statement that runs the rule; None when it cannot be compiled."""
    try:
        connection.execute(f"prepare {name} as {engine.compiled(asked, window)}")
    except Exception:
        return None
    return f"execute {name}"


def _differs(connection: Any, asked: Any, judge: Any, planned: str | None, window: Window, *, is_whole: bool) -> bool:
    try:
        if not is_whole:
            return engine.replay_disagreement(connection, asked, judge, window) is not None
        return planned is None or engine.disagreement(connection, asked, judge, planned, window) is not None
    except Exception:
        return True


def write(connection: Any, asked: Any, one: Any, name: str, folder: Path, window: Window, *, is_whole: bool) -> str:
    """Shrink a disagreement and write it as a test."""
    way = engine.disagreement if is_whole else engine.replay_disagreement
    smaller, its_world = shrunk(
        connection, asked, one, 20, lambda there, rule, judge: way(there, rule, judge, window=window)
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"test_found_{name}.py"
    compared = f"{way.__name__}(connection, rule, Judge(rule, world), window={window})"
    path.write_text(as_test(smaller, its_world, compared), encoding="utf-8")
    print(f"disagreement: {path}\n{rule_text(smaller)}", flush=True)
    return str(path)


def report(counts: Counter[str]) -> None:
    """Pairs that were not trivial, by operator and verdict."""
    verdicts = ["violated", "satisfied", "inconclusive", "not applicable"]
    operators = sorted({key.split("\t")[0] for key in counts if "\t" in key})
    print(f"{'':>16}" + "".join(f"{verdict:>16}" for verdict in verdicts))
    for operator in operators:
        numbers = [counts[f"{operator}\t{verdict}"] for verdict in verdicts]
        print(f"{operator:>16}" + "".join(f"{number:>16,}" for number in numbers))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".oracle"), help="what is done, and disagreements")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    kept = asked.folder / f"done_{asked.seed}.jsonl"
    done = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    counts: Counter[str] = Counter()
    for one in done:
        counts.update(one["counts"])
    files = [file for one in done for file in one["files"]]
    wanted = sorted(set(range(-(-asked.pairs // (WORLDS * RULES)))) - {one["batch"] for one in done})
    before, started = counts["pairs"], time.monotonic()
    with ProcessPoolExecutor(asked.processes) as pool, kept.open("a", encoding="utf-8") as file:
        running = [pool.submit(batch, asked.seed, number, str(asked.folder)) for number in wanted]
        for number, future in enumerate(as_completed(running), 1):
            result = future.result()
            counts.update(result["counts"])
            files += result["files"]
            file.write(json.dumps(result) + "\n")
            file.flush()
            if number % 25 == 0:
                speed = (counts["pairs"] - before) / (time.monotonic() - started)
                print(f"{counts['pairs']:,} pairs, {len(files)} disagree, {speed:.0f} pairs/s", flush=True)
    report(counts)
    print(f"{counts['pairs']:,} pairs, {len(files)} disagree")
    return 1 if files else 0


if __name__ == "__main__":
    sys.exit(main())
