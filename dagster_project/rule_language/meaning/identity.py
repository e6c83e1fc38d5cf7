"""The identity of what a rule means: a hash of its typed model.

Titles, owners, tests, comments, names of bindings and ways of writing do not reach the model, so they do not change it.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from dagster_project.rule_language.meaning.model import Judgement, field_names

MEANING_VERSION: Final = 3
"""Raise it when the same model comes to mean something else; every rule is then judged again over all history."""


def meaning_hash(judgement: Judgement) -> str:
    """32 hexadecimal digits: SHA-256 of the canonical JSON of the model, cut in half."""
    canonical = json.dumps([MEANING_VERSION, _plain(judgement)], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """The model as JSON values: a node is its class name followed by its fields."""
    if (names := field_names(type(value))) is not None:
        return [type(value).__name__, *[_plain(getattr(value, name)) for name in names]]
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        # 1, 1.0 and 1e0 are one number.
        return f"{value.normalize():f}"
    return value
