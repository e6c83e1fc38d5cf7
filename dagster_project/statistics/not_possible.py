"""What a method returns where the data defines no number. Gates refuse whole comparisons; this refuses one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotPossible:
    """Why a method gives no number: a code for machines, a clause for people."""

    code: str
    reason: str
