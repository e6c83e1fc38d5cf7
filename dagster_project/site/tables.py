"""Tables of pages: named columns, formatted cells, how many rows there are in all, and where the rest is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dagster_project.site.workshop import Row
from dagster_project.wording import count, duration, percent, quantity, scope, size, utc, visible

DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Column:
    """A column: where its value is in a row, its heading, and how the value is written.

    `link` names the entry of the row that holds the cell's address, `share` the one with a part of one for a bar.
    """

    key: str
    label: str
    kind: str = "text"
    link: str | None = None
    share: str | None = None
    hint: str | None = None

    @property
    def is_number(self) -> bool:
        return self.kind in {"count", "number", "seconds", "minutes", "bytes", "share", "p", "months"}


@dataclass(frozen=True)
class Cell:
    """What stands in a cell."""

    text: str
    kind: str
    href: str | None
    share: float | None


@dataclass(frozen=True)
class Table:
    """Rows to show, of `total` that there are; `csv` leads to all of them."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    csv: str | None


def table(
    caption: str, columns: Iterable[Column], rows: Iterable[Row], total: int | None = None, csv: str | None = None
) -> Table:
    """A table of `rows`; without a `total` they are all there are."""
    columns = tuple(columns)
    cells = tuple(tuple(_cell(column, row) for column in columns) for row in rows)
    return Table(caption, columns, cells, len(cells) if total is None else total, csv)


def _cell(column: Column, row: Row) -> Cell:
    value = row[column.key]
    href = row[column.link] if column.link else None
    share = row[column.share] if column.share else None
    if value is None or value in ("", []):
        return Cell(DASH, "text", href, share)
    text = FORMATS.get(column.kind, _text)(value)
    return Cell(text, LOOKS.get(column.kind, column.kind), href, None if share is None else float(share))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return visible(", ".join(str(one) for one in value))
    return visible(str(value))


def _p(value: Any) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# Kinds that the templates set like another one.
LOOKS = {"scope": "code", "minute": "text", "sentences": "text"}
FORMATS: dict[str, Callable[[Any], str]] = {
    "scope": lambda value: visible(scope(str(value))),
    "count": lambda value: count(round(value)),
    "number": lambda value: quantity(float(value)),
    "seconds": lambda value: duration(float(value)),
    "minutes": lambda value: duration(float(value) * 60),
    "bytes": lambda value: size(int(value)),
    "time": lambda value: utc(value).removesuffix(" UTC"),
    "sentences": lambda value: visible(str(value), 1_000),
    "minute": lambda value: utc(value)[:16],
    "share": lambda value: percent(float(value)),
    "months": lambda value: f"{value:.1f}",
    "p": _p,
}
