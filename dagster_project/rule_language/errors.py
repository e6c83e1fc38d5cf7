"""What is wrong with a rule, where, and what to write instead.

Errors of expressions carry offsets; `rule_file` turns them into file, line and column.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RuleError:
    """One mistake. `line` and `column` count from 1; `source` is the line of the file that holds it."""

    path: str
    line: int
    column: int
    message: str
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        text = f"{self.path}:{self.line}:{self.column}: {self.message}"
        if self.source:
            # A tab moves the caret in a terminal but counts as one column.
            text += f"\n    {self.source.replace(chr(9), ' ')}\n    {' ' * (self.column - 1)}^"
        return text + (f"\n    {self.hint}" if self.hint else "")


class RuleErrors(Exception):
    """Everything that is wrong with a catalogue, in the order of files and lines."""

    def __init__(self, errors: Iterable[RuleError]) -> None:
        self.errors: tuple[RuleError, ...] = tuple(sorted(errors))
        super().__init__("\n".join(str(error) for error in self.errors))


class ExpressionError(Exception):
    """A mistake inside one expression, at character offsets `start` to `end` of its text."""

    def __init__(self, message: str, start: int, end: int | None = None, hint: str = "") -> None:
        self.message, self.start, self.end, self.hint = message, start, end or start + 1, hint
        super().__init__(message)
