"""Survival curves with their bands: the share of incidents that are still not over after a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dagster_project.site.charts.figure import TURNED, Figure, Values, axis, label, layout, minutes_axis
from dagster_project.wording import duration

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class Curve:
    """A curve to draw; `points` have minutes, survival, low, high and at_risk, in order of time."""

    name: str
    colour: str
    points: Sequence[Values]


def survival(name: str, *, curves: Sequence[Curve], said: str, what: str, csv: str, height: str = "23rem") -> Figure:
    """Kaplan-Meier curves on a log time axis, each a step line with its band; `what` ends when a curve falls."""
    bands = [_band(curve) for curve in curves if len(curve.points) > 1]
    lines = [_line(curve, DASHES[place % len(DASHES)]) for place, curve in enumerate(curves)]
    half = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0.5, "y1": 0.5, "layer": "below",
            "line": {"color": "var(--line-strong)", "dash": "dot", "width": 1}}  # fmt: skip
    spec = {
        "data": [*bands, *lines],
        "layout": layout(
            margin={"l": 56, "r": 12, "t": 12, "b": 44},
            shapes=[half],
            hovermode="closest",
            xaxis=minutes_axis(title={"text": label(what)}),
            yaxis=axis(
                tickformat=".0%", range=[0, 1.02], title={"text": "not over yet", "standoff": 6}, dtick=0.25
            ),
            meta={"narrow": {**TURNED, "margin.l": 44, "yaxis.title.text": ""},
                  "extra": 19 * max(0, len(lines) - 2)},
        ),
    }  # fmt: skip
    caption = (
        "Kaplan-Meier: the share of incidents that are not over after that long, open incidents counted for as long as "
        "they have been seen. Shaded: 95 % band. The median is where a curve crosses the dotted line; a curve that "
        "ends above it has none."
    )
    return Figure(name, said, caption, csv, spec, height)


def _line(curve: Curve, dash: str) -> dict[str, Any]:
    # All are still open until the first has ended; without that a curve of one step would be a point.
    points = [{**curve.points[0], "survival": 1.0, "low": None, "high": None}, *curve.points]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(curve.name),
        "x": [one["minutes"] for one in points],
        "y": [one["survival"] for one in points],
        "text": [
            f"{label(curve.name)}: {one['survival']:.0%} not over after {duration(one['minutes'] * 60)}"
            + (f"<br>{one['low']:.0%} to {one['high']:.0%}" if one["low"] is not None else "")
            + f"; {one['at_risk']:,} at risk"
            for one in points
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"shape": "hv", "width": 2, "color": curve.colour, "dash": dash},
    }


def _band(curve: Curve) -> dict[str, Any]:
    """The band as one closed outline; its steps are written out, for a way back would step the other way."""
    known = [one for one in curve.points if one["low"] is not None and one["high"] is not None]
    upper = _steps([(one["minutes"], one["high"]) for one in known])
    lower = _steps([(one["minutes"], one["low"]) for one in known])
    outline = [*upper, *reversed(lower)]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in outline],
        "y": [y for _, y in outline],
        "fill": "toself",
        "fillcolor": curve.colour,
        "opacity": 0.16,
        "line": {"width": 0, "color": curve.colour},
        "hoverinfo": "skip",
        "showlegend": False,
        "name": label(curve.name),
    }


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = list(points[:1])
    for (_, before), (x, y) in pairwise(points):
        steps += [(x, before), (x, y)]
    return steps
