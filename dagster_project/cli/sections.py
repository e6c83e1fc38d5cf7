"""Answers of several tables: sections, shown in the terminal or as Markdown, printed or written to a file.

What a section holds, `roi_report` and `claims` know.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagster_project.cli.terminal import stderr, stdout
from dagster_project.wording import LONGEST_CELL, markdown_cell, visible

WIDTH_OF_FILES = 140  # a file has no width; tables of money and sources need more than a terminal's 80


class Format(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    CSV = "csv"


FormatOption = Annotated[Format, typer.Option("--format", help="How to write the answer.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write to this file instead of printing.", show_default=False)
]


ForceOption = Annotated[bool, typer.Option("--force", help="Let the answer take the place of a file that is there.")]


@dataclass(frozen=True)
class Section:
    """A heading with sentences, a drawing of equal letters, and a table; rows of `marked` are shown in red,
    columns of `numbers` stand to the right.
    """

    title: str
    sentences: Sequence[str] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    drawing: Sequence[str] = ()
    marked: frozenset[int] = frozenset()
    numbers: frozenset[int] = frozenset()


def require_place(out: Path | None, *, force: bool) -> None:
    """Refuse a file that cannot be written, or is there and was not given up; to be asked before anything is computed.

    Raises
    ------
    typer.BadParameter
        Names the option.
    """
    if out is None:
        return
    folder = out.absolute().parent
    problem = None
    if out.is_dir():
        problem = "is a folder: name a file in it"
    elif not folder.is_dir():
        problem = "lies in a folder that does not exist"
    elif not os.access(out if out.exists() else folder, os.W_OK):
        problem = "may not be written"
    elif not force and out.is_file() and out.stat().st_size:
        problem = "is there already: name another file, or give --force"
    if problem is not None:
        raise typer.BadParameter(f"{out} {problem}", param_hint="--out")


def deliver(content: Sequence[Section] | str, out: Path | None) -> None:
    """Print an answer, or write it to a file: a string as it is, sections as text."""
    if out is None:
        if isinstance(content, str):
            typer.echo(content, nl=False)  # not through rich: a pipe gets the text as it is
        else:
            show(content, stdout)
        return
    with out.open("w", encoding="utf-8", newline="\n") as file:
        if isinstance(content, str):
            file.write(content)
        else:
            show(content, Console(file=file, width=WIDTH_OF_FILES))
    stderr.print(f"wrote {out}", highlight=False, markup=False, soft_wrap=True)


def show(sections: Sequence[Section], console: Console) -> None:
    """Print sections; nothing in them is markup."""
    for section in sections:
        console.print(Text(visible(section.title), style="bold"))
        for sentence in section.sentences:
            console.print(Text(visible(sentence, LONGEST_CELL)))
        for line in section.drawing:
            console.print(Text(line), soft_wrap=True)
        if section.rows:
            console.print(_table(section))
        console.print()


def as_markdown(sections: Sequence[Section]) -> str:
    """Sections as Markdown."""
    lines: list[str] = []
    for section in sections:
        lines += [f"## {markdown_cell(section.title)}", ""]
        for sentence in section.sentences:
            lines += [markdown_cell(sentence), ""]
        if section.drawing:
            lines += ["```text", *section.drawing, "```", ""]
        if section.rows:
            lines += [
                "| " + " | ".join(map(markdown_cell, section.headings)) + " |",
                "|---" * len(section.headings) + "|",
            ]
            lines += ["| " + " | ".join(map(markdown_cell, row)) + " |" for row in section.rows]
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def bar(share: float, width: int) -> str:
    """A bar of so much of `width` letters; the smallest that is not nothing is one letter."""
    if share <= 0:
        return ""
    return "█" * max(1, round(min(share, 1) * width))


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(section.headings):
        table.add_column(heading, overflow="fold", justify="right" if place in section.numbers else "left")
    for place, row in enumerate(section.rows):
        style = "red" if place in section.marked else ""
        table.add_row(*(Text(visible(cell, LONGEST_CELL), style=style) for cell in row))
    return table
