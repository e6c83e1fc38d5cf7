"""`hindcast claims`: numeric claims of a deck held against their own inputs, and a deck to begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dagster_project.cli.sections import (
    ForceOption,
    Format,
    FormatOption,
    OutOption,
    Section,
    as_markdown,
    deliver,
    require_place,
)
from dagster_project.replay import formats
from dagster_project.statistics import claims as room
from dagster_project.statistics.claims.audit import claims_audit
from dagster_project.statistics.claims.deck import load_deck
from dagster_project.statistics.claims.finding import Verdict

TEMPLATE = Path(room.__file__).with_name("template.yml")
SHOWN = ("id", "line", "stated", "recomputed", "verdict", "why")

group = typer.Typer(help="Numeric claims, recomputed from their own inputs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group.command(
        epilog="[bold]Examples:[/] hindcast claims check data/claims/incident-automation.yml\n\n"
        "hindcast claims check deck.yml --format csv --out claims.csv\n\n"
        "Exit codes: 0 every claim is OK; 1 one is not; 2 the deck or an option is wrong."
    )(check)
    group.command(epilog="[bold]Example:[/] hindcast claims template > deck.yml")(template)
    app.add_typer(group, name="claims")


def check(
    deck: Annotated[Path, typer.Argument(help="File of claims.", show_default=False)],
    format_: FormatOption = Format.TEXT,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Check the numeric claims of a deck; exit code 1 when one is not OK."""
    require_place(out, force=force)
    rows = claims_audit({deck.stem: load_deck(deck)}).to_pylist()
    if format_ is Format.JSON:
        deliver(formats.rows_as_json(rows), out)
    elif format_ is Format.CSV:
        deliver(formats.rows_as_csv([row | {"inputs": _said(row["inputs"])} for row in rows]), out)
    else:
        answer = _sections(rows)
        deliver(as_markdown(answer) if format_ is Format.MARKDOWN else answer, out)
    if any(row["verdict"] != Verdict.OK for row in rows):
        raise typer.Exit(1)


def template() -> None:
    """Print a deck with comments to begin with: one claim for each check."""
    typer.echo(TEMPLATE.read_text(encoding="utf-8"), nl=False)


def _sections(rows: Sequence[dict[str, Any]]) -> list[Section]:
    counts = Counter(row["verdict"] for row in rows)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    sections = [Section(f"{len(rows)} claims: {said}")]
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source]
        table = [
            [
                row["claim_id"].partition("/")[2],
                str(row["line"]),
                row["stated"],
                row["recomputed"] or "-",
                row["verdict"],
                " ".join(filter(None, (row["reason"], row["formula"] and f"[{row['formula']}]", row["note"]))),
            ]
            for row in own
        ]
        marked = frozenset(place for place, row in enumerate(own) if row["verdict"] != Verdict.OK)
        sections.append(Section(source, (), SHOWN, table, (), marked))
    return sections


def _said(inputs: Sequence[dict[str, Any]]) -> str:
    lines = ("" if one["line"] is None else f" (line {one['line']})" for one in inputs)
    said = (f"{one['name']} = {one['value']} {one['unit']}" for one in inputs)
    return "; ".join(map(str.__add__, said, lines))
