"""Texts to import, cut into documents and lines: strict YAML of several documents, queries between blank lines.

What they mean is the dialects' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dagster_project.rule_language.errors import RuleError, RuleErrors
from dagster_project.rule_language.text.yaml_text import Node, YamlText


def line_of(text: str, offset: int) -> int:
    """The line of a character, from 1."""
    return text.count("\n", 0, offset) + 1


def slug(name: str) -> str:
    """An id of a rule: lower-case words joined by hyphens."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(words)[:80].strip("-") or "imported"


_SIGNS = re.compile(r"\\.|[\"`{}\[\]()]")
_QUOTES = '"`'
_KINDS = {"{": (0, 1), "}": (0, -1), "[": (1, 1), "]": (1, -1), "(": (2, 1), ")": (2, -1)}

# Keys of groups here that are no attributes, and words behind `on` that are none.
_OTHER_KEYS = frozenset({"service", "name", "version", "trace", "anything"})


def complaint_of_key(key: str) -> str | None:
    """Why records cannot be grouped by a field of that name, when the name says something else here."""
    if key in _OTHER_KEYS or key.startswith("trace."):
        return f"`{key}` as a key of groups means something else here than a field of that name; rename the field"
    return None


@dataclass(frozen=True)
class Document:
    """One YAML document with the lines that it has in its file."""

    source: YamlText
    root: Node

    def field(self, node: Node | None, name: str) -> Node | None:
        """The value below a key of a mapping."""
        if node is None or not isinstance(node.value, dict) or name not in node.value:
            return None
        value: Node = node.value[name][1]
        return value

    def text_of(self, node: Node | None, name: str) -> str:
        """The scalar below a key as text; empty when there is none."""
        found = self.field(node, name)
        if found is None or found.value is None or isinstance(found.value, (dict, list)):
            return ""
        return str(found.value).strip()

    def texts_of(self, node: Node | None, name: str) -> tuple[str, ...]:
        """A list of scalars, or one, as texts."""
        found = self.field(node, name)
        if found is None:
            return ()
        children = found.value if isinstance(found.value, list) else [found]
        return tuple(str(child.value) for child in children if not isinstance(child.value, (dict, list)))

    def plain(self, node: Node) -> Any:
        """The values without their places."""
        if isinstance(node.value, dict):
            return {key: self.plain(value) for key, (_, value) in node.value.items()}
        if isinstance(node.value, list):
            return [self.plain(child) for child in node.value]
        return node.value


def documents(text: str) -> tuple[Document, ...]:
    """The documents of a YAML text, each read as strictly as a rule file.

    Raises
    ------
    RuleErrors
        With the line in the whole text.
    """
    found = []
    for first_line, part in _parts(text):
        if not re.sub(r"(?m)^\s*(#.*)?$", "", part).strip():
            continue
        source = YamlText("", part)
        try:
            root = source.root()
        except RuleErrors as error:
            moved = [
                RuleError("", one.line + first_line - 1, one.column, one.message, one.hint) for one in error.errors
            ]
            raise RuleErrors(moved) from None
        found.append(Document(source, _moved(root, first_line - 1)))
    return tuple(found)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    lines = text.split("\n")
    starts = [0, *(at + 1 for at, line in enumerate(lines) if re.fullmatch(r"---\s*", line))]
    for at, start in enumerate(starts):
        end = starts[at + 1] - 1 if at + 1 < len(starts) else len(lines)
        yield start + 1, "\n".join(lines[start:end])


def _moved(node: Node, lines: int) -> Node:
    if not lines:
        return node
    value = node.value
    if isinstance(value, dict):
        value = {name: (_moved(key, lines), _moved(child, lines)) for name, (key, child) in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, lines) for child in value]
    return Node(value, node.line + lines, node.column, node.end_line + lines, node.end_column)


@dataclass(frozen=True)
class Query:
    """A query of a text: what it says, its first line, and the comment above it."""

    text: str
    line: int
    title: str


def queries(text: str) -> tuple[Query, ...]:
    """Queries that stand between blank lines; lines that begin with `//` or `#` above one are its title."""
    found: list[Query] = []
    lines: list[str] = []
    brackets = _Brackets()
    title, first = "", 0
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        comment = re.match(r"\s*(?://|#)\s?(.*)$", line)
        if comment and not lines:
            title = comment.group(1).strip()
        elif line.strip():
            first = first or number
            lines.append("" if comment else line)
            brackets.read(lines[-1])
        elif lines and brackets.are_closed:
            found.append(Query("\n".join(lines), first, title[:200]))
            lines, title, first, brackets = [], "", 0, _Brackets()
        elif lines:
            lines.append(line)
    if lines:
        found.append(Query("\n".join(lines), first, title[:200]))
    return tuple(found)


def identities(found: Sequence[Query], name: str) -> tuple[str, ...]:
    """An id for each query: its title, else the file's name, numbered where there are several."""
    return tuple(
        slug(query.title) if query.title else slug(name) if len(found) == 1 else f"{slug(name)}-{at}"
        for at, query in enumerate(found, start=1)
    )


class _Brackets:
    """Counts the brackets of a query line by line: a query of many blank lines is read once, not once for each."""

    def __init__(self) -> None:
        self._open = [0, 0, 0]
        # Those since a quote that has not ended yet: one that never ends was no string.
        self._open_in_string = [0, 0, 0]
        self._quote = ""

    def read(self, line: str) -> None:
        for found in _SIGNS.finditer(line):
            sign = found.group()
            if sign.startswith("\\"):
                continue
            if sign in _QUOTES:
                if not self._quote:
                    self._quote, self._open_in_string = sign, [0, 0, 0]
                elif sign == self._quote:
                    self._quote = ""
                continue
            opened = self._open_in_string if self._quote else self._open
            opened[_KINDS[sign][0]] += _KINDS[sign][1]

    @property
    def are_closed(self) -> bool:
        """Whether every bracket is closed, outside strings."""
        inside = self._open_in_string if self._quote else [0, 0, 0]
        return all(one + other <= 0 for one, other in zip(self._open, inside, strict=True))
