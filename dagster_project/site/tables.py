"""Tables of pages: named columns, formatted cells, how many rows there are in all, and where the rest is.

A table of a mart's rows names the mart, and each row its id, so that every number can be looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dagster_project.site.workshop import Row
from dagster_project.wording import count, duration, percent, quantity, scope, size, utc, visible

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Column:
    """A column: where its value is in a row, its heading, and how the value is written.

    `link` names the entry of the row that holds the cell's address, `share` the one with a part of one for a bar,
    `unit` the one that says what a value of the kind "measure" is in, `tier` the one that says how much evidence a
    verdict stands on.
    """

    key: str
    label: str
    kind: str = "text"
    link: str | None = None
    share: str | None = None
    hint: str | None = None
    unit: str | None = None
    tier: str | None = None

    @property
    def is_number(self) -> bool:
        return self.kind in {
            "count",
            "number",
            "seconds",
            "minutes",
            "bytes",
            "share",
            "p",
            "months",
            "money",
            "factor",
            "measure",
            "length",
        }


@dataclass(frozen=True)
class Cell:
    """What stands in a cell; `ids` and `key`: rows and column of the mart, where the table does not say."""

    text: str
    kind: str
    href: str | None = None
    share: float | None = None
    ids: str | None = None
    key: str | None = None
    tier: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows to show, of `total` that there are; `csv` leads to all of them.

    `ids` has the id of each row in `mart`, and is empty where rows are not those of one mart.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    csv: str | None
    mart: str | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A number that stands alone on a page, with its name, what must be known beside it, and where it is found.

    `verdicts` are those that do not bear it out, and stand beside it.
    """

    text: str
    name: str
    beside: str
    mart: str
    id: str
    key: str
    verdicts: tuple[str, ...] = ()


def table(
    caption: str,
    columns: Iterable[Column],
    rows: Iterable[Row],
    total: int | None = None,
    csv: str | None = None,
    *,
    source: tuple[str, str] | None = None,
) -> Table:
    """A table of `rows`; without a `total` they are all there are. `source`: their mart, and its column of ids."""
    columns, rows = tuple(columns), list(rows)
    cells = tuple(tuple(cell(column, row) for column in columns) for row in rows)
    mart, id_key = source or (None, "")
    ids = tuple(str(row[id_key]) for row in rows) if source else ()
    return Table(caption, columns, cells, len(cells) if total is None else total, csv, mart, ids)


def fact(row: Row, source: tuple[str, str], column: Column, beside: str = "") -> Fact:
    """One number of a row, to stand alone."""
    mart, id_key = source
    return Fact(cell(column, row).text, column.label, beside, mart, str(row[id_key]), column.key)


def cell(column: Column, row: Row) -> Cell:
    """A value of a row as it is written."""
    value = row[column.key]
    href = row[column.link] if column.link else None
    share = row[column.share] if column.share else None
    if value is None or (value in ("", []) and column.kind != "length"):
        return Cell(DASH, "text", href, share)
    text = measure(value, row[column.unit]) if column.unit else FORMATS.get(column.kind, _text)(value)
    tier = row[column.tier] if column.tier else None
    return Cell(text, LOOKS.get(column.kind, column.kind), href, None if share is None else float(share), tier=tier)


def measure(value: float, unit: str) -> str:
    """A value in a unit that differs from row to row: minutes, share, or any other."""
    return FORMATS[{"minutes": "minutes", "share": "share"}.get(unit, "number")](value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return visible(", ".join(str(one) for one in value))
    return visible(str(value))


def _months(value: float) -> str:
    """Months to pay back: 0 is what never had to be paid in advance."""
    if value == 0:
        return "at once"
    return "< 1" if value < 1 else f"{value:.1f}"


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
    "months": _months,
    "money": lambda value: f"{value:,.0f}".replace("-", MINUS),
    "factor": lambda value: f"{value:,.3g}",
    "support": lambda value: "supported" if value else "unsupported",
    "times": lambda value: f"{value:,.4g}x",
    "length": lambda value: count(len(value)),
    "yes": lambda value: "yes" if value else "no",
    "met": lambda value: "yes" if value else "no",
    "p": _p,
}
