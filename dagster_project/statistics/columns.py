"""How a mart that Python writes names and describes its columns, and what may stand in one. No mart lives here."""

from __future__ import annotations

import math
from typing import TypeVar

import pyarrow as pa

TEXT, NUMBER, WHOLE, FLAG, TIME = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us")
TEXTS = pa.list_(pa.string())
Value = TypeVar("Value")


def described(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    """A column that says what it holds."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


def finite(value: Value) -> Value | None:
    """`value`, or None when it is a float that no page may show."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
