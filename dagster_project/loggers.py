"""A Dagster logger that tells `progress` of each step. Jobs in process have no callback; loggers see every event."""

from __future__ import annotations

import logging
from typing import Literal

import dagster as dg

from dagster_project.progress import Step, tell

_STATES: dict[dg.DagsterEventType, Literal["started", "succeeded", "failed", "skipped"]] = {
    dg.DagsterEventType.STEP_START: "started",
    dg.DagsterEventType.STEP_SUCCESS: "succeeded",
    dg.DagsterEventType.STEP_FAILURE: "failed",
    dg.DagsterEventType.STEP_SKIPPED: "skipped",
}


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        event: dg.DagsterEvent | None = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None or event.step_key is None:
            return
        if state := _STATES.get(event.event_type):
            tell(Step(event.step_key, state, _cause(event) if state == "failed" else None))


def _cause(event: dg.DagsterEvent) -> str:
    """What the step itself said: the innermost cause, without Dagster's wrapping."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else (event.message or "failed")


def _build(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("hindcast.progress", level=logging.DEBUG)
    logger.addHandler(_Teller())
    return logger


# Silent when nobody listens.
progress_logger = dg.LoggerDefinition(_build, description="Tells the listener of `progress.listening` of each step")
