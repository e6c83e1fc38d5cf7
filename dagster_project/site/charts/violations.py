"""Violations over time, with incidents above and recorded traces below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dagster_project.site.charts.figure import (
    SERIES,
    SEVERITY_SYMBOLS,
    Figure,
    Values,
    axis,
    label,
    layout,
    moment,
    severity_colour,
)
from dagster_project.wording import counted, duration, utc


def over_time(
    name: str,
    *,
    violations: Sequence[Values],
    traces: Sequence[Values],
    incidents: Sequence[Values],
    bucket_seconds: int,
    window: tuple[datetime, datetime],
    csv: str,
) -> Figure:
    """Violations a bucket, stacked by rule; incidents above and recorded traces below on the same time axis."""
    width = bucket_seconds * 1000
    data = [*_bars(violations, width), *_incident_lane(incidents), _trace_lane(traces, width)]
    shapes = [_band(one) for one in incidents]
    spec = {
        "data": data,
        "layout": layout(
            barmode="stack",
            bargap=0,
            shapes=shapes,
            margin={"l": 56, "r": 8, "t": 40, "b": 56},
            xaxis=axis(
                type="date",
                range=[moment(window[0]), moment(window[1])],
                anchor="y3",
                showgrid=False,
                hoverformat="%H:%M",
            ),
            yaxis=axis(
                domain=[0.24, 0.86],
                title={"text": "violations", "standoff": 4},
                rangemode="tozero",
                **_ticks_of(violations),
            ),
            yaxis2=axis(domain=[0.89, 1], showticklabels=False, showgrid=False, range=[0, 1]),
            yaxis3=axis(domain=[0, 0.16], title={"text": "traces", "standoff": 4}, rangemode="tozero", nticks=3),
            # A telephone sets the legend one name a line; the figure grows by those lines instead of shrinking.
            meta={
                "narrow": {"margin.l": 40, "yaxis.title.text": "", "yaxis3.title.text": "", "xaxis.nticks": 4},
                "extra": 19 * len(data),
            },
        ),
    }
    total = sum(one["violations"] for one in violations)
    summary = (
        f"{counted(total, 'violation')} from {utc(window[0])} to {utc(window[1])}, "
        f"with {counted(len(incidents), 'incident')} marked above and the number of recorded traces below."
    )
    caption = (
        f"Violations by the start of their first span, in steps of {duration(bucket_seconds)}. "
        "Shaded: incidents. Below: traces recorded, for a stretch without traces says nothing about violations."
    )
    return Figure(name, summary, caption, csv, spec, "27rem")


def _ticks_of(violations: Sequence[Values]) -> dict[str, Any]:
    """Whole numbers on the axis: half a violation is none."""
    peaks: dict[datetime, int] = {}
    for one in violations:
        peaks[one["bucket_at"]] = peaks.get(one["bucket_at"], 0) + one["violations"]
    return {"dtick": 1} if max(peaks.values(), default=0) <= 5 else {"nticks": 6, "tickformat": ",d"}


def _bars(violations: Sequence[Values], width: int) -> list[dict[str, Any]]:
    # A rule keeps its colour in every figure: it hangs on its place among all rules, not on who else is drawn.
    places = {one["rule"]: one["position"] for one in violations}
    return [
        {
            "type": "bar",
            "name": label(rule),
            "x": [moment(one["bucket_at"]) for one in violations if one["rule"] == rule],
            "y": [one["violations"] for one in violations if one["rule"] == rule],
            "width": width,
            "offset": 0,
            "marker": {
                "color": f"var(--series-{min(place, SERIES)})",
                "line": {"width": 0.5, "color": "var(--paper)"},
            },
            "hovertemplate": "%{y:,} violated<br>%{x|%Y-%m-%d %H:%M}<extra>" + label(rule) + "</extra>",
        }
        for rule, place in places.items()
    ]


def _incident_lane(incidents: Sequence[Values]) -> list[dict[str, Any]]:
    if not incidents:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "incident",
            "yaxis": "y2",
            "x": [moment(one["started_at"]) for one in incidents],
            "y": [0.5] * len(incidents),
            "customdata": [one["href"] or "" for one in incidents],
            "text": [
                f"{label(one['incident_id'])} {label(one['severity'])}<br>{label(one['title'])}<br>"
                f"{utc(one['started_at'])}, {_lasting(one['seconds'])}"
                for one in incidents
            ],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "size": 10,
                "color": [severity_colour(one["severity"]) for one in incidents],
                "symbol": [SEVERITY_SYMBOLS.get(one["severity"] or "", "circle-open") for one in incidents],
                "line": {"width": 1, "color": "var(--paper)"},
            },
        }
    ]


def _lasting(seconds: float | None) -> str:
    return "no usable end" if seconds is None else f"resolved after {duration(seconds)}"


def _trace_lane(traces: Sequence[Values], width: int) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": "traces recorded",
        "yaxis": "y3",
        "x": [moment(one["bucket_at"]) for one in traces],
        "y": [one["traces"] for one in traces],
        "width": width,
        "offset": 0,
        "showlegend": False,
        "marker": {"color": "var(--series-7)", "line": {"width": 0}},
        "hovertemplate": "%{y:,} traces<br>%{x|%Y-%m-%d %H:%M}<extra></extra>",
    }


def _band(incident: Values) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": moment(incident["started_at"]),
        "x1": moment(incident["until"]),
        "y0": 0,
        "y1": 0.94,
        "layer": "below",
        "fillcolor": "var(--band)",
        "line": {"width": 0},
    }
