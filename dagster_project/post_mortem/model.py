"""The typed model of a post-mortem and the words to build one with. No query, no fact, no markup.

A statement is a run of words and values and the references that carry it. Only notes, which explain a method and state
nothing about the incident, have none.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from dagster_project.facts import Reference, Stamp
from dagster_project.wording import utc

Style = Literal["plain", "strong", "code"]
Kind = Literal["fact", "hypothesis", "unknown", "conflict", "note"]


@dataclass(frozen=True)
class Run:
    """A piece of text in one style. Plain text: whoever renders escapes it."""

    text: str
    style: Style = "plain"


@dataclass(frozen=True)
class Statement:
    """One sentence, what kind of claim it makes, and the references ("R3") that carry it."""

    runs: tuple[Run, ...]
    kind: Kind
    references: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs)


@dataclass(frozen=True)
class Bullets:
    """A list of statements under a small heading; `empty` is said when there is none."""

    heading: str | None
    statements: tuple[Statement, ...]
    empty: Statement | None = None


@dataclass(frozen=True)
class Hypothesis:
    """A claim that is not a fact: what speaks for it beside what speaks against it."""

    heading: Run
    supporting: tuple[Statement, ...]
    contradicting: tuple[Statement, ...]


@dataclass(frozen=True)
class Row:
    """One line of a table with what carries it."""

    cells: tuple[Run, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Lines with named columns; `total` is how many there are, of which the first are in `rows`.

    `numeric`, `times` and `wide` are positions of columns that are set to the right, on one line, or with room.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    total: int
    numeric: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    wide: tuple[int, ...] = ()


Block = Statement | Bullets | Hypothesis | Table


@dataclass(frozen=True)
class Section:
    """A titled part of the document."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class NumberedReference:
    """A reference under the number that statements quote."""

    number: str
    reference: Reference


@dataclass(frozen=True)
class Document:
    """A post-mortem, ready to be rendered. `version` is a hash of what it says, so equal facts give equal versions."""

    incident_id: str
    slug: str
    title: str
    state: str
    severity: str | None
    system: str
    started_at: datetime | None
    stamp: Stamp
    sections: tuple[Section, ...]
    references: tuple[NumberedReference, ...]
    version: str = field(default="")

    def as_json(self) -> dict[str, Any]:
        """The whole model as JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_json_value))
        for section, model in zip(plain["sections"], self.sections, strict=True):
            for block, source in zip(section["blocks"], model.blocks, strict=True):
                block["type"] = type(source).__name__.lower()
        return plain


@dataclass
class References:
    """Numbers references in the order in which they are first quoted."""

    _numbers: dict[Reference, str] = field(default_factory=dict)

    def cite(self, *references: Reference) -> tuple[str, ...]:
        """The numbers of the references, new ones where needed."""
        return tuple(self._numbers.setdefault(one, f"R{len(self._numbers) + 1}") for one in dict.fromkeys(references))

    def numbered(self) -> tuple[NumberedReference, ...]:
        return tuple(NumberedReference(number, reference) for reference, number in self._numbers.items())


def say(template: str, kind: Kind, references: Sequence[str] = (), /, **values: str | Run) -> Statement:
    """A statement from a sentence with `{named}` values; a value that is a `Run` keeps its style."""
    runs: list[Run] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        if literal:
            runs.append(Run(literal))
        if name:
            value = values[name]
            runs.append(value if isinstance(value, Run) else Run(value))
    return Statement(tuple(runs), kind, tuple(references))


def strong(text: str) -> Run:
    """A value that the eye is to find."""
    return Run(text, "strong")


def code(text: str) -> Run:
    """An identifier, set as it is."""
    return Run(text, "code")


def statements(document: Document) -> list[Statement]:
    """Every statement of the document, those of lists included; table rows carry their references themselves."""
    found: list[Statement] = []
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Statement):
                found.append(block)
            elif isinstance(block, Bullets):
                found.extend(block.statements or ((block.empty,) if block.empty else ()))
            elif isinstance(block, Hypothesis):
                found.extend((*block.supporting, *block.contradicting))
    return found


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return utc(value)
    raise TypeError(f"{type(value).__name__} has no place in a document: {value!r}")
