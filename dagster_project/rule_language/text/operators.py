"""The comparison operators of the language: what each says, its opposite, and itself read from right to left."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from dagster_project.rule_language.text.syntax import CompareOp

OPPOSITE: Final[Mapping[str, CompareOp]] = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
}
FLIPPED: Final[Mapping[str, CompareOp]] = {
    "==": "==",
    "!=": "!=",
    "<": ">",
    ">": "<",
    "<=": ">=",
    ">=": "<=",
}

_HOLDS: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(op: str, left: Decimal, right: Decimal) -> bool:
    """`left op right`."""
    return _HOLDS[op](left, right)
