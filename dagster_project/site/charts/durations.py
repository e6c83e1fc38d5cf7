"""Durations of incidents on a logarithmic axis, every incident a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.site.charts.figure import (
    DENSE,
    MANY_POINTS,
    TURNED,
    Figure,
    Values,
    axis,
    label,
    layout,
    minutes_axis,
    severity_colour,
)
from dagster_project.wording import counted, duration

# Strokes across a row: half their height in rows, their width and dash; a legend shows the dash alone.
MEDIAN = (0.42, 3.5, "solid")
OTHER = (0.34, 3, "4px,3px")
HALO = {"width": 5, "color": "var(--paper)"}


def resolve_times(name: str, *, points: Sequence[Values], groups: Sequence[Values], csv: str, left_out: str) -> Figure:
    """Time to resolve of every incident on a log axis, a row a group, with median and 90th percentile."""
    kind = "scattergl" if len(points) > MANY_POINTS else "scatter"
    rows = {(one["system"], one["severity"]): len(groups) - position for position, one in enumerate(groups)}
    data = [_strip(group, points, rows, kind) for group in groups]
    data += [
        *_marks(groups, rows, "median_minutes", "median", MEDIAN),
        *_marks(groups, rows, "p90_minutes", "90th percentile", OTHER),
    ]
    names = [f"{label(one['system'])} {label(one['severity']) or 'no severity'}" for one in groups]
    narrow = [f"{label(one['system'])[:8]} {label(one['severity'])}" for one in groups]
    spec = {
        "data": data,
        "layout": layout(
            margin={"l": 124, "r": 16, "t": 34, "b": 44},
            xaxis=minutes_axis(title={"text": "time to resolve"}),
            shapes=_strokes(groups, rows) if kind == "scattergl" else [],
            yaxis=axis(
                tickvals=list(rows.values()), ticktext=names, range=[0.4, len(groups) + 0.6], showgrid=False, ticklen=0
            ),
            meta={"narrow": {"margin.l": 86, "yaxis.ticktext": narrow, **TURNED}},
        ),
    }
    medians = "; ".join(
        f"{one['system']} {one['severity'] or 'without severity'}: median {duration(one['median_minutes'] * 60)} of "
        f"{counted(one['n'], 'incident')}"
        for one in groups
    )
    summary = f"Time to resolve on a logarithmic axis. {medians}."
    caption = (
        "Each dot is an incident; the solid stroke is the median, the dashed one the 90th percentile of those "
        f"resolved. Logarithmic axis; up and down within a row means nothing. {left_out}"
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
            "color": severity_colour(group["severity"]),
        },
    }


def _marks(
    groups: Sequence[Values], rows: Mapping[Any, int], column: str, name: str, stroke: tuple[float, float, str]
) -> list[dict[str, Any]]:
    """A stroke a group, with a pale one under it that keeps it apart from the points behind."""
    half, width, dash = stroke
    shown = [(one, rows[one["system"], one["severity"]]) for one in groups if one[column]]
    # Three points a stroke, for a browser finds only points under a pointer; nothing joins one stroke to the next.
    drawn = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for one, _ in shown for x in (*[one[column]] * 3, None)],
        "y": [y for _, row in shown for y in (row - half, row, row + half, None)],
    }
    texts = [text for one, _ in shown for text in [f"{name}: {duration(one[column] * 60)}"] * 4]
    over = {"width": width, "color": "var(--ink)", "dash": dash}
    return [
        {**drawn, "line": HALO, "opacity": 0.85, "showlegend": False, "hoverinfo": "skip"},
        {**drawn, "line": over, "text": texts, "hovertemplate": "%{text}<extra></extra>"},
    ]


def _strokes(groups: Sequence[Values], rows: Mapping[Any, int]) -> list[dict[str, Any]]:
    """The same strokes as shapes: what a graphics card draws lies over every other trace, shapes lie over it."""
    return [
        {
            "type": "line",
            "x0": one[column],
            "x1": one[column],
            "y0": rows[one["system"], one["severity"]] - half,
            "y1": rows[one["system"], one["severity"]] + half,
            "line": line,
        }
        for column, (half, width, dash) in (("median_minutes", MEDIAN), ("p90_minutes", OTHER))
        for line in (HALO, {"width": width, "color": "var(--ink)", "dash": dash})
        for one in groups
        if one[column]
    ]


def two_arms(name: str, *, points: Sequence[Values], arms: Sequence[Values], clock: str, csv: str) -> Figure:
    """Every incident of both arms on a log axis, open ones as open circles at their age, with each arm's median.

    `arms`: arm, label, median_minutes, geometric_mean_minutes, shown_of, the baseline first; `points`: arm, minutes,
    is_open, incident_id, severity, jitter.
    """
    rows = {one["arm"]: len(arms) - place for place, one in enumerate(arms)}
    colours = {"baseline": "var(--series-7)", "candidate": "var(--series-1)"}
    data = [
        _arm(mine, rows[arm["arm"]], colours[arm["arm"]], is_open)
        for arm in arms
        for is_open in (False, True)
        if (mine := [one for one in points if one["arm"] == arm["arm"] and one["is_open"] == is_open])
    ]
    marked = [{**one, "system": one["arm"], "severity": None} for one in arms]
    places = {(one["arm"], None): rows[one["arm"]] for one in arms}
    data += [
        *_marks(marked, places, "median_minutes", "median, open incidents counted", MEDIAN),
        *_marks(marked, places, "geometric_mean_minutes", "geometric mean", OTHER),
    ]
    spec = {
        "data": data,
        "layout": layout(
            margin={"l": 8, "r": 16, "t": 34, "b": 44},
            xaxis=minutes_axis(title={"text": f"time to {label(clock)}"}),
            yaxis=axis(
                tickvals=list(rows.values()),
                ticktext=[label(one["label"]) for one in arms],
                range=[0.4, len(arms) + 0.6],
                showgrid=False,
                ticklen=0,
                automargin=True,
            ),
            meta={"narrow": {**TURNED, "yaxis.tickfont.size": 10}, "extra": 38},
        ),
    }
    medians = "; ".join(
        f"{one['label']}: median {duration(None if one['median_minutes'] is None else one['median_minutes'] * 60)}"
        for one in arms
    )
    caption = (
        f"Each dot is an incident; an open circle has not ended and stands at its age so far. {_thinned(points, arms)}"
        "Logarithmic axis; up and down within a row means nothing."
    )
    return Figure(name, f"Durations of both arms on a logarithmic axis. {medians}.", caption, csv, spec, "17rem")


def _thinned(points: Sequence[Values], arms: Sequence[Values]) -> str:
    total = sum(one["shown_of"] for one in arms)
    return f"{len(points):,} of {total:,} are drawn, evenly by duration. " if len(points) < total else ""


def _arm(mine: Sequence[Values], row: int, colour: str, is_open: bool) -> dict[str, Any]:
    return {
        "type": "scattergl" if len(mine) > MANY_POINTS else "scatter",
        "mode": "markers",
        "name": "open" if is_open else "ended",
        "showlegend": False,
        "x": [one["minutes"] for one in mine],
        "y": [round(row + (one["jitter"] - 0.5) * 0.56, 3) for one in mine],
        "text": [
            f"{label(one['incident_id'])} {label(one['severity'])}: {duration(one['minutes'] * 60)}"
            + (", still open" if is_open else "")
            for one in mine
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "size": 7 if len(mine) <= DENSE else 5,
            "symbol": "circle-open" if is_open else "circle",
            "opacity": 0.8 if len(mine) <= DENSE else 0.35,
            "color": colour,
        },
    }
