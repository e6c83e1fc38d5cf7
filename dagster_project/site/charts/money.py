"""Money: cash flow by year, the tornado, the distribution of net present value. The marts hold every number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.site.charts.figure import Figure, Values, axis, label, layout, with_room

COST, BENEFIT, LOSS = "var(--series-2)", "var(--series-1)", "var(--series-2)"
QUANTILES = (("npv_p05", "P5"), ("npv_p50", "P50"), ("npv_p95", "P95"))
# A signed amount, short enough for an axis: 1.2M, not 1,200,000.
SHORT = "~s"
LONGEST_NAME = 46


def cash_flow(name: str, *, rows: Sequence[Values], currency: str, csv: str) -> Figure:
    """What comes and goes each year, undiscounted, a bar a line, with the running balance. `rows`: a line and year."""
    credited = [one for one in rows if one["is_credited"]]
    years = sorted({one["year"] for one in credited})
    net = {year: sum(_signed(one) for one in credited if one["year"] == year) for year in years}
    balance = [sum(net[earlier] for earlier in years[: place + 1]) for place in range(len(years))]
    names = [f"year {year}" if year else "at once" for year in years]
    data = [_bars_of_line(mine, years, names, currency) for mine in _by_line(credited)]
    running = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "balance so far",
        "x": names,
        "y": balance,
        "line": {"color": "var(--ink)", "width": 2},
        "marker": {"size": 8, "color": "var(--paper)", "line": {"color": "var(--ink)", "width": 2}},
        "hovertemplate": f"balance %{{y:,.0f}} {label(currency)}<extra></extra>",
    }
    spec = {
        "data": [*data, running],
        "layout": layout(
            barmode="relative",
            bargap=0.45,
            margin={"l": 70, "r": 8, "t": 12, "b": 40},
            xaxis=axis(type="category", showgrid=False),
            yaxis=axis(
                title={"text": f"{label(currency)}, undiscounted", "standoff": 6}, tickformat=SHORT, zeroline=True,
                zerolinecolor="var(--ink)", automargin=True,
            ),
            meta={"narrow": {"yaxis.title.text": "", "yaxis.nticks": 5}, "extra": 19 * len(data)},
        ),
    }  # fmt: skip
    ends = f"{balance[-1]:,.0f}" if balance else "nothing"
    summary = f"Cash flow by year in {currency}, undiscounted: " + "; ".join(
        f"{when} {net[year]:,.0f}" for when, year in zip(names, years, strict=True)
    )
    caption = (
        f"Costs below the line, benefits above it, each year as it is paid; the line is the balance so far ({ends} "
        f"{currency} at the end, before discounting). Transfers are not drawn: they are listed and not credited."
    )
    return Figure(name, summary, caption, csv, spec, "23rem")


def _signed(row: Values) -> float:
    return float(-row["amount"] if row["kind"] == "cost" else row["amount"])


def _by_line(rows: Sequence[Values]) -> list[list[Values]]:
    lines = dict.fromkeys(one["line_id"] for one in rows)
    return [[one for one in rows if one["line_id"] == line] for line in lines]


def _bars_of_line(mine: Sequence[Values], years: Sequence[int], names: Sequence[str], currency: str) -> dict[str, Any]:
    by_year = {one["year"]: _signed(one) for one in mine}
    is_cost = mine[0]["kind"] == "cost"
    # A line keeps its colour by its place; costs are hatched, so that they differ where no colour is seen.
    return {
        "type": "bar",
        "name": label(mine[0]["label"]),
        "x": list(names),
        "y": [by_year.get(year, 0) for year in years],
        "marker": {
            "color": f"var(--series-{min(mine[0]['position'], 12)})",
            "pattern": {"shape": "/" if is_cost else "", "fillmode": "overlay", "fgcolor": "var(--paper)", "size": 6},
        },
        "hovertemplate": f"%{{y:,.0f}} {label(currency)}<br>%{{x}}<extra>{label(mine[0]['label'])}</extra>",
    }


def tornado(name: str, *, rows: Sequence[Values], net_present_value: float, csv: str) -> Figure:
    """What the net present value hangs on: a bar a driver, from its low to its high, the others at their value."""
    currency = label(rows[0]["currency"])
    names = [_short(label(one["driver_id"])) for one in rows]
    sides = (("at its low", "npv_at_low", "low", COST, "/"), ("at its high", "npv_at_high", "high", BENEFIT, ""))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": side,
            "y": names,
            "base": net_present_value,
            "x": [one[column] - net_present_value for one in rows],
            "customdata": [f"{one[end]:,.6g} {label(one['unit'])}: {one[column]:,.0f} {currency}" for one in rows],
            "hovertemplate": "%{y} at %{customdata}<extra></extra>",
            "marker": {
                "color": colour,
                "pattern": {"shape": shape, "fillmode": "overlay", "fgcolor": "var(--paper)", "size": 6},
            },
        }
        for side, column, end, colour, shape in sides
    ]
    ends = [one[column] for one in rows for column in ("npv_at_low", "npv_at_high")]
    spec = {
        "data": data,
        "layout": layout(
            barmode="overlay",
            bargap=0.35,
            margin={"l": 8, "r": 16, "t": 30, "b": 44},
            shapes=[_upright(net_present_value, "var(--ink)", "solid"), _upright(0, "var(--bad)", "dot")],
            xaxis=axis(
                title={"text": f"net present value, {currency}"}, tickformat=SHORT, nticks=7,
                range=with_room([*ends, net_present_value], 0.06),
            ),
            yaxis=axis(type="category", automargin=True, autorange="reversed", showgrid=False, ticklen=0),
            meta={"narrow": {"yaxis.tickfont.size": 10, "xaxis.nticks": 4}},
        ),
    }  # fmt: skip
    widest = rows[0]
    summary = (
        f"Net present value {net_present_value:,.0f} {currency}. It hangs most on {label(widest['driver_id'])}: "
        f"{widest['npv_at_low']:,.0f} at {widest['low']:,.6g} {label(widest['unit'])}, {widest['npv_at_high']:,.0f} at "
        f"{widest['high']:,.6g}."
    )
    caption = (
        "Each assumption that has a range, at its low (hatched) and at its high end, all others at their value; the "
        "widest swing first. The solid line is the estimate, the dotted one the point at which nothing is gained."
    )
    return Figure(name, summary, caption, csv, spec, f"{max(11, 7 + 2.1 * len(rows)):g}rem")


def distribution(name: str, *, bins: Sequence[Values], drawn: Values, csv: str) -> Figure:
    """The histogram of drawn net present values with P5, P50 and P95; what lies below 0 is hatched."""
    currency = label(drawn["currency"])
    middles = [(one["npv_from"] + one["npv_to"]) / 2 for one in bins]
    below = [middle < 0 for middle in middles]
    marks = [(drawn[column], text) for column, text in QUANTILES]
    bars = {
        "type": "bar",
        "x": middles,
        "width": [one["npv_to"] - one["npv_from"] for one in bins],
        "y": [one["draw_share"] for one in bins],
        "customdata": [
            f"{one['npv_from']:,.0f} to {one['npv_to']:,.0f} {currency}: {one['draw_count']:,} draws" for one in bins
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {
            "color": [LOSS if is_loss else BENEFIT for is_loss in below],
            "pattern": {
                "shape": ["/" if is_loss else "" for is_loss in below],
                "fillmode": "overlay",
                "fgcolor": "var(--paper)",
                "size": 6,
            },
        },
    }
    spec = {
        "data": [bars],
        "layout": layout(
            bargap=0.04,
            showlegend=False,
            margin={"l": 52, "r": 12, "t": 34, "b": 44},
            shapes=[_upright(0, "var(--bad)", "dot"), *(_upright(at, "var(--ink)", "solid", 1) for at, _ in marks)],
            annotations=[
                {"x": at, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False,
                 "font": {"color": "var(--ink)", "size": 12}}
                for at, text in marks
            ],
            xaxis=axis(
                title={"text": f"net present value, {currency}"}, tickformat=SHORT, nticks=8, showgrid=False,
                range=with_room([bins[0]["npv_from"], bins[-1]["npv_to"]], 0.04),
            ),
            yaxis=axis(tickformat=".0%", title={"text": "share of draws", "standoff": 6}, rangemode="tozero"),
            meta={"narrow": {"xaxis.nticks": 4}},
        ),
    }  # fmt: skip
    quantiles = ", ".join(f"{text} {at:,.0f}" for at, text in marks)
    summary = f"Net present value over {drawn['draws']:,} draws, {currency}: {quantiles}. {drawn['sentence']}"
    caption = (
        f"{drawn['draws']:,} draws of every assumption that has a range (seed {drawn['seed']}). Strokes: the values "
        "that 5, 50 and 95 % of the draws stay below; hatched: draws that lose money."
    )
    return Figure(name, summary, caption, csv, spec, "20rem")


def _upright(x: float, colour: str, dash: str, width: float = 1.5) -> dict[str, Any]:
    line = {"color": colour, "dash": dash, "width": width}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
