"""Clocks and peaks of a process, and lines of a table: what the benchmarks share."""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path

Figures = dict[str, float]


class Clock:
    """Wall time and CPU time from here on; the peak of memory is the process's."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self) -> Figures:
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mib": peak_mib(),
        }


def peak_mib() -> float:
    """The most memory that this process ever had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` begins with what the parent had
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def middle(runs: list[Figures]) -> Figures:
    """The median run, by seconds."""
    seconds = statistics.median_low(run["seconds"] for run in runs)
    return next(run for run in runs if run["seconds"] == seconds)


def row(*cells: str) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
