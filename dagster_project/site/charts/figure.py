"""What all figures share: the record of one, its layout, axes, colours and how text from outside enters it.

Colours are names of the style sheet ("var(--series-1)"); the page's script resolves them, so that a figure follows
light and dark. Text from outside is escaped, for plotly reads a few HTML tags in labels.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster_project.wording import visible

# From here on a browser draws points with the graphics card; and from DENSE on they cover each other.
MANY_POINTS = 3000
DENSE = 200
SERIES = 7
SEVERITY_COLOURS = {"P1": "var(--sev-1)", "P2": "var(--sev-2)", "P3": "var(--sev-3)"}
SEVERITY_SYMBOLS = {"P1": "triangle-up", "P2": "diamond", "P3": "circle", "P4": "circle-open", "P5": "x-thin-open"}
MINUTES = (1 / 60, 1, 10, 60, 360, 1440, 10_080, 43_200, 129_600, 525_600)
MINUTE_NAMES = ("1 s", "1 min", "10 min", "1 h", "6 h", "1 d", "1 week", "30 d", "90 d", "1 year")

# A telephone turns the names of ticks, and the title of their axis must make way.
TURNED = {"xaxis.tickangle": -50, "xaxis.title.standoff": 26, "margin.b": 84}

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A chart: `summary` says it in words, `caption` what is seen and how it was made, `csv` holds its numbers."""

    name: str
    summary: str
    caption: str
    csv: str
    spec: dict[str, Any]
    height: str = "24rem"


def label(text: str | None) -> str:
    """Text from outside for a figure."""
    return html.escape(visible(text or ""), quote=False)


def layout(**more: Any) -> dict[str, Any]:
    """What all figures share."""
    base: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Inter, Segoe UI, system-ui, sans-serif", "size": 12.5, "color": "var(--ink-2)"},
        "margin": {"l": 52, "r": 8, "t": 12, "b": 44},
        "hoverlabel": {
            "bgcolor": "var(--paper)",
            "bordercolor": "var(--line-strong)",
            "font": {"color": "var(--ink)", "size": 12.5},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
        "dragmode": False,
    }
    return {**base, **more}


def axis(**more: Any) -> dict[str, Any]:
    """An axis with quiet lines."""
    quiet = {"gridcolor": "var(--line)", "zeroline": False, "fixedrange": True, "showline": False, "ticks": ""}
    return {**quiet, **more}


def minutes_axis(**more: Any) -> dict[str, Any]:
    """A logarithmic axis of durations in minutes, with ticks that people know."""
    return axis(type="log", tickvals=list(MINUTES), ticktext=list(MINUTE_NAMES), **more)


def severity_colour(severity: str | None) -> str:
    """The colour of a severity; those below P3 and none share one."""
    return SEVERITY_COLOURS.get(severity or "", "var(--sev-4)")


def moment(at: datetime) -> str:
    """A time as plotly reads it."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def with_room(values: list[float], share: float = 0.14) -> list[float]:
    """A range around the values and 0, with room for a number beside each bar."""
    low, high = min([0, *values]), max([0, *values])
    room = share * (high - low or 1)
    return [low - room if low < 0 else 0, high + room if high > 0 else 0]
