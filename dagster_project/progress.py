"""How far a Dagster run is: a Dagster logger that tells a listener of each step as it starts, succeeds or fails.

Dagster runs a job in process without a callback of its own; its loggers see every event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import dagster as dg


@dataclass(frozen=True)
class Step:
    """A step of a run and what became of it. `message` is set when it failed."""

    name: str
    state: Literal["started", "succeeded", "failed", "skipped"]
    message: str | None = None


Listener = Callable[[Step], None]
_STATES: dict[dg.DagsterEventType, Literal["started", "succeeded", "failed", "skipped"]] = {
    dg.DagsterEventType.STEP_START: "started",
    dg.DagsterEventType.STEP_SUCCESS: "succeeded",
    dg.DagsterEventType.STEP_FAILURE: "failed",
    dg.DagsterEventType.STEP_SKIPPED: "skipped",
}
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of the steps of every run that is executed in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        listener = _listener.get()
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if listener is None or event is None or event.step_key is None:
            return
        state = _STATES.get(event.event_type)
        if state:
            listener(Step(event.step_key, state, _cause(event) if state == "failed" else None))


def _cause(event: dg.DagsterEvent) -> str:
    """What the step itself said: the innermost cause, without Dagster's wrapping."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else (event.message or "failed")


@dg.logger(description="Tells the listener of `progress.listening` how far the run is")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """The Dagster logger; silent when nobody listens."""
    logger = logging.Logger("hindcast.progress", level=logging.DEBUG)
    logger.addHandler(_Teller())
    return logger
