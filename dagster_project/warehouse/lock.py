"""The one-writer lock: an OS lock beside the warehouse, held around every Python writer and every dbt subprocess.

DuckDB allows one writing process. The kernel frees the lock when the process that holds it ends, so a SIGKILL leaves
nothing to clean up. dbt takes the lock in its own process (`transformation/locked_dbt.py`): should its parent be
killed, the next run waits for the orphan instead of meeting it in the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class WarehouseLocked(TimeoutError):
    """Another process writes to the warehouse."""


@contextmanager
def hold(path: Path, purpose: str, timeout_seconds: float = 60.0) -> Iterator[None]:
    """Hold the writer's lock while the block runs.

    Parameters
    ----------
    path
        The lock file; made when absent, with its folder.
    purpose
        What the holder does, for `hindcast doctor` and for the error of whoever waits.
    timeout_seconds
        How long to wait for another writer before giving up.

    Raises
    ------
    WarehouseLocked
        Names the holder, its purpose and since when it holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(fd, path, timeout_seconds)
        _write_holder(fd, purpose)
        yield
    finally:
        os.close(fd)


def holder(path: Path) -> dict[str, str] | None:
    """Who holds the lock now, or None. The description is the holder's own; the kernel decides whether it is held."""
    if not path.exists():
        return None
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    else:
        return None
    finally:
        os.close(fd)


def _acquire(fd: int, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                who = _read_holder(path)
                raise WarehouseLocked(
                    f"{path.name} is held by process {who.get('pid', '?')} "
                    f"({who.get('purpose', 'unknown')}, since {who.get('since', '?')}); waited {timeout_seconds:g} s. "
                    "Try again when it has finished; `hindcast doctor` shows the holder."
                ) from None
            time.sleep(0.1)
        else:
            return


def _write_holder(fd: int, purpose: str) -> None:
    text = json.dumps(
        {"pid": str(os.getpid()), "purpose": purpose, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _read_holder(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
