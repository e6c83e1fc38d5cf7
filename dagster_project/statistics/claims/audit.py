"""Rows of `marts.claims_audit`: every claim of every deck, held against its inputs. No verdict is read from a deck."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from dagster_project.statistics.claims.checks import duration
from dagster_project.statistics.claims.deck import Claim, Deck, StatedFigure, load_deck
from dagster_project.statistics.claims.figures import seconds_in
from dagster_project.statistics.claims.finding import say
from dagster_project.statistics.claims.schemas import CLAIMS_AUDIT_SCHEMA
from dagster_project.statistics.columns import finite


def load_decks(folder: Path) -> dict[str, Deck]:
    """The decks of a folder by the names of their files; none when there is no folder.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    return {file.stem: load_deck(file) for file in sorted(folder.glob("*.yml"))}


def claims_audit(decks: Mapping[str, Deck]) -> pa.Table:
    """Rows of `marts.claims_audit`, by deck and in its order."""
    rows = [
        _row(name, place, claim, {source.id: source.title for source in deck.sources})
        for name, deck in sorted(decks.items())
        for place, claim in enumerate(deck.claims, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=CLAIMS_AUDIT_SCHEMA)


def _row(deck: str, position: int, claim: Claim, titles: Mapping[str, str]) -> dict[str, Any]:
    found, figure = claim.finding(), claim.stated
    unit, value = found.unit or figure.unit, found.value
    if value is not None and unit == "seconds" and (seconds := seconds_in(figure.unit)):
        unit, value = figure.unit, value / seconds
    return {
        "claim_id": f"{deck}/{claim.id}",
        "deck_id": deck,
        "position": position,
        "claim": claim.claim,
        "source": titles[claim.source],
        "line": claim.line,
        "stated": _stated(figure),
        "stated_value": figure.value,
        "stated_unit": figure.unit,
        "check": claim.check.kind,
        "inputs": [
            one._asdict() | {"source": titles[one.source or claim.source] if one.line else None}
            for one in claim.check.given()
        ],
        "formula": found.formula,
        "recomputed": None if value is None else _shown(value, unit),
        "recomputed_value": finite(value),
        "tolerance": None if figure.value is None else figure.rounding,
        "verdict": found.verdict.value,
        "reason": found.reason,
        "note": claim.note,
    }


def _stated(figure: StatedFigure) -> str:
    if figure.as_written is not None:
        return figure.as_written
    return "no single number" if figure.value is None else _shown(figure.value, figure.unit)


def _shown(value: float, unit: str) -> str:
    seconds = seconds_in(unit)
    if seconds is None or seconds < 1:
        return f"{say(value)} {unit}"
    is_days = seconds == 86_400
    return f"{say(round(value, 2))} {unit}{'' if is_days else f' ({duration(value * seconds)})'}"
