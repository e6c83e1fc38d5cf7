"""A limit of time for statements of DuckDB, which has none of its own: a timer that interrupts the connection."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

VARIABLE = "HINDCAST_RULE_SECONDS"
# One rule over all history; the slowest shape over 100 million spans takes a tenth of it.
DEFAULT_SECONDS = 600.0
# Longer than a timer can be set for is no limit; a month is none, either.
MOST_SECONDS = 31 * 86_400.0
# The engine forgets an interrupt that comes while it plans, so there is another one soon.
_AGAIN_SECONDS = 0.01


class InvalidLimit(ValueError):
    """The environment gives a limit that is none."""


class Interruptible(Protocol):
    """A connection or cursor of DuckDB."""

    def interrupt(self) -> None:
        """Stop what runs on it."""


def seconds_a_rule() -> float:
    """How long a night lets one rule run, from the environment's HINDCAST_RULE_SECONDS.

    Raises
    ------
    InvalidLimit
        When it is no number of seconds above 0.
    """
    given = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(given) if given else DEFAULT_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise InvalidLimit(f"{VARIABLE} is {given!r}: give a number of seconds above 0 and below a month, such as 600")
    return seconds


@contextmanager
def of(seconds: float) -> Iterator[None]:
    """Another limit for the processes that are started meanwhile."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = repr(min(seconds, MOST_SECONDS))
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


@contextmanager
def interrupted_after(connection: Interruptible, seconds: float) -> Iterator[None]:
    """Interrupt what runs on a connection when it takes longer; it ends with duckdb.InterruptException then."""
    ended = threading.Event()

    def interrupt() -> None:
        wait = seconds
        while not ended.wait(wait):
            connection.interrupt()
            wait = _AGAIN_SECONDS

    timer = threading.Thread(target=interrupt, daemon=True)
    timer.start()
    try:
        yield
    finally:
        ended.set()
        timer.join()
