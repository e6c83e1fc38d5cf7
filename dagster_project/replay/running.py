"""Runs work over a connection in a thread of its own, so that it can be watched, stopped after a time, and interrupted.

What the work is, is its caller's business; what it had written aside, its caller removes.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import duckdb

T = TypeVar("T")
# Called about ten times a second with seconds since the start, and the share that the engine has read (None: unknown).
Listener = Callable[[float, float | None], None]
_LOOK_SECONDS = 0.1


class TimedOut(RuntimeError):
    """The work was stopped after the time it was given.

    Attributes
    ----------
    seconds
        That it had run.
    share
        What the engine said it had read of the statement that it was stopped in, 0 to 1; None when it did not say.
    """

    def __init__(self, seconds: float, share: float | None) -> None:
        self.seconds, self.share = seconds, share
        super().__init__(f"stopped after {seconds:.3g} s")


@contextmanager
def limited(connection: duckdb.DuckDBPyConnection, memory_limit: str | None = None) -> Iterator[None]:
    """Let the connection hold so much in memory, and what does not fit in a folder that goes when the block ends."""
    with (
        _ended_in_order(),
        tempfile.TemporaryDirectory(prefix="hindcast-query-", ignore_cleanup_errors=True) as folder,
    ):
        connection.execute("set temp_directory = ?", [folder])
        if memory_limit is not None:
            connection.execute("set memory_limit = ?", [memory_limit])
        # The engine counts what it has read only while it believes that somebody looks.
        connection.execute("set enable_progress_bar = true")
        connection.execute("set enable_progress_bar_print = false")
        yield


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let `kill` and a terminal that closes end the block as an exception does: what it holds is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # What somebody else handles, or ignores as nohup does, stays so.
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def run(
    connection: duckdb.DuckDBPyConnection,
    work: Callable[[], T],
    *,
    timeout_seconds: float | None = None,
    listener: Listener | None = None,
) -> T:
    """What `work` returns, or the error that it raises.

    Parameters
    ----------
    connection
        The one that `work` uses; nobody else does meanwhile.
    timeout_seconds
        From when on the work is stopped; None: never.

    Raises
    ------
    TimedOut
        When the time was up. The connection is free again.
    KeyboardInterrupt
        When Ctrl-C was pressed. The connection is free again.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Not the thread's own end: a join that Ctrl-C interrupts takes a thread for ended that still runs (CPython 3.11).
    ended = threading.Event()

    def working() -> None:
        try:
            results.append(work())
        except BaseException as error:  # whatever it is, it is raised where it was asked for
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=working, name="hindcast-query", daemon=True)
    began = time.monotonic()
    thread.start()
    try:
        while not ended.is_set():
            seconds = time.monotonic() - began
            share = _share(connection)
            if timeout_seconds is not None and seconds >= timeout_seconds:
                raise TimedOut(seconds, share)
            if listener is not None:
                listener(seconds, share)
            ended.wait(_LOOK_SECONDS)
    except BaseException:
        _stop(connection, ended)
        raise
    if errors:
        raise errors[0]
    return results[0]


def _share(connection: duckdb.DuckDBPyConnection) -> float | None:
    percent = connection.query_progress()
    return percent / 100 if percent >= 0 else None


def _stop(connection: duckdb.DuckDBPyConnection, ended: threading.Event) -> None:
    """Interrupt until the thread has ended: work of several statements goes on with the next one."""
    while not ended.is_set():
        try:
            connection.interrupt()
            ended.wait(_LOOK_SECONDS / 2)
        except KeyboardInterrupt:  # somebody presses it twice
            continue
