"""A Dagster logger that tells `progress` of each step. Jobs in process have no callback; loggers see every event."""

from __future__ import annotations

import logging

import dagster as dg

from dagster_project.progress import State, Step, tell

_STATES: dict[dg.DagsterEventType, State] = {
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
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            _tell_check(event.asset_check_evaluation_data)
        elif state := _STATES.get(event.event_type):
            tell(Step(event.step_key, state, _cause(event) if state == "failed" else None))


def _tell_check(check: dg.AssetCheckEvaluation) -> None:
    """A check that holds is silent; one that does not is told with what it is about and what broke it."""
    if check.passed:
        return
    broken = check.metadata.get("broken")
    message = str(broken.value) if broken else check.description or "did not hold"
    state: State = "failed" if check.severity == dg.AssetCheckSeverity.ERROR else "warned"
    tell(Step(f"{check.asset_key.to_user_string()}:{check.check_name}", state, message, is_check=True))


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
