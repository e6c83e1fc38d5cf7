"""A rule typed on one line → the YAML that it stands for: each field on a line of its own, expressions as blocks.

What the fields are and mean is `rule_file`'s business.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection
from typing import Final

_CONDITIONS: Final = frozenset({"when", "always", "never", "detect", "assert"})


def one_key_a_line(text: str, fields: Collection[str]) -> str:
    """Put each `key:` that stands outside quotes and brackets on a line of its own, as YAML wants it.

    Expressions become blocks, in which colons and hashes are plain characters.
    """
    parts: list[tuple[str, str]] = []
    depth, start, key = 0, 0, ""
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|[\[({]|[\])}]|\b([a-z_]+)\s*:(?=\s)', text):
        if token.group() in {"(", "[", "{"}:
            depth += 1
        elif token.group() in {")", "]", "}"}:
            depth -= 1
        elif depth == 0 and token.group(1) in fields:
            parts.append((key, _dedented(text[start : token.start()])))
            key, start = token.group(1), token.end()
    parts.append((key, _dedented(text[start:])))
    return "\n".join(_inline_entry(key, value) for key, value in parts if key or value)


def _dedented(value: str) -> str:
    return textwrap.dedent(value.strip("\n")).strip()


def _inline_entry(key: str, value: str) -> str:
    if not key:
        return value
    is_block = "\n" in value or (key in {"let", "report"} and value[:1] != "{")
    is_expression = key in _CONDITIONS and value[:1] not in {"|", ">", "'", '"'}
    if is_expression and value:
        indented = value.replace("\n", "\n  ")
        return f"{key}: |-\n  {indented}"
    # A mapping in braces or a plain value stays beside its key; one of several lines goes below it.
    return f"{key}: {value}" if not is_block else f"{key}:\n{textwrap.indent(value, '  ')}"
