"""Effects: ratios with their intervals, placebo cut-overs around the real one, the split of a change by mix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dagster_project.site.charts.figure import TURNED, Figure, Values, axis, label, layout, moment
from dagster_project.wording import duration

# Ticks of a ratio, by the decades that an axis spans: the more of them, the fewer.
RATIO_TICKS = (
    (1.0, (0.2, 0.25, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5)),
    (2.2, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)),
    (9.0, (0.001, 0.01, 0.1, 1, 10, 100, 1000)),
)
# A ratio further from 1 than this is no longer read off an axis; it keeps its number in the table.
FURTHEST = 1000.0
LONGEST_NAME = 44
VERDICT_COLOURS = {"IMPROVED": "var(--good)", "WORSE": "var(--bad)", "INCONCLUSIVE": "var(--warn)"}


def ratios(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """The ratio that each comparison's verdict stands on, one line a comparison, on a log axis around 1."""
    shown = [one for one in rows if one["primary_ratio"]]
    spec = _ratio_figure(
        names=[label(one["comparison_id"]) for one in shown],
        intervals=[(one["primary_ratio"], one["primary_ratio_low"], one["primary_ratio_high"]) for one in shown],
        texts=[label(f"{one['verdict'].lower().replace('_', ' ')}, {one['tier']} evidence") for one in shown],
        colours=[VERDICT_COLOURS.get(one["verdict"], "var(--ink-2)") for one in shown],
        symbols=["square" if one["tier"] == "full" else "square-open" for one in shown],
    )
    summary = "; ".join(
        f"{one['comparison_id']}: ratio {one['primary_ratio']:.3g}, {one['verdict']}"
        + ("" if one["tier"] == "full" else f" ({one['tier']})")
        for one in shown
    )
    caption = (
        "The ratio that each verdict stands on, with its interval: left of 1 the candidate is shorter. A hollow square "
        "is indicative: an arm has fewer than 20 incidents. Comparisons that could not be made have no square."
    )
    return Figure(name, summary or "No comparison has a ratio.", caption, csv, spec, _height(shown))


def forest(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """Every estimate of the same ratio of durations; the square is the one that the verdict stands on."""
    shown = [one for one in rows if one["estimate"] and one["estimate"] > 0]
    missing = [one for one in rows if not one["estimate"]]
    spec = _ratio_figure(
        names=[label(one["label"]) for one in shown],
        intervals=[(one["estimate"], one["low"], one["high"]) for one in shown],
        texts=[f"{one['n']:,} incidents" if one["n"] else "" for one in shown],
        colours=["var(--accent)" if one["is_primary"] else "var(--ink-2)" for one in shown],
        symbols=["square" if one["is_primary"] else "circle" for one in shown],
    )
    summary = "; ".join(f"{one['label']}: {_interval(one['estimate'], one['low'], one['high'])}" for one in shown)
    caption = (
        "The ratio of durations, candidate over baseline, estimated in different ways: left of 1 the candidate is "
        "shorter. The square is the one that the verdict stands on; where the others lie elsewhere, its method matters."
    )
    if missing:
        caption += f" Not to be had here: {', '.join(label(one['label']) for one in missing)}."
    return Figure(name, summary or "No estimate could be had.", caption, csv, spec, _height(shown))


def _ratio_figure(
    *,
    names: Sequence[str],
    intervals: Sequence[tuple[float, float | None, float | None]],
    texts: Sequence[str],
    colours: Sequence[str],
    symbols: Sequence[str],
) -> dict[str, Any]:
    low = [_side(value, end) for value, end, _ in intervals]
    high = [_side(end, value) if end is not None else 0.0 for value, _, end in intervals]
    shown = [_short(one) for one in names]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [value for value, _, _ in intervals],
            "y": list(range(len(shown))),
            "text": [
                f"{one}<br>{_interval(*interval)}" + (f"<br>{text}" if text else "")
                for one, interval, text in zip(names, intervals, texts, strict=True)
            ],
            "hovertemplate": "%{text}<extra></extra>",
            "error_x": {"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1.5,
                        "width": 5, "color": "var(--ink-2)"},
            "marker": {"size": 11, "color": list(colours), "symbol": list(symbols)},
        }
    ]  # fmt: skip
    line = {"color": "var(--ink-3)", "dash": "dot", "width": 1.5}
    no_change = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "layer": "below", "line": line}
    y_axis = axis(
        automargin=True,
        range=[len(shown) - 0.4, -0.6],
        tickvals=list(range(len(shown))),
        ticktext=shown,
        showgrid=False,
        ticklen=0,
    )
    x_axis = _ratio_axis(_log_range(intervals), title={"text": "candidate ÷ baseline"})
    return {
        "data": data,
        "layout": layout(
            margin={"l": 8, "r": 16, "t": 12, "b": 44},
            showlegend=False,
            shapes=[no_change],
            xaxis=x_axis,
            yaxis=y_axis,
            meta={"narrow": {"yaxis.tickfont.size": 10, **TURNED}},
        ),
    }


def _side(one: float, other: float | None) -> float:
    return 0.0 if other is None else max(0.0, one - other)


def _log_range(intervals: Sequence[tuple[float, float | None, float | None]]) -> list[float]:
    """Around everything drawn and 1; nothing further than a reader can use."""
    ends = [1.0, *(end for interval in intervals for end in interval if end and end > 0)]
    low, high = max(min(ends), 1 / FURTHEST), min(max(ends), FURTHEST)
    room = 0.08 * (math.log10(high) - math.log10(low) or 1)
    # An interval that hugs 1 would otherwise be drawn as wide as one that says nothing.
    return [min(math.log10(low) - room, math.log10(0.75)), max(math.log10(high) + room, math.log10(1.34))]


def _ratio_axis(ends: list[float], **more: Any) -> dict[str, Any]:
    """A logarithmic axis from and to these logarithms to the base of ten."""
    ticks = _ticks(ends[1] - ends[0])
    return axis(type="log", range=ends, tickvals=list(ticks), ticktext=[f"{one:g}" for one in ticks], **more)


def _ticks(decades: float) -> tuple[float, ...]:
    return next((ticks for most, ticks in RATIO_TICKS if decades <= most), RATIO_TICKS[-1][1])


def placebos(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """The ratio at each cut-over in time: at the real one, and at those where nothing is known to have happened."""
    real = [one for one in rows if one["is_real"]]
    others = [one for one in rows if not one["is_real"]]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": what,
            "x": [moment(one["cut_over_at"]) for one in mine],
            "y": [one["ratio"] for one in mine],
            "text": [f"cut on {one['cut_over_at']:%Y-%m-%d}: ratio {one['ratio']:.3g}" for one in mine],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"size": size, "symbol": symbol, "color": colour, "line": {"width": 1.5, "color": colour}},
        }
        for mine, what, size, symbol, colour in (
            (others, "placebo", 9, "circle-open", "var(--ink-2)"),
            (real, "the plan's cut-over", 13, "diamond", "var(--bad)"),
        )
    ]
    no_change = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 1, "y1": 1, "layer": "below",
                 "line": {"color": "var(--ink-3)", "dash": "dot", "width": 1.5}}  # fmt: skip
    ends = [(one["ratio"], None, None) for one in rows]
    spec = {
        "data": data,
        "layout": layout(
            margin={"l": 52, "r": 12, "t": 12, "b": 40},
            shapes=[no_change],
            xaxis=axis(type="date", showgrid=False),
            yaxis=_ratio_axis(_log_range(ends), title={"text": "after ÷ before", "standoff": 6}),
            meta={"narrow": {"xaxis.nticks": 4, "yaxis.title.text": ""}},
        ),
    }  # fmt: skip
    further = sum(abs(math.log(one["ratio"])) >= abs(math.log(real[0]["ratio"])) for one in others) if real else 0
    said = f"{further} of {len(others)} placebo cut-overs moved as far as the real one or further."
    window = f"{rows[0]['window_days']:g} days" if rows else "the window"
    caption = (
        f"The same ratio at dates on which nothing is known to have happened, over {window} either side of each. "
        f"{said} A real change stands out of them."
    )
    return Figure(name, said, caption, csv, spec, "17rem")


def mix(name: str, *, rows: Sequence[Values], total: Sequence[Values], csv: str) -> Figure:
    """What each kind of incident adds to the change: by its changed share, and by its own; `total` has all kinds."""
    names = [
        _short(label(f"{one['column_name']} {one['kind']}")) + ("" if one["is_in_both_arms"] else " (one arm only)")
        for one in rows
    ]
    parts = (
        ("its share changed (mix)", "mix_log", "var(--series-5)", "/"),
        ("it changed itself (within)", "within_log", "var(--series-1)", ""),
    )
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": what,
            "y": names,
            "x": [one[column] for one in rows],
            "text": [
                f"{label(one['kind'])}: {what}, factor {math.exp(one[column]):.3g}<br>"
                f"{one['baseline_share']:.0%} of the baseline, {one['candidate_share']:.0%} of the candidate<br>"
                f"geometric mean {_minutes(one['baseline_geometric_mean_minutes'])} and "
                f"{_minutes(one['candidate_geometric_mean_minutes'])}"
                for one in rows
            ],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "color": colour,
                "pattern": {"shape": shape, "fillmode": "overlay", "fgcolor": "var(--paper)", "size": 6},
            },
        }
        for what, column, colour, shape in parts
    ]
    ends = _around_zero(rows)
    ticks = _ticks((ends[1] - ends[0]) / math.log(10))
    mixed, within = (math.exp(sum(one[column] for one in total)) for column in ("mix_log", "within_log"))
    spec = {
        "data": data,
        "layout": layout(
            barmode="relative",
            bargap=0.35,
            margin={"l": 8, "r": 16, "t": 30, "b": 44},
            xaxis=axis(
                tickvals=[math.log(one) for one in ticks], ticktext=[f"x {one:g}" for one in ticks], zeroline=True,
                zerolinecolor="var(--ink)", title={"text": "factor of the ratio"}, range=ends,
            ),
            yaxis=axis(type="category", automargin=True, autorange="reversed", showgrid=False, ticklen=0),
            meta={"narrow": {"yaxis.tickfont.size": 10, **TURNED}},
        ),
    }  # fmt: skip
    said = f"The ratio is a factor {mixed:.3g} of mix times a factor {within:.3g} within kinds."
    drawn = f" The {len(rows)} kinds of {len(total)} that add most are drawn." if len(rows) < len(total) else ""
    caption = (
        f"{said}{drawn} Mix: the arms hold other kinds of incidents. Within: the same kind took another time "
        "(Kitagawa's split of the mean logarithm). For a kind in one arm only, nothing says how long it would have "
        "lasted in the other."
    )
    return Figure(name, said, caption, csv, spec, f"{max(11, 7 + 2.2 * len(rows)):g}rem")


def _around_zero(rows: Sequence[Values]) -> list[float]:
    sums = [
        side
        for one in rows
        for side in (
            sum(max(one[c], 0) for c in ("mix_log", "within_log")),
            sum(min(one[c], 0) for c in ("mix_log", "within_log")),
        )
    ]
    low, high = min([*sums, math.log(0.8)]), max([*sums, math.log(1.25)])
    room = 0.06 * (high - low)
    return [low - room, high + room]


def _interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3g}" if low is None or high is None else f"{value:.3g} ({low:.3g} to {high:.3g})"


def _minutes(minutes: float | None) -> str:
    return "none" if minutes is None else duration(minutes * 60)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _height(rows: Sequence[Values]) -> str:
    return f"{max(9, 5 + 2 * len(rows)):g}rem"
