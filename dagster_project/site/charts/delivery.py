"""Delivery by month: how often is deployed, and which share is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.site.charts.figure import Figure, Values, axis, label, layout, moment
from dagster_project.wording import counted, percent

SHARES = (
    ("every rollback", "change_failure_share", "var(--series-2)", "solid", "circle"),
    ("a bulk day as one cause", "change_failure_share_by_cause", "var(--ink)", "dash", "diamond"),
)


def delivery(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """Deploys a day above, change failure rate below, on one time axis. `rows`: the months of one system, in order."""
    x = [moment(one["month_on"]) for one in rows]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": "deploys a day",
            "x": x,
            "y": [one["deploys_per_day"] for one in rows],
            "text": [f"{one['month_on']:%Y-%m}: {counted(one['n_deploys'], 'deploy')}" for one in rows],
            "textposition": "none",
            "hovertemplate": "%{text}, %{y:.3g} a day<extra></extra>",
            "marker": {"color": "var(--series-1)"},
        }
    ]
    for title, column, colour, dash, symbol in SHARES:
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"taken back: {title}",
                "yaxis": "y2",
                "x": x,
                "y": [one[column] for one in rows],
                "text": [f"{one['month_on']:%Y-%m}: {counted(one['n_rollbacks'], 'rollback')}" for one in rows],
                "hovertemplate": "%{text}, %{y:.2%}<extra></extra>",
                "line": {"color": colour, "width": 1.5, "dash": dash},
                "marker": {"color": colour, "size": 6, "symbol": symbol},
            }
        )
    spec = {
        "data": data,
        "layout": layout(
            bargap=0.25,
            margin={"l": 60, "r": 12, "t": 30, "b": 40},
            xaxis=axis(type="date", showgrid=False, anchor="y2"),
            yaxis=axis(domain=[0.5, 1], title={"text": "deploys a day", "standoff": 6}, rangemode="tozero", nticks=5),
            yaxis2=axis(
                domain=[0, 0.42], title={"text": "taken back", "standoff": 6}, rangemode="tozero", tickformat=".1%",
                nticks=4,
            ),
            meta={"narrow": {"xaxis.nticks": 4, "yaxis.title.text": "", "yaxis2.title.text": ""}, "extra": 40},
        ),
    }  # fmt: skip
    first = rows[0]
    worst = max(rows, key=lambda one: one["change_failure_share"] or 0)
    summary = (
        f"Deploys of {first['system']} by month, and the share of them that was taken back: at most "
        f"{percent(worst['change_failure_share'] or 0)}, in {worst['month_on']:%Y-%m}."
    )
    caption = (
        f"Deploys of {label(first['system'])} a day, and below the share of deploys that was rolled back. Days on "
        "which many services were rolled back at once have one cause: the dashed line counts each once."
    )
    return Figure(name, summary, caption, csv, spec, "22rem")
