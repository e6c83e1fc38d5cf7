"""Figures as plotly describes them: data, axes, and a sentence for those who cannot see them. Draws and reads nothing.

Colours are names of the style sheet ("var(--series-1)"); the page's script resolves them, so that a figure follows
light and dark. Text from outside is escaped, for plotly reads a few HTML tags in labels.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster_project.wording import counted, duration, utc, visible

# From here on a browser draws points with the graphics card; and from DENSE on they cover each other.
MANY_POINTS = 3000
DENSE = 200
SERIES = 7
SEVERITY_COLOURS = {"P1": "var(--sev-1)", "P2": "var(--sev-2)", "P3": "var(--sev-3)"}
SEVERITY_SYMBOLS = {"P1": "triangle-up", "P2": "diamond", "P3": "circle", "P4": "circle-open", "P5": "x-thin-open"}
MINUTES = (1 / 60, 1, 10, 60, 360, 1440, 10_080, 43_200, 129_600, 525_600)
MINUTE_NAMES = ("1 s", "1 min", "10 min", "1 h", "6 h", "1 d", "1 week", "30 d", "90 d", "1 year")

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
                type="date", range=[_x(window[0]), _x(window[1])], anchor="y3", showgrid=False, hoverformat="%H:%M"
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
            "x": [_x(one["bucket_at"]) for one in violations if one["rule"] == rule],
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
            "x": [_x(one["started_at"]) for one in incidents],
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
                "color": [SEVERITY_COLOURS.get(one["severity"] or "", "var(--sev-4)") for one in incidents],
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
        "x": [_x(one["bucket_at"]) for one in traces],
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
        "x0": _x(incident["started_at"]),
        "x1": _x(incident["until"]),
        "y0": 0,
        "y1": 0.94,
        "layer": "below",
        "fillcolor": "var(--band)",
        "line": {"width": 0},
    }


def resolve_times(name: str, *, points: Sequence[Values], groups: Sequence[Values], csv: str, left_out: str) -> Figure:
    """Time to resolve of every incident on a log axis, a row a group, with median and 90th percentile."""
    kind = "scattergl" if len(points) > MANY_POINTS else "scatter"
    rows = {(one["system"], one["severity"]): len(groups) - position for position, one in enumerate(groups)}
    data = [_strip(group, points, rows, kind) for group in groups]
    data += [
        *_ticks(groups, rows, "median_minutes", "median", 26, 3),
        *_ticks(groups, rows, "p90_minutes", "90th percentile", 14, 1.5),
    ]
    names = [f"{label(one['system'])} {label(one['severity']) or 'no severity'}" for one in groups]
    narrow = [f"{label(one['system'])[:8]} {label(one['severity'])}" for one in groups]
    spec = {
        "data": data,
        "layout": layout(
            margin={"l": 124, "r": 16, "t": 34, "b": 44},
            xaxis=axis(
                type="log", tickvals=list(MINUTES), ticktext=list(MINUTE_NAMES), title={"text": "time to resolve"}
            ),
            yaxis=axis(
                tickvals=list(rows.values()), ticktext=names, range=[0.4, len(groups) + 0.6], showgrid=False, ticklen=0
            ),
            meta={"narrow": {"margin.l": 86, "yaxis.ticktext": narrow, "xaxis.tickangle": -50}},
        ),
    }
    medians = "; ".join(
        f"{one['system']} {one['severity'] or 'without severity'}: median {duration(one['median_minutes'] * 60)} of "
        f"{counted(one['n'], 'incident')}"
        for one in groups
    )
    summary = f"Time to resolve on a logarithmic axis. {medians}."
    caption = (
        "Each dot is an incident; the long stroke is the median, the short one the 90th percentile of those resolved. "
        f"Logarithmic axis; up and down within a row means nothing. {left_out}"
    )
    height = f"{max(14, 6 + 4 * len(groups))}rem"
    return Figure(name, summary, caption, csv, spec, height)


def _strip(group: Values, points: Sequence[Values], rows: Mapping[Any, int], kind: str) -> dict[str, Any]:
    key = (group["system"], group["severity"])
    mine = [one for one in points if (one["system"], one["severity"]) == key]
    return {
        "type": kind,
        "mode": "markers",
        "name": f"{label(group['system'])} {label(group['severity'])}",
        "showlegend": False,
        "x": [one["minutes"] for one in mine],
        "y": [round(rows[key] + (one["jitter"] - 0.5) * 0.56, 3) for one in mine],
        "text": [f"{label(one['incident_id'])}: {duration(one['minutes'] * 60)}" for one in mine],
        "customdata": [one["href"] or "" for one in mine],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "size": 7 if len(mine) <= DENSE else 5,
            "opacity": 0.8 if len(mine) <= DENSE else 0.35 if len(mine) <= 10 * DENSE else 0.12,
            "color": SEVERITY_COLOURS.get(group["severity"] or "", "var(--sev-4)"),
        },
    }


def _ticks(
    groups: Sequence[Values], rows: Mapping[Any, int], column: str, name: str, size: int, width: float
) -> list[dict[str, Any]]:
    """A stroke a group, with a pale one under it that keeps it apart from the points behind."""
    shown = [one for one in groups if one[column]]
    stroke = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one[column] for one in shown],
        "y": [rows[one["system"], one["severity"]] for one in shown],
    }
    under = {"symbol": "line-ns", "size": size + 2, "line": {"width": width + 2, "color": "var(--paper)"}}
    over = {"symbol": "line-ns", "size": size, "line": {"width": width, "color": "var(--ink)"}}
    texts = [f"{name}: {duration(one[column] * 60)}" for one in shown]
    return [
        {**stroke, "marker": under, "showlegend": False, "hoverinfo": "skip"},
        {**stroke, "marker": over, "text": texts, "hovertemplate": "%{text}<extra></extra>"},
    ]


def ratios(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """Ratios of geometric means with their intervals, one line a comparison, on a log axis around 1."""
    shown = [one for one in rows if one["ratio"] is not None]
    names = [label(one["comparison_id"]) for one in shown]
    low = [one["ratio"] - one["ratio_low"] for one in shown]
    high = [one["ratio_high"] - one["ratio"] for one in shown]
    spec = {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [one["ratio"] for one in shown],
                "y": names,
                "text": [
                    f"{label(one['comparison_id'])}<br>ratio {one['ratio']:.3g} "
                    f"({one['ratio_low']:.3g} to {one['ratio_high']:.3g})<br>{label(one['verdict'])}"
                    for one in shown
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "error_x": {"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1.5,
                            "width": 5, "color": "var(--ink-2)"},
                "marker": {"size": 11, "color": "var(--accent)", "symbol": "square"},
            }
        ],
        "layout": layout(
            margin={"l": 8, "r": 16, "t": 12, "b": 44},
            showlegend=False,
            shapes=[{"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
                     "line": {"color": "var(--ink-3)", "dash": "dot", "width": 1.5}}],
            xaxis=axis(type="log", tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 50], title={"text": "candidate ÷ baseline"}),
            yaxis=axis(automargin=True, autorange="reversed", showgrid=False, ticklen=0),
        ),
    }  # fmt: skip
    summary = "; ".join(f"{one['comparison_id']}: ratio {one['ratio']:.3g}, {one['verdict']}" for one in shown)
    caption = (
        "Ratio of geometric means with its interval (Welch on logarithms): left of 1 the candidate is shorter. "
        "Comparisons that could not be made have no square."
    )
    return Figure(
        name, summary or "No comparison has a ratio.", caption, csv, spec, f"{max(10, 5 + 3 * len(shown))}rem"
    )


def present_values(name: str, *, rows: Sequence[Values], currency: str, csv: str) -> Figure:
    """What each line of an estimate brings or costs in present value, costs to the left."""
    signed = [(-1 if one["kind"] == "cost" else 1) * one["present_value"] for one in rows]
    colours = {"cost": "var(--series-2)", "benefit": "var(--series-1)", "transfer": "var(--quiet)"}
    spec = {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": signed,
                "y": [label(one["label"]) for one in rows],
                "marker": {
                    "color": [colours.get(one["kind"], "var(--quiet)") for one in rows],
                    "pattern": {"shape": ["/" if one["kind"] == "transfer" else "" for one in rows],
                                "fgcolor": "var(--ink-3)", "bgcolor": "var(--paper)"},
                },
                "text": [f"{value:,.0f}" for value in signed],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": "%{y}<br>" + label(currency) + " %{x:,.0f}<extra></extra>",
            }
        ],
        "layout": layout(
            margin={"l": 8, "r": 16, "t": 8, "b": 44},
            showlegend=False,
            bargap=0.35,
            xaxis=axis(
                title={"text": f"{label(currency)}, present value"},
                range=_with_room(signed),
                zeroline=True,
                zerolinecolor="var(--ink)",
            ),
            yaxis=axis(automargin=True, autorange="reversed", showgrid=False),
        ),
    }  # fmt: skip
    summary = "; ".join(f"{one['label']}: {value:,.0f} {currency}" for one, value in zip(rows, signed, strict=True))
    caption = (
        "Present value of each line over all years: costs to the left, benefits to the right; hatched is not credited."
    )
    return Figure(name, summary, caption, csv, spec, f"{max(9, 5 + 2.6 * len(rows)):g}rem")


def _with_room(values: Sequence[float]) -> list[float]:
    """A range around the values and 0, with room for a number beside each bar."""
    low, high = min([0, *values]), max([0, *values])
    room = 0.14 * (high - low or 1)
    return [low - room if low < 0 else 0, high + room if high > 0 else 0]


def _x(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
