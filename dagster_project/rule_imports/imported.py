"""What an import is made of: a rule on its way, what was assumed, what was refused, and what the person decided.

Data only; the dialects fill it, `rule_text` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

Dialect: TypeAlias = Literal["betrace", "sigma", "traceql", "eql"]
DIALECTS: Final[tuple[Dialect, ...]] = ("betrace", "sigma", "traceql", "eql")
MAX_BYTES: Final = 1024 * 1024
"""Of one file to import: a few hundred rules; larger ones are split by whoever made them."""
MAX_RULES: Final = 1_000
"""Rules of one file, as of a catalogue."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something said about line `line` of the file, from 1."""

    line: int
    text: str


class Refusal(Exception):
    """Why a rule cannot be carried over. `line` is one of the whole file; 0 stands for where the rule begins."""

    def __init__(self, message: str, line: int = 0, hint: str = "") -> None:
        self.message, self.line, self.hint = message, line, hint
        super().__init__(message)


@dataclass(frozen=True)
class Decisions:
    """What only a person can decide, given on the command line; nothing of it is guessed.

    `entity` is what a record of a log tool is here. `within` is a length of time that the text leaves open, in
    nanoseconds. With `sessions` a time span that must hold many records becomes a pause between them.
    """

    owner: str = ""
    severity: str = ""
    entity: Literal["log", "span"] = "log"
    group_by: tuple[str, ...] = ()
    gap_ns: int = 0
    within_ns: int = 0
    polarity: Literal["assert", "detect", ""] = ""
    sessions: bool = False


@dataclass(frozen=True)
class TestTrace:
    """A test that a rule may carry: records as a rule file gives them. `printed` when the source printed it."""

    __test__ = False

    name: str
    verdict: Literal["violated", "satisfied"]
    spans: tuple[Mapping[str, Any], ...] = ()
    logs: tuple[Mapping[str, Any], ...] = ()
    printed: bool = False


@dataclass(frozen=True)
class Draft:
    """A rule of ours before it is written."""

    id: str
    title: str
    line: int
    expressions: Mapping[str, str]
    description: str = ""
    severity: str = ""
    controls: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    gap_ns: int = 0
    assumed: tuple[Note, ...] = ()
    tests: tuple[TestTrace, ...] = ()


@dataclass(frozen=True)
class Imported:
    """One rule of the file: a draft, or the reasons why there is none."""

    name: str
    line: int
    draft: Draft | None = None
    refused: tuple[Note, ...] = ()


def drafted(name: str, line: int, make: Callable[[], Draft]) -> Imported:
    """The draft that is made of a rule that begins on line `line`, or why it is refused."""
    try:
        return Imported(name, line, make())
    except Refusal as refusal:
        hint = f" ({refusal.hint})" if refusal.hint else ""
        return Imported(name, line, refused=(Note(refusal.line or line, f"{refusal.message}{hint}"),))


@dataclass
class Assumptions:
    """Collects what was taken for granted while one rule is read, each once, in order."""

    found: dict[Note, None] = field(default_factory=dict)

    def add(self, line: int, text: str) -> None:
        self.found.setdefault(Note(line, text))

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(self.found)
