"""Numbers that carry their own arithmetic: what is computed and what is printed are one expression.

What a line of an estimate is made of, `lines.py` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Amounts = NDArray[np.float64]

_SUM, _PRODUCT, _LEAF = 1, 2, 3


@dataclass(frozen=True)
class Quantity:
    """A number, or one a draw, with the arithmetic that made it.

    Attributes
    ----------
    value
        Shape () or (draws,).
    text
        The arithmetic with the estimate's own numbers, whatever is drawn.
    binding
        How tightly the outermost operation of `text` binds: decides where parentheses stand.
    """

    value: Amounts
    text: str
    binding: int = _LEAF

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.value + other.value, f"{self.text} + {other.text}", _SUM)

    def __sub__(self, other: Quantity) -> Quantity:
        right = f"({other.text})" if other.binding == _SUM else other.text
        return Quantity(self.value - other.value, f"{self.text} - {right}", _SUM)

    def __mul__(self, other: Quantity) -> Quantity:
        left, right = (f"({each.text})" if each.binding == _SUM else each.text for each in (self, other))
        return Quantity(self.value * other.value, f"{left} x {right}", _PRODUCT)


ONE = Quantity(np.asarray(1.0), "1")


def quantity(value: Amounts, point: float, unit: str) -> Quantity:
    """A number as it stands in the file: `value` may be drawn, `point` is what is printed."""
    return Quantity(np.asarray(value, dtype=np.float64), f"{point:,.10g} {unit}")


def number(value: Amounts, point: float) -> Quantity:
    """The same without a unit."""
    return Quantity(np.asarray(value, dtype=np.float64), f"{point:,.10g}")
