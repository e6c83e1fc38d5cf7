"""How far a run is: its steps, and who is told of them. What makes Dagster tell stands in `loggers.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

State = Literal["started", "succeeded", "failed", "skipped", "warned"]


@dataclass(frozen=True)
class Step:
    """A step of a run and what became of it. `message` is set when it failed, or when a check of it warns."""

    name: str
    state: State
    message: str | None = None
    is_check: bool = False


Listener = Callable[[Step], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of the steps of every run that is executed in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(step: Step) -> None:
    """Tell whoever listens."""
    listener = _listener.get()
    if listener is not None:
        listener(step)
