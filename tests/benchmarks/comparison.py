"""What the whole protocol costs on a million incidents: seconds a part, peak of memory, the same digits twice.

Incidents are generated with a planted ratio; the command is `hindcast bench compare`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import duckdb
from measuring import Clock, row

from dagster_project.statistics import evidence, marts, significance
from dagster_project.statistics.plan import ComparisonPlan

AIM = 60.0
MEMORY = "3GB"
PLANTED = 0.8
PARTS = {
    evidence: (
        "accelerated_failure_time", "downtime_effect", "quasi_poisson_ratio", "log_rank", "hazard_ratio",
        "restricted_mean_difference", "permutation_test", "mann_whitney", "hedges_g", "without_largest",
        "intention_to_treat", "clustered_log_difference", "standardised_ratio", "mixes_of", "interrupted_series",
        "placebo_test", "exploratory", "resampled_risks", "welch",
    ),
    significance: ("describe", "first_refusal"),
    marts: ("read_arm", "data_sha256", "tables"),
}  # fmt: skip


def incidents(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """A year of log-normal incidents (sigma 1.3), 4 severities, 80 services, 1 % open; the last 100 days are faster."""
    connection.execute("create schema marts")
    connection.execute(
        """
        create table marts.fct_incidents as
        with drawn as (
            select
                n, timestamp '2025-01-01' + to_seconds(cast(n * 31536000.0 / $count as bigint)) as started_at,
                'P' || (1 + hash(n, 1) % 4) as severity, 'service ' || hash(n, 2) % 80 as service_name,
                'team ' || hash(n, 3) % 25 as team, 'category ' || hash(n, 4) % 12 as category,
                sqrt(-2 * ln((hash(n, 5) % 1000000 + 0.5) / 1e6)) * cos(2 * pi() * (hash(n, 6) % 1000000) / 1e6) as z,
                hash(n, 7) % 100 = 0 as is_open
            from range($count) as t (n)
        ),

        lasting as (
            select
                *, round(
                    3600 * exp(1.3 * z) * cast(right(severity, 1) as integer)
                    * case when started_at >= timestamp '2025-09-23' then $planted else 1 end
                ) + 1 as seconds
            from drawn
        )

        select
            'INC' || lpad(cast(n as varchar), 8, '0') as incident_id, 'bench' as system, severity, service_name, team,
            category, cast(null as varchar) as resolution_method, started_at, 'bench.opened_at' as started_at_source,
            case when not is_open then started_at + to_seconds(cast(seconds as bigint)) end as resolved_at,
            'bench.resolved_at' as resolved_at_source, cast(null as timestamp) as closed_at, is_open,
            case when not is_open then seconds end as time_to_resolve_seconds, cast(null as varchar) as clock_problem
        from lasting order by n
        """,
        {"count": count, "planted": PLANTED},
    )


def plan() -> ComparisonPlan:
    """The comparison that is measured: 9,999 permutations and draws, every default."""
    return ComparisonPlan.model_validate(
        {
            "id": "bench",
            "question": "Does it find what was planted?",
            "cut_over_at": "2025-09-23T00:00:00Z",
            "baseline": {"label": "before", "side": "before"},
            "candidate": {"label": "after", "side": "after"},
        }
    )


@contextmanager
def _timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of each part while it holds."""
    patches = [
        mock.patch.object(module, name, _timing(getattr(module, name), name, seconds))
        for module, names in PARTS.items()
        for name in names
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def _timing(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    return timed


def measured(connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, float], dict[str, float], str, dict[str, Any]]:
    """Figures of one run, seconds a part, a hash of every row, and the row of the result."""
    seconds: dict[str, float] = {}
    clock = Clock()
    with _timed(seconds):
        made = marts.tables(marts.judge(connection, [plan()]))
    figures = clock.figures()
    text = json.dumps({name: table.to_pylist() for name, table in made.items()}, default=str, sort_keys=True)
    return figures, seconds, hashlib.sha256(text.encode()).hexdigest(), made["mart_significance"].to_pylist()[0]


def main() -> None:
    """Measure twice, print a table, and fail when the digits differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=1_000_000)
    count = parser.parse_args().incidents
    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{MEMORY}'; set threads = 2")
    incidents(connection, count)
    first, second = measured(connection), measured(connection)
    if first[2] != second[2]:
        raise SystemExit("two runs differ")
    figures, seconds, digest, result = min(first, second, key=lambda run: run[0]["seconds"])
    lines = [
        result["sentence"],
        row(f"Comparison of {count:,} incidents", "seconds"),
        row("---", "---:"),
        *(row(name, f"{spent:.2f}") for name, spent in sorted(seconds.items(), key=lambda each: -each[1])),
        row("all", f"{figures['seconds']:.1f}"),
        f"aim {AIM:.0f} s; peak {figures['peak_mib']:,.0f} MiB; the same rows twice ({digest[:12]})",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
