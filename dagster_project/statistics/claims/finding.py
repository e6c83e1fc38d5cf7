"""What a check finds: a verdict, what was computed and why. The checks are `checks.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a claim is, as far as its own document tells."""

    OK = "OK"
    WRONG = "WRONG"  # its inputs give another figure
    INCONSISTENT = "INCONSISTENT"  # the document says otherwise elsewhere
    MISLABELLED = "MISLABELLED"  # the figure is right for something else than it is called
    UNSUPPORTED = "UNSUPPORTED"  # nothing is given that it could be computed from
    NOT_COMPARABLE = "NOT_COMPARABLE"  # two things are set against each other that are not measured alike
    IMPOSSIBLE = "IMPOSSIBLE"  # no data at all gives this figure


@dataclass(frozen=True)
class Finding:
    """What a check makes of a claim.

    Attributes
    ----------
    formula
        What was computed, with its numbers; empty when nothing could be.
    value
        What came of it; None when that is no number.
    unit
        Unit of `value` when it is not the stated one.
    """

    verdict: Verdict
    reason: str
    formula: str = ""
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Stated:
    """A stated figure and how far from it a recomputed one may lie: what rounding alone explains."""

    value: float
    tolerance: float

    def agrees(self, found: float) -> bool:
        """Whether `found` is the stated figure, rounded."""
        return abs(found - self.value) <= self.tolerance + 1e-9 * max(abs(self.value), abs(found))


def say(number: float) -> str:
    """A number for people: thousands apart, at most four places, none that say nothing."""
    if not math.isfinite(number):
        return "no number"
    shown = f"{number:,.4f}".rstrip("0").rstrip(".")
    return f"{number:.4g}" if shown in {"0", "-0"} and number else shown
