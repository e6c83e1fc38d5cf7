"""Control charts: an indicator by period with its limits, its target, and the periods outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.site.charts.figure import Figure, Values, axis, label, layout, minutes_axis, moment

ALERT, QUIET = "var(--bad)", "var(--ink-2)"


def control_chart(
    name: str, *, title: str, unit: str, rows: Sequence[Values], is_logarithmic: bool, said: str, csv: str
) -> Figure:
    """An indicator over its periods. `rows`: period_at, value, centre, low, high, target, is_alert, text; in order."""
    # A period without a value is a gap: a line across it would say that something was measured there.
    x = [moment(one["period_at"]) for one in rows]
    alerts = [one["is_alert"] for one in rows]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(title),
        "x": x,
        "y": [one["value"] for one in rows],
        "text": [label(one["text"]) for one in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": QUIET, "width": 1.5},
        "marker": {
            "size": [13 if is_alert else 7 for is_alert in alerts],
            "symbol": ["diamond" if is_alert else "circle" for is_alert in alerts],
            "color": [ALERT if is_alert else QUIET for is_alert in alerts],
        },
    }
    levels = [
        _level(rows, "centre", "centre", "var(--ink)", "solid"),
        _level(rows, "high", "control limits", "var(--warn)", "dash"),
        _level(rows, "low", "control limits", "var(--warn)", "dash", is_named=False),
        _level(rows, "target", "target", "var(--good)", "dot"),
    ]
    ticks = {"tickformat": ".0%"} if unit == "share" else {}
    named = {"title": {"text": "duration" if is_logarithmic else label(unit), "standoff": 6}}
    y_axis = minutes_axis(**named) if is_logarithmic else axis(rangemode="tozero", **ticks, **named)
    spec = {
        "data": [line, *(level for level in levels if level)],
        "layout": layout(
            margin={"l": 64, "r": 12, "t": 30, "b": 40},
            xaxis=axis(type="date", showgrid=False),
            yaxis=y_axis,
            meta={"narrow": {"xaxis.nticks": 4, "yaxis.title.text": "", "margin.l": 48}, "extra": 38},
        ),
    }
    caption = (
        "Individuals and moving ranges: limits are the centre and 2.66 mean moving ranges either way. A diamond lies "
        f"outside of them. {said}"
    )
    return Figure(name, f"{title} by period. {said}", caption, csv, spec, "20rem")


def _level(
    rows: Sequence[Values], column: str, name: str, colour: str, dash: str, *, is_named: bool = True
) -> dict[str, Any] | None:
    known = [one for one in rows if one[column] is not None]
    if not known:
        return None
    return {
        "type": "scatter",
        "mode": "lines" if len(known) > 1 else "markers",
        "name": name,
        "legendgroup": name,
        "showlegend": is_named,
        "x": [moment(one["period_at"]) for one in known],
        "y": [one[column] for one in known],
        "hoverinfo": "skip",
        "line": {"color": colour, "dash": dash, "width": 1.5},
    }
